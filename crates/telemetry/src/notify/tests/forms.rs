//! The forms against what PagerDuty, Slack and Alertmanager document, and what mails are made of.

use base64::Engine as _;
use serde_json::{Value, json};

use super::*;
use crate::alerting::{Alert, Phase};
use crate::model::Labels;

const ACTIONS: [Action; 4] = [Action::Trigger, Action::Escalate(2), Action::Acknowledge, Action::Resolve];
/// Titles and texts that try to be more than that.
const ATTEMPTS: [&str; 7] = [
    "plain",
    "<script>alert(1)</script>",
    "<!channel> <@U012AB3CD> <https://evil.example|click>",
    "Subject\r\nBcc: all@example.com\r\n\r\nbody",
    "ends with a dot\r\n.\r\nRCPT TO:<all@example.com>",
    "Ausfall in Zürich 🔥 =?utf-8?B?eA==?=",
    "\u{0}\u{1b}[31mred\u{85}\u{2028}",
];

fn long() -> String {
    "ä&<🔥 word ".repeat(2_000)
}

fn messages() -> Vec<Message> {
    let mut all = Vec::new();
    for title in ATTEMPTS.map(str::to_owned).into_iter().chain([long()]) {
        for action in ACTIONS {
            all.push(Message { text: title.clone(), ..incident(action, &title) });
        }
        all.push(Message { text: title.clone(), ..notice(&title) });
    }
    all
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

#[test]
fn pagerduty_gets_events_that_it_takes() {
    for message in messages() {
        let event = pagerduty::event(&message, "0123456789abcdef0123456789abcdef");
        assert_eq!(event["routing_key"], "0123456789abcdef0123456789abcdef");
        assert!(event.to_string().len() < 512 << 10);
        let summary = length(&event["payload"]["summary"]);
        match message.action {
            Action::Trigger | Action::Escalate(_) => {
                assert_eq!(
                    (&event["event_action"], &event["dedup_key"]),
                    (&json!("trigger"), &json!("INC-20261129-001"))
                );
                assert!((1..=1_024).contains(&summary), "{summary}");
                assert_eq!(event["payload"]["severity"], "critical");
                assert_eq!(event["payload"]["source"], "us-east-1");
                assert_eq!(event["links"][0]["href"], message.link.clone().expect("a link"));
            }
            Action::Acknowledge | Action::Resolve => {
                let wanted = json!({
                    "routing_key": "0123456789abcdef0123456789abcdef",
                    "event_action": message.action.word(),
                    "dedup_key": "INC-20261129-001",
                });
                assert_eq!(event, wanted);
            }
            Action::Announce => {
                assert!(event.get("event_action").is_none() && (1..=1_024).contains(&summary));
                assert!(event["payload"].get("severity").is_none(), "a change has none");
            }
        }
    }
    let words: Vec<&str> =
        [Severity::P0, Severity::P1, Severity::P2, Severity::P3].map(pagerduty::severity).to_vec();
    assert_eq!(words, ["critical", "error", "warning", "info"]);
    let events = "https://events.pagerduty.com/v2/enqueue";
    assert_eq!(pagerduty::url(events, Action::Trigger), events);
    assert_eq!(pagerduty::url(events, Action::Announce), "https://events.pagerduty.com/v2/change/enqueue");
}

#[test]
fn slack_gets_blocks_that_it_takes_and_shows_as_text() {
    let person = Person { slack: Some("U012AB3CD".to_owned()), ..Person::default() };
    for message in messages() {
        let body = slack::body(&message, Some("#incidents"), Some(&person));
        assert_eq!(body["channel"], "#incidents");
        let blocks = body["blocks"].as_array().expect("blocks");
        assert!((2..=50).contains(&blocks.len()));
        assert!((1..=150).contains(&length(&blocks[0]["text"]["text"])), "{}", blocks[0]);
        for block in blocks {
            let (text, fields) = (&block["text"], block["fields"].as_array().cloned().unwrap_or_default());
            assert!(length(&text["text"]) <= 3_000 && fields.len() <= 10);
            assert!(text.is_object() || !fields.is_empty(), "a section needs one of both: {block}");
            assert!(text.is_null() || length(&text["text"]) >= 1, "{block}");
            assert!(fields.iter().all(|field| (1..=2_000).contains(&length(&field["text"]))));
        }
        // Of all signs with which Slack begins something, only ours are left.
        let all = body.to_string();
        let begun: Vec<&str> =
            all.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or("")).collect();
        let link = "https://dwcp.example.com/incidents/INC-20261129-001|Open in the console";
        assert!(begun.iter().all(|inside| [link, "@U012AB3CD"].contains(inside)), "{begun:?}");
        let pages = matches!(message.action, Action::Trigger | Action::Escalate(_));
        assert_eq!(all.contains("<@U012AB3CD>"), pages, "{all}");
    }
}

#[test]
fn what_slack_would_interpret_is_escaped_and_never_cut_in_the_middle() {
    assert_eq!(slack::escaped("a<b>&c", 100), "a&lt;b&gt;&amp;c");
    assert_eq!(slack::escaped("abc", 3), "abc");
    assert_eq!(slack::escaped("abcd", 3), "ab…");
    assert_eq!(slack::escaped("a<b", 4), "a…");
    assert_eq!(slack::escaped("a<", 5), "a&lt;");
}

#[test]
fn a_webhook_gets_everything_and_a_text_to_sign() {
    let delivery = Delivery::new(&incident(Action::Escalate(1), "<b>\"x\""), "hook", NOW_MS);
    let body = webhook::body(&delivery);
    for (name, wanted) in [
        ("version", json!(1)),
        ("delivery", json!(delivery.id)),
        ("key", json!("INC-20261129-001#0/escalate-1/hook")),
        ("action", json!("escalate")),
        ("about", json!("INC-20261129-001")),
        ("incident", json!({"id": "INC-20261129-001", "round": 0})),
        ("severity", json!("P0")),
        ("title", json!("<b>\"x\"")),
        ("person", json!("ada")),
        ("at", json!("2026-11-30T00:53:20Z")),
    ] {
        assert_eq!(body[name], wanted, "{name}");
    }
    assert_eq!(webhook::body(&Delivery::new(&notice("n"), "hook", NOW_MS))["incident"], Value::Null);
    assert_eq!(webhook::signed("1700000000", b"{}"), b"1700000000.{}");
}

fn settings() -> Email {
    Email {
        host: "mail.example.com".to_owned(),
        port: 587,
        security: Security::StartTls,
        user: None,
        password: None,
        from: "dwcp@example.com".to_owned(),
        to: vec!["ops@example.com".to_owned()],
    }
}

#[test]
fn a_mail_has_the_headers_that_it_should_have_and_no_others() {
    let ada = Person { email: Some("ada@example.com".to_owned()), ..Person::default() };
    for message in messages() {
        let to = email::recipients(&settings(), &message, Some(&ada));
        let pages = matches!(message.action, Action::Trigger | Action::Escalate(_));
        assert_eq!(to.len(), if pages { 2 } else { 1 });
        let delivery = Delivery::new(&message, "mail", NOW_MS);
        let mail = email::mail(&delivery, &settings(), &to, NOW_MS);
        let (head, body) = mail.split_once("\r\n\r\n").expect("a head");
        assert!(mail.is_ascii() && !mail.replace("\r\n", "").contains(['\r', '\n']), "{mail}");
        assert!(mail.split("\r\n").all(|line| line.len() <= 78 && !line.starts_with('.')), "{mail}");
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split_once(':').expect("a name").0)
            .collect();
        let mut wanted = vec!["From", "To", "Subject", "Date", "Message-ID"];
        wanted.extend(message.is_incident().then_some("References"));
        wanted.extend(["Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
        assert_eq!(names, wanted);
        let decoded =
            base64::engine::general_purpose::STANDARD.decode(body.replace("\r\n", "")).expect("base64");
        let text = String::from_utf8(decoded).expect("UTF-8");
        assert!(text.ends_with("https://dwcp.example.com/incidents/INC-20261129-001"));
        assert!(head.contains("\r\nDate: Mon, 30 Nov 2026 00:53:20 +0000\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nMessage-ID: <{}@example.com>\r\n", delivery.id)));
    }
}

#[test]
fn a_subject_that_is_not_plain_is_encoded() {
    let subject = |title: &str| {
        let delivery = Delivery::new(&incident(Action::Trigger, title), "mail", NOW_MS);
        let mail = email::mail(&delivery, &settings(), &["ops@example.com".to_owned()], NOW_MS);
        let rest = mail.split_once("\r\nSubject: ").expect("a subject").1.to_owned();
        rest.split_once("\r\nDate").expect("a date").0.to_owned()
    };
    assert_eq!(subject("Region down"), "Region down");
    assert_eq!(subject("a\r\nBcc: x@y.z"), "a Bcc: x@y.z");
    assert_eq!(subject("Zürich"), "=?utf-8?B?WsO8cmljaA==?=");
    assert!(subject("=?utf-8?B?eA==?=").starts_with("=?utf-8?B?PT91"));
    assert!(subject(&"🔥".repeat(40)).split("\r\n ").all(|word| word.len() <= 75));
    for bad in [
        "",
        "a",
        "@b.c",
        "a@",
        "a b@c.de",
        "a@b\r\n.de",
        "<a@b.de>",
        "a@b.de>",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "ä@b.de",
    ] {
        assert!(email::address(bad).is_err(), "{bad}");
    }
    for good in ["ops@example.com", "a.b+c@x-y.example", "root@localhost"] {
        assert_eq!(email::address(good), Ok(()), "{good}");
    }
}

#[test]
fn alertmanager_gets_alerts_with_a_beginning_and_an_end() {
    let alert = Alert {
        labels: Labels::new([("alertname", "Lag"), ("region", "eu")]),
        annotations: BTreeMap::from([("summary".to_owned(), "<b>".to_owned())]),
        value: 6.0,
        phase: Phase::Firing,
        active_at_ms: 1_000,
        fired_at_ms: Some(61_000),
        absent_since_ms: None,
        ended_at_ms: None,
    };
    let over = Alert { phase: Phase::Resolved, ended_at_ms: Some(90_000), ..alert.clone() };
    let pending = Alert { phase: Phase::Pending, ..alert.clone() };
    let body = alertmanager::alerts(&[alert, over, pending], Some("https://dwcp.example.com"), 361_000);
    let wanted = |ends: &str| {
        json!({
            "labels": {"alertname": "Lag", "region": "eu"},
            "annotations": {"summary": "<b>"},
            "startsAt": "1970-01-01T00:01:01Z",
            "endsAt": ends,
            "generatorURL": "https://dwcp.example.com",
        })
    };
    assert_eq!(body, json!([wanted("1970-01-01T00:06:01Z"), wanted("1970-01-01T00:01:30Z")]));
    let opened = alertmanager::of_message(&incident(Action::Trigger, "t"));
    let labels = json!({
        "alertname": "DwcpIncident",
        "incident": "INC-20261129-001",
        "severity": "P0",
        "region": "us-east-1",
        "federation": "prod",
    });
    assert_eq!((&opened[0]["labels"], opened.as_array().map(Vec::len)), (&labels, Some(1)));
    // Its end is that of every severity it may have had.
    let resolved = alertmanager::of_message(&incident(Action::Resolve, "t"));
    let ends: Vec<&Value> =
        resolved.as_array().expect("a list").iter().map(|alert| &alert["endsAt"]).collect();
    assert_eq!(ends, [&json!("2026-11-30T00:53:20Z"); 4]);
}

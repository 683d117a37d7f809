use super::*;

const SETTINGS: &str = "receivers:
  - {name: page, status_page: true}
  - {name: chat, status_page: true}
  - {name: phone, status_page: true}
people:
  - {name: ada, receivers: [phone]}
routes:
  - {name: grave, match: 'severity=P0', receivers: [page, chat]}
";

fn settings() -> Settings {
    read::read_or_panic(SETTINGS)
}

fn later(asked_ms: Option<u64>) -> Outcome {
    Outcome { verdict: Verdict::Later(asked_ms), status: Some(503), said: "busy".to_owned() }
}

fn delivered() -> Outcome {
    Outcome::of_http(202, None, "ok", NOW_MS)
}

fn receivers(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.receiver.as_str()).collect()
}

fn due(outbox: &Outbox, now_ms: i64) -> Vec<String> {
    outbox.due(now_ms).map(|delivery| delivery.key.clone()).collect()
}

#[test]
fn an_answer_is_taken_for_what_it_means() {
    for (status, wanted) in [
        (200, Verdict::Delivered),
        (202, Verdict::Delivered),
        (204, Verdict::Delivered),
        (301, Verdict::Never),
        (302, Verdict::Never),
        (307, Verdict::Never),
        (400, Verdict::Never),
        (401, Verdict::Never),
        (403, Verdict::Never),
        (404, Verdict::Never),
        (408, Verdict::Later(None)),
        (410, Verdict::Never),
        (422, Verdict::Never),
        (429, Verdict::Later(Some(7_000))),
        (500, Verdict::Later(None)),
        (502, Verdict::Later(None)),
        (503, Verdict::Later(Some(7_000))),
        (504, Verdict::Later(None)),
        (999, Verdict::Never),
    ] {
        assert_eq!(Outcome::of_http(status, Some("7"), "", NOW_MS).verdict, wanted, "{status}");
    }
    let sunday_ms = 784_111_777_000;
    for (text, wanted) in [
        (" 120 ", Some(120_000)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
        ("soon", None),
        ("-1", None),
        ("99999999999999999999", None),
    ] {
        let outcome = Outcome::of_http(429, Some(text), "", sunday_ms);
        assert_eq!(outcome.verdict, Verdict::Later(wanted), "{text}");
    }
    for (code, wanted) in [(250, Verdict::Delivered), (421, Verdict::Later(None)), (550, Verdict::Never)] {
        assert_eq!(Outcome::of_smtp(code, "").verdict, wanted, "{code}");
    }
    let long = Outcome::of_http(500, None, &"\u{1b}[31m ä\n".repeat(5_000), NOW_MS);
    assert!(long.said.len() <= 300 && !long.said.contains(['\n', '\u{1b}']), "{}", long.said);
}

#[test]
fn waits_double_differ_and_end() {
    let first = Delivery::new(&incident(Action::Trigger, "t"), "page", NOW_MS);
    let (mut delivery, mut now_ms, mut waits) = (first.clone(), NOW_MS, Vec::new());
    while let State::Pending { next_at_ms, .. } = delivery.state {
        waits.push(next_at_ms - now_ms);
        now_ms = next_at_ms;
        delivery = delivery.after(&later(None), now_ms);
    }
    assert_eq!(waits[0], 0);
    for (index, wait_ms) in waits.iter().skip(1).enumerate() {
        let doubled = (2_000_i64 << index.min(20)).min(300_000);
        assert!((doubled / 2..=doubled).contains(wait_ms), "{wait_ms} at {index}");
    }
    let State::Dead { at_ms, why } = &delivery.state else { panic!("{:?}", delivery.state) };
    assert!((at_ms - NOW_MS) <= 24 * 3_600_000 && (at_ms - NOW_MS) > 23 * 3_600_000, "{at_ms}");
    assert!(why.starts_with("given up after ") && why.ends_with("busy"), "{why}");
    assert_eq!(delivery.attempts.len(), 20);
    // The same delivery waits the same, another one does not.
    let other = Delivery::new(&incident(Action::Trigger, "t"), "chat", NOW_MS);
    assert_eq!(first.after(&later(None), NOW_MS), first.clone().after(&later(None), NOW_MS));
    assert_ne!(first.after(&later(None), NOW_MS).state, other.after(&later(None), NOW_MS).state);
    assert_eq!(delivery.after(&delivered(), now_ms), delivery, "a dead one stays dead");
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_but_not_for_ever() {
    let delivery = Delivery::new(&incident(Action::Trigger, "t"), "page", NOW_MS);
    let next = |asked_ms| match delivery.after(&later(asked_ms), NOW_MS).state {
        State::Pending { next_at_ms, .. } => next_at_ms - NOW_MS,
        other => panic!("{other:?}"),
    };
    assert_eq!(next(Some(90_000)), 90_000);
    assert!((1_000..=2_000).contains(&next(Some(0))));
    assert_eq!(next(Some(u64::MAX)), 3_600_000);
    let refused = delivery.after(&Outcome::of_http(403, None, "invalid key", NOW_MS), NOW_MS);
    assert_eq!(refused.state, State::Dead { at_ms: NOW_MS, why: "invalid key".to_owned() });
}

#[test]
fn everyone_is_told_once_and_an_end_only_to_those_who_heard_of_the_beginning() {
    let (mut settings, mut outbox) = (settings(), Outbox::default());
    assert_eq!(receivers(&outbox.add(&settings, &incident(Action::Resolve, "t"), NOW_MS)), [""; 0]);
    let added = outbox.add(&settings, &incident(Action::Trigger, "t"), NOW_MS);
    assert_eq!(receivers(&added), ["page", "chat", "phone"], "along the route, and whoever is on call");
    assert_eq!(added[0].key, "INC-20261129-001#0/trigger/page");
    assert_ne!(added[0].id, added[1].id);
    assert!(outbox.add(&settings, &incident(Action::Trigger, "other words"), NOW_MS + 5).is_empty());
    // A page goes to the person; without one, along the route.
    assert_eq!(receivers(&outbox.add(&settings, &incident(Action::Escalate(1), "t"), NOW_MS)), ["phone"]);
    let nobody = Message { person: None, ..incident(Action::Escalate(2), "t") };
    assert_eq!(receivers(&outbox.add(&settings, &nobody, NOW_MS)), ["page", "chat"]);
    // Whatever the routes say by then.
    settings.routes.clear();
    let added = outbox.add(&settings, &incident(Action::Resolve, "t"), NOW_MS);
    assert_eq!(receivers(&added), ["chat", "page", "phone"]);
    assert!(outbox.add(&settings, &incident(Action::Resolve, "t"), NOW_MS).is_empty());
    // It comes back: a new round.
    let settings = read::read_or_panic(SETTINGS);
    let mut again = incident(Action::Trigger, "t");
    again.subject = Subject::Incident { id: IncidentId("INC-20261129-001".to_owned()), round: 1 };
    assert_eq!(receivers(&outbox.add(&settings, &again, NOW_MS)), ["page", "chat", "phone"]);
    let notices = outbox.add(&settings, &Message { severity: Severity::P0, ..notice("n") }, NOW_MS);
    assert_eq!(receivers(&notices), ["page", "chat"]);
    assert_eq!(notices[0].key, "op_7/announce/page");
}

#[test]
fn an_end_does_not_overtake_its_beginning() {
    let (mut settings, mut outbox) = (settings(), Outbox::default());
    settings.people.clear();
    outbox.add(&settings, &incident(Action::Trigger, "t"), NOW_MS);
    outbox.add(&settings, &Message { at_ms: NOW_MS + 1, ..incident(Action::Resolve, "t") }, NOW_MS + 1);
    let (trigger, resolve) = ("INC-20261129-001#0/trigger/page", "INC-20261129-001#0/resolve/page");
    let chat = "INC-20261129-001#0/trigger/chat";
    assert_eq!(due(&outbox, NOW_MS + 1), [chat, trigger]);
    outbox.settle(trigger, &later(Some(60_000)), NOW_MS + 1);
    // The beginning waits, and so does the end; the other receiver is held up by neither.
    assert_eq!(due(&outbox, NOW_MS + 2), [chat]);
    outbox.settle(chat, &delivered(), NOW_MS + 2);
    assert_eq!(due(&outbox, NOW_MS + 2), ["INC-20261129-001#0/resolve/chat"]);
    outbox.settle("INC-20261129-001#0/resolve/chat", &delivered(), NOW_MS + 2);
    assert_eq!(outbox.next_at_ms(), Some(NOW_MS + 60_001));
    assert_eq!(due(&outbox, NOW_MS + 60_001), [trigger]);
    // A dead letter holds up nothing.
    outbox.settle(trigger, &Outcome::refused("no"), NOW_MS + 60_001);
    assert_eq!(due(&outbox, NOW_MS + 60_001), [resolve]);
    outbox.settle(resolve, &delivered(), NOW_MS + 60_001);
    assert_eq!((outbox.next_at_ms(), outbox.dead().count()), (None, 1));
    // Someone says so: it is tried again.
    outbox.retry(trigger, NOW_MS + 70_000);
    outbox.retry(resolve, NOW_MS + 70_000);
    assert_eq!(due(&outbox, NOW_MS + 70_000), [trigger]);
}

#[test]
fn what_is_stored_is_read_again_and_goes_on() {
    let mut outbox = Outbox::default();
    outbox.add(&settings(), &incident(Action::Trigger, "t"), NOW_MS);
    outbox.settle("INC-20261129-001#0/trigger/page", &later(None), NOW_MS);
    let text = serde_json::to_string(&outbox).expect("JSON");
    let read: Outbox = serde_json::from_str(&text).expect("an outbox");
    assert_eq!(read, outbox);
    assert_eq!(outbox.iter().cloned().collect::<Outbox>(), outbox);
}

#[test]
fn what_is_settled_is_forgotten_but_for_what_is_open() {
    let mut outbox = Outbox::default();
    outbox.add(&settings(), &incident(Action::Trigger, "t"), NOW_MS);
    outbox.settle("INC-20261129-001#0/trigger/page", &delivered(), NOW_MS);
    assert!(outbox.forget(NOW_MS + 1, &|_| true).is_empty());
    assert!(outbox.forget(NOW_MS, &|_| false).is_empty());
    assert_eq!(outbox.forget(NOW_MS + 1, &|_| false), ["INC-20261129-001#0/trigger/page"]);
    assert_eq!(outbox.iter().count(), 2, "what is pending stays");
}

#[test]
fn an_incident_is_told_with_what_is_known_of_it() {
    use crate::incidents::{Book, Opening, Policy, Role};
    let settings = example();
    let policy = Policy {
        reopen_within_ms: 0,
        zone: jiff::tz::TimeZone::UTC,
        escalation: vec![Role::Primary],
        on_call: &|_, _| Some("ada".to_owned()),
    };
    let mut book = Book::default();
    let script = "<script>alert(1)</script>\r\nBcc: all@example.com";
    let opening = Opening { title: script, severity: Severity::P1, taken: false, request: None };
    let (id, _) = book.create(&opening, "ada", &policy, NOW_MS);
    let told = |book: &Book, action, at_ms| {
        let incident = book.get(&id).expect("it was made");
        Message::of_incident(&settings, "prod", incident, action, Some("ada"), at_ms).expect("a message")
    };
    let opened = told(&book, Action::Trigger, NOW_MS);
    assert_eq!(opened.title, "[P1] <script>alert(1)</script> Bcc: all@example.com");
    assert_eq!(opened.link.as_deref(), Some(format!("https://dwcp.example.com/incidents/{id}").as_str()));
    assert!(
        opened.text.contains("To be taken until ") && opened.details.contains_key("due"),
        "{}",
        opened.text
    );
    book.resolve(&id, "ada", NOW_MS + 90_000).expect("it was open");
    let resolved = told(&book, Action::Resolve, NOW_MS + 95_000);
    assert!(resolved.text.contains("is resolved, 1m30s after it was opened."), "{}", resolved.text);
    assert_eq!(resolved.status, "resolved");
}

#[test]
fn of_two_who_claim_a_message_one_sends_it() {
    let delivery = Delivery::new(&incident(Action::Trigger, "t"), "chat", 1_000);
    let mut outbox: Outbox = [delivery.clone()].into_iter().collect();
    assert!(outbox.claim(&delivery.key, 999, 5_000).is_none(), "it is not due");
    assert!(outbox.claim(&delivery.key, 1_000, 61_000).is_some());
    assert!(outbox.claim(&delivery.key, 1_500, 61_500).is_none(), "somebody has it");
    assert!(outbox.claim(&delivery.key, 61_000, 121_000).is_some(), "whoever had it has died");
    assert!(outbox.claim("none", 0, 1).is_none());
}

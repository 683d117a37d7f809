//! Notifications over HTTP, to servers that are slow, busy, dead, or lie about where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_server::notify::{Deliverer, Look, SettingsFile, deliver, forward};
use dwcp_telemetry::incidents::{IncidentId, Severity};
use dwcp_telemetry::notify::{
    self, Action, Delivery, Message, Outbox, Outcome, Settings, State, Subject, Verdict,
};
use ring::hmac;
use serde_json::Value;

use crate::notify_mock::{Mock, Say, certificates, tls_config};
use crate::scratch::Scratch;

const NOW_MS: i64 = 1_796_000_000_000;
/// Long enough for a server on two busy cores, short enough for one that hangs.
const WITHIN: Duration = Duration::from_secs(20);

pub fn settings(text: &str) -> Settings {
    notify::read(text).unwrap_or_else(|complaints| panic!("{complaints}"))
}

pub fn message(action: Action) -> Message {
    Message {
        subject: Subject::Incident { id: IncidentId("INC-20261129-001".to_owned()), round: 0 },
        action,
        template: "incident-opened".to_owned(),
        severity: Severity::P0,
        status: "open".to_owned(),
        region: "us-east-1".to_owned(),
        federation: "test".to_owned(),
        title: "Region us-east-1 is gone".to_owned(),
        text: "Nobody answers.\n.\n..and more".to_owned(),
        person: None,
        link: None,
        details: BTreeMap::new(),
        at_ms: NOW_MS,
    }
}

fn once(settings: &Settings, receiver: &str, within: Duration) -> Outcome {
    let delivery = Delivery::new(&message(Action::Trigger), receiver, NOW_MS);
    deliver(settings, &delivery, within, &|_| Err("there is no page".to_owned()))
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn pagerduty_and_slack(page: &Mock, chat: &Mock) -> Settings {
    settings(&format!(
        "allow_private_addresses: [127.0.0.0/8]
receivers:
  - name: page
    pagerduty: {{routing_key: {KEY}, url: '{}'}}
  - name: chat
    slack: {{url: '{}'}}
routes:
  - name: all
    receivers: [page, chat]
",
        page.url("/v2/enqueue"),
        chat.url("/services/T0/B0/hook")
    ))
}

type Told = (String, Outcome);

fn deliverer(settings: Settings, within: Duration) -> (Deliverer, Receiver<Told>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let publish = Box::new(|_: &Delivery| Ok(()));
    let hears = move |key: &str, outcome| {
        // The test may be over.
        let _ = tell.lock().expect("a channel").send((key.to_owned(), outcome));
    };
    (Deliverer::new(settings, within, publish, Box::new(hears)), told)
}

/// Delivers what is due at that moment, and notes what came of it.
fn step(outbox: &mut Outbox, deliverer: &Deliverer, told: &Receiver<Told>, now_ms: i64) {
    let due: Vec<Delivery> = outbox.due(now_ms).cloned().collect();
    for delivery in &due {
        assert!(deliverer.start(delivery), "{}", delivery.key);
    }
    for _ in due {
        let (key, outcome) = told.recv_timeout(Duration::from_secs(60)).expect("an outcome");
        outbox.settle(&key, &outcome, now_ms);
    }
}

#[test]
fn one_page_through_a_receiver_that_is_busy_hangs_and_dies() {
    // Busy, then it hangs, then it takes the event and dies before it says so.
    let script = [
        Say::answer(429, &[("Retry-After", "30")], "slow down"),
        Say::Hang,
        Say::HangUp,
        Say::answer(202, &[], r#"{"status":"success"}"#),
    ];
    let page = Mock::start(move |_, number| script.get(number).unwrap_or(&script[3]).clone());
    let chat = Mock::start(|_, _| Say::answer(200, &[], "ok"));
    let settings = pagerduty_and_slack(&page, &chat);
    let (first, told) = deliverer(settings.clone(), Duration::from_secs(5));
    let mut outbox = Outbox::default();
    outbox.add(&settings, &message(Action::Trigger), NOW_MS);
    outbox.add(&settings, &message(Action::Resolve), NOW_MS);
    let mut now_ms = NOW_MS;
    // Two tries of the page by one monitor; the chat has heard both by then.
    step(&mut outbox, &first, &told, now_ms);
    step(&mut outbox, &first, &told, now_ms);
    assert_eq!(outbox.next_at_ms(), Some(NOW_MS + 30_000), "as the receiver asked");
    now_ms += 30_000;
    step(&mut outbox, &first, &told, now_ms);
    assert_eq!((page.count(), chat.count()), (2, 2));
    // It dies; another one goes on with what was stored.
    drop((first, told));
    let stored = serde_json::to_string(&outbox).expect("JSON");
    let mut outbox: Outbox = serde_json::from_str(&stored).expect("an outbox");
    let (second, told) = deliverer(settings.clone(), WITHIN);
    // The receiver is away for a while.
    let address = page.stop();
    now_ms = outbox.next_at_ms().expect("it is pending");
    step(&mut outbox, &second, &told, now_ms);
    page.start_again(address);
    while let Some(next_ms) = outbox.next_at_ms() {
        now_ms = next_ms;
        step(&mut outbox, &second, &told, now_ms);
    }
    assert!(outbox.iter().all(|delivery| matches!(delivery.state, State::Delivered { .. })), "{outbox:?}");
    // What it took, by what it folds repetitions by: one page, and its end after it.
    let taken = page.requests().into_iter().skip(2).map(|request| request.json()).collect::<Vec<Value>>();
    let actions: Vec<&str> = taken.iter().filter_map(|event| event["event_action"].as_str()).collect();
    assert_eq!(actions, ["trigger", "trigger", "resolve"]);
    let keys: BTreeSet<&str> = taken.iter().filter_map(|event| event["dedup_key"].as_str()).collect();
    assert_eq!(keys, BTreeSet::from(["INC-20261129-001"]));
    assert_eq!(taken[0], taken[1], "the repetition is the same event");
    let page = outbox.get("INC-20261129-001#0/trigger/page").expect("a delivery");
    let statuses: Vec<Option<u16>> = page.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(429), None, None, None, Some(202)]);
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let page = Mock::start(|_, _| Say::Hang);
    let chat = Mock::start(|_, _| Say::answer(200, &[], "ok"));
    let (deliverer, told) = deliverer(pagerduty_and_slack(&page, &chat), Duration::from_secs(30));
    let notices = |receiver: &str| {
        let of =
            |number| Message { subject: Subject::Notice(format!("n{number}")), ..message(Action::Announce) };
        (0..20).map(|number| Delivery::new(&of(number), receiver, NOW_MS)).collect::<Vec<Delivery>>()
    };
    let started = notices("page").iter().filter(|delivery| deliverer.start(delivery)).count();
    assert_eq!(started, 4, "so many at a time, and no more");
    assert!(!deliverer.start(&notices("page")[0]), "it is under way");
    let began = Instant::now();
    for delivery in notices("chat") {
        while !deliverer.start(&delivery) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    for _ in 0..20 {
        let (key, outcome) = told.recv_timeout(Duration::from_secs(20)).expect("an outcome");
        assert!(key.ends_with("/chat") && outcome.verdict == Verdict::Delivered, "{key} {outcome:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(chat.count(), 20);
}

#[test]
fn a_redirect_is_not_followed() {
    let inside = Mock::start(|_, _| Say::answer(200, &[], "secret"));
    let target = inside.url("/latest/meta-data");
    for status in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let page = Mock::start(move |_, _| Say::answer(status, &[("Location", &target)], ""));
        let outcome = once(&pagerduty_and_slack(&page, &inside), "page", WITHIN);
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Never, Some(status)));
    }
    assert_eq!(inside.count(), 0);
}

#[test]
fn a_name_is_judged_by_the_address_that_is_connected_to() {
    let server = Mock::start(|_, _| Say::answer(200, &[], "ok"));
    let port = server.address().port();
    let with = |allowed: &str| {
        settings(&format!(
            "allow_private_addresses: [{allowed}]
receivers:
  - name: hook
    webhook: {{url: 'http://localhost:{port}/hook'}}
  - name: mail
    email: {{host: localhost, port: {port}, security: none, from: a@example.com, to: b@example.com}}
  - name: am
    alertmanager: {{urls: ['http://localhost:{port}/']}}
"
        ))
    };
    for receiver in ["hook", "mail", "am"] {
        let outcome = once(&with("10.0.0.0/8"), receiver, WITHIN);
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Never, None), "{receiver}");
        assert!(outcome.said.contains(" is loopback"), "{receiver}: {}", outcome.said);
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(once(&with("127.0.0.0/8, '::1'"), "hook", WITHIN).verdict, Verdict::Delivered);
    let nobody = settings("receivers:\n  - {name: hook, webhook: {url: 'http://no-such-name.invalid/'}}\n");
    assert_eq!(once(&nobody, "hook", WITHIN).verdict, Verdict::Later(None), "a name may come back");
    assert_eq!(once(&nobody, "gone", WITHIN).verdict, Verdict::Later(None), "so may a receiver");
}

#[test]
fn a_webhook_is_signed_and_what_it_answers_has_no_secret() {
    let scratch = Scratch::new("notify-secret");
    let (secret, url) = (scratch.path().join("secret"), scratch.path().join("url"));
    let hook = Mock::start(|request, _| {
        let echo = format!("no {} for {} {}", request.path, "hush-hush-hush", request.body_text());
        Say::answer(if request.path.contains("wrong") { 404 } else { 200 }, &[], &echo)
    });
    let settings = settings(&format!(
        "allow_private_addresses: [127.0.0.0/8]
receivers:
  - name: hook
    webhook: {{url_file: '{}', secret_file: '{}'}}
",
        url.display(),
        secret.display()
    ));
    let missing = once(&settings, "hook", WITHIN);
    assert_eq!(missing.verdict, Verdict::Later(None));
    assert!(missing.said.contains("can't be read"), "{}", missing.said);
    std::fs::write(&secret, "hush-hush-hush\n").expect("a file");
    std::fs::write(&url, format!("{}\n", hook.url("/wrong/TOKEN-1234?key=5678"))).expect("a file");
    let refused = once(&settings, "hook", WITHIN);
    assert_eq!((refused.verdict, refused.status), (Verdict::Never, Some(404)));
    assert!(refused.said.starts_with("no [hidden] for [hidden] {"), "{}", refused.said);
    std::fs::write(&url, hook.url("/right")).expect("a file");
    assert_eq!(once(&settings, "hook", WITHIN).verdict, Verdict::Delivered);
    let request = hook.requests().pop().expect("a request");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hush-hush-hush");
    let signed = [request.header("x-dwcp-timestamp").as_bytes(), b".", &request.body].concat();
    let hex = request.header("x-dwcp-signature").strip_prefix("v1=").expect("a version");
    let tag: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect();
    hmac::verify(&key, &signed, &tag).expect("the signature is right");
    assert_eq!(request.json()["delivery"], request.header("x-dwcp-delivery"));
    // A file can't lead elsewhere.
    for bad in ["http://169.254.169.254/latest", "file:///etc/passwd", "http://a:b@127.0.0.1/"] {
        std::fs::write(&url, bad).expect("a file");
        assert_eq!(once(&settings, "hook", WITHIN).verdict, Verdict::Never, "{bad}");
    }
}

#[test]
fn a_server_is_known_by_the_certificate_of_the_authority_that_is_named() {
    let scratch = Scratch::new("notify-https");
    let (ours, theirs) = (certificates(&scratch, "ours"), certificates(&scratch, "theirs"));
    let hook = Mock::start_with(Some(tls_config(&ours)), |_, _| Say::answer(204, &[], ""));
    let with = |ca: &str| {
        settings(&format!(
            "allow_private_addresses: [127.0.0.0/8]\nreceivers:\n  - name: hook\n    webhook: {{url: 'https://{}/'}}\n{ca}",
            hook.address()
        ))
    };
    let trusted = |folder: &Path| format!("    ca_file: '{}'\n", folder.join("ca.pem").display());
    let outcome = once(&with(&trusted(&ours)), "hook", WITHIN);
    assert_eq!((outcome.verdict, outcome.status), (Verdict::Delivered, Some(204)), "{}", outcome.said);
    for ca in [trusted(&theirs), String::new()] {
        let outcome = once(&with(&ca), "hook", WITHIN);
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Later(None), None), "{}", outcome.said);
    }
    assert_eq!(hook.count(), 1);
}

#[test]
fn an_answer_without_end_ends_an_attempt_in_time() {
    for (say, status) in [(Say::Endless, Some(500)), (Say::Drip, None), (Say::Hang, None)] {
        let server = Mock::start(move |_, _| say.clone());
        let began = Instant::now();
        let outcome = once(&pagerduty_and_slack(&server, &server), "chat", Duration::from_secs(1));
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Later(None), status), "{}", outcome.said);
        assert!(outcome.said.len() <= 300);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn one_member_of_a_cluster_of_alertmanagers_is_enough() {
    let (bad, good) =
        (Mock::start(|_, _| Say::answer(500, &[], "")), Mock::start(|_, _| Say::answer(200, &[], "")));
    let of = |urls: [String; 2]| {
        settings(&format!(
            "allow_private_addresses: [127.0.0.0/8]\nreceivers:\n  - name: am\n    alertmanager: {{urls: ['{}', '{}']}}\n",
            urls[0], urls[1]
        ))
    };
    let both = of([bad.url(""), good.url("/prefix/")]);
    assert_eq!(once(&both, "am", WITHIN).verdict, Verdict::Delivered);
    assert_eq!(forward(&both, "am", &[], NOW_MS, WITHIN).verdict, Verdict::Delivered);
    let paths: Vec<String> = good.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/prefix/api/v2/alerts", "/prefix/api/v2/alerts"]);
    assert_eq!(good.requests()[0].json()[0]["labels"]["alertname"], "DwcpIncident");
    assert_eq!(once(&of([bad.url(""), bad.url("")]), "am", WITHIN).verdict, Verdict::Later(None));
}

#[test]
fn the_own_page_is_written_to_by_whoever_has_it() {
    let settings = settings("receivers:\n  - {name: public, status_page: true}\n");
    let written = Arc::new(Mutex::new(Vec::new()));
    let delivery = Delivery::new(&message(Action::Trigger), "public", NOW_MS);
    let page = Arc::clone(&written);
    let publish = move |delivery: &Delivery| {
        page.lock().expect("a list").push(delivery.message.title.clone());
        Ok(())
    };
    assert_eq!(deliver(&settings, &delivery, WITHIN, &publish).verdict, Verdict::Delivered);
    assert_eq!(*written.lock().expect("a list"), ["Region us-east-1 is gone"]);
    assert_eq!(once(&settings, "public", WITHIN).verdict, Verdict::Later(None));
}

#[test]
fn settings_are_read_again_when_they_change_and_kept_when_they_are_wrong() {
    let scratch = Scratch::new("notify-settings");
    let path = scratch.path().join("notifications.yaml");
    let mut file = SettingsFile::new(&path);
    assert!(matches!(file.look(), Look::Changed(settings) if settings.receivers.is_empty()));
    assert!(matches!(file.look(), Look::Unchanged));
    std::fs::write(&path, "receivers:\n  - {name: public, status_page: true}\n").expect("a file");
    assert!(matches!(file.look(), Look::Changed(settings) if settings.receivers.len() == 1));
    std::fs::write(&path, "recievers: []\n").expect("a file");
    let Look::Wrong(why) = file.look() else { panic!("it is wrong") };
    assert!(why.contains("line 1, column 1: unknown key 'recievers'; did you mean 'receivers'?"), "{why}");
    assert!(matches!(file.look(), Look::Unchanged), "it is said once");
    std::fs::write(&path, b"\xff\xfe").expect("a file");
    assert!(matches!(file.look(), Look::Wrong(why) if why.ends_with("it is not UTF-8")));
    std::fs::remove_file(&path).expect("a file");
    assert!(matches!(file.look(), Look::Changed(settings) if settings.receivers.is_empty()));
}

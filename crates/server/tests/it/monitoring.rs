//! From a rule to a page: an alert opens one incident, whoever is on call is paged once however the receiver behaves, and the end is
//! told like the beginning.

use std::path::Path;
use std::time::{Duration, Instant};

use dwcp_config::region::Monitoring;
use serde_json::Value;

use crate::http_node::{ADMIN, Served};
use crate::notify_mock::{Mock, Say};
use crate::scratch::Scratch;

fn rules(expression: &str) -> String {
    format!(
        "groups:\n\
         \x20 - name: test\n\
         \x20   interval: 1s\n\
         \x20   rules:\n\
         \x20     - alert: Burning\n\
         \x20       expr: {expression}\n\
         \x20       labels: {{severity: P1, place: kitchen}}\n\
         \x20       annotations: {{summary: 'The kitchen burns <b>now</b>'}}\n\
         \x20     - alert: Smoke\n\
         \x20       expr: {expression}\n\
         \x20       labels: {{severity: P1, place: kitchen, cause: Burning}}\n"
    )
}

fn settings(url: &str, beat: &str) -> String {
    format!(
        "receivers:\n\
         \x20 - {{name: page, pagerduty: {{routing_key: 0123456789abcdef0123456789abcdef, url: \"{url}\"}}}}\n\
         routes:\n\
         \x20 - {{name: grave, match: 'severity=\"P1\"', receivers: [page]}}\n\
         people:\n\
         \x20 - {{name: ada, email: ada@example.com}}\n\
         on_call:\n\
         \x20 - {{role: primary, people: [ada], start: \"2026-01-05T09:00\"}}\n\
         heartbeats:\n\
         \x20 - {{name: outside, url: \"{beat}\", every: 10s}}\n\
         allow_private_addresses: [127.0.0.0/8]\n"
    )
}

fn write(path: &Path, text: &str) {
    // Renamed: nobody reads half of it.
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(new, path).expect("its name");
}

fn incidents(served: &Served, of: &str) -> Vec<Value> {
    let list = served.get(&format!("/v1/incidents?{of}"), ADMIN);
    assert_eq!(list.status, 200, "{}", String::from_utf8_lossy(&list.body));
    let burning = |one: &&Value| one["title"].as_str().is_some_and(|title| title.contains("burns"));
    list.json()["items"].as_array().expect("a list").iter().filter(burning).cloned().collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_alert_opens_one_incident_pages_once_and_its_end_is_told_once() {
    let scratch = Scratch::new("monitoring");
    let (rule_file, settings_file) =
        (scratch.path().join("test.yaml"), scratch.path().join("notifications.yaml"));
    // It refuses and hangs up before it takes anything.
    let mock = Mock::start(|_, number| match number {
        0 => Say::answer(429, &[("Retry-After", "1")], "slow down"),
        1 => Say::HangUp,
        _ => Say::answer(202, &[], "{}"),
    });
    write(&rule_file, &rules("vector(1)"));
    let outside = Mock::start(|_, _| Say::answer(200, &[], "OK"));
    write(&settings_file, &settings(&mock.url("/v2"), &outside.url("/beat/key")));
    let monitoring = Monitoring {
        rules: vec![rule_file.display().to_string()],
        capacity_thresholds: scratch.path().join("none").display().to_string(),
        notifications: settings_file.display().to_string(),
    };
    let served = Served::start_monitoring("monitoring", &scratch.path().join("metrics"), monitoring);

    let actions = |wanted: &str| {
        let requests = mock.requests();
        let texts = requests.iter().map(|request| request.json());
        // An end has no text of its own.
        let ours =
            requests.iter().map(|request| request.json()).find(|one| one.to_string().contains("burns"));
        let key = ours.map_or(Value::Null, |one| one["dedup_key"].clone());
        let about = move |body: &Value| body["dedup_key"] == key && body["event_action"] == wanted;
        texts.filter(about).collect::<Vec<Value>>()
    };
    until("it is paged", || actions("trigger").len() >= 3);
    let open = incidents(&served, "status=open");
    assert_eq!(open.len(), 1, "two alerts of one cause: {open:?}");
    assert_eq!(open[0]["severity"], "P1");
    let triggers = actions("trigger");
    assert!(triggers.iter().all(|body| body["dedup_key"] == triggers[0]["dedup_key"]), "{triggers:?}");

    // Somebody outside hears that the monitor is well.
    until("two beats", || outside.requests().len() >= 2);
    assert!(
        outside
            .requests()
            .iter()
            .all(|beat| beat.path == "/beat/key" && beat.json()["status"] == "monitoring")
    );

    // A silence ends nothing that was told; an end of the cause does.
    write(&rule_file, &rules("vector(1) == 0"));
    until("its end is told", || !actions("resolve").is_empty());
    until("it is resolved", || incidents(&served, "status=open").is_empty());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((actions("trigger").len(), actions("resolve").len()), (3, 1));
    let messages = served.get("/v1/notifications", ADMIN).json();
    let delivered = messages["items"].as_array().expect("a list").iter();
    let delivered =
        delivered.filter(|row| row["title"].as_str().is_some_and(|title| title.contains("burns")));
    assert!(delivered.clone().count() == 2 && delivered.clone().all(|row| row["state"] == "delivered"));
}

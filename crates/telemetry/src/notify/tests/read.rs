use super::*;
use crate::incidents::Role;
use crate::model::Labels;

pub(super) fn read_or_panic(text: &str) -> Settings {
    read(text).unwrap_or_else(|complaints| panic!("{complaints}"))
}

fn complaints(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(complaints) => complaints.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_of_the_handbook_is_read_with_all_it_says() {
    let settings = example();
    let kinds: Vec<&str> = settings.receivers.values().map(|receiver| receiver.kind.name()).collect();
    for kind in ["pagerduty", "slack", "webhook", "email", "status_page", "alertmanager"] {
        assert!(kinds.contains(&kind), "the example shows {kind}");
    }
    let told =
        |labels: &[(&str, &str)]| settings.receivers_for(&Labels::new(labels.iter().copied())).to_vec();
    assert_eq!(told(&[("severity", "P0"), ("template", "incident-opened")]), ["page", "chat", "public"]);
    assert_eq!(told(&[("severity", "P3"), ("template", "incident-opened")]), ["chat"]);
    assert_eq!(told(&[("severity", "P3"), ("template", "maintenance")]), ["public", "mail"]);
    let roles = [Role::Primary, Role::Secondary, Role::Person("grace".to_owned())];
    assert_eq!(settings.escalation, roles);
    assert_eq!(settings.routes[0].name, "announcements");
    let beats: Vec<(&str, u64)> =
        settings.heartbeats.iter().map(|one| (one.name.as_str(), one.every_ms)).collect();
    assert_eq!(beats, [("outside", 60_000)]);
    assert!(!settings.layers.is_empty() && settings.templates.knows("region-failover"));
    assert!(settings.people["ada"].slack.is_some(), "{:?}", settings.people);
}

#[test]
fn an_empty_file_tells_nobody() {
    for text in ["", "# nothing\n", "{}\n"] {
        let settings = read_or_panic(text);
        assert!(settings.receivers_for(&Labels::new([("severity", "P0")])).is_empty());
        assert_eq!(settings.escalation, [Role::Primary, Role::Secondary]);
    }
}

#[test]
fn secrets_are_not_in_what_is_printed() {
    let settings = read_or_panic(
        "receivers:\n  - name: a\n    pagerduty: {routing_key: 0123456789abcdef0123456789abcdeF}\n  - name: b\n    slack: {url: \
         'https://hooks.slack.com/services/TOPSECRET'}\n  - name: c\n    webhook: {url: 'https://example.com/TOPSECRET', secret: \
         TOPSECRET}\n  - name: d\n    email: {host: mail.example.com, from: a@example.com, to: b@example.com, user: u, password: \
         TOPSECRET}\n",
    );
    assert_eq!(settings.receivers.len(), 4);
    let printed = format!("{settings:?}");
    assert!(!printed.contains("TOPSECRET") && !printed.contains("abcdeF"), "{printed}");
}

const WRONG: &str = r#"receivers:
  - name: page
    pagerduty: {routing_key: short}
  - name: page
    slack: {url: 'http://127.0.0.1/hook'}
  - name: hook
    webhook: {url: 'http://169.254.169.254/latest', secret: a, secret_file: relative}
  - name: mail
    email: {host: mail.example.com, security: none, user: u, password: p, from: 'a@b', to: ["x@y.z\r\nBcc: all@z"]}
  - name: two
    status_page: true
    alertmanager: {urls: ['ftp://am']}
  - name: 'a b'
    slak: {}
routes:
  - name: r
    match: 'severity=~"P[0"'
    receivers: [pag]
    group_wait: 5s
  - name: r
escalation: [primary, nobody]
people:
  - name: ada
    receivers: [phone]
on_call:
  - role: primary
    people: [bob]
    zone: Mars/Olympus
    start: yesterday
    shift: 36h
templates:
  - name: test
    title: '{{ $labels.title | shout }}'
  - name: maintenance
    title: '{{ $labels.regoin }}'
    text: a
allow_private_addresses: [10.0.0.0/40]
rutes: []
heartbeats:
  - name: beat
    url: http://127.0.0.1/ping
    every: 1s
  - name: beat
"#;

#[test]
fn every_error_is_told_at_once_with_its_line_and_column() {
    let found = complaints(WRONG);
    for wanted in [
        "line 3, column 30: receivers[0].pagerduty.routing_key: an integration key has 32 letters and digits",
        "line 4, column 11: receivers[1].name: 'page' is there already",
        "line 5, column 18: receivers[1].slack.url: 127.0.0.1 is loopback: allow_private_addresses does not except it",
        "line 7, column 20: receivers[2].webhook.url: 169.254.169.254 is a metadata service: nothing is ever sent there",
        "receivers[2].webhook.secret_file: an absolute path is needed",
        "receivers[2].webhook.secret_file: 'secret' or 'secret_file', not both",
        "receivers[3].email.user: a password is not sent without TLS: security is starttls or tls",
        "receivers[3].email.to: 'x@y.z Bcc: all@z' is not an address such as ops@example.com",
        "receivers[4].name: a receiver has one of pagerduty, slack, webhook, email, status_page, alertmanager, not 2",
        "receivers[4].alertmanager.urls: only https:// and http:// can be sent to",
        "receivers[5].name: a name has up to 64 letters, digits, '-', '_' and '.'",
        "line 14, column 5: receivers[5]: unknown key 'slak'; did you mean 'slack'?",
        "routes[0].match: 'P[0' is not a pattern",
        "routes[0].receivers: there is no receiver 'pag'; did you mean 'page'?",
        "routes[0]: unknown key 'group_wait'",
        "routes[1].name: 'r' is there already",
        "routes[1].receivers: 'receivers' is missing; [] tells nobody",
        "escalation: there is no role or person 'nobody'",
        "people[0].receivers: there is no receiver 'phone'",
        "on_call[0].people: there is no person 'bob'",
        "on_call[0].role: 'Mars/Olympus' is not a time zone",
        "on_call[0].shift: '36h' is not whole days from 1d to 366d",
        "templates[0].title: character 20: ",
        "templates[0]: 'text' is missing",
        "allow_private_addresses: '10.0.0.0/40' is neither a network such as 10.20.0.0/16 nor an address",
        "templates[1].title: $labels has no 'regoin'; did you mean 'region'?",
        "line 38, column 1: unknown key 'rutes'; did you mean 'routes'?",
        "heartbeats[0].url: 127.0.0.1 is loopback",
        "heartbeats[0].every: '1s' is not from 10s to 1h",
        "heartbeats[1].name: 'beat' is there already",
        "heartbeats[1].url: 'url' or 'url_file' is missing",
    ] {
        assert!(
            found.iter().any(|line| line.contains(wanted)),
            "{wanted}\nis not among\n{}",
            found.join("\n")
        );
    }
    assert!(found.iter().all(|line| line.starts_with("line ") && !line.contains("line 0")), "{found:?}");
}

#[test]
fn the_built_in_templates_read_well_for_all_that_is_known_and_for_nothing() {
    let templates = Templates::default();
    let full = Labels::new([
        ("incident", "INC-1"),
        ("title", "{{ $labels.severity }} & <b>"),
        ("severity", "P1"),
        ("severity_word", "high"),
        ("region", "eu-west-1"),
        ("status", "completed"),
        ("federation", "prod"),
        ("text", "All moved."),
        ("opened", "2026-11-29T14:00:00Z"),
        ("due", "2026-11-29T15:00:00Z"),
        ("duration", "5m00s"),
        ("cause", "c"),
        ("person", "ada"),
    ]);
    for (name, ..) in BUILT_IN {
        let (title, text) = templates.render(name, &full).expect(name);
        assert!(!title.is_empty() && !text.is_empty(), "{name}");
        templates.render(name, &Labels::default()).expect(name);
    }
    let (title, text) = templates.render("region-failover", &full).expect("a template");
    assert_eq!(title, "Failover of region eu-west-1: completed");
    assert_eq!(text, "The failover of region eu-west-1 of federation prod is completed.\n\nAll moved.");
    // What a title says is text, not a template.
    let (title, _) = templates.render("incident-opened", &full).expect("a template");
    assert_eq!(title, "[P1] {{ $labels.severity }} & <b>");
    assert!(
        templates.render("nothing", &full).expect_err("none").contains("there are: incident-acknowledged, ")
    );
}

#[test]
fn an_operators_own_words_come_before_the_built_in_ones() {
    let settings = read_or_panic(
        "templates:\n  - name: test\n    title: 'Ping {{ $labels.federation }}'\n    text: 'pong'\n",
    );
    let (title, text) =
        settings.templates.render("test", &Labels::new([("federation", "f")])).expect("words");
    assert_eq!((title.as_str(), text.as_str()), ("Ping f", "pong"));
}

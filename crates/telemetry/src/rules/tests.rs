use super::*;

fn check(text: &str) -> Result<(), ExprError> {
    // A stand-in for an engine: one word that it does not know, at its place.
    match text.find("wrong") {
        Some(offset) => Err(ExprError { offset, message: "unknown function 'wrong'".to_owned() }),
        None => Ok(()),
    }
}

fn complaints(text: &str) -> Vec<String> {
    match read(text, &check) {
        Ok(_) => Vec::new(),
        Err(complaints) => complaints.0.iter().map(ToString::to_string).collect(),
    }
}

const GOOD: &str = r#"
groups:
  - name: capacity
    interval: 30s
    limit: 20
    query_offset: 1m30s
    labels: {team: compute, tier: 1.0}
    rules:
      - record: region:cpu:avg
        expr: avg by (region) (cpu)
        labels:
          team: other
      - alert: Hot
        expr: region:cpu:avg > 85
        for: 5m
        keep_firing_for: 10m
        labels:
          severity: P2
        annotations:
          summary: "{{ $labels.region }} is at {{ $value | humanize }}%"
"#;

#[test]
fn a_rule_file_is_read_with_all_its_fields() {
    let file = read(GOOD, &check).expect("a rule file");
    let group = &file.groups[0];
    assert_eq!((group.name.as_str(), group.interval_ms, group.limit), ("capacity", Some(30_000), 20));
    assert_eq!(group.query_offset_ms, 90_000);
    let (Rule::Recording(recording), Rule::Alerting(alerting)) = (&group.rules[0], &group.rules[1]) else {
        panic!("a recording and an alerting rule");
    };
    let labels = Labels::new([("region", "eu"), ("__name__", "cpu"), ("team", "x")]);
    assert_eq!(
        recording.series(&labels).to_string(),
        r#"region:cpu:avg{region="eu", team="other", tier="1.0"}"#
    );
    assert_eq!((alerting.for_ms, alerting.keep_firing_for_ms), (300_000, 600_000));
    let names: Vec<&str> = alerting.labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["severity", "team", "tier"]);
    assert_eq!(alerting.annotations.len(), 1);
}

#[test]
fn nothing_is_a_file_without_groups() {
    for text in ["", "# nothing\n", "groups:\n", "groups: []\n", "groups:\n  - name: a\n"] {
        assert_eq!(complaints(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_error_is_told_at_once_with_its_line_and_column() {
    let text = r#"group: []
groups:
  - name: a
    interval: 5
    limits: 3
    rules:
      - alert: A
        expr: up == wrong(0)
        for: 1m1h
        labels:
          bad-name: x
          alertname: y
        annotations:
          summary: 'it''s {{ $lables.x }}'
      - record: not a name
        expr: 1
        annotations: {}
      - alert: B
      - expr: up
      - alert: C
        record: d
        expr: up
  - name: a
  - rules: []
"#;
    let wanted = [
        "line 1, column 1: unknown key 'group'; did you mean 'groups'?",
        "line 4, column 15: groups[0].interval: '5' is not a duration",
        "line 5, column 5: groups[0]: unknown key 'limits'; did you mean 'limit'?",
        "line 8, column 21: groups[0].rules[0].expr: unknown function 'wrong'",
        "line 9, column 14: groups[0].rules[0].for: '1m1h' is not a duration",
        "line 11, column 11: groups[0].rules[0].labels.bad-name: 'bad-name' is not the name of a label",
        "line 12, column 22: groups[0].rules[0].labels.alertname: the label 'alertname'",
        "line 14, column 30: groups[0].rules[0].annotations.summary: there is no $lables",
        "line 15, column 17: groups[0].rules[1].record: 'not a name' is not the name of a metric",
        "line 17, column 9: groups[0].rules[1]: unknown key 'annotations'",
        "line 18, column 9: groups[0].rules[2]: 'expr' is missing",
        "line 19, column 9: groups[0].rules[3]: a rule needs 'record' or 'alert'",
        "line 20, column 9: groups[0].rules[4]: a rule has 'record' or 'alert', not both",
        "line 23, column 5: groups[1]: a second group 'a'",
        "line 24, column 5: groups[2]: 'name' is missing",
    ];
    let told = complaints(text);
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "told:   {told}\nwanted: {wanted}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
}

#[test]
fn rules_that_write_the_same_are_refused_and_those_that_differ_in_a_label_are_not() {
    let rule = |severity: &str| format!("  - alert: A\n    expr: up\n    labels: {{severity: {severity}}}\n");
    let file = |first: &str, second: &str| {
        format!("groups:\n- name: a\n  rules:\n{}- name: b\n  rules:\n{}", rule(first), rule(second))
    };
    assert_eq!(complaints(&file("P1", "P2")), Vec::<String>::new());
    let told = complaints(&file("P1", "P1"));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("line 9") && told[0].contains("already there, on line 4"), "{}", told[0]);
}

#[test]
fn a_place_within_a_block_or_a_quoted_text_is_found() {
    let cases = [
        ("expr: |\n            up ==\n              wrong(1)", 5, 15),
        ("expr: >-\n            up ==\n            wrong(1)", 5, 13),
        ("expr: up ==\n            wrong(1)", 4, 13),
        ("expr: \"a{b=\\\"c\\\"} == wrong()\"", 3, 26),
        ("expr: \"a\\n\\tn wrong\"", 3, 19),
        ("expr: 'a{b=''c''} == wrong()'", 3, 26),
        ("expr: |2\n            é == wrong(1)", 4, 18),
    ];
    for (expr, line, column) in cases {
        let text = format!("groups:\n- rules:\n  - {expr}\n    alert: A\n  name: x\n");
        let told = complaints(&text);
        let wanted = format!("line {line}, column {column}: ");
        assert!(told.len() == 1 && told[0].starts_with(&wanted), "{text}{told:#?}, wanted {wanted}");
    }
}

#[test]
fn durations_have_their_units_once_and_the_larger_first() {
    let good =
        [("0", 0), ("5m", 300_000), ("1h30m", 5_400_000), ("1y", 31_536_000_000), ("1w2d", 777_600_000)];
    for (text, ms) in good.into_iter().chain([("100ms", 100), ("1s1ms", 1_001)]) {
        assert_eq!(duration_ms(text), Ok(ms), "{text}");
    }
    for text in
        ["", "5", "m", "1m1h", "1m1m", "-5m", "1.5h", "5 m", "5M", "99999999999999999999s", "9999999999w"]
    {
        assert!(duration_ms(text).is_err(), "{text}");
    }
}

#[test]
fn recorded_series_end_with_what_they_were_made_of() {
    use crate::model::{Sample, Value};
    let rule = Recording {
        record: "a:b".to_owned(),
        expr: "x".to_owned(),
        labels: vec![("host".to_owned(), String::new())],
    };
    let x = |region: &str, host: &str| {
        (Labels::new([("__name__", "x"), ("region", region), ("host", host)]), Value::Float(1.0))
    };
    let mut recorded = Recorded::default();
    let mut write = |found: &[(Labels, Value)], at_ms| {
        let show = |(labels, sample): &(Labels, Sample)| {
            format!("{labels}{} {}", if sample.value.is_stale() { " ends" } else { "" }, sample.at_ms)
        };
        let written = recorded.evaluate(&rule, found, 2, at_ms)?;
        Ok::<Vec<String>, String>(written.iter().map(show).collect())
    };
    let both = [x("eu", "h1"), x("us", "h1")];
    let lines = |lines: &[&str]| Ok(lines.iter().map(|line| (*line).to_owned()).collect());
    assert_eq!(write(&both, 1), lines(&[r#"a:b{region="eu"} 1"#, r#"a:b{region="us"} 1"#]));
    let two = write(&[x("eu", "h1"), x("eu", "h2")], 2);
    assert_eq!(two, Err(r#"it gave two series of the labels a:b{region="eu"}"#.to_owned()));
    let many = write(&[x("a", ""), x("b", ""), x("c", "")], 3);
    assert_eq!(many, Err("it gave 3 series, and the limit is 2".to_owned()));
    assert_eq!(write(&both[..1], 4), lines(&[r#"a:b{region="eu"} 4"#, r#"a:b{region="us"} ends 4"#]));
    assert_eq!(write(&[], 5), lines(&[r#"a:b{region="eu"} ends 5"#]));
    assert_eq!(write(&[], 6), lines(&[]));
}

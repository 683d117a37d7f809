//! Feeds damaged rule files, templates and conditions to their readers: no panic, no memory without limit.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example fuzz-rules -- [--seconds N] [--seed N]`. A failure prints the input.

use dwcp_telemetry::Labels;
use dwcp_telemetry::alerting::Conditions;
use dwcp_telemetry::rules::{ExprError, QuerySample, SHIPPED, Scope, Template, read};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

const TEMPLATES: [&str; 6] = [
    "{{ $labels.region }} is at {{ $value | humanize }}% of {{ printf \"%-8.2f|\" .Value }} {{- /* c */ -}}",
    "{{ if and (gt $value 80.0) (ne $labels.host \"\") }}a{{ else if not $labels.x }}b{{ else }}c{{ end }}",
    "{{ range $i, $s := query \"up\" }}{{ $i }} {{ .Labels.host }}={{ $s | value | humanizeDuration }}{{ else }}none{{ end }}",
    "{{ with $x := (query \"up\" | first).Labels.host }}{{ $x | toUpper | title }}{{ end }}{{ $y := 1 }}{{ $y = 2 }}",
    "{{ reReplaceAll \"([a-z]+)-(.*)\" \"$2 ${1}\" $labels.region }}{{ match \"^eu\" .Labels.region }}",
    "{{ range $k, $v := .ExternalLabels }}{{ $k }}{{ `raw` }}{{ end }}{{ humanizeTimestamp 1.5e9 }}{{ or true false }}",
];

const GROUPS: &str = "groups:\n- name: a\n  interval: 1m\n  limit: 3\n  query_offset: 5s\n  labels: {a: b}\n  rules:\n  - alert: A\n    \
    expr: |\n      up == 0\n    for: 1h5m\n    labels: {x: \"{{ $value }}\"}\n    annotations:\n      s: 'it''s {{ $labels.x }}'\n  \
    - record: a:b\n    expr: \"sum(\\\"x\\\")\"\n";

const CONDITIONS: &str = r#"{region="eu\"-\\x", severity=~"P[01]", host!=h1, vm!~"a.*"}"#;

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let files: Vec<Vec<u8>> =
        SHIPPED.iter().map(|(_, text)| *text).chain([GROUPS]).map(|text| text.as_bytes().to_vec()).collect();
    let templates: Vec<Vec<u8>> = TEMPLATES.iter().map(|text| text.as_bytes().to_vec()).collect();
    run("rule-file", &files, limit, seed, |input| std::str::from_utf8(input).is_ok_and(rule_file));
    run("template", &templates, limit, seed, |input| std::str::from_utf8(input).is_ok_and(template));
    run("conditions", &[CONDITIONS.into()], limit, seed, |input| {
        std::str::from_utf8(input).is_ok_and(conditions)
    });
}

/// Every place that an error may name must be found: expressions are wrong at some byte.
fn rule_file(text: &str) -> bool {
    let understood = read(text, &|_| Ok(())).is_ok();
    let wrong = |expr: &str| {
        let offset = text.len() % (expr.len() + 1);
        Err(ExprError { offset, message: "wrong".to_owned() })
    };
    if let Err(complaints) = read(text, &wrong) {
        for complaint in complaints.0 {
            let lines = text.split(['\n', '\r']).count() as u64;
            assert!(complaint.line <= lines, "{complaint}, of {lines} lines");
        }
    }
    understood
}

/// What was understood is expanded without harm, and the longest text has an end.
fn template(text: &str) -> bool {
    let Ok(template) = Template::parse(text) else { return false };
    let labels = Labels::new([("region", "eu-west-1"), ("host", "h1")]);
    let sample = QuerySample { labels: labels.clone(), value: -1.5 };
    let query = |_: &str| Ok(vec![sample.clone(), sample.clone()]);
    let scope = Scope { labels: &labels, external: &labels, value: 1e300, query: &query };
    if let Ok(text) = template.expand(&scope) {
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
    }
    true
}

fn conditions(text: &str) -> bool {
    let Ok(conditions) = text.parse::<Conditions>() else { return false };
    let again = conditions.to_string().parse::<Conditions>();
    assert_eq!(again.as_ref(), Ok(&conditions), "read as it is written");
    conditions.hold(&Labels::new([("region", "eu")]));
    true
}

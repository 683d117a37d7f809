//! The rule files that come with the product, and their unit tests: those that `promtool test rules` runs.
//!
//! promtool computes what each expression gives. From there on ours must come to the same alerts, texts included.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dwcp_telemetry::Labels;
use dwcp_telemetry::alerting::{Context, Phase, RuleState};
use dwcp_telemetry::promql::Query;
use dwcp_telemetry::rules::{Alerting, ExprError, QuerySample, Rule, RuleFile, SHIPPED, read};
use serde::Deserialize;

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    input_series: Vec<BTreeMap<String, String>>,
    alert_rule_test: Vec<AlertTest>,
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    exp_labels: BTreeMap<String, String>,
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ExprTest {
    expr: String,
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Deserialize)]
struct ExpectedSample {
    labels: String,
    value: f64,
}

fn check(expr: &str) -> Result<(), ExprError> {
    let read = Query::parse(expr).map(drop);
    read.map_err(|error| ExprError { offset: error.position, message: error.message })
}

fn files() -> Vec<(&'static str, RuleFile)> {
    let read = |(name, text)| match read(text, &check) {
        Ok(file) => (name, file),
        Err(complaints) => panic!("{name}:\n{complaints}"),
    };
    SHIPPED.into_iter().map(read).collect()
}

fn alerts(file: &RuleFile) -> Vec<&Alerting> {
    let rules = file.groups.iter().flat_map(|group| &group.rules);
    rules
        .filter_map(|rule| match rule {
            Rule::Alerting(rule) => Some(&**rule),
            Rule::Recording(_) => None,
        })
        .collect()
}

fn tests_of(name: &str) -> Vec<Test> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests").join(name);
    let text = std::fs::read_to_string(path).expect("each rule file has its tests");
    dwcp_config::tree::read_as::<Tests>(&text).expect("tests as promtool reads them").tests
}

/// `{region="eu", host="h1"}`
fn labels(text: &str) -> Labels {
    let pairs = text.trim_matches(['{', '}']).split(", ").filter(|pair| !pair.is_empty());
    Labels::new(pairs.map(|pair| {
        let (name, value) = pair.split_once('=').expect("a label");
        (name.to_owned(), value.trim_matches('"').to_owned())
    }))
}

#[test]
fn every_alert_says_how_grave_it_is_what_happened_and_what_to_do() {
    for (name, file) in files() {
        for rule in alerts(&file) {
            let has = |wanted: &str| {
                let all = rule.labels.iter().chain(&rule.annotations);
                all.filter(|(name, _)| name == wanted).count() == 1
            };
            for wanted in ["severity", "cause", "summary", "description", "runbook"] {
                assert!(has(wanted), "{name}: {} has no {wanted}", rule.alert);
            }
        }
    }
}

#[test]
fn every_alert_has_a_unit_test_that_makes_it_fire() {
    for (name, file) in files() {
        let tests = tests_of(name);
        for rule in alerts(&file) {
            let test = tests.iter().find(|test| test.name == rule.alert);
            let fires = |test: &Test| test.alert_rule_test.iter().any(|one| !one.exp_alerts.is_empty());
            assert!(test.is_some_and(fires), "{name}: {} is not tested", rule.alert);
        }
    }
}

#[test]
fn what_an_expression_gives_becomes_the_alerts_that_promtool_expects() {
    for (name, file) in files() {
        for test in tests_of(name) {
            let rule = alerts(&file).into_iter().find(|rule| rule.alert == test.name).expect(&test.name);
            let expr = &test.promql_expr_test[0];
            assert_eq!(expr.expr.trim(), rule.expr.trim(), "the test is about the rule's expression");
            let found: Vec<QuerySample> = expr
                .exp_samples
                .iter()
                .map(|sample| QuerySample { labels: labels(&sample.labels), value: sample.value })
                .collect();
            let expected =
                test.alert_rule_test.iter().rfind(|one| one.alertname == test.name).expect("alerts");
            let alerts = fire(rule, &found, test.input_series.len());
            assert_eq!(alerts.len(), expected.exp_alerts.len(), "{}", test.name);
            for (alert, expected) in alerts.iter().zip(&expected.exp_alerts) {
                let name = ("alertname".to_owned(), test.name.clone());
                let labels: BTreeMap<String, String> =
                    expected.exp_labels.clone().into_iter().chain([name]).collect();
                assert_eq!(alert.labels, Labels::new(labels), "{}", test.name);
                assert_eq!(alert.annotations, expected.exp_annotations, "{}", test.name);
            }
        }
    }
}

/// The alerts once the results have been there for as long as the rule waits. Queries of templates count the test's series.
fn fire(rule: &Alerting, found: &[QuerySample], series: usize) -> Vec<dwcp_telemetry::alerting::Alert> {
    let external = Labels::default();
    let query = |_: &str| Ok(vec![QuerySample { labels: Labels::default(), value: series as f64 }]);
    let mut state = RuleState::default();
    for now_ms in [0, rule.for_ms as i64] {
        let context =
            Context { external: &external, query: &query, limit: 0, unseen: &BTreeSet::new(), now_ms };
        let evaluation = state.evaluate(rule, Ok(found), &context);
        assert_eq!(evaluation.warnings, Vec::<String>::new(), "{}", rule.alert);
    }
    assert!(state.alerts().iter().all(|alert| alert.phase == Phase::Firing), "{}", rule.alert);
    state.alerts().to_vec()
}

#[test]
fn thresholds_of_capacity_go_into_the_rules_and_their_texts() {
    use dwcp_config::capacity::{Threshold, Thresholds};
    use dwcp_telemetry::rules::capacity;

    let [(name, text), ..] = SHIPPED;
    assert_eq!(capacity(name, text, &Thresholds::default()), text);
    let mut asked = Thresholds::default();
    for (index, threshold) in asked.0.iter_mut().enumerate() {
        let at = 11.0 + 2.0 * index as f64;
        *threshold = Threshold { warning: at, critical: at + 0.5 };
    }
    let file = read(&capacity(name, text, &asked), &check).expect("a rule file");
    let names = ["Cpu", "Memory", "Storage", "Network", "VmCount"];
    for (name, threshold) in names.iter().zip(&asked.0) {
        for (level, at) in [("Warning", threshold.warning), ("Critical", threshold.critical)] {
            let name = format!("{name}Utilization{level}");
            let rule = alerts(&file).into_iter().find(|rule| rule.alert == name).expect(&name);
            assert!(rule.expr.ends_with(&format!(" > {at}")), "{name}: {}", rule.expr);
            let said =
                rule.annotations.iter().find(|(name, _)| name == "description").expect("a description");
            assert!(said.1.text().contains(&format!("threshold is {at} %")), "{}", said.1.text());
        }
    }
    let expansion =
        alerts(&file).into_iter().find(|rule| rule.alert == "RegionExpansionDue").expect("a rule");
    assert!(expansion.expr.ends_with("> 75"), "{}", expansion.expr);
}

/// Every shipped alert as a row of a Markdown table.
fn table() -> String {
    let mut rows = String::from("| Alert | Severity | Fires when | For |\n|---|---|---|---|\n");
    for (_, file) in files() {
        for rule in alerts(&file) {
            let severity =
                rule.labels.iter().find(|(name, _)| name == "severity").map_or("", |(_, text)| text.text());
            let expr = rule.expr.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            let seconds = rule.for_ms / 1_000;
            let lasts = match (seconds, seconds % 3_600, seconds % 60) {
                (0, ..) => "at once".to_owned(),
                (_, 0, _) => format!("{}h", seconds / 3_600),
                (_, _, 0) => format!("{}m", seconds / 60),
                _ => format!("{seconds}s"),
            };
            rows.push_str(&format!("| {} | {severity} | `{expr}` | {lasts} |\n", rule.alert));
        }
    }
    rows
}

#[test]
fn the_page_about_alerts_lists_every_shipped_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations/alerts.md");
    let page = std::fs::read_to_string(&path).expect("the page about alerts");
    let (before, _) = page.split_once("\n| Alert |").expect("a table of alerts, at the page's end");
    let wanted = format!("{before}\n{}", table());
    if std::env::var_os("DWCP_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("the page about alerts");
    }
    let page = std::fs::read_to_string(&path).expect("the page about alerts");
    assert!(page == wanted, "{} is stale: run this test with DWCP_BLESS=1", path.display());
}

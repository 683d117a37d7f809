//! The rules and dashboards that come with the product look at what is measured: every metric in them is one that some component
//! exports.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_roles::protocol::HostFigures;
use dwcp_telemetry::exposition::Family;
use dwcp_telemetry::model::{MatchOp, NAME};
use dwcp_telemetry::promql::{Engine, Query};
use dwcp_telemetry::rules::{ExprError, Rule, SHIPPED, read};
use serde_json::json;

use super::figures::{self, Beside, Seen, routers};
use super::hosts::{self, Measured};
use super::instruments::Instruments;
use super::intake::Intake;

/// Metrics of rules that nothing exports yet, by how they begin, and why.
const NOT_YET: [(&str, &str); 1] = [("dwcp_federation_sla_", "no agreements are kept count of")];

/// What a process of a region shows, with everything that it may know.
fn of_a_region() -> Vec<Family> {
    let usage = json!({"capacity": 9, "allocated": 3, "used_percent": 1.0});
    let summary = json!({
        "region": "us", "number": 1, "lifecycle": "active", "health": {"score": 100, "state": "healthy", "deductions": []},
        "vms": 3, "hosts": 1, "cpu": usage, "memory": usage, "storage": usage, "traffic_percent": 100.0,
        "replication_lag_ms": 1, "placement": {"enabled": true, "reason": ""}, "revision": 1,
    });
    let summary = serde_json::from_value(summary).expect("a line of a region");
    let seen = Seen {
        own: "us".to_owned(),
        regions: vec![(summary, true)],
        federation: Some(Default::default()),
        routers: vec![routers::one()],
        routers_missing: Some(0),
        ..Seen::default()
    };
    let instruments = Instruments::new("us");
    instruments.synced("us", "eu", 1);
    instruments.answered("Prometheus", 200, 0.1);
    instruments.logged("monitor", "info");
    instruments.show_kept(Intake::default(), "/".into());
    let beside = Beside { certificate_s: Some((1, 2)), network_percent: Some(1.0) };
    let counted = instruments.gather(Vec::new()).families;
    figures::families(&seen, beside).into_iter().chain(counted).collect()
}

fn exported() -> BTreeSet<String> {
    let measured = Measured { figures: HostFigures::default(), clock_ahead_ms: 0.0 };
    let of_a_host = hosts::families(&("us".into(), "h1".into()), &measured, &BTreeMap::new());
    of_a_region().into_iter().chain(of_a_host).flat_map(|family| family.series_names()).collect()
}

/// The names of the metrics that an expression reads.
fn names(expr: &str) -> Vec<String> {
    let query = Query::parse(expr).expect("an expression");
    let selectors = query.selectors(&Engine::default(), 0, 0);
    let matchers = selectors.into_iter().flat_map(|selector| selector.matchers);
    matchers
        .filter(|matcher| matcher.name == NAME)
        .map(|matcher| match matcher.op {
            MatchOp::Equal(name) => name,
            _ => panic!("{expr}: a metric whose name is a pattern"),
        })
        .collect()
}

#[test]
fn every_metric_of_a_shipped_rule_is_exported_or_named_here() {
    let check = |expr: &str| -> Result<(), ExprError> {
        Query::parse(expr)
            .map(drop)
            .map_err(|error| ExprError { offset: error.position, message: error.message })
    };
    let files =
        SHIPPED.map(|(file, text)| read(text, &check).unwrap_or_else(|_| panic!("{file} can't be read")));
    let rules: Vec<&Rule> =
        files.iter().flat_map(|file| &file.groups).flat_map(|group| &group.rules).collect();
    let mut there = exported();
    there.extend(rules.iter().filter_map(|rule| match rule {
        Rule::Recording(rule) => Some(rule.record.clone()),
        Rule::Alerting(_) => None,
    }));
    let read = rules.iter().flat_map(|rule| match rule {
        Rule::Recording(rule) => names(&rule.expr),
        Rule::Alerting(rule) => names(&rule.expr),
    });
    let read: BTreeSet<String> = read.collect();
    let missing: Vec<&String> = read.iter().filter(|name| !there.contains(*name)).collect();
    let is_named = |name: &str| NOT_YET.iter().any(|(begin, _)| name.starts_with(begin));
    let unknown: Vec<_> = missing.iter().filter(|name| !is_named(name)).collect();
    assert!(unknown.is_empty(), "no component exports {unknown:?}");
    for (begin, why) in NOT_YET {
        let still = missing.iter().any(|name| name.starts_with(begin));
        assert!(still, "{begin}… ({why}) is exported, or no rule reads it: take it from the list");
    }
}

#[test]
fn every_metric_of_a_dashboard_is_exported_or_named_here() {
    let exported = exported();
    // What rules record, and what the monitor tells of alerts, is no family of a process.
    let is_recorded = |name: &str| name == "ALERTS" || name.contains(':');
    let is_named = |name: &str| NOT_YET.iter().any(|(begin, _)| name.starts_with(begin));
    let panels = dwcp_api::dashboards::ALL.iter().flat_map(|dashboard| dashboard.panels);
    for (text, _) in panels.flat_map(|panel| panel.targets) {
        for name in names(&text.replace("$region", ".*")) {
            let known = exported.contains(&name) || is_recorded(&name) || is_named(&name);
            assert!(known, "{text}: no component exports {name}");
        }
    }
}

//! The dashboards for Grafana: every expression is one, and has an answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dwcp_api::dashboards::ALL;
use dwcp_telemetry::model::{MatchOp, NAME};
use dwcp_telemetry::promql::{Engine, Query};

use crate::http_node::{ADMIN, Served};
use crate::scratch::Scratch;

/// Measured where users' traffic goes through the router; without one these stay empty.
const OF_THE_ROUTER: [&str; 4] = [
    "dwcp_federation_ddos_detections_total",
    "dwcp_federation_qos_violations_total",
    "dwcp_federation_routing_decision_latency_ms",
    "sla:dwcp_federation_sla_errors:ratio_rate1h",
];
/// Between regions, and of this federation there is one.
const OF_SEVERAL: [&str; 4] = [
    "dwcp_federation_state_sync_latency_ms",
    "dwcp_link_queued_bytes",
    "dwcp_link_round_trip_seconds",
    "dwcp_link_throughput_bytes_per_second",
];
/// Needs VMs, a decision, a store in a file, hosts that tell their load, or a line of level error: none of that is here.
const OF_WHAT_HAPPENS: [&str; 7] = [
    "dwcp_federation_cpu_utilization",
    "dwcp_federation_memory_utilization",
    "dwcp_federation_placement_latency_ms",
    "dwcp_federation_state_size_bytes",
    "dwcp_federation_storage_utilization",
    "dwcp_federation_vms",
    "dwcp_log_lines_total",
];

fn expressions() -> impl Iterator<Item = String> {
    let panels = ALL.iter().flat_map(|dashboard| dashboard.panels);
    panels.flat_map(|panel| panel.targets).map(|(text, _)| text.replace("$region", ".*"))
}

/// The names that an expression selects.
fn names(text: &str) -> BTreeSet<String> {
    let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let selectors = query.selectors(&Engine::default(), 0, 0);
    let matchers = selectors.iter().flat_map(|selector| &selector.matchers);
    let names = matchers.filter_map(|matcher| match &matcher.op {
        MatchOp::Equal(name) if matcher.name == NAME => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

#[test]
fn every_expression_of_the_dashboards_has_data_where_there_is_some() {
    let scratch = Scratch::new("dashboards");
    let served = Served::start_measuring("dashboards", &scratch.path().join("metrics"));
    let ask = |text: &str| {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = served.get(&format!("/api/v1/query?query={encoded}"), ADMIN);
        assert_eq!(answer.status, 200, "{text}: {}", answer.json());
        answer.json()["data"]["result"].as_array().cloned().expect("rows")
    };
    let began = Instant::now();
    let rate = "rate(dwcp_group_applied_total[5m])";
    while ask(rate).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "two measurements");
        std::thread::sleep(Duration::from_millis(100));
    }
    let elsewhere: BTreeSet<&str> =
        OF_THE_ROUTER.into_iter().chain(OF_SEVERAL).chain(OF_WHAT_HAPPENS).collect();
    let mut used = BTreeSet::new();
    for text in expressions() {
        let names = names(&text);
        let may_be_empty = names.iter().all(|name| elsewhere.contains(&**name));
        // What is looked up now and then is there a little later.
        while ask(&text).is_empty() && !may_be_empty {
            assert!(began.elapsed() < Duration::from_secs(90), "{text}: no data");
            std::thread::sleep(Duration::from_millis(200));
        }
        used.extend(names);
    }
    assert!(used.len() >= 15, "{used:?}");
}

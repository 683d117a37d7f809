//! What the fake federation answers about metrics and logs.

use serde_json::{Value, json};

use super::answers::problem;
use super::fake::{Arrived, Reply};

/// What is typed about metrics, logs and traces.
pub const COMMANDS: [&str; 30] = [
    "metrics query 'histogram_quantile(0.99, dwcp_federation_placement_latency_ms)' --range 24h",
    "metrics query 'histogram_quantile(0.99, dwcp_federation_*_latency_ms)'",
    "metrics query 'avg(dwcp_federation_cpu_utilization) by (region)' --range 7d --step 1h",
    "metrics query 'avg(dwcp_federation_cpu_utilization) by (region)' --range 7d --step 1h --format csv",
    "metrics query nothing",
    "metrics query 'sum(up'",
    "metrics query up --step 1h",
    "metrics query up --at +2h",
    "metrics query up --range soon",
    "metrics export --metrics vm_count,cpu_usage --range 90d",
    "metrics export --metrics vm_count,cpu_usage --range 90d --format json",
    "metrics export --metrics vm_count",
    "dashboards export --output dashboards --dry-run",
    "dashboards export --output dashboards",
    "dashboards export --output dashboards --format json",
    "dashboards export --output /dev/null/dashboards",
    "logs query --component security --level warning,error --since 24h",
    "logs query --component security --format json",
    "logs query --component database",
    "logs query --level loud",
    "federation region logs --region us-east-1 --since 2h",
    "federation region logs --region eu-west-1",
    "federation region logs --region mars",
    "trace show --request-id req_4bf92f3577b34da6a3ce929d0e0e4736",
    "trace show --request-id req_4bf92f3577b34da6a3ce929d0e0e4736 --format json",
    "trace show --request-id req_4bf92f3577b34da6a3ce929d0e0e4736 --format csv",
    "trace show --failover failover-001",
    "trace show --request-id req_unknown",
    "trace show --request-id a --trace-id b",
    "trace show",
];

/// 2026-11-23T14:05:09Z, ms.
const AT_MS: u64 = 1_795_442_709_000;
const HOUR_MS: u64 = 3_600_000;

fn row(labels: Value, values: &[&str]) -> Value {
    let points = values.iter().enumerate().map(|(number, value)| {
        json!({ "at_ms": AT_MS - HOUR_MS * (values.len() - 1 - number) as u64, "value": value })
    });
    json!({ "labels": labels, "points": points.collect::<Vec<_>>() })
}

fn found(kind: &str, rows: Vec<Value>, missing: &[&str]) -> Reply {
    let warnings: Vec<String> = missing.iter().map(|region| format!("{region}: it is not heard")).collect();
    let regions = ["us-east-1", "eu-west-1"];
    let there: Vec<&str> = regions.into_iter().filter(|region| !missing.contains(region)).collect();
    let body = json!({ "kind": kind, "rows": rows, "text": null, "warnings": warnings, "regions": there,
        "missing": missing, "at_ms": AT_MS });
    (200, body.to_string())
}

fn query(request: &Arrived) -> Reply {
    let target = &request.target;
    if target.contains("sum%28up") {
        return problem(400, "DWCP-R0003", "expression is outside its range");
    }
    if target.contains("step_ms=") {
        let line = ["41.5", "42", "NaN", "47.25", "44"];
        let rows = vec![
            row(json!({ "region": "eu-west-1" }), &line),
            row(json!({ "region": "us-east-1" }), &["12", "12", "12", "12", "12"]),
        ];
        return found("matrix", rows, &[]);
    }
    if target.contains("%2A") {
        let name = |name: &str| json!({ "__name__": name });
        let rows = vec![
            row(name("dwcp_federation_placement_latency_ms"), &["0.8123456"]),
            row(name("dwcp_federation_state_sync_latency_ms"), &["153.2"]),
        ];
        return found("vector", rows, &["eu-west-1"]);
    }
    if target.contains("nothing") {
        return found("vector", vec![], &[]);
    }
    found("vector", vec![row(json!({}), &["0.8123456"])], &[])
}

fn line(at_ms: u64, level: &str, region: &str, text: &str) -> Value {
    json!({ "at_ms": at_ms, "region": region, "component": "security", "level": level, "text": text,
        "request_id": null, "operation_id": null, "fields": {}, "cut_bytes": 0 })
}

fn logs(request: &Arrived) -> Reply {
    if request.target.contains("region=mars") {
        return problem(404, "DWCP-R0010", "no region mars");
    }
    let mut lines = vec![
        line(AT_MS, "error", "eu-west-1", "turned 10.0.0.9:4433 away: no certificate"),
        line(AT_MS - 1_000, "warning", "us-east-1", "the renewed certificate is not used: it is over"),
    ];
    if request.target.contains("oldest_first=true") {
        lines.reverse();
    }
    let missing = if request.target.contains("region=eu-west-1") { vec!["eu-west-1"] } else { vec![] };
    let body = json!({ "lines": lines, "next_cursor": null, "follow_cursor": null, "truncated": false,
        "warnings": [], "missing": missing });
    (200, body.to_string())
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A span: its id, what it is part of, where, when it began after the first and how long it took, µs.
fn span(
    id: u64,
    parent: u64,
    name: &str,
    region: &str,
    (after_us, took_us): (u64, u64),
    fields: Value,
) -> Value {
    let hex = |id: u64| format!("{id:016x}");
    let parent = (parent > 0).then(|| hex(parent));
    json!({ "span_id": hex(id), "parent_id": parent, "name": name, "region": region,
        "component": "state-manager", "start_us": AT_MS * 1_000 + after_us, "duration_us": took_us,
        "failed": fields.get("refused").is_some(), "request_id": format!("req_{TRACE}"), "fields": fields })
}

fn trace(id: &str) -> Reply {
    let found = |spans: Vec<Value>, missing: &[&str]| {
        let warnings: Vec<String> =
            missing.iter().map(|region| format!("{region}: it is not heard")).collect();
        let otlp = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "traceId": TRACE }] }] }] });
        let body = json!({ "trace_id": TRACE, "spans": spans, "truncated": false, "warnings": warnings,
            "missing": missing, "otlp": otlp });
        (200, body.to_string())
    };
    match id.strip_prefix("req_") {
        Some(TRACE) => {
            let group = |index: u64| json!({ "group": "us-east-1", "index": index.to_string() });
            let placed = json!({ "to_region": "us-east-1", "to_host": "us-1" });
            let done = json!({ "vm": "vm_0000000000001", "host": "us-1", "phase": "running" });
            found(
                vec![
                    span(1, 0, "POST /v1/vms", "eu-west-1", (0, 96_200), json!({})),
                    span(2, 1, "decide placement", "eu-west-1", (350, 1_020), placed),
                    span(
                        3,
                        1,
                        "propose CreateVms",
                        "eu-west-1",
                        (1_500, 94_100),
                        json!({ "group": "us-east-1" }),
                    ),
                    span(6, 3, "apply CreateVms", "eu-west-1", (95_300, 0), group(41)),
                    span(4, 3, "commit CreateVms", "us-east-1", (42_000, 8_700), group(41)),
                    span(5, 3, "apply CreateVms", "us-east-1", (50_700, 0), group(41)),
                    span(7, 1, "carry out on host", "us-east-1", (50_700, 2_120_000), done),
                ],
                &[],
            )
        }
        Some(_) => found(vec![], &[]),
        None => {
            let refused = json!({ "vm": "vm_0000000000001", "phase": "failed", "refused": "DWCP-R0032" });
            found(
                vec![
                    span(1, 0, "fail over us-east-1", "eu-west-1", (0, 9_400_000), json!({ "vms": "1" })),
                    span(2, 1, "detect", "eu-west-1", (0, 3_000_000), json!({})),
                    span(9, 1, "carry out on host", "ap-south-1", (6_100_000, 3_100_000), refused),
                ],
                &["us-east-1"],
            )
        }
    }
}

fn days() -> Reply {
    let day = |day: u64, date: &str, values: Value| json!({ "day": day, "date": date, "values": values });
    let body = json!({ "metrics": ["vm_count", "cpu_usage"], "warnings": [], "missing": [], "days": [
        day(89, "2026-11-22", json!([12.0, null])),
        day(90, "2026-11-23", json!([13.5, 41.25])),
    ]});
    (200, body.to_string())
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    Some(match request.route().as_str() {
        "GET /v1/metrics/query" => query(request),
        "GET /v1/metrics/export" => days(),
        "GET /v1/logs" => logs(request),
        route => return route.strip_prefix("GET /v1/traces/").map(trace),
    })
}

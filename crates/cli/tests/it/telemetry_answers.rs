//! What the fake federation answers about metrics and logs.

use serde_json::{Value, json};

use super::answers::problem;
use super::fake::{Arrived, Reply};

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
        _ => return None,
    })
}

//! What the fake federation answers about the controllers of regions.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::answers::{as_of, problem};
use super::fake::{Arrived, Reply};

/// Looks since controllers were scaled last.
static LOOKS: AtomicU64 = AtomicU64::new(u64::MAX);

fn replica(host: &str, slot: u64, ready: bool) -> Value {
    json!({ "host": host, "slot": slot, "pid": 4_100 + slot, "version": "0.1.0", "ready": ready, "decided": 120 - slot,
        "failed": slot, "mean_us": if ready { json!(11_800) } else { Value::Null }, "lag_ms": 0 })
}

fn region(name: &str, replicas: Vec<Value>) -> Value {
    let up = 1 + replicas.iter().filter(|replica| replica["ready"] == true).count();
    json!({ "region": name, "wanted": 3, "up": up, "most": 9, "replicas": replicas, "decided_by_node": 40,
        "decided_by_replicas": 239, "late": 1, "not_held": 0, "per_second": 31.5, "p50_us": 310, "p95_us": 12_400,
        "p99_us": 19_000, "troubles": [] })
}

fn silent(name: &str) -> Value {
    json!({ "region": name, "wanted": 1, "up": null, "most": null, "replicas": [], "decided_by_node": null,
        "decided_by_replicas": null, "late": null, "not_held": null, "per_second": null, "p50_us": null, "p95_us": null,
        "p99_us": null, "troubles": [] })
}

fn controllers(request: &Arrived) -> Value {
    let looks = LOOKS.fetch_add(1, Ordering::SeqCst);
    let second = looks >= 1;
    let own = region("us-east-1", vec![replica("us-east-1-a1", 0, true), replica("us-east-1-b1", 0, second)]);
    match request.target.contains("region=") {
        true => json!({ "regions": [own], "as_of": as_of() }),
        false => json!({ "regions": [own, silent("eu-west-1")], "as_of": as_of() }),
    }
}

fn scale(request: &Arrived) -> Reply {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    if !["controller", "router"].iter().any(|known| body["component"] == *known) {
        return problem(409, "DWCP-R0035", "state-manager is not replicated within a region");
    }
    if body["count"] == 0 {
        return problem(409, "DWCP-R0035", "us-east-1 can't have 0 controllers");
    }
    if body["region"] == "mars" {
        return problem(404, "DWCP-R0010", "no region mars");
    }
    if body["dry_run"] != true && body["component"] == "controller" {
        LOOKS.store(0, Ordering::SeqCst);
    }
    let left: Vec<&str> = match body["region"].is_null() {
        true => vec![
            "eu-west-1: its node is not heard, or does not lead its group: what its hosts can run is unknown",
        ],
        false => Vec::new(),
    };
    let after = if body["component"] == "router" { 1 } else { 3 };
    let scaled =
        json!({ "regions": [{ "region": "us-east-1", "before": 1, "after": after }], "left_out": left });
    (200, scaled.to_string())
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    match request.route().as_str() {
        "GET /v1/controllers" => Some((200, controllers(request).to_string())),
        "POST /v1/controllers/scale" => Some(scale(request)),
        _ => None,
    }
}

//! What the fake federation answers about regions that come and go.

use serde_json::{Value, json};

use super::answers::{as_of, problem};
use super::fake::{Arrived, Reply};

fn host(region: &str, control: Value, phase: &str) -> Value {
    json!({
        "region": region, "host": format!("{region}-a1"), "zone": "a", "vcpus": 8, "memory_mib": 4_096, "disk_gib": 64,
        "accelerator": "tcg", "version": "0.1.0", "control": control, "phase": phase,
    })
}

fn deployed(dry: bool) -> Value {
    json!({
        "region": "eu-central-1", "number": if dry { Value::Null } else { json!(6) }, "host": "eu-central-1-a1",
        "address": "127.77.6.1:7443", "hosts": 1, "vcpus": 8, "memory_mib": 4_096, "disk_gib": 64,
    })
}

/// A region of which everything is there.
fn membership() -> Value {
    let step = |step: &str, detail: &str| json!({ "step": step, "done": true, "detail": detail });
    json!({
        "region": "eu-central-1", "number": 6, "lifecycle": "joining", "leaving": false, "host": "eu-central-1-a1",
        "address": "127.77.6.1:7443", "as_of": as_of(), "steps": [
            step("added", "number 6"), step("founded", "its group has a leader"), step("node", "heard 90 ms ago"),
            step("replicas", "7 of 7 groups"), step("hosts", "1 registered"), step("enabled", "traffic 10 %"),
        ],
    })
}

fn changed(region: &str, note: &str) -> Value {
    json!({ "region": region, "changed": true, "notes": [note] })
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let dry = request.body.contains("\"dry_run\":true");
    let route = request.route();
    let value = match route.as_str() {
        "GET /v1/pools" if request.target.contains("sa-east-1") => {
            json!({ "as_of": as_of(), "hosts": [host("sa-east-1", Value::Null, "nothing")] })
        }
        "GET /v1/pools" => json!({ "as_of": as_of(), "hosts": [
            host("ap-northeast-1", Value::Null, "nothing"),
            host("eu-central-1", json!("127.77.6.1:7443"), "running"),
        ] }),
        "POST /v1/regions/eu-central-1/deploy" => deployed(dry),
        "POST /v1/regions/us-east-1/deploy" => {
            return Some(problem(409, "DWCP-R0035", "us-east-1 is a region already"));
        }
        "GET /v1/regions/eu-central-1/membership" => membership(),
        "POST /v1/regions/eu-central-1/replicate" => {
            changed("eu-central-1", "its node learns every group first, and votes where it is near")
        }
        "POST /v1/regions/us-east-1/remove" => {
            return Some(problem(409, "DWCP-R0035", "us-east-1 takes part"));
        }
        "POST /v1/regions/sa-east-1/remove" => changed("sa-east-1", "it is forgotten"),
        "GET /v1/regions/sa-east-1/membership" | "GET /v1/regions/us-east-1/membership" => {
            return Some(problem(404, "DWCP-R0010", "no region sa-east-1"));
        }
        "POST /v1/regions/sa-east-1/clean-up" => {
            changed("sa-east-1", "no host that is connected runs its node")
        }
        _ => return None,
    };
    Some((200, value.to_string()))
}

//! What the fake federation answers about versions.

use serde_json::{Value, json};

use super::answers::{as_of, operation, problem};
use super::fake::{Arrived, Reply};

const SHA: &str = "5f1c7a0be2d94c83a6f00e1d2c3b4a595f1c7a0be2d94c83a6f00e1d2c3b4a59";

fn release() -> Value {
    json!({
        "version": "3.2.0", "level": 2, "sha256": SHA, "bytes": 31_457_280, "platform": "x86_64-linux", "by": "ops",
        "published_at_ms": 1_795_392_000_000u64, "here": ["eu-west-1", "us-east-1"], "runs": ["us-east-1"],
    })
}

fn upgraded(request: &Arrived) -> Value {
    let dry = request.body.contains("\"dry_run\":true");
    let already = request.body.contains("\"version\":\"0.1.0\"");
    let mut running = operation("upgrade", "running", 1);
    running["operation"] = json!("op_upgrade");
    json!({
        "region": "us-east-1", "version": if already { "0.1.0" } else { "3.2.0" }, "before": "0.1.0", "already": already,
        "operation": if dry || already { Value::Null } else { running },
    })
}

/// How the upgrade ended.
fn ended() -> Value {
    let step = |name: &str| json!({ "name": name, "state": "done", "done": 1, "total": 1, "note": "", "took_ms": null });
    let mut ended = operation("upgrade", "done", 3);
    ended["operation"] = json!("op_upgrade");
    ended["subject"] = json!("us-east-1");
    ended["steps"] = json!([
        step("the program is fetched and compared"),
        step("the node goes over to it"),
        step("it is well and stays"),
    ]);
    ended
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let value = match request.route().as_str() {
        "GET /v1/releases" => json!({ "level": 1, "items": [release()] }),
        "POST /v1/regions/us-east-1/upgrade" if request.body.contains("9.9.9") => {
            return Some(problem(404, "DWCP-R0090", "no version 9.9.9 is published"));
        }
        "POST /v1/regions/eu-west-1/upgrade" => {
            return Some(problem(409, "DWCP-R0092", "eu-west-1 can't be spared now"));
        }
        "POST /v1/regions/us-east-1/upgrade" => upgraded(request),
        "GET /v1/operations/op_upgrade" => json!({ "operation": ended(), "as_of": as_of() }),
        _ => return None,
    };
    Some((200, value.to_string()))
}

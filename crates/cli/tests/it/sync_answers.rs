//! What the fake federation answers about replicas that are compared and rebuilt.

use serde_json::{Value, json};

use super::answers::{as_of, operation, problem};
use super::fake::{Arrived, Reply};

const DIGEST: &str = "5f1c7a0be2d94c83a6f00e1d2c3b4a59";

fn store(flaws: &Value) -> Value {
    json!({
        "flaws": flaws, "unread": null, "records": 412, "bytes": 1_724_416, "file_bytes": 1_601_536, "took_ms": 88, "held_us": 410,
        "longest_commit_us": 3_200,
    })
}

fn region(name: &str, state: &str, store: Value) -> Value {
    json!({
        "region": name, "state": state, "silent_ms": null, "groups": 6, "of_groups": 6, "records": 1_204,
        "digest": DIGEST, "differs": [], "left_out": [], "store": store,
    })
}

/// One region equal, one that differs in a record and is damaged on disk, one that is away.
fn verdict(request: &Arrived) -> Value {
    let good = region("us-east-1", "equal", store(&json!([])));
    if request.body.contains("us-east-1") {
        return json!({ "state": "equal", "regions": [good], "groups": [], "took_ms": 912, "as_of": as_of() });
    }
    if request.body.contains("sa-east-1") {
        let mut busy = region("sa-east-1", "unverified", store(&json!([])));
        busy["store"]["unread"] = json!("more was written meanwhile than is kept for a reader");
        return json!({ "state": "unverified", "regions": [busy], "groups": [], "took_ms": 912, "as_of": as_of() });
    }
    let flaws = json!([
        { "group": "ap-south-1", "what": "entry 77 does not match its checksum" },
        { "group": null, "what": "its pages contradict each other" },
    ]);
    let mut differs = region("eu-west-1", "differs", store(&flaws));
    differs["differs"] = json!(["us-east-1"]);
    let mut away = region("ap-south-1", "unreachable", Value::Null);
    away["silent_ms"] = json!(14_200);
    (away["groups"], away["records"], away["digest"]) = (json!(0), Value::Null, Value::Null);
    away["left_out"] = json!([{ "group": "federation", "why": "silent for 14 s" }]);
    let differences = json!([
        { "kind": "vms", "record": "vm_web", "regions": ["eu-west-1"], "missing": [] },
        { "kind": "requests", "record": "ops/k-1", "regions": ["eu-west-1"], "missing": ["eu-west-1"] },
    ]);
    let groups = json!([{
        "group": "us-east-1", "index": 4_711, "compared": 2, "digest": DIGEST, "differences": differences,
        "more": true,
    }]);
    json!({ "state": "differs", "regions": [good, differs, away], "groups": groups, "took_ms": 2_100, "as_of": as_of() })
}

fn step(group: Option<&str>, voters: (u64, u64), differs: bool) -> Value {
    json!({
        "region": "eu-west-1", "group": group, "bytes": 52_114, "entries": 17, "votes": voters.1 > 0,
        "voters_left": voters.0, "voters_needed": voters.1, "differs": differs,
    })
}

fn forced(request: &Arrived) -> Value {
    if request.body.contains("\"dry_run\":true") {
        let steps = [
            step(None, (0, 0), false),
            step(Some("federation"), (4, 3), false),
            step(Some("us-east-1"), (4, 3), true),
        ];
        return json!({ "operation": null, "steps": steps, "as_of": as_of() });
    }
    let mut running = operation("force_sync", "running", 1);
    running["operation"] = json!("op_sync");
    json!({ "operation": running, "steps": [], "as_of": as_of() })
}

/// How the rebuild ended.
fn ended() -> Value {
    let step = |name: &str, note: &str| json!({ "name": name, "state": "done", "done": 1, "total": 1, "note": note, "took_ms": null });
    let mut ended = operation("force_sync", "done", 2);
    ended["operation"] = json!("op_sync");
    ended["subject"] = json!("eu-west-1");
    ended["steps"] = json!([
        step("eu-west-1: store file", "1601536 bytes, 412 records; every record matches its checksum"),
        step("eu-west-1: federation", "52114 bytes, 17 entries; digest 5f1c7a0be2d9"),
    ]);
    ended
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let value = match request.route().as_str() {
        "POST /v1/state/verify-sync" | "POST /v1/state/force-sync" if request.body.contains("mars") => {
            return Some(problem(404, "DWCP-R0010", "no region mars"));
        }
        "POST /v1/state/force-sync" if request.body.contains("\"source\":\"eu-west-1\"") => {
            return Some(problem(409, "DWCP-R0035", "eu-west-1 is no source: its own store is damaged"));
        }
        "POST /v1/state/verify-sync" => verdict(request),
        "POST /v1/state/force-sync" => forced(request),
        "GET /v1/operations/op_sync" => json!({ "operation": ended(), "as_of": as_of() }),
        _ => return None,
    };
    Some((200, value.to_string()))
}

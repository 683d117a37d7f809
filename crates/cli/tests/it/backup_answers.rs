//! What the fake federation answers about backups.

use serde_json::{Value, json};

use super::answers::{NINE, as_of};
use super::fake::{Arrived, Reply};

const PLACE: &str = "s3://backups.example.com/state";

fn run(task: &str, state: &str, by: &str, result: &str) -> Value {
    json!({
        "operation": "op_b1", "task": task, "destination": PLACE, "at": null, "state": state, "backup": 12, "by": by,
        "asked_at_ms": NINE, "ended_at_ms": NINE + 900, "result": result,
    })
}

fn status(state: &str, planned: bool) -> Value {
    let mark = |backup: u64, age_ms: u64| json!({ "backup": backup, "at_ms": NINE, "age_ms": age_ms });
    let plan = json!({
        "destination": PLACE, "interval_ms": 300_000, "keep_within_ms": 2_592_000_000u64, "keep_last": 1,
        "encryption": "aes256", "key_file": null, "key_id": "5f0c7a9e11d2b344", "by": "ops@example.com",
        "at_ms": NINE, "next_at_ms": NINE + 300_000, "revision": 9,
    });
    json!({
        "state": state, "plan": planned.then_some(plan), "newest": planned.then(|| mark(12, 240_000)),
        "newest_verified": planned.then(|| mark(9, 1_140_000)), "verified_at_ms": NINE, "head": "13-00ff",
        "runs": [
            run("incremental", "failed", "dwcp", "the backups are damaged; packs/0000000009-aa/0: altered"),
            run("full", "done", "ops@example.com", "backup 9 (full): 1204 records, 310 KiB, 96 KiB written; read again, whole"),
        ],
        "as_of": as_of(),
    })
}

fn operation(kind: &str, state: &str, note: &str) -> Value {
    let running = state == "running";
    json!({
        "operation": if state == "failed" { "op_b2" } else { "op_b1" }, "kind": kind, "subject": PLACE, "related": "12",
        "state": state,
        "steps": [{ "name": "full backup", "state": state, "done": u8::from(!running), "total": 1, "note": note,
            "took_ms": 900 }],
        "done": u8::from(!running), "total": 1, "failed": 0, "left": [], "by": "ops@example.com", "started_at_ms": NINE,
        "ended_at_ms": if running { None } else { Some(NINE + 900) }, "joined": false, "revision": 5,
    })
}

const DAMAGED: &str = "the backups at s3://backups.example.com/state are damaged; packs/0000000009-aa/0: altered, or another pack in its place";

/// What can't be asked of backups.
pub fn refused(request: &Arrived) -> Option<Reply> {
    if request.route() != "PUT /v1/backups" || !request.body.contains("elsewhere") {
        return None;
    }
    let body = json!({
        "type": "urn:dwcp:problem:DWCP-R0080", "title": "this server has no key for backups", "status": 400,
        "code": "DWCP-R0080", "cause": ["neither `backup.key_file` of its dwcpd.yaml nor --key-file names one"],
        "next": "nothing was changed", "try": ["dwcpd backup-key --out /etc/dwcp/backup.key"], "request_id": "req_42",
    });
    Some((400, body.to_string()))
}

fn restored(body: &str) -> Value {
    let only = body.contains("vm/web-1");
    let change = |record: &str, name: &str, change: &str, fields: Value| json!({ "group": "us-east-1", "record": record, "name": name, "change": change, "fields": fields });
    let gone = change("vms/vm_1", "web-1", "added", json!([]));
    let mut records = vec![gone];
    if !only {
        let fields = json!([
            { "field": "generation", "now": "4", "backup": "3" },
            { "field": "labels.tier", "now": null, "backup": "front" },
        ]);
        records.push(change("vms/vm_2", "web-2", "changed", fields));
        records.push(change("vms/vm_3", "web-3", "removed", json!([])));
    }
    let counted =
        json!([{ "group": "us-east-1", "records": "events", "added": 0, "changed": 0, "removed": 31 }]);
    let made = only && !body.contains("\"dry_run\":true");
    json!({
        "destination": PLACE, "backup": 12, "at_ms": NINE, "age_ms": 240_000, "records": records, "left_out": 0,
        "counted": if only { json!([]) } else { counted }, "same": 1_170, "vm": made.then_some("vm_9"),
        "operation": made.then(|| operation("vm_create", "done", "")),
    })
}

/// Plans, lists and runs.
pub fn backups(request: &Arrived) -> Option<Value> {
    let route = request.route();
    Some(match route.as_str() {
        "PUT /v1/backups" => status("in_time", true),
        "GET /v1/backups" => status("verified_late", true),
        "POST /v1/backups/create" if request.body.contains("\"dry_run\":true") => {
            json!({ "destination": PLACE, "operation": null })
        }
        "POST /v1/backups/create" => {
            json!({ "destination": PLACE, "operation": operation("backup", "running", "") })
        }
        "POST /v1/backups/verify" if request.body.contains("\"all\":true") => {
            json!({ "destination": PLACE, "operation": operation("backup_verify", "failed", DAMAGED) })
        }
        "POST /v1/backups/verify" => {
            json!({ "destination": PLACE, "operation": operation("backup_verify", "done", "backup 12 is whole: 1204 records read") })
        }
        "POST /v1/backups/restore" => restored(&request.body),
        "GET /v1/operations/op_b1" => {
            let note = "backup 12 (full): 1204 records, 310 KiB, 96 KiB written; read again, whole";
            json!({ "operation": operation("backup", "done", note), "as_of": as_of() })
        }
        "GET /v1/backups/list" => {
            let backup = |number: u64, kind: &str, parent: Option<u64>, written: u64| {
                json!({
                    "backup": number, "kind": kind, "at_ms": NINE, "age_ms": 240_000, "parent": parent, "records": 1_204,
                    "bytes": 317_440, "written_bytes": written,
                    "revisions": { "federation": 4_011, "us-east-1": 9_120 },
                })
            };
            let damaged = request.target.contains("damaged");
            json!({
                "destination": PLACE, "server": "us-east-1",
                "backups": [backup(9, "full", None, 98_304), backup(12, "incremental", Some(9), 4_096)],
                "faults": if damaged { vec!["log/0000000011: is missing"] } else { vec![] },
                "removed": "older than 30d", "head": "13-00ff",
            })
        }
        _ => return None,
    })
}

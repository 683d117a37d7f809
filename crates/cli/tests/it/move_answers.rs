//! What the fake federation answers about VMs that move.

use serde_json::{Value, json};

use super::answers::{NINE, as_of, operation, page};
use super::fake::{Arrived, Reply};

fn step(name: &str, to: Option<&str>, reason: &str) -> Value {
    json!({
        "vm": format!("vm_{name}"), "name": name, "from": "us-east-1", "from_host": "host-1", "to": to,
        "to_host": null, "reason": reason,
    })
}

/// VMs of which some have no place.
fn started(request: &Arrived, planned: Vec<Value>, notes: &[&str], warnings: &[&str]) -> Value {
    let dry = request.body.contains("\"dry_run\":true");
    let operations =
        if dry || planned.is_empty() { Vec::new() } else { vec![operation("migrate", "done", 2)] };
    let left = planned.iter().filter(|step| step["to"].is_null()).count();
    json!({
        "operations": operations, "planned": planned, "left": left, "notes": notes, "warnings": warnings,
        "as_of": as_of(),
    })
}

fn migration(name: &str, state: &str) -> Value {
    let ended = state != "running";
    json!({
        "migration": format!("mig_{name}"), "vm": format!("vm_{name}"), "name": name, "kind": "live",
        "from": "us-east-1", "from_host": "host-1", "to": "eu-west-1", "to_host": "host-2", "state": state,
        "stage": (!ended).then_some("memory"), "bytes_done": 52_428_800, "bytes_total": 104_857_600,
        "rate_bytes_per_s": (!ended).then_some(12_500_000), "dirty_bytes_per_s": (!ended).then_some(400_000),
        "throttle_percent": (!ended).then_some(0), "left_ms": (!ended).then_some(4_300),
        "took_ms": ended.then_some(7_700), "downtime_ms": ended.then_some(180), "max_downtime_ms": 300,
        "operation": "op_7f3", "reason": if ended { "moved" } else { "80 ms away" }, "asked_at_ms": NINE,
        "started_at_ms": NINE + 100, "ended_at_ms": ended.then_some(NINE + 7_800),
    })
}

fn refusal(code: &str, what: &str, cause: &str, next: &str, attempts: &[&str]) -> Reply {
    let body = json!({
        "type": format!("urn:dwcp:problem:{code}"), "title": what, "status": 409, "code": code, "cause": [cause],
        "next": next, "try": attempts, "request_id": "req_42",
    });
    (409, body.to_string())
}

/// What can't be asked of VMs that move, or that have a protected disk.
pub fn refused(request: &Arrived) -> Option<Reply> {
    let next = "nothing was changed; once it has moved: dwcp-cli vm protect db --mode sync";
    let cold = "dwcp-cli federation migrate --vm db --cold --target eu-west-1";
    let protected = |cause: &str, attempts: &[&str]| {
        refusal("DWCP-R0048", "db can't be moved to sa-east-1 while it runs", cause, next, attempts)
    };
    let none = "dwcp-cli vm protect db --mode none";
    match request.route().as_str() {
        "POST /v1/migrations" if request.body.contains("\"db\"") => {
            let cause =
                "its disk is protected (sync): its copy is whole on host-2 in eu-west-1, where it can start";
            Some(protected(cause, &[cold, none]))
        }
        "POST /v1/migrations" if request.body.contains("\"cache\"") => Some(refusal(
            "DWCP-R0035",
            "cache has left us-east-1 for eu-west-1",
            "it is moved from where it is, and that is eu-west-1 now",
            "nothing was changed; ask again in a moment",
            &["dwcp-cli vm show cache"],
        )),
        "PUT /v1/vms/web/protection" => Some(refusal(
            "DWCP-R0035",
            "web is moving to eu-west-1",
            "mig_web has started and not ended",
            "nothing was changed",
            &["dwcp-cli federation migrate cancel --vm web"],
        )),
        _ => None,
    }
}

/// None: about something else.
pub fn moves(request: &Arrived) -> Option<Value> {
    let there = || step("web", Some("eu-west-1"), "score 812, 80 ms away");
    let big = || step("big", None, "needs 64 vCPUs; the largest host has 32");
    let held = "its disk is protected (sync): its copy is whole on host-2 in eu-west-1, where it can start; try: dwcp-cli \
                federation migrate --vm db --cold --target eu-west-1";
    let db = || step("db", None, held);
    let warning =
        "survivability: 1 VM would not survive the loss of eu-west-1 (0 before this change): web (no room)";
    Some(match request.route().as_str() {
        "POST /v1/migrations" => started(request, vec![there()], &[], &[]),
        "POST /v1/regions/us-east-1/drain" => started(request, vec![there(), big(), db()], &[], &[warning]),
        "POST /v1/hosts/host-1/drain" => started(request, vec![there()], &[], &[]),
        "POST /v1/regions/us-east-1/failback" => started(request, vec![there()], &[], &[]),
        "POST /v1/regions/eu-west-1/failback" => started(request, Vec::new(), &[], &[]),
        "POST /v1/rebalance" if request.body.contains("us-east-1") => {
            let note = "hosts of us-east-1 are 40 to 45 % full; nothing moves: loads lie within 15 %";
            started(request, Vec::new(), &[note], &[])
        }
        "POST /v1/rebalance" => {
            let note = "regions are 12 to 71 % full, then 30 to 44 %; 2 GiB of memory and disk move; loads lie within 15 %";
            let why = "us-east-1: 71 % -> 64 %, eu-west-1: 12 % -> 19 %";
            started(request, vec![step("web", Some("eu-west-1"), why)], &[note], &[warning])
        }
        "GET /v1/migrations" => page(vec![migration("web", "running"), migration("db", "done")]),
        "POST /v1/migrations/cancel" => json!({ "cancelled": ["web"], "not_moving": ["db"] }),
        _ => return None,
    })
}

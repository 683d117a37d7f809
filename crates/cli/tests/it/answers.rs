//! What the fake federation answers: one small federation of two regions, the second not heard of.

use dwcp_api::Freshness;
use dwcp_api::vm_spec::Priority;
use serde::Serialize;
use serde_json::{Value, json};

use super::fake::{Arrived, Reply};

/// 2026-11-23T09:00:00Z.
pub const NINE: u64 = 1_795_424_400_000;

pub fn as_of() -> Vec<Freshness> {
    vec![
        Freshness { region: "us-east-1".into(), age_ms: Some(120), revision: 41 },
        Freshness { region: "eu-west-1".into(), age_ms: None, revision: 17 },
    ]
}

fn usage(used: Option<f64>) -> Value {
    json!({ "capacity": 32, "allocated": 8, "used_percent": used })
}

pub fn region(name: &str, known: bool) -> Value {
    json!({
        "region": name,
        "number": if known { 1 } else { 2 },
        "lifecycle": if known { "active" } else { "lost" },
        "health": match known {
            true => json!({ "score": 97, "state": "healthy",
                "deductions": [{ "points": 3, "cause": "RTT to ap-south-1 is 12% over its floor" }] }),
            false => json!({ "score": null, "state": "unknown", "deductions": [] }),
        },
        "vms": known.then_some(12),
        "hosts": 3,
        "cpu": usage(known.then_some(40.0)),
        "memory": usage(known.then_some(31.5)),
        "storage": usage(known.then_some(10.0)),
        "traffic_percent": known.then_some(62.0),
        "replication_lag_ms": known.then_some(12),
        "leader": if known { Some(name) } else { None },
        "version": known.then_some("0.1.0"),
        "placement": match known {
            true => json!({ "enabled": true, "since_at_ms": null, "by": null, "reason": "" }),
            false => json!({ "enabled": false, "since_at_ms": NINE, "by": "op_7f3", "reason": "lost" }),
        },
        "age_ms": known.then_some(120),
        "revision": 41,
    })
}

pub fn vm(name: &str, state: &str) -> Value {
    json!({
        "vm": format!("vm_{name}"), "name": name, "state": state, "wanted_running": true, "region": "us-east-1",
        "zone": "a", "host": "host-1", "generation": 3, "image": "small", "image_digest": "3f2a".repeat(16), "vcpus": 1, "memory_mib": 64,
        "disk_gib": 0, "priority": Priority(100), "policy": { "regions_deny": ["eu-west-1"] },
        "labels": { "app": "shop" }, "network": "user", "probe": { "kind": "http", "port": 80, "path": "/health" },
        "address": "http://127.77.1.32:8080/", "healthy": true, "reason": "", "cost_usd_month": 4.5,
        "created_at_ms": NINE, "revision": 40,
    })
}

/// A drill with one copy that answers elsewhere and one that found no place.
pub fn drill(state: &str) -> Value {
    let copy = |name: &str, verified: bool| {
        json!({
            "of": format!("vm_{name}"), "vm": format!("vm_copy_{name}"), "name": format!("drill-001-{name}"),
            "from_host": "host-1", "to_region": verified.then_some("eu-west-1"),
            "to_host": verified.then_some("host-2"), "state": if verified { "verified" } else { "left" },
            "reason": if verified { "score 812, 80 ms away" } else { "eu-west-1: no room (2 hosts)" },
            "lost": true, "took_ms": verified.then_some(9_183), "disk": false,
            "records_written": null, "records_kept": null,
        })
    };
    let time = |moment: &str, after_ms: u64, note: &str| json!({ "moment": moment, "at_ms": NINE + after_ms, "after_ms": after_ms, "note": note });
    json!({
        "drill": "drill-001", "region": "us-east-1", "mode": "isolated", "state": state, "by": "ops@example.com",
        "started_at_ms": NINE - 9_000, "ends_by_ms": NINE + 1_791_000, "measured_at_ms": NINE + 9_400, "ended_at_ms": null, "restoring": false,
        "times": [
            time("cut", 0, "2 copies are killed at once; the region itself goes on"),
            time("detected", 2_500, "waited: the policy counts a region as lost after 2500 ms"),
            time("verified", 9_183, "the last copy has answered its own probe"),
        ],
        "vms": [copy("web-1", true), copy("web-2", false)], "left_out": 3, "lost": 2, "migrated": 1,
        "success_percent": 50, "rto_ms": 9_183,
        "rpo": { "records_lost": 0, "evidence": "no disk: nothing to lose" },
        "result": "1 of 2 copies answer elsewhere", "failover": null,
    })
}

/// A copy of a disk: whole, or behind since its link was cut.
fn protection(state: &str) -> Value {
    let behind = state == "degraded";
    json!({
        "wanted": { "mode": "sync", "interval_ms": null, "on_replica_loss": "go_on", "region": null },
        "state": state, "since_at_ms": NINE, "region": "eu-west-1", "host": "host-2", "epoch": 3,
        "point_at_ms": NINE, "would_lose_ms": if behind { 64_200 } else { 0 },
        "reason": if behind { "host-2 was not heard for 3 s" } else { "" },
    })
}

/// A VM whose disk is kept elsewhere.
fn protected_vm(name: &str, state: &str) -> Value {
    let mut vm = vm(name, "running");
    vm["disk_gib"] = json!(1);
    vm["protection"] = protection(state);
    vm
}

fn protection_status() -> Value {
    let row = |name: &str, state: &str| {
        json!({
            "vm": format!("vm_{name}"), "name": name, "region": "us-east-1", "protection": protection(state),
        })
    };
    let mut young = row("young", "waiting");
    let of = &mut young["protection"];
    of["wanted"] =
        json!({ "mode": "async", "interval_ms": 30_000, "on_replica_loss": "stop", "region": "sa-east-1" });
    for unknown in ["region", "host", "point_at_ms", "would_lose_ms"] {
        of[unknown] = Value::Null;
    }
    json!({
        "vms": [row("db", "protected"), row("queue", "degraded"), young], "protected": 1, "syncing": 0, "degraded": 1,
        "waiting": 1, "as_of": as_of(),
    })
}

pub fn operation(kind: &str, state: &str, done: u64) -> Value {
    json!({
        "operation": "op_7f3", "kind": kind, "subject": "web", "related": null, "state": state,
        "steps": [
            { "name": "place", "state": "done", "done": 2, "total": 2, "note": "", "took_ms": 3 },
            { "name": "start", "state": if state == "running" { "running" } else { "done" }, "done": done,
              "total": 2, "note": "", "took_ms": null },
        ],
        "done": done, "total": 2, "failed": 0, "left": [], "by": "ops@example.com", "started_at_ms": NINE,
        "ended_at_ms": if state == "running" { None } else { Some(NINE + 1_400) }, "joined": false, "revision": 5,
    })
}

pub fn host(name: &str) -> Value {
    json!({
        "host": name, "region": "us-east-1", "zone": "a", "state": "up", "labels": { "disk": "ssd" },
        "lease_left_ms": 2_700, "cpu": usage(Some(40.0)), "memory": usage(None), "storage": usage(Some(1.0)),
        "vms": 4, "version": "0.1.0", "silent_ms": 210, "revision": 12,
    })
}

fn event() -> Value {
    json!({
        "id": "ev_1", "at_ms": NINE, "region": "eu-west-1", "severity": "critical", "kind": "region_lost",
        "subject": "eu-west-1", "message": "a majority of regions has not heard of it for 3.0s", "by": "dwcp",
    })
}

fn link(from: &str, to: &str, rtt: Option<f64>) -> Value {
    json!({
        "from": from, "to": to, "up": rtt.map(|_| true), "rtt_p50_ms": rtt, "rtt_p99_ms": rtt.map(|r| r * 1.2),
        "loss_percent": rtt.map(|_| 0.0), "throughput_mbit_s": null, "age_ms": rtt.map(|_| 900),
    })
}

pub fn failover(state: &str) -> Value {
    let ended = state != "running";
    json!({
        "failover": "failover-001", "operation": "op_7f3", "from": "eu-west-1", "to": ["us-east-1"],
        "trigger": "manual", "state": state,
        "phases": [
            { "name": "fence", "started_at_ms": NINE, "ended_at_ms": NINE + 3_150, "took_ms": 3_150 },
            { "name": "restart", "started_at_ms": NINE + 3_150, "ended_at_ms": ended.then_some(NINE + 6_000),
              "took_ms": ended.then_some(2_850) },
        ],
        "vms": [
            { "vm": "vm_web", "name": "web", "from_host": "host-1", "to_region": "us-east-1", "to_host": "host-2",
              "state": if ended { "verified" } else { "starting" }, "reason": "most free memory",
              "took_ms": ended.then_some(5_900) },
            { "vm": "vm_big", "name": "big", "from_host": "host-1", "to_region": null, "to_host": null,
              "state": "left", "reason": "needs 64 vCPUs; the largest host has 32", "took_ms": null },
        ],
        "total": 2, "done": u64::from(ended), "left": 1, "failed": 0, "rto_ms": 6_000, "predicted_rto_ms": 7_000,
        "rto_final": ended,
        "rpo": { "acknowledged_writes_lost": 0, "evidence": "revision 17 is on 4 of 5 voters" },
        "cost_change_usd_cents_month": 250, "started_at_ms": NINE, "ended_at_ms": ended.then_some(NINE + 6_000),
        "by": "ops@example.com",
    })
}

fn placement() -> Value {
    json!({
        "vm": "web",
        "candidates": [
            { "region": "us-east-1", "zone": "a", "host": "host-1", "score": 81.25,
              "factors": [{ "name": "latency", "value": 0.9, "weight": 0.3, "from": "12 ms" }], "ruled_out": [] },
            { "region": "eu-west-1", "zone": null, "host": null, "score": null, "factors": [],
              "ruled_out": ["placement is disabled since 09:00 by op_7f3"] },
        ],
        "chosen": [{ "vm": "web", "region": "us-east-1", "host": "host-1", "score": 81.25 }],
        "reasons": [], "took_us": 180, "as_of": as_of(),
    })
}

fn token(state: &str) -> Value {
    json!({
        "token_id": "token-abc123", "user": "ops@example.com", "role": "operator", "state": state,
        "description": "on call", "created_at_ms": NINE, "expires_at_ms": NINE + 86_400_000, "revoked_at_ms": null,
        "last_used_at_ms": null, "revision": 9,
    })
}

fn unplaced(name: &str, lacks_room: bool) -> Value {
    let why = if lacks_room {
        "eu-west-1: 2 hosts: too little room"
    } else {
        "eu-west-1: it is among the denied regions"
    };
    json!({ "vm": format!("vm_{name}"), "name": name, "region": "us-east-1", "priority": Priority(50),
        "needs": { "vcpus": 4, "memory_mib": 8_192, "disk_gib": 0 }, "lacks_room": lacks_room, "why": why })
}

/// Windows, and a region that is in one.
fn maintenance(request: &Arrived) -> Option<Value> {
    let window = |state: &str, host: Option<&str>| {
        json!({
            "window": "window-001", "region": "us-east-1", "host": host, "state": state, "starts_at_ms": NINE,
            "ends_at_ms": NINE + 7_200_000, "reason": "disks", "by": "ops@example.com", "no_placement": host.is_none(),
            "notice": "7 days", "cancelled_at_ms": (state == "cancelled").then_some(NINE), "revision": 5,
        })
    };
    let warnings = [
        "window-002 of eu-west-1 is at the same time: 2026-11-23T09:00:00Z to 2026-11-23T10:00:00Z (fans)",
        "survivability: 2 VMs would have no place if eu-west-1 and us-east-1 were lost together",
    ];
    Some(match request.route().as_str() {
        "POST /v1/maintenance" if request.body.contains("host-1") => {
            let asked = json!({ "window": "", "region": "eu-west-1" });
            let mut shown = window("planned", Some("host-1"));
            asked.as_object()?.iter().for_each(|(key, value)| shown[key] = value.clone());
            json!({ "window": shown, "warnings": [], "as_of": as_of() })
        }
        "POST /v1/maintenance" => {
            json!({ "window": window("planned", None), "warnings": warnings, "as_of": as_of() })
        }
        "GET /v1/maintenance" => page(vec![window("running", None), window("planned", Some("host-1"))]),
        "POST /v1/maintenance/window-001/cancel" => {
            json!({ "window": window("cancelled", None), "warnings": [], "as_of": as_of() })
        }
        "GET /v1/regions/ap-south-1" => {
            let mut summary = region("ap-south-1", true);
            summary["health"]["deductions"][0]["muted_by"] = json!("window-001");
            summary["health"]["maintenance"] =
                json!({ "window": "window-001", "until_at_ms": NINE + 7_200_000, "reason": "disks" });
            json!({ "summary": summary, "zones": [], "hosts": [], "components": [], "links": [], "recent_events": [],
                "as_of": as_of() })
        }
        _ => return None,
    })
}

fn promises() -> Value {
    let steps = json!([
        { "step": "detect", "at_most_ms": 2_900, "from": "a majority hears nothing for 2500 ms" },
        { "step": "agree", "at_most_ms": 450, "from": "two commits of 100 ms each" },
        { "step": "fence", "at_most_ms": 0, "from": "leases may hold until 3300 ms after the cut" },
        { "step": "hand over", "at_most_ms": 700, "from": "3 commits of 100 ms each" },
        { "step": "boot", "at_most_ms": 33_000, "from": "88 VMs boot on host-1 in eu-west-1" },
    ]);
    json!({
        "rto_target_ms": 30_000, "kept": false, "assumed": ["a boot takes 3.0 s: no VM was created one at a time lately"],
        "as_of": as_of(),
        "regions": [
            { "region": "us-east-1", "vms": 88, "rto_ms": 37_050, "steps": steps, "rpo_ms": 0, "disk_rpo_ms": 8_400, "unprotected": 2, "kept": false,
              "broken": ["its VMs answer after 37.0 s, 7.0 s over the target of 30.0 s: detect 2.9 s, boot 33.0 s"],
              "helps": ["more hosts or processors elsewhere: host-1 in eu-west-1 has the most to boot"],
              "boot_ms": 3_000, "boots_measured": 0 },
            { "region": "eu-west-1", "vms": 7, "rto_ms": null, "steps": steps, "rpo_ms": null, "disk_rpo_ms": null, "unprotected": 0, "kept": false,
              "broken": ["without it 1 of 2 voters are heard: 2 are needed to declare it lost"],
              "helps": ["more regions that vote (at least three), or the silent ones back"],
              "boot_ms": 3_000, "boots_measured": 0 },
        ],
    })
}

fn capacity() -> Value {
    let row = |resource: &str,
               unit: &str,
               used: Option<f64>,
               state: &str,
               growth: Option<f64>,
               days: Option<f64>| {
        let amount = (!unit.is_empty()).then_some(64);
        json!({
            "region": "us-east-1", "resource": resource, "unit": unit, "capacity": amount,
            "allocated": amount.map(|_| 24), "headroom": amount.map(|_| 40), "used_percent": used,
            "warning_percent": 70.0, "critical_percent": 85.0, "state": state, "growth_per_day": growth,
            "days_to_critical": days,
        })
    };
    json!({
        "rows": [
            row("cpu", "vCPU", Some(65.25), "ok", Some(0.5), Some(39.5)),
            row("memory", "MiB", Some(80.0), "warning", Some(1.0), Some(5.0)),
            row("storage", "GiB", Some(91.0), "critical", Some(-0.25), Some(0.0)),
            row("network", "", None, "unknown", None, None),
            row("vm_count", "VMs", Some(37.5), "ok", None, None),
        ],
        "warnings": ["eu-west-1 is missing: it does not answer"], "as_of": as_of(),
    })
}

fn survivability() -> Value {
    json!({
        "losses": [
            { "lost": ["us-east-1"], "vms": 12, "stay": 1, "unplaced": 2, "by_rules": 1,
              "missing": { "vcpus": 4, "memory_mib": 8_192, "disk_gib": 0 },
              "unplaced_vms": [unplaced("big", true), unplaced("bound", false)] },
            { "lost": ["eu-west-1"], "vms": 7, "stay": 0, "unplaced": 0, "by_rules": 0,
              "missing": { "vcpus": 0, "memory_mib": 0, "disk_gib": 0 }, "unplaced_vms": [] },
            { "lost": ["us-east-1", "eu-west-1"], "vms": 19, "stay": 1, "unplaced": 18, "by_rules": 18,
              "missing": { "vcpus": 0, "memory_mib": 0, "disk_gib": 0 }, "unplaced_vms": [unplaced("big", false)] },
        ],
        "survives_one": false, "pairs_left_out": false, "took_us": 230, "as_of": as_of(),
    })
}

pub fn page<T: Serialize>(items: Vec<T>) -> Value {
    json!({ "items": items, "next_cursor": null, "as_of": as_of() })
}

fn changed(request: &Arrived) -> Value {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let closed = request.target.ends_with("disable-placement");
    let warning = "survivability: 1 VM would not survive the loss of eu-west-1 (0 before this change): web (us-east-1: \
        placement is off, by ops@example.com)";
    json!({ "region": region("us-east-1", true), "changed": true, "notes": [format!("asked: {body}")],
        "warnings": if closed { vec![warning] } else { vec![] } })
}

pub fn federation() -> Value {
    json!({
        "federation": "dev", "answered_by": "us-east-1",
        "regions": [region("us-east-1", true), region("eu-west-1", false)],
        "totals": { "regions": 2, "healthy": 1, "degraded": 0, "unhealthy": 0, "unknown": 1, "hosts": 6, "vms": 12,
            "vms_unknown_regions": 1 },
        "placement": { "p50_ms": 0.2, "p95_ms": 0.4, "p99_ms": 0.9 },
        "state_sync": { "p50_ms": 80.0, "p95_ms": 140.0, "p99_ms": 190.0 },
        "routing": { "p50_ms": null, "p95_ms": null, "p99_ms": null },
        "sla_percent": null, "open_incidents": 2, "freeze": "no-moves",
        "survivability": { "region": "us-east-1", "unplaced": 2, "age_ms": 400 }, "leader": "us-east-1", "as_of": as_of(),
    })
}

fn regions_and_federation(request: &Arrived) -> Option<Value> {
    Some(match request.route().as_str() {
        "GET /v1/federation" => federation(),
        "GET /v1/survivability" => survivability(),
        "GET /v1/capacity" => capacity(),
        "GET /v1/promises" => promises(),
        "GET /v1/regions" => page(vec![region("us-east-1", true), region("eu-west-1", false)]),
        "GET /v1/regions/us-east-1" => json!({
            "summary": region("us-east-1", true),
            "zones": [{ "zone": "a", "hosts": 3 }],
            "hosts": [host("host-1")],
            "components": [{ "component": "controller", "replicas": 1, "up": 1, "version": "0.1.0" },
                { "component": "agent", "replicas": 3, "up": null, "version": null }],
            "links": [link("us-east-1", "eu-west-1", Some(76.0))],
            "recent_events": [event()],
            "alerts": &super::alert_answers::alerts()[..2],
            "as_of": as_of(),
        }),
        "POST /v1/regions/us-east-1/health-check" => json!({
            "region": "us-east-1", "verdict": "healthy",
            "health": { "score": 97, "state": "healthy", "deductions": [] },
            "probes": [{ "from": "ap-south-1", "verdict": "answers", "rtt_ms": 190, "silent_ms": 20, "detail": "" }],
            "as_of": as_of(),
        }),
        "POST /v1/regions/eu-west-1/health-check" => json!({
            "region": "eu-west-1", "verdict": "down",
            "health": { "score": null, "state": "unknown", "deductions": [] },
            "probes": [{ "from": "us-east-1", "verdict": "no_answer", "rtt_ms": null, "silent_ms": 8_000,
                "detail": "no answer in 2000ms" }],
            "as_of": as_of(),
        }),
        "GET /v1/regions/us-east-1/vm-count" => {
            json!({ "region": "us-east-1", "vms": 12, "last_known": false, "as_of": as_of() })
        }
        "GET /v1/regions/eu-west-1/vm-count" => {
            json!({ "region": "eu-west-1", "vms": 7, "last_known": true, "as_of": as_of() })
        }
        "GET /v1/regions/sa-east-1/vm-count" => {
            json!({ "region": "sa-east-1", "vms": null, "last_known": true, "as_of": [] })
        }
        route if route.starts_with("POST /v1/regions/us-east-1/") => changed(request),
        "POST /v1/failovers" => {
            let dry = request.body.contains("\"dry_run\":true");
            let state = if dry { "planned" } else { "running" };
            let operation = if dry { Value::Null } else { operation("failover", "running", 0) };
            json!({ "failover": failover(state), "operation": operation, "as_of": as_of() })
        }
        "GET /v1/failovers" => page(vec![failover("partly")]),
        "GET /v1/failovers/latest" | "GET /v1/failovers/failover-001" => {
            json!({ "failover": failover("partly"), "as_of": as_of() })
        }
        "POST /v1/drills" => json!({ "drill": drill("running"), "as_of": as_of() }),
        "GET /v1/drills" => page(vec![drill("done")]),
        "GET /v1/drills/drill-001" => json!({ "drill": drill("restored"), "as_of": as_of() }),
        "POST /v1/drills/drill-001/restore" => json!({ "drill": drill("done"), "as_of": as_of() }),
        "GET /v1/freeze" | "PUT /v1/freeze" => json!({
            "state": "no-moves", "local": null, "since_at_ms": NINE, "by": "ops@example.com", "reason": "storm",
            "revision": 3, "as_of": as_of(),
        }),
        "GET /v1/policies" | "PUT /v1/policies" => json!({
            "auto_failover": true, "loss_after_ms": 3_000, "return_after_ms": 10_000, "failovers_per_hour": 2,
            "cpu_overcommit_percent": 400, "memory_overcommit_percent": 100, "rto_target_ms": 30_000, "scoring_profile": "balanced",
            "revision": 3, "as_of": as_of(),
        }),
        _ => return None,
    })
}

fn replication_and_control(request: &Arrived) -> Option<Value> {
    let both = json!(["us-east-1", "eu-west-1"]);
    Some(match request.route().as_str() {
        "GET /v1/events" => page(vec![event()]),
        "GET /v1/state/lag-matrix" => json!({ "regions": both, "as_of": as_of(), "pairs": [
            { "from": "us-east-1", "to": "eu-west-1", "entries": null, "lag_ms": null },
            { "from": "eu-west-1", "to": "us-east-1", "entries": 0, "lag_ms": 12 },
        ] }),
        "GET /v1/state/queue-depth" => json!({ "as_of": as_of(), "queues": [
            { "from": "us-east-1", "to": "eu-west-1", "entries": 14, "bytes": 4_096, "oldest_ms": 800 },
        ] }),
        "GET /v1/network/latency-matrix" => json!({ "regions": both, "as_of": as_of(), "links": [
            link("us-east-1", "eu-west-1", Some(76.0)), link("eu-west-1", "us-east-1", None),
        ] }),
        "GET /v1/controller" | "PUT /v1/controller" => json!({
            "placement_cache_ttl_ms": 300_000, "parallel_scoring": true, "profile": "balanced", "weights": {},
            "revision": 3, "as_of": as_of(),
        }),
        "GET /v1/controller/cache-stats" => json!({ "as_of": as_of(), "caches": [
            { "region": "us-east-1", "entries": 8, "hits": 30, "misses": 10, "invalidations": 2, "expirations": 1, "since_at_ms": NINE },
        ] }),
        "GET /v1/dev/links" | "PUT /v1/dev/links" => json!({ "links": [
            { "from": "us-east-1", "to": "eu-west-1", "rtt_ms": 76.0, "loss_percent": 1.0, "jitter_ms": 0.5,
              "rate_mbit_s": null, "cut": true },
        ] }),
        _ => return None,
    })
}

fn refused(request: &Arrived) -> Option<Reply> {
    super::move_answers::refused(request)
        .or_else(|| super::backup_answers::refused(request))
        .or_else(|| super::site_answers::answer(request))
        .or_else(|| super::routing_answers::answer(request))
        .or_else(|| super::guard_answers::answer(request))
        .or_else(|| super::membership_answers::answer(request))
        .or_else(|| super::controllers_answers::answer(request))
        .or_else(|| super::telemetry_answers::answer(request))
        .or_else(|| super::alert_answers::answer(request))
        .or_else(|| super::incident_answers::answer(request))
        .or_else(|| super::upgrade_answers::answer(request))
        .or_else(|| super::restoration_answers::answer(request))
        .or_else(|| super::sla_answers::answer(request))
}

/// What the fake federation answers.
pub fn answer(request: &Arrived) -> Reply {
    let settings = || super::settings_answers::answer(request);
    if let Some(reply) = super::sync_answers::answer(request).or_else(|| refused(request)).or_else(settings) {
        return reply;
    }
    if let Some(value) = super::move_answers::moves(request)
        .or_else(|| regions_and_federation(request))
        .or_else(|| replication_and_control(request))
        .or_else(|| maintenance(request).or_else(|| super::backup_answers::backups(request)))
    {
        return (200, value.to_string());
    }
    let dry = request.body.contains("\"dry_run\":true") || request.target.contains("dry_run=true");
    let accepted = |kind: &str| if dry { Value::Null } else { operation(kind, "running", 1) };
    let value = match request.route().as_str() {
        "GET /v1/version" => json!({ "version": "0.1.0", "api": "v1", "state_format": 1, "federation": "dev",
            "region": "us-east-1" }),
        "POST /v1/login" => json!({ "token_id": "token-abc123", "user": "ops@example.com", "role": "admin",
            "expires_at_ms": null, "federation": "dev", "region": "us-east-1" }),
        "POST /v1/tokens" => {
            json!({ "secret": if dry { "" } else { "dwcp_s3cret" }, "token": token("active") })
        }
        "GET /v1/tokens" => page(vec![token("active")]),
        "DELETE /v1/tokens/token-abc123" => token("revoked"),
        "GET /v1/operations" => page(vec![operation("vm_create", "done", 2)]),
        "GET /v1/operations/op_7f3" => {
            json!({ "operation": operation("vm_create", "done", 2), "as_of": as_of() })
        }
        "POST /v1/operations/op_7f3/cancel" => operation("vm_create", "cancelling", 1),
        "POST /v1/vms" => {
            json!({ "vms": [vm("web", "waiting")], "operation": accepted("vm_create"), "placement": placement() })
        }
        "GET /v1/vms" if request.target.contains("drills=true") => {
            let mut copy = vm("drill-001-web", "running");
            copy["drill"] = json!("drill-001");
            page(vec![vm("web", "running"), copy])
        }
        "GET /v1/vms" => page(vec![vm("web", "running"), vm("batch", "unknown")]),
        "GET /v1/vms/web" | "GET /v1/vms/vm_web" => json!({ "vm": vm("web", "running"), "as_of": as_of() }),
        "POST /v1/vms/web/start"
        | "POST /v1/vms/web/stop"
        | "POST /v1/vms/web/restart"
        | "DELETE /v1/vms/web" => {
            json!({ "vm": vm("web", "running"), "operation": accepted("vm_change") })
        }
        "GET /v1/vms/db" => json!({ "vm": protected_vm("db", "degraded"), "as_of": as_of() }),
        "PUT /v1/vms/db/protection" => json!({ "vm": protected_vm("db", "protected"), "operation": null }),
        "GET /v1/protection" => protection_status(),
        "GET /v1/vms/web/console" => json!({ "offset": 0, "next_offset": 12, "text": "hello world\n" }),
        "GET /v1/vms/web/explain" | "POST /v1/placements/preview" => placement(),
        "POST /v1/vms/health-check" => {
            json!({ "healthy": 1, "unhealthy": 0, "unknown": 1, "as_of": as_of(), "vms": [
            { "vm": "vm_web", "name": "web", "region": "us-east-1", "host": "host-1", "state": "running",
              "healthy": true, "probe": "http", "detail": "200", "took_ms": 4 },
            { "vm": "vm_batch", "name": "batch", "region": "eu-west-1", "host": null, "state": "unknown",
              "healthy": null, "probe": "http", "detail": "its host can't be asked", "took_ms": null },
        ] })
        }
        "GET /v1/images" => page(vec![image("web", true), image("web", false), image("small", false)]),
        "GET /v1/images/web" => image_answer(),
        "POST /v1/images/web/publish" => image_answer(),
        "DELETE /v1/images/old" => json!({ "image": "old" }),
        "POST /v1/images/shop/publish" | "DELETE /v1/images/web" => return image_refusal(&request.method),
        "GET /v1/hosts" => page(vec![host("host-1")]),
        "GET /v1/hosts/host-1" => json!({ "host": host("host-1"), "vms": ["vm_web"], "as_of": as_of() }),
        other => return problem(404, "DWCP-R0010", &format!("there is no {other}")),
    };
    (200, value.to_string())
}

fn image(name: &str, published: bool) -> Value {
    json!({
        "image": name, "digest": if published { "3f2a".repeat(16) } else { "90bc".repeat(16) }, "bytes": 50_331_648,
        "published": published, "vms": 2, "hosts": if published { 9 } else { 1 }, "hosts_total": 10,
        "regions": if published { 5 } else { 1 }, "published_at_ms": published.then_some(NINE),
        "by": published.then_some("ops@example.com"), "from": published.then_some("us-east-1/host-1"),
    })
}

fn image_answer() -> Value {
    json!({
        "image": image("web", true),
        "parts": [
            { "file": "image.yaml", "bytes": 120, "sha256": "aa".repeat(32) },
            { "file": "disk.qcow2", "bytes": 50_331_528, "sha256": "bb".repeat(32) },
        ],
        "hosts": [
            { "region": "us-east-1", "host": "host-1", "folder": "3f2a".repeat(16), "present": true },
            { "region": "eu-west-1", "host": "host-1", "folder": null, "present": false },
        ],
        "older": [{ "digest": "90bc".repeat(16), "vms": 3 }],
        "as_of": as_of(),
    })
}

fn image_refusal(method: &str) -> Reply {
    let (code, title, cause, attempt) = match method {
        "DELETE" => ("DWCP-R0070", "2 VMs use image web", ["VM a", "VM b"], "dwcp-cli vm list"),
        _ => (
            "DWCP-R0071",
            "hosts have different images shop",
            ["3f2a3f2a3f2a on us-east-1/host-1", "90bc90bc90bc on eu-west-1/host-1"],
            "dwcp-cli image publish shop --host us-east-1/host-1",
        ),
    };
    let body = json!({
        "type": format!("urn:dwcp:problem:{code}"), "title": title, "status": 409, "code": code, "cause": cause,
        "next": "nothing was changed", "try": [attempt], "request_id": "req_42",
    });
    (409, body.to_string())
}

/// An error body.
pub fn problem(status: u16, code: &str, title: &str) -> Reply {
    let body = json!({
        "type": format!("urn:dwcp:problem:{code}"), "title": title, "status": status, "code": code,
        "cause": ["180 VMs need 212 vCPUs; 140 are free"], "next": "nothing was changed",
        "try": ["dwcp-cli federation status --global"], "request_id": "req_42",
    });
    (status, body.to_string())
}

//! What the fake federation answers about everything that is set in it.

use serde_json::{Value, json};

use super::answers::{NINE, as_of};
use super::fake::{Arrived, Reply};

pub fn region(name: &str) -> Value {
    json!({
        "region": name, "state": "active", "placement": true, "traffic_percent": 100, "priority": 50,
        "display_name": format!("Region {name}"), "zones": ["a", "b"], "latitude": 50.1109, "longitude": -8.6821,
        "max_vms": 0, "compliance": ["gdpr", "soc2"], "jurisdiction": "eu", "vcpu_usd_hour": 0.0412,
        "memory_gib_usd_hour": 0.005, "disk_gib_usd_hour": 0.0001, "endpoints": ["192.0.2.1:443", "[2001:db8::1]:443"],
        "decommission_at_ms": null,
    })
}

fn host(region: &str, name: &str) -> Value {
    json!({ "host": name, "region": region, "zone": "a", "labels": { "disk": "nvme" }, "vcpus": 32,
        "memory_mib": 65_536, "disk_gib": 900 })
}

pub fn settings() -> Value {
    json!({
        "federation": "dev",
        "regions": [region("eu-west-1"), region("us-east-1")],
        "hosts": [host("eu-west-1", "host-2"), host("us-east-1", "host-1")],
        "policies": { "auto_failover": true, "loss_after_ms": 2_500, "return_after_ms": 5_000, "failovers_per_hour": 6,
            "cpu_overcommit_percent": 400, "memory_overcommit_percent": 100, "rto_target_ms": 30_000 },
        "controller": { "placement_cache_ttl_ms": 300_000, "parallel_scoring": false, "profile": "balanced",
            "weights": { "capacity": 20, "cost": 25, "health": 15, "latency": 30, "priority": 10 } },
        "replication": { "replication_workers": 8, "compression": true, "sync_interval_ms": 250 },
        "freeze": "active",
        "backups": { "destination": "s3://backups.example.com/state", "interval_ms": 300_000,
            "keep_within_ms": 2_592_000_000u64, "keep_last": 1, "key_file": null },
        "images": [{ "image": "web", "digest": "3f2a".repeat(16) }],
        // In a year that no run of this test sees.
        "windows": [{ "window": "window-001", "region": "us-east-1", "host": "host-1",
            "starts_at_ms": NINE + 3_000_000_000_000u64, "ends_at_ms": NINE + 3_000_003_600_000u64, "reason": "disks",
            "no_placement": true }],
        "protections": [{ "vm": "db", "protection": { "mode": "sync", "interval_ms": null, "on_replica_loss": "stop",
            "region": null } }],
        "as_of": as_of(),
    })
}

fn replication(workers: u32) -> Value {
    json!({ "replication_workers": workers, "compression": true, "sync_interval_ms": 10_000, "revision": 41,
        "as_of": as_of(), "regions": [
            { "region": "eu-west-1", "append_messages": null, "compression": null, "framed_bytes": null,
              "sent_bytes": null, "soft_state_age_ms": null },
            { "region": "us-east-1", "append_messages": workers * 32, "compression": true, "framed_bytes": 48_211_004,
              "sent_bytes": 9_120_331, "soft_state_age_ms": 4_100 },
        ] })
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let value = match request.route().as_str() {
        "GET /v1/settings" => settings(),
        "PUT /v1/state/replication" if request.body.contains("65") => {
            return Some(super::answers::problem(
                400,
                "DWCP-R0003",
                "replication_workers is outside its range",
            ));
        }
        "GET /v1/planning/evaluate" => json!({ "as_of": as_of(), "candidates": [
            { "region": "ca-central-1", "there": false, "points": 78.4, "judged": 85.0, "factors": [
                { "factor": "latency", "points": 38.0, "most": 40.0, "found": "15 ms on average", "from": "ICMP averages (2020-06)" },
                { "factor": "compliance", "points": null, "most": 15.0, "found": "nobody has said which tags it carries", "from": "" },
            ] },
        ] }),
        "GET /v1/planning/cost" => {
            json!({ "as_of": as_of(), "vms": 5_000, "vm_vcpus": 2.0, "vm_memory_gib": 8.0,
            "vm_disk_gib": 0.0, "vm_assumed": true, "worth_percent": 20.0, "today_usd_month": 350_400.0,
            "region": { "region": "eu-central-1", "usd_month": 419_750.0, "from": "m5.16xlarge (read 2026-11)" },
            "today": [{ "region": "us-east-1", "usd_month": 350_400.0, "from": "prices that operators set" },
                { "region": "sa-east-1", "usd_month": null, "from": "no price of sa-east-1 is known" }],
            "saving_percent": -19.8, "worth_it": false, "transfer_usd_gib": null, "transfer_from": "",
            "break_even_months": null, "missing": ["no price of sa-east-1 is known"] })
        }
        "GET /v1/state/replication" => replication(8),
        "PUT /v1/state/replication" => replication(20),
        "POST /v1/regions/us-east-1/configure" if request.body.contains("oops") => {
            return Some(super::answers::problem(403, "DWCP-R0021", "ops@example.com is not an admin"));
        }
        "POST /v1/regions/us-east-1/configure" => {
            json!({ "region": "us-east-1", "changed": true, "settings": [], "warnings": [] })
        }
        _ => return None,
    };
    Some((200, value.to_string()))
}

//! What the fake federation answers about a control plane that came back from a backup.

use serde_json::{Value, json};

use super::answers::{as_of, problem};
use super::fake::{Arrived, Reply};

fn region(name: &str, awaited: &[&str], written_off: &[&str], missing: u64) -> Value {
    let done = awaited.is_empty().then_some(1_795_392_060_000u64);
    json!({
        "region": name, "heard": [format!("{name}-a1")], "awaited": awaited, "written_off": written_off,
        "done_at_ms": done, "unchanged": 4, "changed": 1, "unknown": 1, "missing": missing,
    })
}

fn status(regions: &[Value], missing: bool) -> Value {
    let vm = |vm: &str, name: &str, region: &str, how: &str| json!({ "vm": vm, "name": name, "region": region, "host": format!("{region}-a1"), "how": how });
    let mut vms = vec![
        vm("vm_7", "late-1", "eu-west-1", "the backup does not have it"),
        vm("vm_3", "web-3", "us-east-1", "wanted stopped instead of running"),
    ];
    let mut lost = vec!["what was acknowledged from 2026-11-23T08:56:00Z to 2026-11-23T09:00:00Z (240 s)"];
    if missing {
        vms.insert(
            0,
            vm("vm_4", "web-4", "us-east-1", "no host has it: deleted since, or lost with its disk; decide"),
        );
        lost.push("the disks of 1 VMs that no host has: web-4");
    }
    json!({
        "restoration": 1_795_392_000_000u64, "backup": 12, "digest": "ab".repeat(32), "taken_at_ms": 1_795_391_760_000u64,
        "done": regions.iter().all(|region| !region["done_at_ms"].is_null()),
        "regions": regions, "vms": vms, "lost": lost, "as_of": as_of(),
    })
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let value = match request.route().as_str() {
        "GET /v1/restoration" => {
            status(&[region("eu-west-1", &[], &[], 0), region("us-east-1", &["us-east-1-b1"], &[], 1)], true)
        }
        "POST /v1/restoration/write-off" if request.body.contains("us-east-1-a1") => {
            return Some(problem(409, "DWCP-R0031", "us-east-1-a1 is not waited for"));
        }
        "POST /v1/restoration/write-off" => {
            status(&[region("eu-west-1", &[], &[], 0), region("us-east-1", &[], &["us-east-1-b1"], 1)], true)
        }
        "POST /v1/restoration/decide" => {
            status(&[region("eu-west-1", &[], &[], 0), region("us-east-1", &[], &[], 0)], false)
        }
        _ => return None,
    };
    Some((200, value.to_string()))
}

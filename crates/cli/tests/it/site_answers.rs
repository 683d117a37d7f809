//! What the fake federation answers about how a region is: before it is deployed, as it is configured, when it is looked at.

use serde_json::{Value, json};

use super::answers::{as_of, host, problem, region};
use super::fake::{Arrived, Reply};

fn check(subject: &str, check: &str, verdict: &str, texts: [&str; 3]) -> Value {
    let [measured, limit, advice] = texts;
    json!({
        "subject": subject, "check": check, "verdict": verdict, "measured": measured, "limit": limit, "advice": advice,
    })
}

fn preflight() -> Value {
    json!({ "region": "eu-central-1", "took_ms": 640, "as_of": as_of(), "checks": [
        check("eu-central-1", "pool", "ok", ["1 connected; 1 would run its node", "1 that would", ""]),
        check("eu-central-1-a1", "clock", "ok", ["+3 ms against us-east-1, ± 40 ms", "500 ms", ""]),
        check("eu-central-1-a1", "accelerator", "warning", ["tcg", "kvm", "guests are emulated: give the host KVM"]),
    ] })
}

fn slow() -> Value {
    json!({ "region": "ap-northeast-1", "took_ms": 2_640, "as_of": as_of(), "checks": [
        check("ap-northeast-1-a1", "fsync", "failed", ["median 310.0 ms, worst 900.0 ms of 7", "median 20.0 ms", "use a faster disk"]),
        check("ap-northeast-1-a1", "disk free", "unknown", ["the system does not tell", "4096 MiB", "make room"]),
    ] })
}

/// A region that is there: well, or with a node that is dead and a host that does not answer.
fn inspected(well: bool) -> Value {
    let node = match well {
        true => check("us-east-1", "node", "ok", ["process 812 answers, up for 86400 s", "8 s", ""]),
        false => check(
            "eu-west-1",
            "node",
            "failed",
            ["does not answer; it is lost; last heard: us-east-1 61.3 s ago", "8 s", "look at dwcpd there"],
        ),
    };
    let host = match well {
        true => check("us-east-1-a1", "VM processes", "ok", ["2 of 2 run", "", ""]),
        false => check(
            "eu-west-1-a1",
            "agent",
            "failed",
            ["did not answer; heard 61.0 s ago", "9 s", "look at dwcp-agentd there"],
        ),
    };
    json!({ "region": if well { "us-east-1" } else { "eu-west-1" }, "took_ms": if well { 1_240 } else { 9_010 },
        "as_of": as_of(), "checks": [node, host] })
}

fn processes(component: &str) -> Value {
    let line = |region: &str, host: Value, process: &str, there: bool| {
        json!({
            "region": region, "host": host, "process": process, "pid": there.then_some(812),
            "cpu_percent": there.then_some(12.34), "window_ms": 1_000, "memory_mib": there.then_some(84.5),
            "fds": there.then_some(61), "fd_limit": there.then_some(65_536), "threads": there.then_some(9),
            "uptime_ms": there.then_some(3_600_000), "read_bytes": there.then_some(1_048_576),
            "written_bytes": there.then_some(73_400_320), "age_ms": there.then_some(41),
            "trouble": if there { "" } else { "it did not answer" },
        })
    };
    let (note, all) = match component {
        "agent" => (
            "an agent is two processes of its host: dwcp-agentd and its watchdog",
            vec![
                line("us-east-1", json!("us-east-1-a1"), "dwcp-agentd", true),
                line("us-east-1", json!("us-east-1-a1"), "watchdog", true),
            ],
        ),
        "router" => (
            "a router says what it uses each half second; one that is not heard is missing",
            vec![line("us-east-1", json!("us-east-1-a1"), "dwcp-routerd/0", true)],
        ),
        _ => (
            "controller, state-manager, monitor are one process of a region in this version: dwcpd",
            vec![
                line("eu-west-1", Value::Null, "dwcpd", false),
                line("us-east-1", Value::Null, "dwcpd", true),
            ],
        ),
    };
    json!({ "component": component, "processes": all, "as_of": as_of(), "notes": [note] })
}

fn configured() -> Value {
    let setting =
        |name: &str, before: &str, after: &str| json!({ "name": name, "before": before, "after": after });
    json!({ "region": "eu-central-1", "changed": true, "warnings": ["3 of its VMs need a compliance tag that it does not carry"],
        "settings": [
            setting("display name", "", "Europe (Frankfurt)"), setting("zones", "a, b", "a, b, c"),
            setting("priority", "85", "85"),
        ] })
}

fn endpoints(all: &[(&str, u16)]) -> Value {
    all.iter().map(|(ip, port)| json!({ "ip": ip, "port": port })).collect()
}

fn decommission(request: &Arrived) -> Value {
    if request.body.contains("\"at_ms\":null") || !request.body.contains("at_ms") {
        return json!({ "region": "sa-east-1", "changed": true, "decommission": null, "notes": [] });
    }
    json!({ "region": "sa-east-1", "changed": true,
        "decommission": { "at_ms": 1_764_547_200_000u64, "by": "ops", "reason": "", "due": true },
        "notes": ["that date is past: it is due now", "nothing is moved or switched off by itself"] })
}

fn looked_at() -> Value {
    let mut summary = region("us-east-1", true);
    summary["region"] = json!("eu-central-1");
    summary["decommission"] =
        json!({ "at_ms": 1_764_547_200_000u64, "by": "ops", "reason": "lease ends", "due": false });
    json!({ "summary": summary, "zones": [], "hosts": [], "components": [], "links": [], "recent_events": [],
        "as_of": as_of() })
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let named = |name: &str| request.target.contains(name);
    let value = match request.route().as_str() {
        "POST /v1/regions/eu-central-1/preflight" => preflight(),
        "POST /v1/regions/ap-northeast-1/preflight" => slow(),
        "POST /v1/regions/mars/preflight" => {
            return Some(problem(404, "DWCP-R0010", "no host waits for a region mars"));
        }
        "POST /v1/regions/us-east-1/inspect" => inspected(true),
        "POST /v1/regions/eu-west-1/inspect" => inspected(false),
        "POST /v1/regions/mars/inspect" => {
            return Some(problem(404, "DWCP-R0010", "no region mars"));
        }
        "GET /v1/processes" => processes(
            ["agent", "router"]
                .into_iter()
                .find(|of| named(&format!("component={of}")))
                .unwrap_or("controller"),
        ),
        "POST /v1/regions/eu-central-1/configure" => configured(),
        "GET /v1/endpoints" if named("region=ca-central-1") => json!({ "as_of": as_of(), "regions": [
            { "region": "ca-central-1", "endpoints": [], "node": "127.77.8.1:7443" },
        ] }),
        "GET /v1/endpoints" => json!({ "as_of": as_of(), "regions": [
            { "region": "eu-central-1", "endpoints": endpoints(&[("192.0.2.1", 443), ("2001:db8::1", 443)]),
              "node": "127.77.6.1:7443" },
        ] }),
        "POST /v1/regions/eu-central-1/endpoints" if request.body.contains("here") => {
            return Some(problem(400, "DWCP-R0003", "ip is outside its range"));
        }
        "POST /v1/regions/eu-central-1/endpoints" if request.body.contains("\"remove\":true") => {
            json!({ "region": "eu-central-1", "changed": false, "endpoints": [] })
        }
        "POST /v1/regions/eu-central-1/endpoints" => {
            json!({ "region": "eu-central-1", "changed": true, "endpoints": endpoints(&[("192.0.2.1", 443)]) })
        }
        "POST /v1/regions/sa-east-1/decommission" => decommission(request),
        "GET /v1/regions/eu-central-1" => looked_at(),
        "POST /v1/regions/eu-central-1/health-check" => json!({
            "region": "eu-central-1", "verdict": "healthy", "as_of": as_of(),
            "health": { "score": 97, "state": "healthy", "deductions": [] },
            "probes": [
                { "from": "us-east-1", "verdict": "answers", "rtt_ms": 92, "silent_ms": 20, "detail": "" },
                { "from": "ap-south-1", "verdict": "unknown", "rtt_ms": null, "silent_ms": null,
                  "detail": "ap-south-1 could not be asked" },
            ],
        }),
        "GET /v1/hosts" if named("region=eu-central-1") => {
            let mut one = host("eu-central-1-a1");
            one["state"] = json!("up");
            one["lease_left_ms"] = json!(2_400);
            json!({ "items": [one], "next_cursor": null, "as_of": as_of() })
        }
        _ => return None,
    };
    Some((200, value.to_string()))
}

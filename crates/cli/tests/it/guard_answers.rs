//! What the fake federation answers about attackers.

use serde_json::{Value, json};

use super::answers::{as_of, problem};
use super::fake::{Arrived, Reply};

/// Commands about attackers.
pub const COMMANDS: [&str; 33] = [
    "routing ddos detections --since 10m",
    "routing ddos detections --since 24h --format csv",
    "routing ddos status",
    "routing ddos validate --attack-id attack-001",
    "routing ddos validate --attack-id attack-002",
    "routing ddos validate --attack-id attack-009",
    "routing ddos configure --threshold-requests 2000",
    "routing ddos configure --threshold-requests 2000 --dry-run",
    "routing ddos configure --threshold-requests many",
    "routing ddos configure --error-percent 101",
    "routing ddos enable",
    "routing ddos disable --reason 'they hit users'",
    "routing ddos geo-block --countries CN,RU --duration 24h",
    "routing ddos geo-block --countries CN --remove",
    "routing ddos geo-block --countries XYZ",
    "routing ddos action add --type challenge_response",
    "routing ddos action add --type rate_limit --service shop --path /login --limit 100 --duration 30m",
    "routing ddos action add --type rate_limit --limit 100",
    "routing ddos action add --type shout",
    "routing ddos action list",
    "routing ddos blacklist list",
    "routing ddos blacklist list --format csv",
    "routing ddos blacklist add --ip 203.0.113.7 --duration 1h --reason 'login guessing'",
    "routing ddos blacklist add --cidr 203.0.113.0/24 --asn 64500 --dry-run",
    "routing ddos blacklist add",
    "routing ddos blacklist remove --ip 203.0.113.7",
    "routing ddos blacklist remove --ip 198.51.100.1",
    "routing ddos whitelist list",
    "routing ddos whitelist add --cidr 192.0.2.0/24 --reason 'our office'",
    "routing ddos whitelist remove --cidr 192.0.2.0/24",
    "routing ddos rate-limits show",
    "routing traffic-analysis --since 10m",
    "security firewall-logs --level warning,error --since 24h",
];

const AT_MS: u64 = 1_800_000_000_000;

fn attack(number: u32, active: bool, verdict: &str) -> Value {
    let (kind, target) = if active { ("http_flood", "203.0.113.7") } else { ("surge", "shop") };
    let routers =
        if active { vec!["us-east-1/us-east-1-a1/0", "eu-west-1/eu-west-1-a1/0"] } else { Vec::new() };
    json!({
        "attack": format!("attack-{number:03}"), "kind": kind, "target": target, "service": "shop",
        "peak_rate": 14_200, "sources": if active { 1 } else { 5_100 }, "first_ms": AT_MS, "last_ms": AT_MS + 65_000,
        "active": active, "verdict": verdict, "routers": routers, "blocks": u8::from(active),
    })
}

fn block(who: &str, action: &str, by: &str) -> Value {
    let automatic = by.starts_with("router");
    json!({
        "block": "block-00112233aabbccdd", "who": who, "action": action,
        "limit": (action == "rate_limit").then_some(100), "by": by,
        "reason": if automatic { "http_flood: 14200 a second; 1000 may be" } else { "login guessing" },
        "at_ms": AT_MS, "until_ms": AT_MS + 3_600_000, "attack": automatic.then_some("attack-001"),
    })
}

fn excepted() -> Value {
    json!({ "who": "192.0.2.0/24", "by": "ann", "reason": "our office", "until_ms": null })
}

fn rows(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn guard() -> Value {
    json!({
        "automatic": true, "actions": ["rate_limit", "blacklist"],
        "settings": rows(&[("automatic", "on"), ("threshold_requests", "1000"), ("prefix_factor", "4"), ("resets", "200")]),
        "revision": 7, "by": "ann", "at_ms": AT_MS, "attacks_active": 1,
        "blocks": [
            block("203.0.113.7", "blacklist", "router us-east-1-a1/0"),
            block("CN", "geo_block", "ann"),
            block("shop/login", "rate_limit", "ann"),
        ],
        "whitelist": [excepted()],
        "routers": [{
            "region": "us-east-1", "router": "us-east-1-a1/0", "at_ms": AT_MS, "attacks_active": 1, "blocks": 1,
            "counts": { "passed": 120_000, "denied": 14_000, "missed": 2, "solved": 0 },
        }],
        "complaints": [], "as_of": as_of(),
    })
}

fn judged(number: u32) -> Value {
    let crowd = number == 2;
    let suggested = json!({ "name": "threshold_requests", "value": "2000" });
    json!({
        "attack": attack(number, !crowd, if crowd { "false_positive" } else { "real" }),
        "reasons": if crowd { vec!["5100 different sources", "2 a second of each source"] } else { vec!["1 sources make 14200 a second, 14200 each"] },
        "evidence": rows(&[("rate", "14200"), ("threshold", "1000"), ("top_path_percent", "97 (/login)")]),
        "typical": if crowd { rows(&[("rate", "900")]) } else { json!([]) },
        "blocks": if crowd { json!([]) } else { json!([block("203.0.113.7", "blacklist", "router us-east-1-a1/0")]) },
        "suggested": if crowd { suggested } else { Value::Null },
        "as_of": as_of(),
    })
}

fn changed(blocks: Vec<Value>, ended: &[&str], notes: &[&str]) -> Value {
    json!({ "changed": true, "blocks": blocks, "excepted": [], "ended": ended, "notes": notes })
}

fn traffic() -> Value {
    let talker = |who: &str, requests: u64| json!({ "who": who, "requests": requests, "connections": 3, "bytes": 90_000, "errors": 0, "share_percent": 94 });
    json!({
        "since_ms": 600_000,
        "flows": [{
            "service": "shop", "region": "us-east-1", "requests": 90_000, "errors": 12, "rate": 150.0,
            "share_percent": 75.0, "bytes_up": 1_000_000, "bytes_down": 90_000_000,
        }],
        "services": [{
            "service": "shop", "requests": 15_000, "errors": 2, "bytes": 4_000_000, "sources": 41, "usual": 160,
            "top_path": "/login", "top_path_percent": 97,
        }],
        "sources": [talker("203.0.113.7", 14_200)], "networks": [talker("203.0.113.0/24", 14_200)],
        "asns": [talker("AS64500", 14_200)], "countries": [],
        "verdicts": { "passed": 120_000, "denied": 14_000 },
        "warnings": ["ap-south-1 is missing: it does not answer"], "as_of": as_of(),
    })
}

fn refused(request: &Arrived) -> Option<Reply> {
    let said = |text: &str| request.body.contains(text);
    match request.route().as_str() {
        "GET /v1/attacks/attack-009/validate" => Some(problem(404, "DWCP-R0096", "no attack attack-009")),
        "POST /v1/guard/configure" if said("101") => {
            Some(problem(400, "DWCP-R0003", "the policy is outside its range"))
        }
        "POST /v1/guard/block" if said("XYZ") => Some(problem(400, "DWCP-R0003", "who is outside its range")),
        "POST /v1/guard/unblock" if said("198.51.100.1") => {
            Some(problem(404, "DWCP-R0097", "nothing keeps 198.51.100.1 out"))
        }
        _ => None,
    }
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    if let Some(refusal) = refused(request) {
        return Some(refusal);
    }
    let said = |text: &str| request.body.contains(text);
    let value = match request.route().as_str() {
        "GET /v1/guard" => guard(),
        "GET /v1/attacks" => json!({
            "attacks": [attack(1, true, "real"), attack(2, false, "false_positive")], "complaints": [], "as_of": as_of(),
        }),
        "GET /v1/attacks/attack-001/validate" => judged(1),
        "GET /v1/attacks/attack-002/validate" => judged(2),
        "POST /v1/guard/configure" => {
            let off = said("\"automatic\":false");
            let notes =
                if off { vec!["routers detect and tell, and keep nobody out by themselves"] } else { vec![] };
            json!({
                "changed": !said("\"automatic\":true"),
                "settings": [{ "name": "threshold_requests", "before": "1000", "after": "2000" }], "notes": notes,
            })
        }
        "POST /v1/guard/block" if said("CN") => {
            changed(vec![block("CN", "geo_block", "ann"), block("RU", "geo_block", "ann")], &[], &[])
        }
        "POST /v1/guard/block" if said("rate_limit") => {
            changed(vec![block("shop/login", "rate_limit", "ann")], &[], &[])
        }
        "POST /v1/guard/block" if said("AS64500") => changed(
            vec![block("203.0.113.0/24", "blacklist", "ann"), block("AS64500", "blacklist", "ann")],
            &[],
            &["203.0.113.0/28 is whitelisted, which goes before the block of 203.0.113.0/24"],
        ),
        "POST /v1/guard/block" => changed(vec![block("203.0.113.7", "blacklist", "ann")], &[], &[]),
        "POST /v1/guard/unblock" if said("CN") => changed(Vec::new(), &["CN"], &[]),
        "POST /v1/guard/unblock" => changed(
            Vec::new(),
            &["203.0.113.7"],
            &["routers don't block 203.0.113.7 again by themselves for an hour"],
        ),
        "POST /v1/guard/whitelist" if said("\"remove\":true") => changed(Vec::new(), &["192.0.2.0/24"], &[]),
        "POST /v1/guard/whitelist" => {
            json!({ "changed": true, "blocks": [], "excepted": [excepted()], "ended": [], "notes": [] })
        }
        "GET /v1/traffic" => traffic(),
        _ => return None,
    };
    Some((200, value.to_string()))
}

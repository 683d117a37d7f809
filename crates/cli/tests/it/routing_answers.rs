//! What the fake federation answers about services and routers.

use serde_json::{Value, json};

use super::answers::{as_of, problem};
use super::fake::{Arrived, Reply};

/// Commands about where requests go.
pub const COMMANDS: [&str; 28] = [
    "routing service set --service shop --host shop.example.com --label app=shop --sticky --check-path /healthz",
    "routing service set --service shop --host shop.example.com --label app=shop --dry-run",
    "routing service set --service mail --host mail.example.com --label app=mail --protocol tcp --port 25 --qos bulk",
    "routing service set --service shop",
    "routing service set --service shop --host shop.example.com --label app",
    "routing service list",
    "routing service list --format csv",
    "routing endpoint drain --service shop --vm shop-1",
    "routing endpoint drain --service shop --vm shop-1 --undo --dry-run",
    "routing service remove --service shop",
    "routing service remove --service nowhere",
    "routing routers",
    "routing routers --format csv",
    "routing cache stats",
    "routing config show",
    "routing configure --routing-table-cache-enabled true --routing-table-cache-ttl 60s",
    "routing configure --weights latency=60,load=40 --dns-ttl 10s --dry-run",
    "routing configure --weights speed=60",
    "routing configure --dscp critical=ef,standard=df,bulk=cs1 --shares critical=60,standard=30,bulk=10 --dry-run",
    "routing configure --dscp critical=af51",
    "routing configure --enable-dpdk true --dpdk-cores 0-7",
    "routing algorithm set hybrid",
    "routing algorithm set fastest",
    "routing simulate --source-ip 203.0.113.7 --destination shop.example.com",
    "routing simulate --destination mail",
    "routing simulate --source-ip not-an-address --destination shop",
    "routing scores --destination shop",
    "routing scores --destination shop --format json",
];

fn endpoint(name: &str, region: &str, address: &str, (serves, draining): (bool, bool)) -> Value {
    json!({ "name": name, "region": region, "address": address, "serves": serves, "draining": draining })
}

fn shop(drained: bool) -> Value {
    json!({
        "service": "shop", "hosts": ["shop.example.com"], "labels": { "app": "shop" }, "protocol": "http",
        "port": null, "vm_port": null, "sticky": true, "qos": "standard", "check_path": "/healthz", "anycast": null,
        "endpoints": [
            endpoint("shop-1", "us-east-1", "10.1.0.4:80", (true, drained)),
            endpoint("shop-2", "eu-west-1", "10.2.0.4:80", (false, false)),
        ],
    })
}

fn mail() -> Value {
    json!({
        "service": "mail", "hosts": ["mail.example.com"], "labels": { "app": "mail" }, "protocol": "tcp",
        "port": 25, "vm_port": null, "sticky": false, "qos": "bulk", "check_path": null, "anycast": null,
        "endpoints": [],
    })
}

fn routers() -> Value {
    let of = |region: &str, wanted: u64, up: u64, troubles: &[&str]| json!({ "region": region, "wanted": wanted, "up": up, "most": 5, "troubles": troubles });
    let regions = json!([
        of("ap-south-1", 1, 0, &[]),
        of("eu-west-1", 1, 1, &[]),
        of("us-east-1", 2, 1, &["us-east-1-a1: router 0: it ended with status 1 (routers.log says why)"]),
    ]);
    json!({ "as_of": as_of(), "regions": regions, "routers": [
        {
            "region": "eu-west-1", "host": "eu-west-1-a1", "number": 0, "pid": 812, "version": "0.1.0",
            "http": "192.0.2.2:80", "https": "", "dns": "", "table_revision": 41, "table_age_ms": 61_000,
            "services": 2, "endpoints": 2, "endpoints_up": 1, "connections": 0, "requests": 0, "failures": 0,
            "dns_answers": 0, "remembered": 0, "decided": 0,
            "trouble": "the link: the node of eu-west-1 is gone; the last table stays in force",
        },
        {
            "region": "us-east-1", "host": "us-east-1-a1", "number": 0, "pid": 813, "version": "0.1.0",
            "http": "192.0.2.1:80", "https": "192.0.2.1:443", "dns": "192.0.2.1:53", "table_revision": 42,
            "table_age_ms": 800, "services": 2, "endpoints": 2, "endpoints_up": 1, "connections": 12,
            "requests": 100_000, "failures": 3, "dns_answers": 2_000, "remembered": 1_500, "decided": 100_500,
            "trouble": "",
        },
    ] })
}

fn score(region: &str, total: Option<f64>, health: Option<u8>, note: &str) -> Value {
    let terms = if total.is_some() { json!({ "latency": 0.25, "load": 0.0125 }) } else { json!({}) };
    json!({
        "region": region, "total": total, "terms": terms, "latency_ms": total.map(|_| 17.5),
        "traffic_percent": 100, "health": health, "load_percent": 1.25, "endpoints_up": u8::from(total.is_some()),
        "endpoints": 1, "note": note,
    })
}

fn simulated(known: bool) -> Value {
    let choice = json!({
        "region": "eu-west-1", "endpoint": "shop-2", "address": "10.2.0.4:80", "why": "best",
        "reason": "eu-west-1 is the best of 2 regions",
    });
    json!({
        "router": "us-east-1", "service": if known { "shop" } else { "mail" },
        "country": if known { "DE" } else { "" }, "asn": null, "took_us": 3.25,
        "choice": if known { choice } else { Value::Null },
        "regions": [
            score("eu-west-1", known.then_some(0.125), Some(100), ""),
            score("us-east-1", known.then_some(0.5), None, "eu-west-1 is better"),
        ],
    })
}

fn configured(changed: bool) -> Value {
    let setting =
        |name: &str, before: &str, after: &str| json!({ "name": name, "before": before, "after": after });
    let ttl = if changed { "30000" } else { "60000" };
    json!({
        "changed": changed,
        "settings": [setting("algorithm", "hybrid", "hybrid"), setting("cache_ttl_ms", ttl, "60000")],
        "notes": ["a network that asks by DNS is told the region that it was told before for 60000 ms, as long as that is well"],
    })
}

fn refused(request: &Arrived) -> Option<Reply> {
    let said = |text: &str| request.body.contains(text);
    match request.route().as_str() {
        "POST /v1/routing/configure" if said("\"dpdk_enabled\":true") => {
            Some(problem(422, "DWCP-R0047", "dpdk_enabled is not possible here"))
        }
        "POST /v1/services/nowhere/remove" => Some(problem(404, "DWCP-R0095", "no service nowhere")),
        "POST /v1/routing/simulate" if said("not-an-address") => {
            Some(problem(400, "DWCP-R0003", "source_ip is outside its range"))
        }
        _ => None,
    }
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    if let Some(refusal) = refused(request) {
        return Some(refusal);
    }
    let said = |text: &str| request.body.contains(text);
    let changed = |now: Value| json!({ "service": "shop", "changed": true, "now": now });
    let value = match request.route().as_str() {
        "GET /v1/services" => json!({ "services": [mail(), shop(true)], "complaints": [], "as_of": as_of() }),
        "POST /v1/services/shop" => changed(shop(false)),
        "POST /v1/services/mail" => json!({ "service": "mail", "changed": false, "now": mail() }),
        "POST /v1/services/shop/drain" => changed(shop(!said("\"undo\":true"))),
        "POST /v1/services/shop/remove" => changed(Value::Null),
        "GET /v1/routers" => routers(),
        "GET /v1/routing" => json!({
            "settings": [{ "name": "algorithm", "value": "hybrid" }, { "name": "dpdk_cores", "value": "" }],
            "revision": 42, "by": "ops", "at_ms": 1_764_547_200_000u64, "complaints": [], "as_of": as_of(),
        }),
        "POST /v1/routing/configure" => configured(!said("\"algorithm\":\"hybrid\"")),
        "POST /v1/routing/simulate" => simulated(!said("mail")),
        _ => return None,
    };
    Some((200, value.to_string()))
}

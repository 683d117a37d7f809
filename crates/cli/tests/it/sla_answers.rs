//! What the fake federation answers about promises.

use serde_json::{Value, json};

use super::answers::{NINE, as_of, page, problem};
use super::fake::{Arrived, Reply};

const DAY_MS: u64 = 86_400_000;

fn promise(name: &str, measure: &str, target: (Option<u32>, Option<u64>)) -> Value {
    json!({
        "name": name, "scope": "federation", "vm": null, "measure": measure, "target_ppm": target.0,
        "limit_ms": target.1, "period_days": null, "exclude_maintenance": false, "standard": true, "credits": match measure {
            "availability" => json!([
                { "below_ppm": 999_000, "above_ms": null, "for_ms": null, "percent": 10 },
                { "below_ppm": 990_000, "above_ms": null, "for_ms": null, "percent": 25 },
            ]),
            "latency" => json!([{ "below_ppm": null, "above_ms": 100, "for_ms": 3_600_000, "percent": 5 }]),
            "data_loss" => json!([{ "below_ppm": null, "above_ms": 0, "for_ms": null, "percent": 100 }]),
            _ => json!([{ "below_ppm": null, "above_ms": 60_000, "for_ms": null, "percent": 10 }]),
        },
    })
}

fn gold() -> Value {
    let mut gold = promise("gold", "availability", (Some(999_900), None));
    let own = json!({ "scope": "tenant:shop", "period_days": 30, "exclude_maintenance": true, "standard": false, "credits": [] });
    own.as_object().unwrap().iter().for_each(|(key, value)| gold[key] = value.clone());
    gold
}

fn standing(promise: Value, verdict: &str, change: Value) -> Value {
    let mut standing = json!({
        "promise": promise, "from_ms": NINE - 22 * DAY_MS, "until_ms": NINE + 8 * DAY_MS, "measured": null,
        "budget_minutes": null, "budget_left_minutes": null, "unknown_minutes": null, "failovers": null,
        "verdict": verdict, "note": "", "worst_tenants": [], "worst_vms": [], "evidence": [],
    });
    change.as_object().unwrap().iter().for_each(|(key, value)| standing[key] = value.clone());
    standing
}

fn standings() -> Vec<Value> {
    vec![
        standing(
            promise("data-loss", "data_loss", (None, Some(0))),
            "met",
            json!({ "measured": 0.0, "failovers": 1 }),
        ),
        standing(
            promise("failover-time", "failover_time", (None, Some(30_000))),
            "breached",
            json!({ "measured": 42_000.0, "failovers": 2, "evidence": [
                "failover-001 of eu-west-1 at 2026-11-20T10:00:00Z: 42.0 s, nothing lost",
            ] }),
        ),
        standing(
            gold(),
            "at_risk",
            json!({ "measured": 99.992, "budget_minutes": 4.32, "budget_left_minutes": 0.5, "unknown_minutes": 0.0 }),
        ),
        standing(
            promise("p99-latency", "latency", (Some(990_000), Some(100))),
            "no_data",
            json!({ "note": "no data: no request was routed, and nothing else measures how long requests take" }),
        ),
        standing(
            promise("vm-availability", "availability", (Some(999_500), None)),
            "met",
            json!({ "measured": 99.98999, "budget_minutes": 21.6, "budget_left_minutes": 17.25, "unknown_minutes": 1.0,
                "worst_tenants": [{ "name": "shop", "down_minutes": 130.5, "percent": 99.97 }],
                "worst_vms": [{ "name": "web-1", "down_minutes": 4.5, "percent": null }],
                "evidence": ["web-1 in eu-west-1 from 2026-11-20T10:00:00Z for 42.0 s: failover of eu-west-1"] }),
        ),
    ]
}

fn breach(whole: bool) -> Value {
    let outage = json!({ "vm": "vm_web-1", "name": "web-1", "tenant": "shop", "region": "eu-west-1", "from_ms": NINE,
        "until_ms": NINE + 42_000, "cause": "region eu-west-1 was lost", "failover": "failover-001" });
    json!({
        "breach": "breach-001", "promise": promise("failover-time", "failover_time", (None, Some(30_000))),
        "from_ms": NINE - 22 * DAY_MS, "until_ms": NINE + 8 * DAY_MS, "broken_at_ms": NINE + 30_000,
        "noticed_at_ms": NINE + 45_000, "over_at_ms": null, "incident": "INC-20261123-001",
        "measured": "failover-001 of eu-west-1 took 42.0 s", "outages": if whole { vec![outage] } else { vec![] },
        "outages_in_all": 3,
        "failovers": [{ "failover": "failover-001", "from_region": "eu-west-1", "began_at_ms": NINE, "took_ms": 42_000,
            "lost_ms": 0 }],
    })
}

fn day(day: &str, sla: &str, measured: Value, failovers: Value) -> Value {
    json!({ "day": day, "sla": sla, "scope": "federation", "measured": measured, "wanted_vm_minutes": 14_400.0,
        "down_vm_minutes": 4.5, "unknown_vm_minutes": 0.0, "failovers": failovers })
}

pub fn answer(request: &Arrived) -> Option<Reply> {
    let found = match request.route().as_str() {
        "GET /v1/sla/status" if request.target.contains("sla=vm-availability") => {
            json!({ "items": [standings()[4]], "accounted_until_ms": NINE, "as_of": as_of() })
        }
        "GET /v1/sla/status" if request.target.contains("sla=mars") => {
            return Some(problem(404, "DWCP-R0093", "no SLA mars"));
        }
        "GET /v1/sla/status" => json!({ "items": standings(), "accounted_until_ms": NINE, "as_of": as_of() }),
        "GET /v1/sla/history" => json!({ "as_of": as_of(), "items": [
            day("2026-11-23", "failover-time", json!(42_000.0), json!(1)),
            day("2026-11-23", "vm-availability", json!(99.96875), Value::Null),
            day("2026-11-22", "failover-time", Value::Null, json!(0)),
            day("2026-11-22", "vm-availability", Value::Null, Value::Null),
        ] }),
        "GET /v1/sla/breaches" => page(vec![breach(false)]),
        "GET /v1/sla/breaches/breach-001" => breach(true),
        "GET /v1/sla/breaches/breach-009" => return Some(problem(404, "DWCP-R0094", "no breach breach-009")),
        "GET /v1/sla" => page(vec![
            gold(),
            promise("p99-latency", "latency", (Some(990_000), Some(100))),
            promise("vm-availability", "availability", (Some(999_500), None)),
            promise("data-loss", "data_loss", (None, Some(0))),
        ]),
        "POST /v1/sla" if request.body.contains("\"gold\"") => json!({ "promise": gold(), "as_of": as_of() }),
        "POST /v1/sla" => {
            json!({ "promise": promise("quick", "failover_time", (None, Some(20_000))), "as_of": as_of() })
        }
        "DELETE /v1/sla/gold" => json!({ "promise": gold(), "as_of": as_of() }),
        _ => return None,
    };
    Some((200, found.to_string()))
}

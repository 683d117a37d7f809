//! What the fake federation answers about alerts and silences.

use serde_json::{Value, json};

use super::answers::{as_of, page, problem};
use super::fake::{Arrived, Reply};

/// What is typed.
pub const COMMANDS: [&str; 18] = [
    "federation monitoring alerts list --since 24h",
    "federation monitoring alerts list --since 24h --format csv",
    "federation monitoring alerts list",
    "federation monitoring alerts list --muted",
    "federation monitoring alerts list --state loud",
    "federation monitoring alerts show 000000000002899b",
    "federation monitoring alerts show 12",
    "federation monitoring alerts rules",
    "federation monitoring alerts check --file rules.yaml",
    "federation monitoring alerts check --file bad-rules.yaml",
    "federation monitoring alerts check --file nowhere.yaml",
    "federation monitoring silence create --match 'region=\"us-east-1\"' --match 'severity=~\"P[23]\"' --duration 2h --comment 'disks are swapped'",
    "federation monitoring silence create --match 'region=\"us-east-1\"' --duration 2h --comment disks --dry-run",
    "federation monitoring silence create --match 'region=~\".*\"' --duration 2h --comment all",
    "federation monitoring silence create --duration 2h --comment all",
    "federation monitoring silence list",
    "federation monitoring silence expire --id 5f0c7bd2-3c1e-8a41-8c3f-0242ac120002",
    "federation monitoring silence expire --id 12",
];

/// 2026-11-23T14:05:09Z, ms.
const AT_MS: u64 = 1_795_442_709_000;

fn alert(name: &str, state: &str, severity: &str, muted_by: Value) -> Value {
    let (firing, ended) = (state != "pending", state == "resolved");
    json!({
        "alert": format!("{:016x}", name.len() * 7_919), "name": name, "rule": format!("capacity/{name}"), "state": state,
        "severity": severity, "value": "91.5",
        "labels": { "alertname": name, "severity": severity, "cause": "cpu-capacity", "region": "us-east-1" },
        "annotations": { "summary": "CPU of us-east-1 is at 91.5 %", "runbook": "Operations guide 2.3" },
        "started_at_ms": AT_MS - 900_000, "fired_at_ms": firing.then_some(AT_MS - 600_000),
        "ended_at_ms": ended.then_some(AT_MS - 60_000), "muted_by": muted_by,
    })
}

pub fn alerts() -> Vec<Value> {
    vec![
        alert("CpuUtilizationCritical", "firing", "P2", json!([])),
        alert("CpuUtilizationWarning", "firing", "P3", json!(["inhibited by 000000000002a88a"])),
        alert("BackupStale", "resolved", "P1", json!([])),
    ]
}

fn rules() -> Value {
    let rule = |name: &str, file: &str, health: &str, error: Option<&str>| {
        json!({ "group": "capacity", "name": name, "file": file, "severity": "P2", "expr": "cpu > 85", "for_ms": 300_000,
            "health": health, "error": error, "evaluated_at_ms": AT_MS, "firing": 1, "pending": 0,
            "labels": { "severity": "P2" }, "annotations": {} })
    };
    json!({
        "rules": [rule("CpuUtilizationCritical", "shipped/capacity.yaml", "ok", None),
            rule("Disks", "/etc/dwcp/rules/own.yaml", "failed", Some("it gave 2000 alerts, and the limit is 1000"))],
        "complaints": [{ "file": "/etc/dwcp/rules/new.yaml",
            "message": "line 5, column 11: groups[0].rules[0].expr: unexpected end of the expression" }],
        "as_of": as_of(),
    })
}

fn silence(id: &str, state: &str) -> Value {
    json!({ "silence": id, "state": state, "conditions": ["region=\"us-east-1\"", "severity=~\"P[23]\""],
        "starts_at_ms": AT_MS, "ends_at_ms": AT_MS + 7_200_000, "by": "ann", "comment": "disks are swapped", "alerts": 2 })
}

const ID: &str = "5f0c7bd2-3c1e-8a41-8c3f-0242ac120002";

pub fn answer(request: &Arrived) -> Option<Reply> {
    let body = match request.route().as_str() {
        "GET /v1/alerts" if request.target.contains("state=loud") => {
            return Some(problem(400, "DWCP-R0003", "state is outside its range"));
        }
        "GET /v1/alerts" if request.target.contains("muted=true") => page(vec![alerts()[1].clone()]),
        "GET /v1/alerts" if request.target.contains("since_ms=") => page(alerts()),
        "GET /v1/alerts" => page(Vec::<Value>::new()),
        "GET /v1/alerts/000000000002899b" => {
            json!({ "alert": alerts()[1], "earlier": [alerts()[2]], "as_of": as_of() })
        }
        "GET /v1/alerts/12" => return Some(problem(404, "DWCP-R0094", "no alert 12")),
        "GET /v1/alert-rules" => rules(),
        "POST /v1/alert-rules/check" if request.body.contains("sum(") => {
            json!({ "groups": 0, "alerting": 0, "recording": 0,
            "complaints": ["line 5, column 15: groups[0].rules[0].expr: unexpected end of the expression"] })
        }
        "POST /v1/alert-rules/check" => {
            json!({ "groups": 1, "alerting": 1, "recording": 0, "complaints": [] })
        }
        "POST /v1/silences" if request.body.contains("\"dry_run\":true") => silence("", "active"),
        "POST /v1/silences" if request.body.contains(".*") => {
            return Some(problem(400, "DWCP-R0003", "the silence is not made"));
        }
        "POST /v1/silences" => silence(ID, "active"),
        "GET /v1/silences" => page(vec![silence(ID, "active")]),
        path if path == format!("POST /v1/silences/{ID}/expire") => silence(ID, "expired"),
        "POST /v1/silences/12/expire" => return Some(problem(404, "DWCP-R0093", "no silence 12")),
        _ => return None,
    };
    Some((200, body.to_string()))
}

//! What the fake federation answers about incidents and about who is on call.

use serde_json::{Value, json};

use super::answers::{NINE, as_of, problem};
use super::fake::{Arrived, Reply};

/// Commands about incidents.
pub const COMMANDS: [&str; 24] = [
    "federation monitoring incidents create --title 'Region us-east-1 failure' --severity critical --status investigating",
    "federation monitoring incidents create --title 'odd noises' --severity P3 --dry-run",
    "federation monitoring incidents create --title 'odd noises' --severity extreme",
    "federation monitoring incidents create --title 'odd noises'",
    "federation monitoring incidents list --status open",
    "federation monitoring incidents list --all --format csv",
    "federation monitoring incidents list --status resolved --severity P0,high --since 7d",
    "federation monitoring incidents show --incident-id INC-20261123-001",
    "federation monitoring incidents show --incident-id INC-20261123-001 --format csv",
    "federation monitoring incidents show --incident-id INC-20261123-009",
    "federation monitoring incidents update --incident-id INC-20261123-001 --root-cause 'High controller CPU' --resolution 'Scaled controller nodes from 3 to 5'",
    "federation monitoring incidents update --incident-id INC-20261123-001 --public-title 'Slow writes'",
    "federation monitoring incidents acknowledge --incident-id INC-20261123-001",
    "federation monitoring incidents assign --incident-id INC-20261123-001 --to ada --dry-run",
    "federation monitoring incidents resolve --incident-id INC-20261123-001 --resolution 'power is back'",
    "federation monitoring incidents post-mortem --incident-id INC-20261123-001",
    "federation monitoring incidents post-mortem --incident-id INC-20261123-001 --output draft.md",
    "federation monitoring oncall show",
    "federation monitoring oncall show --at 2026-11-29T02:00Z --format yaml",
    "federation monitoring oncall schedule --days 7",
    "federation monitoring oncall override --role primary --who ben --from 2026-11-23T09:00Z --until 2026-11-23T17:00Z",
    "federation monitoring oncall override --role primary --who ben --from +1h --until soon",
    "federation monitoring oncall remove --id override-001",
    "federation monitoring oncall calendar --output shifts.ics",
];

const MINUTE_MS: u64 = 60_000;

fn incident(number: u32, status: &str) -> Value {
    let taken = status != "open" && status != "merged";
    let over = matches!(status, "resolved" | "merged");
    json!({
        "incident": format!("INC-20261123-{number:03}"), "title": "Region us-east-1 failure",
        "severity": if number == 1 { "P0" } else { "P2" }, "status": status,
        "merged_into": (status == "merged").then_some("INC-20261123-001"),
        "cause": "region-down{region=\"us-east-1\"}", "opened_at_ms": NINE, "due_at_ms": NINE + 15 * MINUTE_MS,
        "overdue": number == 2, "assignee": taken.then_some("ada"), "acknowledged_by": taken.then_some("ada"),
        "acknowledged_at_ms": taken.then_some(NINE + 5 * MINUTE_MS),
        "resolved_at_ms": over.then_some(NINE + 60 * MINUTE_MS), "reopened": 0, "alerts_firing": u32::from(!over),
        "published": number == 1,
    })
}

fn entry(minutes: u64, who: Option<&str>, what: &str) -> Value {
    json!({ "at_ms": NINE + minutes * MINUTE_MS, "who": who, "what": what })
}

fn detail() -> Value {
    json!({
        "incident": incident(1, "investigating"),
        "timeline": [
            entry(0, None, "Opened as P0, critical."),
            entry(0, None, "Paged ada."),
            entry(5, Some("ada"), "Took it."),
        ],
        "timeline_left_out": 12,
        "alerts": [{ "name": "RegionDown", "severity": "P0", "labels": "{alertname=\"RegionDown\", region=\"us-east-1\"}",
            "since_ms": NINE, "ended_at_ms": null }],
        "more_alerts_firing": 3,
        "pages": [
            { "at_ms": NINE, "step": 1, "role": "primary", "who": "ada" },
            { "at_ms": NINE + 15 * MINUTE_MS, "step": 2, "role": "secondary", "who": null },
        ],
        "root_cause": "", "resolution": "", "public_title": "Region us-east-1 is unavailable",
        "public_notes": [{ "at_ms": NINE, "status": "investigating", "text": "We are investigating." }],
        "as_of": as_of(),
    })
}

fn stand_in(id: &str) -> Value {
    json!({ "id": id, "role": "primary", "who": "ben", "from_ms": NINE, "until_ms": NINE + 480 * MINUTE_MS,
        "by": "ops@example.com" })
}

fn on_call(request: &Arrived) -> Option<Value> {
    let until_ms = NINE + 480 * MINUTE_MS;
    let dry = request.body.contains("\"dry_run\":true");
    Some(match request.route().as_str() {
        "GET /v1/on-call" => json!({ "at_ms": NINE, "as_of": as_of(), "duty": [
            { "role": "primary", "who": "ada", "until_ms": until_ms },
            { "role": "secondary", "who": null, "until_ms": null },
        ] }),
        "GET /v1/on-call/schedule" => {
            json!({ "as_of": as_of(), "overrides": [stand_in("override-001")], "shifts": [
            { "role": "primary", "who": "ben", "from_ms": NINE, "until_ms": until_ms },
            { "role": "secondary", "who": "cleo", "from_ms": NINE, "until_ms": until_ms },
        ] })
        }
        "GET /v1/on-call/calendar" => json!({ "ics": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n" }),
        "POST /v1/on-call/overrides" => stand_in(if dry { "" } else { "override-001" }),
        "DELETE /v1/on-call/overrides/override-001" => stand_in("override-001"),
        _ => return None,
    })
}

/// The answer to what is asked about these.
pub fn answer(request: &Arrived) -> Option<Reply> {
    let one = |status: &str| json!({ "incident": incident(1, status), "as_of": as_of() });
    let value = match request.route().as_str() {
        "POST /v1/incidents" if request.body.contains("extreme") => {
            return Some(problem(400, "DWCP-R0003", "severity is outside its range"));
        }
        "POST /v1/incidents" if request.body.contains("\"dry_run\":true") => {
            let mut one = one("open");
            one["incident"]["incident"] = json!("");
            one
        }
        "POST /v1/incidents" => one("investigating"),
        "GET /v1/incidents" if request.target.contains("resolved") => {
            json!({ "items": [], "next_cursor": null, "as_of": as_of() })
        }
        "GET /v1/incidents" => {
            let mut items = vec![incident(2, "open"), incident(1, "investigating")];
            if request.target.contains("all=true") {
                items.extend([incident(3, "merged"), incident(4, "resolved")]);
            }
            json!({ "items": items, "next_cursor": null, "as_of": as_of() })
        }
        "GET /v1/incidents/INC-20261123-001" => detail(),
        "GET /v1/incidents/INC-20261123-001/post-mortem" => {
            json!({ "incident": "INC-20261123-001", "markdown": "# Post-mortem of INC-20261123-001: x\n\nDraft.\n" })
        }
        "PUT /v1/incidents/INC-20261123-001" if request.body.contains("\"status\":\"resolved\"") => {
            one("resolved")
        }
        "PUT /v1/incidents/INC-20261123-001" => one("investigating"),
        route if route.contains("/v1/incidents/") => {
            return Some(problem(404, "DWCP-R0078", "there is no incident INC-20261123-009"));
        }
        _ => on_call(request)?,
    };
    Some((200, value.to_string()))
}

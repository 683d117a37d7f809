//! Alerts for an Alertmanager (`POST /api/v2/alerts`).

use serde_json::{Map, Value, json};

use crate::alerting::{ALERTNAME, Alert, Phase, REGION, SEVERITY};
use crate::incidents::Severity;

use super::{Action, Message, PATIENCE_MS, moment};

/// The path below an Alertmanager's URL.
pub const PATH: &str = "/api/v2/alerts";

/// Alerts as they are: those that fire are over by themselves at `until_ms` unless they are sent again. `link`: where they can be seen.
pub fn alerts(alerts: &[Alert], link: Option<&str>, until_ms: i64) -> Value {
    let told = alerts.iter().filter(|alert| matches!(alert.phase, Phase::Firing | Phase::Resolved));
    told.map(|alert| {
        let ends_ms = if alert.phase == Phase::Resolved { alert.ended_at_ms } else { Some(until_ms) };
        json!({
            "labels": alert.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<String, Value>>(),
            "annotations": alert.annotations,
            "startsAt": moment(alert.fired_at_ms.unwrap_or(alert.active_at_ms)),
            "endsAt": moment(ends_ms.unwrap_or(until_ms)),
            "generatorURL": link.unwrap_or(""),
        })
    })
    .collect()
}

/// An incident or a notice as an alert: `DwcpIncident` or `DwcpNotice`, with what it is about and its severity. An incident's ends when it
/// is resolved, whatever severities it had before; a notice's after an hour.
pub fn of_message(message: &Message) -> Value {
    const NOTICE_MS: i64 = 3_600_000;
    const ALL: [Severity; 4] = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];
    let ends_ms = match message.action {
        Action::Resolve => message.at_ms,
        Action::Announce => message.at_ms.saturating_add(NOTICE_MS),
        Action::Trigger | Action::Escalate(_) | Action::Acknowledge => {
            message.at_ms.saturating_add(PATIENCE_MS)
        }
    };
    let severities = if message.action == Action::Resolve { &ALL[..] } else { &[message.severity] };
    let starts = message.details.get("opened").map_or_else(|| moment(message.at_ms), Clone::clone);
    let told = severities.iter().map(|severity| {
        json!({
            "labels": labels(message, *severity),
            "annotations": {"summary": message.title, "description": message.text, "status": message.status},
            "startsAt": starts,
            "endsAt": moment(ends_ms),
            "generatorURL": message.link.as_deref().unwrap_or(""),
        })
    });
    told.collect()
}

fn labels(message: &Message, severity: Severity) -> Map<String, Value> {
    let (name, id) =
        if message.is_incident() { ("DwcpIncident", "incident") } else { ("DwcpNotice", "notice") };
    let severity = severity.to_string();
    let all = [
        (ALERTNAME, name),
        (id, message.about()),
        (SEVERITY, &severity),
        (REGION, &message.region),
        ("federation", &message.federation),
    ];
    let filled = all.into_iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

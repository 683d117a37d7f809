//! Events of PagerDuty (*Events API v2*).

use serde_json::{Map, Value, json};

use crate::incidents::Severity;

use super::{Action, Message, cut, moment};

/// Where events go unless the settings say otherwise.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Longest summary, characters; bytes are not fewer.
const SUMMARY_MAX: usize = 1_024;
/// Longest `dedup_key`, characters.
const KEY_MAX: usize = 255;

/// The event of a message. What is no incident is a change event, which is shown and pages nobody.
pub fn event(message: &Message, routing_key: &str) -> Value {
    let action = match message.action {
        Action::Trigger | Action::Escalate(_) => "trigger",
        Action::Acknowledge => "acknowledge",
        Action::Resolve => "resolve",
        Action::Announce => return change(message, routing_key),
    };
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": cut(message.about(), KEY_MAX),
    });
    if action == "trigger" {
        let mut payload = json!({
            "summary": cut(&message.title, SUMMARY_MAX),
            "source": source(message),
            "severity": severity(message.severity),
            "timestamp": moment(message.at_ms),
            "class": message.template,
            "custom_details": details(message),
        });
        if !message.region.is_empty() {
            payload["group"] = message.region.as_str().into();
        }
        event["payload"] = payload;
        event["client"] = "DWCP".into();
        if let Some(link) = &message.link {
            event["client_url"] = link.as_str().into();
        }
        event["links"] = links(message);
    }
    event
}

/// The URL that takes a message: change events have one of their own next to that of the others.
pub fn url(configured: &str, action: Action) -> String {
    match configured.strip_suffix("/enqueue") {
        Some(base) if action == Action::Announce => format!("{base}/change/enqueue"),
        _ => configured.to_owned(),
    }
}

fn change(message: &Message, routing_key: &str) -> Value {
    json!({
        "routing_key": routing_key,
        "payload": {
            "summary": cut(&message.title, SUMMARY_MAX),
            "source": source(message),
            "timestamp": moment(message.at_ms),
            "custom_details": details(message),
        },
        "links": links(message),
    })
}

fn source(message: &Message) -> &str {
    let place = if message.region.is_empty() { &message.federation } else { &message.region };
    if place.is_empty() { "dwcp" } else { place }
}

/// As PagerDuty names them.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::P0 => "critical",
        Severity::P1 => "error",
        Severity::P2 => "warning",
        Severity::P3 => "info",
    }
}

fn links(message: &Message) -> Value {
    message.link.iter().map(|link| json!({"href": link, "text": "Open in the console"})).collect()
}

fn details(message: &Message) -> Value {
    let told = [
        ("text", message.text.as_str()),
        ("status", &message.status),
        ("region", &message.region),
        ("federation", &message.federation),
        ("person", message.person.as_deref().unwrap_or("")),
    ];
    let more = message.details.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let filled = more.chain(told).filter(|(_, value)| !value.is_empty());
    Value::Object(filled.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<String, Value>>())
}

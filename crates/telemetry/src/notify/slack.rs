//! Messages of Slack's incoming webhooks, in blocks (*Block Kit*).

use serde_json::{Value, json};

use super::{Action, Message, Person};

/// Longest text of a header, characters.
const HEADER_MAX: usize = 150;
/// Longest text of a section.
const TEXT_MAX: usize = 3_000;
/// Longest field of a section.
const FIELD_MAX: usize = 2_000;

/// The body of a message. `person`: who is mentioned, when Slack knows them.
pub fn body(message: &Message, channel: Option<&str>, person: Option<&Person>) -> Value {
    let title = escaped(&message.title, HEADER_MAX);
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}})];
    if !message.text.trim().is_empty() {
        blocks.push(section(&escaped(&message.text, TEXT_MAX)));
    }
    let incident = if message.is_incident() { message.about() } else { "" };
    let facts = [
        ("Severity", format!("{} ({})", message.severity, message.severity.word())),
        ("Status", message.status.clone()),
        ("Region", message.region.clone()),
        ("Incident", incident.to_owned()),
        ("Federation", message.federation.clone()),
    ];
    let filled = facts.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<Value> = filled
        .map(|(name, value)| text("mrkdwn", &format!("*{name}*\n{}", escaped(value, FIELD_MAX - 40))))
        .collect();
    blocks.push(json!({"type": "section", "fields": fields}));
    blocks.extend(call(message, person).map(|words| section(&words)));
    if let Some(link) = &message.link {
        blocks.push(section(&format!("<{}|Open in the console>", escaped_url(link))));
    }
    let mut body = json!({"text": title, "blocks": blocks});
    if let Some(channel) = channel {
        body["channel"] = channel.into();
    }
    body
}

/// Who is to look at it.
fn call(message: &Message, person: Option<&Person>) -> Option<String> {
    if !matches!(message.action, Action::Trigger | Action::Escalate(_)) {
        return None;
    }
    let name = message.person.as_deref()?;
    let name = match person.and_then(|person| person.slack.as_deref()) {
        Some(id) => format!("<@{}>", escaped_url(id)),
        None => escaped(name, FIELD_MAX),
    };
    Some(format!("On call: {name}"))
}

fn section(words: &str) -> Value {
    json!({"type": "section", "text": text("mrkdwn", words)})
}

fn text(kind: &str, words: &str) -> Value {
    json!({"type": kind, "text": words})
}

/// A text that is shown as it is: `&`, `<` and `>`, with which Slack writes mentions and links, are escaped. At most so many characters
/// of the result.
pub fn escaped(text: &str, most: usize) -> String {
    let (mut out, mut length) = (String::new(), 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let piece = match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            other => other.to_string(),
        };
        // One is left for the sign that something is missing.
        let room = most - usize::from(chars.peek().is_some());
        let pieces = piece.chars().count();
        if length + pieces > room {
            out.push('…');
            return out;
        }
        out.push_str(&piece);
        length += pieces;
    }
    out
}

/// What stands between `<` and `|` or `>`.
fn escaped_url(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '<' | '>' | '|') && !c.is_control()).collect()
}

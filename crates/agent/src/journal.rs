//! The agent's log: one JSON object a line on standard error.

use std::io::Write;

use serde_json::{Map, Value};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Ordinary events.
    Info,
    /// The world failed; the agent goes on.
    Warn,
    /// The agent can't do its work.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Writes one line. `fields` is a JSON object; anything else is left out.
pub fn log(level: Level, event: &str, fields: Value) {
    let mut line = Map::new();
    line.insert("at_ms".into(), crate::clock::wall_ms().into());
    line.insert("level".into(), level.name().into());
    line.insert("component".into(), "agent".into());
    line.insert("pid".into(), std::process::id().into());
    line.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    // A log that can't be written must not stop the VMs.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// An ordinary event.
pub fn info(event: &str, fields: Value) {
    log(Level::Info, event, fields);
}

/// A failure of the world that the agent copes with.
pub fn warn(event: &str, fields: Value) {
    log(Level::Warn, event, fields);
}

/// A failure that stops the agent.
pub fn error(event: &str, fields: Value) {
    log(Level::Error, event, fields);
}

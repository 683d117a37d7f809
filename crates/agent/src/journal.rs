//! The agent's log: one JSON object a line on standard error.
//!
//! Who reads it may stop reading, and a pipe that is full makes every writer wait. So a thread of its own writes, and lines
//! that find [`WAITING_MAX`] others waiting are left out and counted: the log must stop neither the renewals nor the VMs.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::quiet_thread;

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

/// Most lines that wait to be written.
const WAITING_MAX: usize = 1_024;

/// To the thread that writes; `None` when the system gave none.
static WRITER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
static WAITING: AtomicUsize = AtomicUsize::new(0);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Queues one line. `fields` is a JSON object; anything else is left out. Never waits.
pub fn log(level: Level, event: &str, fields: Value) {
    let writer = WRITER.get_or_init(|| {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        quiet_thread::start("log", move || write(&waiting)).ok().map(|_| lines)
    });
    WAITING.fetch_add(1, Ordering::AcqRel);
    let line = line(level, event, fields);
    if writer.as_ref().is_none_or(|writer| writer.try_send(line).is_err()) {
        WAITING.fetch_sub(1, Ordering::AcqRel);
        LEFT_OUT.fetch_add(1, Ordering::AcqRel);
    }
}

/// Waits until everything is written, `limit` at most.
pub fn flush(limit: Duration) {
    let deadline = Instant::now() + limit;
    while WAITING.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn write(lines: &Receiver<String>) {
    // A log that can't be written must not stop the VMs.
    let put = |text: &str| drop(std::io::stderr().lock().write_all(text.as_bytes()));
    for text in lines {
        put(&text);
        let left_out = LEFT_OUT.swap(0, Ordering::AcqRel);
        if left_out > 0 {
            put(&line(Level::Warn, "log-lines-left-out", serde_json::json!({"lines": left_out})));
        }
        WAITING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn line(level: Level, event: &str, fields: Value) -> String {
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
    text
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

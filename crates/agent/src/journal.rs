//! The agent's log: one JSON object a line on standard error.
//!
//! Who reads it may stop reading, and a pipe that is full makes every writer wait. So a thread of its own writes, and lines
//! that find [`WAITING_MAX`] others waiting are left out and counted: the log must stop neither the renewals nor the VMs. The worker
//! also sends its lines to the server that it is linked to ([`to_send`]).

mod shipment;

use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dwcp_roles::protocol::{AgentLine, AgentLines, LineLevel};
use serde_json::{Map, Value};

use crate::clock::wall_ms;
use crate::quiet_thread;
use shipment::Queue;

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
/// All that were ever left out.
static ALL_LEFT_OUT: AtomicU64 = AtomicU64::new(0);
/// Lines for the server; empty where nobody sends them.
static TO_SEND: OnceLock<Mutex<Queue>> = OnceLock::new();

/// From now on lines also wait to be sent.
pub fn keep_to_send() {
    // The first call counts.
    let _ = TO_SEND.set(Mutex::default());
}

/// The lines to send next; none: nothing waits.
pub fn to_send() -> Option<AgentLines> {
    TO_SEND.get()?.lock().unwrap_or_else(PoisonError::into_inner).batch()
}

/// The lines up to this number came.
pub fn came(through: u64) {
    if let Some(queue) = TO_SEND.get() {
        queue.lock().unwrap_or_else(PoisonError::into_inner).done(through);
    }
}

/// Lines that were left out: on standard error, and of those to send.
pub fn left_out() -> (u64, u64) {
    let to_send =
        TO_SEND.get().map_or(0, |queue| queue.lock().unwrap_or_else(PoisonError::into_inner).left_out());
    (ALL_LEFT_OUT.load(Ordering::Acquire), to_send)
}

/// Queues one line. `fields` is a JSON object; anything else is left out. Never waits.
pub fn log(level: Level, event: &str, fields: Value) {
    let writer = WRITER.get_or_init(|| {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        quiet_thread::start("log", move || write(&waiting)).ok().map(|_| lines)
    });
    if let Some(queue) = TO_SEND.get() {
        queue.lock().unwrap_or_else(PoisonError::into_inner).push(for_the_server(level, event, &fields));
    }
    WAITING.fetch_add(1, Ordering::AcqRel);
    let line = line(level, event, fields);
    if writer.as_ref().is_none_or(|writer| writer.try_send(line).is_err()) {
        WAITING.fetch_sub(1, Ordering::AcqRel);
        LEFT_OUT.fetch_add(1, Ordering::AcqRel);
        ALL_LEFT_OUT.fetch_add(1, Ordering::AcqRel);
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

fn for_the_server(level: Level, event: &str, fields: &Value) -> AgentLine {
    let level = match level {
        Level::Info => LineLevel::Info,
        Level::Warn => LineLevel::Warning,
        Level::Error => LineLevel::Error,
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = fields.as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| (name.clone(), text(value))).collect();
    AgentLine { at_ms: wall_ms(), level, event: event.to_owned(), fields }
}

fn line(level: Level, event: &str, fields: Value) -> String {
    let mut line = Map::new();
    line.insert("at_ms".into(), wall_ms().into());
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

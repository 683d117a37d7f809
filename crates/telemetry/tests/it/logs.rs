//! The log store: written, crashed, damaged, copied, bounded, asked.

mod bounds;
mod copies;
mod damage;
mod properties;
mod questions;

use std::fs;
use std::path::{Path, PathBuf};

use dwcp_telemetry::logs::{Entry, Level, Limits, Order, Origin, Page, Query, Record, Store};

/// A folder that is removed with its last use.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dwcp-logs-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn origin(text: &str) -> Origin {
    Origin::parse(text).expect("an origin")
}

pub fn small() -> Limits {
    Limits { segment_bytes: 2_000, log_bytes: 1 << 30, age_ms: i64::MAX, floors: Default::default() }
}

pub fn open(folder: &Path, limits: Limits) -> Store {
    Store::open(folder, &origin("eu-west-1"), limits).expect("a store")
}

pub fn line(at_ms: i64, component: &str, message: &str) -> Entry {
    Entry {
        at_ms,
        component: component.into(),
        level: Level::Info,
        message: message.into(),
        ..Entry::default()
    }
}

/// Everything of a store, oldest first.
pub fn all(store: &Store) -> Vec<Record> {
    asked(store, &Query { limit: usize::MAX, order: Order::OldestFirst, ..Query::default() }).records
}

pub fn asked(store: &Store, query: &Query) -> Page {
    store.query(query).expect("an answer")
}

pub fn messages(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| &*record.entry.message).collect()
}

/// The files of a log with this ending, by name.
pub fn files(folder: &Path, log: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(log)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    found.sort();
    found
}

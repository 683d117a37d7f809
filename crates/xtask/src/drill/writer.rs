//! Writes through the API all the time and remembers what was acknowledged, to look for it afterwards.

use crate::federation::demo;
use crate::run::{Failure, capture, text_of};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two writes.
const EVERY: Duration = Duration::from_millis(300);

/// What became of the writes so far.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Tokens whose creation was acknowledged.
    pub acknowledged: Vec<String>,
    /// Writes that failed: refused, or of unknown outcome.
    pub failed: usize,
    /// The longest time from one acknowledgement to the next.
    pub longest_gap: Duration,
}

/// The thread that writes, until dropped.
pub struct Writer {
    written: Arc<Mutex<Written>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts writing.
    pub fn start(tree: &Tree) -> Writer {
        let (written, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (tree, shared, end) = (tree.clone(), Arc::clone(&written), Arc::clone(&stop));
        let thread = std::thread::spawn(move || write(&tree, &shared, &end));
        Writer { written, stop, thread: Some(thread) }
    }

    /// Stops writing and says what became of it.
    pub fn finish(mut self) -> Written {
        self.end();
        self.written.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(tree: &Tree, written: &Mutex<Written>, stop: &AtomicBool) {
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut create = demo::cli(tree);
        create.args(["--timeout", "10s", "--format", "json", "security", "token", "create"]);
        create.args(["--user", "drill", "--role", "viewer"]);
        let answer = capture(&mut create).ok().filter(|output| output.status.success());
        let token = answer.and_then(|output| {
            let value: Value = serde_json::from_slice(&output.stdout).ok()?;
            value["token"]["token_id"].as_str().map(str::to_owned)
        });
        let mut written = written.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match token {
            Some(token) => {
                written.longest_gap = written.longest_gap.max(last.elapsed());
                last = Instant::now();
                written.acknowledged.push(token);
            }
            None => written.failed += 1,
        }
        drop(written);
        std::thread::sleep(EVERY);
    }
}

/// The acknowledged writes that are not there, asked of one region's API.
///
/// # Errors
/// When the list cannot be read.
pub fn missing(tree: &Tree, endpoint: &str, written: &Written) -> Result<Vec<String>, Failure> {
    let mut list = demo::cli(tree);
    list.args(["--endpoint", endpoint, "--format", "json", "security", "token", "list", "--user", "drill"]);
    let text = text_of(&mut list)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::new(format!("`dwcp-cli security token list` printed no JSON: {e}")))?;
    let present: BTreeSet<&str> = value["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["token_id"].as_str())
        .collect();
    Ok(written.acknowledged.iter().filter(|token| !present.contains(token.as_str())).cloned().collect())
}

//! How far a copy is, told from time to time.

use std::sync::Arc;
use std::time::Duration;

use dwcp_mesh::transfer::Pace;
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{Stage, TransferReport};
use serde_json::Value;
use tokio::time::Instant;

use super::{Process, Tell};

/// Between two words.
const EVERY: Duration = Duration::from_millis(500);

/// Counts and tells.
pub(super) struct Meter {
    tell: Tell,
    process: Process,
    pub(super) pace: Arc<Pace>,
    report: TransferReport,
    began: Instant,
    told: Option<Instant>,
    /// When the rate was measured, and what had been sent then.
    measured: (Instant, u64),
}

impl Meter {
    pub(super) fn begin(tell: Tell, process: Process, migration: u64, rate_bytes_per_s: u64) -> Meter {
        let now = Instant::now();
        Meter {
            tell,
            process,
            pace: Arc::new(Pace::new(rate_bytes_per_s)),
            report: TransferReport { migration, ..TransferReport::default() },
            began: now,
            told: None,
            measured: (now, 0),
        }
    }

    /// Another stage has begun: told at once.
    pub(super) fn stage(&mut self, stage: Stage) {
        self.report.stage = stage;
        self.told = None;
        self.say(self.report.bytes_total.saturating_sub(self.report.bytes_done));
    }

    /// What the emulator says of a disk's copy.
    pub(super) fn disk(&mut self, job: &Value) {
        let number = |key: &str| job[key].as_u64().unwrap_or(0);
        self.say(number("len").saturating_sub(number("offset")));
    }

    /// What the emulator says of the memory's copy.
    pub(super) fn memory(&mut self, told: &Value) {
        let ram = &told["ram"];
        let number = |key: &str| ram[key].as_u64().unwrap_or(0);
        self.report.dirty_bytes_per_s = number("dirty-pages-rate").saturating_mul(number("page-size").max(1));
        let throttle = told["cpu-throttle-percentage"].as_u64().unwrap_or(0);
        self.report.throttle_percent = u32::try_from(throttle).unwrap_or(100);
        self.report.downtime_ms = told["downtime"].as_u64().unwrap_or(0);
        self.say(number("remaining"));
    }

    /// Bytes sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.pace.sent()
    }

    fn say(&mut self, left: u64) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + EVERY) {
            return;
        }
        self.told = Some(now);
        let sent = self.sent();
        let (since, before) = self.measured;
        let took = now.duration_since(since);
        if took >= EVERY / 2 {
            self.report.rate_bytes_per_s = ((sent - before) as f64 / took.as_secs_f64()) as u64;
            self.measured = (now, sent);
        }
        self.report.bytes_done = sent;
        self.report.bytes_total = sent.saturating_add(left);
        self.report.elapsed_ms = now.duration_since(self.began).as_millis() as u64;
        let Process { vm, generation, .. } = self.process;
        (self.tell)(Input::TransferProgress { vm, generation, report: self.report.clone() });
    }
}

//! QEMU's mirror of a disk, by its monitor.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::replicas::EXPORT;
use super::Process;
use super::tunnel::SOCKET;
use crate::qmp;

/// How long the monitor may take for one command.
const MONITOR_LIMIT: Duration = Duration::from_secs(5);
/// A mirror that was cancelled must be gone by then.
const GONE: Duration = Duration::from_secs(5);
/// What every mirror of ours is called, before its epoch.
const NAME: &str = "protect-";
/// The disk to copy.
const DISK: &str = "disk0";
/// Seconds that requests wait for a server that is away: for ever, in practice. They end when the mirror is cancelled.
const RECONNECT_S: u64 = 100_000_000;

/// How far a mirror is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// Everything that was ever acknowledged is on the copy, and what comes is there before it is acknowledged.
    pub whole: bool,
    pub percent: u32,
}

/// One VM's mirror of one epoch.
pub(super) struct Mirror {
    monitor: PathBuf,
    name: String,
}

impl Mirror {
    pub(super) fn of(process: &Process, epoch: u64) -> Mirror {
        Mirror { monitor: qmp::socket_of(process.pid), name: format!("{NAME}{epoch}") }
    }

    fn ask(&self, command: &str, arguments: Value) -> Result<Value, String> {
        qmp::execute(&self.monitor, command, arguments, MONITOR_LIMIT)
    }

    /// How far it is; none when there is no such mirror.
    pub(super) fn job(&self) -> Result<Option<Job>, String> {
        let jobs = self.ask("query-block-jobs", Value::Null)?;
        let job = jobs.as_array().into_iter().flatten().find(|job| job["device"] == self.name.as_str());
        Ok(job.map(how_far))
    }

    /// Lets QEMU connect, and mirror from then on; every write waits for the copy.
    pub(super) fn begin(&self) -> Result<(), String> {
        let node = json!({
            "driver": "nbd", "node-name": self.name, "export": EXPORT, "reconnect-delay": RECONNECT_S,
            "server": {"type": "unix", "path": SOCKET},
        });
        self.ask("blockdev-add", node)?;
        let mirror = json!({
            "job-id": self.name, "device": DISK, "target": self.name, "sync": "full", "copy-mode": "write-blocking",
            "on-source-error": "report", "on-target-error": "stop",
        });
        self.ask("blockdev-mirror", mirror).map(drop)
    }

    /// Takes every mirror of ours away, and what waits for it.
    pub(super) fn clear(&self) -> Result<(), String> {
        let nodes = self.ask("query-named-block-nodes", json!({"flat": true}))?;
        let names = nodes.as_array().into_iter().flatten().filter_map(|node| node["node-name"].as_str());
        names.filter(|name| name.starts_with(NAME)).try_for_each(|name| self.clear_named(name))
    }

    fn clear_named(&self, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + GONE;
        loop {
            let jobs = self.ask("query-block-jobs", Value::Null)?;
            if jobs.as_array().into_iter().flatten().all(|job| job["device"] != name) {
                break;
            }
            if Instant::now() >= deadline {
                return Err(format!("{name} is still there after {} s", GONE.as_secs()));
            }
            // Forced: what waits for the copy fails, and the guest's writes are done without it.
            let _ = self.ask("block-job-cancel", json!({"device": name, "force": true}));
            std::thread::sleep(Duration::from_millis(50));
        }
        match self.ask("blockdev-del", json!({"node-name": name})) {
            Err(error) if !error.contains("Failed to find node") => Err(error),
            _ => Ok(()),
        }
    }
}

fn how_far(job: &Value) -> Job {
    let number = |name: &str| job[name].as_u64().unwrap_or(0);
    let percent = (number("offset").min(number("len")) * 100).checked_div(number("len")).unwrap_or(0) as u32;
    let whole = job["ready"] == true && job["actively-synced"] == true && job["io-status"] == "ok";
    Job { whole, percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_whole_only_when_it_is_ready_and_actively_synced_and_well() {
        let job = |ready: bool, synced: bool, io: &str| {
            how_far(&json!({
                "device": "protect-1", "ready": ready, "actively-synced": synced, "io-status": io,
                "offset": 512, "len": 1024
            }))
        };
        assert_eq!(job(true, true, "ok"), Job { whole: true, percent: 50 });
        assert!(
            !job(true, false, "ok").whole
                && !job(false, true, "ok").whole
                && !job(true, true, "nospace").whole
        );
        assert_eq!(how_far(&json!({})), Job::default());
    }
}

//! A disk as it is at one moment, by the emulator's monitor, while its guest goes on writing.
//!
//! A filter is put between the guest and its disk: what is about to be overwritten is kept in a file on this host first, so
//! that a view through the filter shows the disk as it was. A job copies from that view. Nothing that is far away can hold a
//! write of the guest up, or fail it: if the file can't be written, the view breaks, not the guest.
//!
//! What changed since a point is in a bitmap of the disk that is named after it, and goes with the emulator's process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::points::Point;
use super::super::replicas::EXPORT;
use super::Process;
use crate::clock::monotonic_us;
use crate::qemu::ERRORS_FILE;
use crate::qmp;

/// How long the monitor may take for one command.
const MONITOR_LIMIT: Duration = Duration::from_secs(5);
/// A job that was cancelled must be gone by then.
const GONE: Duration = Duration::from_secs(10);
/// How long keeping what is about to be overwritten may hold a write of the guest up, seconds; then the view is broken.
const KEEP_S: u64 = 5;
/// Longest file of the emulator's complaints, bytes.
const COMPLAINTS_BYTES: u64 = 256 << 10;
/// The disk.
const DISK: &str = "disk0";
/// The filter between the guest and its disk.
const FILTER: &str = "point-filter";
/// What the guest overwrote since.
const OLD: &str = "point-old";
/// The disk as it was.
const VIEW: &str = "point-view";
/// Where the copy goes.
const OUT: &str = "point-out";
/// The job.
const JOB: &str = "point-copy";
/// Names of bitmaps begin so; then come the point's epoch and number, and its time on this host's monotonic clock, µs.
const BITMAP: &str = "point-";
/// The file for what the guest overwrote, in the VM's folder.
const OLD_FILE: &str = "point.qcow2";
/// Name of the socket that the emulator sends the copy to, in the VM's folder.
pub(super) const SOCKET: &str = "point.sock";

/// A bitmap: what changed since a point, and when that was, µs of the monotonic clock. The point's wall time is not in its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    pub point: Point,
    pub taken_us: u64,
}

impl Since {
    fn name(&self) -> String {
        format!("{BITMAP}{}-{}-{}", self.point.epoch, self.point.number, self.taken_us)
    }

    fn of(name: &str) -> Option<Since> {
        let mut numbers = name.strip_prefix(BITMAP)?.split('-').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let since = Since { point: Point { epoch: next()?, number: next()?, at_ms: 0 }, taken_us: next()? };
        (since.name() == name).then_some(since)
    }
}

/// How far the copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Copying(u32),
    Copied,
    Failed(String),
}

/// One VM's disk.
pub(super) struct Snapshot {
    monitor: PathBuf,
    dir: PathBuf,
}

impl Snapshot {
    pub(super) fn of(process: &Process) -> Snapshot {
        Snapshot { monitor: qmp::socket_of(process.pid), dir: process.dir.clone() }
    }

    fn ask(&self, command: &str, arguments: Value) -> Result<Value, String> {
        qmp::execute(&self.monitor, command, arguments, MONITOR_LIMIT)
    }

    fn nodes(&self) -> Result<Vec<Value>, String> {
        let nodes = self.ask("query-named-block-nodes", json!({"flat": true}))?;
        nodes.as_array().cloned().ok_or_else(|| "the monitor lists no disks".to_string())
    }

    fn disk(&self) -> Result<Value, String> {
        let disk = self.nodes()?.into_iter().find(|node| node["node-name"] == DISK);
        disk.ok_or_else(|| format!("the emulator has no {DISK}"))
    }

    /// Size of the disk, bytes.
    pub(super) fn size(&self) -> Result<u64, String> {
        self.disk()?["image"]["virtual-size"]
            .as_u64()
            .ok_or_else(|| "the disk's size is not told".to_string())
    }

    /// What the emulator noted changes since.
    pub(super) fn bitmaps(&self) -> Result<Vec<Since>, String> {
        let disk = self.disk()?;
        let bitmaps = disk["dirty-bitmaps"].as_array().into_iter().flatten();
        // One that a crash left locked or broken says nothing.
        let sound = bitmaps.filter(|of| of["recording"] == true && of["inconsistent"] != true);
        Ok(sound.filter_map(|of| Since::of(of["name"].as_str()?)).collect())
    }

    /// Forgets every bitmap but these.
    pub(super) fn keep_bitmaps(&self, keep: &[Since]) -> Result<(), String> {
        for since in self.bitmaps()?.into_iter().filter(|since| !keep.contains(since)) {
            self.ask("block-dirty-bitmap-remove", json!({"node": DISK, "name": since.name()}))?;
        }
        Ok(())
    }

    /// The guest's device, and what it reads and writes now.
    fn device(&self) -> Result<(String, String), String> {
        let blocks = self.ask("query-block", Value::Null)?;
        let roots = blocks.as_array().into_iter().flatten();
        let mut roots = roots.filter_map(|block| {
            let (device, node) = (block["qdev"].as_str()?, block["inserted"]["node-name"].as_str()?);
            Some((device.to_owned(), node.to_owned()))
        });
        roots.next().ok_or_else(|| "the emulator shows no device with a disk".to_string())
    }

    /// Puts a filter or the disk itself under the guest's device. Whatever else sees the guest's writes on their way, such as
    /// the mirror of a move, would be passed by: so nothing else may be there.
    fn lead(&self, from: &str, to: &str) -> Result<(), String> {
        let (device, node) = self.device()?;
        let others = self.ask("query-block-jobs", Value::Null)?;
        let other = others.as_array().into_iter().flatten().find(|job| job["device"] != JOB);
        if node != from || other.is_some() {
            let what = other.map_or(node, |job| job["device"].to_string());
            return Err(format!("the disk is in other use now ({what})"));
        }
        self.ask("qom-set", json!({"path": device, "property": "drive", "value": to})).map(drop)
    }

    /// Holds a moment of the disk fast and begins to copy what changed up to it since `since`, or all of it. Somebody must
    /// listen on the socket already.
    ///
    /// Returns the bitmap of what changes from now on.
    pub(super) fn begin(&self, point: Point, since: Option<Since>) -> Result<Since, String> {
        let size = self.size()?;
        let old = self.dir.join(OLD_FILE);
        let size = size.to_string();
        let made = std::process::Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&old)
            .arg(&size)
            .output()
            .map_err(|e| format!("qemu-img (Debian's package qemu-utils): {e}"))?;
        if !made.status.success() {
            return Err(format!("qemu-img: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        let file = json!({"driver": "file", "filename": OLD_FILE, "discard": "unmap"});
        let old = json!({"driver": "qcow2", "node-name": OLD, "discard": "unmap", "file": file});
        self.ask("blockdev-add", old)?;
        let filter = json!({
            "driver": "copy-before-write", "node-name": FILTER, "file": DISK, "target": OLD,
            "on-cbw-error": "break-snapshot", "cbw-timeout": KEEP_S,
        });
        self.ask("blockdev-add", filter)?;
        // Before the moment, so that no change after it is missed; one that is counted twice does no harm.
        let next = Since { point: Point { at_ms: 0, ..point }, taken_us: monotonic_us() };
        self.ask("block-dirty-bitmap-add", json!({"node": DISK, "name": next.name()}))?;
        self.lead(DISK, FILTER)?;
        let view = json!({"driver": "snapshot-access", "node-name": VIEW, "file": FILTER});
        self.ask("blockdev-add", view)?;
        let mut job = json!({
            "job-id": JOB, "device": VIEW, "target": OUT, "sync": "full", "auto-dismiss": false,
            "on-source-error": "report", "on-target-error": "report",
        });
        if let Some(since) = since {
            // After the moment, so that no change before it is missed.
            let name = "changed";
            self.ask("block-dirty-bitmap-add", json!({"node": VIEW, "name": name}))?;
            let from = json!([{"node": DISK, "name": since.name()}]);
            self.ask("block-dirty-bitmap-merge", json!({"node": VIEW, "target": name, "bitmaps": from}))?;
            job["sync"] = "bitmap".into();
            job["bitmap"] = name.into();
            job["bitmap-mode"] = "never".into();
        }
        let out = json!({
            "driver": "nbd", "node-name": OUT, "export": EXPORT, "detect-zeroes": "on",
            "server": {"type": "unix", "path": SOCKET},
        });
        self.ask("blockdev-add", out)?;
        self.ask("blockdev-backup", job)?;
        Ok(next)
    }

    /// How far the copy is.
    pub(super) fn progress(&self) -> Result<Progress, String> {
        let jobs = self.ask("query-jobs", Value::Null)?;
        let job = jobs.as_array().into_iter().flatten().find(|job| job["id"] == JOB);
        Ok(job.map_or_else(|| Progress::Failed("the emulator gave the copy up".to_string()), how_far))
    }

    /// Takes everything away but the bitmaps: the guest has its disk for itself again.
    pub(super) fn clear(&self) -> Result<(), String> {
        self.end_job()?;
        let nodes = self.nodes()?;
        let there = |name: &str| nodes.iter().any(|node| node["node-name"] == name);
        let delete = |name: &str| match there(name) {
            true => self.ask("blockdev-del", json!({"node-name": name})).map(drop),
            false => Ok(()),
        };
        delete(OUT)?;
        delete(VIEW)?;
        if there(FILTER) && self.device()?.1 != DISK {
            self.lead(FILTER, DISK)?;
        }
        delete(FILTER)?;
        delete(OLD)?;
        self.trim_complaints();
        match std::fs::remove_file(self.dir.join(OLD_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{OLD_FILE}: {error}")),
            _ => Ok(()),
        }
    }

    /// The emulator warns of each copy that its target has no block size. Kept, that would fill the host's disk in time.
    fn trim_complaints(&self) {
        let file = std::fs::File::options().write(true).open(self.dir.join(ERRORS_FILE));
        if let Ok(file) = file
            && file.metadata().is_ok_and(|meta| meta.len() > COMPLAINTS_BYTES)
        {
            let _ = file.set_len(0);
        }
    }

    fn end_job(&self) -> Result<(), String> {
        let deadline = Instant::now() + GONE;
        loop {
            let jobs = self.ask("query-jobs", Value::Null)?;
            let Some(job) = jobs.as_array().into_iter().flatten().find(|job| job["id"] == JOB) else {
                return Ok(());
            };
            let (command, arguments) = match job["status"] == "concluded" {
                true => ("job-dismiss", json!({"id": JOB})),
                false => ("block-job-cancel", json!({"device": JOB, "force": true})),
            };
            if Instant::now() >= deadline {
                return Err(format!("{JOB} is still there after {} s: {job}", GONE.as_secs()));
            }
            // It may end by itself in between.
            let _ = self.ask(command, arguments);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn how_far(job: &Value) -> Progress {
    let number = |name: &str| job[name].as_u64().unwrap_or(0);
    match (job["status"].as_str(), job["error"].as_str()) {
        // What a view says that is broken.
        (_, Some("Permission denied")) => Progress::Failed(
            "what the guest overwrites could not be kept beside its disk on its own host: is there room?"
                .to_string(),
        ),
        (_, Some(error)) => Progress::Failed(format!("the copy failed: {error}")),
        (Some("concluded"), None) => Progress::Copied,
        _ => {
            let (done, all) = (number("current-progress"), number("total-progress"));
            Progress::Copying((done.min(all) * 100).checked_div(all).unwrap_or(0) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_is_named_after_its_point_and_others_are_none_of_ours() {
        let since = Since { point: Point { epoch: 3, number: 14, at_ms: 0 }, taken_us: 99_000_001 };
        assert_eq!(since.name(), "point-3-14-99000001");
        assert_eq!(Since::of(&since.name()), Some(since));
        for name in ["point-3-14", "point-3-14-9-9", "point-3-14-", "point-+3-14-9", "other-3-14-9", ""] {
            assert_eq!(Since::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_copy_that_ended_with_an_error_is_no_copy() {
        let job = |status: &str, error: Option<&str>| {
            how_far(&json!({
                "id": JOB, "status": status, "current-progress": 512, "total-progress": 1024, "error": error
            }))
        };
        assert_eq!(job("running", None), Progress::Copying(50));
        assert_eq!(job("concluded", None), Progress::Copied);
        assert_eq!(job("concluded", Some("no")), Progress::Failed("the copy failed: no".to_string()));
        assert!(
            matches!(job("concluded", Some("Permission denied")), Progress::Failed(why) if why.contains("room"))
        );
        assert_eq!(how_far(&json!({"status": "created"})), Progress::Copying(0));
    }
}

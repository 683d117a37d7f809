//! The disk of a VM that leaves: a mirror that holds every write of the guest until the other host has it, too.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::monitor::Monitor;
use super::super::{DISK_NODE, DISK_SOCKET, MONITOR_LIMIT};
use super::{Copy, LOOK, STALLED, UNDO};

/// Name of the mirror.
const JOB: &str = "move-disk";
/// Name of the other host's disk in this emulator.
const TARGET_NODE: &str = "move-target";
/// How long ending the mirror may hold the guest up at the switch.
const SETTLE: Duration = Duration::from_secs(10);

/// Copies the disk until both are the same and every further write goes to both.
///
/// While most of it is on its way the guest's writes do not wait for the other host: each would take a round trip. Once
/// both are the same they do. A guest that writes so much that they never are is made to wait when as much was sent as the
/// disk held at first.
pub(super) async fn mirror(copy: &mut Copy, over_base: bool) -> Result<(), String> {
    let target = json!({
        "driver": "nbd",
        "node-name": TARGET_NODE,
        "server": {"type": "unix", "path": DISK_SOCKET},
        "export": DISK_NODE,
    });
    copy.ask("blockdev-add", target).await?;
    // The other host's disk lies over the same base, so only what is above it goes.
    let sync = if over_base { "top" } else { "full" };
    let job = json!({
        "job-id": JOB,
        "device": DISK_NODE,
        "target": TARGET_NODE,
        "sync": sync,
        "copy-mode": "background",
    });
    let mut events = copy.monitor.events();
    copy.ask("blockdev-mirror", job).await?;
    let mut progress = (0, Instant::now());
    let (mut waits, mut first) = (false, None);
    loop {
        let job = job_of(&copy.monitor).await?.ok_or_else(|| why(copy))?;
        copy.meter.disk(&job);
        if waits && is_same(&job) {
            return Ok(());
        }
        let (length, offset) = (job["len"].as_u64().unwrap_or(0), job["offset"].as_u64().unwrap_or(0));
        let once = *first.get_or_insert(length);
        if !waits && (job["ready"] == true || (once > 0 && offset >= once)) {
            let wait = json!({"id": JOB, "type": "mirror", "copy-mode": "write-blocking"});
            copy.ask("block-job-change", wait).await?;
            waits = true;
            continue;
        }
        let sent = copy.meter.sent();
        if sent != progress.0 {
            progress = (sent, Instant::now());
        } else if progress.1.elapsed() > STALLED {
            return Err(format!("nothing of the disk was sent for {} s", STALLED.as_secs()));
        }
        let _ = tokio::time::timeout(LOOK / 4, events.recv()).await;
    }
}

fn why(copy: &Copy) -> String {
    match copy.streams.trouble() {
        Some(trouble) => format!("the copy of the disk ended: {trouble}"),
        None => "the copy of the disk ended by itself".to_string(),
    }
}

/// Every write so far is on both, and every further one goes to both.
fn is_same(job: &Value) -> bool {
    job["ready"] == true && job["actively-synced"] == true
}

/// The guest stands still: ends the mirror, which has everything, and lets go of the other host's disk.
///
/// The emulator waited for every write of the guest when it stopped it. If by then nothing was left to copy, the mirror is
/// ended without more ado: by itself it would ask the other host to put everything to its drive, which costs a round trip,
/// and that host does so anyway before it lets the guest go on.
pub(super) async fn settle(copy: &Copy) -> Result<(), String> {
    let job = job_of(&copy.monitor).await?.ok_or_else(|| why(copy))?;
    if !is_same(&job) {
        return Err("the copy of the disk fell behind".to_string());
    }
    let nothing_left = job["len"].is_u64() && job["len"] == job["offset"];
    copy.ask("block-job-cancel", json!({"device": JOB, "force": nothing_left})).await?;
    gone(&copy.monitor, SETTLE).await?;
    copy.ask("blockdev-del", json!({"node-name": TARGET_NODE})).await.map(drop)
}

/// Ends a mirror that is left, and forgets the other host's disk.
pub(super) async fn forget(monitor: &Monitor) -> Result<(), String> {
    if job_of(monitor).await?.is_some() {
        // It may end by itself in between.
        let _ =
            monitor.execute("block-job-cancel", json!({"device": JOB, "force": true}), MONITOR_LIMIT).await;
        gone(monitor, UNDO).await?;
    }
    let began = Instant::now();
    while has_target(monitor).await? {
        let told = monitor.execute("blockdev-del", json!({"node-name": TARGET_NODE}), MONITOR_LIMIT).await;
        if let (Err(error), true) = (told, began.elapsed() > UNDO) {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn job_of(monitor: &Monitor) -> Result<Option<Value>, String> {
    let jobs = monitor.execute("query-block-jobs", Value::Null, MONITOR_LIMIT).await?;
    let jobs = jobs.as_array().ok_or("the monitor lists no jobs")?;
    Ok(jobs.iter().find(|job| job["device"] == JOB).cloned())
}

async fn gone(monitor: &Monitor, limit: Duration) -> Result<(), String> {
    let began = Instant::now();
    let mut events = monitor.events();
    while job_of(monitor).await?.is_some() {
        if began.elapsed() > limit {
            return Err(format!("the copy of the disk did not end within {} s", limit.as_secs()));
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), events.recv()).await;
    }
    Ok(())
}

async fn has_target(monitor: &Monitor) -> Result<bool, String> {
    let nodes = monitor.execute("query-named-block-nodes", json!({"flat": true}), MONITOR_LIMIT).await?;
    Ok(nodes.as_array().is_some_and(|nodes| nodes.iter().any(|node| node["node-name"] == TARGET_NODE)))
}

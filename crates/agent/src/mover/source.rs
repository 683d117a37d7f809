//! The host that a VM leaves.

mod disk;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use dwcp_mesh::transfer::{Kind, Link, NOBODY, Opened, Opening};
use dwcp_roles::protocol::{Stage, TransferTo, memory_downtime_ms};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::monitor::Monitor;
use super::report::Meter;
use super::{DISK_SOCKET, GuestState, Inner, MEMORY_CHANNELS, MEMORY_SOCKET, MONITOR_LIMIT, Process};
use super::{WHOLE, agree, state};
use crate::journal;
use streams::Streams;

/// The emulator is asked this often while nothing happens.
const LOOK: Duration = Duration::from_millis(100);
/// A copy of which nothing is sent for this long has failed.
const STALLED: Duration = Duration::from_secs(10);
/// The switch, from the stop of the guest, must be done by then.
const SWITCH: Duration = Duration::from_secs(20);
/// An emulator that is to take a VM has started by then.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// One that refuses something has nothing to do with what is asked of it, or is being replaced by one that has.
const AGREED_WITHIN: Duration = Duration::from_secs(2);
/// Between two questions.
const READY_AGAIN: Duration = Duration::from_millis(100);
/// The longest copy.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// What undoing a copy may take.
const UNDO: Duration = Duration::from_secs(8);
/// Between two tries of it, and how long it is tried.
const UNDO_AGAIN: Duration = Duration::from_secs(1);
const UNDO_LONGEST: Duration = Duration::from_secs(900);

/// A copy that is going on.
struct Copy {
    monitor: Arc<Monitor>,
    meter: Meter,
    streams: Streams,
}

/// Copies a VM until the other host has all of it. On any error the guest goes on here.
pub(super) async fn run(
    inner: &Arc<Inner>,
    process: Process,
    to: TransferTo,
    mut cancelled: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut meter = Meter::begin(inner.tell.clone(), process, to.migration, to.rate_bytes_per_s);
    meter.stage(Stage::Connecting);
    let monitor = inner.monitor(process).await?;
    if state(&monitor).await? != GuestState::Running {
        return Err("its guest does not run".to_string());
    }
    // What an earlier try may have left.
    forget(&monitor).await?;
    let cancel = async {
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    };
    let copied = tokio::select! {
        biased;
        copied = tokio::time::timeout(LONGEST, copy(inner, &monitor, process, to.clone(), meter)) => {
            copied.unwrap_or_else(|_| Err(format!("it was not done within {} h", LONGEST.as_secs() / 3600)))
        }
        () = cancel => Err("it was cancelled".to_string()),
    };
    let Err(reason) = copied else {
        journal::info("vm-copied", json!({"vm": process.vm, "to": to.host, "region": to.region}));
        return Ok(());
    };
    journal::warn("vm-not-copied", json!({"vm": process.vm, "to": to.host, "error": reason}));
    match undone(&monitor, process).await {
        Ok(()) => Err(reason),
        Err(more) => Err(format!("{reason}; and then: {more}")),
    }
}

/// Undoes a copy, again and again while the emulator does not answer: held still, it can't, and once it is let go on nobody
/// else would end what was begun.
async fn undone(monitor: &Monitor, process: Process) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let Err(error) = undo(monitor).await else { return Ok(()) };
        if !monitor.is_alive() || began.elapsed() > UNDO_LONGEST {
            return Err(error);
        }
        let told = json!({"vm": process.vm, "error": error, "next": "again in a second"});
        journal::warn("copy-not-undone", told);
        tokio::time::sleep(UNDO_AGAIN).await;
    }
}

/// Opens the stream that stands as long as the copy. Room is made before the emulator that is to take it has started: until it
/// has, the other host knows nothing of it, or still of an earlier one.
async fn stand(link: &Link, opening: &Opening) -> Result<Opened, String> {
    let began = Instant::now();
    loop {
        let refusal = match link.open(opening).await?.accepted().await {
            Ok(standing) => return Ok(standing),
            Err(refusal) => refusal,
        };
        let within = if refusal.starts_with(NOBODY) { READY_WITHIN } else { AGREED_WITHIN };
        if began.elapsed() >= within {
            return Err(format!("the other host refuses for {} s: {refusal}", within.as_secs()));
        }
        tokio::time::sleep(READY_AGAIN).await;
    }
}

async fn copy(
    inner: &Inner,
    monitor: &Arc<Monitor>,
    process: Process,
    to: TransferTo,
    meter: Meter,
) -> Result<(), String> {
    let link = inner.dial(&to).await.map_err(|e| format!("the other host can't be reached: {e}"))?;
    let opening = |kind, number| Opening {
        kind,
        vm: process.vm.0,
        generation: to.generation,
        migration: to.migration,
        number,
        ..Opening::default()
    };
    let standing = stand(&link, &opening(Kind::Move, 1 + MEMORY_CHANNELS)).await?;
    let disk = super::disk(monitor).await?;
    if let Some(disk) = &disk {
        link.say(&opening(Kind::Base, disk.base_number().await?)).await?;
    }
    let rtt_ms = u64::try_from(link.rtt().as_millis()).unwrap_or(u64::MAX);
    let downtime_ms = memory_downtime_ms(to.max_downtime_ms, rtt_ms, disk.is_some());
    agree(monitor, Some(downtime_ms), disk.is_some()).await?;
    let pace = meter.pace.clone();
    let mut streams = Streams::new(link.clone(), pace);
    streams.carry(&process.file(MEMORY_SOCKET), opening(Kind::Memory, 0), 1 + MEMORY_CHANNELS)?;
    if disk.is_some() {
        streams.carry(&process.file(DISK_SOCKET), opening(Kind::Disk, 0), 1)?;
    }
    let mut copy = Copy { monitor: monitor.clone(), meter, streams };
    let working = async {
        if let Some(disk) = disk {
            copy.meter.stage(Stage::Disk);
            disk::mirror(&mut copy, disk.base.is_some()).await?;
        }
        copy.memory().await
    };
    tokio::select! {
        biased;
        done = noted_whole(working, standing) => done,
        reason = link.lost() => Err(format!("the link to the other host was lost: {reason}")),
    }
}

/// Copies, and waits until the other host has noted for good that it has everything: only what both emulators and that note
/// know to be whole may be given away.
async fn noted_whole(
    working: impl Future<Output = Result<(), String>>,
    standing: Opened,
) -> Result<(), String> {
    let noted = async {
        match standing.ended().await {
            told if told == WHOLE => Ok(()),
            reason => Err(format!("the other host ended it: {reason}")),
        }
    };
    let (mut working, mut noted) = (std::pin::pin!(working), std::pin::pin!(noted));
    tokio::select! {
        biased;
        told = &mut noted => {
            told?;
            return working.await;
        }
        done = &mut working => done?,
    }
    let late =
        |_| Err(format!("the other host did not note within {} s that it has everything", SWITCH.as_secs()));
    tokio::time::timeout(SWITCH, noted).await.unwrap_or_else(late)
}

impl Copy {
    async fn ask(&self, command: &str, arguments: Value) -> Result<Value, String> {
        self.monitor.execute(command, arguments, MONITOR_LIMIT).await
    }

    /// Copies the memory; the disk, when there is one, is already the same on both sides.
    async fn memory(&mut self) -> Result<(), String> {
        self.meter.stage(Stage::Memory);
        let mut events = self.monitor.events();
        self.ask("migrate", json!({"uri": format!("unix:{MEMORY_SOCKET}")})).await?;
        let mut progress = (self.meter.sent(), Instant::now());
        let (mut switching, mut settled) = (None, false);
        loop {
            let told = self.ask("query-migrate", Value::Null).await?;
            let status = told["status"].as_str().unwrap_or_default();
            self.meter.memory(&told);
            match status {
                "completed" => {
                    self.meter.stage(Stage::Switching);
                    return Ok(());
                }
                "failed" | "cancelled" | "cancelling" => return Err(self.why(&told)),
                // The emulator may say so once more after it was told to go on.
                "pre-switchover" if !settled => {
                    settled = true;
                    self.meter.stage(Stage::Switching);
                    disk::settle(self).await?;
                    self.ask("migrate-continue", json!({"state": "pre-switchover"})).await?;
                }
                _ => {}
            }
            if matches!(status, "pre-switchover" | "device") {
                let since = *switching.get_or_insert_with(Instant::now);
                if since.elapsed() > SWITCH {
                    return Err(format!("the switch took longer than {} s", SWITCH.as_secs()));
                }
            }
            let sent = self.meter.sent();
            if sent != progress.0 {
                progress = (sent, Instant::now());
            } else if progress.1.elapsed() > STALLED {
                return Err(format!("nothing was sent for {} s", STALLED.as_secs()));
            }
            // An event is a reason to look at once; which one does not matter.
            let _ = tokio::time::timeout(LOOK, events.recv()).await;
        }
    }

    /// Why the emulator gave up, as far as anybody knows.
    fn why(&self, told: &Value) -> String {
        let said = told["error-desc"].as_str().unwrap_or("it gave no reason");
        match self.streams.trouble() {
            Some(trouble) => format!("the emulator gave up: {said} ({trouble})"),
            None => format!("the emulator gave up: {said}"),
        }
    }
}

/// Ends whatever of a copy is going on in the emulator; what the guest does is not touched.
pub(super) async fn forget(monitor: &Monitor) -> Result<(), String> {
    let ask = |command: &'static str, arguments| monitor.execute(command, arguments, MONITOR_LIMIT);
    let began = Instant::now();
    loop {
        let told = ask("query-migrate", Value::Null).await?;
        // Of a copy to here nothing is to be ended: that is the other host's.
        let arriving = state(monitor).await? == GuestState::Arriving;
        match told["status"].as_str() {
            None | Some("none" | "completed" | "failed" | "cancelled") => break,
            Some(_) if arriving => break,
            Some("cancelling") => {}
            Some(_) => drop(ask("migrate_cancel", Value::Null).await?),
        }
        if began.elapsed() > UNDO {
            return Err("the emulator does not end its copy".to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    disk::forget(monitor).await
}

/// Ends what is left of a copy and lets the guest go on.
async fn undo(monitor: &Monitor) -> Result<(), String> {
    forget(monitor).await?;
    keep(monitor).await
}

/// Lets the guest go on, if it stands still.
pub(super) async fn keep(monitor: &Monitor) -> Result<(), String> {
    let began = Instant::now();
    loop {
        if state(monitor).await? == GuestState::Running {
            return Ok(());
        }
        let told = monitor.execute("cont", Value::Null, MONITOR_LIMIT).await;
        if began.elapsed() > UNDO {
            return Err(told.err().unwrap_or_else(|| "its guest does not go on".to_string()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! The host that a VM comes to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Acceptor, Admission, Kind, NOBODY, Opening};
use dwcp_roles::agent::Input;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::monitor::Monitor;
use super::{Arriving, Process, WHOLE, agree, disk, forwards, locked, state};
use super::{DISK_NODE, DISK_SOCKET, GuestState, Inner, MEMORY_CHANNELS, MEMORY_SOCKET, MONITOR_LIMIT};
use crate::journal;

/// How long everything may take to be there once it is told to go on. It has been there since the guest was stopped at the
/// other host, unless that host was lost.
const REST: Duration = Duration::from_secs(2);
/// Between two times that what arrived of the disk is put to the drive, so that little is left to do at the switch.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the last of it may take.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// Makes the emulator wait for memory, and for its disk to be written, and decides who may send them.
pub(super) async fn expect(
    inner: &Arc<Inner>,
    process: Process,
    migration: u64,
    from: Option<PeerId>,
    ports: &[String],
) -> Result<(), String> {
    let monitor = inner.monitor(process).await?;
    // One that is taken is better found now than when the guest is here.
    forwards::open(&monitor, ports).await?;
    forwards::close(&monitor, ports).await?;
    let disk = disk(&monitor).await?;
    agree(&monitor, None, disk.is_some()).await?;
    let ask = |command: &'static str, arguments| monitor.execute(command, arguments, MONITOR_LIMIT);
    ask("migrate-incoming", json!({"uri": format!("unix:{MEMORY_SOCKET}")})).await?;
    if disk.is_some() {
        let address = json!({"addr": {"type": "unix", "data": {"path": DISK_SOCKET}}, "max-connections": 1});
        ask("nbd-server-start", address).await?;
        let export = json!({
            "type": "nbd",
            "id": DISK_NODE,
            "node-name": DISK_NODE,
            "name": DISK_NODE,
            "writable": true,
        });
        ask("block-export-add", export).await?;
    }
    let base = match &disk {
        Some(disk) => disk.base_number().await?,
        None => 0,
    };
    let sender = Arc::new(Sender { process, migration, from: Mutex::new(from), base });
    let (mover, basis, ended) = (sender.clone(), sender.clone(), inner.clone());
    let begin: Acceptor = Arc::new(move |from, opening| mover.begin(&ended, from, opening));
    inner.link.register(Kind::Move, Some(process.vm.0), begin);
    let compare: Acceptor = Arc::new(move |from, opening| basis.compare(from, opening));
    inner.link.register(Kind::Base, Some(process.vm.0), compare);
    for (kind, socket) in [(Kind::Memory, MEMORY_SOCKET), (Kind::Disk, DISK_SOCKET)] {
        let sender = sender.clone();
        inner.link.register(
            kind,
            Some(process.vm.0),
            Arc::new(move |from, opening| {
                sender.check(from, opening)?;
                Ok(Admission::Socket(process.file(socket)))
            }),
        );
    }
    Ok(())
}

/// Who may send a VM.
struct Sender {
    process: Process,
    migration: u64,
    /// The host it comes from; the first that begins, when nobody said which.
    from: Mutex<Option<PeerId>>,
    /// What the base of the disk here is told by; 0: it has none.
    base: u64,
}

impl Sender {
    /// What lies above a base is of no use over another one. A disk without a base comes whole, whatever it is put over.
    fn compare(&self, from: &PeerId, opening: &Opening) -> Result<Admission, String> {
        self.check(from, opening)?;
        if opening.number == 0 || opening.number == self.base {
            Ok(Admission::Noted)
        } else {
            Err("its disk lies over another base there: the images of the two hosts differ".to_string())
        }
    }

    fn check(&self, from: &PeerId, opening: &Opening) -> Result<(), String> {
        let ours = (self.process.generation, self.migration);
        if (opening.generation, opening.migration) != ours {
            return Err(format!(
                "generation {} by migration {:x} is not what is waited for here",
                opening.generation, opening.migration
            ));
        }
        match locked(&self.from).as_ref() {
            Some(expected) if expected == from => Ok(()),
            Some(expected) => {
                Err(format!("{} is expected from {expected}, not from {from}", self.process.vm))
            }
            None => Err(format!("{from} sends before it has begun")),
        }
    }

    fn begin(
        self: &Arc<Sender>,
        inner: &Arc<Inner>,
        from: &PeerId,
        opening: &Opening,
    ) -> Result<Admission, String> {
        if opening.number != 1 + MEMORY_CHANNELS {
            return Err(format!("{} memory channels are not {}", opening.number, 1 + MEMORY_CHANNELS));
        }
        locked(&self.from).get_or_insert_with(|| from.clone());
        self.check(from, opening)?;
        let (end, ended) = oneshot::channel();
        let (gone, left) = oneshot::channel();
        tokio::spawn(watch(inner.clone(), self.process, self.migration, end, left));
        Ok(Admission::Standing { end: ended, gone })
    }
}

/// Looks after an arrival while the other host is there: its end is told to the other host, and what came of the disk is
/// put to the drive. Once everything is there this agent notes that, and only then the other host hears it.
async fn watch(
    inner: Arc<Inner>,
    process: Process,
    migration: u64,
    end: oneshot::Sender<String>,
    mut left: oneshot::Receiver<String>,
) {
    let path = process.file(crate::qemu::ARRIVING_FILE);
    let Process { vm, generation, .. } = process;
    let (note, mut noted) = oneshot::channel();
    locked(&inner.arriving).insert(vm, Arriving { generation, migration, noted: note });
    let mut events = inner.monitor(process).await.ok().map(|monitor| monitor.events());
    let (mut whole, mut waits) = (false, true);
    loop {
        let event = async {
            let ended = match &mut events {
                Some(events) => matches!(events.recv().await, Err(RecvError::Closed)),
                None => true,
            };
            if ended {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            why = &mut left => {
                let reason = why.unwrap_or_default();
                return journal::info("arrival-left", json!({"vm": process.vm, "reason": reason}));
            }
            told = &mut noted, if waits => match told {
                Ok(()) => {
                    let _ = end.send(WHOLE.to_string());
                    return;
                }
                // Nobody will note it any more.
                Err(_) => waits = false,
            },
            () = tokio::time::sleep(FLUSH) => {}
            () = event, if !whole => {}
        }
        let alive = match inner.monitor(process).await {
            Ok(monitor) if !whole => arrived(&monitor, process).await,
            Ok(monitor) => state(&monitor).await.map(|_| false).map_err(ended),
            Err(error) => Err(ended(error)),
        };
        match alive {
            Ok(true) => {
                whole = true;
                (inner.tell)(Input::ArrivedWhole { vm, generation, migration });
                continue;
            }
            Ok(false) => {}
            Err(error) => {
                let _ = end.send(error);
                return;
            }
        }
        let path = path.clone();
        let flushed = tokio::task::spawn_blocking(move || match std::fs::File::open(&path) {
            Ok(file) => file.sync_data(),
            Err(_) => Ok(()),
        });
        if let Ok(Err(error)) = flushed.await {
            let _ = end.send(format!("its disk there can't be written: {error}"));
            return;
        }
    }
}

/// Looks whether everything is there. If so, the disk is put to the drive and gets its name, while the other host still
/// waits: whatever becomes of the process from then on, it starts from that disk.
async fn arrived(monitor: &Monitor, process: Process) -> Result<bool, String> {
    if state(monitor).await.map_err(ended)? != GuestState::Still {
        return Ok(false);
    }
    let told = monitor.execute("query-migrate", Value::Null, MONITOR_LIMIT).await.map_err(ended)?;
    if told["status"] != "completed" {
        return Ok(false);
    }
    if disk(monitor).await.map_err(ended)?.is_some() {
        flush(monitor).await?;
        name_disk(process).await?;
    }
    Ok(true)
}

fn ended(error: String) -> String {
    format!("its emulator there ended: {error}")
}

/// Says to whoever brings a VM by this migration that the emulator for it was there and has ended.
pub(super) fn refuse_ended(process: Process, migration: u64) -> Acceptor {
    Arc::new(move |_, opening| {
        let ours = (opening.generation, opening.migration) == (process.generation, migration);
        Err(if ours { "its emulator there ended".to_string() } else { NOBODY.to_string() })
    })
}

/// Lets an arrived VM run: nobody writes its disk from outside any more, and the disk gets its name.
pub(super) async fn go_on(inner: &Arc<Inner>, process: Process, ports: &[String]) -> Result<(), String> {
    let monitor = inner.monitor(process).await?;
    let began = Instant::now();
    loop {
        match state(&monitor).await? {
            GuestState::Running => return Ok(()),
            GuestState::Still => break,
            GuestState::Arriving if began.elapsed() > REST => {
                return Err(format!("the rest did not come within {} s", REST.as_secs()));
            }
            GuestState::Arriving => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    let told = monitor.execute("query-migrate", Value::Null, MONITOR_LIMIT).await?;
    if told["status"] != "completed" {
        return Err(format!("its memory is not whole: {}", told["status"]));
    }
    inner.refuse(process.vm);
    if disk(&monitor).await?.is_some() {
        own_disk(&monitor, process).await?;
    }
    // Before the guest runs: an agent that comes after this one takes a guest that runs for one that is reached.
    if let Err(error) = forwards::open(&monitor, ports).await {
        let told = json!({"vm": process.vm, "error": error, "next": "it runs; its probe fails"});
        journal::error("ports-not-opened", told);
    }
    monitor.execute("cont", Value::Null, MONITOR_LIMIT).await?;
    match state(&monitor).await? {
        GuestState::Running => Ok(()),
        other => Err(format!("it was let go on and is {other:?}")),
    }
}

/// Closes the disk to others, puts all of it to the drive, and gives it its name.
async fn own_disk(monitor: &Monitor, process: Process) -> Result<(), String> {
    let exports = monitor.execute("query-block-exports", Value::Null, MONITOR_LIMIT).await?;
    if exports.as_array().is_some_and(|exports| !exports.is_empty()) {
        monitor.execute("nbd-server-stop", Value::Null, MONITOR_LIMIT).await?;
    }
    // The mirror wrote, but asked for nothing to be kept: what the guest was promised must be on the drive here, too.
    flush(monitor).await?;
    name_disk(process).await
}

/// Gives the disk its name: it is the VM's own from now on.
async fn name_disk(process: Process) -> Result<(), String> {
    let (arrived, named) = (process.file(crate::qemu::ARRIVING_FILE), process.file(crate::qemu::DISK_FILE));
    let directory = process.file(".");
    let renamed = tokio::task::spawn_blocking(move || match std::fs::rename(&arrived, &named) {
        // It was named before.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.exists() => Ok(()),
        Err(error) => Err(format!("{}: {error}", named.display())),
        Ok(()) => {
            let kept = std::fs::File::open(&directory).and_then(|directory| directory.sync_all());
            kept.map_err(|error| format!("{}: {error}", directory.display()))
        }
    });
    renamed.await.map_err(|e| e.to_string())?
}

/// Puts the disk to the drive.
async fn flush(monitor: &Monitor) -> Result<(), String> {
    let flush = json!({"command-line": format!("qemu-io {DISK_NODE} flush")});
    let told = monitor.execute("human-monitor-command", flush, LAST_FLUSH).await?;
    match told.as_str().map(str::trim) {
        Some("") | None => Ok(()),
        Some(text) => Err(format!("its disk can't be written: {text}")),
    }
}

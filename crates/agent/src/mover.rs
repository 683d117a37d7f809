//! Moves running VMs between hosts: the memory, and the disk when there is one, go from one emulator to the other by way of the
//! two agents' transfer link.
//!
//! A [`Mover`] carries out what the pure machine wants, one method an effect, and tells what came of it as inputs of the machine.
//! At the host that a VM leaves, [`Mover::begin`] copies until the other emulator has everything and the guest stands
//! still; whatever goes wrong before, the guest goes on there. At the host that it comes to, [`Mover::expect`] makes an
//! emulator ready that never runs its guest by itself, and [`Mover::go_on`] lets it run.

mod base;
mod forwards;
pub mod monitor;
mod report;
mod source;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Admission, Kind, Opening, TransferHandle};
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::TransferTo;
use dwcp_types::VmId;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::journal;
use monitor::Monitor;

/// Connections that carry memory beside the first one.
const MEMORY_CHANNELS: u64 = 2;
/// Socket that memory goes through, in the VM's directory.
const MEMORY_SOCKET: &str = "move.sock";
/// Socket that the disk goes through, in the VM's directory.
const DISK_SOCKET: &str = "move-disk.sock";
/// The disk's name in the emulator.
const DISK_NODE: &str = crate::qemu::DISK_NODE;
/// How long the monitor may take for one command.
const MONITOR_LIMIT: Duration = Duration::from_secs(5);
/// What the host that a VM comes to says of it once it has noted for good that everything is there.
const WHOLE: &str = "everything is here";
/// How long a release is repeated until it is acknowledged.
const RELEASE_FOR: Duration = Duration::from_secs(5);
/// Between two tries of it.
const RELEASE_EVERY: Duration = Duration::from_millis(300);

/// One emulator's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its VM.
    pub vm: VmId,
    /// Under which generation it was started.
    pub generation: u64,
    /// Its number. It runs in the VM's directory.
    pub pid: u32,
}

impl Process {
    /// False for one that was started by an agent that moved no VMs: it has no monitor to move it by.
    pub fn can_move(&self) -> bool {
        self.file(crate::qemu::MOVER_SOCKET).exists()
    }

    /// A file in the VM's directory, by a path that is short enough for a socket.
    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/cwd/{name}", self.pid))
    }
}

/// What an emulator's guest is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestState {
    /// It runs.
    Running,
    /// The memory it waits for is not all there.
    Arriving,
    /// It stands still: everything arrived, or everything was copied elsewhere.
    Still,
}

/// Takes what happened.
pub type Tell = Arc<dyn Fn(Input) + Send + Sync>;

/// Carries out moves. Clones are the same mover.
#[derive(Clone)]
pub struct Mover {
    inner: Arc<Inner>,
}

struct Inner {
    link: TransferHandle,
    tell: Tell,
    /// Sessions by process; a monitor's socket serves one client.
    monitors: Mutex<BTreeMap<u32, Arc<Monitor>>>,
    /// Copies from here, by VM: whom to tell that it is cancelled.
    leaving: Mutex<BTreeMap<VmId, Leaving>>,
    /// Copies to here, by VM: whom to tell that it is noted that everything is here.
    arriving: Mutex<BTreeMap<VmId, Arriving>>,
    /// Processes that were started to take a VM, and by which migration.
    expected: Mutex<BTreeMap<VmId, (Process, u64)>>,
}

struct Arriving {
    generation: u64,
    migration: u64,
    noted: oneshot::Sender<()>,
}

struct Leaving {
    generation: u64,
    migration: u64,
    cancel: watch::Sender<bool>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|e| e.into_inner())
}

impl Mover {
    /// A mover over this link. From now on the host hears when a VM is released to it. Call inside a tokio runtime.
    pub fn new(link: TransferHandle, tell: Tell) -> Mover {
        let heard = tell.clone();
        let hear = move |from: &PeerId, opening: &Opening| {
            let PeerId::Host { region, host } = from else { return Err(format!("{from} runs no VMs")) };
            heard(Input::Released {
                vm: VmId(opening.vm),
                generation: opening.generation,
                migration: opening.migration,
                from_region: region.clone(),
                from_host: host.clone(),
            });
            Ok(Admission::Noted)
        };
        link.register(Kind::Released, None, Arc::new(hear));
        let inner = Inner {
            link,
            tell,
            monitors: Mutex::default(),
            leaving: Mutex::default(),
            arriving: Mutex::default(),
            expected: Mutex::default(),
        };
        Mover { inner: Arc::new(inner) }
    }

    /// The session with a process's second monitor; all who need it share it.
    ///
    /// # Errors
    /// The process is gone, or does not answer.
    pub async fn monitor(&self, process: Process) -> Result<Arc<Monitor>, String> {
        self.inner.monitor(process).await
    }

    /// Makes a process ready that was started to take a VM; answered by [`Input::IncomingReady`]. Only `from` may send it.
    /// `forwards` are the ports by which it will be reached here: that they can be had is tried now.
    pub fn expect(&self, process: Process, migration: u64, from: Option<PeerId>, forwards: Vec<String>) {
        let inner = self.inner.clone();
        locked(&inner.expected).insert(process.vm, (process, migration));
        tokio::spawn(async move {
            let Process { vm, generation, .. } = process;
            let result = target::expect(&inner, process, migration, from, &forwards).await;
            if let Err(error) = &result {
                journal::warn("arrival-not-ready", json!({"vm": vm, "error": error}));
            }
            (inner.tell)(Input::IncomingReady { vm, generation, result });
        });
    }

    /// Copies a running VM; ends with [`Input::TransferCompleted`] or [`Input::TransferFailed`].
    pub fn begin(&self, process: Process, to: TransferTo) {
        self.begin_after(process, to, std::future::ready(()));
    }

    /// As [`Mover::begin`], once `ready` is done.
    pub fn begin_after(
        &self,
        process: Process,
        to: TransferTo,
        ready: impl Future<Output = ()> + Send + 'static,
    ) {
        let (cancel, cancelled) = watch::channel(false);
        let Process { vm, generation, .. } = process;
        let migration = to.migration;
        let leaving = Leaving { generation, migration, cancel };
        if let Some(before) = locked(&self.inner.leaving).insert(vm, leaving) {
            before.cancel.send_replace(true);
        }
        let inner = self.inner.clone();
        tokio::spawn(async move {
            ready.await;
            let ended = source::run(&inner, process, to, cancelled).await;
            locked(&inner.leaving).retain(|of, leaving| {
                *of != vm || (leaving.generation, leaving.migration) != (generation, migration)
            });
            (inner.tell)(match ended {
                Ok(()) => Input::TransferCompleted { vm, generation, migration },
                Err(reason) => Input::TransferFailed { vm, generation, migration, reason },
            });
        });
    }

    /// Tells the host that a VM comes from that it is noted here for good that everything has come: it may give it away.
    pub fn say_whole(&self, vm: VmId, generation: u64, migration: u64) {
        let mut arriving = locked(&self.inner.arriving);
        let this =
            arriving.get(&vm).is_some_and(|of| (of.generation, of.migration) == (generation, migration));
        if let Some(arrival) = arriving.remove(&vm).filter(|_| this) {
            // The other host may have gone meanwhile.
            let _ = arrival.noted.send(());
        }
    }

    /// Stops copying; the guest goes on here. Answered by [`Input::TransferFailed`], unless everything was there already.
    pub fn cancel(&self, vm: VmId, generation: u64, migration: u64) {
        let leaving = locked(&self.inner.leaving);
        match leaving.get(&vm).filter(|of| (of.generation, of.migration) == (generation, migration)) {
            Some(leaving) => {
                leaving.cancel.send_replace(true);
            }
            None => {
                drop(leaving);
                let reason = "no such copy is going on here".to_string();
                (self.inner.tell)(Input::TransferFailed { vm, generation, migration, reason });
            }
        }
    }

    /// From now on nobody reaches the VM here by these ports: whoever asks is refused at once, and looks where it is now.
    pub fn part(&self, process: Process, forwards: Vec<String>) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let parted = async { forwards::close(&*inner.monitor(process).await?, &forwards).await }.await;
            if let Err(error) = parted {
                let told = json!({"vm": process.vm, "error": error, "next": "its process ends soon"});
                journal::warn("ports-not-closed", told);
            }
        });
    }

    /// Tells the other host that the VM is its own now, until it acknowledges or 5 s passed.
    pub fn release(&self, vm: VmId, to: TransferTo) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let (generation, migration) = (to.generation, to.migration);
            let opening =
                Opening { kind: Kind::Released, vm: vm.0, generation, migration, ..Opening::default() };
            loop {
                let said = async { inner.dial(&to).await?.say(&opening).await }.await;
                let Err(error) = said else { return };
                if began.elapsed() >= RELEASE_FOR {
                    let next = "its region tells the other host";
                    let told = json!({"vm": vm, "to": to.host, "error": error, "next": next});
                    return journal::warn("release-not-heard", told);
                }
                tokio::time::sleep(RELEASE_EVERY).await;
            }
        });
    }

    /// Lets a guest go on here that stands still since it was copied and was not released.
    pub fn keep(&self, process: Process) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let kept = async { source::keep(&*inner.monitor(process).await?).await }.await;
            if let Err(error) = kept {
                let told = json!({"vm": process.vm, "error": error, "next": "its probe fails"});
                journal::error("vm-not-kept", told);
            }
        });
    }

    /// Lets a VM run here that has arrived, to be reached by these ports; answered by [`Input::WentOn`].
    pub fn go_on(&self, process: Process, forwards: Vec<String>) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let Process { vm, generation, .. } = process;
            let result = target::go_on(&inner, process, &forwards).await;
            journal::info(
                "vm-arrived",
                json!({"vm": vm, "generation": generation, "result": format!("{result:?}")}),
            );
            (inner.tell)(Input::WentOn { vm, generation, result });
        });
    }

    /// What a process that was there before this agent is doing. A copy that an earlier agent began is undone first: its
    /// streams died with it.
    ///
    /// # Errors
    /// The monitor does not answer: the process is held still, or hangs.
    pub async fn look(&self, process: Process) -> Result<GuestState, String> {
        let monitor = self.inner.monitor(process).await?;
        source::forget(&monitor).await?;
        state(&monitor).await
    }

    /// A process ended: forgets what belongs to it.
    pub fn ended(&self, process: Process) {
        locked(&self.inner.monitors).remove(&process.pid);
        locked(&self.inner.arriving).remove(&process.vm);
        self.inner.refuse(process.vm);
        let expected = locked(&self.inner.expected).get(&process.vm).copied();
        if let Some((_, migration)) = expected.filter(|(of, _)| *of == process) {
            // The other host would wait for it as for one that has not started yet.
            let refused = target::refuse_ended(process, migration);
            self.inner.link.register(Kind::Move, Some(process.vm.0), refused);
        }
    }
}

impl Inner {
    /// Takes nothing of this VM any more.
    fn refuse(&self, vm: VmId) {
        for kind in [Kind::Move, Kind::Base, Kind::Memory, Kind::Disk] {
            self.link.unregister(kind, Some(vm.0));
        }
    }

    async fn monitor(&self, process: Process) -> Result<Arc<Monitor>, String> {
        let known = locked(&self.monitors).get(&process.pid).cloned();
        if let Some(monitor) = known.filter(|monitor| monitor.is_alive()) {
            return Ok(monitor);
        }
        let path = process.file(crate::qemu::MOVER_SOCKET);
        let monitor = Arc::new(Monitor::connect(&path, MONITOR_LIMIT).await?);
        locked(&self.monitors).insert(process.pid, monitor.clone());
        Ok(monitor)
    }

    async fn dial(&self, to: &TransferTo) -> Result<dwcp_mesh::transfer::Link, String> {
        let address = to.endpoint.parse();
        let address =
            address.map_err(|e| format!("host {} has no address ({:?}: {e})", to.host, to.endpoint))?;
        let host = PeerId::Host { region: to.region.to_string(), host: to.host.to_string() };
        self.link.link(&host, address).await
    }
}

/// What the guest is doing, by its monitor.
async fn state(monitor: &Monitor) -> Result<GuestState, String> {
    let status = monitor.execute("query-status", Value::Null, MONITOR_LIMIT).await?;
    match status["status"].as_str() {
        Some("running") => Ok(GuestState::Running),
        Some("inmigrate") => Ok(GuestState::Arriving),
        Some(_) => Ok(GuestState::Still),
        None => Err(format!("the monitor tells no state: {status}")),
    }
}

/// What both emulators must agree on; at the source also how long the switch may take by the emulator's reckoning, ms, which
/// knows nothing of the way.
async fn agree(monitor: &Monitor, downtime_ms: Option<u64>, disk: bool) -> Result<(), String> {
    let mut wanted = vec![("multifd", true), ("return-path", true), ("events", true)];
    if downtime_ms.is_some() {
        wanted.push(("auto-converge", true));
        wanted.push(("pause-before-switchover", disk));
    }
    let capabilities: Vec<Value> =
        wanted.iter().map(|(name, on)| json!({"capability": name, "state": on})).collect();
    let arguments = json!({"capabilities": capabilities});
    monitor.execute("migrate-set-capabilities", arguments, MONITOR_LIMIT).await?;
    let mut parameters = json!({
        "multifd-channels": MEMORY_CHANNELS,
        "multifd-compression": "zstd",
        "multifd-zstd-level": 1,
    });
    if let Some(downtime_ms) = downtime_ms {
        // Pacing is the link's; this only keeps the emulator from limiting itself.
        parameters["max-bandwidth"] = json!(1u64 << 40);
        parameters["downtime-limit"] = json!(downtime_ms.clamp(1, 60_000));
        // The guest is slowed down when it wrote more than was sent in two rounds.
        parameters["throttle-trigger-threshold"] = json!(100);
        parameters["cpu-throttle-initial"] = json!(20);
        parameters["cpu-throttle-increment"] = json!(10);
    }
    monitor.execute("migrate-set-parameters", parameters, MONITOR_LIMIT).await.map(drop)
}

/// The emulator's disk, if it has one.
async fn disk(monitor: &Monitor) -> Result<Option<Disk>, String> {
    let nodes = monitor.execute("query-named-block-nodes", json!({"flat": true}), MONITOR_LIMIT).await?;
    let nodes = nodes.as_array().ok_or("the monitor lists no disks")?;
    let Some(node) = nodes.iter().find(|node| node["node-name"] == DISK_NODE) else { return Ok(None) };
    let image = &node["image"];
    let name = image["full-backing-filename"].as_str().or_else(|| image["backing-filename"].as_str());
    Ok(Some(Disk { base: name.map(PathBuf::from) }))
}

/// A disk of an emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    /// The file it is an overlay over.
    base: Option<PathBuf>,
}

impl Disk {
    /// What its base is told by; 0: it has none.
    async fn base_number(&self) -> Result<u64, String> {
        let Some(path) = self.base.clone() else { return Ok(0) };
        let number = tokio::task::spawn_blocking(move || {
            base::number(&path).map_err(|e| format!("{}: {e}", path.display()))
        });
        // Never the number of no base.
        number.await.map_err(|e| e.to_string())?.map(|number| number.max(1))
    }
}

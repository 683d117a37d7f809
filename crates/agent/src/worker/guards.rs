//! Keeps copies of this host's disks up to date on other hosts: points in time (`points`), or every write.
//!
//! For the latter QEMU mirrors every write to a server that it reaches by a unix socket in the VM's folder. This host's agent owns that
//! socket: it carries the bytes to the other host's agent. When it can't, QEMU's requests wait, so the guest's writes wait;
//! nothing makes them go on but the copy's return, or an intent that says that the VM's region knows.

mod intake;
mod mirror;
mod points;
mod snapshot;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_mesh::transfer::TransferHandle;
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{GuardPhase, GuardReport, NEVER_MS, ProtectTo};
use dwcp_types::VmId;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Happened;
use crate::journal;
use mirror::{Job, Mirror};
use snapshot::Since;
use tunnel::Tunnel;

/// Between two looks at a mirror.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A copy that can't be reached for so long is reported; shorter gaps only hold writes up.
const LOST_AFTER: Duration = Duration::from_millis(1_500);
/// The other host must have agreed to take the copy by then.
const REACHED: Duration = Duration::from_secs(5);
/// Between two tries to begin.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// One VM's copy that is kept up to date.
struct Guarding {
    epoch: u64,
    /// Where to; none: nothing is to be copied any more.
    wanted: watch::Sender<Option<ProtectTo>>,
    /// The VM is being moved: no point is begun.
    moving: watch::Sender<bool>,
    /// A point is being made, with a filter over the disk.
    busy: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// Every copy that is kept up to date from here.
pub(super) struct Guards {
    link: TransferHandle,
    inputs: mpsc::UnboundedSender<Happened>,
    running: BTreeMap<VmId, Guarding>,
    moving: BTreeSet<VmId>,
}

/// A VM's process, as far as its disk is concerned.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub vm: VmId,
    pub generation: u64,
    pub pid: u32,
    /// The VM's folder.
    pub dir: PathBuf,
}

impl Guards {
    pub(super) fn new(link: TransferHandle, inputs: mpsc::UnboundedSender<Happened>) -> Guards {
        Guards { link, inputs, running: BTreeMap::new(), moving: BTreeSet::new() }
    }

    /// Keeps the VM's copy there from now on, or nowhere. A copy of the same epoch is gone on with, wherever its host answers
    /// now: its mirror is never taken away for that.
    pub(super) fn guard(&mut self, process: Process, to: Option<ProtectTo>) {
        let epoch = to.as_ref().map_or(0, |to| to.epoch);
        let before = self.running.remove(&process.vm).filter(|before| !before.task.is_finished());
        let before = match before {
            Some(before) if before.epoch == epoch => {
                before.wanted.send_replace(to);
                self.running.insert(process.vm, before);
                return;
            }
            before => before.map(|before| {
                before.wanted.send_replace(None);
                before.task
            }),
        };
        let vm = process.vm;
        let points = to.as_ref().is_some_and(|to| to.interval_ms > 0);
        let (wanted, asked) = watch::channel(to);
        let (moving, moves) = watch::channel(self.moving.contains(&vm));
        let (busies, busy) = watch::channel(false);
        let guard = Guard {
            link: self.link.clone(),
            inputs: self.inputs.clone(),
            process,
            epoch,
            wanted: asked,
            moving: moves,
            busy: busies,
            told: None,
            told_point: None,
            whole: false,
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            if points { guard.keep_points().await } else { guard.run().await }
        });
        self.running.insert(vm, Guarding { epoch, wanted, moving, busy, task });
    }

    /// The VM is to be moved: what moves its disk and what makes points must not meet. Ready when no point is made any more;
    /// none is until [`Guards::let_go`].
    pub(super) fn hold(&mut self, vm: VmId) -> impl Future<Output = ()> + Send + 'static {
        self.moving.insert(vm);
        let busy = self.running.get(&vm).map(|guarding| {
            guarding.moving.send_replace(true);
            guarding.busy.clone()
        });
        async move {
            if let Some(mut busy) = busy {
                // A task that is gone makes none.
                let _ = busy.wait_for(|busy| !*busy).await;
            }
        }
    }

    /// The VM stays here: points are made again.
    pub(super) fn let_go(&mut self, vm: VmId) {
        self.moving.remove(&vm);
        if let Some(guarding) = self.running.get(&vm) {
            guarding.moving.send_replace(false);
        }
    }

    /// The VM's process is gone: so is what copied its disk.
    pub(super) fn process_gone(&mut self, vm: VmId) {
        self.moving.remove(&vm);
        if let Some(guarding) = self.running.remove(&vm) {
            guarding.task.abort();
        }
    }
}

/// One VM's copy, as its task has it.
struct Guard {
    link: TransferHandle,
    inputs: mpsc::UnboundedSender<Happened>,
    process: Process,
    epoch: u64,
    wanted: watch::Receiver<Option<ProtectTo>>,
    moving: watch::Receiver<bool>,
    busy: watch::Sender<bool>,
    told: Option<(GuardPhase, u32)>,
    told_point: Option<Since>,
    /// It was whole once.
    whole: bool,
}

impl Guard {
    /// Where to copy; none: the guest goes on without its copy.
    fn to(&mut self) -> Option<ProtectTo> {
        self.wanted.borrow_and_update().clone().filter(|to| !to.go_on)
    }

    async fn run(mut self) {
        // What an earlier worker left of points in time, when they were wanted.
        self.forget_points().await;
        let mirror = Arc::new(Mirror::of(&self.process, self.epoch));
        // Kept until the mirror is gone: its requests must wait for somebody rather than fail.
        let mut tunnel = None;
        while let Some(to) = self.to() {
            match self.begin(&mirror, &to, &mut tunnel).await {
                Ok(true) => self.copy(&mirror, &tunnel).await,
                Ok(false) => {}
                Err(reason) => {
                    self.tell(GuardPhase::Lost, 0, reason);
                    let _ = tokio::time::timeout(BEGIN_AGAIN, self.wanted.changed()).await;
                }
            }
        }
        if !self.unmirrored(&mirror).await {
            return;
        }
        if self.wanted.borrow().as_ref().is_some_and(|to| to.go_on) {
            self.tell(GuardPhase::Released, 0, String::new());
        }
    }

    /// Takes every mirror away; false when the process is gone instead.
    async fn unmirrored(&self, mirror: &Arc<Mirror>) -> bool {
        while let Err(error) = blocking(mirror, Mirror::clear).await {
            if !std::path::Path::new(&format!("/proc/{}", self.process.pid)).exists() {
                return false;
            }
            let said =
                json!({"vm": self.process.vm, "epoch": self.epoch, "error": error, "next": "again in 1 s"});
            journal::warn("copy-not-ended", said);
            tokio::time::sleep(BEGIN_AGAIN).await;
        }
        true
    }

    /// Reaches the other host, then lets QEMU mirror to it; goes on with a mirror that an earlier worker began. False when
    /// something else is wanted meanwhile.
    async fn begin(
        &mut self,
        mirror: &Arc<Mirror>,
        to: &ProtectTo,
        tunnel: &mut Option<Tunnel>,
    ) -> Result<bool, String> {
        let way = match tunnel.take() {
            Some(way) => tunnel.insert(way),
            None => tunnel.insert(Tunnel::open(&self.process, self.link.clone(), self.epoch)?),
        };
        way.lead_to(to)?;
        if blocking(mirror, Mirror::job).await?.is_some() {
            return Ok(true);
        }
        self.tell(GuardPhase::Syncing, 0, String::new());
        // QEMU stands still while it connects: the other host must have agreed before.
        tokio::select! {
            reached = tokio::time::timeout(REACHED, way.reached()) => {
                if reached.is_err() {
                    return Err(way.gap().unwrap_or_else(|| "the copy's host did not answer".to_string()));
                }
            }
            _ = self.wanted.changed() => return Ok(false),
        }
        blocking(mirror, |mirror| mirror.clear().and_then(|()| mirror.begin())).await?;
        let place = format!("{} in {}", to.host, to.region);
        journal::info("copy-begun", json!({"vm": self.process.vm, "epoch": self.epoch, "to": place}));
        Ok(true)
    }

    /// Looks at the mirror until it is not wanted any more, or gone.
    async fn copy(&mut self, mirror: &Arc<Mirror>, tunnel: &Option<Tunnel>) {
        let Some(tunnel) = tunnel else { return };
        let mut out_of_reach: Option<Instant> = None;
        loop {
            let _ = tokio::time::timeout(LOOK_EVERY, self.wanted.changed()).await;
            let Some(to) = self.to() else { return };
            if let Err(error) = tunnel.lead_to(&to) {
                self.tell(GuardPhase::Lost, 0, error);
                continue;
            }
            let gap = tunnel.gap();
            out_of_reach = gap.as_ref().and(out_of_reach.or_else(|| Some(Instant::now())));
            if let (Some(reason), Some(since)) = (gap, out_of_reach) {
                if since.elapsed() >= LOST_AFTER {
                    let next = if self.whole { "writes of the guest wait" } else { "it is not whole yet" };
                    self.tell(GuardPhase::Lost, 0, format!("{reason}; {next}"));
                }
                continue;
            }
            match blocking(mirror, Mirror::job).await {
                Ok(Some(Job { whole: true, .. })) => self.tell(GuardPhase::Synced, 100, String::new()),
                Ok(Some(Job { percent, .. })) => self.tell(GuardPhase::Syncing, percent, String::new()),
                Ok(None) if self.whole => {
                    self.tell(GuardPhase::Lost, 0, "QEMU gave its mirror up".to_string());
                }
                Ok(None) => return,
                // A VM that is held still answers nothing and writes nothing.
                Err(_) => {}
            }
        }
    }

    fn tell(&mut self, phase: GuardPhase, percent: u32, reason: String) {
        if self.told == Some((phase, percent)) {
            return;
        }
        if self.told.map(|(told, _)| told) != Some(phase) {
            let said = json!({
                "vm": self.process.vm, "epoch": self.epoch, "phase": format!("{phase:?}"), "reason": reason
            });
            match phase {
                GuardPhase::Lost => journal::warn("copy", said),
                _ => journal::info("copy", said),
            }
        }
        self.told = Some((phase, percent));
        self.whole |= phase == GuardPhase::Synced;
        let point_age_ms = if self.whole { 0 } else { NEVER_MS };
        let report = GuardReport { epoch: self.epoch, phase, percent, point_age_ms, reason };
        let (vm, generation) = (self.process.vm, self.process.generation);
        let _ = self.inputs.send(Happened::Input(Input::Guarded { vm, generation, report }));
    }
}

/// Asks the emulator, which may take a while, on a thread for that. It is always waited for.
async fn blocking<D: Send + Sync + 'static, T: Send + 'static>(
    disk: &Arc<D>,
    work: impl FnOnce(&D) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let disk = disk.clone();
    tokio::task::spawn_blocking(move || work(&disk)).await.unwrap_or_else(|e| Err(e.to_string()))
}

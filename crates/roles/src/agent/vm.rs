//! One VM of this host as the agent sees it.

use dwcp_types::Priority;

use super::guard::LocalGuard;
use super::{Adopted, AgentConfig};
use crate::protocol::{Health, HealthProbe, Phase, TransferReport, TransferTo, VmIntent, VmSpec};

/// A probe whose answer never came is forgotten after this, ms.
const PROBE_LOST_MS: u64 = 3_000;
/// A kill that was not followed by the process's end is repeated after this, ms.
const KILL_AGAIN_MS: u64 = 2_000;
/// A VM that ran this long starts its back-off anew, ms.
const SETTLED_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub(super) struct LocalVm {
    pub generation: u64,
    pub spec: VmSpec,
    /// Index of its address; `None` when all were taken.
    pub slot: Option<usize>,
    pub priority: Priority,
    pub phase: Phase,
    pub reason: String,
    /// Its process is there or being started.
    pub process: bool,
    pub paused: bool,
    pub killing: bool,
    pub boot_id: String,
    pub health: Health,
    pub answered_us: Option<u64>,
    pub launched_us: u64,
    /// Kill, or kill again, at this time.
    pub kill_at_us: Option<u64>,
    pub retry_at_us: u64,
    pub next_probe_us: u64,
    pub probe_sent_us: Option<u64>,
    /// Its copy to another host.
    pub outgoing: Option<Outgoing>,
    /// The VM that its process was started to take.
    pub incoming: Option<Incoming>,
    /// The guest stands still since its memory was copied, and was not released.
    pub copied: bool,
    /// Whether it has a disk here.
    pub disk: Option<bool>,
    /// Its process is known to have started.
    pub started: bool,
    /// The epoch of the copy that its disk is made from; 0: none.
    pub boot_replica: u64,
    /// The copy of its disk elsewhere.
    pub guard: LocalGuard,
    probe_failures: u32,
    crashes: u32,
}

/// A copy to another host, as the host it leaves sees it.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub to: TransferTo,
    pub report: TransferReport,
    pub cancelling: bool,
}

/// A VM that comes from another host, as the host it comes to sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming {
    pub migration: u64,
    /// Its own host has said that it is ours.
    pub released: bool,
    /// It was told to go on.
    pub going_on: bool,
}

impl LocalVm {
    pub(super) fn wanted(intent: &VmIntent, slot: Option<usize>) -> LocalVm {
        LocalVm {
            generation: intent.generation,
            spec: intent.spec.clone(),
            slot,
            priority: intent.priority,
            phase: Phase::Pending,
            reason: String::new(),
            process: false,
            paused: false,
            killing: false,
            boot_id: String::new(),
            health: Health::Unknown,
            answered_us: None,
            launched_us: 0,
            kill_at_us: None,
            retry_at_us: 0,
            next_probe_us: 0,
            probe_sent_us: None,
            outgoing: None,
            incoming: None,
            copied: false,
            disk: None,
            started: false,
            boot_replica: intent.boot_replica,
            guard: LocalGuard::default(),
            probe_failures: 0,
            crashes: 0,
        }
    }

    pub(super) fn adopted(adopted: Adopted, now_us: u64) -> LocalVm {
        let intent = VmIntent {
            vm: adopted.vm,
            generation: adopted.generation,
            spec: adopted.spec,
            ..VmIntent::default()
        };
        let incoming = (adopted.incoming != 0 && adopted.process)
            .then(|| Incoming { migration: adopted.incoming, ..Incoming::default() });
        let phase = match (adopted.process, adopted.paused) {
            (true, _) if incoming.is_some() => Phase::Arriving,
            (true, true) => Phase::Paused,
            (true, false) if intent.spec.probe == HealthProbe::Process => Phase::Running,
            (true, false) => Phase::Starting,
            (false, _) => Phase::Stopped,
        };
        LocalVm {
            phase,
            process: adopted.process,
            paused: adopted.paused,
            boot_id: adopted.boot_id,
            started: adopted.process,
            launched_us: now_us,
            next_probe_us: now_us,
            incoming,
            copied: adopted.copied,
            ..LocalVm::wanted(&intent, Some(adopted.slot))
        }
    }

    pub(super) fn launch(&mut self, now_us: u64) {
        self.phase = Phase::Starting;
        self.reason.clear();
        self.started = false;
        self.guard = LocalGuard::of_new_process();
        self.process = true;
        self.paused = false;
        self.killing = false;
        self.boot_id.clear();
        self.health = Health::Unknown;
        self.answered_us = None;
        self.launched_us = now_us;
        self.kill_at_us = None;
        self.probe_sent_us = None;
        self.probe_failures = 0;
        self.incoming = None;
        self.copied = false;
        // The first answer can't come at once; asking only costs the guest.
        self.next_probe_us = u64::MAX;
    }

    pub(super) fn hold(&mut self) {
        self.paused = true;
        if matches!(self.phase, Phase::Starting | Phase::Running) {
            self.phase = Phase::Paused;
            self.reason = "held still: the host's lease ran out".to_string();
        }
        self.health = Health::Unknown;
    }

    pub(super) fn resume(&mut self, now_us: u64) {
        self.paused = false;
        self.reason.clear();
        let answered = self.answered_us.is_some() || self.spec.probe == HealthProbe::Process;
        self.phase = if answered { Phase::Running } else { Phase::Starting };
        self.next_probe_us = now_us;
        self.probe_sent_us = None;
    }

    /// Marks a kill; true when it must be sent (first time, or again after a while).
    pub(super) fn kill(&mut self, now_us: u64, reason: &str) -> bool {
        let due = !self.killing || self.kill_at_us.is_some_and(|at| now_us >= at);
        if due {
            self.killing = true;
            self.phase = Phase::Stopping;
            self.reason = reason.to_string();
            self.health = Health::Unknown;
            self.kill_at_us = Some(now_us + KILL_AGAIN_MS * 1_000);
        }
        due
    }

    pub(super) fn gone(&mut self, now_us: u64, reason: String, fenced: bool, config: &AgentConfig) {
        let expected = self.phase == Phase::Stopping;
        self.guard.process_gone();
        self.started = false;
        self.process = false;
        self.paused = false;
        self.killing = false;
        self.kill_at_us = None;
        self.health = Health::Unknown;
        self.answered_us = None;
        self.probe_sent_us = None;
        self.copied = false;
        self.fail_outgoing("its process ended");
        if self.phase == Phase::Moved {
            return;
        }
        if expected {
            self.phase = Phase::Stopped;
            self.reason.clear();
            return;
        }
        self.phase = Phase::Failed;
        self.reason = reason;
        if fenced {
            // Ended by the fence, not by a fault of its own: no back-off.
            self.retry_at_us = now_us;
            return;
        }
        if now_us.saturating_sub(self.launched_us) > SETTLED_MS * 1_000 {
            self.crashes = 0;
        }
        let (least_ms, most_ms) = config.restart_backoff_ms;
        let wait_ms = least_ms.saturating_mul(1 << self.crashes.min(16)).min(most_ms);
        self.crashes = self.crashes.saturating_add(1);
        self.retry_at_us = now_us + wait_ms * 1_000;
    }

    pub(super) fn is_probed(&self) -> bool {
        let alive = matches!(self.phase, Phase::Starting | Phase::Running);
        self.process && !self.paused && alive && self.spec.probe != HealthProbe::Process
    }

    /// When it is to be probed next.
    pub(super) fn probe_at_us(&self) -> u64 {
        match self.probe_sent_us {
            Some(sent) => self.next_probe_us.max(sent + PROBE_LOST_MS * 1_000),
            None => self.next_probe_us,
        }
    }

    /// Takes an answer to a probe; true when phase or health changed.
    pub(super) fn answered(&mut self, now_us: u64, failure: Option<String>, limit: u32) -> bool {
        let before = (self.phase, self.health);
        self.probe_sent_us = None;
        match failure {
            None => {
                self.probe_failures = 0;
                self.health = Health::Healthy;
                self.answered_us = Some(now_us);
                self.phase = Phase::Running;
                self.reason.clear();
            }
            Some(_) if self.phase == Phase::Starting => {}
            Some(failure) => {
                self.probe_failures = self.probe_failures.saturating_add(1);
                if self.probe_failures >= limit {
                    self.health = Health::Unhealthy;
                    self.reason = failure;
                }
            }
        }
        before != (self.phase, self.health)
    }

    /// When the machine must look at it again. `startable` tells whether it would be started.
    pub(super) fn wake_at_us(&self, startable: bool) -> Option<u64> {
        if self.is_probed() && self.probe_at_us() != u64::MAX {
            return Some(self.probe_at_us());
        }
        if self.process {
            return self.kill_at_us;
        }
        (self.phase == Phase::Failed && startable && self.slot.is_some()).then_some(self.retry_at_us)
    }
}

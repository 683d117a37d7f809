//! Copies of disks, as the agent sees them: of its VMs elsewhere, and of others' VMs here.
//!
//! A copy counts as whole only after the agent has durably noted its epoch. A process that starts later may not write under
//! that epoch: it waits until the leader has begun another one, which tells everybody that the copy is behind. So no guest is
//! ever told that something is written that the copy lacks while the facts say that it is protected. Points in time promise
//! nothing about what comes after them: nobody waits for them.

use dwcp_types::VmId;

use super::{Agent, Effect};
use crate::protocol::{GuardPhase, GuardReport, NEVER_MS, Phase, ProtectTo, ReplicaIntent};

/// The copies that a host is to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Copies that take writes.
    pub serve: Vec<ReplicaIntent>,
    /// Copies that take no more writes, because a VM is to be started from them here: VM and epoch.
    pub hold: Vec<(VmId, u64)>,
}

/// The copy of one VM's disk.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalGuard {
    /// What the shell was told for the process that runs; none: nothing yet, since it was there before this agent.
    told: Option<Option<ProtectTo>>,
    /// What it said last.
    pub report: Option<GuardReport>,
    /// When, µs.
    reported_us: u64,
}

impl LocalGuard {
    /// Of a process that starts: it copies nothing.
    pub fn of_new_process() -> LocalGuard {
        LocalGuard { told: Some(None), ..LocalGuard::default() }
    }

    /// The process is gone: nothing copies any more.
    pub fn process_gone(&mut self) {
        self.told = Some(None);
    }

    /// What it said last, with ages as of now.
    pub fn report(&self, now_us: u64) -> Option<GuardReport> {
        let mut report = self.report.clone()?;
        if report.point_age_ms != NEVER_MS {
            report.point_age_ms += now_us.saturating_sub(self.reported_us) / 1_000;
        }
        Some(report)
    }
}

impl Agent {
    /// Tells the shell which copies to keep up to date, and which to keep here.
    pub(super) fn guard(&mut self, out: &mut Vec<Effect>) {
        let Some(intents) = &self.intents else { return };
        for (vm, local) in &mut self.vms {
            let intent = intents.get(vm).filter(|intent| intent.generation == local.generation);
            let Some(intent) = intent.filter(|_| local.process && !local.killing && local.started) else {
                continue;
            };
            if local.guard.told.as_ref() != Some(&intent.protect) {
                local.guard.told = Some(intent.protect.clone());
                if intent.protect.is_none() && local.guard.report.is_some() {
                    local.guard.report = None;
                    self.changed = true;
                }
                let (vm, generation, to) = (*vm, local.generation, intent.protect.clone());
                out.push(Effect::Guard { vm, generation, to });
            }
        }
    }

    /// The copies to keep here changed.
    pub(super) fn keep(&mut self, serve: Vec<ReplicaIntent>, out: &mut Vec<Effect>) {
        let intents = self.intents.iter().flat_map(|intents| intents.values());
        let hold = intents.filter(|of| of.boot_replica > 0).map(|of| (of.vm, of.boot_replica)).collect();
        let kept = Kept { serve, hold };
        if self.kept.as_ref() != Some(&kept) {
            out.push(Effect::KeepReplicas(kept.clone()));
            self.kept = Some(kept);
        }
    }

    /// True when a process of this VM may start: its region knows that what it writes is not on the copy yet.
    pub(super) fn may_write(&self, vm: VmId) -> bool {
        let protect = self.intents.as_ref().and_then(|intents| intents.get(&vm)?.protect.as_ref());
        let whole = self.seen.guarded.get(&vm).copied().unwrap_or(0);
        // Of points the facts only say how old the newest is, which stays true whatever is written.
        protect.is_none_or(|to| to.go_on || to.interval_ms > 0 || to.epoch > whole)
    }

    /// A process that may not start yet says so.
    pub(super) fn wait_for_epoch(&mut self, vm: VmId) {
        let whole = self.seen.guarded.get(&vm).copied().unwrap_or(0);
        let Some(local) = self.vms.get_mut(&vm) else { return };
        if local.guard.report.as_ref().is_none_or(|report| report.phase != GuardPhase::Ended) {
            let epoch = self
                .intents
                .as_ref()
                .and_then(|intents| intents.get(&vm)?.protect.as_ref())
                .map_or(whole, |to| to.epoch);
            let reason = "the VM's process ended: its copy is made anew".to_string();
            local.guard.report =
                Some(GuardReport { epoch, phase: GuardPhase::Ended, reason, ..GuardReport::default() });
            local.reason = "waits until its region knows that its copy is behind".to_string();
            self.changed = true;
        }
    }

    /// The shell says how far a copy is.
    pub(super) fn guarded(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        report: GuardReport,
        out: &mut Vec<Effect>,
    ) {
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        let told = local.guard.told.iter().flatten().find(|told| told.epoch == report.epoch);
        let points = told.is_some_and(|told| told.interval_ms > 0);
        if told.is_none()
            || !matches!(local.phase, Phase::Starting | Phase::Running | Phase::Paused | Phase::Stopping)
        {
            return;
        }
        if report.phase == GuardPhase::Synced && !points {
            let newest = self.seen.guarded.entry(vm).or_default();
            if *newest < report.epoch {
                *newest = report.epoch;
                out.push(Effect::SaveSeen(self.seen.clone()));
            }
        }
        let Some(local) = self.vms.get_mut(&vm) else { return };
        let phase = local.guard.report.as_ref().map(|known| (known.epoch, known.phase));
        self.changed |= points || phase != Some((report.epoch, report.phase));
        local.guard.report = Some(report);
        local.guard.reported_us = now_us;
    }
}

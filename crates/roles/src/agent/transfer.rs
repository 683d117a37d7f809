//! A VM that moves to another host while it runs, at both hosts.
//!
//! The host it leaves gives it away for good, durably, before it says so to anybody; the host it comes to lets it go on only
//! after that, or when its own region says that the VM is its own. Why then exactly one of them runs it:
//! `docs/decisions/2026-11-25-live-migration.md`.

use std::collections::BTreeMap;

use dwcp_types::VmId;

use super::vm::{Incoming, LocalVm, Outgoing};
use super::{Agent, Effect};
use crate::protocol::{ArrivalFrom, HealthProbe, Phase, Run, Stage, TransferReport, VmIntent};

impl LocalVm {
    /// It is to take a VM that runs elsewhere. One that is here as a whole already, and has lost its process since, only waits
    /// until it is wanted to run: another arrival would put an empty disk in the place of its own.
    pub(super) fn expect(&mut self, intent: &VmIntent, whole: bool) {
        if whole {
            self.phase = Phase::Stopped;
            return;
        }
        let migration = intent.arrival.as_ref().map_or(0, |arrival| arrival.migration);
        self.incoming = Some(Incoming { migration, ..Incoming::default() });
    }

    /// Its copy, if there is one that has not failed, has failed.
    pub(super) fn fail_outgoing(&mut self, why: &str) {
        let open =
            |outgoing: &&mut Outgoing| !matches!(outgoing.report.stage, Stage::Failed | Stage::Released);
        if let Some(outgoing) = self.outgoing.as_mut().filter(open) {
            outgoing.report.stage = Stage::Failed;
            outgoing.report.reason = why.to_string();
        }
    }
}

impl Agent {
    /// The host that a VM leaves: begins and cancels its copy.
    pub(super) fn keep_transfer(&mut self, intent: &VmIntent, leased: bool, out: &mut Vec<Effect>) {
        let vm = intent.vm;
        let Some(local) = self.vms.get_mut(&vm) else { return };
        let generation = local.generation;
        let wanted = intent.transfer.as_ref().filter(|_| !self.holding);
        let open = local.outgoing.as_mut().filter(|outgoing| outgoing.report.stage != Stage::Failed);
        if let Some(outgoing) = open {
            let migration = outgoing.to.migration;
            if wanted.is_none_or(|to| to.migration != migration) && !outgoing.cancelling {
                outgoing.cancelling = true;
                out.push(Effect::CancelTransfer { vm, generation, migration });
            }
            return;
        }
        if local.copied && local.process && leased {
            local.copied = false;
            let migration = local.outgoing.as_ref().map_or(0, |outgoing| outgoing.to.migration);
            out.push(Effect::KeepAfterAll { vm, generation, migration });
        }
        let Some(to) = wanted else {
            self.changed |= local.outgoing.take().is_some();
            return;
        };
        let tried = local.outgoing.as_ref().is_some_and(|last| last.to.migration == to.migration);
        if tried || !leased || !local.process || local.paused || local.phase != Phase::Running {
            return;
        }
        let report = TransferReport { migration: to.migration, ..TransferReport::default() };
        local.outgoing = Some(Outgoing { to: to.clone(), report, cancelling: false });
        self.changed = true;
        out.push(Effect::StartTransfer { vm, generation, to: to.clone() });
    }

    pub(super) fn transfer_progress(&mut self, vm: VmId, generation: u64, report: TransferReport) {
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        let open = |outgoing: &&mut Outgoing| {
            outgoing.to.migration == report.migration && outgoing.report.stage != Stage::Failed
        };
        if let Some(outgoing) = local.outgoing.as_mut().filter(open) {
            outgoing.report = report;
        }
    }

    /// Gives the VM away, or keeps it when nobody wants that any more.
    pub(super) fn transfer_completed(
        &mut self,
        vm: VmId,
        generation: u64,
        migration: u64,
        out: &mut Vec<Effect>,
    ) {
        let intent = self.intents.as_ref().and_then(|intents| intents.get(&vm));
        let still_wanted = intent.is_some_and(|intent| {
            let to = intent.transfer.as_ref();
            intent.generation == generation && to.is_some_and(|to| to.migration == migration)
        });
        let newest = self.seen.generations.get(&vm).copied().unwrap_or(0);
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        if !local.process {
            return;
        }
        let Some(outgoing) = local.outgoing.as_mut().filter(|outgoing| outgoing.to.migration == migration)
        else {
            return;
        };
        let open = outgoing.report.stage != Stage::Failed && !outgoing.cancelling && !local.killing;
        if !open || !still_wanted || newest > generation || self.holding {
            local.copied = true;
            local.fail_outgoing("it was no longer wanted when everything was there");
            self.changed = true;
            return;
        }
        outgoing.report.stage = Stage::Released;
        let to = outgoing.to.clone();
        local.phase = Phase::Moved;
        local.reason = format!("released to {} in {}", to.host, to.region);
        self.changed = true;
        // From here on this host never runs it again under this generation, whatever happens to the agent.
        self.seen.generations.insert(vm, to.generation.max(newest));
        self.seen.released.insert(vm, (generation, migration));
        out.push(Effect::SaveSeen(self.seen.clone()));
        out.push(Effect::Release { vm, generation, to });
    }

    pub(super) fn transfer_failed(&mut self, vm: VmId, generation: u64, migration: u64, reason: String) {
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        if local.outgoing.as_ref().is_some_and(|outgoing| outgoing.to.migration == migration) {
            local.fail_outgoing(&reason);
            self.changed = true;
        }
    }

    /// A release is remembered until what is wanted here speaks of another generation, or of the VM no longer.
    pub(super) fn forget_released(&mut self, wanted: &BTreeMap<VmId, VmIntent>) {
        self.seen.released.retain(|vm, (generation, _)| {
            wanted.get(vm).is_some_and(|intent| intent.generation <= *generation)
        });
    }

    /// After a restart: VMs that were released before it.
    pub(super) fn recall_released(&mut self) {
        for (vm, (generation, migration)) in &self.seen.released {
            let Some(local) = self.vms.get_mut(vm).filter(|local| local.generation == *generation) else {
                continue;
            };
            local.phase = Phase::Moved;
            local.copied = false;
            let report =
                TransferReport { migration: *migration, stage: Stage::Released, ..TransferReport::default() };
            local.outgoing = Some(Outgoing { to: Default::default(), report, cancelling: false });
        }
    }

    /// The host that a VM comes to: its process waits, and goes on once it is released.
    pub(super) fn keep_incoming(&mut self, intent: &VmIntent, leased: bool, out: &mut Vec<Effect>) {
        let vm = intent.vm;
        let Some(local) = self.vms.get_mut(&vm) else { return };
        if local.incoming.is_some_and(|incoming| incoming.released) {
            self.let_arrive(intent, leased, out);
            return;
        }
        if local.process && local.paused && leased && local.phase == Phase::Arriving {
            local.paused = false;
            out.push(Effect::Resume { vm, generation: local.generation });
        }
    }

    /// Lets a VM that has arrived go on: it is this host's now.
    pub(super) fn let_arrive(&mut self, intent: &VmIntent, leased: bool, out: &mut Vec<Effect>) {
        let vm = intent.vm;
        let Some(local) = self.vms.get_mut(&vm) else { return };
        let generation = local.generation;
        let Some(incoming) = &mut local.incoming else { return };
        if !leased || !local.process || local.killing || incoming.going_on || local.phase != Phase::Arriving {
            return;
        }
        incoming.going_on = true;
        let migration = incoming.migration;
        if local.paused {
            local.paused = false;
            out.push(Effect::Resume { vm, generation });
        }
        out.push(Effect::GoOn { vm, generation, migration });
    }

    pub(super) fn incoming_ready(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        if let (Err(reason), Some(_), true) = (result, local.incoming, local.process) {
            if local.kill(now_us, &format!("it can't take the VM: {reason}")) {
                out.push(Effect::Kill { vm, generation });
            }
            self.changed = true;
        }
    }

    /// Notes for good that everything of a VM is here, before its own host hears of it and gives it away. What is given up
    /// already stays given up.
    pub(super) fn arrived_whole(&mut self, vm: VmId, generation: u64, migration: u64, out: &mut Vec<Effect>) {
        // What was said of it to a control plane that came back from a backup stays true: its own host keeps it.
        if self.holding {
            return;
        }
        let intent = self.intents.as_ref().and_then(|intents| intents.get(&vm));
        let expected = intent.is_some_and(|intent| {
            let arrival = intent.arrival.as_ref().filter(|arrival| arrival.migration == migration);
            intent.generation == generation && arrival.is_some() && !self.is_given_up(intent)
        });
        let Some(local) = self.vms.get(&vm).filter(|local| local.generation == generation) else { return };
        let waits = local.incoming.is_some_and(|of| of.migration == migration);
        if expected && waits && local.process && !local.killing {
            self.note_whole(vm, generation, migration, out);
            out.push(Effect::SayWhole { vm, generation, migration });
        }
    }

    fn note_whole(&mut self, vm: VmId, generation: u64, migration: u64, out: &mut Vec<Effect>) {
        if self.seen.whole.insert(vm, (generation, migration)) != Some((generation, migration)) {
            self.changed = true;
            out.push(Effect::SaveSeen(self.seen.clone()));
        }
    }

    /// True for a VM that does not come any more: its host is lost, and not everything of it is here. Whoever acts on intents
    /// that say so never lets it go on; those that come later say the same.
    pub(super) fn is_given_up(&self, intent: &VmIntent) -> bool {
        let settling = intent.arrival.as_ref().is_some_and(|arrival| arrival.settling);
        let goes_on = self.vms.get(&intent.vm).is_some_and(|local| {
            local.generation == intent.generation && local.process && local.incoming.is_none()
        });
        settling && intent.run == Run::Incoming && !self.is_whole(intent) && !goes_on
    }

    /// True when it is noted that everything of the VM that is expected is here.
    pub(super) fn is_whole(&self, intent: &VmIntent) -> bool {
        let noted =
            |of: &ArrivalFrom| Some(&(intent.generation, of.migration)) == self.seen.whole.get(&intent.vm);
        intent.arrival.as_ref().is_some_and(noted)
    }

    /// That a VM is here as a whole is remembered as long as it is wanted here, unless it is to come once more.
    pub(super) fn forget_whole(&mut self, wanted: &BTreeMap<VmId, VmIntent>) {
        self.seen.whole.retain(|vm, (generation, _)| {
            wanted.get(vm).is_some_and(|intent| {
                intent.generation == *generation
                    || (intent.generation > *generation && intent.run != Run::Incoming)
            })
        });
    }

    pub(super) fn heard_released(
        &mut self,
        vm: VmId,
        generation: u64,
        migration: u64,
        from: (&str, &str),
        out: &mut Vec<Effect>,
    ) {
        let intent = self.intents.as_ref().and_then(|intents| intents.get(&vm));
        let expected = intent.and_then(|intent| intent.arrival.as_ref()).is_some_and(|arrival| {
            arrival.migration == migration && (arrival.region.as_str(), arrival.host.as_str()) == from
        });
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        let given_up = local.killing;
        if let Some(incoming) = local.incoming.as_mut().filter(|of| expected && of.migration == migration) {
            incoming.released = !given_up;
            // A host that is of an earlier version gives it away without having heard that it is whole here.
            if !given_up {
                self.note_whole(vm, generation, migration, out);
            }
        }
    }

    pub(super) fn went_on(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(local) = self.vms.get_mut(&vm).filter(|local| local.generation == generation) else {
            return;
        };
        if local.incoming.is_none() || !local.process {
            return;
        }
        self.changed = true;
        match result {
            Ok(()) => {
                local.incoming = None;
                local.next_probe_us = now_us;
                let probed = local.spec.probe != HealthProbe::Process;
                local.phase = if probed { Phase::Starting } else { Phase::Running };
                if local.paused {
                    local.hold();
                }
            }
            // What did not arrive whole boots anew, once it is wanted to run here.
            Err(reason) => {
                if local.kill(now_us, &format!("it did not arrive whole: {reason}")) {
                    out.push(Effect::Kill { vm, generation });
                }
            }
        }
    }
}

//! Brings what runs to what is wanted.

use std::cmp::Reverse;

use dwcp_types::VmId;

use super::vm::LocalVm;
use super::{Agent, Effect};
use crate::protocol::{HealthProbe, Phase, Run, VmIntent};

impl Agent {
    pub(super) fn reconcile(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let Some(intents) = self.intents.take() else { return };
        let leased = self.lease.holds(now_us);
        let known: Vec<VmId> = self.vms.keys().copied().collect();
        for vm in known {
            match intents.get(&vm) {
                None => self.unwanted(now_us, vm, out),
                Some(intent) if self.is_given_up(intent) => self.unwanted(now_us, vm, out),
                Some(intent) if self.is_stale(intent) => {}
                Some(intent) => self.wanted(now_us, intent, leased, out),
            }
        }
        for intent in intents.values() {
            if !self.vms.contains_key(&intent.vm) && !self.is_stale(intent) && !self.is_given_up(intent) {
                let slot = self.free_slot();
                let mut local = LocalVm::wanted(intent, slot);
                if intent.run == Run::Stopped {
                    local.phase = Phase::Stopped;
                }
                if intent.run == Run::Incoming {
                    local.expect(intent, self.is_whole(intent));
                }
                self.vms.insert(intent.vm, local);
                self.changed = true;
                out.push(Effect::LookForDisk { vm: intent.vm });
            }
        }
        self.intents = Some(intents);
        if leased {
            self.launch_pending(now_us, out);
        }
    }

    fn is_stale(&self, intent: &VmIntent) -> bool {
        let newest = self.seen.generations.get(&intent.vm).copied().unwrap_or(0);
        intent.generation < newest && !self.ignores_generations()
    }

    /// True when a VM whose process is gone would be started again.
    pub(super) fn is_wanted_again(&self, vm: VmId, generation: u64) -> bool {
        let intent = self.intents.as_ref().and_then(|intents| intents.get(&vm));
        intent.is_some_and(|i| i.run == Run::Running && i.generation == generation && !self.is_stale(i))
    }

    fn free_slot(&self) -> Option<usize> {
        (0..self.config.addresses.len()).find(|slot| self.vms.values().all(|vm| vm.slot != Some(*slot)))
    }

    /// VMs for which there was no address get one when it is free, the most important first.
    fn give_addresses(&mut self) {
        let without = self.vms.iter().filter(|(_, vm)| vm.phase == Phase::Pending && vm.slot.is_none());
        let mut waiting: Vec<(Reverse<u8>, VmId)> =
            without.map(|(id, vm)| (Reverse(vm.priority.0), *id)).collect();
        waiting.sort();
        for (_, id) in waiting {
            let Some(slot) = self.free_slot() else { return };
            if let Some(vm) = self.vms.get_mut(&id) {
                vm.slot = Some(slot);
                vm.reason.clear();
                self.changed = true;
            }
        }
    }

    fn unwanted(&mut self, now_us: u64, vm: VmId, out: &mut Vec<Effect>) {
        let Some(local) = self.vms.get_mut(&vm) else { return };
        let generation = local.generation;
        if !local.process {
            self.vms.remove(&vm);
            self.changed = true;
            out.push(Effect::Remove { vm, generation });
        } else if local.kill(now_us, "no longer wanted on this host") {
            self.changed = true;
            out.push(Effect::Kill { vm, generation });
        }
    }

    fn wanted(&mut self, now_us: u64, intent: &VmIntent, leased: bool, out: &mut Vec<Effect>) {
        let vm = intent.vm;
        let whole = self.is_whole(intent);
        let Some(local) = self.vms.get_mut(&vm) else { return };
        if local.generation != intent.generation {
            if !local.process {
                *local = LocalVm::wanted(intent, local.slot);
                if intent.run == Run::Incoming {
                    local.expect(intent, whole);
                }
                self.changed = true;
                out.push(Effect::LookForDisk { vm });
            } else if local.kill(now_us, "replaced by a newer generation") {
                self.changed = true;
                out.push(Effect::Kill { vm, generation: local.generation });
            }
            if self.vms.get(&vm).is_some_and(|local| local.process) {
                return;
            }
        }
        let Some(local) = self.vms.get_mut(&vm) else { return };
        local.priority = intent.priority;
        local.boot_replica = intent.boot_replica;
        let before = local.phase;
        let generation = local.generation;
        match intent.run {
            Run::Incoming => self.keep_incoming(intent, leased, out),
            Run::Running if local.incoming.is_some() && local.process => {
                self.let_arrive(intent, leased, out);
            }
            Run::Running => {
                if local.process && local.paused && leased && local.phase == Phase::Paused {
                    local.resume(now_us);
                    out.push(Effect::Resume { vm, generation });
                } else if !local.process {
                    let retry = local.phase == Phase::Failed && leased && now_us >= local.retry_at_us;
                    if retry || local.phase == Phase::Stopped {
                        local.incoming = None;
                        local.phase = Phase::Pending;
                    }
                }
                self.keep_transfer(intent, leased, out);
            }
            Run::Stopped if !local.process => {
                local.phase = Phase::Stopped;
                local.reason.clear();
            }
            // A process that is held still can't power down by itself, and without a lease it may not go on.
            Run::Stopped if local.paused || !leased || intent.at_once => {
                let why = if intent.at_once { "killed at once" } else { "stopped while the lease was out" };
                if local.kill(now_us, why) {
                    out.push(Effect::Kill { vm, generation });
                }
            }
            Run::Stopped if local.phase != Phase::Stopping => {
                local.phase = Phase::Stopping;
                local.reason = "powering down".to_string();
                local.kill_at_us = Some(now_us + self.config.powerdown_ms * 1_000);
                out.push(Effect::PowerDown { vm, generation });
            }
            Run::Stopped => {}
        }
        let Some(local) = self.vms.get_mut(&vm) else { return };
        if local.process && local.phase == Phase::Stopping && local.kill_at_us.is_some_and(|at| now_us >= at)
        {
            local.kill(now_us, "did not power down in time");
            out.push(Effect::Kill { vm, generation });
        }
        self.changed |= local.phase != before;
    }

    fn launch_pending(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let grace_us = self.config.boot_grace_ms * 1_000;
        let booting = |vm: &LocalVm| {
            vm.process && vm.phase == Phase::Starting && now_us < vm.launched_us.saturating_add(grace_us)
        };
        let taken = self.vms.values().filter(|vm| booting(vm)).count();
        self.give_addresses();
        let pending = self.vms.iter().filter(|(_, local)| local.phase == Phase::Pending && !local.process);
        let pending: Vec<VmId> = pending.map(|(vm, _)| *vm).collect();
        let (mut waiting, may): (Vec<VmId>, _) = pending.into_iter().partition(|vm| !self.may_write(*vm));
        waiting.iter().for_each(|vm| self.wait_for_epoch(*vm));
        let imageless: Vec<VmId> = may.into_iter().filter(|vm| !self.has_image(*vm)).collect();
        imageless.iter().for_each(|vm| self.wait_for_image(*vm));
        waiting.extend(imageless);
        let mut queue: Vec<(Reverse<u8>, VmId)> = Vec::new();
        for (vm, local) in &mut self.vms {
            if local.phase != Phase::Pending || local.process || waiting.contains(vm) {
                continue;
            }
            if local.slot.is_some() {
                // What it waited for is there; now it waits for its turn only.
                local.reason.clear();
                queue.push((Reverse(local.priority.0), *vm));
            } else {
                local.reason = "every VM address of this host is taken".to_string();
            }
        }
        queue.sort();
        for (_, vm) in queue.into_iter().take(self.config.boot_concurrency.saturating_sub(taken)) {
            let Some(local) = self.vms.get_mut(&vm) else { continue };
            let Some(slot) = local.slot else { continue };
            let incoming = local.incoming;
            local.launch(now_us);
            self.changed = true;
            if let Some(incoming) = incoming {
                local.incoming = Some(incoming);
                local.phase = Phase::Arriving;
                let (generation, spec) = (local.generation, local.spec.clone());
                let migration = incoming.migration;
                out.push(Effect::LaunchIncoming { vm, generation, spec, slot, migration });
                continue;
            }
            if local.boot_replica > 0 {
                out.push(Effect::BootFrom { vm, epoch: local.boot_replica });
            }
            out.push(Effect::Launch { vm, generation: local.generation, spec: local.spec.clone(), slot });
        }
    }

    pub(super) fn launched(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        result: Result<String, String>,
    ) {
        let fenced = !self.lease.is_usable();
        let Some(local) =
            self.vms.get_mut(&vm).filter(|local| local.generation == generation && local.process)
        else {
            return;
        };
        self.changed = true;
        match result {
            Ok(boot_id) => {
                local.started = true;
                local.boot_id = boot_id;
                local.next_probe_us = now_us;
                if local.phase == Phase::Starting && local.spec.probe == HealthProbe::Process {
                    local.phase = Phase::Running;
                }
                if fenced {
                    local.hold();
                }
            }
            Err(reason) => local.gone(now_us, reason, fenced, &self.config),
        }
    }

    pub(super) fn exited(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        reason: String,
        _out: &mut [Effect],
    ) {
        let fenced = !self.lease.is_usable();
        if let Some(local) =
            self.vms.get_mut(&vm).filter(|local| local.generation == generation && local.process)
        {
            local.gone(now_us, reason, fenced, &self.config);
            self.changed = true;
        }
    }

    pub(super) fn held(&mut self, vm: VmId) {
        if let Some(local) = self.vms.get_mut(&vm).filter(|local| local.process && !local.paused) {
            local.hold();
            self.changed = true;
        }
    }
}

//! Applies what protects VMs' disks: what people want, where a copy is kept, what was concluded of it.

use dwcp_types::{Amount, Code, HostId, Refusal, RegionId, VmId, Wall};

use crate::apply_region::{Applied, Stamp, unknown_host, unknown_vm};
use crate::command::*;
use crate::protection::*;
use crate::{HostStanding, RegionFacts, Severity, Vm};

impl Guard {
    /// Begins a copy anew at the same place: what the old one holds is overwritten.
    fn begin(&mut self, at: Wall, keeps_point: bool) {
        self.epoch += 1;
        self.state = GuardState::Syncing;
        self.since = at;
        self.reason.clear();
        self.released = false;
        self.endpoint.clear();
        if !keeps_point {
            self.point = Wall(0);
        }
    }
}

impl Vm {
    /// Its process starts anew: the guest may write before a copy follows, so the old one is begun anew first.
    pub(crate) fn copy_anew(&mut self, at: Wall) {
        let keeps_point = matches!(self.protection.mode, ProtectionMode::Async(_));
        if self.protection.guard.region.is_some() {
            self.protection.guard.begin(at, keeps_point);
        }
    }

    /// It came to another region: its copy is to be chosen anew, and epochs go on rising.
    pub(crate) fn copy_elsewhere(&mut self, at: Wall) {
        let epoch = self.protection.guard.epoch;
        self.protection.guard = Guard { epoch, since: at, ..Guard::default() };
    }
}

impl RegionFacts {
    pub(crate) fn set_protection(&mut self, change: &ProtectionChange, stamp: &Stamp<'_>) -> Applied {
        let here = self.name.clone();
        self.check_not_moving(change.vm)?;
        check_wanted(self.vms.get(&change.vm).ok_or_else(|| unknown_vm(change.vm))?, change, &here)?;
        if change.mode != ProtectionMode::None {
            self.drop_queued(change.vm, "its disk was protected before its turn came", stamp);
        }
        let vm = self.vms.get_mut(&change.vm).ok_or_else(|| unknown_vm(change.vm))?;
        let before = vm.protection.mode;
        let kind = |mode: ProtectionMode| std::mem::discriminant(&mode);
        let degraded = vm.protection.guard.state == GuardState::Degraded && vm.protection.guard.epoch > 0;
        let elsewhere = change.region.is_some() && change.region != vm.protection.guard.region;
        let wanted = &mut vm.protection;
        wanted.mode = change.mode;
        wanted.on_loss = change.on_loss;
        wanted.region = change.region.clone();
        if change.mode == ProtectionMode::None || kind(before) != kind(change.mode) || elsewhere {
            vm.copy_elsewhere(stamp.envelope.at);
        } else if degraded && change.mode == ProtectionMode::Sync && change.on_loss == OnReplicaLoss::GoOn {
            vm.protection.guard.released = true;
        } else if degraded && change.again {
            vm.copy_elsewhere(stamp.envelope.at);
        }
        vm.changed(stamp.revision);
        let host = vm.host.clone();
        let text = format!("VM {}: protection {}", vm.name, change.mode);
        let event = stamp.event(Severity::Info, "vm.protection", change.vm, text);
        self.ledger.note(event.changing(before, change.mode));
        let receipt = Receipt { vms: vec![(vm.id, vm.generation)], ..Receipt::default() };
        self.index.touch(self.revision, &host);
        Ok(receipt)
    }

    /// A copy is to be made, at this place.
    pub(crate) fn choose_replica(&mut self, choice: &ReplicaChoice, stamp: &Stamp<'_>) -> Applied {
        let here = self.name.clone();
        let vm = self.vms.get_mut(&choice.vm).ok_or_else(|| unknown_vm(choice.vm))?;
        if vm.protection.guard.epoch != choice.epoch || !vm.is_protected() || choice.region == here {
            return Err(Refusal::new(
                Code::WrongState,
                format!("the copy of {} has changed meanwhile", vm.name),
            ));
        }
        let guard = &mut vm.protection.guard;
        let same = guard.region.as_ref() == Some(&choice.region) && guard.host == choice.host;
        let keeps_point = same && matches!(vm.protection.mode, ProtectionMode::Async(_));
        guard.begin(stamp.envelope.at, keeps_point);
        guard.region = Some(choice.region.clone());
        guard.host = choice.host.clone();
        let text = format!(
            "the disk of VM {} is copied to {} in {} (epoch {}): {}",
            vm.name, choice.host, choice.region, guard.epoch, choice.reason
        );
        let host = vm.host.clone();
        self.ledger.note(stamp.event(Severity::Info, "vm.copying", choice.vm, text));
        self.index.touch(self.revision, &host);
        Ok(Receipt::default())
    }

    /// The other region has taken the copy on this host, whose agent answers there.
    pub(crate) fn locate_replica(&mut self, at: &ReplicaLocation) -> Applied {
        let vm = self.vms.get_mut(&at.vm).ok_or_else(|| unknown_vm(at.vm))?;
        let guard = &mut vm.protection.guard;
        if guard.epoch != at.epoch || guard.region.is_none() {
            return Err(Refusal::new(
                Code::WrongState,
                format!("the copy of {} has changed meanwhile", vm.name),
            ));
        }
        if guard.host != at.host {
            // What another host held of an earlier copy is not here.
            guard.point = Wall(0);
        }
        guard.host = at.host.clone();
        guard.endpoint = at.endpoint.clone();
        let host = vm.host.clone();
        self.index.touch(self.revision, &host);
        Ok(Receipt::default())
    }

    /// Takes what a host concluded of the copies of its VMs. What it says of others, of older generations or of other epochs
    /// is ignored.
    pub(crate) fn guarded(&mut self, host: &HostId, news: &[GuardNews], stamp: &Stamp<'_>) -> Applied {
        for seen in news {
            let Some(vm) = self.vms.get_mut(&seen.vm).filter(|vm| vm.host == *host) else { continue };
            let (name, on_loss) = (vm.name.clone(), vm.protection.on_loss);
            let is_sync = vm.protection.mode == ProtectionMode::Sync;
            let guard = &mut vm.protection.guard;
            let news =
                vm.generation == seen.generation && guard.epoch == seen.epoch && guard.region.is_some();
            if !news || guard.released {
                continue;
            }
            let before = guard.state;
            if before != seen.state {
                guard.since = stamp.envelope.at;
            }
            guard.state = seen.state;
            guard.reason = seen.reason.clone();
            let event = match seen.state {
                GuardState::Protected => {
                    guard.point = guard.point.max(if is_sync { stamp.envelope.at } else { seen.point });
                    let what = if is_sync { "is protected" } else { "is kept in points in time" };
                    let text = format!("the disk of VM {name} {what} (epoch {})", seen.epoch);
                    stamp.event(Severity::Info, "vm.protected", seen.vm, text)
                }
                GuardState::Degraded => {
                    // Until a moment before this was concluded nothing was acknowledged that the copy lacks; points that
                    // are late are points all the same.
                    if !is_sync || before == GuardState::Protected {
                        guard.point = guard.point.max(seen.point);
                    }
                    guard.released = is_sync && on_loss == OnReplicaLoss::GoOn;
                    let next = if guard.released { "it goes on unprotected" } else { "its writes wait" };
                    let text = match is_sync {
                        true => format!("the copy of VM {name} is lost: {}; {next}", seen.reason),
                        false => format!(
                            "points in time of VM {name} are late: {}; it goes on, and its copy gets older",
                            seen.reason
                        ),
                    };
                    stamp.event(Severity::Critical, "vm.unprotected", seen.vm, text)
                }
                GuardState::Syncing => continue,
            };
            if before != seen.state {
                self.ledger.note(event);
            }
            self.index.touch(self.revision, host);
        }
        Ok(Receipt::default())
    }

    /// Keeps a copy here, or takes the newer epoch of one: the room for its disk is taken.
    pub(crate) fn take_replica(&mut self, replica: &Replica, stamp: &Stamp<'_>) -> Applied {
        self.check_open()?;
        let known = self.replicas.get(&replica.vm);
        if known.is_some_and(|known| known.epoch >= replica.epoch) || self.vms.contains_key(&replica.vm) {
            return Err(Refusal::new(
                Code::WrongState,
                format!("a copy of {} is kept here already", replica.name),
            ));
        }
        let kept = self.drop_room(replica.vm);
        if let Err(refusal) = self.check_replica_room(replica) {
            if let Some(kept) = kept {
                self.keep_room(kept);
            }
            return Err(refusal);
        }
        if kept.as_ref().is_none_or(|kept| kept.host != replica.host) {
            let text =
                format!("a copy of VM {} of {} is kept on {}", replica.name, replica.from, replica.host);
            self.ledger.note(stamp.event(Severity::Info, "replica.kept", replica.vm, text));
        }
        self.replicas_declined.remove(&replica.vm);
        self.keep_room(Replica { since: stamp.envelope.at, ..replica.clone() });
        Ok(Receipt::default())
    }

    pub(crate) fn decline_replica(&mut self, vm: VmId, epoch: u64, reason: &str) -> Applied {
        if self.replicas.get(&vm).is_some_and(|known| known.epoch >= epoch) {
            return Err(Refusal::new(Code::WrongState, format!("a copy of {vm} is kept here")));
        }
        self.replicas_declined.insert(vm, (epoch, reason.to_string()));
        while self.replicas_declined.len() > Self::REPLICAS_DECLINED_KEPT {
            self.replicas_declined.pop_first();
        }
        Ok(Receipt::default())
    }

    /// A copy that nothing refers to any more.
    pub(crate) fn drop_replica(&mut self, vm: VmId, epoch: u64, stamp: &Stamp<'_>) -> Applied {
        if self.replicas.get(&vm).is_none_or(|known| known.epoch != epoch) {
            return Err(Refusal::new(
                Code::WrongState,
                format!("no copy of {vm} of epoch {epoch} is kept here"),
            ));
        }
        if let Some(replica) = self.drop_room(vm) {
            let text = format!("the copy of VM {} on {} is not needed any more", replica.name, replica.host);
            self.ledger.note(stamp.event(Severity::Info, "replica.dropped", vm, text));
        }
        Ok(Receipt::default())
    }

    fn check_replica_room(&self, replica: &Replica) -> Result<(), Refusal> {
        let host = self.hosts.get(&replica.host).ok_or_else(|| unknown_host(&replica.host))?;
        let (cpu, memory) = self.limits();
        let free_gib = host.room(cpu, memory).minus(host.used).disk_gib;
        if host.standing == HostStanding::Up && replica.disk_gib <= free_gib && self.evacuation.is_none() {
            return Ok(());
        }
        let what = format!("{} can't keep a copy of {}", replica.host, replica.name);
        Err(Refusal::new(Code::CapacityGone, what)
            .because(format!("it needs {} GiB; {free_gib} GiB are free", replica.disk_gib)))
    }

    /// Records a copy and takes its room.
    pub(crate) fn keep_room(&mut self, replica: Replica) {
        if let Some(host) = self.hosts.get_mut(&replica.host) {
            host.used = host.used.plus(replica.room());
        }
        self.index.touch(self.revision, &replica.host);
        self.replicas.insert(replica.vm, replica);
    }

    /// Forgets a copy and gives its room back.
    pub(crate) fn drop_room(&mut self, vm: VmId) -> Option<Replica> {
        let replica = self.replicas.remove(&vm)?;
        if let Some(host) = self.hosts.get_mut(&replica.host) {
            host.used = host.used.minus(replica.room());
        }
        self.index.touch(self.revision, &replica.host);
        Some(replica)
    }

    /// The copy kept here that a VM on its way to here can start from.
    pub fn replica_for(&self, vm: &Vm) -> Option<&Replica> {
        let (region, host) = vm.usable_replica()?;
        let replica = self.replicas.get(&vm.id)?;
        let there = replica.epoch == vm.protection.guard.epoch && replica.host == *host;
        (*region == self.name && there).then_some(replica)
    }

    /// What keeps a VM from starting from its copy here, when something does: the copy's room is its own already.
    pub fn check_promotion(&self, vm: &Vm, replica: &Replica) -> Result<(), Refusal> {
        let size =
            Amount { disk_gib: vm.spec.size.disk_gib.saturating_sub(replica.disk_gib), ..vm.spec.size };
        let mut needs = vm.clone();
        needs.spec.size = size;
        self.check_place(&needs, &replica.host)
    }
}

impl Replica {
    /// The room it takes on its host.
    pub fn room(&self) -> Amount {
        Amount { disk_gib: self.disk_gib, ..Amount::default() }
    }
}

/// Refuses what can't be: no disk, or the VM's own region.
fn check_wanted(vm: &Vm, change: &ProtectionChange, here: &RegionId) -> Result<(), Refusal> {
    if change.mode == ProtectionMode::None {
        return Ok(());
    }
    if vm.spec.size.disk_gib == 0 {
        return Err(Refusal::new(Code::WrongState, format!("{} has no disk of its own to protect", vm.name))
            .because("it was created without --disk")
            .try_this("dwcp-cli vm create --disk 1GiB --protection sync"));
    }
    if change.region.as_ref() == Some(here) {
        return Err(Refusal::new(Code::BadValue, format!("{} can't be protected in {here}", vm.name))
            .because("it lives there: a copy that is lost with it protects nothing")
            .try_this(format!("dwcp-cli vm protect {} --mode {}", vm.name, change.mode)));
    }
    Ok(())
}

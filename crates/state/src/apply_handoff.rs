//! Applies what moves VMs: takeovers within a region, departures to another region, admissions from one.
//!
//! A VM has one owner at every moment. It leaves a group with a departure (which raises its generation and keeps the
//! record and its room), and exactly one of two things follows in the group it goes to: it is admitted, or declined for ever at that
//! generation. Only when the first group has seen which, it forgets the VM or takes it back under a further generation.

use dwcp_types::{Code, FailoverId, Generation, HostId, Refusal, VmId};

use crate::apply_region::{Applied, Stamp, unknown_vm};
use crate::command::*;
use crate::{Departure, HostStanding, Observed, RegionFacts, Replica, Severity, Vm, Want};

impl RegionFacts {
    pub(crate) fn begin_evacuation(&mut self, epoch: u64, stamp: &Stamp<'_>) -> Applied {
        if epoch <= self.evacuated {
            return Err(Refusal::new(
                Code::WrongState,
                format!("evacuation {epoch} of {} has ended", self.name),
            ));
        }
        if self.evacuation.is_none_or(|running| running < epoch) {
            self.evacuation = Some(epoch);
            let text = format!("no more leases in {}: its VMs are brought back elsewhere", self.name);
            self.ledger.note(stamp.event(Severity::Critical, "region.evacuation", &self.name, text));
        }
        Ok(Receipt::default())
    }

    pub(crate) fn end_evacuation(&mut self, epoch: u64, stamp: &Stamp<'_>) -> Applied {
        self.evacuated = self.evacuated.max(epoch);
        if self.evacuation.is_some_and(|running| running <= epoch) {
            self.evacuation = None;
            let text = format!("leases are granted again in {}", self.name);
            self.ledger.note(stamp.event(Severity::Info, "region.evacuation-ended", &self.name, text));
        }
        Ok(Receipt::default())
    }

    /// Takes VMs of lost hosts over within the region. Those that no longer are where they were, or no longer fit, stay.
    pub(crate) fn move_vms(&mut self, moves: &[HostMove], stamp: &Stamp<'_>) -> Applied {
        let mut moved = Vec::new();
        let mut refused = None;
        for step in moves {
            match self.move_one(step, stamp) {
                Ok(generation) => moved.push((step.vm, generation)),
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refusal) if moved.is_empty() => Err(refusal),
            _ => Ok(Receipt { vms: moved, ..Receipt::default() }),
        }
    }

    fn move_one(&mut self, step: &HostMove, stamp: &Stamp<'_>) -> Result<Generation, Refusal> {
        let vm = self.fenced(step.vm, step.generation)?.clone();
        if let Some((region, host)) = vm.usable_replica() {
            return Err(Refusal::new(Code::WrongState, format!("{} has no disk on {}", vm.name, step.to))
                .because(format!("its copy is on {host} in {region}: it starts there")));
        }
        self.check_place(&vm, &step.to)?;
        self.drop_queued(vm.id, "its host was lost before its turn came", stamp);
        self.unsettle(vm.id);
        let from = vm.host.clone();
        let mut moved = Vm {
            host: step.to.clone(),
            generation: vm.next_generation(),
            observed: Observed::default(),
            placed_at: stamp.envelope.at,
            ..vm
        };
        moved.copy_anew(stamp.envelope.at);
        moved.protection.boot = 0;
        moved.changed(stamp.revision);
        let generation = moved.generation;
        let text = format!("VM {} moves from {from} to {}", moved.name, moved.host);
        self.ledger.note(stamp.event(Severity::Warning, "vm.takeover", moved.id, text));
        self.settle(moved);
        Ok(generation)
    }

    /// The VM, if it has this generation and its host gets no more leases.
    fn fenced(&self, id: VmId, generation: Generation) -> Result<&Vm, Refusal> {
        let vm = self.vms.get(&id).ok_or_else(|| unknown_vm(id))?;
        if vm.generation != generation {
            return Err(Refusal::new(
                Code::OldGeneration,
                format!("{} has generation {}", vm.name, vm.generation.0),
            ));
        }
        let host_up = self.hosts.get(&vm.host).is_some_and(|host| host.standing == HostStanding::Up);
        if self.evacuation.is_none() && host_up && !vm.is_lost_copy() {
            return Err(Refusal::new(Code::WrongState, format!("{} still gets leases", vm.host))
                .because(format!("{} runs there; it may be taken over only from a lost host", vm.name)));
        }
        self.check_not_moving(id)?;
        Ok(vm)
    }

    pub(crate) fn depart(
        &mut self,
        failover: Option<FailoverId>,
        vms: &[Departing],
        stamp: &Stamp<'_>,
    ) -> Applied {
        let mut left = Vec::new();
        let mut refused = None;
        for step in vms {
            match self.fenced(step.vm, step.generation) {
                Ok(_) => left.extend(self.depart_one(failover, step, stamp)),
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refusal) if left.is_empty() => Err(refusal),
            _ => Ok(Receipt { vms: left, ..Receipt::default() }),
        }
    }

    fn depart_one(
        &mut self,
        failover: Option<FailoverId>,
        step: &Departing,
        stamp: &Stamp<'_>,
    ) -> Option<(VmId, Generation)> {
        let generation = self.vms.get(&step.vm)?.next_generation();
        self.drop_queued(step.vm, "it left before its turn came", stamp);
        self.leave(step.vm, (step.to.clone(), step.host.clone(), generation), failover, stamp)
    }

    pub(crate) fn admit(&mut self, admission: &Admission, stamp: &Stamp<'_>) -> Applied {
        self.check_horizon(stamp)?;
        let vm = &admission.vm;
        if self.vms.contains_key(&vm.id)
            || self.departures.contains_key(&vm.id)
            || vm.generation <= self.barred(vm.id)
        {
            return Err(Refusal::new(Code::OldGeneration, format!("{} was here before", vm.name)));
        }
        let moved = self.arrival(vm.id, vm.generation).is_some();
        let mut replica = self.replica_for(vm).filter(|replica| replica.host == admission.host).cloned();
        // What was expected has its room, and may run there already: it is this region's whatever has become of it since.
        match self.arrival(vm.id, vm.generation) {
            Some(arrival) if arrival.vm.host == admission.host => {
                self.take_arrival(vm.id);
                replica = None;
            }
            Some(arrival) => {
                let what = format!("{} is expected on {}", vm.name, arrival.vm.host);
                return Err(Refusal::new(Code::WrongState, what));
            }
            None => self.check_admissible(vm, &admission.host, replica.as_ref())?,
        }
        // Its own room is taken instead.
        self.drop_room(vm.id);
        let mut vm = Vm {
            host: admission.host.clone(),
            observed: Observed::default(),
            placed_at: stamp.envelope.at,
            failover: admission.failover,
            ..vm.clone()
        };
        vm.protection.boot = replica.map_or(0, |replica| replica.epoch);
        let disk = match (vm.protection.boot, vm.is_protected() && !moved) {
            (0, true) => ", with a new disk: no whole copy of its own is here",
            (0, false) => "",
            _ => ", from its copy there",
        };
        vm.copy_elsewhere(stamp.envelope.at);
        vm.changed(stamp.revision);
        self.raise_horizon(stamp);
        let receipt = Receipt { vms: vec![(vm.id, vm.generation)], ..Receipt::default() };
        let text = format!("VM {} arrives from {} on {}{disk}", vm.name, admission.from, vm.host);
        self.ledger.note(stamp.event(Severity::Warning, "vm.admitted", vm.id, text));
        self.settle(vm);
        Ok(receipt)
    }

    fn check_admissible(&self, vm: &Vm, host: &HostId, replica: Option<&Replica>) -> Result<(), Refusal> {
        self.check_open()?;
        if self.evacuation.is_some() {
            return Err(Refusal::new(Code::RegionDisabled, format!("{} is being evacuated", self.name)));
        }
        match replica {
            Some(replica) => self.check_promotion(vm, replica),
            None => self.check_place(vm, host),
        }
    }

    pub(crate) fn decline(
        &mut self,
        id: VmId,
        generation: Generation,
        reason: &str,
        stamp: &Stamp<'_>,
    ) -> Applied {
        self.check_horizon(stamp)?;
        if self.vms.contains_key(&id) || self.departures.contains_key(&id) || generation <= self.barred(id) {
            return Err(Refusal::new(Code::OldGeneration, format!("{id} was here before")));
        }
        if self.arrival(id, generation).is_some() {
            return Err(Refusal::new(
                Code::WrongState,
                format!("{id} is expected, and may run here already"),
            ));
        }
        self.raise_horizon(stamp);
        self.declined.insert(id, (generation, reason.to_string()));
        self.ledger.note(stamp.event(
            Severity::Warning,
            "vm.declined",
            id,
            format!("{id} can't be taken: {reason}"),
        ));
        Ok(Receipt::default())
    }

    pub(crate) fn forget(&mut self, id: VmId, generation: Generation) -> Applied {
        self.departing(id, generation)?;
        if let Some(departure) = self.departures.remove(&id) {
            self.index.unleave(&departure.vm);
            self.give_back(&departure.vm);
            self.bar(&departure.vm, generation);
        }
        Ok(Receipt::default())
    }

    pub(crate) fn recall(&mut self, id: VmId, generation: Generation, stamp: &Stamp<'_>) -> Applied {
        let departure = self.departing(id, generation)?.clone();
        self.departures.remove(&id);
        self.index.unleave(&departure.vm);
        self.give_back(&departure.vm);
        let mut vm =
            Vm { generation: departure.vm.next_generation(), placed_at: stamp.envelope.at, ..departure.vm };
        vm.changed(stamp.revision);
        if vm.want == Want::Deleted {
            self.bar(&vm, vm.generation);
        } else {
            let text = format!("VM {} was not taken by {}: looking for another place", vm.name, departure.to);
            self.ledger.note(stamp.event(Severity::Warning, "vm.recalled", id, text));
            self.settle(vm);
        }
        Ok(Receipt::default())
    }

    fn departing(&self, id: VmId, generation: Generation) -> Result<&Departure, Refusal> {
        match self.departures.get(&id) {
            Some(departure) if departure.vm.generation == generation => Ok(departure),
            Some(_) => Err(Refusal::new(Code::OldGeneration, format!("{id} left under another generation"))),
            None => Err(unknown_vm(id)),
        }
    }
}

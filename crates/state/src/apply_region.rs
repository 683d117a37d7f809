//! Applies commands of a region's group: hosts, VMs in place, claims, operations.

use dwcp_types::{Amount, Code, HostId, Refusal, Revision, VmId};

use crate::command::*;
use crate::{
    Event, Health, Host, HostFacts, HostStanding, Operation, OperationState, Phase, RegionFacts, Relation,
    Scope, Severity, Vm, Want,
};

/// Where in the log a command stands, and who sent it.
pub(crate) struct Stamp<'a> {
    pub revision: Revision,
    pub envelope: &'a Envelope,
}

impl Stamp<'_> {
    /// The reason in brackets, to end a text with; empty when none was given.
    pub fn because(&self) -> String {
        match self.envelope.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({reason})"),
        }
    }

    pub fn event(&self, severity: Severity, kind: &str, subject: impl ToString, text: String) -> Event {
        Event {
            revision: self.revision,
            at: self.envelope.at,
            severity,
            kind: kind.to_string(),
            subject: subject.to_string(),
            text,
            by: self.envelope.by.clone(),
            request: self.envelope.request.clone(),
            request_id: self.envelope.request_id.clone(),
            reason: self.envelope.reason.clone(),
            proposer: self.envelope.proposer.clone(),
            ..Event::default()
        }
    }
}

pub(crate) type Applied = Result<Receipt, Refusal>;

impl RegionFacts {
    /// Applies a command; see [`crate::Federation::apply`].
    pub(crate) fn apply(&mut self, revision: Revision, envelope: &Envelope) -> Outcome {
        assert!(
            revision > self.revision,
            "a log position is applied once: {revision:?} after {:?}",
            self.revision
        );
        self.revision = revision;
        if let Some((digest, outcome)) = self.ledger.recall(&envelope.request) {
            return repeated(*digest, outcome, envelope);
        }
        let outcome = outcome(self.change(&Stamp { revision, envelope }), revision);
        self.ledger.remember(&envelope.request, envelope.digest, &outcome);
        outcome
    }

    fn change(&mut self, stamp: &Stamp<'_>) -> Applied {
        self.check_expected(stamp.envelope)?;
        self.check_adopted(&stamp.envelope.command)?;
        match &stamp.envelope.command {
            Command::Nothing | Command::TakeDigest(_) => Ok(Receipt::default()),
            Command::RegisterHost(facts) => self.register_host(facts, stamp),
            Command::LoseHost((host, incarnation)) => self.lose_host(host, *incarnation, stamp),
            Command::SetHostPlacement((host, on)) => self.set_host_placement(host, *on, stamp),
            Command::CreateVms((vms, operation)) => self.create_vms(vms, operation, stamp),
            Command::SetWant((vm, (want, operation))) => self.set_want(*vm, *want, operation, stamp),
            Command::RestartVm((vm, operation)) => self.restart_vm(*vm, operation, stamp),
            Command::Observe((host, observations)) => self.observe(host, observations, stamp),
            Command::MoveVms(moves) => self.move_vms(moves, stamp),
            Command::BeginEvacuation(epoch) => self.begin_evacuation(*epoch, stamp),
            Command::EndEvacuation(epoch) => self.end_evacuation(*epoch, stamp),
            Command::Depart((failover, vms)) => self.depart(*failover, vms, stamp),
            Command::Admit(admission) => self.admit(admission, stamp),
            Command::Decline((vm, (generation, reason))) => self.decline(*vm, *generation, reason, stamp),
            Command::Forget((vm, generation)) => self.forget(*vm, *generation),
            Command::Recall((vm, generation)) => self.recall(*vm, *generation, stamp),
            Command::EndOperation((id, (state, result))) => {
                let running = self.operations.get(id).is_some_and(|op| op.state == OperationState::Running);
                end_operation(self.operations.get_mut(id), *state, result, stamp)?;
                if running && *state == OperationState::Cancelled {
                    let event = stamp.event(Severity::Warning, "operation.cancelled", id, result.clone());
                    self.ledger.note(event.changing("running", "cancelled"));
                    self.stop_migrations_of(*id, result, stamp);
                    self.reopen_host_of(*id);
                }
                self.trim_operations();
                Ok(Receipt { operation: Some(*id), ..Receipt::default() })
            }
            Command::SetOvercommit(limits) => {
                self.overcommit = *limits;
                Ok(Receipt::default())
            }
            Command::Unbar(vms) => self.unbar(vms, stamp),
            Command::BeginMigrations((vms, operation)) => self.begin_migrations(vms, operation, stamp),
            Command::StartMigrations(vms) => self.start_migrations(vms, stamp),
            Command::AimMigration((vm, (id, aim))) => self.aim_migration(*vm, *id, aim),
            Command::StopMigrations((vms, stopping)) => self.stop_migrations(vms, stopping, stamp),
            Command::EndMigration((vm, id)) => self.end_migration(*vm, *id, stamp),
            Command::Switch(switch) => self.switch(switch, stamp),
            Command::Expect(arrival) => self.expect(arrival, stamp),
            Command::Withdraw((vm, generation)) => self.withdraw(*vm, *generation, stamp),
            Command::DropArrival((vm, generation)) => self.drop_arrival(*vm, *generation),
            Command::NoteWhole((vm, generation)) => self.note_whole(*vm, *generation, stamp),
            Command::SettleArrival((vm, generation)) => self.settle_arrival(*vm, *generation, stamp),
            Command::LoseMigration((vm, id)) => self.lose_migration(*vm, *id, stamp),
            Command::SetProtection(change) => self.set_protection(change, stamp),
            Command::ChooseReplica(choice) => self.choose_replica(choice, stamp),
            Command::Guarded((host, news)) => self.guarded(host, news, stamp),
            Command::LocateReplica(location) => self.locate_replica(location),
            Command::TakeReplica(replica) => self.take_replica(replica, stamp),
            Command::DeclineReplica((vm, (epoch, reason))) => self.decline_replica(*vm, *epoch, reason),
            Command::DropReplica((vm, epoch)) => self.drop_replica(*vm, *epoch, stamp),
            Command::LoseCopies(vms) => self.lose_copies(vms, stamp),
            Command::DropCopies(vms) => self.drop_copies(vms, stamp),
            Command::Claim(claim) => self.claim(claim, stamp.envelope.digest),
            Command::NoteImageFault(fault) => self.note_image_fault(fault, stamp),
            Command::CloseRegion => self.close_region(stamp),
            adoption => self.change_adoption(adoption, stamp),
        }
    }

    fn register_host(&mut self, facts: &HostFacts, stamp: &Stamp<'_>) -> Applied {
        let known = self.hosts.get(&facts.id);
        let returned = known.is_some_and(|host| host.standing == HostStanding::Lost);
        let host = Host {
            facts: facts.clone(),
            standing: HostStanding::Up,
            standing_since: match known {
                Some(host) if !returned => host.standing_since,
                _ => stamp.envelope.at,
            },
            placement: known.is_none_or(|host| host.placement),
            used: known.map_or(Amount::default(), |host| host.used),
            revision: stamp.revision,
        };
        if known.is_none() || returned {
            let how = if returned { "is back" } else { "joined" };
            let text = format!("host {} {how} in zone {}", facts.id, facts.zone);
            let kind = if returned { "host.returned" } else { "host.joined" };
            self.ledger.note(stamp.event(Severity::Info, kind, &facts.id, text));
        }
        self.index.touch(self.revision, &facts.id);
        self.hosts.insert(facts.id.clone(), host);
        Ok(Receipt::default())
    }

    fn lose_host(&mut self, id: &HostId, incarnation: u64, stamp: &Stamp<'_>) -> Applied {
        let host = self.hosts.get_mut(id).ok_or_else(|| unknown_host(id))?;
        if host.facts.incarnation != incarnation {
            return Err(Refusal::new(Code::WrongState, format!("host {id} has registered again meanwhile")));
        }
        if host.standing == HostStanding::Up {
            host.standing = HostStanding::Lost;
            host.standing_since = stamp.envelope.at;
            host.revision = stamp.revision;
            self.index.touch(self.revision, id);
            let text = format!("host {id} in zone {} is silent: no more leases for it", host.facts.zone);
            self.ledger.note(stamp.event(Severity::Critical, "host.lost", id, text));
        }
        Ok(Receipt::default())
    }

    fn set_host_placement(&mut self, id: &HostId, on: bool, stamp: &Stamp<'_>) -> Applied {
        let host = self.hosts.get_mut(id).ok_or_else(|| unknown_host(id))?;
        host.placement = on;
        host.revision = stamp.revision;
        self.index.touch(self.revision, id);
        let text = format!("placement on host {id} is {}", if on { "on" } else { "off" });
        self.ledger.note(stamp.event(Severity::Info, "host.placement", id, text));
        Ok(Receipt::default())
    }

    fn create_vms(&mut self, vms: &[NewVm], operation: &Operation, stamp: &Stamp<'_>) -> Applied {
        self.check_asked_lately(stamp)?;
        let mut made = Vec::with_capacity(vms.len());
        for new in vms {
            if let Err(refusal) = self.create_one(&new.vm, stamp) {
                for (id, _) in &made {
                    self.unsettle(*id);
                }
                return Err(refusal);
            }
            made.push((new.vm.id, dwcp_types::Generation(1)));
        }
        for new in vms {
            let vm = &new.vm;
            let text = format!("VM {} ({}) created on {}", vm.name, vm.id, vm.host);
            self.ledger.note(stamp.event(Severity::Info, "vm.created", vm.id, text));
        }
        self.begin_operation(operation, stamp);
        Ok(Receipt { operation: Some(operation.id), vms: made, ..Receipt::default() })
    }

    fn create_one(&mut self, vm: &Vm, stamp: &Stamp<'_>) -> Result<(), Refusal> {
        self.check_open()?;
        if self.evacuation.is_some() {
            return Err(Refusal::new(Code::RegionDisabled, format!("{} is being evacuated", self.name)));
        }
        if self.vms.contains_key(&vm.id) || self.tombstones.contains_key(&vm.id) {
            return Err(Refusal::new(Code::WrongState, format!("{} exists already", vm.id)));
        }
        if let Some(other) = self.holder_of_name(&vm.name) {
            return Err(Refusal::new(Code::NameTaken, format!("a VM named {} exists", vm.name))
                .because(format!("it is {} in {}", other.id, self.name)));
        }
        self.check_place(vm, &vm.host)?;
        let vm = Vm {
            generation: dwcp_types::Generation(1),
            created_at: stamp.envelope.at,
            placed_at: stamp.envelope.at,
            home: self.name.clone(),
            observed: crate::Observed::default(),
            failover: None,
            revision: stamp.revision,
            protection: crate::Protection {
                guard: crate::Guard::default(),
                boot: 0,
                ..vm.protection.clone()
            },
            ..vm.clone()
        };
        self.settle(vm);
        Ok(())
    }

    /// Records a VM on its host and takes the room.
    pub(crate) fn settle(&mut self, vm: Vm) {
        if let Some(host) = self.hosts.get_mut(&vm.host) {
            host.used = host.used.plus(vm.spec.size);
        }
        self.index.touch(self.revision, &vm.host);
        self.index.add(&vm);
        self.index.place(&vm);
        self.vms.insert(vm.id, vm);
    }

    /// Removes a VM from its host and gives the room back.
    pub(crate) fn unsettle(&mut self, id: VmId) -> Option<Vm> {
        let vm = self.vms.remove(&id)?;
        self.index.remove(&vm);
        self.index.displace(&vm);
        self.give_back(&vm);
        Some(vm)
    }

    /// Gives the room of a VM on its host back.
    pub(crate) fn give_back(&mut self, vm: &Vm) {
        if let Some(host) = self.hosts.get_mut(&vm.host) {
            host.used = host.used.minus(vm.spec.size);
        }
        self.index.touch(self.revision, &vm.host);
    }

    /// Checks what must hold on the host at this very position of the log: standing, room, relations.
    pub(crate) fn check_place(&self, vm: &Vm, host_id: &HostId) -> Result<(), Refusal> {
        let host = self.hosts.get(host_id).ok_or_else(|| unknown_host(host_id))?;
        if host.standing != HostStanding::Up || !host.placement {
            let how = if host.placement { "lost" } else { "closed for placement" };
            return Err(Refusal::new(Code::CapacityGone, format!("host {host_id} is {how}")));
        }
        let (cpu, memory) = self.limits();
        let room = host.room(cpu, memory).minus(host.used);
        if !vm.spec.size.fits(room) {
            let (size, free) = (vm.spec.size, room);
            return Err(Refusal::new(Code::CapacityGone, format!("{} no longer fits on {host_id}", vm.name))
                .because(format!(
                    "it needs {} vCPUs, {} MiB, {} GiB; {} vCPUs, {} MiB, {} GiB are free",
                    size.vcpus, size.memory_mib, size.disk_gib, free.vcpus, free.memory_mib, free.disk_gib
                )));
        }
        self.check_relations(vm, host)
    }

    fn check_relations(&self, vm: &Vm, host: &Host) -> Result<(), Refusal> {
        let here = |other: &Vm, scope: Scope| match scope {
            Scope::Host => other.host == host.facts.id,
            Scope::Zone => self.hosts.get(&other.host).is_some_and(|h| h.facts.zone == host.facts.zone),
            Scope::Region => true,
        };
        let clash = |owner: &Vm, relation: &Relation, other: &Vm| {
            Refusal::new(Code::CapacityGone, format!("{} may not be placed on {}", vm.name, host.facts.id))
                .because(format!("{} must be apart from {} ({:?})", owner.name, other.name, relation.scope))
        };
        for other in self.relatives(vm) {
            for relation in vm.rules.anti_affinity.iter().filter(|r| other.is_named_by(&r.target)) {
                if here(other, relation.scope) {
                    return Err(clash(vm, relation, other));
                }
            }
            for relation in other.rules.anti_affinity.iter().filter(|r| vm.is_named_by(&r.target)) {
                if here(other, relation.scope) {
                    return Err(clash(other, relation, vm));
                }
            }
            for relation in vm.rules.affinity.iter().filter(|r| other.is_named_by(&r.target)) {
                if !here(other, relation.scope) {
                    return Err(Refusal::new(
                        Code::CapacityGone,
                        format!("{} may not be placed there", vm.name),
                    )
                    .because(format!("it must be together with {} ({:?})", other.name, relation.scope)));
                }
            }
        }
        Ok(())
    }

    fn set_want(&mut self, id: VmId, want: Want, operation: &Operation, stamp: &Stamp<'_>) -> Applied {
        self.check_not_moving(id)?;
        if want != Want::Running {
            self.drop_queued(id, "it was stopped before its turn came", stamp);
        }
        let vm = self.vms.get_mut(&id).ok_or_else(|| unknown_vm(id))?;
        if vm.want == Want::Deleted && want != Want::Deleted {
            return Err(Refusal::new(Code::WrongState, format!("{} is being deleted", vm.name)));
        }
        if want == Want::Running && vm.want == Want::Stopped {
            vm.generation = vm.next_generation();
            vm.observed = crate::Observed::default();
            vm.copy_anew(stamp.envelope.at);
        }
        let changed = vm.want != want;
        vm.want = want;
        if changed {
            vm.changed(stamp.revision);
        }
        self.index.judge(vm);
        let (name, generation) = (vm.name.clone(), vm.generation);
        if changed {
            let (kind, verb) = match want {
                Want::Running => ("vm.start", "is to run"),
                Want::Stopped => ("vm.stop", "is to stop"),
                Want::Deleted => ("vm.delete", "is to be deleted"),
            };
            self.ledger.note(stamp.event(Severity::Info, kind, id, format!("VM {name} {verb}")));
        }
        self.begin_operation(operation, stamp);
        Ok(Receipt { operation: Some(operation.id), vms: vec![(id, generation)], ..Receipt::default() })
    }

    fn restart_vm(&mut self, id: VmId, operation: &Operation, stamp: &Stamp<'_>) -> Applied {
        self.check_not_moving(id)?;
        let vm = self.vms.get_mut(&id).ok_or_else(|| unknown_vm(id))?;
        if vm.want != Want::Running {
            return Err(Refusal::new(Code::WrongState, format!("{} is not meant to run", vm.name)));
        }
        vm.generation = vm.next_generation();
        vm.copy_anew(stamp.envelope.at);
        vm.changed(stamp.revision);
        self.index.judge(vm);
        let (name, generation) = (vm.name.clone(), vm.generation);
        self.ledger.note(stamp.event(Severity::Info, "vm.restart", id, format!("VM {name} restarts")));
        self.begin_operation(operation, stamp);
        Ok(Receipt { operation: Some(operation.id), vms: vec![(id, generation)], ..Receipt::default() })
    }

    /// Takes what a host concluded. What it says of VMs that are not its own, or of other generations, is ignored.
    fn observe(&mut self, host: &HostId, observations: &[Observation], stamp: &Stamp<'_>) -> Applied {
        for seen in observations {
            let Some(vm) = self.vms.get_mut(&seen.vm) else { continue };
            if vm.host != *host {
                continue;
            }
            if seen.gone {
                if vm.want == Want::Deleted {
                    self.purge(seen.vm, stamp);
                }
                continue;
            }
            if seen.observed.generation != vm.generation {
                continue;
            }
            let old = (vm.observed.phase, vm.observed.health);
            vm.observed = seen.observed.clone();
            self.index.judge(vm);
            let name = vm.name.clone();
            if old != (seen.observed.phase, seen.observed.health) {
                self.note_phase(seen, &name, stamp);
            }
        }
        Ok(Receipt::default())
    }

    fn note_phase(&mut self, seen: &Observation, name: &str, stamp: &Stamp<'_>) {
        let phase = seen.observed.phase;
        let severity = match phase {
            Phase::Failed | Phase::Paused => Severity::Warning,
            _ => Severity::Info,
        };
        let why = if seen.observed.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", seen.observed.reason)
        };
        let health = match seen.observed.health {
            Health::Healthy => ", healthy",
            Health::Unhealthy => ", unhealthy",
            Health::Unknown => "",
        };
        let text = format!("VM {name} is {}{health}{why}", format!("{phase:?}").to_lowercase());
        self.ledger.note(stamp.event(severity, "vm.phase", seen.vm, text));
    }

    /// Removes a deleted VM for good.
    pub(crate) fn purge(&mut self, id: VmId, stamp: &Stamp<'_>) {
        if let Some(vm) = self.unsettle(id) {
            self.bar(&vm, vm.generation);
            self.ledger.note(stamp.event(
                Severity::Info,
                "vm.deleted",
                id,
                format!("VM {} is gone", vm.name),
            ));
        }
    }

    fn claim(&mut self, claim: &ClaimRequest, digest: u64) -> Applied {
        let held = self.claims.get(&claim.key).copied();
        if let Some((old_digest, (attempt, group))) = held {
            if old_digest != digest {
                return Err(idempotency_mismatch(&claim.key));
            }
            if attempt != claim.after_attempt {
                return Ok(Receipt { claim: Some((attempt, group)), ..Receipt::default() });
            }
        } else {
            self.claim_order.push_back(claim.key.clone());
        }
        let holds = (claim.after_attempt + 1, claim.group);
        self.claims.insert(claim.key.clone(), (digest, holds));
        while self.claim_order.len() > Self::CLAIMS_KEPT {
            if let Some(oldest) = self.claim_order.pop_front() {
                self.claims.remove(&oldest);
            }
        }
        Ok(Receipt { claim: Some(holds), ..Receipt::default() })
    }

    pub(crate) fn begin_operation(&mut self, operation: &Operation, stamp: &Stamp<'_>) {
        let operation = Operation { revision: stamp.revision, ..operation.clone() };
        self.operations.insert(operation.id, operation);
    }

    fn trim_operations(&mut self) {
        while self.operations.len() > Self::OPERATIONS_KEPT {
            let oldest = self
                .operations
                .values()
                .filter(|op| op.state != OperationState::Running)
                .min_by_key(|op| (op.ended_at, op.id))
                .map(|op| op.id);
            match oldest {
                Some(id) => self.operations.remove(&id),
                None => break,
            };
        }
    }
}

/// Ends an operation that is running; one that has ended stays as it is.
pub(crate) fn end_operation(
    operation: Option<&mut Operation>,
    state: OperationState,
    result: &str,
    stamp: &Stamp<'_>,
) -> Result<(), Refusal> {
    let operation = operation.ok_or_else(|| Refusal::new(Code::UnknownOperation, "no such operation"))?;
    if operation.state == OperationState::Running {
        operation.state = state;
        operation.result = result.to_string();
        operation.ended_at = Some(stamp.envelope.at);
        operation.revision = stamp.revision;
    }
    Ok(())
}

/// What became of a command at a position of the log.
pub(crate) fn outcome(applied: Applied, revision: Revision) -> Outcome {
    match applied {
        Ok(receipt) => Outcome::Accepted(Receipt { revision, ..receipt }),
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// The answer to a request that was applied before.
pub(crate) fn repeated(digest: u64, outcome: &Outcome, envelope: &Envelope) -> Outcome {
    if digest == envelope.digest {
        outcome.clone()
    } else {
        Outcome::Refused(idempotency_mismatch(&envelope.request))
    }
}

fn idempotency_mismatch(key: &str) -> Refusal {
    Refusal::new(Code::IdempotencyMismatch, format!("the idempotency key {key} was used for another request"))
}

pub(crate) fn unknown_host(id: &HostId) -> Refusal {
    Refusal::new(Code::UnknownHost, format!("no host {id}")).try_this("dwcp-cli host list")
}

pub(crate) fn unknown_vm(id: VmId) -> Refusal {
    Refusal::new(Code::UnknownVm, format!("no VM {id}")).try_this("dwcp-cli vm list")
}

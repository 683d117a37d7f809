//! Applies what moves VMs while they run.
//!
//! A migration promises one generation to its target. Until it has ended nobody else may take the VM: it is either its
//! target's under that generation (`Switch`), or stays with its host, which has said so (`EndMigration`).

use dwcp_types::{Code, FailoverId, Generation, HostId, MigrationId, OperationId, Refusal, RegionId, VmId};

use crate::apply_region::{Applied, Stamp, unknown_host, unknown_vm};
use crate::command::*;
use crate::migration::*;
use crate::{Departure, HostStanding, Observed, Operation, OperationKind, OperationState};
use crate::{RegionFacts, Severity, Vm, Want};

impl RegionFacts {
    /// The migration of a VM that has started and not ended.
    pub fn moving(&self, vm: VmId) -> Option<&Migration> {
        self.migrations.get(&vm).filter(|migration| migration.state == MigrationState::Running)
    }

    /// Refuses a change of a VM that is being moved.
    pub(crate) fn check_not_moving(&self, vm: VmId) -> Result<(), Refusal> {
        let Some(migration) = self.moving(vm) else { return Ok(()) };
        let what = format!("{} is moving to {}", migration.name, migration.to);
        Err(Refusal::new(Code::WrongState, what)
            .because(format!("{} has started and not ended", migration.id))
            .try_this(format!("dwcp-cli federation migrate cancel --vm {}", migration.name)))
    }

    pub(crate) fn begin_migrations(
        &mut self,
        asked: &[NewMigration],
        operation: &Operation,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let known = self.operations.get(&operation.id).map(|known| known.state);
        if known.is_some_and(|state| state != OperationState::Running) {
            return Err(Refusal::new(Code::WrongState, format!("{} has ended", operation.id)));
        }
        if let Some(running) = self.drain_like(operation) {
            return Ok(Receipt { operation: Some(running), ..Receipt::default() });
        }
        let mut begun = Vec::new();
        let mut refused = None;
        for new in asked {
            match self.begin_one(new, operation.id, stamp) {
                Ok(()) => begun.push(new.vm),
                Err(refusal) => refused = Some(refusal),
            }
        }
        if let (Some(refusal), true) = (refused, begun.is_empty()) {
            return Err(refusal);
        }
        if known.is_none() {
            let mut operation = operation.clone();
            if let OperationKind::MigrateVms(vms) = &mut operation.kind {
                *vms = begun.clone();
            }
            self.begin_operation(&operation, stamp);
        }
        let vms = begun.into_iter().map(|vm| (vm, self.vms[&vm].generation)).collect();
        Ok(Receipt { operation: Some(operation.id), vms, ..Receipt::default() })
    }

    /// The running drain of the same thing, which the same command typed again joins.
    fn drain_like(&self, operation: &Operation) -> Option<OperationId> {
        let OperationKind::Drain(asked) = &operation.kind else { return None };
        let running = self.operations.values().filter(|other| other.state == OperationState::Running);
        running
            .filter(|other| other.id != operation.id)
            .find(|other| matches!(&other.kind, OperationKind::Drain(drain) if drain.host == asked.host))
            .map(|other| other.id)
    }

    fn begin_one(
        &mut self,
        new: &NewMigration,
        operation: OperationId,
        stamp: &Stamp<'_>,
    ) -> Result<(), Refusal> {
        let vm = self.vms.get(&new.vm).ok_or_else(|| self.not_here(new.vm))?;
        let wrong = |why: String| Err(Refusal::new(Code::WrongState, why));
        if self.evacuation.is_some() {
            return wrong(format!("{} is being evacuated", self.name));
        }
        if let Some(open) = self.migrations.get(&new.vm) {
            return wrong(format!("{} is moving already, to {} ({})", vm.name, open.to, open.id));
        }
        match (vm.want, new.mode) {
            (Want::Deleted, _) => return wrong(format!("{} is being deleted", vm.name)),
            (Want::Stopped, Mode::Live) => {
                return wrong(format!("{} is stopped: there is nothing to move alive", vm.name));
            }
            _ => {}
        }
        vm.check_protected_move(new.mode, &new.to, new.host.as_ref())?;
        if new.to == self.name && new.host.as_ref() == Some(&vm.host) {
            return wrong(format!("{} is on {} already", vm.name, vm.host));
        }
        let migration = Migration {
            id: new.id,
            vm: vm.id,
            name: vm.name.clone(),
            priority: vm.priority,
            from_host: vm.host.clone(),
            to: new.to.clone(),
            host: new.host.clone(),
            mode: new.mode,
            max_downtime_ms: new.max_downtime_ms,
            operation,
            asked_at: stamp.envelope.at,
            reason: new.reason.clone(),
            ..Migration::default()
        };
        self.migrations.insert(new.vm, migration);
        Ok(())
    }

    pub(crate) fn start_migrations(&mut self, vms: &[(VmId, MigrationId)], stamp: &Stamp<'_>) -> Applied {
        let mut started = Vec::new();
        for (id, migration) in vms {
            let queued = self
                .migrations
                .get_mut(id)
                .filter(|m| m.id == *migration && m.state == MigrationState::Queued);
            let (Some(migration), Some(vm)) = (queued, self.vms.get_mut(id)) else { continue };
            // An earlier version took it in.
            let moves = vm.check_protected_move(migration.mode, &migration.to, migration.host.as_ref());
            if let Err(refusal) = moves {
                self.close(*id, MigrationState::Failed, refusal.causes.join("; "), stamp);
                continue;
            }
            migration.state = MigrationState::Running;
            migration.started_at = Some(stamp.envelope.at);
            migration.from_host = vm.host.clone();
            migration.generation = vm.next_generation();
            vm.promised = migration.generation;
            started.push((*id, migration.generation));
            let text = format!("VM {} begins to move from {} to {}", vm.name, vm.host, migration.to);
            self.ledger.note(stamp.event(Severity::Info, "vm.migration-started", id, text));
        }
        if started.is_empty() && !vms.is_empty() {
            return Err(Refusal::new(Code::WrongState, "none of these migrations is queued"));
        }
        Ok(Receipt { vms: started, ..Receipt::default() })
    }

    fn running_migration(&mut self, vm: VmId, id: MigrationId) -> Result<&mut Migration, Refusal> {
        match self.migrations.get_mut(&vm) {
            Some(found) if found.id == id && found.state == MigrationState::Running => Ok(found),
            _ => Err(Refusal::new(Code::WrongState, format!("{id} is not running"))),
        }
    }

    pub(crate) fn aim_migration(&mut self, vm: VmId, id: MigrationId, aim: &Aim) -> Applied {
        let migration = self.running_migration(vm, id)?;
        if migration.stopping.is_some() {
            return Err(Refusal::new(Code::WrongState, format!("{id} is being stopped")));
        }
        migration.aim = Some(aim.clone());
        Ok(Receipt::default())
    }

    pub(crate) fn stop_migrations(
        &mut self,
        vms: &[(VmId, MigrationId)],
        stopping: &Stopping,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let mut stopped = Vec::new();
        for (vm, id) in vms {
            if self.stop_one(*vm, *id, stopping, stamp) {
                stopped.push((*vm, Generation(0)));
            }
        }
        if stopped.is_empty() && !vms.is_empty() {
            return Err(Refusal::new(Code::WrongState, "none of these migrations is open"));
        }
        Ok(Receipt { vms: stopped, ..Receipt::default() })
    }

    /// One that waits ends at once; one that runs ends when its host says that the VM stays.
    fn stop_one(&mut self, vm: VmId, id: MigrationId, stopping: &Stopping, stamp: &Stamp<'_>) -> bool {
        let Some(migration) = self.migrations.get_mut(&vm).filter(|migration| migration.id == id) else {
            return false;
        };
        if migration.state == MigrationState::Running {
            migration.stopping.get_or_insert_with(|| stopping.clone());
            return true;
        }
        self.close(vm, stopping.state, stopping.reason.clone(), stamp);
        true
    }

    /// Every migration of an operation that is called off.
    pub(crate) fn stop_migrations_of(&mut self, operation: OperationId, reason: &str, stamp: &Stamp<'_>) {
        let of: Vec<(VmId, MigrationId)> = self
            .migrations
            .values()
            .filter(|migration| migration.operation == operation)
            .map(|migration| (migration.vm, migration.id))
            .collect();
        let stopping = Stopping { state: MigrationState::Cancelled, reason: reason.to_string() };
        for (vm, id) in of {
            self.stop_one(vm, id, &stopping, stamp);
        }
    }

    /// The drain of a host that is called off opens the host again, if it was open before.
    pub(crate) fn reopen_host_of(&mut self, operation: OperationId) {
        let Some(OperationKind::Drain(drain)) = self.operations.get(&operation).map(|of| &of.kind) else {
            return;
        };
        let Some(host) = drain.host.clone().filter(|_| drain.placement_before) else { return };
        if let Some(known) = self.hosts.get_mut(&host) {
            known.placement = true;
            self.index.touch(self.revision, &host);
        }
    }

    /// One that waits for its turn is dropped: what it was asked of has changed.
    pub(crate) fn drop_queued(&mut self, vm: VmId, why: &str, stamp: &Stamp<'_>) {
        if self.migrations.get(&vm).is_some_and(|migration| migration.state == MigrationState::Queued) {
            self.close(vm, MigrationState::Cancelled, why.to_string(), stamp);
        }
    }

    pub(crate) fn end_migration(&mut self, vm: VmId, id: MigrationId, stamp: &Stamp<'_>) -> Applied {
        let migration = self.running_migration(vm, id)?;
        let Some(stopping) = migration.stopping.clone() else {
            return Err(Refusal::new(Code::WrongState, format!("nobody stopped {id}")));
        };
        self.close(vm, stopping.state, stopping.reason, stamp);
        Ok(Receipt::default())
    }

    /// The VM's host is lost, and its target will never run it under the generation that it was promised.
    pub(crate) fn lose_migration(&mut self, id: VmId, migration: MigrationId, stamp: &Stamp<'_>) -> Applied {
        let running = self.running_migration(id, migration)?;
        let (aimed, generation) = (running.aim.is_some(), running.generation);
        let vm = self.vms.get(&id).ok_or_else(|| unknown_vm(id))?;
        self.check_no_leases(vm)?;
        if aimed && self.arrival(id, generation).is_some() {
            let what = format!("{} may still go on where it was moving to", vm.name);
            return Err(Refusal::new(Code::WrongState, what));
        }
        let reason = format!("{} was lost before everything was copied: {}", vm.host, next_of_lost(vm));
        self.close(id, MigrationState::Lost, reason, stamp);
        Ok(Receipt::default())
    }

    /// Refuses what needs that the host of a VM can't run it any more.
    fn check_no_leases(&self, vm: &Vm) -> Result<(), Refusal> {
        let host_up = self.hosts.get(&vm.host).is_some_and(|host| host.standing == HostStanding::Up);
        if self.evacuation.is_none() && host_up {
            return Err(Refusal::new(Code::WrongState, format!("{} still gets leases", vm.host)));
        }
        Ok(())
    }

    /// The migration that a VM lost its host in and has not been brought back from yet.
    pub fn lost_in_mid_copy(&self, vm: &Vm) -> Option<&Migration> {
        if vm.promised <= vm.generation {
            return None;
        }
        let of_it = |of: &&Migration| of.vm == vm.id && of.generation == vm.promised;
        self.migrated.iter().rev().find(of_it).filter(|of| of.state == MigrationState::Lost)
    }

    /// Says where a VM has gone that is not here any more, as far as it is known here.
    pub fn not_here(&self, id: VmId) -> Refusal {
        let left = self.departures.get(&id).map(|left| (&left.vm.name, &left.to));
        let moved = || {
            let moved =
                |of: &&Migration| matches!(of.state, MigrationState::Done | MigrationState::TakenOver);
            let newest = self.migrated.iter().rev().find(|of| of.vm == id).filter(moved)?;
            (newest.to != self.name).then_some((&newest.name, &newest.to))
        };
        let Some((name, to)) = left.or_else(moved) else { return unknown_vm(id) };
        Refusal::new(Code::WrongState, format!("{name} has left {} for {to}", self.name))
            .because(format!("it is moved from where it is, and that is {to} now"))
            .then("nothing was changed; ask again in a moment")
            .try_this(format!("dwcp-cli vm show {name}"))
    }

    /// Moves a migration to those that ended.
    fn close(&mut self, vm: VmId, state: MigrationState, reason: String, stamp: &Stamp<'_>) {
        let Some(mut migration) = self.migrations.remove(&vm) else { return };
        migration.state = state;
        migration.ended_at = Some(stamp.envelope.at);
        let (severity, kind) = match state {
            MigrationState::Done => (Severity::Info, "vm.migrated"),
            MigrationState::Cancelled => (Severity::Info, "vm.migration-cancelled"),
            MigrationState::TakenOver => (Severity::Warning, "vm.migration-taken-over"),
            MigrationState::Lost => (Severity::Warning, "vm.migration-lost"),
            _ => (Severity::Warning, "vm.migration-failed"),
        };
        let how = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let text = format!(
            "VM {} from {} to {}: {}{how}",
            migration.name,
            migration.from_host,
            migration.to,
            state.name()
        );
        migration.reason = reason;
        self.ledger.note(stamp.event(severity, kind, vm, text));
        self.migrated.push_back(migration);
        while self.migrated.len() > Migration::KEPT {
            self.migrated.pop_front();
        }
    }

    /// The VM is its target's. Its old generation may not run any more: its host has released it, or gets no lease.
    pub(crate) fn switch(&mut self, switch: &Switch, stamp: &Stamp<'_>) -> Applied {
        let migration = self.running_migration(switch.vm, switch.migration)?;
        migration.took = switch.took;
        let migration = migration.clone();
        let vm = self.vms.get(&switch.vm).ok_or_else(|| unknown_vm(switch.vm))?;
        match (switch.released, migration.mode) {
            (false, _) => self.check_no_leases(vm)?,
            // The copy that it starts from may have fallen behind in the last moment.
            (true, Mode::Cold) => vm.check_protected_move(Mode::Cold, &migration.to, None)?,
            (true, Mode::Live) => {}
        }
        let (how, why) = match switch.released {
            true => (MigrationState::Done, String::new()),
            false => {
                let why = format!("{} was lost when everything had been copied", vm.host);
                (MigrationState::TakenOver, why)
            }
        };
        if migration.to == self.name {
            return self.switch_here(&migration, (how, why), stamp);
        }
        let host = migration.aim.as_ref().map(|aim| aim.host.clone()).or(migration.host.clone());
        self.close(switch.vm, how, why, stamp);
        let went = (migration.to, host, migration.generation);
        let left = self.leave(switch.vm, went, switch.failover, stamp);
        Ok(Receipt { vms: left.into_iter().collect(), ..Receipt::default() })
    }

    /// The switch between two hosts of this region.
    fn switch_here(
        &mut self,
        migration: &Migration,
        (how, why): (MigrationState, String),
        stamp: &Stamp<'_>,
    ) -> Applied {
        let expected = self.arrivals.get(&migration.vm);
        let Some(arrival) =
            expected.filter(|arrival| arrival.migration == migration.id && !arrival.withdrawn)
        else {
            // No room was made: it is a VM of a lost host like any other.
            let why = "its host was lost before its target had made room".to_string();
            self.close(migration.vm, MigrationState::Failed, why, stamp);
            return Ok(Receipt::default());
        };
        let (host, generation) = (arrival.vm.host.clone(), migration.generation);
        self.take_arrival(migration.vm);
        let Some(vm) = self.unsettle(migration.vm) else { return Err(unknown_vm(migration.vm)) };
        let mut moved =
            Vm { host, generation, observed: Observed::default(), placed_at: stamp.envelope.at, ..vm };
        // Its disk came along, and its copy goes on from here.
        moved.protection.boot = 0;
        moved.copy_anew(stamp.envelope.at);
        moved.changed(stamp.revision);
        self.settle(moved);
        self.close(migration.vm, how, why, stamp);
        Ok(Receipt { vms: vec![(migration.vm, generation)], ..Receipt::default() })
    }

    /// Lets a VM leave for another region: the record goes, its room stays taken until it is settled what became of it.
    pub(crate) fn leave(
        &mut self,
        id: VmId,
        (to, host, generation): (RegionId, Option<HostId>, Generation),
        failover: Option<FailoverId>,
        stamp: &Stamp<'_>,
    ) -> Option<(VmId, Generation)> {
        let vm = self.vms.remove(&id)?;
        self.index.remove(&vm);
        self.index.displace(&vm);
        self.bar(&vm, vm.generation);
        let text = format!("VM {} leaves {} for {to}", vm.name, self.name);
        self.ledger.note(stamp.event(Severity::Warning, "vm.departed", vm.id, text));
        let mut vm = Vm { generation, observed: Observed::default(), ..vm };
        vm.changed(stamp.revision);
        let departure = Departure { vm, to, host, failover, at: stamp.envelope.at };
        self.index.leave(&departure.vm);
        self.departures.insert(id, departure);
        Some((id, generation))
    }

    pub(crate) fn expect(&mut self, arrival: &Arrival, stamp: &Stamp<'_>) -> Applied {
        self.check_open()?;
        self.check_horizon(stamp)?;
        let vm = &arrival.vm;
        let local = arrival.from == self.name;
        let here = if local { self.moving(vm.id).is_none() } else { self.vms.contains_key(&vm.id) };
        let known = self.arrivals.contains_key(&vm.id) || self.departures.contains_key(&vm.id);
        if here || known || vm.generation <= self.barred(vm.id) {
            return Err(Refusal::new(Code::OldGeneration, format!("{} is here, or was", vm.name)));
        }
        if self.evacuation.is_some() {
            return Err(Refusal::new(Code::RegionDisabled, format!("{} is being evacuated", self.name)));
        }
        self.check_place(vm, &vm.host)?;
        self.raise_horizon(stamp);
        let host = self.hosts.get_mut(&vm.host).ok_or_else(|| unknown_host(&vm.host))?;
        host.used = host.used.plus(vm.spec.size);
        self.index.touch(self.revision, &vm.host);
        let text = format!("room is made for VM {} from {} on {}", vm.name, arrival.from, vm.host);
        self.ledger.note(stamp.event(Severity::Info, "vm.expected", vm.id, text));
        let arrival = Arrival {
            at: stamp.envelope.at,
            withdrawn: false,
            whole: false,
            settling: false,
            ..arrival.clone()
        };
        self.arrivals.insert(vm.id, arrival);
        Ok(Receipt::default())
    }

    /// The arrival of a VM under this generation.
    pub fn arrival(&self, vm: VmId, generation: Generation) -> Option<&Arrival> {
        self.arrivals.get(&vm).filter(|arrival| arrival.vm.generation == generation)
    }

    /// Takes an arrival away and gives its room back.
    pub(crate) fn take_arrival(&mut self, vm: VmId) {
        if let Some(arrival) = self.arrivals.remove(&vm) {
            self.give_back(&arrival.vm);
        }
    }

    pub(crate) fn withdraw(&mut self, vm: VmId, generation: Generation, stamp: &Stamp<'_>) -> Applied {
        self.check_horizon(stamp)?;
        let arrival = self.expected(vm, generation)?;
        arrival.withdrawn = true;
        let host = arrival.vm.host.clone();
        self.index.touch(self.revision, &host);
        Ok(Receipt::default())
    }

    fn expected(&mut self, vm: VmId, generation: Generation) -> Result<&mut Arrival, Refusal> {
        let arrival = self.arrivals.get_mut(&vm).filter(|arrival| arrival.vm.generation == generation);
        arrival.ok_or_else(|| {
            Refusal::new(Code::OldGeneration, format!("{vm} is not expected at that generation"))
        })
    }

    /// The host that is to take it says that everything is there.
    pub(crate) fn note_whole(&mut self, vm: VmId, generation: Generation, stamp: &Stamp<'_>) -> Applied {
        let arrival = self.expected(vm, generation)?;
        if !arrival.whole {
            arrival.whole = true;
            let text = format!("everything of VM {} is on {}", arrival.vm.name, arrival.vm.host);
            self.ledger.note(stamp.event(Severity::Info, "vm.arrived-whole", vm, text));
        }
        Ok(Receipt::default())
    }

    /// The host that it comes from is lost: what is whole stays, what is not is given up once its host here has ended it.
    pub(crate) fn settle_arrival(&mut self, vm: VmId, generation: Generation, stamp: &Stamp<'_>) -> Applied {
        self.check_horizon(stamp)?;
        let arrival = self.expected(vm, generation)?;
        if arrival.whole || arrival.settling {
            return Ok(Receipt::default());
        }
        arrival.settling = true;
        let host = arrival.vm.host.clone();
        let text = format!(
            "{} is lost: VM {} goes on here if everything of it is on {host}",
            arrival.from_host, arrival.vm.name
        );
        self.ledger.note(stamp.event(Severity::Warning, "vm.arrival-settling", vm, text));
        self.index.touch(self.revision, &host);
        Ok(Receipt::default())
    }

    pub(crate) fn drop_arrival(&mut self, vm: VmId, generation: Generation) -> Applied {
        let arrival = self.arrival(vm, generation);
        let given_up = arrival.is_some_and(|arrival| arrival.settling && !arrival.whole);
        if !given_up && arrival.is_none_or(|arrival| !arrival.withdrawn) {
            return Err(Refusal::new(Code::WrongState, format!("{vm} may still arrive")));
        }
        self.take_arrival(vm);
        // Nobody may ever come under a generation that was promised and not used.
        if self.barred(vm) < generation {
            let why =
                if given_up { "its host was lost before it was whole" } else { "its migration had ended" };
            self.declined.insert(vm, (generation, why.to_string()));
        }
        Ok(Receipt::default())
    }

    /// VMs that are expected on a host.
    pub fn arrivals_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = &'a Arrival> {
        self.arrivals.values().filter(move |arrival| arrival.vm.host == *host)
    }
}

/// What becomes of a VM whose host was lost while its copy was not whole, in words.
fn next_of_lost(vm: &Vm) -> String {
    match vm.usable_replica() {
        Some((region, host)) => format!("it starts from its protected copy on {host} in {region}"),
        None if vm.spec.size.disk_gib == 0 => "it boots anew elsewhere".to_string(),
        None => "it has no protected copy, so it starts with a new disk; what was on its disk is lost unless that \
                 host comes back first"
            .to_string(),
    }
}

//! VMs that move while they run: both ends' reconcilers. Whatever is next follows from the facts and from what the hosts
//! say, so any node that comes to lead a group goes on.

use std::collections::BTreeSet;

use dwcp_decide::{MigrationLimits, PlaceRequest, next_migrations};
use dwcp_state::{
    Aim, Arrival, Command, Fate, HostStanding, Migration, MigrationState, Mode, Stopping, Switch, Took, Vm,
};
use dwcp_types::{Generation, GroupId, HostId, MigrationId, RegionId, Revision, VmId};

use super::Node;
use crate::protocol::{Phase, Stage, VmReport};

/// A step that was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;
/// A target that has made no room by then makes none, ms.
const AIM_LIMIT_MS: u64 = 30_000;
/// A VM that does not run by then can't be moved alive, nor is one waited for longer that won't stop, ms.
const BEGIN_LIMIT_MS: u64 = 60_000;

fn stop(migration: &Migration, reason: impl Into<String>) -> Command {
    let stopping = Stopping { state: MigrationState::Failed, reason: reason.into() };
    Command::StopMigrations((vec![(migration.vm, migration.id)], stopping))
}

impl Node {
    /// For VMs of this group that are to leave their hosts.
    pub(super) fn run_migrations(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        if self.facts.regions[&region].migrations.is_empty() {
            return;
        }
        self.begin_queued(group, &region);
        let running: Vec<Migration> = self.facts.regions[&region]
            .migrations
            .values()
            .filter(|migration| migration.state == MigrationState::Running)
            .cloned()
            .collect();
        for host in running.iter().map(|migration| migration.from_host.clone()).collect::<BTreeSet<_>>() {
            self.date_intents(group, &host);
        }
        for migration in running {
            if let Some(command) = self.next_of(group, &region, &migration) {
                let kind = std::mem::discriminant(&command);
                if self.due(format!("migration {} {kind:?}", migration.id), AGAIN_MS) {
                    self.conclude(group, command);
                }
            }
        }
    }

    fn begin_queued(&mut self, group: GroupId, region: &RegionId) {
        if !self.may_move() || self.facts.regions[region].evacuation.is_some() {
            return;
        }
        let policy = &self.facts.core.policy;
        let limits = MigrationLimits {
            per_link: policy.migrations_per_link as usize,
            per_host: policy.migrations_per_host as usize,
        };
        let begin = next_migrations(&self.facts.regions[region], limits);
        if !begin.is_empty() && self.due(format!("begin migrations {group}"), 300) {
            self.conclude(group, Command::StartMigrations(begin));
        }
    }

    fn next_of(&self, group: GroupId, region: &RegionId, migration: &Migration) -> Option<Command> {
        let facts = &self.facts.regions[region];
        let vm = facts.vms.get(&migration.vm)?;
        let host_up = facts.hosts.get(&vm.host).is_some_and(|host| host.standing == HostStanding::Up);
        if facts.evacuation.is_some() || !host_up {
            return self.next_of_lost(group, region, vm, migration);
        }
        let session = self.leases.hosts.get(&(group, vm.host.clone()))?;
        let acted = self.leases.place_of(group, &vm.host).is_some_and(|place| session.acted >= place);
        let report = session.reports.get(&vm.id).filter(|report| report.generation == vm.generation.0)?;
        if report.phase == Phase::Moved {
            return Some(Command::Switch(released(migration, report)));
        }
        if migration.stopping.is_some() {
            // Whoever acts on intents that speak of no transfer can't release any more.
            let copying = report.transfer.as_ref().is_some_and(|transfer| transfer.stage != Stage::Failed);
            let ends = acted && !copying;
            return ends.then_some(Command::EndMigration((vm.id, migration.id)));
        }
        let refused = self.facts.regions.get(&migration.to).and_then(|target| target.declined.get(&vm.id));
        if let Some((_, reason)) = refused.filter(|(generation, _)| *generation == migration.generation) {
            return Some(stop(migration, format!("{}: {reason}", migration.to)));
        }
        match migration.mode {
            Mode::Live => self.next_of_live(region, vm, migration, report),
            Mode::Cold if vm.is_protected() => self.next_to_copy(vm, migration, report, acted),
            Mode::Cold => self.next_of_cold(region, migration, report, acted),
        }
    }

    /// A VM whose host is lost goes to the target of its migration when everything of it is there: it may run there already.
    /// Otherwise it goes on as any other VM of a lost host, once its target has given it up for good.
    fn next_of_lost(
        &self,
        group: GroupId,
        region: &RegionId,
        vm: &Vm,
        migration: &Migration,
    ) -> Option<Command> {
        let evacuated = self.facts.regions[region].evacuation.is_some();
        let whose = if evacuated { None } else { Some(&vm.host) };
        if !self.may_move() || !self.is_fenced(group, whose) {
            return None;
        }
        let target = self.facts.regions.get(&migration.to);
        let arrival = target.and_then(|target| target.arrival(vm.id, migration.generation));
        let whole = arrival.is_some_and(|arrival| arrival.migration == migration.id && arrival.whole);
        if !whole {
            let refused = target.is_some_and(|target| target.barred(vm.id) >= migration.generation);
            // Without an aim its host was never told where to.
            let given_up = migration.aim.is_none() || (arrival.is_none() && refused);
            return given_up.then_some(Command::LoseMigration((vm.id, migration.id)));
        }
        let failover = self.facts.core.running_failover(region).map(|failover| failover.id);
        let switch =
            Switch { vm: vm.id, migration: migration.id, released: false, failover, took: Took::default() };
        Some(Command::Switch(switch))
    }

    fn next_of_live(
        &self,
        region: &RegionId,
        vm: &Vm,
        migration: &Migration,
        report: &VmReport,
    ) -> Option<Command> {
        let transfer = report.transfer.as_ref().filter(|transfer| transfer.migration == migration.id.0);
        if let Some(failed) = transfer.filter(|transfer| transfer.stage == Stage::Failed) {
            return Some(stop(migration, failed.reason.clone()));
        }
        let began = self.age_of(migration);
        if migration.aim.is_none() {
            return self.aim(region, migration);
        }
        if transfer.is_none() && began >= BEGIN_LIMIT_MS {
            let phase = format!("{:?}", report.phase).to_lowercase();
            return Some(stop(migration, format!("{} is {phase}: it can't be copied", vm.name)));
        }
        None
    }

    fn next_of_cold(
        &self,
        region: &RegionId,
        migration: &Migration,
        report: &VmReport,
        acted: bool,
    ) -> Option<Command> {
        match report.disk {
            Some(false) => {}
            Some(true) => {
                let why = "its disk can't be moved while it is off; start it and move it live";
                return Some(stop(migration, why));
            }
            None if self.age_of(migration) >= BEGIN_LIMIT_MS => {
                return Some(stop(migration, "its host does not say whether it has a disk"));
            }
            None => return None,
        }
        if migration.aim.is_none() {
            return self.aim(region, migration);
        }
        if acted && report.phase == Phase::Stopped {
            return Some(Command::Switch(released(migration, report)));
        }
        if self.age_of(migration) >= BEGIN_LIMIT_MS {
            return Some(stop(migration, "it did not stop in time"));
        }
        None
    }

    /// A VM with a protected disk is stopped, and handed over to the host of its copy.
    fn next_to_copy(
        &self,
        vm: &Vm,
        migration: &Migration,
        report: &VmReport,
        acted: bool,
    ) -> Option<Command> {
        if let Err(refusal) = vm.check_protected_move(Mode::Cold, &migration.to, migration.host.as_ref()) {
            return Some(stop(migration, refusal.causes.join("; ")));
        }
        if acted && report.phase == Phase::Stopped {
            return Some(Command::Switch(released(migration, report)));
        }
        let late = self.age_of(migration) >= BEGIN_LIMIT_MS;
        late.then(|| stop(migration, "it did not stop in time"))
    }

    fn age_of(&self, migration: &Migration) -> u64 {
        migration.started_at.map_or(0, |at| self.now.wall.ms_since(at))
    }

    /// Aims at the host that the target's region has chosen, once it has.
    fn aim(&self, region: &RegionId, migration: &Migration) -> Option<Command> {
        let Some(target) = self.facts.regions.get(&migration.to) else {
            return Some(stop(migration, format!("no region {}", migration.to)));
        };
        let arrival = target.arrival(migration.vm, migration.generation);
        if let Some(arrival) = arrival.filter(|of| of.migration == migration.id && !of.withdrawn) {
            let host = arrival.vm.host.clone();
            let endpoint =
                target.hosts.get(&host).map(|host| host.facts.transfer.clone()).unwrap_or_default();
            if endpoint.is_empty() && migration.mode == Mode::Live {
                return Some(stop(migration, format!("the agent of {host} takes no running VMs")));
            }
            let mbit_per_s = u64::from(self.facts.core.policy.migration_mbit_per_s.max(1));
            let aim = Aim { host, endpoint, rate_bytes_per_s: mbit_per_s * 1_000_000 / 8 };
            return Some(Command::AimMigration((migration.vm, (migration.id, aim))));
        }
        if self.age_of(migration) >= AIM_LIMIT_MS {
            let from = if migration.to == *region { "this region" } else { migration.to.as_str() };
            return Some(stop(migration, format!("{from} made no room in {} s", AIM_LIMIT_MS / 1_000)));
        }
        None
    }

    /// For VMs that are to move to this group: makes room, or declines.
    pub(super) fn expect_arrivals(&mut self, group: GroupId) {
        let Some(here) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&here];
        if facts.evacuation.is_some() {
            return;
        }
        let mut coming: Vec<(RegionId, Migration)> = Vec::new();
        for (from, source) in &self.facts.regions {
            let running = source.migrations.values().filter(|m| m.state == MigrationState::Running);
            for migration in running.filter(|m| m.to == here && m.aim.is_none() && m.stopping.is_none()) {
                // It starts from its copy, which has its room.
                if migration.mode == Mode::Cold && source.vms.get(&migration.vm).is_some_and(Vm::is_protected)
                {
                    continue;
                }
                let known = facts.arrivals.contains_key(&migration.vm)
                    || (*from != here && facts.fate(migration.vm, migration.generation) != Fate::Open);
                if !known {
                    coming.push((from.clone(), migration.clone()));
                }
            }
        }
        for (from, migration) in coming {
            if self.due(format!("expect {}", migration.id), AGAIN_MS) {
                let looked_at = vec![(from.clone(), self.facts.regions[&from].revision)];
                if let Some(command) = self.expect_or_decline(&here, &from, &migration) {
                    self.conclude_from(group, command, looked_at);
                }
            }
        }
    }

    fn expect_or_decline(
        &mut self,
        here: &RegionId,
        from: &RegionId,
        migration: &Migration,
    ) -> Option<Command> {
        let source = self.facts.regions.get(from)?.vms.get(&migration.vm)?;
        let (from_host, mut vm) = (source.host.clone(), source.clone());
        vm.generation = migration.generation;
        vm.promised = migration.generation;
        let mut request = PlaceRequest {
            vm: vm.clone(),
            only_regions: Some([here.clone()].into()),
            for_failover: true,
            ..PlaceRequest::default()
        };
        if from == here {
            request.exclude_hosts.insert((here.clone(), from_host.clone()));
        }
        if let Some(host) = &migration.host {
            request.vm.rules.hosts = [host.clone()].into();
        }
        match self.place(&request, false).0 {
            Ok(placement) => {
                self.reserved.add_coming(here, &placement.host, &vm);
                vm.host = placement.host;
                Some(Command::Expect(Box::new(Arrival {
                    vm,
                    migration: migration.id,
                    from: from.clone(),
                    from_host,
                    mode: migration.mode,
                    ..Arrival::default()
                })))
            }
            Err(refusal) if from == here => Some(stop(migration, refusal.causes.join("; "))),
            Err(refusal) => {
                Some(Command::Decline((vm.id, (migration.generation, refusal.causes.join("; ")))))
            }
        }
    }

    /// Notes what has arrived whole, and gives the room of VMs back that do not come: once their migration has ended, or their
    /// host was lost before they were whole, and nothing of them is left.
    pub(super) fn end_arrivals(&mut self, group: GroupId) {
        let Some(here) = self.facts.region_of(group).cloned() else { return };
        let arrivals: Vec<Arrival> = self.facts.regions[&here].arrivals.values().cloned().collect();
        for arrival in arrivals {
            let (vm, generation) = (arrival.vm.id, arrival.vm.generation);
            if !arrival.whole && self.is_whole(group, &arrival) {
                if self.due(format!("whole {}", arrival.migration), AGAIN_MS) {
                    self.conclude(group, Command::NoteWhole((vm, generation)));
                }
                continue;
            }
            if arrival.withdrawn || (arrival.settling && !arrival.whole) {
                if self.nothing_left(group, &here, vm, generation, &arrival.vm.host)
                    && self.due(format!("drop arrival {}", arrival.migration), AGAIN_MS)
                {
                    self.conclude(group, Command::DropArrival((vm, generation)));
                }
                continue;
            }
            let Some(source) = self.facts.regions.get(&arrival.from) else { continue };
            if source.revision == Revision(0) {
                continue;
            }
            let looked_at = vec![(arrival.from.clone(), source.revision)];
            if comes(source, vm, arrival.migration, generation) {
                let lost = !arrival.whole && is_lost(source, vm);
                if lost && self.due(format!("settle {}", arrival.migration), AGAIN_MS) {
                    self.conclude_from(group, Command::SettleArrival((vm, generation)), looked_at);
                }
                continue;
            }
            if self.due(format!("withdraw {}", arrival.migration), AGAIN_MS) {
                self.conclude_from(group, Command::Withdraw((vm, generation)), looked_at);
            }
        }
    }

    /// True when its host says that everything of it is there.
    fn is_whole(&self, group: GroupId, arrival: &Arrival) -> bool {
        let vm = &arrival.vm;
        let report = self.leases.hosts.get(&(group, vm.host.clone()));
        let report = report.and_then(|session| session.reports.get(&vm.id));
        report.is_some_and(|report| report.generation == vm.generation.0 && report.whole)
    }

    fn nothing_left(
        &mut self,
        group: GroupId,
        here: &RegionId,
        vm: VmId,
        generation: Generation,
        host: &HostId,
    ) -> bool {
        let facts = &self.facts.regions[here];
        let host_up = facts.hosts.get(host).is_some_and(|host| host.standing == HostStanding::Up);
        if facts.evacuation.is_some() || !host_up {
            let whose = if facts.evacuation.is_some() { None } else { Some(host) };
            return self.is_fenced(group, whose);
        }
        self.date_intents(group, host);
        let Some(session) = self.leases.hosts.get(&(group, host.clone())) else { return false };
        let acted = self.leases.place_of(group, host).is_some_and(|place| session.acted >= place);
        acted && session.reports.get(&vm).is_none_or(|report| report.generation != generation.0)
    }
}

/// True when a VM's migration is open and the host that it comes from gets no leases any more.
fn is_lost(source: &dwcp_state::RegionFacts, vm: VmId) -> bool {
    let Some(vm) = source.moving(vm).and_then(|moving| source.vms.get(&moving.vm)) else { return false };
    let host = source.hosts.get(&vm.host);
    source.evacuation.is_some() || host.is_some_and(|host| host.standing == HostStanding::Lost)
}

/// True while a VM may still come: its migration is open, or it has left under it.
fn comes(source: &dwcp_state::RegionFacts, vm: VmId, id: MigrationId, generation: Generation) -> bool {
    let open = source.migrations.get(&vm).is_some_and(|migration| migration.id == id);
    let left = source.departures.get(&vm).is_some_and(|departure| departure.vm.generation == generation);
    open || left
}

fn released(migration: &Migration, report: &VmReport) -> Switch {
    let transfer = report.transfer.as_ref();
    let took = transfer.map_or_else(Took::default, |transfer| Took {
        bytes: transfer.bytes_done,
        copy_ms: transfer.elapsed_ms,
        downtime_ms: transfer.downtime_ms,
    });
    Switch { vm: migration.vm, migration: migration.id, released: true, failover: None, took }
}

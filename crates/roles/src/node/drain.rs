//! Operations that move VMs: how far they are, and emptying a region or a host.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::FailoverLimits;
use dwcp_state::{
    Command, Drain, Migration, MigrationState, Mode, NewMigration, Operation, OperationKind, OperationState,
    RegionChange, RegionFacts, Stopping, Vm, Want,
};
use dwcp_types::{GroupId, HostId, MigrationId, RegionId, VmId};

use super::Node;
use super::operations::Progress;

/// A VM whose migration failed so often within one drain is left.
const TRIES: usize = 3;

/// A VM that a drain would move, and where to; or why it can't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainStep {
    /// Which.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Where it goes: region and, within its own region, the host.
    pub to: Option<(RegionId, Option<HostId>)>,
    /// Why there, or why nowhere.
    pub reason: String,
}

impl Progress {
    /// Migrations are over when none is open.
    pub(super) fn end_of_moves(&self) -> Option<(OperationState, String)> {
        if self.waiting.len() > self.failing {
            return None;
        }
        let text = format!("{} of {} moved", self.done, self.total);
        Some(match (self.done, self.failing) {
            (_, 0) => (OperationState::Done, text),
            (0, _) => (OperationState::Failed, format!("{text}: {}", self.waiting.join("; "))),
            _ => (OperationState::Partial, format!("{text}: {}", self.waiting.join("; "))),
        })
    }

    /// A drain is over when all that is left can't leave, or when its time is.
    pub(super) fn end_of_drain(&self, late: bool) -> Option<(OperationState, String)> {
        let text = format!("{} of {} moved", self.done, self.total);
        if self.waiting.is_empty() {
            return Some((OperationState::Done, text));
        }
        if !late && self.waiting.len() > self.failing {
            return None;
        }
        let why = if late { " when the time was over" } else { "" };
        Some((OperationState::Partial, format!("{text}{why}; left: {}", self.waiting.join("; "))))
    }
}

/// The reason that a drain closes its region with; by it the region is opened again when the drain is called off.
fn closed_by(operation: &Operation) -> String {
    format!("{} empties it", operation.id)
}

fn moved(state: MigrationState) -> bool {
    matches!(state, MigrationState::Done | MigrationState::TakenOver)
}

fn in_scope<'a>(facts: &'a RegionFacts, drain: &'a Drain) -> impl Iterator<Item = &'a Vm> {
    let there = move |vm: &&Vm| drain.host.as_ref().is_none_or(|host| vm.host == *host);
    facts.vms.values().filter(|vm| vm.want != Want::Deleted).filter(there)
}

fn of_operation<'a>(facts: &'a RegionFacts, operation: &'a Operation) -> impl Iterator<Item = &'a Migration> {
    facts.migrated.iter().filter(move |migration| migration.operation == operation.id)
}

impl Node {
    pub(super) fn progress_of_migrations(&self, operation: &Operation, vms: &[VmId]) -> Progress {
        let mut progress = Progress { total: vms.len(), ..Progress::default() };
        let Some(facts) = self.facts.regions.get(&operation.region) else { return progress };
        let ended: BTreeMap<VmId, &Migration> =
            of_operation(facts, operation).map(|migration| (migration.vm, migration)).collect();
        for id in vms {
            let open = facts.migrations.get(id).filter(|migration| migration.operation == operation.id);
            match (open, ended.get(id)) {
                (Some(open), _) => progress.waiting.push(self.doing(open)),
                (None, Some(ended)) if moved(ended.state) => match self.arrived(ended) {
                    Ok(()) => progress.done += 1,
                    Err(why) => progress.waiting.push(why),
                },
                (None, Some(ended)) => {
                    progress.failing += 1;
                    let (name, why, how) = (&ended.name, &ended.reason, ended.state.name());
                    let lost = ended.state == MigrationState::Lost;
                    let stays = if lost { "was not moved" } else { "is where it was" };
                    progress.waiting.push(format!("{name} {stays}: {why} ({how})"));
                }
                // Ended so long ago that it is no longer kept.
                (None, None) => progress.done += 1,
            }
        }
        progress
    }

    fn doing(&self, migration: &Migration) -> String {
        let what = match (&migration.state, &migration.aim) {
            (MigrationState::Queued, _) => "waits for its turn".to_string(),
            (_, None) => format!("{} makes room for it", migration.to),
            (_, Some(aim)) => format!("on its way to {} in {}", aim.host, migration.to),
        };
        format!("{} {what}", migration.name)
    }

    /// A VM that was switched counts once its new host says that it serves.
    fn arrived(&self, migration: &Migration) -> Result<(), String> {
        let departing = self.facts.regions.values().any(|facts| facts.departures.contains_key(&migration.vm));
        match self.facts.vm(migration.vm) {
            Some((_, vm)) if vm.generation < migration.generation => {}
            Some((_, vm)) if vm.want == Want::Deleted || super::failover::is_as_wanted(vm) => return Ok(()),
            Some((_, vm)) => {
                return Err(format!("{} has moved to {} and does not answer yet", migration.name, vm.host));
            }
            // Deleted since.
            None if !departing => return Ok(()),
            None => {}
        }
        Err(format!("{} is between {} and {}", migration.name, migration.from_host, migration.to))
    }

    pub(super) fn progress_of_drain(&self, operation: &Operation, drain: &Drain) -> Progress {
        let mut progress = Progress::default();
        let Some(facts) = self.facts.regions.get(&operation.region) else { return progress };
        for migration in of_operation(facts, operation).filter(|migration| moved(migration.state)) {
            match self.arrived(migration) {
                Ok(()) => progress.done += 1,
                Err(why) => progress.waiting.push(why),
            }
        }
        let stuck: BTreeMap<VmId, String> = self
            .drain_plan(&operation.region, drain, Some(operation))
            .into_iter()
            .filter(|step| step.to.is_none())
            .map(|step| (step.vm, step.reason))
            .collect();
        for vm in in_scope(facts, drain) {
            match (facts.migrations.get(&vm.id), stuck.get(&vm.id)) {
                (Some(open), _) => progress.waiting.push(self.doing(open)),
                (None, Some(why)) => {
                    progress.failing += 1;
                    progress.waiting.push(format!("{} stays: {why}", vm.name));
                }
                (None, None) => progress.waiting.push(format!("{} is planned", vm.name)),
            }
        }
        progress.total = progress.done + progress.waiting.len();
        progress
    }

    /// Where what is left of a drain goes: what has no open migration.
    pub fn drain_plan(&self, region: &RegionId, drain: &Drain, of: Option<&Operation>) -> Vec<DrainStep> {
        let Some(facts) = self.facts.regions.get(region) else { return Vec::new() };
        // Where all of them go may be long decided, and planning a large region takes its time.
        if in_scope(facts, drain).all(|vm| facts.migrations.contains_key(&vm.id)) {
            return Vec::new();
        }
        let mut steps = match &drain.host {
            Some(host) => self.host_plan(region, host),
            None => self.move_plan(region, &drain.to, BTreeSet::new()),
        };
        let mut tries: BTreeMap<VmId, (usize, &Migration)> = BTreeMap::new();
        for migration in of.into_iter().flat_map(|of| of_operation(facts, of)) {
            if migration.state == MigrationState::Failed {
                tries.entry(migration.vm).or_insert((0, migration)).0 += 1;
            }
        }
        steps.retain(|step| !facts.migrations.contains_key(&step.vm));
        self.hold_protected(&mut steps, drain.mode);
        if drain.mode == Mode::Live {
            self.foresee(region, &mut steps, drain.max_downtime_ms);
        }
        for step in &mut steps {
            if let Some((_, failed)) = tries.get(&step.vm).filter(|(count, _)| *count >= TRIES) {
                step.to = None;
                step.reason = format!("tried {TRIES} times: {}", failed.reason);
            }
        }
        steps
    }

    /// Where VMs of a region go elsewhere: these, or all when none is named.
    pub fn move_plan(&self, region: &RegionId, to: &[RegionId], only: BTreeSet<VmId>) -> Vec<DrainStep> {
        let limits = FailoverLimits { to: to.to_vec(), partial: true, only, ..FailoverLimits::default() };
        let plan = dwcp_decide::plan_failover(&self.facts, &self.measured(), region, &limits);
        let step = |step: dwcp_decide::PlannedMove| DrainStep {
            vm: step.vm,
            name: step.name,
            to: step.to.map(|(region, _)| (region, None)),
            reason: step.reason,
        };
        plan.moves.into_iter().map(step).collect()
    }

    fn host_plan(&self, region: &RegionId, host: &HostId) -> Vec<DrainStep> {
        let plan = dwcp_decide::plan_host_loss(&self.facts, &self.measured(), region, &[host.clone()].into());
        let name = |vm: VmId| self.facts.vm(vm).map(|(_, vm)| vm.name.clone()).unwrap_or_default();
        let here = plan.moves.iter().map(|(vm, _, to)| DrainStep {
            vm: *vm,
            name: name(*vm),
            to: Some((region.clone(), Some(to.clone()))),
            reason: "within its region".to_string(),
        });
        let elsewhere = plan.elsewhere.iter().chain(&plan.left).map(|step| DrainStep {
            vm: step.vm,
            name: step.name.clone(),
            to: step.to.clone().map(|(region, _)| (region, None)),
            reason: step.reason.clone(),
        });
        here.chain(elsewhere).collect()
    }

    /// The next step of emptying a region or a host: closes it for placement, and begins what has a place.
    pub(super) fn drain(&mut self, group: GroupId, operation: &Operation, drain: &Drain) {
        let region = operation.region.clone();
        self.close_for_drain(group, &region, operation, drain);
        let late = self.now.wall.ms_since(operation.started_at) >= drain.timeout_ms;
        if late {
            self.stop_queued(group, &region, operation);
            return;
        }
        if !self.may_move() {
            return;
        }
        let steps = self.drain_plan(&region, drain, Some(operation));
        let begin: Vec<NewMigration> = steps
            .into_iter()
            .filter_map(|step| {
                let (to, host) = step.to?;
                let vm = self.facts.regions[&region].vms.get(&step.vm)?;
                // What is off has nothing to copy but its disk.
                let mode = if vm.want == Want::Stopped { Mode::Cold } else { drain.mode };
                Some(NewMigration {
                    id: MigrationId(self.rng.next_u64()),
                    vm: step.vm,
                    to,
                    host,
                    mode,
                    max_downtime_ms: drain.max_downtime_ms,
                    reason: step.reason,
                })
            })
            .collect();
        for part in self.parts(begin) {
            self.conclude(group, Command::BeginMigrations((part, operation.clone())));
        }
    }

    fn close_for_drain(&mut self, group: GroupId, region: &RegionId, operation: &Operation, drain: &Drain) {
        let reason = closed_by(operation);
        match &drain.host {
            Some(host) => {
                let open = self.facts.regions[region].hosts.get(host).is_some_and(|host| host.placement);
                if open && self.due(format!("close {group} {host}"), 1_000) {
                    self.conclude(group, Command::SetHostPlacement((host.clone(), false)));
                }
            }
            None => {
                let open = self.facts.region(region).is_some_and(|region| region.placement);
                if open && self.due(format!("close {group}"), 1_000) {
                    let change = RegionChange {
                        region: region.clone(),
                        placement: Some(false),
                        reason,
                        ..RegionChange::default()
                    };
                    self.tell_again(0, Command::ChangeRegion(change));
                }
            }
        }
    }

    /// A drain that was called off opens its region again, if it had closed it.
    pub(super) fn reopen_after_drains(&mut self, group: GroupId) {
        let Some(name) = self.facts.region_of(group).cloned() else { return };
        let Some(record) = self.facts.region(&name).filter(|record| !record.placement) else { return };
        let cancelled = self.facts.regions[&name].operations.values().find(|operation| {
            let drain =
                matches!(&operation.kind, OperationKind::Drain(d) if d.placement_before && d.host.is_none());
            drain
                && operation.state == OperationState::Cancelled
                && closed_by(operation) == record.placement_reason
        });
        let Some(reason) = cancelled.map(|operation| format!("{} was called off", operation.id)) else {
            return;
        };
        if self.due(format!("reopen {group}"), 1_000) {
            let change =
                RegionChange { region: name, placement: Some(true), reason, ..RegionChange::default() };
            self.tell_again(0, Command::ChangeRegion(change));
        }
    }

    fn stop_queued(&mut self, group: GroupId, region: &RegionId, operation: &Operation) {
        let facts = &self.facts.regions[region];
        let queued: Vec<(VmId, MigrationId)> = facts
            .migrations
            .values()
            .filter(|m| m.operation == operation.id && m.state == MigrationState::Queued)
            .map(|migration| (migration.vm, migration.id))
            .collect();
        if !queued.is_empty() && self.due(format!("late {}", operation.id), 1_000) {
            let reason = "the time of its drain was over".to_string();
            let stopping = Stopping { state: MigrationState::Cancelled, reason };
            self.conclude(group, Command::StopMigrations((queued, stopping)));
        }
    }
}

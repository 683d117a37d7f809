//! A region's failover, as its group's leader drives it: stop leases, wait until none can hold, plan, let the VMs leave,
//! watch them come up, say how it ended. Each step is computed from facts; nothing is remembered between two. Planning
//! and leaving is `leaving`.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{
    Command, Failover, FailoverState, FailoverVm, Freeze, MoveState, PhaseName, PhaseSpan, Standing, Trigger,
    Vm, Want,
};
use dwcp_types::{GroupId, OperationId, Priority, RegionId, VmId};

use super::progress::became;
use super::{Level, Node};

/// A failover without a time limit of its own ends so long after the first missed heartbeat, ms.
const GIVE_UP_MS: u64 = 300_000;
/// Its end that was told is not told again before, ms.
const END_AGAIN_MS: u64 = 500;
/// VMs of a failover that are looked at for each millisecond until the next look.
const LOOKED_AT_A_MS: u64 = 100;

impl Node {
    /// Founds the federation, once.
    pub(super) fn found(&mut self) {
        if self.facts.core.regions.is_empty() && self.due("found", 1_000) {
            let genesis = Box::new(self.config.genesis.clone());
            self.conclude(0, Command::Found(genesis));
        }
    }

    pub(super) fn declare_lost(&mut self, region: RegionId, witnesses: Vec<RegionId>, silent_ms: u64) {
        let Some(record) = self.facts.region(&region) else { return };
        let epoch = record.epoch;
        let first_missed_at =
            dwcp_types::Wall(self.now.wall.0.saturating_sub(silent_ms.saturating_sub(self.config.beat_ms)));
        let text = format!(
            "{region} is not heard by {} regions for {silent_ms} ms: failing it over",
            witnesses.len()
        );
        self.log("federation-controller", Level::Warning, text);
        let failover = Failover {
            operation: OperationId(self.rng.next_u64()),
            from: region,
            trigger: Trigger::Automatic,
            witnesses,
            min_priority: Priority(0),
            partial: true,
            by: "dwcp".to_string(),
            first_missed_at,
            phases: vec![PhaseSpan {
                name: PhaseName::Detect,
                started_at: first_missed_at,
                ended_at: self.now.wall,
            }],
            ..Failover::default()
        };
        self.conclude(0, Command::DeclareLost((Box::new(failover), epoch)));
    }

    /// Brings the VMs of a lost region back elsewhere; ends the evacuation when the region has returned.
    pub(super) fn evacuate(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let Some(record) = self.facts.region(&region) else { return };
        let (standing, epoch) = (record.standing, record.epoch);
        let facts = &self.facts.regions[&region];
        if standing != Standing::Lost {
            if let Some(running) = facts.evacuation {
                if running <= epoch && self.due(format!("end evacuation {group}"), 1_000) {
                    self.conclude(group, Command::EndEvacuation(running));
                }
            }
            return;
        }
        if facts.evacuation.is_none_or(|running| running < epoch) {
            if facts.evacuated < epoch && self.due(format!("evacuate {group} {epoch}"), 1_000) {
                self.conclude(group, Command::BeginEvacuation(epoch));
            }
            return;
        }
        if !self.is_fenced(group, None) {
            if self.due(format!("waits for leases {group}"), 5_000) {
                let text = format!(
                    "{region}: waiting until every lease must have run out ({})",
                    self.fence_report(group)
                );
                self.log("federation-controller", Level::Info, text);
            }
            return;
        }
        let running =
            self.facts.core.running_failover(&region).map(|failover| (failover.id, failover.vms.len()));
        let Some((id, vms)) = running else {
            self.send_rest_away(group, &region);
            return;
        };
        // Looking at each of its VMs takes a while when there are many.
        if !self.due(format!("look at {id}"), vms as u64 / LOOKED_AT_A_MS) {
            return;
        }
        let failover = self.facts.core.failovers[&id].clone();
        if failover.phases.iter().all(|phase| phase.name < PhaseName::Fence) {
            let key = format!("{}-fenced", failover.id);
            self.tell(0, key, Command::EndPhase((failover.id, PhaseName::Fence)));
        }
        self.send_away(group, &region, &failover);
        self.watch_failover(&region, &failover);
    }

    /// Ends the failover when every VM serves elsewhere, or nothing more will, or its time is up.
    fn watch_failover(&mut self, region: &RegionId, failover: &Failover) {
        let running_ms = self.now.wall.ms_since(failover.first_missed_at);
        let out_of_time = running_ms >= failover.max_time_ms.unwrap_or(GIVE_UP_MS).max(1_000);
        let planned = failover.phases.iter().any(|phase| phase.name >= PhaseName::Plan);
        if !planned && !out_of_time {
            return;
        }
        let mut vms = self.progress_of(failover);
        let waiting = vms.iter().filter(|vm| vm.state == MoveState::Waiting).count();
        let started = vms.iter().filter(|vm| vm.state == MoveState::Waiting).all(|vm| self.is_started(vm.vm));
        let restarted = failover.phases.iter().any(|phase| phase.name == PhaseName::Restart);
        if planned && started && !restarted {
            let key = format!("{}-restarted", failover.id);
            self.tell(0, key, Command::EndPhase((failover.id, PhaseName::Restart)));
        }
        let facts = &self.facts.regions[region];
        let settled = planned
            && waiting == 0
            && self.moves_are_settled(region, failover)
            && facts.departures.values().all(|departure| departure.failover != Some(failover.id));
        if (!settled && !out_of_time) || !self.due(format!("end {}", failover.id), END_AGAIN_MS) {
            return;
        }
        let done = vms.iter().all(|vm| vm.state == MoveState::Verified);
        let before: BTreeMap<VmId, MoveState> = failover.vms.iter().map(|vm| (vm.vm, vm.state)).collect();
        vms.retain(|vm| vm.state == MoveState::Verified && before[&vm.vm] != MoveState::Verified);
        if out_of_time {
            vms.extend(self.never_planned(region, failover));
        }
        let done = done && vms.iter().all(|vm| vm.state == MoveState::Verified);
        let state = if done { FailoverState::Done } else { FailoverState::Partial };
        self.record(failover, vms, |id, rest| Command::EndFailover((id, (state, rest))));
    }

    /// False while VMs of the region are moving, and until those that were lost in mid-copy are planned.
    fn moves_are_settled(&self, region: &RegionId, failover: &Failover) -> bool {
        let facts = &self.facts.regions[region];
        let planned = |vm: &Vm| {
            vm.priority < failover.min_priority
                || vm.want == Want::Deleted
                || failover.vms.iter().any(|planned| planned.vm == vm.id)
        };
        facts
            .vms
            .values()
            .all(|vm| facts.moving(vm.id).is_none() && (facts.lost_in_mid_copy(vm).is_none() || planned(vm)))
    }

    /// VMs that are where they were and that no plan names: nothing was decided about them.
    fn never_planned(&self, region: &RegionId, failover: &Failover) -> Vec<FailoverVm> {
        let named: BTreeSet<VmId> = failover.vms.iter().map(|vm| vm.vm).collect();
        let freeze = self.facts.core.freeze;
        let there = self.facts.regions[region].vms.values();
        there
            .filter(|vm| vm.want != Want::Deleted && vm.drill.is_none())
            .filter(|vm| vm.priority >= failover.min_priority)
            .filter(|vm| !named.contains(&vm.id))
            .map(|vm| FailoverVm {
                vm: vm.id,
                name: vm.name.clone(),
                priority: vm.priority,
                from_host: vm.host.clone(),
                generation: vm.next_generation(),
                state: MoveState::Left,
                reason: match freeze {
                    Freeze::Active => "no plan was made in time".to_string(),
                    _ => format!("the freeze switch is {freeze:?}: nothing was planned in time"),
                },
                ..FailoverVm::default()
            })
            .collect()
    }

    pub(super) fn is_started(&self, vm: VmId) -> bool {
        self.facts.vm(vm).is_some_and(|(_, vm)| {
            vm.observed.generation == vm.generation && vm.observed.phase == dwcp_state::Phase::Running
        })
    }

    /// What has become of each VM of a failover, from the facts of the regions they went to.
    pub fn progress_of(&self, failover: &Failover) -> Vec<FailoverVm> {
        if failover.state != FailoverState::Running {
            return failover.vms.clone();
        }
        failover.vms.iter().map(|planned| became(&self.facts, failover, planned)).collect()
    }
}

/// True when the VM does what people want of it.
pub(super) fn is_as_wanted(vm: &Vm) -> bool {
    match vm.want {
        Want::Running => vm.serves(),
        Want::Stopped => true,
        Want::Deleted => false,
    }
}

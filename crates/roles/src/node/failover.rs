//! A region's failover, as its group's leader drives it: stop leases, wait until none can hold, plan, let the VMs leave,
//! watch them come up, say how it ended. Each step is computed from facts; nothing is remembered between two.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::FailoverLimits;
use dwcp_state::{
    Command, Departing, Failover, FailoverState, FailoverVm, MoveState, PhaseName, PhaseSpan, Standing,
    Trigger, Vm, Want,
};
use dwcp_types::{GroupId, HostId, OperationId, Priority, RegionId, VmId};

use super::{Level, Node};

/// Between two plans for what did not fit, ms.
const REPLAN_MS: u64 = 1_000;
/// A VM that does not serve so long after it was planned has failed to come up, ms.
const GIVE_UP_MS: u64 = 300_000;

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
        let failover = self.facts.core.running_failover(&region).cloned();
        if let Some(failover) = &failover {
            if failover.phases.iter().all(|phase| phase.name < PhaseName::Fence) {
                self.tell(
                    0,
                    format!("{}-fenced", failover.id),
                    Command::EndPhase((failover.id, PhaseName::Fence)),
                );
            }
        }
        self.send_away(group, &region, failover.as_ref());
        if let Some(failover) = failover {
            self.watch_failover(&region, failover);
        }
    }

    /// Plans whatever is still here, and lets it leave.
    fn send_away(&mut self, group: GroupId, region: &RegionId, failover: Option<&Failover>) {
        let facts = &self.facts.regions[region];
        let planned = failover.is_none_or(|failover| !failover.vms.is_empty());
        let movable = facts.vms.values().any(|vm| vm.want != Want::Deleted);
        let hosts: BTreeSet<HostId> = facts.hosts.keys().cloned().collect();
        if (planned && facts.vms.is_empty()) || !self.may_move() {
            return;
        }
        if !self.due(format!("plan {group}"), REPLAN_MS) {
            return;
        }
        self.purge_deleted(group, &hosts);
        if !movable && planned {
            return;
        }
        let limits = FailoverLimits {
            to: failover.map_or_else(Vec::new, |failover| failover.to.clone()),
            min_priority: failover.map(|failover| failover.min_priority),
            partial: true,
        };
        let measured = self.measured();
        let plan = dwcp_decide::plan_failover(&self.facts, &measured, region, &limits);
        let leaving: Vec<Departing> = plan
            .moves
            .iter()
            .filter_map(|step| {
                let (to, host) = step.to.clone()?;
                Some(Departing { vm: step.vm, generation: step.generation, to, host: Some(host) })
            })
            .collect();
        if !leaving.is_empty() {
            self.conclude(group, Command::Depart((failover.map(|failover| failover.id), leaving)));
        }
        if let Some(failover) = failover {
            self.record_plan(failover, &plan.moves);
        }
    }

    /// Writes the plan into the failover's record, on top of what an earlier plan said.
    fn record_plan(&mut self, failover: &Failover, moves: &[dwcp_decide::PlannedMove]) {
        let mut vms: BTreeMap<VmId, FailoverVm> = failover.vms.iter().map(|vm| (vm.vm, vm.clone())).collect();
        for step in moves {
            let to = step.to.clone();
            let vm = FailoverVm {
                vm: step.vm,
                name: step.name.clone(),
                priority: step.priority,
                from_host: step.from_host.clone(),
                to_region: to.as_ref().map(|(region, _)| region.clone()),
                to_host: to.map(|(_, host)| host),
                generation: step.generation.next(),
                state: if step.to.is_some() { MoveState::Waiting } else { MoveState::Left },
                reason: step.reason.clone(),
                verified_at: None,
            };
            vms.insert(step.vm, vm);
        }
        let mut vms: Vec<FailoverVm> = vms.into_values().collect();
        vms.sort_by_key(|vm| (std::cmp::Reverse(vm.priority), vm.vm));
        if vms != failover.vms || failover.phases.iter().all(|phase| phase.name < PhaseName::Plan) {
            let key = format!("{}-plan-{:x}", failover.id, super::intents::digest(&dwcp_types::encode(&vms)));
            self.tell(0, key, Command::PlanFailover((failover.id, vms)));
        }
    }

    /// Ends the failover when every VM serves elsewhere, or nothing more will.
    fn watch_failover(&mut self, region: &RegionId, failover: Failover) {
        if failover.phases.iter().all(|phase| phase.name < PhaseName::Plan) {
            return;
        }
        let vms = self.progress_of(&failover);
        let running_ms = self.now.wall.ms_since(failover.first_missed_at);
        let waiting = vms.iter().filter(|vm| vm.state == MoveState::Waiting).count();
        let started = vms.iter().filter(|vm| vm.state == MoveState::Waiting).all(|vm| self.is_started(vm.vm));
        let restarted = failover.phases.iter().any(|phase| phase.name == PhaseName::Restart);
        if started && !restarted {
            let key = format!("{}-restarted", failover.id);
            self.tell(0, key, Command::EndPhase((failover.id, PhaseName::Restart)));
        }
        let facts = &self.facts.regions[region];
        let settled = waiting == 0
            && facts.departures.values().all(|departure| departure.failover != Some(failover.id));
        let out_of_time = running_ms >= failover.max_time_ms.unwrap_or(GIVE_UP_MS).max(1_000);
        if (!settled && !out_of_time) || !self.due(format!("end {}", failover.id), 2_000) {
            return;
        }
        let vms: Vec<FailoverVm> = vms
            .into_iter()
            .map(|vm| match vm.state {
                MoveState::Waiting => FailoverVm {
                    state: MoveState::Failed,
                    reason: format!("does not answer {running_ms} ms after the first missed heartbeat"),
                    ..vm
                },
                _ => vm,
            })
            .collect();
        let done = vms.iter().all(|vm| vm.state == MoveState::Verified);
        let state = if done { FailoverState::Done } else { FailoverState::Partial };
        let key = format!(
            "{}-end-{}",
            failover.id,
            vms.iter().filter(|vm| vm.state == MoveState::Verified).count()
        );
        self.tell(0, key, Command::EndFailover((failover.id, (state, vms))));
    }

    fn is_started(&self, vm: VmId) -> bool {
        self.facts.vm(vm).is_some_and(|(_, vm)| {
            vm.observed.generation == vm.generation && vm.observed.phase == dwcp_state::Phase::Running
        })
    }

    /// What has become of each VM of a failover, from the facts of the regions they went to.
    pub fn progress_of(&self, failover: &Failover) -> Vec<FailoverVm> {
        if failover.state != FailoverState::Running {
            return failover.vms.clone();
        }
        failover.vms.iter().map(|planned| self.progress_of_vm(failover, planned)).collect()
    }

    fn progress_of_vm(&self, failover: &Failover, planned: &FailoverVm) -> FailoverVm {
        let mut vm = planned.clone();
        let departing = self.facts.regions.values().any(|facts| facts.departures.contains_key(&planned.vm));
        match self.facts.vm(planned.vm) {
            Some((region, found)) if *region != failover.from => {
                vm.to_region = Some(region.clone());
                vm.to_host = Some(found.host.clone());
                vm.generation = found.generation;
                if is_as_wanted(found) {
                    vm.state = MoveState::Verified;
                    vm.verified_at = Some(found.observed.at);
                } else {
                    vm.state = MoveState::Waiting;
                }
            }
            Some(_) if !departing => {}
            Some(_) => vm.state = MoveState::Waiting,
            None if departing => vm.state = MoveState::Waiting,
            // Deleted while it was on its way.
            None => {
                vm.state = MoveState::Verified;
                vm.reason = "deleted meanwhile".to_string();
            }
        }
        vm
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

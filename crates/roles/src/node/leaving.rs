//! Who goes where when a region is lost, and that they leave.
//!
//! A failover's plan is first recorded in the federation's group, and only what is recorded there leaves. So its record
//! names every VM that left, whoever leads by then, and a failover that is called off before anything was recorded moves
//! nothing. Both are told in parts.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::{FailoverLimits, PlannedMove};
use dwcp_state::{Command, Departing, Failover, FailoverVm, MoveState, PhaseName, Vm, Want};
use dwcp_types::{FailoverId, GroupId, HostId, RegionId, VmId};

use super::Node;

/// Between two plans for what did not fit, ms.
const REPLAN_MS: u64 = 1_000;
/// A departure that was proposed is not proposed again before, ms.
const DEPART_AGAIN_MS: u64 = 1_000;
/// Parts of a record that are told at once; the next when these are known.
const PARTS_AT_ONCE: usize = 32;

impl Node {
    /// Lets leave what has its place, and plans the rest.
    pub(super) fn send_away(&mut self, group: GroupId, region: &RegionId, failover: &Failover) {
        if !self.may_move() {
            return;
        }
        let facts = &self.facts.regions[region];
        let (leaving, open) = (leaving(facts.vms.values(), failover), facts.vms.len());
        let open = open - leaving.len();
        if !leaving.is_empty() && self.due(format!("depart {group}"), DEPART_AGAIN_MS) {
            self.let_leave(group, Some(failover.id), leaving);
        }
        let planned = failover.phases.iter().any(|phase| phase.name >= PhaseName::Plan);
        if (planned && open == 0) || !self.due(format!("plan {group}"), REPLAN_MS) {
            return;
        }
        self.purge_all_deleted(group, region);
        let limits = FailoverLimits {
            to: failover.to.clone(),
            min_priority: Some(failover.min_priority),
            partial: true,
            ..FailoverLimits::default()
        };
        let plan = dwcp_decide::plan_failover(&self.facts, &self.measured(), region, &limits);
        let recorded: BTreeMap<VmId, &FailoverVm> = failover.vms.iter().map(|vm| (vm.vm, vm)).collect();
        let news: Vec<FailoverVm> = plan
            .moves
            .iter()
            .map(as_planned)
            .filter(|vm| recorded.get(&vm.vm).is_none_or(|known| !has_place(known, vm) && *known != vm))
            .collect();
        if !news.is_empty() || !planned {
            self.record(failover, news, |id, rest| Command::PlanFailover((id, rest)));
        }
    }

    /// Lets the VMs of a lost region leave that its failover left behind, once there is room for them.
    pub(super) fn send_rest_away(&mut self, group: GroupId, region: &RegionId) {
        let none = self.facts.regions[region].vms.is_empty();
        if none || !self.may_move() || !self.due(format!("plan {group}"), REPLAN_MS) {
            return;
        }
        self.purge_all_deleted(group, region);
        let limits = FailoverLimits { partial: true, ..FailoverLimits::default() };
        let plan = dwcp_decide::plan_failover(&self.facts, &self.measured(), region, &limits);
        let leaving = plan.moves.into_iter().filter_map(|step| {
            let (to, host) = step.to?;
            Some(Departing { vm: step.vm, generation: step.generation, to, host: Some(host) })
        });
        self.let_leave(group, None, leaving.collect());
    }

    /// Lets VMs leave a fenced region or host.
    pub(super) fn let_leave(&mut self, group: GroupId, failover: Option<FailoverId>, vms: Vec<Departing>) {
        for part in self.parts(vms) {
            self.conclude(group, Command::Depart((failover, part)));
        }
    }

    fn purge_all_deleted(&mut self, group: GroupId, region: &RegionId) {
        let hosts: BTreeSet<HostId> = self.facts.regions[region].hosts.keys().cloned().collect();
        self.purge_deleted(group, &hosts);
    }

    /// Tells what has become of VMs of a failover: in parts, and the last of them with `last`, once the others are known.
    pub(super) fn record(
        &mut self,
        failover: &Failover,
        news: Vec<FailoverVm>,
        last: impl FnOnce(FailoverId, Vec<FailoverVm>) -> Command,
    ) {
        let id = failover.id;
        if self.is_telling(|command| matches!(command, Command::RecordVms((of, _)) if *of == id)) {
            return;
        }
        let mut parts = self.parts(news);
        if parts.len() <= 1 {
            let command = last(id, parts.pop().unwrap_or_default());
            self.tell_again(0, command);
            return;
        }
        for part in parts.into_iter().take(PARTS_AT_ONCE) {
            self.tell_again(0, Command::RecordVms((id, part)));
        }
    }
}

/// What leaves: VMs that are where they were, under the generation that their recorded place is for.
fn leaving<'a>(there: impl Iterator<Item = &'a Vm>, failover: &Failover) -> Vec<Departing> {
    let there: BTreeMap<VmId, &Vm> =
        there.filter(|vm| vm.want != Want::Deleted).map(|vm| (vm.id, vm)).collect();
    let placed = failover.vms.iter().filter(|planned| planned.state == MoveState::Waiting);
    placed
        .filter_map(|planned| {
            let vm = there.get(&planned.vm).filter(|vm| vm.next_generation() == planned.generation)?;
            let (to, host) = (planned.to_region.clone()?, planned.to_host.clone());
            Some(Departing { vm: vm.id, generation: vm.generation, to, host })
        })
        .collect()
}

/// True when the recorded place still stands: the VM has not come back under a further generation since.
fn has_place(recorded: &FailoverVm, planned: &FailoverVm) -> bool {
    recorded.state == MoveState::Waiting
        && recorded.to_region.is_some()
        && recorded.generation == planned.generation
}

fn as_planned(step: &PlannedMove) -> FailoverVm {
    let to = step.to.clone();
    FailoverVm {
        vm: step.vm,
        name: step.name.clone(),
        priority: step.priority,
        from_host: step.from_host.clone(),
        to_region: to.as_ref().map(|(region, _)| region.clone()),
        to_host: to.map(|(_, host)| host),
        generation: step.next,
        state: if step.to.is_some() { MoveState::Waiting } else { MoveState::Left },
        reason: step.reason.clone(),
        verified_at: None,
        disk: step.disk,
    }
}

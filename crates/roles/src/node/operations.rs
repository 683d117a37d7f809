//! Ends operations when the facts say that they are done, or that they never will be.

use dwcp_state::{Command, Operation, OperationKind, OperationState, Phase, Want};
use dwcp_types::{GroupId, VmId};

use super::Node;

/// An operation on VMs that is not done by then has failed, ms.
const OPERATION_LIMIT_MS: u64 = 600_000;

/// How far an operation on VMs is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// VMs that are as wanted.
    pub done: usize,
    /// All VMs of the operation.
    pub total: usize,
    /// What the others are waiting for.
    pub waiting: Vec<String>,
}

impl Node {
    pub(super) fn close_operations(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let running: Vec<Operation> = self.facts.regions[region]
            .operations
            .values()
            .filter(|operation| operation.state == OperationState::Running)
            .cloned()
            .collect();
        for operation in running {
            let progress = self.progress(&operation);
            let age_ms = self.now.wall.ms_since(operation.started_at);
            let end = if progress.done == progress.total {
                Some((OperationState::Done, format!("{} of {} done", progress.done, progress.total)))
            } else if age_ms >= OPERATION_LIMIT_MS {
                let state = if progress.done > 0 { OperationState::Partial } else { OperationState::Failed };
                Some((state, format!("gave up after {} s: {}", age_ms / 1_000, progress.waiting.join("; "))))
            } else {
                None
            };
            if let Some(end) = end {
                if self.due(format!("close {}", operation.id), 2_000) {
                    self.conclude(group, Command::EndOperation((operation.id, end)));
                }
            }
        }
    }

    /// How far an operation is, from the facts.
    pub fn progress(&self, operation: &Operation) -> Progress {
        let mut progress = Progress::default();
        let vms: &[VmId] = match &operation.kind {
            OperationKind::CreateVms(vms) | OperationKind::ChangeVms(vms) => vms,
            OperationKind::Failover(id) => {
                let Some(failover) = self.facts.core.failovers.get(id) else { return progress };
                let vms = self.progress_of(failover);
                progress.total = vms.len();
                progress.done = vms.iter().filter(|vm| vm.state == dwcp_state::MoveState::Verified).count();
                return progress;
            }
            OperationKind::Nothing => &[],
        };
        progress.total = vms.len();
        for id in vms {
            match self.unfinished(*id) {
                None => progress.done += 1,
                Some(why) => progress.waiting.push(why),
            }
        }
        progress
    }

    /// Why a VM is not as wanted yet; none when it is.
    fn unfinished(&self, id: VmId) -> Option<String> {
        let on_its_way = self.facts.regions.values().find_map(|facts| facts.departures.get(&id));
        let Some((region, vm)) = self.facts.vm(id) else {
            return on_its_way
                .map(|departure| format!("{} is on its way to {}", departure.vm.name, departure.to));
        };
        let seen = vm.observed.generation == vm.generation;
        let done = match vm.want {
            Want::Running => vm.serves(),
            Want::Stopped => seen && vm.observed.phase == Phase::Stopped,
            Want::Deleted => false,
        };
        (!done).then(|| {
            let phase =
                if seen { format!("{:?}", vm.observed.phase).to_lowercase() } else { "not started".into() };
            let why = if vm.observed.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", vm.observed.reason)
            };
            format!("{} is {phase} on {} in {region}{why}", vm.name, vm.host)
        })
    }
}

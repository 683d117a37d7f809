//! Ends operations when the facts say that they are done, or that they never will be.

use dwcp_state::{Command, Operation, OperationKind, OperationState, Phase, Want};
use dwcp_types::{GroupId, VmId};

use super::Node;

/// An operation on VMs that is not done by then has failed, ms.
const OPERATION_LIMIT_MS: u64 = 600_000;
/// Nor does one wait longer for VMs that all fail to start, ms; their host goes on trying.
const FAILING_LIMIT_MS: u64 = 30_000;
/// Between two looks at a drain, ms.
const DRAIN_MS: u64 = 500;

/// How far an operation on VMs is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// VMs that are as wanted.
    pub done: usize,
    /// All VMs of the operation.
    pub total: usize,
    /// What the others are waiting for.
    pub waiting: Vec<String>,
    /// How many of those fail to start, or can't be moved.
    pub failing: usize,
}

impl Progress {
    /// How an operation of that age ends; none when it goes on.
    fn end(&self, age_ms: u64) -> Option<(OperationState, String)> {
        if self.done == self.total {
            return Some((OperationState::Done, format!("{} of {} done", self.done, self.total)));
        }
        let failing = self.failing == self.waiting.len() && age_ms >= FAILING_LIMIT_MS;
        if !failing && age_ms < OPERATION_LIMIT_MS {
            return None;
        }
        let state = if self.done > 0 { OperationState::Partial } else { OperationState::Failed };
        Some((state, format!("gave up after {} s: {}", age_ms / 1_000, self.waiting.join("; "))))
    }
}

impl Node {
    pub(super) fn close_operations(&mut self, group: GroupId) {
        self.reopen_after_drains(group);
        let Some(region) = self.facts.region_of(group) else { return };
        let running: Vec<Operation> = self.facts.regions[region]
            .operations
            .values()
            .filter(|operation| operation.state == OperationState::Running)
            .cloned()
            .collect();
        for operation in running {
            let age_ms = self.now.wall.ms_since(operation.started_at);
            // What is left of a drain is planned anew at each look.
            let drain = matches!(operation.kind, OperationKind::Drain(_));
            if drain && !self.due(format!("drain {}", operation.id), DRAIN_MS) {
                continue;
            }
            let progress = self.progress(&operation);
            let end = match &operation.kind {
                OperationKind::MigrateVms(_) => progress.end_of_moves(),
                OperationKind::Drain(drain) => {
                    self.drain(group, &operation, drain);
                    progress.end_of_drain(age_ms >= drain.timeout_ms)
                }
                _ => progress.end(age_ms),
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
            OperationKind::MigrateVms(vms) => return self.progress_of_migrations(operation, vms),
            OperationKind::Drain(drain) => return self.progress_of_drain(operation, drain),
            OperationKind::ForceSync(sync) => return self.progress_of_sync(operation, sync),
            OperationKind::Upgrade(upgrade) => return self.progress_of_upgrade(operation, upgrade),
            OperationKind::Backup(_) => {
                progress.total = 1;
                return progress;
            }
            OperationKind::Nothing => &[],
        };
        progress.total = vms.len();
        for id in vms {
            match self.unfinished(*id) {
                None => progress.done += 1,
                Some(why) => {
                    progress.failing += usize::from(self.fails(*id));
                    progress.waiting.push(why);
                }
            }
        }
        progress
    }

    /// True when a VM's host says that it can't be started.
    fn fails(&self, id: VmId) -> bool {
        self.facts.vm(id).is_some_and(|(_, vm)| {
            vm.observed.generation == vm.generation && vm.observed.phase == Phase::Failed
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_does_not_wait_ten_minutes_for_vms_that_all_fail_to_start() {
        let of = |done: usize, waiting: usize, failing: usize| Progress {
            done,
            total: done + waiting,
            waiting: vec!["web is failed".to_string(); waiting],
            failing,
        };
        assert_eq!(of(1, 0, 0).end(0).map(|end| end.0), Some(OperationState::Done));
        assert_eq!(of(0, 1, 1).end(29_000), None, "it may start at the next try");
        let (state, why) = of(0, 1, 1).end(30_000).expect("it ends");
        assert_eq!(state, OperationState::Failed);
        assert!(why.contains("web is failed"), "{why}");
        assert_eq!(of(1, 1, 1).end(30_000).map(|end| end.0), Some(OperationState::Partial));
        assert_eq!(of(0, 2, 1).end(30_000), None, "one of them still boots");
        assert_eq!(of(0, 2, 1).end(600_000).map(|end| end.0), Some(OperationState::Failed));
    }
}

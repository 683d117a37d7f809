//! Which of the VMs that are to move begin now.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dwcp_state::{Migration, MigrationState, RegionFacts};
use dwcp_types::{HostId, MigrationId, RegionId, VmId};

/// How many may move at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationLimits {
    /// From one region to one other, or within one.
    pub per_link: usize,
    /// From one host.
    pub per_host: usize,
}

/// The queued migrations of a region whose turn it is: the most important first, then the smallest, so that most are safe
/// soonest, then the one that was asked for first.
pub fn next_migrations(facts: &RegionFacts, limits: MigrationLimits) -> Vec<(VmId, MigrationId)> {
    let mut on_link: BTreeMap<&RegionId, usize> = BTreeMap::new();
    let mut on_host: BTreeMap<&HostId, usize> = BTreeMap::new();
    let mut queue: Vec<&Migration> = Vec::new();
    for migration in facts.migrations.values() {
        if migration.state == MigrationState::Running {
            *on_link.entry(&migration.to).or_default() += 1;
            *on_host.entry(&migration.from_host).or_default() += 1;
        } else {
            queue.push(migration);
        }
    }
    // Nearly always most of a long queue waits for links that are busy.
    let room = |migration: &&Migration| {
        on_link.get(&migration.to).is_none_or(|count| *count < limits.per_link)
            && on_host.get(&migration.from_host).is_none_or(|count| *count < limits.per_host)
    };
    queue.retain(room);
    let memory = |vm: &VmId| facts.vms.get(vm).map_or(0, |vm| vm.spec.size.memory_mib);
    queue.sort_by_cached_key(|m| (Reverse(m.priority), memory(&m.vm), m.asked_at, m.id));
    let mut begin = Vec::new();
    for migration in queue {
        let link = on_link.entry(&migration.to).or_default();
        let host = on_host.entry(&migration.from_host).or_default();
        if *link < limits.per_link && *host < limits.per_host {
            *link += 1;
            *host += 1;
            begin.push((migration.vm, migration.id));
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use dwcp_state::Vm;
    use dwcp_types::{Priority, Wall};

    use super::*;

    fn queued(id: u64, host: &str, to: &str, priority: u8, memory_mib: u64) -> (Migration, Vm) {
        let migration = Migration {
            id: MigrationId(id),
            vm: VmId(id),
            priority: Priority(priority),
            from_host: host.into(),
            to: to.into(),
            asked_at: Wall(id),
            ..Migration::default()
        };
        let mut vm = Vm { id: VmId(id), host: host.into(), ..Vm::default() };
        vm.spec.size.memory_mib = memory_mib;
        (migration, vm)
    }

    fn next(queue: Vec<(Migration, Vm)>, per_link: usize, per_host: usize) -> Vec<u64> {
        let mut facts = RegionFacts::default();
        for (migration, vm) in queue {
            facts.migrations.insert(vm.id, migration);
            facts.vms.insert(vm.id, vm);
        }
        next_migrations(&facts, MigrationLimits { per_link, per_host })
            .into_iter()
            .map(|(vm, _)| vm.0)
            .collect()
    }

    #[test]
    fn the_most_important_begins_then_the_smallest() {
        let queue = vec![
            queued(1, "h1", "b", 50, 512),
            queued(2, "h2", "b", 50, 128),
            queued(3, "h3", "b", 90, 4_096),
        ];
        assert_eq!(next(queue, 2, 2), vec![3, 2]);
    }

    #[test]
    fn neither_a_link_nor_a_host_takes_more_than_its_limit() {
        let mut running = queued(1, "h1", "b", 50, 128);
        running.0.state = MigrationState::Running;
        let queue = vec![
            running,
            queued(2, "h1", "b", 50, 128),
            queued(3, "h1", "c", 50, 128),
            queued(4, "h2", "b", 50, 128),
        ];
        assert_eq!(next(queue.clone(), 1, 2), vec![3], "the link to b is busy");
        assert_eq!(next(queue, 4, 1), vec![4], "h1 is busy");
    }
}

//! One region is killed and nothing else goes wrong: its VMs must answer from other regions in time.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{MoveState, Want};
use dwcp_types::{NodeId, VmId};

use super::settle;
use crate::client;
use crate::faults::Fault;
use crate::world::{Event, World};

/// VMs with room elsewhere answer after, µs.
const RETURN_US: u64 = 30_000_000;
/// Nothing else goes wrong for, µs after the kill.
const ALONE_US: u64 = 40_000_000;
/// The region is killed at, µs.
const KILL_US: u64 = 25_000_000;

/// Lives through a drill; writes down when the last VM had returned, ms after the kill.
///
/// # Errors
/// A VM did not return in time, or whatever a checker objects to.
pub(super) fn live(world: &mut World, returned_ms: &mut Option<u64>) -> Result<u64, String> {
    world.schedule(0, Event::Client);
    world.run_until(6_000_000)?;
    for _ in 0..world.options.vms + 4 {
        client::create(world, world.options.ruled);
        let next_us = world.now_us + 200_000;
        world.run_until(next_us)?;
    }
    tokens(world, 2);
    let kill_us = KILL_US + world.rng.below(3_000_000);
    world.run_until(kill_us)?;
    let node = target(world);
    let doomed = running_in(world, node);
    world.strike(Fault::KillRegion(node));
    tokens(world, 4);
    let mut missing: BTreeSet<VmId> = doomed.keys().copied().collect();
    while !missing.is_empty() && world.now_us < kill_us + RETURN_US {
        let next_us = world.now_us + 100_000;
        world.run_until(next_us)?;
        let answering: BTreeSet<VmId> = world
            .hosts
            .iter()
            .filter(|host| host.alive)
            .flat_map(|host| host.answering(world.now_us))
            .map(|(vm, _)| vm)
            .collect();
        missing.retain(|vm| !answering.contains(vm));
        if missing.is_empty() {
            *returned_ms = Some((world.now_us - kill_us) / 1_000);
        }
    }
    // With rules a VM may fit nowhere else. Without any there is room for all, so nothing excuses the one that is missing.
    let without_room = if world.options.ruled { left(world, node) } else { BTreeSet::new() };
    if let Some(vm) = missing.iter().find(|vm| !without_room.contains(*vm)) {
        let seconds = RETURN_US / 1_000_000;
        let region = world.options.region(node);
        return Err(format!("{} ({vm}) does not answer {seconds} s after {region} was killed", doomed[vm]));
    }
    world.run_until(kill_us + ALONE_US)?;
    world.strike(Fault::StartRegion(node));
    world.heal();
    settle(world)
}

/// People make and revoke tokens; also while a region dies.
fn tokens(world: &mut World, count: usize) {
    if world.options.revocations {
        (0..count).for_each(|_| client::token(world));
    }
}

/// The region to kill: any of those with most to lose.
fn target(world: &mut World) -> NodeId {
    let counts: Vec<(NodeId, usize)> =
        (1..=world.options.regions as NodeId).map(|node| (node, running_in(world, node).len())).collect();
    let busy: Vec<NodeId> = counts.iter().filter(|(_, count)| *count > 0).map(|(node, _)| *node).collect();
    let at = world.rng.below(busy.len().max(1) as u64) as usize;
    busy.get(at).copied().unwrap_or(1)
}

/// VMs that answer in a region and are wanted, with their names.
fn running_in(world: &World, node: NodeId) -> BTreeMap<VmId, String> {
    let region = world.options.region(node);
    let Some(machine) = world.nodes[&node].node.as_ref() else { return BTreeMap::new() };
    let answering: BTreeSet<VmId> = world
        .hosts
        .iter()
        .filter(|host| host.home == node)
        .flat_map(|host| host.answering(world.now_us))
        .map(|(vm, _)| vm)
        .collect();
    let Some(facts) = machine.facts().regions.get(&region) else { return BTreeMap::new() };
    let wanted = facts.vms.values().filter(|vm| vm.want == Want::Running && answering.contains(&vm.id));
    wanted.map(|vm| (vm.id, vm.name.clone())).collect()
}

/// VMs that fit nowhere else, as the failover says.
fn left(world: &World, node: NodeId) -> BTreeSet<VmId> {
    let region = world.options.region(node);
    let alive = world.nodes.values().filter_map(|slot| slot.node.as_ref());
    let newest = alive.max_by_key(|machine| machine.facts().revision(0));
    let failovers = newest.iter().flat_map(|machine| machine.facts().core.failovers.values());
    let vms = failovers.filter(|failover| failover.from == region).flat_map(|failover| &failover.vms);
    vms.filter(|vm| vm.state == MoveState::Left).map(|vm| vm.vm).collect()
}

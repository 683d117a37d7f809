//! A partition strikes while people use the federation; when it has healed, all of it must soon be as it should, and stay so.

use super::{FAULTS_BEGIN_US, settle};
use crate::client;
use crate::faults::Fault;
use crate::partitions::{Beside, Partition};
use crate::world::{Event, World};

/// After everything has converged it is looked at for so long whether anything moves still, µs.
const QUIET_US: u64 = 20_000_000;
/// What crashed comes back after at least and at most, µs.
const DOWN_US: (u64, u64) = (1_000_000, 20_000_000);

/// Lives through it; returns how long it took to converge after healing, ms.
///
/// # Errors
/// Whatever a checker objects to, or that it did not converge in time.
pub(super) fn live(world: &mut World, partition: &Partition) -> Result<u64, String> {
    world.schedule(0, Event::Client);
    world.run_until(6_000_000)?;
    for _ in 0..world.options.vms {
        client::create(world, world.options.ruled);
        let next_us = world.now_us + 200_000;
        world.run_until(next_us)?;
    }
    world.client.active = true;
    world.run_until(FAULTS_BEGIN_US)?;
    world.note(format!("a {} partition, {}", partition.kind.name(), partition.shape.name()));
    world.disaster_begins(partition.moves_allowed());
    for (in_us, fault) in partition.faults() {
        world.schedule(in_us, Event::Fault(fault));
    }
    crash(world, partition);
    let end_us = world.faults_end_us();
    world.run_until(end_us)?;
    world.heal();
    world.client.active = false;
    world.disaster_ends();
    let converged_ms = settle(world)?;
    let until_us = world.now_us + QUIET_US;
    world.run_until(until_us)?;
    // A group's leader may be on its way home just now.
    settle(world).map_err(|why| format!("it had converged, and no longer does: {why}"))?;
    Ok(converged_ms)
}

fn crash(world: &mut World, partition: &Partition) {
    let at_us = world.rng.below(partition.length_ms) * 1_000;
    let back_us = at_us + DOWN_US.0 + world.rng.below(DOWN_US.1 - DOWN_US.0 + 1);
    let (dies, returns) = match partition.beside {
        Beside::Nothing | Beside::Drift => return,
        Beside::NodeCrash => {
            let node = 1 + world.rng.below(world.options.regions as u64);
            (Fault::KillNode(node), Fault::StartNode(node))
        }
        Beside::HostCrash => {
            let host = world.rng.below(world.hosts.len() as u64) as usize;
            (Fault::KillHost(host), Fault::StartHost(host))
        }
    };
    world.schedule(at_us, Event::Fault(dies));
    world.schedule(back_us, Event::Fault(returns));
}

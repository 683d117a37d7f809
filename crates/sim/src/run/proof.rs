//! A federation as it is configured somewhere, in one schedule of failures that a seed decides: its VMs are created where they
//! are, something fails, everything heals, and all of it must settle with every VM there and none twice.

use dwcp_types::NodeId;

use super::{FAULTS_BEGIN_US, settle};
use crate::client;
use crate::faults::Fault;
use crate::options::{FaultMix, Options, Proof};
use crate::partitions::Partition;
use crate::world::{Event, World};

/// What fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A region dies with everything in it.
    Killed(NodeId),
    /// A region is cut off alive.
    Cut(NodeId),
    /// Links break in a way drawn from the seed.
    Links(Partition),
    /// Hosts, agents, nodes, disks, links, as drawn.
    Mixed(Box<FaultMix>),
}

impl Schedule {
    /// The kinds, in the order of seeds.
    pub const KINDS: [&'static str; 4] = ["region killed", "region cut off", "links broken", "mixed faults"];

    /// The schedule of a seed among so many regions.
    pub fn draw(seed: u64, regions: usize) -> Schedule {
        let node = 1 + (seed / 4) % regions as u64;
        match seed % 4 {
            0 => Schedule::Killed(node),
            1 => Schedule::Cut(node),
            // Fewer have no shape of a partition but that one is cut off.
            2 if regions >= 3 => Schedule::Links(Partition::draw(seed, regions)),
            2 => Schedule::Cut(node),
            _ => Schedule::Mixed(Box::new(Options::swarm(seed, None).mix)),
        }
    }

    /// Its kind: an index into [`Schedule::KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            Schedule::Killed(_) => 0,
            Schedule::Cut(_) => 1,
            Schedule::Links(_) => 2,
            Schedule::Mixed(_) => 3,
        }
    }
}

/// How long one VM may take until it has a place, µs.
const PLACED_WITHIN_US: u64 = 4_000_000;
/// How long a failure of a region or of links, or faults, last, µs.
const LASTS_US: u64 = 45_000_000;

/// Lives through it; returns how long it took to settle after everything healed, ms.
///
/// # Errors
/// Whatever a checker objects to, or that it did not settle in time.
pub(super) fn live(world: &mut World) -> Result<u64, String> {
    let Some(Proof { layout, schedule }) = world.options.proof.clone() else { return Ok(0) };
    world.schedule(0, Event::Client);
    world.run_until(6_000_000)?;
    for (node, vm) in &layout.vms {
        client::create_there(world, *node, vm.clone());
        let until_us = world.now_us + PLACED_WITHIN_US;
        while !world.client.is_idle() && world.now_us < until_us {
            let next_us = world.now_us + 100_000;
            world.run_until(next_us)?;
        }
    }
    let begin_us = (world.now_us + 8_000_000).max(FAULTS_BEGIN_US);
    world.run_until(begin_us)?;
    let lasts_us = strike(world, &schedule);
    let end_us = begin_us + lasts_us;
    world.options.faults_ms = (end_us - FAULTS_BEGIN_US) / 1_000;
    world.run_until(end_us)?;
    world.heal();
    if let Schedule::Killed(node) = schedule {
        world.strike(Fault::StartRegion(node));
    }
    settle(world)
}

/// Lets it begin; how long it lasts, µs.
fn strike(world: &mut World, schedule: &Schedule) -> u64 {
    match schedule {
        Schedule::Killed(node) => world.strike(Fault::KillRegion(*node)),
        Schedule::Cut(node) => world.strike(Fault::CutRegion(*node)),
        Schedule::Links(partition) => {
            for (in_us, fault) in partition.faults() {
                world.schedule(in_us, Event::Fault(fault));
            }
            return partition.length_ms * 1_000;
        }
        Schedule::Mixed(mix) => {
            world.options.mix = **mix;
            world.schedule(0, Event::Fault(Fault::Draw));
        }
    }
    LASTS_US
}

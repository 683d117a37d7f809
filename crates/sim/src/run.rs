//! A run: the system comes up, is used while things go wrong, everything heals, and then it must settle.

mod drill;
mod partition;
mod proof;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dwcp_state::Standing;
use dwcp_types::RegionId;

use crate::client;
use crate::faults::Fault;
use crate::options::Options;
use crate::world::{Event, World};

pub use proof::Schedule;

/// Faults begin after, µs.
pub const FAULTS_BEGIN_US: u64 = 15_000_000;

/// How a run ended.
pub struct Ended {
    /// The seed.
    pub seed: u64,
    /// What did not hold; none: everything did.
    pub violation: Option<String>,
    /// Stands for everything that was said.
    pub digest: u64,
    /// A line each.
    pub log: Vec<String>,
    /// VMs whose creation was acknowledged.
    pub created: usize,
    /// VMs that a partition moved.
    pub moved: usize,
    /// Failovers of regions.
    pub failovers: usize,
    /// How long the system took to settle after it had healed, ms.
    pub settled_ms: u64,
    /// In a drill: when the last VM of the killed region answered elsewhere, ms after the kill; none when it had none.
    pub returned_ms: Option<u64>,
}

/// Runs one seed.
pub fn swarm(options: Options) -> Ended {
    let seed = options.seed;
    let mut world = World::new(options);
    let mut returned_ms = None;
    // An assertion that fails is a violation like any other: it is told with its seed, and the next one is run.
    let outcome = catch_unwind(AssertUnwindSafe(|| match world.options.partition.clone() {
        Some(partition) => partition::live(&mut world, &partition),
        None if world.options.proof.is_some() => proof::live(&mut world),
        None if world.options.drill => drill::live(&mut world, &mut returned_ms),
        None => live(&mut world),
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("an assertion failed: {}", message(&*panic))));
    let failovers = world
        .nodes
        .values()
        .filter_map(|slot| slot.node.as_ref())
        .map(|node| node.facts().core.failovers.len())
        .max()
        .unwrap_or(0);
    let (violation, settled_ms) = match outcome {
        Ok(settled_ms) => (None, settled_ms),
        Err(violation) => (Some(violation), 0),
    };
    Ended {
        seed,
        violation,
        digest: world.digest(),
        created: world.checkers.acknowledged.created.len(),
        moved: world.checkers.moves.moved(),
        failovers,
        settled_ms,
        returned_ms,
        log: world.log,
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

fn live(world: &mut World) -> Result<u64, String> {
    world.client.active = true;
    world.schedule(6_000_000, Event::Client);
    world.run_until(FAULTS_BEGIN_US)?;
    world.schedule(0, Event::Fault(Fault::Draw));
    if let Some((backup_us, lost_us, but)) = world.options.restoration {
        world.schedule(backup_us, Event::Fault(Fault::BackUp));
        world.schedule(backup_us + lost_us, Event::Fault(Fault::RestoreAll(but)));
    }
    let end_us = world.faults_end_us();
    world.run_until(end_us)?;
    // What kept an older disk is only now found by somebody.
    world.put_old_aside();
    world.heal();
    world.client.active = false;
    settle(world)
}

/// Waits until the system has settled; the reason why not, if it does not in time.
pub fn settle(world: &mut World) -> Result<u64, String> {
    let healed_us = world.now_us;
    let limit_us = healed_us + world.options.settle_ms * 1_000;
    let mut tickets = client::SCENARIO_TICKETS * 2;
    loop {
        let next_us = world.now_us + 1_000_000;
        world.run_until(next_us)?;
        enable_returned(world, &mut tickets);
        let why = match world.settled() {
            Ok(()) if world.client.is_idle() => {
                world.check_end()?;
                return Ok((world.now_us - healed_us) / 1_000);
            }
            Ok(()) => "a request is not answered".to_string(),
            Err(why) => why,
        };
        if world.options.verbose {
            world.note(format!("not settled: {why}"));
        }
        if world.now_us >= limit_us {
            return Err(format!("not settled {} ms after everything healed: {why}", world.options.settle_ms));
        }
    }
}

/// The operator enables what has returned.
fn enable_returned(world: &mut World, tickets: &mut u64) {
    let Some(node) = world.alive().first().copied() else { return };
    let Some(machine) = world.nodes[&node].node.as_ref() else { return };
    let all = machine.facts().core.regions.values();
    let returned: Vec<RegionId> =
        all.filter(|region| region.standing == Standing::Returned).map(|region| region.id.clone()).collect();
    for region in returned {
        *tickets += 1;
        client::enable_region(world, node, region.as_str(), true, *tickets);
    }
}

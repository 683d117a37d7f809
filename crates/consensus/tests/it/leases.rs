//! Reads from the leader's lease see everything, whatever the clocks, pauses, cuts and restarts do.

use crate::world::World;
use dwcp_consensus::{Config, Input, NodeId};

fn defaults(_: &mut Config) {}

fn no_leases(config: &mut Config) {
    config.lease_reads = false;
}

/// Leaders are cut off, stand still and die while everybody writes and reads at whoever believes to lead. Clocks differ
/// by up to 5 % in their rates.
fn contested(seed: u64, tune: fn(&mut Config), rounds: u32, kinds: std::ops::Range<u64>) -> World {
    let mut world = World::new(seed, tune);
    for node in 1..=5 {
        world.nodes.get_mut(&node).unwrap().drift_ppm = world.rng.below(48_000) as i64 - 24_000;
    }
    world.jitter_us = 2_000 + world.rng.below(100_000);
    world.run_for(8_000_000);
    for _ in 0..rounds {
        let group = world.groups[world.rng.below(4) as usize];
        let leader = world.leader(group).unwrap_or(1);
        match kinds.start + world.rng.below(kinds.end - kinds.start) {
            // It wakes up cut off and knows of no successor, for which there was time.
            0 => {
                world.isolate(leader);
                let until = world.now_us + 1_500_000 + world.rng.below(400_000);
                world.nodes.get_mut(&leader).unwrap().paused_until_us = until;
            }
            1 | 2 => world.isolate(leader),
            3 => {
                let other = 1 + world.rng.below(5);
                world.cut.insert((other, leader));
            }
            4 => {
                let until = world.now_us + world.rng.below(3_000_000);
                world.nodes.get_mut(&leader).unwrap().paused_until_us = until;
            }
            5 => {
                let node = 1 + world.rng.below(5);
                world.crash(node);
                world.start(node);
            }
            6 => {
                let to = 1 + world.rng.below(5);
                world.input(leader, Input::TransferLeader { group, to });
            }
            7 => world.loss_percent = world.rng.below(20),
            _ => {}
        }
        // What the victim has not committed yet would hold its reads back, so only its successors are written to.
        for _ in 0..60 {
            for node in 1..=5 {
                if world.nodes[&node].raft.is_some() && world.status(node, group).leader == Some(node) {
                    if node != leader {
                        world.propose(node, group);
                    }
                    world.read(node, group);
                }
            }
            world.read(1 + u64::from(rounds) % 5, group);
            world.run_for(40_000);
        }
        world.cut.clear();
        let pause = world.rng.below(2_500_000);
        world.run_for(pause);
    }
    world
}

#[test]
fn reads_from_a_lease_miss_nothing_under_drift_pauses_cuts_restarts_and_transfers() {
    let (mut ready, mut at_once) = (0, 0);
    for seed in 0..10 {
        let world = contested(seed, defaults, 12, 0..12);
        ready += world.reads_ready;
        at_once += world.reads_at_once;
    }
    assert!(ready > 5_000 && at_once > 1_000, "{at_once} of {ready} at once");
}

/// Some minutes with `--profile sim`.
#[test]
#[ignore = "long"]
fn a_long_night_of_contested_leases() {
    for seed in 1_000..1_400 {
        contested(seed, defaults, 25, 0..12).heal_and_check();
    }
}

fn settled(tune: fn(&mut Config)) -> World {
    let mut world = World::new(1, tune);
    world.run_for(15_000_000);
    assert_eq!(world.leader(1), Some(1));
    world
}

fn read_ms(world: &mut World, node: NodeId) -> u64 {
    let ready = world.reads_ready;
    world.read(node, 1);
    world.run_for(600_000);
    assert_eq!(world.reads_ready, ready + 1);
    world.read_took_us / 1_000
}

#[test]
fn the_first_read_at_home_costs_a_round_the_next_ones_nothing_and_elsewhere_the_way_to_home() {
    let mut world = settled(defaults);
    let first = read_ms(&mut world, 1);
    assert!((113..=120).contains(&first), "{first} ms: nothing was asked before");
    assert_eq!([0; 5].map(|_| read_ms(&mut world, 1)), [0; 5]);
    for (node, rtt_ms) in [(2, 71), (3, 182), (4, 113), (5, 198)] {
        let took = read_ms(&mut world, node);
        assert!((rtt_ms..=rtt_ms + 5).contains(&took), "node {node}: {took} ms");
    }
    let mut without = settled(no_leases);
    for (node, least_ms) in [(1, 113), (1, 113), (2, 184), (3, 295), (4, 226), (5, 311)] {
        let took = read_ms(&mut without, node);
        assert!((least_ms..=least_ms + 8).contains(&took), "node {node} without leases: {took} ms");
    }
}

#[test]
fn a_lease_that_nobody_wants_costs_no_rounds_and_a_cut_off_leader_has_none_for_long() {
    let mut world = settled(defaults);
    read_ms(&mut world, 1);
    world.isolate(1);
    let mut answered_ms = 0;
    for ms in (0..3_000).step_by(20) {
        let ready = world.reads_at_once;
        world.read(1, 1);
        world.run_for(20_000);
        if world.reads_at_once > ready {
            answered_ms = ms;
        }
    }
    assert!((600..=995).contains(&answered_ms), "the last read was answered {answered_ms} ms after the cut");
}

#[test]
fn after_a_transfer_was_begun_there_is_no_lease_in_that_term_any_more() {
    let mut world = settled(defaults);
    read_ms(&mut world, 1);
    assert_eq!(read_ms(&mut world, 1), 0);
    let term = world.status(1, 1).term;
    // The order to campaign never arrives, and the leader gives the transfer up.
    world.cut.insert((1, 2));
    world.input(1, Input::TransferLeader { group: 1, to: 2 });
    world.run_for(4_000_000);
    assert_eq!((world.leader(1), world.status(1, 1).term), (Some(1), term));
    for _ in 0..3 {
        assert!(read_ms(&mut world, 1) > 100, "a late order to campaign would depose it at any moment");
    }
}

#[test]
fn a_replica_that_acknowledged_a_leader_helps_nobody_for_a_while_also_after_its_restart() {
    let mut world = settled(defaults);
    for node in [1, 2] {
        world.crash(node);
    }
    // The rest have just acknowledged node 1; they forget it with their processes, but not that they may have.
    for node in [3, 4, 5] {
        world.crash(node);
        world.start(node);
    }
    let began = world.now_us;
    world.run_until(10_000_000, "a leader", |world| world.leader(1).is_some());
    assert!(world.now_us - began > 1_100_000, "elected after {} us", world.now_us - began);
}

#[cfg(feature = "mutations")]
#[test]
fn a_lease_twice_as_long_as_allowed_is_caught() {
    fn long_lease(config: &mut Config) {
        config.mutation = Some(dwcp_consensus::Mutation::LongLease);
    }
    let caught = (0..200).find_map(|seed| {
        let panic = std::panic::catch_unwind(|| contested(seed, long_lease, 12, 0..1)).err()?;
        panic.downcast_ref::<String>().cloned()
    });
    let message = caught.expect("nothing was caught");
    assert!(message.contains("misses"), "caught by something else: {message}");
}

use crate::repairs::replace_disk;
use crate::world::{World, crc};
use dwcp_consensus::{Config, Input};

fn small_snapshots(config: &mut Config) {
    config.snapshot_every_entries = 40;
    config.keep_entries = 10;
    config.snapshot_retry_ticks = 40;
}

fn defaults(_: &mut Config) {}

fn no_leases(config: &mut Config) {
    config.lease_reads = false;
    small_snapshots(config);
}

fn quiet_acks(config: &mut Config) {
    config.ack_broadcast = false;
    small_snapshots(config);
}

/// Loss, repetition, reordering, cuts in one and both directions, crashes that lose what is not durable.
fn storm(seed: u64, tune: fn(&mut Config), rounds: u32, harm: Harm) -> World {
    let mut world = World::new(seed, tune);
    world.loss_percent = world.rng.below(15);
    world.jitter_us = 2_000 + world.rng.below(200_000);
    world.sync_us = 1_000 + world.rng.below(100_000);
    for _ in 0..rounds {
        for _ in 0..world.rng.below(6) {
            let group = world.groups[world.rng.below(4) as usize];
            let node = world.leader(group).unwrap_or(1 + world.rng.below(5));
            world.propose(node, group);
        }
        let (node, group) = (1 + world.rng.below(5), world.groups[world.rng.below(4) as usize]);
        world.read(node, group);
        let (one, other) = (1 + world.rng.below(5), 1 + world.rng.below(5));
        match world.rng.below(20) {
            0 => world.isolate(one),
            1 => {
                world.cut.insert((one, other));
            }
            2..=4 => world.cut.clear(),
            5 => crash(&mut world, one, harm),
            9 if harm == Harm::Members => reshape(&mut world),
            6..=8 => {
                for node in 1..=5 {
                    if world.nodes[&node].raft.is_none() {
                        world.start(node);
                    }
                }
            }
            _ => {}
        }
        let pause = 10_000 + world.rng.below(600_000);
        world.run_for(pause);
    }
    world
}

/// Twice as bad as usual.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    Usual,
    /// Crashes tear batches.
    Torn,
    /// Records rot while a node is down.
    Rot,
    /// Disks are replaced, two at a time.
    Replaced,
    /// Members change all the time.
    Members,
}

/// Three to five voters, the rest learners.
fn reshape(world: &mut World) {
    let group = world.groups[world.rng.below(4) as usize];
    let mut nodes: Vec<u64> = (1..=5).collect();
    for at in (1..5).rev() {
        nodes.swap(at, world.rng.below(at as u64 + 1) as usize);
    }
    let learners = nodes.split_off(3 + world.rng.below(3) as usize);
    if let Some(leader) = world.leader(group) {
        let ticket = world.ticket();
        world.input(leader, Input::ChangeMembers { group, ticket, voters: nodes, learners });
    }
}

/// Flips a bit in a few records of a node that is down.
fn rot(world: &mut World, node: u64) {
    let keys: Vec<Vec<u8>> = world.nodes[&node].store.0.keys().cloned().collect();
    for _ in 0..1 + world.rng.below(4) {
        let Some(key) = keys.get(world.rng.below(keys.len().max(1) as u64) as usize) else { return };
        let bit = world.rng.below(8);
        let store = &mut world.nodes.get_mut(&node).unwrap().store.0;
        if let Some(byte) = store.get_mut(key).and_then(|value| value.last_mut()) {
            *byte ^= 1 << bit;
        }
    }
}

fn crash(world: &mut World, node: u64, harm: Harm) {
    if world.nodes[&node].raft.is_none() {
        return;
    }
    let whole = |world: &World, node: &u64| {
        let raft = world.nodes[node].raft.as_ref();
        raft.is_some_and(|raft| world.groups.iter().all(|group| !raft.status(*group).unwrap().damaged))
    };
    let others = (1..=5).filter(|other| *other != node);
    let others_hurt = others.filter(|other| !whole(world, other)).count();
    let others_whole = others_hurt == 0;
    match harm {
        Harm::Torn if others_whole => {
            world.crash_torn(node);
            world.start(node);
        }
        Harm::Rot if others_whole => {
            world.crash(node);
            rot(world, node);
            world.start(node);
        }
        // A majority keeps what it has: what no whole replica holds can't be repaired by anybody.
        Harm::Replaced if others_hurt < 2 => {
            replace_disk(world, node);
            world.start(node);
        }
        _ => world.crash(node),
    }
}

fn storms(seeds: std::ops::Range<u64>, tune: fn(&mut Config), harm: Harm) {
    for seed in seeds {
        let survived = std::panic::catch_unwind(|| storm(seed, tune, 150, harm).heal_and_check());
        assert!(survived.is_ok(), "seed {seed}");
    }
}

#[test]
fn no_committed_entry_is_lost_and_logs_agree_in_a_storm() {
    storms(0..12, small_snapshots, Harm::Usual);
}

/// Some minutes with `--profile sim`.
#[test]
#[ignore = "long"]
fn a_long_night_of_storms() {
    for harm in [Harm::Usual, Harm::Torn, Harm::Rot, Harm::Replaced, Harm::Members] {
        storms(1_000..1_150, small_snapshots, harm);
        storms(2_000..2_050, quiet_acks, harm);
    }
}

#[test]
fn the_same_holds_without_acknowledgement_broadcast() {
    storms(100..106, quiet_acks, Harm::Usual);
}

#[test]
fn the_same_holds_when_a_crash_tears_a_batch() {
    storms(200..206, small_snapshots, Harm::Torn);
}

#[test]
fn the_same_holds_when_records_rot() {
    storms(300..306, small_snapshots, Harm::Rot);
}

#[test]
fn the_same_holds_when_two_disks_are_replaced_at_once() {
    storms(500..508, small_snapshots, Harm::Replaced);
}

#[test]
fn the_same_holds_while_members_change() {
    storms(400..406, small_snapshots, Harm::Members);
}

#[test]
fn the_same_holds_without_lease_reads() {
    storms(500..504, no_leases, Harm::Usual);
}

#[test]
fn storms_answer_reads_and_take_proposals() {
    let world = storm(7, small_snapshots, 200, Harm::Usual);
    assert!(world.reads_ready > 50, "only {} reads answered", world.reads_ready);
    assert!(world.proposed > 100, "only {} proposals taken", world.proposed);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let digest = |seed| crc(&storm(seed, small_snapshots, 80, Harm::Torn).trace);
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3), digest(4));
}

#[test]
fn a_quiet_federation_commits_in_one_quorum_round_trip_and_shows_it_everywhere_soon() {
    let mut world = World::new(1, defaults);
    world.run_for(15_000_000);
    // Home, quorum round trip and the acknowledgement broadcast bound, milliseconds.
    for (home, quorum_ms, everywhere_ms) in [(1, 113, 162), (2, 118, 148), (4, 184, 184)] {
        assert_eq!(world.leader(home), Some(home));
        for _ in 0..20 {
            let asked = world.now_us;
            world.propose(home, home);
            world.run_for(1_000_000);
            let index = *world.committed[&home].keys().next_back().unwrap();
            let seen = &world.when_visible[&(home, index)];
            assert_eq!(seen.len(), 5);
            let (first, last) = (seen[0] - asked, seen[4] - asked);
            // Disk and jitter: two synchronisations of at most 4.5 ms, two messages of at most 2 ms.
            assert!(first < (quorum_ms + 14) * 1000, "home {home}: first after {first} us");
            assert!(last < (everywhere_ms + 14) * 1000, "home {home}: everywhere after {last} us");
        }
    }
}

#[test]
fn storms_do_harm_records_and_change_members() {
    let repaired = |world: &World| world.nodes.values().map(|node| node.repaired).sum::<u64>();
    let mut rotten = storm(301, small_snapshots, 150, Harm::Rot);
    rotten.heal_and_check();
    assert!(repaired(&rotten) > 0);
    assert!(storm(401, small_snapshots, 150, Harm::Members).members_changed > 10);
}

#[cfg(feature = "mutations")]
mod mutated {
    use super::*;
    use dwcp_consensus::Mutation;

    fn ack_before_fsync(config: &mut Config) {
        config.mutation = Some(Mutation::AckBeforeFsync);
    }

    #[test]
    fn acknowledging_before_it_is_durable_is_caught() {
        let caught = std::panic::catch_unwind(|| {
            for seed in 0..30 {
                let mut world = World::new(seed, ack_before_fsync);
                world.sync_us = 400_000;
                world.run_for(15_000_000);
                for _ in 0..5 {
                    for group in [1, 2, 4] {
                        world.propose(group, group);
                    }
                    world.run_for(350_000);
                    for node in 1..=5 {
                        world.crash(node);
                    }
                    for node in 1..=5 {
                        world.start(node);
                    }
                    world.run_for(10_000_000);
                }
                world.heal_and_check();
            }
        });
        let panic = caught.expect_err("nothing was caught");
        let message = panic.downcast_ref::<String>().map_or("", String::as_str);
        let loss = ["two entries applied", "two entries committed", "a committed entry is lost"];
        assert!(loss.iter().any(|what| message.contains(what)), "caught by something else: {message}");
    }
}

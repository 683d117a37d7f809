use crate::world::{World, crc};
use dwcp_consensus::Config;

fn small_snapshots(config: &mut Config) {
    config.snapshot_every_entries = 40;
    config.keep_entries = 10;
    config.snapshot_retry_ticks = 40;
}

fn defaults(_: &mut Config) {}

fn quiet_acks(config: &mut Config) {
    config.ack_broadcast = false;
    small_snapshots(config);
}

/// Loss, repetition, reordering, cuts in one and both directions, crashes that lose what is not durable.
fn storm(seed: u64, tune: fn(&mut Config), rounds: u32, torn: bool) -> World {
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
            5 => crash(&mut world, one, torn),
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

fn crash(world: &mut World, node: u64, torn: bool) {
    if world.nodes[&node].raft.is_none() {
        return;
    }
    let whole = |world: &World, node: &u64| {
        let raft = world.nodes[node].raft.as_ref();
        raft.is_some_and(|raft| world.groups.iter().all(|group| !raft.status(*group).unwrap().damaged))
    };
    let others_whole = (1..=5).filter(|other| *other != node).all(|other| whole(world, &other));
    if torn && others_whole {
        world.crash_torn(node);
        world.start(node);
    } else {
        world.crash(node);
    }
}

#[test]
fn no_committed_entry_is_lost_and_logs_agree_in_a_storm() {
    for seed in 0..25 {
        let mut world = storm(seed, small_snapshots, 150, false);
        world.heal_and_check();
    }
}

#[test]
fn the_same_holds_without_acknowledgement_broadcast() {
    for seed in 100..110 {
        let mut world = storm(seed, quiet_acks, 150, false);
        world.heal_and_check();
    }
}

#[test]
fn the_same_holds_when_a_crash_tears_a_batch() {
    for seed in 200..215 {
        let mut world = storm(seed, small_snapshots, 150, true);
        world.heal_and_check();
    }
}

#[test]
fn storms_answer_reads_and_take_proposals() {
    let world = storm(7, small_snapshots, 200, false);
    assert!(world.reads_ready > 50, "only {} reads answered", world.reads_ready);
    assert!(world.proposed > 100, "only {} proposals taken", world.proposed);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let digest = |seed| crc(&storm(seed, small_snapshots, 80, true).trace);
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

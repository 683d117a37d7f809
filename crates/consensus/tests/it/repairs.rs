use crate::world::World;
use dwcp_consensus::{Config, Input, Role, examine};

fn small_snapshots(config: &mut Config) {
    config.snapshot_every_entries = 20;
    config.keep_entries = 5;
}

/// Kinds of records, as they appear in keys behind the group.
const HARD: [u8; 2] = [1, 2];
const SNAPSHOT: u8 = 4;
const ENTRY: u8 = 16;

fn busy(seed: u64) -> World {
    let mut world = World::new(seed, small_snapshots);
    world.run_for(8_000_000);
    for _ in 0..50 {
        for group in [0, 1, 2, 4] {
            if let Some(leader) = world.leader(group) {
                world.propose(leader, group);
            }
        }
        world.run_for(60_000);
    }
    world.run_for(1_000_000);
    world
}

fn keys_of(world: &World, node: u64, group: u64, kinds: &[u8]) -> Vec<Vec<u8>> {
    let prefix = group.to_be_bytes();
    let keys = world.nodes[&node].store.0.keys();
    keys.filter(|key| key[1..9] == prefix && kinds.contains(&key[9])).cloned().collect()
}

fn damage(world: &mut World, node: u64, keys: &[Vec<u8>], lose: bool) {
    let store = &mut world.nodes.get_mut(&node).unwrap().store.0;
    for key in keys {
        if lose {
            store.remove(key);
        } else {
            let value = store.get_mut(key).unwrap();
            let middle = value.len() / 2;
            value[middle] ^= 0x10;
        }
    }
}

fn is_damaged(world: &World, node: u64) -> bool {
    world.groups.iter().any(|group| world.status(node, *group).damaged)
}

#[test]
fn a_replica_that_lost_records_is_repaired_from_a_peer() {
    for (seed, kinds) in [(1, &[ENTRY][..]), (2, &[SNAPSHOT]), (3, &HARD), (4, &[1, 2, SNAPSHOT, ENTRY])] {
        for lose in [false, true] {
            let mut world = busy(seed);
            world.crash(3);
            let keys = keys_of(&world, 3, 1, kinds);
            assert!(!keys.is_empty());
            damage(&mut world, 3, &keys[keys.len() - kinds.len().min(keys.len())..], lose);
            if lose && kinds.len() == 4 {
                // Nothing at all is left: only the operator can know that something was there.
                damage(&mut world, 3, &[], true);
            }
            assert!(world.start(3), "{kinds:?} lost: {lose}");
            world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3));
            assert!(world.nodes[&3].repaired > 0);
            world.heal_and_check();
        }
    }
}

#[test]
fn one_good_copy_of_the_hard_state_is_enough() {
    let mut world = busy(5);
    world.crash(3);
    let keys = keys_of(&world, 3, 2, &[2]);
    damage(&mut world, 3, &keys, false);
    assert!(!world.start(3));
    world.heal_and_check();
}

#[test]
fn the_last_entry_cannot_vanish_unseen() {
    let mut world = busy(6);
    world.crash(3);
    let keys = keys_of(&world, 3, 1, &[ENTRY]);
    damage(&mut world, 3, &keys[keys.len() - 1..], true);
    assert!(world.start(3));
    world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3));
    world.heal_and_check();
}

#[test]
fn a_damaged_replica_stays_damaged_over_a_crash_until_it_is_whole() {
    let mut world = busy(7);
    world.crash(3);
    let keys = keys_of(&world, 3, 1, &[1, 2, ENTRY]);
    damage(&mut world, 3, &keys, false);
    world.isolate(3);
    assert!(world.start(3));
    world.run_for(1_000_000);
    world.crash(3);
    assert!(world.start(3));
    world.run_for(20_000_000);
    assert!(is_damaged(&world, 3));
    world.cut.clear();
    world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3));
    world.crash(3);
    assert!(!world.start(3));
    world.heal_and_check();
}

#[test]
fn a_damaged_replica_does_not_vote_or_lead() {
    let mut world = busy(8);
    for node in [1, 2, 3, 4, 5] {
        world.crash(node);
    }
    let keys = keys_of(&world, 3, 1, &[ENTRY]);
    damage(&mut world, 3, &keys, false);
    // Two whole replicas and a damaged one are no majority.
    for node in [1, 2, 3] {
        world.start(node);
    }
    world.run_for(30_000_000);
    assert_eq!(world.leader(1), None);
    assert!(world.status(3, 1).damaged && world.status(3, 1).role == Role::Follower);
    world.start(4);
    world.run_until(40_000_000, "repaired", |world| !is_damaged(world, 3));
    world.heal_and_check();
}

#[test]
fn a_replaced_disk_is_filled_again_without_voting_as_a_founder() {
    let mut world = busy(9);
    world.crash(3);
    world.nodes.get_mut(&3).unwrap().store.0.clear();
    for group in world.groups.clone() {
        world.setups.get_mut(&(3, group)).unwrap().lost = true;
    }
    assert!(world.start(3));
    world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3));
    world.heal_and_check();
}

#[test]
fn a_disk_that_went_back_in_time_is_found_out_by_the_leader() {
    let mut world = busy(10);
    world.crash(3);
    let old = world.nodes[&3].store.clone();
    world.start(3);
    world.run_for(2_000_000);
    for _ in 0..30 {
        world.propose(1, 1);
        world.run_for(100_000);
    }
    world.run_for(1_000_000);
    world.crash(3);
    world.nodes.get_mut(&3).unwrap().store = old;
    world.start(3);
    world.run_until(30_000_000, "found out or caught up", |world| world.all_hold(1, &[1, 2, 3, 4, 5]));
    assert!(world.nodes[&3].repaired > 0);
    world.heal_and_check();
}

/// The disk is gone, and whoever starts the node knows it.
pub fn replace_disk(world: &mut World, node: u64) {
    world.crash(node);
    world.nodes.get_mut(&node).unwrap().store.0.clear();
    for group in world.groups.clone() {
        world.setups.get_mut(&(node, group)).unwrap().lost = true;
    }
}

#[test]
fn two_replicas_that_lost_their_votes_heal_beside_each_other() {
    for seed in 20..24 {
        let mut world = busy(seed);
        replace_disk(&mut world, 3);
        replace_disk(&mut world, 4);
        assert!(world.start(3));
        if seed % 2 == 0 {
            // The second is lost while the first still waits.
            world.isolate(3);
            world.run_for(2_000_000);
            world.cut.clear();
        }
        assert!(world.start(4));
        world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3) && !is_damaged(world, 4));
        world.heal_and_check();
    }
}

#[test]
fn a_replica_that_lost_its_vote_is_whole_again_without_waiting_for_a_snapshot_that_it_could_not_take() {
    // More than one second passes before its vote is back, less than a leader waits before it sends a snapshot again.
    for seed in 60..70 {
        let mut world = busy(seed);
        replace_disk(&mut world, 3);
        let away = 4;
        world.crash(away);
        assert!(world.start(3));
        world.run_for(3_000_000);
        assert!(is_damaged(&world, 3), "one that does not answer keeps it waiting");
        world.start(away);
        world.run_until(5_000_000, "repaired", |world| !is_damaged(world, 3));
    }
}

#[test]
fn three_lost_votes_of_five_are_not_made_up() {
    let mut world = busy(25);
    for node in [2, 3, 4] {
        replace_disk(&mut world, node);
    }
    for node in [2, 3, 4] {
        assert!(world.start(node));
    }
    world.run_for(30_000_000);
    assert!([2, 3, 4].iter().all(|node| is_damaged(&world, *node)));
}

#[test]
fn a_lost_vote_waits_for_a_dead_member_until_that_is_replaced() {
    let mut world = busy(26);
    world.crash(5);
    replace_disk(&mut world, 3);
    assert!(world.start(3));
    world.run_for(30_000_000);
    assert!(is_damaged(&world, 3), "who knows what the dead one was voted for");
    replace_disk(&mut world, 5);
    assert!(world.start(5));
    world.run_until(30_000_000, "repaired", |world| !is_damaged(world, 3) && !is_damaged(world, 5));
    world.heal_and_check();
}

#[test]
fn a_replica_that_drops_what_it_holds_gets_it_anew_and_nothing_acknowledged_is_lost() {
    let mut world = busy(21);
    let leader = world.leader(1).expect("a leader");
    world.input(leader, Input::Rebuild { group: 1 });
    assert!(!world.status(leader, 1).damaged, "whoever leads keeps what it has");
    let target = if leader == 3 { 2 } else { 3 };
    let term = world.status(target, 1).term;
    world.input(target, Input::Rebuild { group: 1 });
    let status = world.status(target, 1);
    assert!(status.damaged && status.last == 0);
    assert_eq!(status.term, term, "its term and vote are not what it drops");
    assert!(!world.status(target, 2).damaged, "only that group's");
    for _ in 0..5 {
        world.propose(leader, 1);
        world.run_for(60_000);
    }
    world.run_until(20_000_000, "whole again", |world| !is_damaged(world, target));
    assert_eq!(world.nodes[&target].repaired, 1);
    world.heal_and_check();
}

#[test]
fn dropping_what_a_replica_holds_over_and_over_in_a_storm_loses_nothing() {
    for seed in 30..36 {
        let mut world = busy(seed);
        for round in 0..12u64 {
            let target = 1 + round % 5;
            let others_hurt = (1..=5).any(|node| node != target && is_damaged(&world, node));
            let down = world.nodes[&target].raft.is_none();
            if !others_hurt && !down {
                for group in world.groups.clone() {
                    world.input(target, Input::Rebuild { group });
                }
            }
            for group in world.groups.clone() {
                if let Some(leader) = world.leader(group) {
                    world.propose(leader, group);
                }
            }
            world.run_for(700_000);
            if round % 4 == 3 {
                world.crash(target);
                world.start(target);
            }
        }
        world.run_until(60_000_000, "all whole", |world| (1..=5).all(|node| !is_damaged(world, node)));
        world.heal_and_check();
    }
}

#[test]
fn what_is_written_once_more_is_enough_for_a_store_of_its_own() {
    let mut world = busy(22);
    world.nodes.get_mut(&3).unwrap().store.0.clear();
    world.input(3, Input::Rewrite);
    world.run_for(1_000_000);
    world.crash(3);
    assert!(!world.start(3), "no record is missing");
    world.heal_and_check();
}

#[test]
fn every_record_that_rots_or_is_gone_is_found_without_opening_anything() {
    let mut world = busy(23);
    world.run_for(2_000_000);
    world.crash(3);
    let whole = world.nodes[&3].store.clone();
    for group in world.groups.clone() {
        let found = examine(group, &whole);
        assert_eq!(found.flaws, Vec::<String>::new(), "group {group}");
        assert!(found.records > 3 && found.bytes > 100, "{found:?}");
        for key in keys_of(&world, 3, group, &[1, 2, SNAPSHOT, ENTRY]) {
            let mut rotten = whole.clone();
            let value = rotten.0.get_mut(&key).unwrap();
            let last = value.len() - 1;
            value[last] ^= 1;
            let flaws = examine(group, &rotten).flaws;
            assert!(flaws.len() == 1 && flaws[0].contains("checksum"), "{key:?}: {flaws:?}");
            rotten.0.remove(&key);
            assert_eq!(examine(group, &rotten).flaws.len(), 1, "{key:?} is gone");
        }
    }
    assert_eq!(examine(9, &whole).flaws, ["nothing of it is there"]);
}

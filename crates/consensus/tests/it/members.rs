use crate::world::World;
use dwcp_consensus::{Config, GroupSetup, Input, NodeId};

fn small_snapshots(config: &mut Config) {
    config.snapshot_every_entries = 20;
    config.keep_entries = 5;
}

fn defaults(_: &mut Config) {}

fn three_founders(tune: fn(&mut Config), seed: u64) -> World {
    let mut world = World::empty(seed, tune);
    world.groups = vec![0];
    for node in 1..=5 {
        let setup = GroupSetup { group: 0, voters: vec![1, 2, 3], ..GroupSetup::default() };
        world.setups.insert((node, 0), setup);
    }
    for node in 1..=5 {
        world.start(node);
    }
    world.run_until(10_000_000, "a leader", |world| world.leader(0).is_some());
    world
}

fn change(world: &mut World, voters: &[NodeId], learners: &[NodeId]) {
    for _ in 0..40 {
        let ticket = world.ticket();
        let (voters, learners) = (voters.to_vec(), learners.to_vec());
        let settled = |world: &World| {
            world.leader(0).is_some_and(|leader| {
                let status = world.status(leader, 0);
                !status.joint && status.voters == voters && status.learners == learners
            })
        };
        if let Some(leader) = world.leader(0) {
            let (voters, learners) = (voters.clone(), learners.clone());
            world.input(leader, Input::ChangeMembers { group: 0, ticket, voters, learners });
        }
        world.run_for(1_000_000);
        if settled(world) {
            return;
        }
    }
    panic!("members never became {voters:?} and {learners:?}");
}

fn propose_some(world: &mut World, count: u32) {
    for _ in 0..count {
        if let Some(leader) = world.leader(0) {
            world.propose(leader, 0);
        }
        world.run_for(100_000);
    }
}

#[test]
fn learners_join_become_voters_jointly_and_replace_the_founders() {
    for tune in [defaults as fn(&mut Config), small_snapshots] {
        let mut world = three_founders(tune, 1);
        propose_some(&mut world, 50);
        change(&mut world, &[1, 2, 3], &[4, 5]);
        world.run_until(10_000_000, "learners caught up", |world| world.all_hold(0, &[1, 2, 3, 4, 5]));
        change(&mut world, &[1, 4, 5], &[]);
        propose_some(&mut world, 30);
        world.crash(2);
        world.crash(3);
        propose_some(&mut world, 30);
        world.run_until(10_000_000, "new members hold all", |world| world.all_hold(0, &[1, 4, 5]));
        assert!(world.committed[&0].len() >= 100, "{}", world.committed[&0].len());
    }
}

#[test]
fn a_leader_that_is_removed_makes_room() {
    let mut world = three_founders(defaults, 2);
    change(&mut world, &[1, 2, 3], &[4]);
    let leader = world.leader(0).unwrap();
    let others: Vec<NodeId> = (1..=4).filter(|node| *node != leader).collect();
    change(&mut world, &others, &[]);
    world.run_until(10_000_000, "another leader", |world| {
        world.leader(0).is_some_and(|now| now != leader && !world.status(now, 0).joint)
    });
    propose_some(&mut world, 5);
    world.run_until(10_000_000, "members hold all", |world| world.all_hold(0, &others));
}

#[test]
fn members_survive_a_restart_of_everybody() {
    let mut world = three_founders(small_snapshots, 3);
    change(&mut world, &[1, 2, 3], &[4, 5]);
    change(&mut world, &[2, 3, 4, 5], &[]);
    propose_some(&mut world, 60);
    world.run_for(2_000_000);
    for node in 1..=5 {
        world.crash(node);
    }
    for node in 1..=5 {
        world.start(node);
    }
    world.run_until(10_000_000, "a leader", |world| world.leader(0).is_some());
    propose_some(&mut world, 10);
    let leader = world.leader(0).unwrap();
    assert_eq!(world.status(leader, 0).voters, [2, 3, 4, 5]);
    world.run_until(10_000_000, "members hold all", |world| world.all_hold(0, &[2, 3, 4, 5]));
}

#[test]
fn a_change_survives_the_death_of_the_leader_that_began_it() {
    for seed in 10..25 {
        let mut world = three_founders(defaults, seed);
        change(&mut world, &[1, 2, 3], &[4, 5]);
        world.run_for(2_000_000);
        let leader = world.leader(0).unwrap();
        let ticket = world.ticket();
        let survivors: Vec<NodeId> = (1..=5).filter(|node| *node != leader).collect();
        let voters = vec![1, 2, 3, 4, 5];
        world.input(leader, Input::ChangeMembers { group: 0, ticket, voters, learners: vec![] });
        let pause = world.rng.below(400_000);
        world.run_for(pause);
        world.crash(leader);
        world.run_until(20_000_000, "a leader", |world| world.leader(0).is_some());
        change_settles(&mut world);
        propose_some(&mut world, 5);
        world.run_until(20_000_000, "survivors hold all", |world| world.all_hold(0, &survivors));
    }
}

fn change_settles(world: &mut World) {
    world.run_until(20_000_000, "the change ends", |world| {
        world.leader(0).is_some_and(|leader| !world.status(leader, 0).joint)
    });
}

#[test]
fn a_member_far_behind_gets_a_snapshot() {
    let mut world = World::new(4, small_snapshots);
    world.run_for(5_000_000);
    world.isolate(5);
    for _ in 0..100 {
        world.propose(1, 1);
        world.run_for(50_000);
    }
    world.run_for(1_000_000);
    assert!(world.status(1, 1).first > world.status(5, 1).last);
    world.cut.clear();
    world.run_until(10_000_000, "caught up", |world| world.all_hold(1, &[1, 2, 3, 4, 5]));
    world.crash(5);
    assert!(!world.start(5));
    world.run_until(10_000_000, "caught up again", |world| world.all_hold(1, &[1, 2, 3, 4, 5]));
}

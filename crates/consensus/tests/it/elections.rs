use crate::world::World;
use dwcp_consensus::{Beginning, Config, DropReason, Input, Output, restored};
use std::collections::BTreeSet;

fn defaults(_: &mut Config) {}

#[test]
fn every_group_is_led_at_home_soon_after_the_start() {
    for seed in 0..10 {
        let mut world = World::new(seed, defaults);
        world.run_until(10_000_000, "leaders at home", |world| {
            [1, 2, 4].iter().all(|home| world.leader(*home) == Some(*home))
        });
    }
}

#[test]
fn leadership_goes_elsewhere_when_home_dies_and_back_when_it_returns() {
    for seed in 0..10 {
        let mut world = World::new(seed, defaults);
        world.run_for(10_000_000);
        world.crash(2);
        let gone = world.run_until(6_000_000, "another leader", |world| world.leader(2).is_some());
        assert!(gone > 500_000, "a leader before the old one could be missed");
        world.propose(world.leader(2).unwrap(), 2);
        world.run_for(2_000_000);
        world.start(2);
        world.run_until(20_000_000, "home leads", |world| world.leader(2) == Some(2));
        world.heal_and_check();
    }
}

#[test]
fn leadership_stays_away_from_a_home_that_could_not_lead() {
    let mut world = World::new(3, defaults);
    world.run_for(10_000_000);
    world.isolate(2);
    world.run_until(8_000_000, "another leader", |world| world.leader(2).is_some_and(|leader| leader != 2));
    let leader = world.leader(2).unwrap();
    let term = world.status(leader, 2).term;
    // It hears all, and only the leader hears it: whoever it asks for a vote does not answer.
    let others = [1, 3, 4, 5];
    world.cut.clear();
    world.cut.extend(others.iter().filter(|node| **node != leader).map(|node| (2, *node)));
    let tell = |world: &mut World, nodes: &[u64]| {
        let nodes: BTreeSet<u64> = nodes.iter().copied().collect();
        others.iter().for_each(|node| world.input(*node, Input::CouldLead { nodes: nodes.clone() }));
    };
    tell(&mut world, &others);
    world.run_for(60_000_000);
    assert_eq!(world.leader(2), Some(leader), "it leads on");
    assert_eq!(world.status(leader, 2).term, term, "and nobody campaigned");
    let successor = |world: &World| world.nodes[&leader].raft.as_ref().unwrap().successor(2);
    world.run_until(2_000_000, "somebody to hand over to", |world| successor(world).is_some());
    assert_ne!(successor(&world), Some(2), "nor would it be handed over there");
    world.cut.clear();
    tell(&mut world, &[1, 2, 3, 4, 5]);
    world.run_until(10_000_000, "home leads", |world| world.leader(2) == Some(2));
}

#[test]
fn a_one_way_cut_does_not_depose_a_good_leader_for_ever() {
    for seed in 0..5 {
        for (from, to) in [(2, 3), (3, 2), (2, 1), (4, 2)] {
            let mut world = World::new(seed, defaults);
            world.run_for(10_000_000);
            let term = world.status(2, 2).term;
            world.cut.insert((from, to));
            world.run_for(30_000_000);
            assert_eq!(world.leader(2), Some(2), "cut {from} to {to}");
            assert_eq!(world.status(2, 2).term, term, "cut {from} to {to} raised the term");
        }
    }
}

#[test]
fn a_leader_without_a_majority_gives_up_after_one_election_time_whenever_it_lost_it() {
    for phase in 0..20 {
        let mut world = World::new(3, defaults);
        world.run_for(10_000_000 + phase * 61_000);
        assert_eq!(world.leader(1), Some(1));
        world.isolate(1);
        let leads = |world: &World| world.status(1, 1).role == dwcp_consensus::Role::Leader;
        let took = world.run_until(3_000_000, "it gives up", |world| !leads(world));
        assert!((1_000_000..1_500_000).contains(&took), "phase {phase}: after {took} us");
    }
}

#[test]
fn a_leader_that_hears_nobody_gives_way_and_does_not_disturb_its_successor() {
    let mut world = World::new(3, defaults);
    world.run_for(10_000_000);
    for other in [1, 3, 4, 5] {
        world.cut.insert((other, 2));
    }
    world.run_until(8_000_000, "a successor", |world| world.leader(2).is_some_and(|leader| leader != 2));
    world.run_for(5_000_000);
    let (leader, term) = (world.leader(2).unwrap(), world.status(1, 2).term);
    world.run_for(30_000_000);
    assert_eq!(world.status(1, 2).term, term);
    assert_eq!(world.leader(2), Some(leader));
}

#[test]
fn a_leader_whose_disk_is_stuck_makes_room_and_does_not_campaign() {
    let mut world = World::new(4, defaults);
    world.run_for(10_000_000);
    world.stuck.insert(2);
    world.propose(2, 2);
    world.run_until(12_000_000, "a successor", |world| world.leader(2).is_some_and(|leader| leader != 2));
    let successor = world.leader(2).unwrap();
    world.propose(successor, 2);
    world.run_for(20_000_000);
    assert_ne!(world.leader(2), Some(2));
    assert!(world.all_hold(2, &[1, 3, 4, 5]));
}

#[test]
fn a_minority_does_not_confirm_reads() {
    let mut world = World::new(5, defaults);
    world.run_for(10_000_000);
    for node in [1, 2] {
        for other in [3, 4, 5] {
            world.cut.insert((node, other));
            world.cut.insert((other, node));
        }
    }
    world.run_for(100_000);
    let before = world.reads_ready;
    world.read(1, 1);
    world.run_for(10_000_000);
    assert_eq!(world.reads_ready, before);
    assert!(world.reads_dropped > 0);
    world.run_until(5_000_000, "a new leader", |world| world.leader(1).is_some_and(|leader| leader > 2));
}

#[test]
fn a_follower_refuses_proposals_and_names_the_leader() {
    let mut world = World::new(6, defaults);
    world.run_for(10_000_000);
    let mut out = Vec::new();
    let now = world.now_us;
    let raft = world.nodes.get_mut(&3).unwrap().raft.as_mut().unwrap();
    raft.step(now, Input::Propose { group: 1, ticket: 9, data: vec![1] }, &mut out);
    let reason = DropReason::NotLeader { leader: Some(1) };
    assert!(out.contains(&Output::ProposalDropped { group: 1, ticket: 9, reason }));
}

#[test]
fn the_age_of_answers_to_an_older_leader_grows_from_the_last_one() {
    let mut world = World::new(8, defaults);
    world.run_for(10_000_000);
    let cut_at = world.now_us;
    world.isolate(4);
    world.run_until(8_000_000, "a successor", |world| world.leader(4).is_some_and(|leader| leader != 4));
    let now = world.now_us;
    let successor = world.leader(4).unwrap();
    for node in [1, 2, 3, 5] {
        let raft = world.nodes[&node].raft.as_ref().unwrap();
        let age = raft.older_leader_ack_age_us(4, now).unwrap();
        // Heartbeats every 150 ms travel up to 155 ms, and what was under way when the link was cut is lost.
        assert!(age >= now - cut_at && age < now - cut_at + 400_000, "node {node}: {age} us");
        assert_eq!(raft.leader_since_us(4).is_some(), node == successor);
    }
}

#[test]
fn a_restarted_node_claims_no_age_beyond_its_start() {
    let mut world = World::new(9, defaults);
    world.run_for(10_000_000);
    world.crash(3);
    world.run_for(1_000_000);
    world.start(3);
    world.run_for(200_000);
    let age = world.nodes[&3].raft.as_ref().unwrap().older_leader_ack_age_us(1, world.now_us).unwrap();
    assert!(age <= 200_000);
}

/// Gives every node what a group restored from a backup begins with.
fn restore(world: &mut World) {
    for node in world.nodes.values_mut() {
        node.store.0.clear();
        for group in 1..=5 {
            let voters = (1..=5).collect();
            let beginning = Beginning { voters, index: 1_000_000, term: 2_000_000, ..Beginning::default() };
            node.store.write(&restored(group, beginning));
        }
    }
}

/// Every node starts anew, some later than others, and its links take a few round trips to come up. How long after the last
/// start the last of five groups was led, µs.
fn led_after_a_restart(seed: u64, with: fn(&mut World)) -> u64 {
    let mut world = World::of_groups(seed, defaults, (1..=5).collect());
    world.run_for(12_000_000);
    for group in 1..=5 {
        world.propose(group, group);
    }
    let under_way = world.rng.below(300_000);
    world.run_for(under_way);
    (1..=5).for_each(|node| world.crash(node));
    with(&mut world);
    let begin = world.now_us + 1_000_000;
    let spread = if seed.is_multiple_of(2) { 300_000 } else { 800_000 };
    let starts: Vec<u64> = (0..5).map(|_| begin + world.rng.below(spread)).collect();
    let start = |node: u64| starts[node as usize - 1];
    (1..=5).for_each(|node| world.isolate(node));
    let mut led = BTreeSet::new();
    while led.len() < 5 {
        for node in 1..=5 {
            if world.nodes[&node].raft.is_none() && start(node) <= world.now_us {
                world.start(node);
            }
        }
        let now_us = world.now_us;
        world.cut.retain(|(from, to)| now_us <= start(*from).max(start(*to)) + 4 * World::rtt_us(*from, *to));
        world.run_for(10_000);
        led.extend((1..=5).filter(|group| world.leader(*group).is_some()));
        assert!(world.now_us < begin + 60_000_000, "seed {seed}: only {led:?} are led");
    }
    world.now_us.saturating_sub(starts.into_iter().max().unwrap())
}

/// How long after its home died another leads the group, µs.
fn led_after_a_death(group: u64, seed: u64) -> u64 {
    let mut world = World::of_groups(seed, defaults, vec![group]);
    let before = 10_000_000 + world.rng.below(1_000_000);
    world.run_for(before);
    assert_eq!(world.leader(group), Some(group));
    world.propose(group, group);
    let under_way = world.rng.below(400_000);
    world.run_for(under_way);
    world.crash(group);
    world.run_until(60_000_000, "another leader", |world| world.leader(group).is_some())
}

#[test]
fn after_a_restart_of_everything_each_group_is_led_again_soon() {
    for seed in 0..30 {
        let took = led_after_a_restart(seed, |_| {});
        assert!(took < 3_000_000, "seed {seed}: after {took} us");
    }
}

#[test]
fn restored_groups_wait_for_no_leader_that_cannot_be() {
    for seed in 0..30 {
        let took = led_after_a_restart(seed, restore);
        assert!(took < 2_500_000, "seed {seed}: after {took} us");
    }
}

#[test]
fn a_group_whose_home_dies_is_led_by_the_next_at_the_first_try() {
    for (group, seed) in (1..=5).flat_map(|group| (0..10).map(move |seed| (group, seed))) {
        let took = led_after_a_death(group, seed);
        assert!(took < 2_400_000, "group {group}, seed {seed}: after {took} us");
    }
}

/// The figures of `docs/decisions/2026-11-28-elections.md`.
#[test]
#[ignore = "long"]
fn a_long_night_of_elections() {
    let show = |what: &str, mut took: Vec<u64>| {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100] / 1_000;
        println!("{what}: P50 {} P90 {} P99 {} longest {} ms", at(50), at(90), at(99), at(100));
        assert!(at(99) < 3_000);
    };
    show("all restart", (0..600).map(|seed| led_after_a_restart(seed, |_| {})).collect());
    show("all are restored", (0..600).map(|seed| led_after_a_restart(seed, restore)).collect());
    for group in 1..=5 {
        show(&format!("home {group} dies"), (0..600).map(|seed| led_after_a_death(group, seed)).collect());
    }
}

/// How long nobody led while leadership went back to a home that had been away, us; none when it did not go back in 40 s.
fn gap_of_going_home(seed: u64, sync_us: u64) -> Option<u64> {
    let mut world = World::new(seed, defaults);
    world.run_for(10_000_000);
    world.crash(1);
    world.run_until(10_000_000, "another leader", |world| world.leader(1).is_some_and(|leader| leader != 1));
    world.run_for(2_000_000);
    world.sync_us = sync_us;
    world.start(1);
    let (end, mut led_at, mut longest) = (world.now_us + 40_000_000, world.now_us, 0);
    while world.now_us < end && world.leader(1) != Some(1) {
        match world.leader(1) {
            Some(leader) => {
                led_at = world.now_us;
                world.propose(leader, 1);
            }
            None => longest = longest.max(world.now_us - led_at),
        }
        world.run_for(50_000);
    }
    (world.leader(1) == Some(1)).then_some(longest)
}

#[test]
fn leadership_goes_home_without_a_pause_also_when_drives_are_slow() {
    for sync_us in [3_000, 300_000, 600_000] {
        for seed in 0..10 {
            let gap_us = gap_of_going_home(seed, sync_us);
            // A vote is on a drive within one and a half times `sync_us`, and half a round trip away.
            let most_us = 200_000 + sync_us * 3 / 2;
            assert!(gap_us.is_some_and(|us| us <= most_us), "seed {seed}, {sync_us} us: {gap_us:?}");
        }
    }
}

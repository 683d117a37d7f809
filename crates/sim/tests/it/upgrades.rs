//! Levels and upgrades: mixed programs work together, and an upgrade ends whoever dies over it.

use dwcp_roles::node::{Asked, Request, UpgradeRequest};
use dwcp_sim::client::SCENARIO_TICKETS;
use dwcp_sim::options::Options;
use dwcp_sim::upgrades::Built;
use dwcp_sim::world::World;
use dwcp_state::{Operation, OperationState, Release};
use dwcp_types::{LEVEL, NodeId, Rng};

const NEXT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BROKEN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Between two moments of an upgrade at which somebody dies, µs: less than any of its steps takes.
const STEP_US: usize = 200_000;

fn run_for(world: &mut World, us: u64) {
    let until_us = world.now_us + us;
    world.run_until(until_us).expect("every promise is kept");
}

fn asked() -> Asked {
    Asked { by: "test".into(), ..Asked::default() }
}

/// A world that has settled, with both programs published and there.
fn world(seed: u64) -> World {
    let mut world = World::new(Options { level: LEVEL, ..Options::quiet(seed) });
    run_for(&mut world, 8_000_000);
    for (version, sha256, level, works) in
        [("9.0.0", NEXT, LEVEL + 1, true), ("9.0.1", BROKEN, LEVEL + 1, false)]
    {
        world.offer(sha256, Built { level, works });
        let release =
            Release { version: version.into(), sha256: sha256.into(), level, bytes: 1, ..Release::default() };
        world.ask(1, SCENARIO_TICKETS, Request::PublishRelease(asked(), Box::new(release)));
        run_for(&mut world, 2_000_000);
    }
    world
}

fn ask(world: &mut World, at: NodeId, region: NodeId, version: &str) {
    let region = world.options.region(region);
    let request = UpgradeRequest { region, version: version.into(), dry_run: false };
    world.ask(at, SCENARIO_TICKETS, Request::Upgrade(asked(), request));
}

/// The newest upgrade, as somebody who lives knows it.
fn newest(world: &World) -> Option<Operation> {
    let nodes = world.nodes.values().filter_map(|slot| slot.node.as_ref());
    let facts = nodes.map(|node| &node.facts().core).max_by_key(|core| core.revision)?;
    facts.upgrades().map(|(operation, _)| operation.clone()).max_by_key(|operation| operation.revision)
}

fn level(world: &World, number: NodeId) -> u64 {
    world.nodes[&number].node.as_ref().map_or(0, |node| node.facts().core.level)
}

/// Runs until the newest upgrade has ended.
fn ended(world: &mut World, within_s: u64) -> Operation {
    for _ in 0..within_s {
        run_for(world, 1_000_000);
        let Some(operation) = newest(world) else { continue };
        if operation.state != OperationState::Running {
            return operation;
        }
    }
    panic!("no end within {within_s} s: {:?}", newest(world));
}

#[test]
fn a_level_comes_into_force_when_the_last_region_knows_it_and_not_before() {
    let mut world = world(11);
    for region in 1..=5 {
        assert_eq!(level(&world, 1), LEVEL, "before region {region}");
        ask(&mut world, 1 + region % 5, region, "9.0.0");
        let operation = ended(&mut world, 60);
        assert_eq!(operation.state, OperationState::Done, "region {region}: {}", operation.result);
    }
    run_for(&mut world, 5_000_000);
    for region in 1..=5 {
        assert_eq!(level(&world, region), LEVEL + 1, "region {region}");
    }
    let node = world.nodes[&1].node.as_ref().expect("it lives");
    assert_eq!(
        node.facts().core.ledger.events.iter().filter(|of| of.kind == "federation.level_raised").count(),
        1
    );
}

#[test]
fn a_program_below_the_level_in_force_does_not_run_on_a_store_of_it() {
    let mut world = world(12);
    for region in 1..=5 {
        ask(&mut world, 1, region, "9.0.0");
        assert_eq!(ended(&mut world, 60).state, OperationState::Done);
    }
    run_for(&mut world, 5_000_000);
    world.kill_node(3);
    if let Some(slot) = world.nodes.get_mut(&3) {
        slot.installed.program.level = LEVEL;
    }
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.start_node(3);
        run_for(&mut world, 5_000_000);
    }));
    let why = ran.expect_err("it stops");
    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(why.contains("knows level"), "{why}");
}

#[test]
fn a_program_that_does_not_work_is_rolled_back_by_itself() {
    let mut world = world(13);
    ask(&mut world, 1, 2, "9.0.1");
    let operation = ended(&mut world, 60);
    assert_eq!(operation.state, OperationState::Failed);
    assert!(operation.result.contains("rolled back"), "{}", operation.result);
    assert_eq!(world.nodes[&2].installed.program.sha256, "");
    run_for(&mut world, 5_000_000);
    ask(&mut world, 2, 2, "9.0.0");
    assert_eq!(ended(&mut world, 60).state, OperationState::Done, "the next one is not held back by it");
}

#[test]
fn an_upgrade_waits_for_every_other_voter_and_is_refused_when_one_is_away() {
    let mut world = world(14);
    world.kill_node(4);
    run_for(&mut world, 3_000_000);
    ask(&mut world, 1, 2, "9.0.0");
    run_for(&mut world, 5_000_000);
    assert!(newest(&world).is_none(), "refused");
    world.start_node(4);
    run_for(&mut world, 5_000_000);
    ask(&mut world, 1, 2, "9.0.0");
    run_for(&mut world, 150_000);
    // It was begun; whoever is away now, nobody goes over.
    world.kill_node(5);
    let before = world.nodes[&2].installed.program.sha256.clone();
    run_for(&mut world, 20_000_000);
    let mixed = world.nodes[&2].installed.program.sha256.clone();
    if newest(&world).is_some_and(|operation| operation.state == OperationState::Running) {
        assert_eq!(mixed, before, "nobody goes over while a voter is away");
    }
    world.start_node(5);
    assert_eq!(ended(&mut world, 60).state, OperationState::Done);
}

#[test]
fn whoever_dies_at_whatever_step_the_upgrade_ends_well() {
    for seed in 0..12 {
        let mut world = world(100 + seed);
        let mut rng = Rng::new(seed);
        let target = 1 + seed % 5;
        ask(&mut world, 1 + (seed + 1) % 5, target, "9.0.0");
        for _ in 0..4 {
            run_for(&mut world, 50_000 + rng.below(2_500_000));
            // Half of the time whoever carries it on, else anybody, the target included.
            let victim = leader(&world).filter(|_| rng.below(2) == 0).unwrap_or(1 + rng.below(5));
            world.kill_node(victim);
            run_for(&mut world, 500_000 + rng.below(2_000_000));
            if world.nodes[&victim].node.is_none() {
                world.start_node(victim);
            }
        }
        if newest(&world).is_none() {
            // Its request died with whoever was asked.
            run_for(&mut world, 5_000_000);
            ask(&mut world, 1, target, "9.0.0");
        }
        let operation = ended(&mut world, 120);
        assert_eq!(operation.state, OperationState::Done, "seed {seed}: {}", operation.result);
        assert_eq!(world.nodes[&target].installed.program.sha256, NEXT, "seed {seed}");
    }
}

/// Who dies over an upgrade.
#[derive(Clone, Copy, Debug)]
enum Dies {
    /// Whoever carries it on, while another region is upgraded.
    Leader,
    /// Whoever carries it on, and is itself upgraded.
    LeaderAndTarget,
    /// Whoever is upgraded, while another one carries it on.
    Target,
}

fn leader(world: &World) -> Option<NodeId> {
    let leads = |number: &NodeId| world.nodes[number].node.as_ref().is_some_and(|node| node.leads(0));
    world.alive().into_iter().find(leads)
}

/// One node dies so long after an upgrade was asked for, and comes back; how the upgrade ended, and when if nobody died.
fn dies_over(dies: Option<(Dies, u64)>, version: &str) -> (Operation, String, u64) {
    let mut world = world(200);
    let leads = leader(&world).expect("somebody leads");
    let target = if matches!(dies, Some((Dies::LeaderAndTarget, _))) { leads } else { 1 + leads % 5 };
    let at = 1 + target % 5;
    let began_us = world.now_us;
    ask(&mut world, if at == leads { 1 + at % 5 } else { at }, target, version);
    if let Some((who, after_us)) = dies {
        run_for(&mut world, after_us);
        let victim = if matches!(who, Dies::Target) { target } else { leader(&world).unwrap_or(leads) };
        world.kill_node(victim);
        run_for(&mut world, 1_500_000);
        if world.nodes[&victim].node.is_none() {
            world.start_node(victim);
        }
        if newest(&world).is_none() {
            // Its request died with the leader, and whoever asked repeats it.
            run_for(&mut world, 5_000_000);
            ask(&mut world, at, target, version);
        }
    }
    while newest(&world).is_none_or(|operation| operation.state == OperationState::Running) {
        assert!(world.now_us - began_us < 120_000_000, "no end: {dies:?}, {:?}", newest(&world));
        run_for(&mut world, 50_000);
    }
    let operation = newest(&world).expect("it ended");
    let installed = world.nodes[&target].installed.program.sha256.clone();
    (operation, installed, world.now_us - began_us)
}

#[test]
fn at_every_step_of_an_upgrade_the_death_of_its_leader_or_its_target_changes_nothing_of_its_end() {
    for (version, ends, installed) in
        [("9.0.0", OperationState::Done, NEXT), ("9.0.1", OperationState::Failed, "")]
    {
        let (operation, has, undisturbed_us) = dies_over(None, version);
        assert_eq!((operation.state, has.as_str()), (ends, installed), "{}", operation.result);
        for dies in [Dies::Leader, Dies::LeaderAndTarget, Dies::Target] {
            for after_us in (0..undisturbed_us).step_by(STEP_US) {
                let (operation, has, _) = dies_over(Some((dies, after_us)), version);
                assert_eq!(
                    (operation.state, has.as_str()),
                    (ends, installed),
                    "{version}, {dies:?} after {} ms: {}",
                    after_us / 1_000,
                    operation.result
                );
            }
        }
    }
}

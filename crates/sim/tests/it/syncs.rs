//! Replicas are compared and rebuilt while things go wrong: nothing is found that is not there, and nothing is lost.

use dwcp_roles::node::{Asked, Reply, Request, VerifyReport};
use dwcp_sim::client::SCENARIO_TICKETS;
use dwcp_sim::faults::Fault;
use dwcp_sim::options::Options;
use dwcp_sim::run;
use dwcp_sim::world::{Event, World};
use dwcp_state::OperationState;
use dwcp_types::{NodeId, RegionId, Rng};

fn run_for(world: &mut World, us: u64) {
    let until_us = world.now_us + us;
    world.run_until(until_us).expect("every promise is kept");
}

/// The answer to a verification; none when whoever was asked died over it.
fn heard(world: &mut World, ticket: u64) -> Option<VerifyReport> {
    match world.client.heard.remove(&ticket) {
        Some(Reply::Verified(report)) => Some(*report),
        _ => None,
    }
}

fn rebuilds(world: &World) -> Vec<OperationState> {
    let node = world.nodes.values().find_map(|slot| slot.node.as_ref()).expect("one lives");
    node.facts().core.syncs().map(|(operation, _)| operation.state).collect()
}

/// Asks for a rebuild of one region from another one, and for a verification of everything.
fn ask(world: &mut World, rng: &mut Rng, ticket: u64) {
    let alive = world.alive();
    let Some(node) = alive.get(rng.below(alive.len().max(1) as u64) as usize).copied() else { return };
    let mut names: Vec<RegionId> = (1..=5 as NodeId).map(|number| world.options.region(number)).collect();
    let source = names.remove(rng.below(5) as usize);
    let target = names.remove(rng.below(4) as usize);
    world.ask(node, SCENARIO_TICKETS + ticket, Request::VerifySync(None, 0));
    let asked = Asked { by: "test".into(), ..Asked::default() };
    let rebuild = Request::ForceSync(asked, source, vec![target], false);
    world.ask(node, SCENARIO_TICKETS + ticket + 1, rebuild);
}

/// Whether every replica of every group is equal now, and every store whole.
fn all_is_well(world: &mut World) -> bool {
    let ticket = SCENARIO_TICKETS + (1 << 20);
    let groups = world.groups().len() as u64;
    let (node, _) = world.present().next().expect("one is there");
    world.ask(node, ticket, Request::VerifySync(None, 0));
    run_for(world, 26_000_000);
    let report = heard(world, ticket).expect("an answer in time");
    let well = report.regions.iter().all(|region| {
        let whole = region.store.as_ref().is_some_and(|check| check.is_whole());
        region.groups == groups && region.differs.is_empty() && whole
    });
    if !well {
        println!("{report:?}");
    }
    well
}

/// How many verifications were answered, and how the rebuilds ended.
fn storm(seed: u64) -> (u64, Vec<OperationState>) {
    let mut rng = Rng::new(seed ^ 0x5ecc);
    let mut world = World::new(Options { drill: false, ..Options::swarm(seed, None) });
    world.client.active = true;
    world.schedule(6_000_000, Event::Client);
    run_for(&mut world, run::FAULTS_BEGIN_US);
    world.schedule(0, Event::Fault(Fault::Draw));
    let (mut answered, mut ticket) = (0, 0);
    while world.now_us < world.faults_end_us() {
        ask(&mut world, &mut rng, 2 * ticket);
        ticket += 1;
        run_for(&mut world, 4_000_000);
    }
    world.heal();
    world.client.active = false;
    let settled = run::settle(&mut world);
    assert!(settled.is_ok(), "seed {seed}: {settled:?}");
    // A step that can't go on gives up after three minutes.
    for _ in 0..60 {
        if !rebuilds(&world).contains(&OperationState::Running) {
            break;
        }
        run_for(&mut world, 10_000_000);
    }
    for number in 0..ticket {
        let Some(report) = heard(&mut world, SCENARIO_TICKETS + 2 * number) else { continue };
        answered += 1;
        assert!(report.took_ms < 26_000, "seed {seed}: {report:?}");
        for region in &report.regions {
            assert_eq!(region.differs, Vec::<u64>::new(), "seed {seed}: nothing differs: {report:?}");
            // What a start found rotten lies there until it has been repaired.
            let rotten = region.store.iter().any(|check| !check.flaws.is_empty());
            assert!(!rotten || world.options.mix.bit_rot > 0, "seed {seed}: nothing rots: {region:?}");
        }
    }
    assert!(all_is_well(&mut world), "seed {seed}");
    (answered, rebuilds(&world))
}

#[test]
fn rebuilds_and_verifications_in_a_storm_lose_nothing_find_nothing_and_end() {
    let (mut answered, mut done, mut begun) = (0, 0, 0);
    for seed in 0..12 {
        let (verdicts, ended) = storm(seed);
        assert!(!ended.contains(&OperationState::Running), "seed {seed}: {ended:?}");
        answered += verdicts;
        begun += ended.len();
        done += ended.iter().filter(|state| **state == OperationState::Done).count();
    }
    println!("{answered} verdicts; {begun} rebuilds, {done} done");
    assert!(answered > 60 && done > 6, "{answered} verdicts; {begun} rebuilds, {done} done");
}

#[test]
fn a_verification_during_which_a_leader_dies_says_of_whom_nothing_is_known_and_finds_the_others_equal() {
    for after_us in [100_000, 600_000, 1_500_000, 3_000_000] {
        let mut world = World::new(Options::quiet(3));
        run_for(&mut world, 10_000_000);
        let node = world.nodes[&2].node.as_ref().expect("it lives");
        let leader = node.group(0).and_then(|status| status.leader).expect("a leader");
        let asked = if leader == 2 { 3 } else { 2 };
        world.ask(asked, SCENARIO_TICKETS, Request::VerifySync(None, 0));
        run_for(&mut world, after_us);
        world.strike(Fault::KillNode(leader));
        run_for(&mut world, 26_000_000);
        let report = heard(&mut world, SCENARIO_TICKETS).expect("an answer in time");
        for region in &report.regions {
            assert_eq!(region.differs, Vec::<u64>::new(), "{report:?}");
            let of_leader = region.region == world.options.region(leader);
            assert_eq!(region.silent_ms > 0, of_leader, "after {after_us} us: {region:?}");
            if !of_leader {
                assert_eq!(region.groups, 6, "after {after_us} us: {region:?}");
                assert!(region.store.as_ref().is_some_and(|check| check.is_whole()), "{region:?}");
            }
        }
    }
}

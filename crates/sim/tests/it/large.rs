//! Sizes at which what was to be agreed does not fit into one proposal.

use dwcp_roles::node::{Asked, CreateVm, Reply, Request};
use dwcp_sim::client;
use dwcp_sim::faults::Fault;
use dwcp_sim::options::Options;
use dwcp_sim::world::World;
use dwcp_state::{Failover, FailoverState, MoveState, Rules, Want};
use dwcp_types::{Amount, Code};

/// So many stopped VMs without size, near users in us-east-1; they move like all others and no host has to run them.
fn create(world: &mut World, count: u64) {
    for number in 0..count {
        let mut template = client::template(&format!("vm-{number}"), Rules::default());
        template.want = Want::Stopped;
        template.labels.clear();
        template.spec.size = Amount { vcpus: 0, memory_mib: 1, disk_gib: 0 };
        template.rules.allowed_regions =
            ["us-east-1", "eu-west-1", "ap-south-1"].map(|name| name.into()).into();
        let create = CreateVm { template, users_in: Some("us-east-1".into()), ..CreateVm::default() };
        let asked = Asked { by: "test".into(), key: Some(format!("vm/{number}")), ..Asked::default() };
        world.ask(1, client::SCENARIO_TICKETS + number, Request::CreateVm(asked, Box::new(create)));
        if number % 20 == 19 {
            let soon_us = world.now_us + 100_000;
            world.run_until(soon_us).expect("it goes well");
        }
    }
}

fn vms_in(world: &World, region: &str) -> usize {
    let node = world.nodes.values().find_map(|slot| slot.node.as_ref()).expect("one lives");
    node.facts().regions[&region.into()].vms.len()
}

fn failover(world: &World) -> Option<Failover> {
    let node = world.nodes.values().find_map(|slot| slot.node.as_ref()).expect("one lives");
    node.facts().core.failovers.values().next_back().cloned()
}

/// Kills a region with at least two thirds of so many VMs, and waits until its failover has ended.
fn fails_over(options: Options, count: u64) {
    let mut world = World::new(options);
    world.run_until(6_000_000).expect("it goes well");
    create(&mut world, count);
    let later_us = world.now_us + 10_000_000;
    world.run_until(later_us).expect("it goes well");
    let there = vms_in(&world, "us-east-1");
    assert!(there as u64 * 3 >= count * 2, "{there} VMs are where they are to leave from");
    world.strike(Fault::KillRegion(1));
    let killed_us = world.now_us;
    while failover(&world).is_none_or(|failover| failover.state == FailoverState::Running) {
        let waited_us = world.now_us - killed_us;
        assert!(waited_us < 120_000_000, "{there} VMs: {} still there", vms_in(&world, "us-east-1"));
        let next_us = world.now_us + 1_000_000;
        world.run_until(next_us).expect("it goes well");
    }
    eprintln!("{there} VMs: {} s of simulated time", (world.now_us - killed_us) / 1_000_000);
    let ended = failover(&world).expect("it has ended");
    assert_eq!((ended.state, ended.vms.len()), (FailoverState::Done, there));
    assert!(ended.vms.iter().all(|vm| vm.state == MoveState::Verified));
    assert_eq!(vms_in(&world, "us-east-1"), 0);
}

#[test]
fn a_failover_of_a_thousand_vms_ends_although_no_proposal_holds_them_all() {
    fails_over(Options { max_proposal_bytes: Some(16 << 10), ..Options::quiet(1) }, 1_500);
}

/// Some minutes; with `--cargo-profile sim` less.
#[test]
#[ignore = "long"]
fn a_failover_of_four_thousand_vms_ends() {
    fails_over(Options::quiet(1), 4_000);
}

#[test]
fn a_request_that_is_too_large_for_a_proposal_is_refused_as_such() {
    let mut world = World::new(Options { max_proposal_bytes: Some(8 << 10), ..Options::quiet(1) });
    world.run_until(6_000_000).expect("it goes well");
    for node in 1..=2 {
        let mut template = client::template(&format!("vm-{node}"), Rules::default());
        template.labels.insert("note".into(), "long ".repeat(2_000));
        let create = CreateVm { template, users_in: Some("us-east-1".into()), ..CreateVm::default() };
        let ticket = client::SCENARIO_TICKETS + node;
        world.ask(node, ticket, Request::CreateVm(Asked::default(), Box::new(create)));
        let soon_us = world.now_us + 2_000_000;
        world.run_until(soon_us).expect("it goes well");
        match world.client.heard.remove(&ticket) {
            Some(Reply::Placed { refusal: Some(refusal), .. }) | Some(Reply::Refused(refusal)) => {
                assert_eq!(refusal.code, Code::TooLarge, "{refusal}");
            }
            other => panic!("node {node} answered {other:?}"),
        }
    }
}

#[test]
fn what_dwcp_proposes_by_itself_is_never_dropped_in_silence() {
    let small = Options { max_proposal_bytes: Some(200), verbose: true, ..Options::quiet(1) };
    let mut world = World::new(small);
    world.run_until(10_000_000).expect("it goes well");
    let told: Vec<&String> =
        world.log.iter().filter(|line| line.contains("own proposals were dropped")).collect();
    assert!((3..=10).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|line| line.contains("Found (") && line.contains("BadSize")), "{told:?}");
}

//! What a region tells the others of its hosts.

use dwcp_roles::node::Input;
use dwcp_sim::faults::Fault;
use dwcp_sim::options::Options;
use dwcp_sim::world::{REGIONS, World};
use dwcp_state::Standing;
use dwcp_types::NodeId;

/// Age of the word on every host as a node has it, in ms; none where it has no word.
fn heard_ms(world: &World, number: NodeId) -> Vec<Option<u64>> {
    let node = world.nodes[&number].node.as_ref().expect("it runs");
    let regions = node.facts().regions.values();
    let hosts = regions.flat_map(|region| region.hosts.keys().map(|host| (region.number, host)));
    hosts.map(|(group, host)| node.host_now(group, host).map(|now| now.heard_ms)).collect()
}

#[test]
fn every_region_knows_when_every_host_was_heard_and_that_the_word_grows_old() {
    // 40 hosts a region do not fit into one beat: they are told in turn.
    let mut world = World::new(Options { hosts: 40, ..Options::quiet(1) });
    world.run_until(20_000_000).expect("it goes well");
    for number in 1..=5 {
        let heard = heard_ms(&world, number);
        assert_eq!(heard.len(), 200);
        assert!(heard.iter().all(|ms| ms.is_some_and(|ms| ms < 2_500)), "node {number}: {heard:?}");
    }
    for gone in 3..=5 {
        world.kill_node(gone);
    }
    world.run_until(40_000_000).expect("it goes well");
    let old = heard_ms(&world, 1).iter().filter(|ms| ms.is_some_and(|ms| ms > 15_000)).count();
    assert!(old >= 80, "hosts of regions without a leader that is heard: {old}");
}

/// What the leader of a group knows of a host: the incarnation of its agent, and whether it has a lease.
fn registered(world: &World, group: u64, host: usize) -> (NodeId, u64) {
    let (leader, node) = leader(world, group);
    let of = &world.hosts[host];
    (leader, node.facts().regions[&of.region].hosts[&of.name].facts.incarnation)
}

fn leader(world: &World, group: u64) -> (NodeId, &dwcp_roles::node::Node) {
    let mut alive = world.nodes.iter().filter_map(|(number, slot)| Some((*number, slot.node.as_ref()?)));
    alive.find(|(_, node)| node.leads(group)).expect("somebody leads it")
}

#[test]
fn an_agent_whose_introduction_got_lost_on_its_way_to_a_distant_leader_is_soon_known() {
    let mut world = World::new(Options::quiet(1));
    world.run_until(12_000_000).expect("it goes well");
    // Its hosts reach another node than the one that will lead.
    world.strike(Fault::CutLink(1, 2));
    world.kill_node(1);
    world.run_until(24_000_000).expect("it goes well");
    let host = world.hosts.iter().position(|host| host.home == 1).expect("region 1 has hosts");
    let relay = world.hosts[host].connection.expect("it found another region's node").node;
    let (leader, before) = registered(&world, 1, host);
    assert_ne!(relay, leader, "its messages have a way to go");
    // Its worker dies and comes back, and the first that the new one says is lost between two nodes.
    world.strike(Fault::KillAgent(host));
    world.run_until(24_400_000).expect("it goes well");
    world.strike(Fault::CutLink(relay, leader));
    world.strike(Fault::StartAgent(host));
    world.run_until(24_900_000).expect("it goes well");
    world.strike(Fault::HealLink(relay, leader));
    let until_us = world.hosts[host].lease_until_us;
    world.run_until(28_000_000).expect("it goes well");
    assert_eq!(registered(&world, 1, host), (leader, before + 1));
    assert!(world.hosts[host].lease_until_us > until_us, "and has a lease again");
}

#[test]
fn a_region_is_not_lost_because_its_hosts_leave_for_its_own_server_that_has_just_come_back() {
    let mut world = World::new(Options::quiet(1));
    world.run_until(12_000_000).expect("it goes well");
    world.kill_node(1);
    world.run_until(30_000_000).expect("it goes well");
    let present = |world: &World| {
        let region = REGIONS[0].into();
        let (_, node) = leader(world, 0);
        node.facts().core.regions[&region].standing == Standing::Present
    };
    assert!(present(&world), "its hosts are heard of");
    // They hang up at the other region's node; the first word of their own is still on its way to the others.
    for host in 0..world.hosts.len() {
        if world.hosts[host].home == 1 {
            let connection = world.hosts[host].connection.take().expect("it found another region's node");
            world.step_node(connection.node, Input::AgentDown { session: connection.session });
        }
    }
    world.run_until(30_700_000).expect("it goes well");
    assert!(present(&world), "they were heard of a moment ago");
}

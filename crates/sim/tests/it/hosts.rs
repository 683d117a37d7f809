//! What a region tells the others of its hosts.

use dwcp_sim::options::Options;
use dwcp_sim::world::World;
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

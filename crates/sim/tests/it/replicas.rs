//! Controller replicas that answer late, never, twice, wrongly or on old facts.

use dwcp_sim::options::Options;
use dwcp_sim::run;
use dwcp_sim::world::World;

#[test]
fn nothing_is_given_twice_and_nobody_waits_for_replicas_that_decide_badly() {
    for seed in [2, 10] {
        let options = Options::swarm(seed, None);
        assert!(options.replicas, "seed {seed} has none");
        let ended = run::swarm(options);
        assert_eq!(ended.violation, None, "seed {seed}");
        assert!(ended.created > 0, "seed {seed} creates nothing");
    }
}

#[test]
fn replicas_really_decide_in_the_simulator() {
    let mut world = World::new(Options { replicas: true, ..Options::quiet(10) });
    world.client.active = true;
    world.schedule(6_000_000, dwcp_sim::world::Event::Client);
    world.run_until(40_000_000).expect("nothing is violated");
    assert!(world.replicas.answered > 0, "nobody asked them");
    let decisions: Vec<_> = world
        .nodes
        .values()
        .filter_map(|slot| slot.node.as_ref())
        .map(|node| node.decisions().clone())
        .collect();
    assert!(decisions.iter().any(|decisions| decisions.by_replicas > 0), "{decisions:?}");
    assert!(decisions.iter().any(|decisions| decisions.late > 0), "some answers never come: {decisions:?}");
}

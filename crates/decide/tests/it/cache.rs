//! How long candidate tables are kept, and what is counted of it.

use dwcp_decide::{CacheStats, PlaceIndex, PlaceRequest, Reservations, Serial, place};
use dwcp_state::{Command, Observation, Policy, Profile};
use dwcp_types::{Amount, Mono};

use super::world::{World, host, region, request, size};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

/// A controller that decides about the same VM again and again.
struct Controller {
    world: World,
    index: PlaceIndex,
    ask: PlaceRequest,
}

impl Controller {
    /// Two regions of two hosts; `a` is preferred.
    fn new(ttl_ms: u64) -> Controller {
        let mut world = World::new(&["a", "b"], 2);
        world.view.core.policy = Policy { placement_cache_ttl_ms: ttl_ms, ..Policy::default() };
        let ask = request(world.vm(size(8, 1_024, 1)));
        Controller { world, index: PlaceIndex::default(), ask }
    }

    fn decide_at(&mut self, ms: u64) -> (String, CacheStats) {
        self.index.set_now(Mono(ms * 1_000));
        let (world, reserved) = (&self.world, Reservations::default());
        let placed =
            place(&world.view, &mut self.index, &world.measured, &reserved, &self.ask, false, &Serial).0;
        (placed.map(|at| format!("{}/{}", at.region, at.host)).unwrap_or_default(), self.index.stats())
    }

    /// Closes a host behind the back of everything that tells what changed.
    fn close_unseen(&mut self, of: &str, id: &str) {
        let facts = self.world.view.regions.get_mut(&region(of)).expect("a region");
        facts.hosts.get_mut(&host(id)).expect("a host").placement = false;
    }
}

#[test]
fn the_index_follows_the_facts_and_counts_how_often_it_was_current() {
    let mut controller = Controller::new(60_000);
    let (placed, stats) = controller.decide_at(0);
    assert_eq!((placed.as_str(), stats.misses, stats.entries), ("a/h1", 2, 4));
    let (_, stats) = controller.decide_at(0);
    assert_eq!((stats.hits, stats.misses, stats.invalidations), (2, 2, 0));
    assert_eq!(stats.hit_rate, 0.5);
    controller.world.fill("a", "h1", SMALL);
    controller.world.fill("a", "h2", SMALL);
    let (placed, stats) = controller.decide_at(0);
    assert_eq!((placed.as_str(), stats.misses, stats.invalidations), ("b/h1", 3, 1));
    controller.world.accept("b", Command::LoseHost((host("h1"), 0)));
    assert_eq!(controller.decide_at(0).0, "b/h2");
}

#[test]
fn a_table_is_made_anew_when_it_is_too_old_though_nothing_says_that_it_changed() {
    let mut controller = Controller::new(1_000);
    controller.ask.only_regions = Some([region("a")].into());
    assert_eq!(controller.decide_at(5_000).0, "a/h1");
    controller.close_unseen("a", "h1");
    let (placed, stats) = controller.decide_at(5_500);
    assert_eq!((placed.as_str(), stats.hits, stats.expirations), ("a/h1", 2, 0), "it was not told");
    let (placed, stats) = controller.decide_at(6_000);
    assert_eq!((placed.as_str(), stats.hits, stats.misses), ("a/h2", 2, 4));
    assert_eq!((stats.expirations, stats.invalidations), (2, 0));
    let (_, stats) = controller.decide_at(6_500);
    assert_eq!((stats.hits, stats.expirations), (4, 2), "its age counts from when it was made anew");
}

#[test]
fn tables_that_were_made_together_are_made_anew_one_a_decision_before_they_expire() {
    let mut controller = Controller::new(1_000);
    controller.decide_at(0);
    let mut counts = Vec::new();
    for ms in [500, 501, 502, 503, 1_001, 1_002] {
        let (_, stats) = controller.decide_at(ms);
        counts.push((stats.hits, stats.expirations));
    }
    assert_eq!(counts, [(2, 0), (3, 1), (4, 2), (6, 2), (8, 2), (9, 3)]);
}

#[test]
fn with_a_time_to_live_of_zero_no_table_outlives_its_decision() {
    let mut controller = Controller::new(0);
    controller.ask.only_regions = Some([region("a")].into());
    for decision in 1..4 {
        let (placed, stats) = controller.decide_at(0);
        assert_eq!(placed, if decision == 1 { "a/h1" } else { "a/h2" });
        assert_eq!((stats.hits, stats.misses, stats.entries), (0, 2 * decision, 0));
        assert_eq!((stats.expirations, stats.invalidations), (0, 0));
        controller.close_unseen("a", "h1");
    }
}

#[test]
fn unless_somebody_says_otherwise_tables_are_kept() {
    let mut controller = Controller::new(Policy::default().placement_cache_ttl_ms);
    controller.decide_at(0);
    let (_, stats) = controller.decide_at(60_000);
    assert_eq!((stats.hits, stats.misses, stats.entries), (2, 2, 4));
}

#[test]
fn what_changes_no_host_leaves_its_regions_table_as_it_was() {
    let mut controller = Controller::new(60_000);
    let vm = controller.world.fill("a", "h1", SMALL);
    controller.decide_at(0);
    let before = controller.world.view.regions[&region("a")].revision;
    let seen = Observation { vm, ..Observation::default() };
    controller.world.accept("a", Command::Observe((host("h1"), vec![seen])));
    assert_ne!(controller.world.view.regions[&region("a")].revision, before);
    let (_, stats) = controller.decide_at(0);
    assert_eq!((stats.hits, stats.misses, stats.invalidations), (2, 2, 0));
}

#[test]
fn a_region_that_is_gone_takes_its_table_with_it() {
    let mut controller = Controller::new(60_000);
    controller.world.view.core.policy.profile = Profile::Spread;
    controller.decide_at(0);
    controller.world.view.core.regions.remove(&region("a"));
    controller.world.view.regions.remove(&region("a"));
    let (placed, stats) = controller.decide_at(0);
    assert_eq!((placed.as_str(), stats.entries, stats.hits), ("b/h1", 2, 1));
}

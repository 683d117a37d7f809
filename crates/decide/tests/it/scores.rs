//! What is preferred when several places are possible.

use dwcp_decide::PlaceRequest;
use dwcp_state::{Policy, Profile, Weights};
use dwcp_types::Amount;

use super::world::{World, region, request, size};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn with_profile(world: &mut World, profile: Profile) {
    world.view.core.policy = Policy { profile, ..Policy::default() };
}

#[test]
fn the_region_nearest_to_users_wins() {
    let mut world = World::new(&["a", "b", "c"], 1);
    world.rtt("a", "b", 30);
    world.rtt("a", "c", 20);
    let ask = PlaceRequest {
        users_in: Some(region("a")),
        exclude_regions: [region("a")].into(),
        ..request(world.vm(SMALL))
    };
    assert_eq!(world.placed(&ask), "c/h1");
}

#[test]
fn without_a_word_on_users_the_middle_of_the_federation_wins() {
    let mut world = World::new(&["a", "b", "c"], 1);
    world.rtt("a", "b", 50);
    world.rtt("b", "c", 50);
    world.rtt("a", "c", 100);
    assert_eq!(world.placed(&request(world.clone().vm(SMALL))), "b/h1");
}

#[test]
fn the_cheaper_region_wins() {
    let mut world = World::new(&["a", "b"], 1);
    world.change("a", |region| region.prices.vcpu_micros *= 2);
    assert_eq!(world.placed(&request(world.clone().vm(SMALL))), "b/h1");
}

#[test]
fn the_region_with_more_room_wins_and_under_pack_the_fuller_one() {
    let mut world = World::new(&["a", "b"], 2);
    world.fill("a", "h1", size(4, 8_192, 10));
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "b/h1");
    with_profile(&mut world, Profile::Pack);
    assert_eq!(world.placed(&ask), "a/h1");
}

#[test]
fn the_healthier_region_wins() {
    let mut world = World::new(&["a", "b"], 1);
    world.measured.health.insert(region("a"), Some(80));
    assert_eq!(world.placed(&request(world.clone().vm(SMALL))), "b/h1");
}

#[test]
fn the_region_of_higher_priority_wins() {
    let mut world = World::new(&["a", "b"], 1);
    world.change("b", |region| region.priority = 51);
    assert_eq!(world.placed(&request(world.clone().vm(SMALL))), "b/h1");
}

#[test]
fn ties_go_to_the_higher_priority_then_to_the_smaller_name() {
    let mut world = World::new(&["c", "b", "a"], 2);
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h1");
    with_profile(&mut world, Profile::Custom);
    world.view.core.policy.weights = Weights { priority: 0, ..Weights::default() };
    world.change("c", |region| region.priority = 60);
    assert_eq!(world.placed(&ask), "c/h1");
}

#[test]
fn balanced_scores_are_weighted_as_the_policy_says() {
    let mut world = World::new(&["a"], 1);
    world.change("a", |region| region.priority = 40);
    world.measured.health.insert(region("a"), Some(90));
    world.rtt("users", "a", 100);
    let ask = PlaceRequest { users_in: Some(region("users")), ..request(world.vm(size(2, 2_048, 10))) };
    let report = world.decide(&ask).1;
    let (verdict, parts) = (&report.regions[0], report.regions[0].parts);
    let got = [parts.latency, parts.cost, parts.capacity, parts.health, parts.priority];
    assert_eq!(got, [750, 1_000, 750, 900, 400]);
    let sum = 30 * 750 + 25 * 1_000 + 20 * 750 + 15 * 900 + 10 * 400;
    assert_eq!(verdict.score_milli, sum / 100);
}

#[test]
fn hosts_are_ranked_by_what_stays_free_in_the_scarcest_dimension() {
    let mut world = World::new(&["a"], 3);
    world.fill("a", "h1", size(4, 1_024, 1));
    world.fill("a", "h2", size(1, 20_480, 1));
    world.fill("a", "h3", size(3, 8_192, 1));
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h3");
}

//! Which host the profile `pack` fills next.

use dwcp_decide::{PlaceIndex, Serial, place};
use dwcp_state::{Policy, Profile};
use dwcp_types::Amount;

use super::world::{World, request, size};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn packing(hosts: usize) -> World {
    let mut world = World::new(&["a"], hosts);
    world.view.core.policy = Policy { profile: Profile::Pack, ..Policy::default() };
    world
}

#[test]
fn memory_counts_before_processors_when_hosts_are_filled() {
    let mut world = packing(3);
    world.fill("a", "h1", size(6, 4_096, 1));
    world.fill("a", "h2", size(1, 16_384, 1));
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h2", "h1 has no processor left, but h2 less memory");
}

#[test]
fn a_host_in_use_is_filled_before_an_empty_one_that_it_would_fill_better() {
    let mut world = packing(2);
    world.add_host("a", "h3", "a", size(4, 4_096, 50));
    world.fill("a", "h2", size(1, 1_024, 1));
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h2");
    let scores: Vec<(String, u32)> = world.decide(&ask).1.regions[0]
        .hosts
        .iter()
        .map(|host| (host.host.to_string(), host.score_milli))
        .collect();
    assert_eq!(scores[0].0, "h2");
    assert!(scores[0].1 >= 500 && scores[1..].iter().all(|(_, score)| *score < 500), "{scores:?}");
    let explained = &world.decide(&ask).1.regions[0].hosts;
    assert_eq!((explained[0].left_percent, explained[0].idle), (Some([63, 91, 98]), false));
    assert_eq!((explained[1].left_percent, explained[1].idle), (Some([50, 50, 80]), true));
}

#[test]
fn what_is_reserved_makes_a_host_one_in_use() {
    let mut world = packing(3);
    let first = world.vm(SMALL);
    world.reserved.add(&"a".into(), &"h3".into(), &first);
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h3");
}

#[test]
fn a_host_without_a_dimension_is_not_taken_for_one_that_is_free_in_it() {
    let mut world = packing(1);
    world.add_host("a", "h2", "a", size(8, 32_768, 0));
    world.fill("a", "h1", size(4, 16_384, 250));
    world.fill("a", "h2", size(4, 16_384, 0));
    let ask = request(world.vm(size(1, 1_024, 0)));
    assert_eq!(world.placed(&ask), "a/h2", "nothing of its disk stays unused");
}

#[test]
fn hosts_are_filled_one_after_the_other() {
    let mut world = packing(4);
    let mut index = PlaceIndex::default();
    for number in 0..16 {
        let ask = request(world.vm(SMALL));
        let (placed, _) =
            place(&world.view, &mut index, &world.measured, &world.reserved, &ask, false, &Serial);
        let on = placed.expect("there is room").host;
        assert_eq!(on.as_str(), format!("h{}", number / 4 + 1));
        world.put("a", on.as_str(), &ask.vm);
    }
}

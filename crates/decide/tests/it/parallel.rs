//! Whoever runs the pieces of a decision, and in whatever order, it is the same decision.

use std::sync::atomic::{AtomicUsize, Ordering};

use dwcp_decide::{PlaceIndex, PlaceReport, PlaceRequest, Placement, Reservations, Serial, Workers, place};
use dwcp_types::Refusal;

use super::world::{HOST, World, labels, region, request, set, size};

/// Runs the last piece first, and says how many it ran.
#[derive(Default)]
struct Backwards(AtomicUsize);

impl Workers for Backwards {
    fn width(&self) -> usize {
        3
    }

    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(count, Ordering::Relaxed);
        (0..count).rev().for_each(piece);
    }
}

/// Four regions of 1,250 hosts, some of them in use; those of `d` are in a zone of their own.
fn large() -> World {
    let mut world = World::new(&["a", "b", "c", "d"], 0);
    world.view.core.policy.parallel_scoring = true;
    for name in ["a", "b", "c", "d"] {
        for number in 0..1_250 {
            let zone = if name == "d" { "d" } else { "z" };
            world.add_host(name, &format!("h{number:04}"), zone, HOST);
        }
        for number in 0..40 {
            world.fill(name, &format!("h{:04}", number * 31), size(1 + number % 7, 4_096, 10));
        }
    }
    world
}

type Decided = (Result<Placement, Refusal>, PlaceReport);

fn decide(world: &World, ask: &PlaceRequest, explain: bool, workers: &dyn Workers) -> Decided {
    let mut index = PlaceIndex::default();
    place(&world.view, &mut index, &world.measured, &Reservations::default(), ask, explain, workers)
}

#[test]
fn decisions_explanations_and_refusals_do_not_depend_on_who_runs_them() {
    let mut world = large();
    let plain = request(world.vm(size(2, 4_096, 10)));
    let mut only_d = plain.clone();
    only_d.vm.rules.zones = set(&["d"]);
    let mut nowhere = plain.clone();
    nowhere.vm.rules.zones = set(&["x"]);
    nowhere.vm.rules.host_labels = labels(&[("gpu", "yes")]);
    nowhere.vm.rules.max_latency = vec![(region("a"), 10)];
    let mut helped = plain.clone();
    helped.vm.rules.allowed_regions = [region("a")].into();
    helped.vm.rules.zones = set(&["d"]);
    let mut hardly = plain.clone();
    hardly.vm.spec.size = size(8, 32_768, 501);
    for (name, ask) in
        [("plain", plain), ("only d", only_d), ("nowhere", nowhere), ("helped", helped), ("hardly", hardly)]
    {
        for explain in [false, true] {
            let backwards = Backwards::default();
            let one = decide(&world, &ask, explain, &Serial);
            assert_eq!(one, decide(&world, &ask, explain, &backwards), "{name}, explain {explain}");
            let ran = backwards.0.into_inner();
            // A host for `plain` is in the first region, and rules tell no host apart for `hardly`.
            let alone = ["plain", "hardly"].contains(&name) && !explain;
            assert_eq!(ran == 0, alone, "{name}, explain {explain}: {ran} pieces were shared out");
        }
    }
}

#[test]
fn nobody_is_asked_for_help_unless_the_policy_says_so_or_for_a_few_hosts() {
    let mut world = large();
    world.view.core.policy.parallel_scoring = false;
    let backwards = Backwards::default();
    let ask = request(world.vm(size(2, 4_096, 10)));
    decide(&world, &ask, true, &backwards).0.expect("there is room");
    let mut small = World::new(&["a", "b", "c"], 5);
    small.view.core.policy.parallel_scoring = true;
    decide(&small, &ask, true, &backwards).0.expect("there is room");
    assert_eq!(backwards.0.into_inner(), 0);
}

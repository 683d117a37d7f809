//! Which promised times could not be kept, and why.

use dwcp_decide::{BootTimes, Promises, RegionPromise, Timings, promises};
use dwcp_state::{
    Command, Freeze, Guard, GuardState, Operation, OperationKind, OperationState, ProtectionMode, Replica,
    Vm, Want,
};
use dwcp_types::{OperationId, Wall};

use super::world::{World, region, regions, size};

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

fn timings(world: &World) -> Timings {
    let voters: Vec<_> = world.view.core.regions.keys().take(5).cloned().collect();
    Timings {
        beat_ms: 250,
        look_ms: 100,
        fence_ms: 3_300,
        election_ms: 1_800,
        heard: voters.iter().cloned().collect(),
        voters,
        now: Wall(10_000_000),
    }
}

fn judged(world: &World) -> Promises {
    promises(&world.view, &world.measured, &timings(world), &BootTimes::of(&world.view))
}

fn of_a(world: &World) -> RegionPromise {
    judged(world).regions.into_iter().find(|promise| promise.region == region("a")).expect("a")
}

fn small(world: &mut World, of: &str) -> Vm {
    let vm = world.vm(size(1, 1_024, 0));
    world.put(of, "h1", &vm);
    vm
}

/// A VM was created in a region and answered after so long.
fn created(world: &mut World, of: &str, number: u64, took_ms: u64) {
    let facts = world.view.regions.get_mut(&region(of)).expect("a region");
    let operation = Operation {
        id: OperationId(number),
        kind: OperationKind::CreateVms(vec![dwcp_types::VmId(number)]),
        started_at: Wall(number),
        ended_at: Some(Wall(number + took_ms)),
        state: OperationState::Done,
        ..Operation::default()
    };
    facts.operations.insert(operation.id, operation);
}

#[test]
fn a_federation_in_order_keeps_its_promise_and_shows_each_step() {
    let mut world = World::new(&FIVE, 2);
    small(&mut world, "a");
    let promise = of_a(&world);
    assert_eq!((promise.broken, promise.vms, promise.rpo_ms), (Vec::<String>::new(), 1, Some(0)));
    let steps: Vec<(&str, u64)> = promise.steps.iter().map(|step| (step.name, step.ms)).collect();
    // Round trips of 100 ms: 2,500 of silence, a beat, half a round trip, a look; two commits; three commits.
    assert_eq!(steps, [("detect", 2_900), ("agree", 450), ("fence", 0), ("hand over", 700), ("boot", 3_000)]);
    assert_eq!(promise.rto_ms, Some(7_050));
}

#[test]
fn a_region_without_vms_has_nothing_to_promise() {
    let promise = of_a(&World::new(&FIVE, 1));
    assert_eq!((promise.vms, promise.rto_ms, promise.steps.len(), promise.broken.len()), (0, None, 0, 0));
}

#[test]
fn leases_count_from_the_cut_and_only_for_what_is_left_of_them() {
    let mut world = World::new(&FIVE, 1);
    small(&mut world, "a");
    let long = Timings { fence_ms: 10_000, ..timings(&world) };
    let found = promises(&world.view, &world.measured, &long, &BootTimes::default());
    assert_eq!(found.regions[0].steps[2].ms, 10_000 - 2_900 - 450);
}

#[test]
fn more_boots_than_processors_take_turns_until_the_target_is_missed() {
    let mut world = World::new(&FIVE, 1);
    for name in FIVE {
        world.accept(name, Command::SetOvercommit((10_000, 1_000)));
    }
    for name in ["c", "d", "e"] {
        world.change(name, |region| region.placement = false);
    }
    for _ in 0..80 {
        small(&mut world, "a");
    }
    let promise = of_a(&world);
    let boot = promise.steps.last().expect("steps");
    // 80 VMs on the one host of b with 8 processors.
    assert_eq!((boot.ms, boot.from.contains("80 VMs boot on h1 in b")), (30_000, true), "{}", boot.from);
    assert_eq!(promise.broken.len(), 1);
    let said = &promise.broken[0];
    assert!(
        said.contains("34.0 s, 4.0 s over the target of 30.0 s") && said.contains("boot 30.0 s"),
        "{said}"
    );
    assert!(promise.helps[0].contains("h1 in b"), "{:?}", promise.helps);
    world.view.core.policy.rto_target_ms = 60_000;
    assert_eq!(of_a(&world).broken, Vec::<String>::new());
}

#[test]
fn boots_are_measured_elsewhere_and_assumed_only_where_nothing_was() {
    let mut world = World::new(&FIVE, 1);
    small(&mut world, "a");
    let found = judged(&world);
    assert!(found.assumed[0].starts_with("a boot takes 3.0 s"), "{:?}", found.assumed);
    created(&mut world, "a", 1, 90_000);
    for (number, took_ms) in [(2, 1_000), (3, 5_000), (4, 2_000)] {
        created(&mut world, "b", number, took_ms);
    }
    let promise = of_a(&world);
    assert_eq!(
        (promise.boot.ms, promise.boot.measured),
        (2_000, 3),
        "what was measured in a says nothing of b to e"
    );
    assert!(promise.steps.last().expect("steps").from.contains("the median of 3 creations"));
    assert_eq!(judged(&world).assumed, Vec::<String>::new());
}

#[test]
fn two_regions_can_not_tell_which_of_them_is_dead() {
    let mut world = World::new(&["a", "b"], 1);
    small(&mut world, "a");
    let promise = of_a(&world);
    assert_eq!((promise.rto_ms, promise.rpo_ms), (None, None));
    assert!(promise.broken[0].contains("1 of 2 voters are heard: 2 are needed"), "{:?}", promise.broken);
    assert!(!promise.steps.is_empty(), "how long it would take is said all the same");
}

#[test]
fn a_silent_voter_is_not_counted_on() {
    let mut world = World::new(&["a", "b", "c"], 1);
    small(&mut world, "a");
    assert_eq!(of_a(&world).broken, Vec::<String>::new());
    let mut less = timings(&world);
    less.heard.remove(&region("c"));
    let found = promises(&world.view, &world.measured, &less, &BootTimes::default());
    assert!(found.regions[0].broken[0].contains("1 of 3 voters"), "{:?}", found.regions[0].broken);
    // Its own loss takes nothing away that is heard.
    assert_eq!((found.regions[2].region.as_str(), found.regions[2].broken.len()), ("c", 0));
}

#[test]
fn switches_that_stop_failovers_are_named_with_what_lifts_them() {
    let mut world = World::new(&FIVE, 1);
    small(&mut world, "a");
    world.view.core.policy.auto_failover = false;
    world.view.core.policy.failovers_per_hour = 0;
    world.view.core.freeze = Freeze::NoMoves;
    let promise = of_a(&world);
    assert_eq!((promise.rto_ms, promise.broken.len(), promise.helps.len()), (None, 3, 3));
    assert!(promise.helps.iter().all(|help| help.starts_with("dwcp-cli federation")), "{:?}", promise.helps);
}

#[test]
fn vms_without_a_place_break_the_promise_and_stopped_ones_boot_nowhere() {
    let mut world = World::new(&FIVE, 1);
    let mut bound = world.vm(size(1, 1_024, 10));
    bound.rules.allowed_regions = regions(&["a"]);
    world.put("a", "h1", &bound);
    let stopped = small(&mut world, "a");
    world.accept("a", Command::SetWant((stopped.id, (Want::Stopped, Default::default()))));
    let promise = of_a(&world);
    assert_eq!((promise.vms, promise.unprotected, promise.steps.len()), (0, 0, 0));
    assert_eq!(promise.broken, ["1 of its 2 VMs have no place elsewhere"]);
    assert_eq!(promise.helps, ["dwcp-cli federation survivability --region a"]);
}

#[test]
fn a_link_that_was_not_measured_counts_as_the_longest_and_is_named() {
    let mut world = World::new(&["a", "b", "c"], 1);
    small(&mut world, "a");
    let before = of_a(&world).rto_ms.expect("kept");
    world.measured.rtt_ms.remove(&(region("b"), region("c")));
    let found = judged(&world);
    let after = found.regions[0].rto_ms.expect("kept");
    // b and c are the majority without a: their link is in every commit.
    let more = 309 - 100;
    let way = 155 - 50;
    assert_eq!(after - before, way + (2 * more + way) + (3 * more + more));
    assert!(
        found.assumed.iter().any(|said| said.contains("309 ms") && said.ends_with("b to c")),
        "{:?}",
        found.assumed
    );
}

/// A VM of `a` with a copy of its disk in `b`, concluded to be so.
pub fn copied(world: &mut World, mode: ProtectionMode, state: GuardState, point: Wall) -> Vm {
    let vm = world.vm(size(1, 1_024, 10));
    let id = world.put("a", "h1", &vm);
    let record =
        world.view.regions.get_mut(&region("a")).and_then(|facts| facts.vms.get_mut(&id)).expect("a VM");
    record.protection.mode = mode;
    record.protection.guard =
        Guard { epoch: 1, region: Some(region("b")), host: "h1".into(), state, point, ..Guard::default() };
    let replica = Replica {
        vm: id,
        host: "h1".into(),
        from: region("a"),
        from_host: "h1".into(),
        epoch: 1,
        disk_gib: 10,
        ..Replica::default()
    };
    world.view.regions.get_mut(&region("b")).expect("b").replicas.insert(id, replica);
    vm
}

#[test]
fn disks_are_kept_as_asked_or_said_to_be_worse() {
    let mut world = World::new(&FIVE, 1);
    copied(&mut world, ProtectionMode::Sync, GuardState::Protected, Wall(1));
    let promise = of_a(&world);
    assert_eq!((promise.broken, promise.disk_rpo_ms, promise.unprotected), (vec![], Some(0), 0));
    // Now is 10,000 s: the point is 50 s old, at most 60 are due.
    copied(&mut world, ProtectionMode::Async(30_000), GuardState::Protected, Wall(9_950_000));
    let promise = of_a(&world);
    assert_eq!((promise.broken, promise.disk_rpo_ms), (vec![], Some(50_000)));
    copied(&mut world, ProtectionMode::Async(10_000), GuardState::Protected, Wall(9_950_000));
    copied(&mut world, ProtectionMode::Sync, GuardState::Degraded, Wall(9_990_000));
    copied(&mut world, ProtectionMode::Sync, GuardState::Syncing, Wall(0));
    let promise = of_a(&world);
    assert_eq!(promise.broken.len(), 1, "{:?}", promise.broken);
    let said = &promise.broken[0];
    assert!(said.starts_with("3 disks are kept worse than asked for: "), "{said}");
    for part in [
        "(async:10s, would lose 50.0 s of writes)",
        "(sync, would lose 10.0 s",
        "(sync, would lose everything)",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn disks_of_vms_that_would_move_are_counted() {
    let mut world = World::new(&FIVE, 1);
    small(&mut world, "a");
    let disk = world.vm(size(1, 1_024, 10));
    world.put("a", "h1", &disk);
    assert_eq!((of_a(&world).vms, of_a(&world).unprotected), (2, 1));
}

//! What the loss of a region, or of two, leaves without a place.

use dwcp_decide::{
    FailoverLimits, HealthInputs, Loss, Losses, Serial, Workers, health, plan_failover, relocate,
    survivability, warnings,
};
use dwcp_state::{Command, GuardState, Migration, MigrationState, ProtectionMode, Scope, Standing, Vm, Want};
use dwcp_types::{Amount, HostId, Priority, VmId, Wall};

use super::promises::copied;
use super::world::{World, labels, region, regions, size, to_label};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn losses(world: &World, depth: Losses) -> Vec<Loss> {
    survivability(&world.view, &world.measured, depth, &Serial)
}

fn put(world: &mut World, of: &str, amount: Amount, change: impl FnOnce(&mut Vm)) -> Vm {
    let mut vm = world.vm(amount);
    change(&mut vm);
    world.put(of, "h1", &vm);
    vm
}

/// `a: vm-1 vm-2`, one line a loss that leaves something.
fn text(losses: &[Loss]) -> Vec<String> {
    let names = |loss: &Loss| loss.unplaced.iter().map(|vm| vm.name.clone()).collect::<Vec<_>>().join(" ");
    let left = losses.iter().filter(|loss| !loss.unplaced.is_empty());
    left.map(|loss| format!("{}: {}", loss.name(), names(loss))).collect()
}

#[test]
fn every_region_and_every_pair_is_looked_at_once() {
    let world = World::new(&["a", "b", "c", "d", "e"], 1);
    assert_eq!(losses(&world, Losses::OfOne).len(), 5);
    let all = losses(&world, Losses::OfTwo);
    assert_eq!(all.len(), 15);
    assert_eq!(
        (all[0].name().as_str(), all[5].name().as_str(), all[14].name().as_str()),
        ("a", "a and b", "d and e")
    );
    assert_eq!(text(&all), Vec::<String>::new());
}

#[test]
fn what_one_loss_leaves_room_for_two_may_not() {
    let mut world = World::new(&["a", "b", "c"], 1);
    for of in ["a", "b"] {
        put(&mut world, of, size(5, 1_024, 10), |vm| vm.priority = Priority(if of == "a" { 50 } else { 75 }));
    }
    let all = losses(&world, Losses::OfTwo);
    // Of a and b together, the more important one of b takes the room.
    assert_eq!(text(&all), ["a and b: vm-1", "a and c: vm-1", "b and c: vm-2"]);
    let both = all.iter().find(|loss| loss.regions.len() == 2).expect("a pair");
    assert_eq!((both.vms, both.stay, both.by_rules()), (2, 0, 0));
    assert_eq!(both.missing, size(5, 1_024, 10));
    let left = &both.unplaced[0];
    assert_eq!((left.region.as_str(), left.lacks_room), ("a", true));
    assert_eq!(left.why, "c: 1 host: too little room");
}

#[test]
fn each_loss_leaves_what_its_failover_would_leave() {
    let mut world = World::new(&["a", "b", "c"], 2);
    for (of, vcpus) in [("a", 6), ("a", 2), ("b", 5), ("b", 3), ("c", 7), ("c", 1)] {
        put(&mut world, of, size(vcpus, 1_024, 10), |vm| vm.priority = Priority(vcpus as u8 * 10));
    }
    world.fill("b", "h2", size(6, 1_024, 10));
    world.fill("a", "h2", size(7, 1_024, 10));
    let mut left = 0;
    for loss in losses(&world, Losses::OfOne) {
        let plan = plan_failover(&world.view, &world.measured, &loss.regions[0], &FailoverLimits::default());
        let planned: Vec<&str> =
            plan.moves.iter().filter(|step| step.to.is_none()).map(|step| step.name.as_str()).collect();
        let looked: Vec<&str> = loss.unplaced.iter().map(|vm| vm.name.as_str()).collect();
        assert_eq!(looked, planned, "{}", loss.name());
        left += looked.len();
    }
    assert!(left > 0, "the comparison has something to compare");
}

#[test]
fn rules_are_told_from_lack_of_room() {
    let mut world = World::new(&["a", "b", "c"], 1);
    put(&mut world, "a", SMALL, |vm| vm.rules.allowed_regions = regions(&["a"]));
    put(&mut world, "a", size(6, 1_024, 10), |vm| vm.rules.allowed_regions = regions(&["a", "b"]));
    world.fill("b", "h1", size(4, 1_024, 10));
    let all = losses(&world, Losses::OfOne);
    let loss = &all[0];
    assert_eq!(text(&all), ["a: vm-1 vm-2"]);
    assert_eq!((loss.by_rules(), loss.missing), (1, size(6, 1_024, 10)));
    assert_eq!(
        loss.unplaced[0].why,
        "b: it is not among the allowed regions; c: it is not among the allowed regions"
    );
    assert!(loss.unplaced[1].why.starts_with("b: 1 host: too little room; c:"), "{}", loss.unplaced[1].why);
}

#[test]
fn what_stays_by_its_own_rule_and_what_is_deleted_does_not_count() {
    let mut world = World::new(&["a", "b"], 1);
    put(&mut world, "a", size(8, 1_024, 10), |vm| vm.rules.stay_on_loss = true);
    let gone = put(&mut world, "b", size(8, 1_024, 10), |_| {});
    world.accept("b", Command::SetWant((gone.id, (Want::Deleted, Default::default()))));
    let all = losses(&world, Losses::OfOne);
    assert_eq!(text(&all), Vec::<String>::new());
    assert_eq!((all[0].vms, all[0].stay, all[1].vms), (1, 1, 0));
}

#[test]
fn a_region_that_is_lost_already_is_neither_lost_again_nor_counted_on() {
    let mut world = World::new(&["a", "b", "c"], 1);
    put(&mut world, "a", size(5, 1_024, 10), |_| {});
    world.fill("b", "h1", size(5, 1_024, 10));
    assert_eq!(text(&losses(&world, Losses::OfOne)), Vec::<String>::new());
    world.change("c", |region| region.standing = Standing::Lost);
    let all = losses(&world, Losses::OfTwo);
    assert_eq!(all.iter().map(Loss::name).collect::<Vec<_>>(), ["a", "b", "a and b"]);
    assert_eq!(text(&all), ["a: vm-1", "b: vm-2", "a and b: vm-1 vm-2"]);
}

#[test]
fn a_vm_that_is_being_moved_goes_where_it_may_run_already_unless_that_is_lost_too() {
    let mut world = World::new(&["a", "b", "c"], 1);
    let vm = put(&mut world, "a", size(8, 1_024, 10), |_| {});
    world.fill("b", "h1", size(1, 1_024, 10));
    world.fill("c", "h1", size(1, 1_024, 10));
    let without = ["a: vm-1", "a and b: vm-1", "a and c: vm-1", "b and c: vm-2 vm-3"];
    assert_eq!(text(&losses(&world, Losses::OfTwo)), without);
    let facts = world.view.regions.get_mut(&region("a")).expect("a region");
    let migration =
        Migration { vm: vm.id, to: region("b"), state: MigrationState::Running, ..Migration::default() };
    facts.migrations.insert(vm.id, migration);
    assert_eq!(text(&losses(&world, Losses::OfTwo)), ["a and b: vm-1", "b and c: vm-2 vm-3"]);
}

#[test]
fn a_vm_with_a_copy_of_its_disk_goes_there_or_waits_for_it() {
    let mut world = World::new(&["a", "b", "c"], 1);
    copied(&mut world, ProtectionMode::Sync, GuardState::Protected, Wall(1));
    let all = losses(&world, Losses::OfTwo);
    assert_eq!(text(&all), ["a and b: vm-1"], "c has room, and no copy of the disk");
    let loss = all.iter().find(|loss| loss.regions.len() == 2).expect("a pair");
    assert!(loss.unplaced[0].why.contains("is lost as well: it waits"), "{}", loss.unplaced[0].why);
    world.fill("b", "h1", size(8, 1_024, 10));
    let all = losses(&world, Losses::OfOne);
    assert_eq!(text(&all), ["a: vm-1"]);
    assert!(all[0].unplaced[0].lacks_room, "room at the copy would help");
}

#[test]
fn vms_of_two_lost_regions_keep_apart_from_each_other() {
    let mut world = World::new(&["a", "b", "c"], 1);
    for of in ["a", "b"] {
        put(&mut world, of, SMALL, |vm| {
            vm.labels = labels(&[("app", "db")]);
            vm.rules.anti_affinity = vec![to_label("app", "db", Scope::Region)];
        });
    }
    assert_eq!(text(&losses(&world, Losses::OfTwo)), ["a and b: vm-2", "a and c: vm-1", "b and c: vm-2"]);
}

#[test]
fn only_what_became_worse_is_warned_of() {
    let mut world = World::new(&["a", "b"], 1);
    put(&mut world, "a", size(5, 1_024, 10), |vm| vm.rules.allowed_regions = regions(&["a"]));
    let before = losses(&world, Losses::OfOne);
    assert_eq!(warnings(&before, &before), Vec::<String>::new());
    world.fill("b", "h1", size(4, 1_024, 10));
    let after = losses(&world, Losses::OfOne);
    let said = warnings(&before, &after);
    assert_eq!(
        said,
        [
            "survivability: 1 VM would not survive the loss of b (0 before this change): vm-2 (a: 1 host: too little room)"
        ]
    );
    assert_eq!(warnings(&after, &before), Vec::<String>::new());
}

#[test]
fn a_warning_names_a_few_vms_and_counts_the_rest() {
    let mut world = World::new(&["a", "b"], 1);
    for _ in 0..4 {
        put(&mut world, "a", size(1, 1_024, 10), |_| {});
    }
    let before = losses(&world, Losses::OfOne);
    world.change("b", |region| region.placement = false);
    let said = warnings(&before, &losses(&world, Losses::OfOne));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("4 VMs would not survive the loss of a (0 before"), "{}", said[0]);
    assert!(said[0].ends_with("and 1 more") && said[0].contains("placement is off"), "{}", said[0]);
}

#[test]
fn moves_that_fill_a_region_are_warned_of_before_they_begin() {
    let mut world = World::new(&["a", "b", "c"], 1);
    for of in ["a", "b", "c"] {
        put(&mut world, of, size(2, 1_024, 10), |_| {});
    }
    put(&mut world, "a", size(3, 1_024, 10), |_| {});
    let before = losses(&world, Losses::OfOne);
    assert_eq!(text(&before), Vec::<String>::new());
    let goes = [(VmId(4), region("c"), None), (VmId(1), region("b"), Some(HostId::from("h1")))];
    let mut copy = world.view.for_placement();
    relocate(&mut copy, &world.measured, &goes);
    let home = |id: u64| copy.vm(VmId(id)).map(|(region, vm)| (region.to_string(), vm.host.to_string()));
    assert_eq!(home(4), Some(("c".to_owned(), "h1".to_owned())));
    assert_eq!(home(1), Some(("b".to_owned(), "h1".to_owned())));
    assert_eq!(copy.regions[&region("c")].hosts[&HostId::from("h1")].used, size(5, 2_048, 20));
    assert_eq!(copy.regions[&region("a")].hosts[&HostId::from("h1")].used, size(0, 0, 0));
    copy.core.regions.get_mut(&region("a")).expect("a region").placement = false;
    let after = survivability(&copy, &world.measured, Losses::OfOne, &Serial);
    let said = warnings(&before, &after);
    assert!(said.iter().any(|line| line.contains("the loss of c (0 before this change)")), "{said:?}");
}

#[test]
fn who_runs_the_pieces_changes_nothing() {
    struct Backwards;
    impl Workers for Backwards {
        fn width(&self) -> usize {
            4
        }
        fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
            (0..count).rev().for_each(piece);
        }
    }
    let mut world = World::new(&["a", "b", "c"], 1);
    for of in ["a", "b", "c"] {
        world.fill(of, "h1", size(5, 1_024, 10));
    }
    let serial = losses(&world, Losses::OfTwo);
    assert!(serial.iter().any(|loss| !loss.unplaced.is_empty()));
    assert_eq!(survivability(&world.view, &world.measured, Losses::OfTwo, &Backwards), serial);
}

#[test]
fn health_says_how_many_vms_would_not_survive_the_region() {
    let inputs = HealthInputs {
        heard_ms: Some(1),
        control_plane_up: true,
        hosts_up: 1,
        hosts_total: 1,
        vms_total: 30,
        would_not_survive: 1,
        ..HealthInputs::default()
    };
    let one = health(&inputs);
    assert_eq!(one.score, Some(99));
    assert_eq!(one.deductions[0].cause, "survivability: 1 VM would not survive its loss");
    let all = health(&HealthInputs { would_not_survive: 30, ..inputs });
    assert_eq!(all.score, Some(85), "that a region is alone with its VMs does not make it unhealthy");
}

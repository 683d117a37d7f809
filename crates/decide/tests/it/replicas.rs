//! Where copies of disks are kept, and that their VMs start from them.

use std::collections::BTreeSet;

use dwcp_decide::{FailoverLimits, place_replica, plan_failover, plan_host_loss};
use dwcp_state::{
    Command, DiskProof, GuardNews, GuardState, Protection, ProtectionMode, Replica, ReplicaChoice, Scope,
    Standing, Vm,
};
use dwcp_types::{Amount, Revision, VmId, Wall};

use super::world::{HOST, World, host, labels, region, regions, set, size, to_label};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn vm(world: &mut World, change: impl FnOnce(&mut Vm)) -> Vm {
    let mut vm = world.vm(SMALL);
    vm.protection = Protection { mode: ProtectionMode::Sync, ..Protection::default() };
    change(&mut vm);
    vm
}

fn near(world: &World, vm: &Vm) -> String {
    match place_replica(&world.view, &world.measured, vm, &region("a"), &BTreeSet::new()).0 {
        Ok(place) => format!("{}/{}", place.region, place.host),
        Err(refusal) => format!("{:?} {refusal}", refusal.code),
    }
}

fn why(world: &World, vm: &Vm, of: &str) -> String {
    let verdicts = place_replica(&world.view, &world.measured, vm, &region("a"), &BTreeSet::new()).1;
    let verdict = verdicts.into_iter().find(|verdict| verdict.region == region(of)).expect("every region");
    verdict.excluded.unwrap_or_default()
}

fn world() -> World {
    let mut world = World::new(&["a", "b", "c", "d"], 2);
    world.rtt("a", "b", 80);
    world.rtt("a", "c", 12);
    world.rtt("a", "d", 40);
    world
}

#[test]
fn a_copy_is_kept_in_the_nearest_region_on_the_host_with_the_most_free_disk() {
    let mut world = world();
    let vm = vm(&mut world, |_| {});
    assert_eq!(near(&world, &vm), "c/h1");
    world.fill("c", "h1", size(1, 64, 20));
    assert_eq!(near(&world, &vm), "c/h2");
    let place = place_replica(&world.view, &world.measured, &vm, &region("a"), &BTreeSet::new()).0;
    assert!(place.expect("a place").reason.contains("12 ms"), "the price of every write is told");
    let avoid = regions(&["c"]);
    let next = place_replica(&world.view, &world.measured, &vm, &region("a"), &avoid).0.expect("a place");
    assert_eq!(next.region, region("d"));
}

#[test]
fn every_rule_of_the_vm_holds_for_its_copy() {
    let mut world = world();
    let anywhere = vm(&mut world, |_| {});
    let asks = |world: &mut World, change: fn(&mut Vm)| {
        let vm = vm(world, change);
        near(world, &vm)
    };
    assert_eq!(asks(&mut world, |vm| vm.rules.denied_regions = regions(&["c"])), "d/h1");
    assert_eq!(asks(&mut world, |vm| vm.rules.allowed_regions = regions(&["a", "b"])), "b/h1");
    assert_eq!(asks(&mut world, |vm| vm.protection.region = Some(region("b"))), "b/h1");
    assert_eq!(
        asks(&mut world, |vm| vm.protection.region = Some(region("a"))),
        "c/h1",
        "it lives there by now"
    );
    world.change("b", |b| b.jurisdiction = "eu".into());
    assert_eq!(asks(&mut world, |vm| vm.rules.residency = set(&["eu"])), "b/h1");
    world.change("d", |d| d.compliance = set(&["gdpr"]));
    assert_eq!(asks(&mut world, |vm| vm.rules.compliance = set(&["gdpr"])), "d/h1");
    assert_eq!(asks(&mut world, |vm| vm.rules.zones = set(&["b"])), "c/h2");
    world.label_host("d", "h2", "disk", "ssd");
    assert_eq!(asks(&mut world, |vm| vm.rules.host_labels = labels(&[("disk", "ssd")])), "d/h2");
    world.change("c", |c| c.placement = false);
    assert_eq!(
        (near(&world, &anywhere), why(&world, &anywhere, "c")),
        ("d/h1".into(), "it takes no placements".into())
    );
    world.measured.health.insert(region("d"), Some(40));
    assert_eq!(near(&world, &anywhere), "b/h1");
    assert!(why(&world, &anywhere, "a").contains("lives there"));
}

#[test]
fn no_copy_goes_where_a_vm_lives_or_is_kept_that_must_be_apart_by_region() {
    let mut world = world();
    let apart = |vm: &mut Vm| {
        vm.labels = labels(&[("app", "db")]);
        vm.rules.anti_affinity = vec![to_label("app", "db", Scope::Region)];
    };
    let other = vm(&mut world, apart);
    let id = world.put("d", "h1", &other);
    let choice = ReplicaChoice { vm: id, region: region("c"), host: host("h1"), ..ReplicaChoice::default() };
    world.accept("d", Command::ChooseReplica(choice));
    let vm = vm(&mut world, apart);
    assert_eq!(near(&world, &vm), "b/h1");
    assert!(why(&world, &vm, "c").contains("apart") && why(&world, &vm, "d").contains("apart"));
}

#[test]
fn without_a_place_every_region_says_why() {
    let mut world = world();
    let vm = vm(&mut world, |vm| {
        vm.spec.size = size(2, 2_048, 501);
        vm.rules.denied_regions = regions(&["d"]);
    });
    let refusal = near(&world, &vm);
    assert!(refusal.starts_with("NothingFits"), "{refusal}");
    let told = why(&world, &vm, "b");
    assert!(told.contains("501 GiB") && told.contains("500 GiB free"), "{told}");
    assert!(why(&world, &vm, "d").contains("denied"));
}

/// A VM on a/h1 whose copy is on c/h1 and whole.
fn whole(world: &mut World, change: impl FnOnce(&mut Vm)) -> VmId {
    let vm = vm(world, change);
    let id = world.put("a", "h1", &vm);
    let choice = ReplicaChoice { vm: id, region: region("c"), host: host("h1"), ..ReplicaChoice::default() };
    world.accept("a", Command::ChooseReplica(choice));
    world.accept(
        "c",
        Command::TakeReplica(Box::new(Replica {
            vm: id,
            host: host("h1"),
            from: region("a"),
            from_host: host("h1"),
            epoch: 1,
            disk_gib: 10,
            seen: Revision(1),
            ..Replica::default()
        })),
    );
    say(world, id, GuardState::Protected, 0);
    id
}

fn say(world: &mut World, vm: VmId, state: GuardState, point: u64) {
    let generation = world.view.regions[&region("a")].vms[&vm].generation;
    let news = GuardNews { vm, generation, epoch: 1, state, point: Wall(point), reason: String::new() };
    world.accept("a", Command::Guarded((host("h1"), vec![news])));
}

fn plan(world: &World) -> (String, DiskProof) {
    let plan = plan_failover(&world.view, &world.measured, &region("a"), &FailoverLimits::default());
    let step = &plan.moves[0];
    let to = step.to.as_ref().map_or("left".to_string(), |(region, host)| format!("{region}/{host}"));
    (format!("{to}: {}", step.reason), step.disk)
}

#[test]
fn a_lost_vm_goes_where_its_copy_is_though_another_region_scores_better() {
    let mut world = world();
    world.rtt("a", "b", 1);
    let id = whole(&mut world, |_| {});
    let (to, disk) = plan(&world);
    assert!(to.starts_with("c/h1: its copy is on h1 in c"), "{to}");
    assert_eq!(disk, DiskProof::Zero);
    say(&mut world, id, GuardState::Degraded, 900);
    assert_eq!(plan(&world).1, DiskProof::Point(Wall(1_000)), "it was whole when that was concluded");
}

#[test]
fn a_vm_whose_copy_can_not_be_used_waits_rather_than_start_without_its_disk() {
    let mut world = world();
    whole(&mut world, |vm| vm.spec.size.vcpus = 6);
    let mut full = world.clone();
    full.fill("c", "h1", size(4, 64, 1));
    let (to, disk) = plan(&full);
    assert!(to.starts_with("left: its copy is on h1 in c, which lacks the room"), "{to}");
    assert_eq!(disk, DiskProof::Zero);
    let mut lost = world.clone();
    lost.accept("c", Command::LoseHost((host("h1"), 0)));
    assert!(
        plan(&lost).0.starts_with("left: its copy is on h1 in c, and that host is lost"),
        "{:?}",
        plan(&lost)
    );
    world.change("c", |c| c.standing = Standing::Lost);
    assert!(
        plan(&world).0.starts_with("left: its copy is on h1 in c, which is not there"),
        "{:?}",
        plan(&world)
    );
}

#[test]
fn the_room_of_a_copy_is_its_vms_own() {
    let mut world = world();
    let id = whole(&mut world, |_| {});
    world.fill("c", "h1", Amount { vcpus: 1, memory_mib: 64, disk_gib: HOST.disk_gib - 10 });
    let (to, _) = plan(&world);
    assert!(to.starts_with("c/h1"), "{to}: no disk is free there but the copy's");
    assert!(world.view.regions[&region("a")].vms.contains_key(&id));
}

#[test]
fn a_vm_without_a_whole_copy_starts_with_a_new_disk_and_that_is_said() {
    let mut world = world();
    let vm = vm(&mut world, |_| {});
    world.put("a", "h1", &vm);
    let (to, disk) = plan(&world);
    assert!(to.contains("it starts with a new disk"), "{to}");
    assert_eq!(disk, DiskProof::Unprotected);
}

#[test]
fn a_vm_of_a_lost_host_goes_where_its_copy_is_and_not_to_a_host_beside() {
    let mut world = world();
    let id = whole(&mut world, |_| {});
    world.accept("a", Command::LoseHost((host("h1"), 0)));
    let plan = plan_host_loss(&world.view, &world.measured, &region("a"), &[host("h1")].into());
    assert!(plan.moves.is_empty());
    let to: Vec<_> = plan.elsewhere.iter().map(|step| (step.vm, step.to.clone())).collect();
    assert_eq!(to, vec![(id, Some((region("c"), host("h1"))))]);
}

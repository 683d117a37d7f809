//! Where the VMs of lost hosts go.

use std::collections::BTreeSet;

use dwcp_decide::{HostLossPlan, plan_host_loss};
use dwcp_state::{Command, HostMove, Scope};
use dwcp_types::{Amount, HostId};

use super::world::{World, host, labels, region, set, size, to_label};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn lose(world: &mut World, hosts: &[&str]) -> HostLossPlan {
    let lost: BTreeSet<HostId> = hosts.iter().map(|name| host(name)).collect();
    for id in &lost {
        world.accept("a", Command::LoseHost((id.clone(), 0)));
    }
    plan_host_loss(&world.view, &world.measured, &region("a"), &lost)
}

fn hosts(plan: &HostLossPlan) -> Vec<&str> {
    plan.moves.iter().map(|(_, _, host)| host.as_str()).collect()
}

#[test]
fn vms_go_to_the_same_zone_first() {
    let mut world = World::new(&["a"], 4);
    world.fill("a", "h3", size(4, 4_096, 10));
    world.fill("a", "h1", SMALL);
    let plan = lose(&mut world, &["h1"]);
    assert_eq!(hosts(&plan), ["h3"], "h2 is emptier, and in another zone");
}

#[test]
fn when_the_zone_has_no_room_or_is_gone_another_zone_takes_them() {
    let mut world = World::new(&["a"], 4);
    world.fill("a", "h3", size(7, 1, 1));
    world.fill("a", "h1", SMALL);
    assert_eq!(hosts(&lose(&mut world, &["h1"])), ["h2"]);
    let mut world = World::new(&["a"], 4);
    world.fill("a", "h1", SMALL);
    assert_eq!(hosts(&lose(&mut world, &["h1", "h3"])), ["h2"]);
}

#[test]
fn what_does_not_fit_goes_to_another_region_unless_it_is_to_stay() {
    let mut world = World::new(&["a", "b"], 2);
    world.fill("a", "h2", size(8, 1, 1));
    world.fill("a", "h1", SMALL);
    let mut stays = world.vm(SMALL);
    stays.rules.stay_on_loss = true;
    world.put("a", "h1", &stays);
    let plan = lose(&mut world, &["h1"]);
    assert!(plan.moves.is_empty());
    assert_eq!(plan.elsewhere.len(), 1);
    assert_eq!(plan.elsewhere[0].to, Some((region("b"), host("h1"))));
    assert_eq!((plan.left.len(), plan.left[0].vm), (1, stays.id));
}

#[test]
fn rules_hold_and_the_moves_are_accepted() {
    let mut world = World::new(&["a"], 6);
    for on in ["h1", "h1", "h2"] {
        let mut vm = world.vm(size(1, 1_024, 1));
        vm.labels = labels(&[("app", "db")]);
        world.put("a", on, &vm);
    }
    let mut apart = world.vm(SMALL);
    apart.rules.anti_affinity = vec![to_label("app", "db", Scope::Host)];
    apart.rules.zones = set(&["a"]);
    world.put("a", "h3", &apart);
    let plan = lose(&mut world, &["h1", "h3"]);
    assert_eq!((plan.moves.len(), plan.elsewhere.len(), plan.left.len()), (3, 0, 0));
    let moves = plan.moves.iter().map(|(vm, generation, to)| HostMove {
        vm: *vm,
        generation: *generation,
        to: to.clone(),
    });
    let receipt = world.accept("a", Command::MoveVms(moves.collect()));
    assert_eq!(receipt.vms.len(), 3);
    let (of, vm) = world.view.vm(apart.id).expect("it is still there");
    assert_eq!((of, &vm.host), (&region("a"), &host("h5")));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_region_under_evacuation_has_no_plan_of_its_own() {
    let mut world = World::new(&["a"], 2);
    world.fill("a", "h1", SMALL);
    world.accept("a", Command::BeginEvacuation(1));
    assert_eq!(lose(&mut world, &["h1"]), HostLossPlan::default());
}

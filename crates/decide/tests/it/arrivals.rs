//! VMs on their way to a region: who keeps a place from whom, and for how long room is kept for them.

use dwcp_decide::{PlaceRequest, Reservations};
use dwcp_state::{Departure, Relation, Scope, Target, Vm};
use dwcp_types::Generation;

use super::world::{World, host, labels, region, request};

const SMALL: dwcp_types::Amount = dwcp_types::Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

/// A VM that is to be apart from its like.
fn lone(world: &mut World) -> Vm {
    let mut vm = world.vm(SMALL);
    vm.generation = Generation(2);
    vm.labels = labels(&[("app", "web")]);
    let target = Target::Label(("app".into(), "web".into()));
    vm.rules.anti_affinity.push(Relation { target, scope: Scope::Host });
    vm
}

fn leaves(world: &mut World, from: &str, vm: &Vm) {
    let departure =
        Departure { vm: vm.clone(), to: region("t"), host: Some(host("h1")), ..Departure::default() };
    let facts = world.view.regions.get_mut(&region(from)).expect("the region is there");
    facts.departures.insert(vm.id, departure);
}

fn arrives(vm: &Vm) -> PlaceRequest {
    let only = Some([region("t")].into());
    PlaceRequest {
        only_regions: only,
        for_failover: true,
        arrives_at: Some(region("t")),
        ..request(vm.clone())
    }
}

#[test]
fn two_that_left_for_one_place_at_once_do_not_refuse_it_to_each_other() {
    let mut world = World::new(&["a", "b", "t"], 1);
    let (first, second) = (lone(&mut world), lone(&mut world));
    leaves(&mut world, "a", &first);
    leaves(&mut world, "b", &second);
    assert_eq!(world.placed(&arrives(&first)), "t/h1");
    assert_eq!(world.placed(&arrives(&second)), "t/h1", "whoever is looked at first");
    let stranger = lone(&mut world);
    let elsewhere = PlaceRequest { only_regions: Some([region("t")].into()), ..request(stranger) };
    assert!(world.decide(&elsewhere).0.is_err(), "others keep away from where they are expected");
    world.reserved.add_coming(&region("t"), &host("h1"), &first);
    assert!(world.decide(&arrives(&second)).0.is_err(), "one of them has it now");
}

#[test]
fn room_is_kept_for_who_is_on_its_way_and_not_a_moment_longer() {
    let mut world = World::new(&["a", "t"], 1);
    let vm = lone(&mut world);
    leaves(&mut world, "a", &vm);
    let mut reserved = Reservations::default();
    let kept = |reserved: &mut Reservations, world: &World| {
        reserved.drop_settled(&world.view);
        reserved.len()
    };
    reserved.add_coming(&region("t"), &host("h1"), &vm);
    assert_eq!(kept(&mut reserved, &world), 1);
    // It came and was deleted, or was refused: its old region has forgotten or recalled it.
    world.view.regions.get_mut(&region("a")).expect("the region is there").departures.clear();
    assert_eq!(kept(&mut reserved, &world), 0);
    leaves(&mut world, "a", &Vm { generation: Generation(4), ..vm.clone() });
    reserved.add_coming(&region("t"), &host("h1"), &vm);
    assert_eq!(kept(&mut reserved, &world), 0, "it left again, under a further generation");
    reserved.add_coming(&region("t"), &host("h1"), &Vm { generation: Generation(4), ..vm.clone() });
    assert_eq!(kept(&mut reserved, &world), 1);
    world.put("t", "h1", &vm);
    assert_eq!(kept(&mut reserved, &world), 1, "that record is older");
    let facts = world.view.regions.get_mut(&region("t")).expect("the region is there");
    facts.vms.get_mut(&vm.id).expect("the VM is there").generation = Generation(4);
    assert_eq!(kept(&mut reserved, &world), 0, "the facts show it");
}

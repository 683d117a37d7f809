//! Copies of the facts that placement is thought through on.

use dwcp_types::VmId;

use super::world::{World, create, host, region, size, vm};

#[test]
fn a_copy_for_placement_has_every_host_and_vm_and_no_history() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h2")]));
    let copy = world.view.for_placement();
    assert_eq!(copy.vms().collect::<Vec<_>>(), world.view.vms().collect::<Vec<_>>());
    let (facts, original) = (&copy.regions[&region("a")], world.facts(1));
    assert_eq!((&facts.hosts, facts.limits()), (&original.hosts, original.limits()));
    assert_eq!(facts.vm_named("vm-2").map(|vm| vm.id), Some(VmId(2)));
    assert_eq!((copy.core.regions.len(), copy.core.policy == world.view.core.policy), (3, true));
    assert!(
        !original.ledger.events.is_empty() && facts.ledger.events.is_empty() && facts.operations.is_empty()
    );
}

#[test]
fn what_is_left_out_of_a_copy_gives_its_room_back_and_is_found_no_more() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let before = world.view.for_placement();
    world.accept(1, create(vec![vm(2, "h1"), vm(3, "h2")]));
    let mut copy = world.view.for_placement();
    copy.leave_out(&[VmId(2), VmId(3), VmId(99)]);
    let facts = &copy.regions[&region("a")];
    assert_eq!(facts.vms, before.regions[&region("a")].vms);
    assert_eq!(facts.hosts[&host("h1")].used, size(2, 2_048, 10));
    assert_eq!(facts.hosts[&host("h2")].used, size(0, 0, 0));
    assert!(facts.vm_named("vm-2").is_none());
    assert_eq!(facts.vms_on(&host("h1")).count(), 1);
}

//! A leader that came back from a backup, and asks what there is before it says what is to run.

use super::*;
use crate::protocol::{Hold, Inventory, TransferTo};

/// The terms of a restored control plane are above all that were before.
const RESTORED: u64 = 1_000_000;

fn hold(world: &mut World, term: u64) {
    let grant = Grant { seq: world.renewal().seq, lease_ms: 3_000, term, ..Grant::default() };
    world.hear(ControllerMessage::Hold(Hold { grant }));
}

fn inventory(world: &World) -> Option<Inventory> {
    world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Send(AgentMessage::Inventory(inventory)) => Some(inventory.clone()),
        _ => None,
    })
}

#[test]
fn what_runs_goes_on_under_prolonged_leases_and_is_told() {
    let mut world = World::leased();
    world.running(1, 4);
    for _ in 0..100 {
        world.pass(500);
        hold(&mut world, RESTORED);
    }
    assert_eq!((world.phase(1), world.launches()), (Some(Phase::Running), vec![]));
    assert_eq!(world.count(|e| matches!(e, Effect::Kill { .. })), 0);
    let told = inventory(&world).expect("it was asked");
    assert_eq!((told.term, told.vms.len()), (RESTORED, 1));
    let vm = &told.vms[0];
    assert_eq!((vm.vm, vm.generation, vm.runs, vm.current, vm.left), (VM, 4, true, true, false));
    // Then it is told what is to run, and obeys.
    world.hear(ControllerMessage::Intents(Intents {
        term: RESTORED + 1,
        vms: vec![stopped(1, 4)],
        ..Intents::default()
    }));
    assert_eq!(world.phase(1), Some(Phase::Stopping));
}

#[test]
fn a_lease_that_has_run_out_stays_so_and_is_told() {
    let mut world = World::leased();
    world.running(1, 1);
    world.pass(6_000);
    assert_eq!(world.phase(1), Some(Phase::Paused));
    for _ in 0..20 {
        world.pass(500);
        hold(&mut world, RESTORED);
    }
    assert_ne!(world.phase(1), Some(Phase::Running));
    assert_eq!(world.launches(), vec![]);
    let told = inventory(&world).expect("it was asked");
    assert_eq!(told.vms.iter().map(|vm| (vm.vm, vm.runs)).collect::<Vec<_>>(), [(VM, false)]);
}

#[test]
fn what_was_told_to_be_here_is_not_given_away_afterwards() {
    let mut world = World::leased();
    world.running(1, 1);
    let to = TransferTo { migration: 7, host: "h9".into(), generation: 2, ..TransferTo::default() };
    world.want(vec![VmIntent { transfer: Some(to), ..intent(1, 1) }]);
    world.pass(500);
    hold(&mut world, RESTORED);
    assert_eq!(inventory(&world).map(|told| told.vms.len()), Some(1));
    world.input(Input::TransferCompleted { vm: VM, generation: 1, migration: 7 });
    assert_eq!(world.count(|e| matches!(e, Effect::Release { .. })), 0);
    assert_ne!(world.phase(1), Some(Phase::Moved));
}

#[test]
fn a_control_plane_that_is_earlier_than_the_one_obeyed_is_told_nothing() {
    let mut world = World::leased();
    world.running(1, 1);
    world.hear(ControllerMessage::Intents(Intents {
        term: RESTORED,
        vms: vec![intent(1, 1)],
        ..Intents::default()
    }));
    world.pass(500);
    hold(&mut world, 7);
    assert_eq!(inventory(&world), None);
}

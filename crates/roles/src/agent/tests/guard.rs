//! Copies of disks: no process writes under an epoch whose copy was whole, and what is told comes after what is noted.

use super::*;
use crate::protocol::{GuardPhase, GuardReport, ProtectTo, ReplicaIntent};

fn to(epoch: u64) -> ProtectTo {
    ProtectTo {
        epoch,
        region: "b".into(),
        host: "h9".into(),
        endpoint: "10.0.0.1:1".into(),
        ..ProtectTo::default()
    }
}

fn protected(epoch: u64) -> VmIntent {
    VmIntent { protect: Some(to(epoch)), ..intent(1, 1) }
}

fn told(world: &World) -> Vec<Option<u64>> {
    let told = world.effects.iter().filter_map(|effect| match effect {
        Effect::Guard { to, .. } => Some(to.as_ref().map(|to| to.epoch)),
        _ => None,
    });
    told.collect()
}

fn say(world: &mut World, epoch: u64, phase: GuardPhase) {
    let report = GuardReport { epoch, phase, percent: 100, ..GuardReport::default() };
    world.input(Input::Guarded { vm: VM, generation: 1, report });
}

fn phase(world: &World) -> Option<GuardPhase> {
    world.report(1).guard.map(|report| report.phase)
}

/// A VM that runs with a whole copy of epoch 1.
fn synced() -> World {
    let mut world = World::leased();
    world.want(vec![protected(1)]);
    world.launched(1, 1);
    world.answered(1, 1);
    say(&mut world, 1, GuardPhase::Synced);
    world
}

#[test]
fn a_copy_is_begun_once_the_process_is_there_and_reported_whole_only_after_that_was_noted() {
    let mut world = World::leased();
    world.want(vec![protected(1)]);
    assert_eq!((world.launches(), told(&world)), (vec![(1, 1)], vec![]));
    world.launched(1, 1);
    assert_eq!(told(&world), vec![Some(1)]);
    say(&mut world, 1, GuardPhase::Syncing);
    assert_eq!(phase(&world), Some(GuardPhase::Syncing));
    world.effects.clear();
    say(&mut world, 1, GuardPhase::Synced);
    world.pass(60);
    let saved = world.effects.iter().position(|effect| match effect {
        Effect::SaveSeen(seen) => seen.guarded.get(&VM) == Some(&1),
        _ => false,
    });
    let sent = world.effects.iter().position(|effect| match effect {
        Effect::Send(AgentMessage::Renew(renew)) => {
            renew.vms.iter().any(|vm| vm.guard.as_ref().is_some_and(|of| of.phase == GuardPhase::Synced))
        }
        _ => false,
    });
    assert!(saved.is_some() && saved < sent, "{:?}", world.effects);
}

#[test]
fn a_process_that_comes_after_a_whole_copy_waits_for_another_epoch() {
    let mut world = synced();
    world.effects.clear();
    world.exited(1, 1);
    world.pass_led(2_000);
    assert_eq!((world.launches(), phase(&world)), (vec![], Some(GuardPhase::Ended)));
    world.want(vec![protected(2)]);
    assert_eq!(world.launches(), vec![(1, 1)]);
    world.launched(1, 1);
    assert_eq!(told(&world), vec![Some(2)]);
}

#[test]
fn the_note_outlives_the_agent() {
    let seen = Seen { guarded: [(VM, 4)].into(), ..Seen::default() };
    let mut world = World::with(seen, Vec::new(), 0);
    world.input(Input::Connected);
    world.want(vec![protected(4)]);
    world.grant();
    assert_eq!(world.launches(), vec![]);
    world.want(vec![VmIntent { protect: Some(ProtectTo { go_on: true, ..to(4) }), ..intent(1, 1) }]);
    assert_eq!(world.launches(), vec![(1, 1)], "its region knows that the copy is behind");
}

#[test]
fn the_guest_goes_on_without_its_copy_only_on_an_intent_that_says_so() {
    let mut world = synced();
    world.effects.clear();
    say(&mut world, 1, GuardPhase::Lost);
    world.pass_led(1_000);
    assert_eq!((told(&world), phase(&world)), (vec![], Some(GuardPhase::Lost)));
    world.want(vec![VmIntent { protect: Some(ProtectTo { go_on: true, ..to(1) }), ..intent(1, 1) }]);
    let go_on = |effect: &Effect| matches!(effect, Effect::Guard { to: Some(to), .. } if to.go_on);
    assert_eq!(world.count(go_on), 1);
    world.want(vec![intent(1, 1)]);
    assert_eq!(told(&world).last(), Some(&None));
    assert_eq!(phase(&world), None);
}

#[test]
fn a_process_writes_on_whatever_points_in_time_there_are_and_their_age_goes_on_rising() {
    let points = || VmIntent { protect: Some(ProtectTo { interval_ms: 30_000, ..to(1) }), ..intent(1, 1) };
    let mut world = World::leased();
    world.want(vec![points()]);
    world.launched(1, 1);
    world.answered(1, 1);
    let report =
        GuardReport { epoch: 1, phase: GuardPhase::Synced, point_age_ms: 400, ..GuardReport::default() };
    world.input(Input::Guarded { vm: VM, generation: 1, report });
    world.pass_led(2_000);
    let age_ms = world.report(1).guard.map_or(0, |report| report.point_age_ms);
    assert!((2_000..3_000).contains(&age_ms), "{age_ms}");
    world.effects.clear();
    world.exited(1, 1);
    world.pass_led(2_000);
    assert_eq!(world.launches(), vec![(1, 1)]);
    assert_ne!(phase(&world), Some(GuardPhase::Ended));
}

#[test]
fn what_is_said_of_another_epoch_or_process_changes_nothing() {
    let mut world = World::leased();
    world.want(vec![protected(2)]);
    world.launched(1, 1);
    world.effects.clear();
    say(&mut world, 1, GuardPhase::Synced);
    let report = GuardReport { epoch: 2, phase: GuardPhase::Synced, ..GuardReport::default() };
    world.input(Input::Guarded { vm: VM, generation: 9, report });
    assert_eq!(phase(&world), None);
    assert_eq!(world.count(|effect| matches!(effect, Effect::SaveSeen(_))), 0);
}

#[test]
fn a_running_vm_is_found_again_by_the_next_agent_and_its_copy_goes_on() {
    let adopted = Adopted {
        vm: VM,
        generation: 1,
        spec: http(),
        slot: 0,
        boot_id: "boot".into(),
        process: true,
        paused: false,
        incoming: 0,
        copied: false,
    };
    let seen = Seen { guarded: [(VM, 1)].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![adopted], 10_000_000);
    world.input(Input::Connected);
    world.want(vec![protected(1)]);
    assert_eq!(told(&world), vec![Some(1)]);
    assert_eq!(world.launches(), vec![]);
}

#[test]
fn copies_kept_here_are_told_when_they_change_and_before_a_vm_starts_from_one() {
    let mut world = World::leased();
    let kept = |world: &World| {
        world.effects.iter().rev().find_map(|effect| match effect {
            Effect::KeepReplicas(kept) => Some(kept.clone()),
            _ => None,
        })
    };
    assert_eq!(kept(&world), Some(Kept::default()), "the first intents say that none is kept");
    world.effects.clear();
    let replica = ReplicaIntent { vm: VM, epoch: 3, disk_gib: 1, ..ReplicaIntent::default() };
    let intents =
        |revision, vms, replicas| ControllerMessage::Intents(Intents { term: 1, revision, vms, replicas });
    world.hear(intents(2, Vec::new(), vec![replica.clone()]));
    assert_eq!(kept(&world).map(|kept| kept.serve), Some(vec![replica.clone()]));
    world.effects.clear();
    world.hear(intents(3, Vec::new(), vec![replica]));
    assert_eq!(kept(&world), None);
    world.revision = 4;
    let boots = VmIntent { boot_replica: 3, ..intent(1, 2) };
    world.hear(intents(4, vec![boots], Vec::new()));
    world.pass(60);
    world.grant();
    let order: Vec<u8> = world
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::KeepReplicas(kept) => {
                assert_eq!((kept.serve.len(), kept.hold.clone()), (0, vec![(VM, 3)]));
                Some(1)
            }
            Effect::BootFrom { epoch, .. } => {
                assert_eq!(*epoch, 3);
                Some(2)
            }
            Effect::Launch { .. } => Some(3),
            _ => None,
        })
        .collect();
    assert_eq!(order, vec![1, 2, 3]);
}

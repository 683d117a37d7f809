//! A VM that moves to another host while it runs, at both hosts.

use dwcp_types::VmId;

use super::*;
use crate::agent::{Adopted, Seen};
use crate::protocol::{ArrivalFrom, Stage, TransferReport, TransferTo};

const TO: u64 = 2;

fn to(migration: u64) -> TransferTo {
    TransferTo { migration, host: "h9".into(), generation: TO, ..TransferTo::default() }
}

fn leaving(migration: u64) -> VmIntent {
    VmIntent { transfer: Some(to(migration)), ..intent(1, 1) }
}

fn arriving(run: Run) -> VmIntent {
    let arrival =
        ArrivalFrom { migration: 7, region: "a".into(), host: "h1".into(), ..ArrivalFrom::default() };
    VmIntent { run, arrival: Some(arrival), ..intent(1, TO) }
}

/// VM 1 runs, and is being copied by migration 7.
fn copying() -> World {
    let mut world = World::leased();
    world.running(1, 1);
    world.want(vec![leaving(7)]);
    assert_eq!(world.count(|e| matches!(e, Effect::StartTransfer { to, .. } if to.migration == 7)), 1);
    world.effects.clear();
    world
}

/// A process waits for VM 1.
fn waiting() -> World {
    let mut world = World::leased();
    world.want(vec![arriving(Run::Incoming)]);
    assert_eq!(world.count(|e| matches!(e, Effect::LaunchIncoming { migration: 7, .. })), 1);
    world.launched(1, TO);
    world.input(Input::IncomingReady { vm: VM, generation: TO, result: Ok(()) });
    assert_eq!(world.phase(1), Some(Phase::Arriving));
    world.effects.clear();
    world
}

fn completed(world: &mut World) {
    world.input(Input::TransferCompleted { vm: VM, generation: 1, migration: 7 });
}

fn released(world: &mut World, host: &str) {
    world.input(Input::Released {
        vm: VM,
        generation: TO,
        migration: 7,
        from_region: "a".into(),
        from_host: host.into(),
    });
}

fn goes_on(world: &World) -> usize {
    world.count(|e| matches!(e, Effect::GoOn { .. }))
}

#[test]
fn what_is_given_away_is_given_away_durably_before_anybody_hears_of_it() {
    let mut world = copying();
    completed(&mut world);
    let saved = world.effects.iter().position(|e| {
        matches!(e, Effect::SaveSeen(seen) if seen.generations[&VM] == TO && seen.released.contains_key(&VM))
    });
    let told = world.effects.iter().position(|e| matches!(e, Effect::Release { .. }));
    assert!(saved.is_some() && saved < told, "{:?}", world.effects);
    assert_eq!(world.phase(1), Some(Phase::Moved));
    world.effects.clear();
    // Its own leader has not heard of it yet and wants it here; the process ends; it never runs here again.
    world.want(vec![leaving(7)]);
    world.exited(1, 1);
    world.pass_led(40_000);
    assert_eq!((world.launches(), world.phase(1)), (vec![], Some(Phase::Moved)));
}

#[test]
fn what_was_given_away_is_remembered_by_the_next_agent() {
    let adopted = Adopted {
        vm: VM,
        generation: 1,
        spec: http(),
        slot: 0,
        boot_id: "b".into(),
        process: true,
        paused: false,
        incoming: 0,
        copied: true,
    };
    let seen = Seen { generations: [(VM, TO)].into(), released: [(VM, (1, 7))].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![adopted], 10_000_000);
    world.input(Input::Connected);
    world.want(vec![leaving(7)]);
    assert_eq!(world.report(1).phase, Phase::Moved);
    assert_eq!(world.count(|e| matches!(e, Effect::KeepAfterAll { .. } | Effect::StartTransfer { .. })), 0);
    // It is another host's: what is left of it goes.
    world.want(vec![stopped(1, TO)]);
    assert!(world.effects.contains(&kill(1, 1)));
}

#[test]
fn a_guest_that_was_copied_and_is_not_wanted_elsewhere_any_more_goes_on_here() {
    let mut world = copying();
    world.want(vec![intent(1, 1)]);
    assert_eq!(world.count(|e| matches!(e, Effect::CancelTransfer { migration: 7, .. })), 1);
    completed(&mut world);
    assert_eq!(world.count(|e| matches!(e, Effect::Release { .. })), 0);
    assert_eq!(world.count(|e| matches!(e, Effect::KeepAfterAll { .. })), 1);
    assert_eq!(world.phase(1), Some(Phase::Running));
}

#[test]
fn a_copy_that_failed_is_told_and_not_tried_again_under_the_same_number() {
    let mut world = copying();
    let report =
        TransferReport { migration: 7, stage: Stage::Memory, bytes_done: 5, ..TransferReport::default() };
    world.input(Input::TransferProgress { vm: VM, generation: 1, report });
    assert_eq!(world.report(1).transfer.map(|transfer| transfer.bytes_done), Some(5));
    let reason = "the link broke".to_string();
    world.input(Input::TransferFailed { vm: VM, generation: 1, migration: 7, reason });
    world.pass_led(5_000);
    let told = world.report(1).transfer.expect("it is told");
    assert_eq!((told.stage, told.reason.as_str()), (Stage::Failed, "the link broke"));
    assert_eq!(world.count(|e| matches!(e, Effect::StartTransfer { .. })), 0);
    world.want(vec![leaving(8)]);
    assert_eq!(world.count(|e| matches!(e, Effect::StartTransfer { to, .. } if to.migration == 8)), 1);
}

#[test]
fn a_guest_whose_process_died_while_it_was_copied_is_started_again_here() {
    let mut world = copying();
    world.exited(1, 1);
    completed(&mut world);
    world.pass_led(2_000);
    assert_eq!(world.launches(), vec![(1, 1)]);
    assert_eq!(world.count(|e| matches!(e, Effect::Release { .. })), 0);
}

#[test]
fn what_arrives_goes_on_when_its_own_host_says_so_and_nobody_else() {
    let mut world = waiting();
    released(&mut world, "h2");
    assert_eq!(goes_on(&world), 0, "another host has nothing to say");
    released(&mut world, "h1");
    assert_eq!(goes_on(&world), 1);
    world.input(Input::WentOn { vm: VM, generation: TO, result: Ok(()) });
    world.answered(1, TO);
    assert_eq!(world.phase(1), Some(Phase::Running));
    world.effects.clear();
    world.want(vec![arriving(Run::Running)]);
    world.pass_led(2_000);
    assert_eq!((goes_on(&world), world.launches()), (0, vec![]), "it runs on as it is");
}

#[test]
fn what_arrives_goes_on_when_its_region_says_that_it_is_its_own() {
    let mut world = waiting();
    world.want(vec![intent(1, TO)]);
    assert_eq!(goes_on(&world), 1);
    world.effects.clear();
    world.pass_led(2_000);
    assert_eq!(goes_on(&world), 0, "once");
}

#[test]
fn what_did_not_arrive_whole_boots_anew_once_it_is_wanted_to_run() {
    let mut world = waiting();
    world.want(vec![intent(1, TO)]);
    let result = Err("the rest never came".to_string());
    world.input(Input::WentOn { vm: VM, generation: TO, result });
    assert!(world.effects.contains(&kill(1, TO)));
    world.exited(1, TO);
    world.pass_led(1_000);
    assert_eq!(world.launches(), vec![(1, TO)]);
}

#[test]
fn without_a_lease_nothing_that_arrived_goes_on() {
    let mut world = waiting();
    world.pass(3_500);
    released(&mut world, "h1");
    assert_eq!(goes_on(&world), 0);
    world.grant();
    world.pass_led(600);
    assert_eq!(goes_on(&world), 1, "once the lease is back");
}

#[test]
fn what_does_not_come_any_more_is_ended() {
    let mut world = waiting();
    world.want(vec![]);
    assert!(world.effects.contains(&kill(1, TO)));
    released(&mut world, "h1");
    assert_eq!(goes_on(&world), 0);
    world.exited(1, TO);
    assert_eq!(world.agent.vm(VmId(1)), None);
}

fn arrived(world: &mut World) {
    world.input(Input::ArrivedWhole { vm: VM, generation: TO, migration: 7 });
}

/// What is wanted of the host that a VM comes to once the host that it comes from is lost.
fn settling() -> VmIntent {
    let wanted = arriving(Run::Incoming);
    VmIntent { arrival: wanted.arrival.map(|of| ArrivalFrom { settling: true, ..of }), ..wanted }
}

fn says_whole(world: &World) -> usize {
    world.count(|e| matches!(e, Effect::SayWhole { migration: 7, .. }))
}

#[test]
fn that_everything_is_here_is_noted_durably_before_its_host_hears_of_it() {
    let mut world = waiting();
    arrived(&mut world);
    let saved = world
        .effects
        .iter()
        .position(|e| matches!(e, Effect::SaveSeen(seen) if seen.whole.get(&VM) == Some(&(TO, 7))));
    let told = world.effects.iter().position(|e| matches!(e, Effect::SayWhole { .. }));
    assert!(saved.is_some() && saved < told, "{:?}", world.effects);
    assert!(world.report(1).whole);
    assert_eq!(goes_on(&world), 0, "it is not ours yet");
}

#[test]
fn what_is_not_whole_when_its_host_is_lost_is_ended_and_never_goes_on() {
    let mut world = waiting();
    world.want(vec![settling()]);
    assert!(world.effects.contains(&kill(1, TO)));
    // Late words of its host, and a late end of the copy.
    arrived(&mut world);
    released(&mut world, "h1");
    assert_eq!((says_whole(&world), goes_on(&world)), (0, 0));
    world.exited(1, TO);
    world.pass_led(1_000);
    assert_eq!(world.agent.vm(VmId(1)), None, "nothing is left of it");
    assert_eq!(world.count(|e| matches!(e, Effect::LaunchIncoming { .. })), 0);
}

#[test]
fn what_is_whole_when_its_host_is_lost_waits_for_its_region_and_goes_on() {
    let mut world = waiting();
    arrived(&mut world);
    world.effects.clear();
    world.want(vec![settling()]);
    assert_eq!(world.count(|e| matches!(e, Effect::Kill { .. })), 0);
    assert!(world.report(1).whole);
    world.want(vec![intent(1, TO)]);
    assert_eq!(goes_on(&world), 1);
}

#[test]
fn what_was_released_and_runs_here_is_whole_whoever_is_lost() {
    let mut world = waiting();
    arrived(&mut world);
    released(&mut world, "h1");
    world.input(Input::WentOn { vm: VM, generation: TO, result: Ok(()) });
    world.answered(1, TO);
    world.effects.clear();
    world.want(vec![settling()]);
    assert_eq!(world.count(|e| matches!(e, Effect::Kill { .. })), 0);
    assert_eq!((world.phase(1), world.report(1).whole), (Some(Phase::Running), true));
}

#[test]
fn what_is_whole_and_lost_its_process_starts_from_its_own_disk_and_waits_for_no_other() {
    let mut world = waiting();
    arrived(&mut world);
    released(&mut world, "h1");
    world.exited(1, TO);
    world.effects.clear();
    world.pass_led(5_000);
    let incoming = |world: &World| world.count(|e| matches!(e, Effect::LaunchIncoming { .. }));
    assert_eq!((incoming(&world), world.launches()), (0, vec![]), "its region has not said that it is ours");
    assert!(world.report(1).whole);
    world.want(vec![intent(1, TO)]);
    world.pass_led(1_000);
    assert_eq!(world.launches(), vec![(1, TO)]);
    assert_eq!(world.count(|e| matches!(e, Effect::Remove { .. })), 0, "its disk is kept");
}

#[test]
fn what_is_whole_is_known_to_the_next_agent_also_after_its_host_lost_power() {
    let seen = Seen { generations: [(VM, TO)].into(), whole: [(VM, (TO, 7))].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![], 10_000_000);
    world.input(Input::Connected);
    world.want(vec![settling()]);
    world.pass_led(2_000);
    assert!(world.report(1).whole);
    assert_eq!(world.count(|e| matches!(e, Effect::LaunchIncoming { .. })), 0, "its disk would be lost");
    world.want(vec![intent(1, TO)]);
    world.pass_led(1_000);
    assert_eq!(world.launches(), vec![(1, TO)]);
}

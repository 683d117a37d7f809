//! Starting, stopping, dying, answering.

use super::*;

#[test]
fn a_wanted_vm_starts_answers_and_is_reported() {
    let mut world = World::leased();
    world.want(vec![intent(1, 1)]);
    assert_eq!(world.launches(), vec![(1, 1)]);
    assert_eq!(world.report(1).phase, Phase::Starting);
    world.launched(1, 1);
    assert_eq!(world.count(|e| matches!(e, Effect::Probe { limit_ms: 250, .. })), 1);
    world.input(Input::ProbeAnswer { vm: VM, generation: 1, boot_id: None, failure: Some("refused".into()) });
    assert_eq!(world.report(1).phase, Phase::Starting);
    world.pass(150);
    assert_eq!(world.count(|e| matches!(e, Effect::Probe { .. })), 2);
    world.input(Input::ProbeAnswer { vm: VM, generation: 1, boot_id: Some("guest".into()), failure: None });
    let report = world.report(1);
    assert_eq!(
        (report.phase, report.healthy, report.boot_id.as_str()),
        (Phase::Running, Health::Healthy, "guest")
    );
    assert_eq!((report.address.as_str(), report.answered_age_ms), ("127.77.1.32:8080", 0));
}

#[test]
fn a_vm_without_a_probe_runs_once_its_process_does() {
    let mut world = World::leased();
    let spec = VmSpec { probe: HealthProbe::Process, ..http() };
    world.want(vec![VmIntent { spec, ..intent(1, 1) }]);
    world.launched(1, 1);
    assert_eq!((world.report(1).phase, world.report(1).healthy), (Phase::Running, Health::Healthy));
}

#[test]
fn boots_queue_by_priority_and_only_so_many_at_once() {
    let mut world = World::leased();
    let with = |vm, priority| VmIntent { priority: Priority(priority), ..intent(vm, 1) };
    world.want(vec![with(1, 25), with(2, 50), with(3, 100), with(4, 75)]);
    assert_eq!(world.launches(), vec![(3, 1), (4, 1)]);
    world.launched(3, 1);
    world.answered(3, 1);
    assert_eq!(world.launches(), vec![(3, 1), (4, 1), (2, 1)]);
    world.pass_led(31_000);
    assert_eq!(
        world.launches().last(),
        Some(&(1, 1)),
        "one that never answers holds its place only for a while"
    );
}

#[test]
fn more_vms_than_addresses_wait_and_say_so() {
    let mut world = World::leased();
    world.want((1..=5).map(|vm| intent(vm, 1)).collect());
    world.pass_led(100);
    let waiting = world.report(5);
    assert_eq!(waiting.phase, Phase::Pending);
    assert!(waiting.reason.contains("address"), "{}", waiting.reason);
    world.launched(1, 1);
    world.want((2..=5).map(|vm| intent(vm, 1)).collect());
    world.exited(1, 1);
    world.pass_led(35_000);
    assert!(
        world.launches().contains(&(5, 1)),
        "the first VM's address is free again: {:?}",
        world.report(5)
    );
}

#[test]
fn a_vm_that_is_to_be_off_at_once_is_killed_without_the_power_button_and_stays_off() {
    let mut world = World::leased();
    world.running(1, 1);
    let lost = VmIntent { at_once: true, ..stopped(1, 1) };
    world.want(vec![lost.clone()]);
    assert_eq!(world.count(|e| *e == Effect::PowerDown { vm: VM, generation: 1 }), 0);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 1);
    world.exited(1, 1);
    world.want(vec![lost]);
    world.pass_led(60_000);
    assert_eq!((world.report(1).phase, world.launches().len()), (Phase::Stopped, 0));
}

#[test]
fn a_stop_presses_the_power_button_and_kills_in_the_end() {
    let mut world = World::leased();
    world.running(1, 1);
    world.want(vec![stopped(1, 1)]);
    assert_eq!(world.count(|e| *e == Effect::PowerDown { vm: VM, generation: 1 }), 1);
    world.pass_led(9_800);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 0);
    world.pass_led(400);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 1);
    world.exited(1, 1);
    assert_eq!(world.phase(1), Some(Phase::Stopped));
    world.pass_led(2_000);
    assert_eq!(world.launches(), vec![]);
    assert_eq!(world.count(|e| matches!(e, Effect::Remove { .. })), 0, "its disk stays");
    world.want(vec![intent(1, 2)]);
    assert_eq!(world.launches(), vec![(1, 2)]);
}

#[test]
fn a_newer_generation_replaces_the_process_but_keeps_the_address() {
    let mut world = World::leased();
    world.want(vec![intent(9, 1), intent(1, 1)]);
    let address = world.report(9).address;
    world.want(vec![intent(9, 2)]);
    assert_eq!(world.count(|e| *e == kill(9, 1)), 1);
    assert_eq!(world.launches().len(), 2, "not before the old one is gone");
    world.exited(1, 1);
    world.exited(9, 1);
    assert_eq!(world.launches().last(), Some(&(9, 2)));
    assert_eq!(world.report(9).address, address);
    assert_eq!(world.count(|e| matches!(e, Effect::Remove { vm: VmId(9), .. })), 0);
}

#[test]
fn a_vm_that_is_no_longer_wanted_is_killed_then_removed_and_its_address_is_free() {
    let mut world = World::leased();
    world.running(1, 1);
    world.want(Vec::new());
    assert_eq!(world.count(|e| *e == kill(1, 1)), 1);
    world.pass_led(2_100);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 2, "repeated while the process stays");
    world.exited(1, 1);
    assert_eq!(world.count(|e| *e == Effect::Remove { vm: VM, generation: 1 }), 1);
    world.want(vec![intent(2, 1)]);
    assert_eq!(world.report(2).address, "127.77.1.32:8080");
}

#[test]
fn a_vm_whose_process_died_is_reported_failed_and_started_again_ever_later() {
    let mut world = World::leased();
    world.running(1, 1);
    let mut waits = Vec::new();
    for round in 0..4 {
        world.exited(1, 1);
        let report = world.report(1);
        assert_eq!((report.phase, report.reason.as_str()), (Phase::Failed, "QEMU ended"));
        let died_us = world.now_us;
        let before = world.launches().len();
        while world.launches().len() == before {
            world.pass_led(100);
        }
        waits.push((world.now_us - died_us) / MS);
        world.launched(1, 1);
        world.answered(1, 1);
        assert_eq!(world.phase(1), Some(Phase::Running), "round {round}");
    }
    assert_eq!(waits, vec![500, 1_000, 2_000, 4_000]);
    world.pass_led(61_000);
    world.exited(1, 1);
    let before = world.launches().len();
    world.pass_led(500);
    assert_eq!(world.launches().len(), before + 1, "one that ran long starts its back-off anew");
}

#[test]
fn a_vm_that_can_not_be_started_says_why_and_is_tried_again() {
    let mut world = World::leased();
    world.want(vec![intent(1, 1)]);
    world.input(Input::Launched { vm: VM, generation: 1, result: Err("image x is missing".into()) });
    assert_eq!(world.report(1).phase, Phase::Failed);
    assert_eq!(world.report(1).reason, "image x is missing");
    world.pass_led(500);
    assert_eq!(world.launches(), vec![(1, 1), (1, 1)]);
}

#[test]
fn several_failed_probes_make_a_vm_unhealthy_and_one_answer_heals_it() {
    let mut world = World::leased();
    world.running(1, 1);
    let fail =
        || Input::ProbeAnswer { vm: VM, generation: 1, boot_id: None, failure: Some("status 500".into()) };
    for _ in 0..2 {
        world.pass_led(1_000);
        world.input(fail());
    }
    assert_eq!(world.report(1).healthy, Health::Healthy);
    world.input(fail());
    assert_eq!((world.report(1).healthy, world.report(1).reason.as_str()), (Health::Unhealthy, "status 500"));
    world.answered(1, 1);
    assert_eq!((world.report(1).healthy, world.report(1).reason.as_str()), (Health::Healthy, ""));
}

#[test]
fn a_probe_is_sent_each_second_and_never_two_at_once() {
    let mut world = World::leased();
    world.running(1, 1);
    world.pass_led(1_000);
    world.effects.retain(|e| matches!(e, Effect::Send(_)));
    world.pass_led(2_000);
    assert_eq!(world.count(|e| matches!(e, Effect::Probe { .. })), 0, "the last one was not answered");
    world.answered(1, 1);
    world.effects.retain(|e| matches!(e, Effect::Send(_)));
    for _ in 0..5 {
        world.pass_led(1_000);
        world.answered(1, 1);
    }
    assert_eq!(world.count(|e| matches!(e, Effect::Probe { limit_ms: 1_000, .. })), 5);
}

#[test]
fn news_of_an_older_process_changes_nothing() {
    let mut world = World::leased();
    world.want(vec![intent(1, 2)]);
    world.launched(1, 1);
    world.exited(1, 1);
    world.answered(1, 1);
    assert_eq!(world.phase(1), Some(Phase::Starting));
    world.exited(7, 7);
    assert_eq!(world.phase(7), None);
}

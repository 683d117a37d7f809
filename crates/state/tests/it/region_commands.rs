//! What each command of a region's group does, and when it is refused.

use dwcp_state::{
    Command, Health, HostMove, HostStanding, Observation, Observed, OperationState, Phase, Probe,
    RegionFacts, Relation, Scope, Target, Vm, Want,
};
use dwcp_types::{Code, Generation, OperationId, VmId, Wall};

use super::world::{World, create, host, host_facts, operation, size, vm};

#[test]
fn a_host_joins_is_lost_and_comes_back() {
    let mut world = World::new();
    assert_eq!(world.newest_event(1), "host.joined");
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(world.refuse(1, Command::LoseHost((host("h1"), 2))), Code::WrongState, "another incarnation");
    assert_eq!(world.refuse(1, Command::LoseHost((host("h9"), 1))), Code::UnknownHost);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    world.at = Wall(2_000);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    let lost = &world.facts(1).hosts[&host("h1")];
    assert_eq!((lost.standing, lost.standing_since), (HostStanding::Lost, Wall(1_000)));
    let mut back = host_facts("h1", "a");
    back.incarnation = 2;
    world.accept(1, Command::RegisterHost(back));
    let known = &world.facts(1).hosts[&host("h1")];
    assert_eq!((known.standing, known.used), (HostStanding::Up, size(2, 2_048, 10)));
    assert_eq!(world.newest_event(1), "host.returned");
}

#[test]
fn placement_on_a_host_is_switched_and_kept_when_it_registers_again() {
    let mut world = World::new();
    world.accept(1, Command::SetHostPlacement((host("h1"), false)));
    world.accept(1, Command::RegisterHost(host_facts("h1", "a")));
    assert!(!world.facts(1).hosts[&host("h1")].placement);
    assert_eq!(world.refuse(1, create(vec![vm(1, "h1")])), Code::CapacityGone);
    assert_eq!(world.refuse(1, Command::SetHostPlacement((host("h9"), true))), Code::UnknownHost);
}

#[test]
fn vms_are_created_all_or_none() {
    let mut world = World::new();
    let receipt = world.accept(1, create(vec![vm(1, "h1"), vm(2, "h2")]));
    assert_eq!(receipt.vms, vec![(VmId(1), Generation(1)), (VmId(2), Generation(1))]);
    let mut large = vm(4, "h1");
    large.spec.size.vcpus = 7;
    assert_eq!(world.refuse(1, create(vec![vm(3, "h1"), large])), Code::CapacityGone);
    assert_eq!(world.facts(1).vms.len(), 2);
    assert_eq!(world.facts(1).hosts[&host("h1")].used, size(2, 2_048, 10));
}

#[test]
fn a_new_vm_starts_at_generation_one_and_has_seen_nothing() {
    let mut world = World::new();
    let observed = Observed { phase: Phase::Running, ..Observed::default() };
    let boasting = Vm { generation: Generation(9), observed, created_at: Wall(5), ..vm(1, "h1") };
    world.accept(1, create(vec![boasting]));
    let made = &world.facts(1).vms[&VmId(1)];
    assert_eq!((made.generation, made.observed.phase), (Generation(1), Phase::Pending));
    assert_eq!((made.created_at, made.home.as_str()), (Wall(1_000), "a"));
}

#[test]
fn a_vm_is_not_created_twice_nor_under_a_taken_name_nor_nowhere() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(world.refuse(1, create(vec![Vm { name: "other".into(), ..vm(1, "h2") }])), Code::WrongState);
    assert_eq!(world.refuse(1, create(vec![Vm { name: "vm-1".into(), ..vm(2, "h2") }])), Code::NameTaken);
    assert_eq!(world.refuse(1, create(vec![vm(3, "h9")])), Code::UnknownHost);
    world.accept(1, Command::LoseHost((host("h2"), 1)));
    assert_eq!(world.refuse(1, create(vec![vm(3, "h2")])), Code::CapacityGone);
    world.accept(1, Command::BeginEvacuation(1));
    assert_eq!(world.refuse(1, create(vec![vm(3, "h1")])), Code::RegionDisabled);
}

#[test]
fn a_name_is_free_again_when_its_vm_is_being_deleted_but_not_while_it_may_come_back() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h2")]));
    world.accept(1, Command::SetWant((VmId(1), (Want::Deleted, operation(2)))));
    world.accept(1, create(vec![Vm { name: "vm-1".into(), ..vm(3, "h2") }]));
    world.accept(1, Command::LoseHost((host("h2"), 1)));
    let step = dwcp_state::Departing { vm: VmId(2), generation: Generation(1), ..Default::default() };
    world.accept(1, Command::Depart((None, vec![step])));
    assert_eq!(world.refuse(1, create(vec![Vm { name: "vm-2".into(), ..vm(4, "h1") }])), Code::NameTaken);
}

#[test]
fn relations_are_checked_at_the_very_position_of_the_log() {
    let mut world = World::new();
    let label = |app: &str| Target::Label(("app".into(), app.into()));
    let apart = |scope| vec![Relation { target: label("db"), scope }];
    let mut db = vm(1, "h1");
    db.labels.insert("app".into(), "db".into());
    world.accept(1, create(vec![db.clone()]));
    for scope in [Scope::Host, Scope::Zone, Scope::Region] {
        let mut new = vm(2, "h1");
        new.rules.anti_affinity = apart(scope);
        assert_eq!(world.refuse(1, create(vec![new])), Code::CapacityGone, "{scope:?}");
    }
    let mut region_wide = vm(2, "h2");
    region_wide.rules.anti_affinity = apart(Scope::Region);
    assert_eq!(world.refuse(1, create(vec![region_wide])), Code::CapacityGone);
    let mut together = vm(2, "h2");
    together.rules.affinity = vec![Relation { target: Target::Vm(VmId(1)), scope: Scope::Host }];
    assert_eq!(world.refuse(1, create(vec![together.clone()])), Code::CapacityGone);
    together.host = host("h1");
    together.rules.anti_affinity = vec![Relation { target: label("web"), scope: Scope::Host }];
    world.accept(1, create(vec![together]));
    let mut named = vm(3, "h1");
    named.labels.insert("app".into(), "web".into());
    assert_eq!(world.refuse(1, create(vec![named.clone()])), Code::CapacityGone, "the other's rule names it");
    named.host = host("h2");
    world.accept(1, create(vec![named]));
}

#[test]
fn wanting_changes_what_is_wanted_and_a_start_raises_the_generation() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let want = |want| Command::SetWant((VmId(1), (want, operation(2))));
    assert_eq!(world.accept(1, want(Want::Running)).vms, vec![(VmId(1), Generation(1))]);
    assert_eq!(world.accept(1, want(Want::Stopped)).vms, vec![(VmId(1), Generation(1))]);
    let restart = Command::RestartVm((VmId(1), operation(3)));
    assert_eq!(world.refuse(1, restart.clone()), Code::WrongState);
    assert_eq!(world.accept(1, want(Want::Running)).vms, vec![(VmId(1), Generation(2))]);
    assert_eq!(world.accept(1, restart).vms, vec![(VmId(1), Generation(3))]);
    world.accept(1, want(Want::Deleted));
    assert_eq!(world.refuse(1, want(Want::Running)), Code::WrongState);
    let unknown = Command::SetWant((VmId(9), (Want::Stopped, operation(4))));
    assert_eq!(world.refuse(1, unknown), Code::UnknownVm);
    assert_eq!(world.refuse(1, Command::RestartVm((VmId(9), operation(4)))), Code::UnknownVm);
}

fn seen(vm: u64, generation: u64, phase: Phase, health: Health) -> Observation {
    let observed = Observed { generation: Generation(generation), phase, health, ..Observed::default() };
    Observation { vm: VmId(vm), observed, gone: false }
}

#[test]
fn a_host_is_believed_about_its_own_vms_and_their_current_generation_only() {
    let mut world = World::new();
    let probed = |number, on| {
        let mut vm = vm(number, on);
        vm.spec.probe = Probe::Tcp(80);
        vm
    };
    world.accept(1, create(vec![probed(1, "h1"), probed(2, "h2")]));
    let running = |vm, generation| seen(vm, generation, Phase::Running, Health::Healthy);
    world.accept(1, Command::Observe((host("h1"), vec![running(1, 2), running(2, 1), running(9, 1)])));
    assert!(world.facts(1).vms.values().all(|vm| !vm.serves()));
    world.accept(1, Command::Observe((host("h1"), vec![running(1, 1)])));
    assert!(world.facts(1).vms[&VmId(1)].serves());
    assert_eq!(world.newest_event(1), "vm.phase");
    let sick = seen(1, 1, Phase::Running, Health::Unhealthy);
    world.accept(1, Command::Observe((host("h1"), vec![sick])));
    assert!(!world.facts(1).vms[&VmId(1)].serves());
}

#[test]
fn a_vm_is_purged_only_when_it_is_to_be_deleted_and_its_host_says_it_is_gone() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let gone = Observation { gone: true, ..seen(1, 1, Phase::Stopped, Health::Unknown) };
    world.accept(1, Command::Observe((host("h1"), vec![gone.clone()])));
    assert_eq!(world.facts(1).vms.len(), 1);
    world.accept(1, Command::SetWant((VmId(1), (Want::Deleted, operation(2)))));
    world.accept(1, Command::Observe((host("h2"), vec![gone.clone()])));
    assert_eq!(world.facts(1).vms.len(), 1);
    world.accept(1, Command::Observe((host("h1"), vec![gone])));
    assert!(world.facts(1).vms.is_empty());
    assert_eq!(world.facts(1).hosts[&host("h1")].used, size(0, 0, 0));
    assert_eq!(world.refuse(1, create(vec![vm(1, "h1")])), Code::WrongState, "an id is unique for ever");
}

fn takeover(vm: u64, generation: u64, to: &str) -> Command {
    Command::MoveVms(vec![HostMove { vm: VmId(vm), generation: Generation(generation), to: host(to) }])
}

#[test]
fn vms_are_taken_over_only_from_lost_hosts_under_their_generation_and_into_room() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(world.refuse(1, takeover(1, 1, "h2")), Code::WrongState);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    assert_eq!(world.refuse(1, takeover(1, 2, "h2")), Code::OldGeneration);
    assert_eq!(world.refuse(1, takeover(9, 1, "h2")), Code::UnknownVm);
    assert_eq!(world.refuse(1, takeover(1, 1, "h9")), Code::UnknownHost);
    assert_eq!(world.refuse(1, takeover(1, 1, "h1")), Code::CapacityGone);
    assert_eq!(world.accept(1, takeover(1, 1, "h2")).vms, vec![(VmId(1), Generation(2))]);
    let hosts = &world.facts(1).hosts;
    assert_eq!((hosts[&host("h1")].used, hosts[&host("h2")].used), (size(0, 0, 0), size(2, 2_048, 10)));
    assert_eq!(world.refuse(1, takeover(1, 1, "h2")), Code::OldGeneration);
}

#[test]
fn of_several_takeovers_those_that_hold_are_done() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h1")]));
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    let step = |vm, generation| HostMove { vm: VmId(vm), generation: Generation(generation), to: host("h2") };
    let receipt = world.accept(1, Command::MoveVms(vec![step(1, 7), step(2, 1)]));
    assert_eq!(receipt.vms, vec![(VmId(2), Generation(2))]);
    assert_eq!(world.facts(1).vms[&VmId(1)].host, host("h1"));
    world.accept(1, Command::MoveVms(vec![]));
}

#[test]
fn an_evacuation_ends_for_ever() {
    let mut world = World::new();
    world.accept(1, Command::BeginEvacuation(2));
    world.accept(1, Command::BeginEvacuation(1));
    assert_eq!(world.facts(1).evacuation, Some(2));
    world.accept(1, Command::EndEvacuation(1));
    assert_eq!(world.facts(1).evacuation, Some(2), "an older end changes nothing");
    world.accept(1, Command::EndEvacuation(2));
    assert_eq!((world.facts(1).evacuation, world.facts(1).evacuated), (None, 2));
    assert_eq!(world.refuse(1, Command::BeginEvacuation(2)), Code::WrongState);
    world.accept(1, Command::BeginEvacuation(3));
}

#[test]
fn operations_end_once_and_only_so_many_ended_ones_are_kept() {
    let mut world = World::new();
    let end = |id, state| Command::EndOperation((OperationId(id), (state, "so".to_string())));
    assert_eq!(world.refuse(1, end(1, OperationState::Done)), Code::UnknownOperation);
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, end(1, OperationState::Done));
    world.accept(1, end(1, OperationState::Failed));
    let ended = &world.facts(1).operations[&OperationId(1)];
    assert_eq!((ended.state, ended.ended_at), (OperationState::Done, Some(Wall(1_000))));
    for number in 2..RegionFacts::OPERATIONS_KEPT as u64 + 50 {
        world.accept(1, Command::SetWant((VmId(1), (Want::Running, operation(number)))));
        world.accept(1, end(number, OperationState::Done));
    }
    assert_eq!(world.facts(1).operations.len(), RegionFacts::OPERATIONS_KEPT);
}

#[test]
fn overcommit_decides_how_much_fits() {
    let mut world = World::new();
    let mut large = vm(1, "h1");
    large.spec.size.vcpus = 16;
    assert_eq!(world.refuse(1, create(vec![large.clone()])), Code::CapacityGone);
    world.accept(1, Command::SetOvercommit((200, 100)));
    world.accept(1, create(vec![large]));
    assert_eq!(world.facts(1).limits(), (200, 100));
}

#[test]
#[should_panic(expected = "a log position is applied once")]
fn a_position_of_the_log_is_never_applied_twice() {
    let mut world = World::new();
    let revision = world.view.revision(1);
    world.view.apply(1, revision, &dwcp_state::Envelope::default());
}

//! Copies of VMs' disks: both groups' facts, and what a VM starts from.

use dwcp_state::{
    Admission, Arrival, Command, Departing, DiskProof, GuardNews, GuardState, HostMove, MigrationState, Mode,
    NewMigration, OnReplicaLoss, Operation, OperationKind, Protection, ProtectionChange, ProtectionMode,
    Replica, ReplicaChoice, ReplicaLocation, Switch, Vm,
};
use dwcp_types::{Code, Generation, MigrationId, Revision, VmId, Wall};

use super::samples;
use super::world::{World, create, host, operation, region, size, vm};

const VM: VmId = VmId(1);

fn protected(mode: ProtectionMode, on_loss: OnReplicaLoss) -> World {
    let mut world = World::new();
    let wanted = Protection { mode, on_loss, ..Protection::default() };
    world.accept(1, create(vec![Vm { protection: wanted, ..vm(1, "h1") }]));
    choose(&mut world, 0, "b");
    world.accept(2, Command::TakeReplica(Box::new(replica(1))));
    let at = ReplicaLocation { vm: VM, epoch: 1, host: host("h1"), endpoint: "10.0.0.1:1".into() };
    world.accept(1, Command::LocateReplica(at));
    world
}

fn choose(world: &mut World, epoch: u64, to: &str) {
    let choice = ReplicaChoice { vm: VM, epoch, region: region(to), host: host("h1"), reason: "near".into() };
    world.accept(1, Command::ChooseReplica(choice));
}

fn replica(epoch: u64) -> Replica {
    Replica {
        vm: VM,
        name: "vm-1".into(),
        host: host("h1"),
        from: region("a"),
        from_host: host("h1"),
        epoch,
        disk_gib: 10,
        points: false,
        seen: Revision(1),
        since: Wall(0),
    }
}

fn say(world: &mut World, epoch: u64, state: GuardState, point: u64) {
    let generation = world.facts(1).vms[&VM].generation;
    let reason = if state == GuardState::Degraded { "the link is cut".to_string() } else { String::new() };
    let news = GuardNews { vm: VM, generation, epoch, state, point: Wall(point), reason };
    world.accept(1, Command::Guarded((host("h1"), vec![news])));
}

fn of(world: &World) -> &Vm {
    &world.facts(1).vms[&VM]
}

fn state(world: &World) -> (GuardState, u64) {
    let guard = &of(world).protection.guard;
    (guard.state, guard.epoch)
}

#[test]
fn a_copy_counts_only_once_its_host_says_that_it_is_whole() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    assert_eq!((state(&world), of(&world).disk_proof()), ((GuardState::Syncing, 1), DiskProof::Unprotected));
    say(&mut world, 1, GuardState::Protected, 0);
    assert_eq!((state(&world), of(&world).disk_proof()), ((GuardState::Protected, 1), DiskProof::Zero));
    assert_eq!(world.newest_event(1), "vm.protected");
    say(&mut world, 7, GuardState::Degraded, 0);
    assert_eq!(state(&world), (GuardState::Protected, 1), "another epoch says nothing");
}

#[test]
fn a_copy_that_was_let_go_of_is_never_protected_again_under_its_epoch() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::GoOn);
    say(&mut world, 1, GuardState::Protected, 0);
    world.at = Wall(9_000);
    say(&mut world, 1, GuardState::Degraded, 8_500);
    assert_eq!(world.newest_event(1), "vm.unprotected");
    assert!(of(&world).protection.guard.released);
    assert_eq!(of(&world).disk_proof(), DiskProof::Point(Wall(8_500)));
    say(&mut world, 1, GuardState::Protected, 0);
    assert_eq!(state(&world), (GuardState::Degraded, 1), "writes may have been acknowledged without it");
    choose(&mut world, 1, "b");
    assert_eq!((state(&world), of(&world).disk_proof()), ((GuardState::Syncing, 2), DiskProof::Unprotected));
}

#[test]
fn with_stop_the_same_copy_is_protected_again_when_it_is_back_because_no_write_went_past_it() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 0);
    say(&mut world, 1, GuardState::Degraded, 500);
    assert_eq!((state(&world), of(&world).protection.guard.released), ((GuardState::Degraded, 1), false));
    say(&mut world, 1, GuardState::Protected, 0);
    assert_eq!(of(&world).disk_proof(), DiskProof::Zero);
    // An operator lets it go on: from then on the copy is behind.
    say(&mut world, 1, GuardState::Degraded, 900);
    let change = ProtectionChange {
        vm: VM,
        mode: ProtectionMode::Sync,
        on_loss: OnReplicaLoss::GoOn,
        ..ProtectionChange::default()
    };
    world.accept(1, Command::SetProtection(change));
    say(&mut world, 1, GuardState::Protected, 0);
    assert_eq!(state(&world), (GuardState::Degraded, 1));
}

#[test]
fn a_vm_that_starts_anew_is_not_protected_by_the_copy_of_its_last_process() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 0);
    world.accept(1, Command::RestartVm((VM, operation(2))));
    assert_eq!(state(&world), (GuardState::Syncing, 2));
    let old = GuardNews {
        vm: VM,
        generation: Generation(1),
        epoch: 1,
        state: GuardState::Protected,
        ..GuardNews::default()
    };
    world.accept(1, Command::Guarded((host("h1"), vec![old])));
    assert_eq!(state(&world), (GuardState::Syncing, 2));
}

#[test]
fn a_copy_takes_room_and_gives_it_back_and_no_older_epoch_is_taken() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    let used = |world: &World| world.facts(2).hosts[&host("h1")].used;
    assert_eq!(used(&world), size(0, 0, 10));
    assert_eq!(world.refuse(2, Command::TakeReplica(Box::new(replica(1)))), Code::WrongState);
    world.accept(2, Command::TakeReplica(Box::new(replica(3))));
    assert_eq!(used(&world), size(0, 0, 10));
    let large = Replica { epoch: 4, disk_gib: 501, ..replica(4) };
    assert_eq!(world.refuse(2, Command::TakeReplica(Box::new(large))), Code::CapacityGone);
    assert_eq!((used(&world), world.view.flaws()), (size(0, 0, 10), vec![]));
    assert_eq!(world.refuse(2, Command::DropReplica((VM, 2))), Code::WrongState);
    world.accept(2, Command::DropReplica((VM, 3)));
    assert_eq!((used(&world), world.view.flaws()), (size(0, 0, 0), vec![]));
}

/// The VM of region a leaves it for `to` after its region was lost.
fn depart(world: &mut World, to: &str) -> Vm {
    world.accept(1, Command::BeginEvacuation(1));
    let step = Departing { vm: VM, generation: Generation(1), to: region(to), host: None };
    world.accept(1, Command::Depart((None, vec![step])));
    world.facts(1).departures[&VM].vm.clone()
}

fn admit(world: &mut World, group: u64, vm: Vm, on: &str) {
    let admission = Admission { vm, host: host(on), from: region("a"), failover: None };
    world.accept(group, Command::Admit(Box::new(admission)));
}

#[test]
fn a_vm_starts_from_its_copy_which_becomes_its_disk_and_a_new_copy_is_to_be_chosen() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 0);
    let left = depart(&mut world, "b");
    assert_eq!(left.disk_proof(), DiskProof::Zero);
    admit(&mut world, 2, left, "h1");
    let here = &world.facts(2).vms[&VM];
    assert_eq!((here.protection.boot, here.protection.guard.epoch), (1, 1));
    assert_eq!((here.protection.guard.region.clone(), here.disk_proof()), (None, DiskProof::Unprotected));
    assert!(world.facts(2).replicas.is_empty());
    assert_eq!(world.facts(2).hosts[&host("h1")].used, size(2, 2_048, 10), "its room is the VM's now");
    assert_eq!(world.view.flaws(), vec![]);
    assert_eq!(
        world.refuse(2, Command::TakeReplica(Box::new(replica(5)))),
        Code::WrongState,
        "it lives here"
    );
}

#[test]
fn a_copy_of_another_epoch_or_that_is_not_whole_is_nothing_to_start_from() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    let mut left = depart(&mut world, "b");
    assert!(world.facts(2).replica_for(&left).is_none(), "it was still being made");
    left.protection.guard.state = GuardState::Protected;
    left.protection.guard.epoch = 2;
    assert!(world.facts(2).replica_for(&left).is_none(), "the copy is of another epoch");
    admit(&mut world, 2, left, "h2");
    assert_eq!(world.facts(2).vms[&VM].protection.boot, 0);
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_vm_with_a_whole_copy_is_not_moved_to_a_host_without_its_disk() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    let step = HostMove { vm: VM, generation: Generation(1), to: host("h2") };
    let mut syncing = World { view: world.view.clone(), at: world.at };
    syncing.accept(1, Command::MoveVms(vec![step.clone()]));
    assert_eq!(state(&syncing), (GuardState::Syncing, 2), "its new disk is copied anew");
    say(&mut world, 1, GuardState::Protected, 0);
    assert_eq!(world.refuse(1, Command::MoveVms(vec![step])), Code::WrongState);
}

#[test]
fn of_an_asynchronous_copy_the_newest_point_stays_while_it_is_made_anew() {
    let mut world = protected(ProtectionMode::Async(30_000), OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 40_000);
    assert_eq!(of(&world).disk_proof(), DiskProof::Point(Wall(40_000)));
    say(&mut world, 1, GuardState::Protected, 30_000);
    assert_eq!(of(&world).disk_proof(), DiskProof::Point(Wall(40_000)), "points never go back");
    say(&mut world, 1, GuardState::Degraded, 0);
    assert!(!of(&world).protection.guard.released, "an asynchronous copy holds no write up");
    choose(&mut world, 1, "b");
    assert_eq!(of(&world).disk_proof(), DiskProof::Point(Wall(40_000)));
}

#[test]
fn a_point_counts_only_on_the_host_that_holds_it() {
    let mut world = protected(ProtectionMode::Async(30_000), OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 40_000);
    choose(&mut world, 1, "b");
    // The host that has the point is gone: its region takes the next copy on another one.
    let there = world.facts(2).replicas[&VM].clone();
    world.accept(2, Command::TakeReplica(Box::new(Replica { epoch: 2, host: host("h2"), ..there })));
    let left = of(&world).clone();
    assert_eq!(left.disk_proof(), DiskProof::Point(Wall(40_000)));
    assert!(world.facts(2).replica_for(&left).is_none(), "nobody starts from what is not there");
    let at = ReplicaLocation { vm: VM, epoch: 2, host: host("h2"), endpoint: "10.0.0.2:1".into() };
    world.accept(1, Command::LocateReplica(at));
    assert_eq!(of(&world).disk_proof(), DiskProof::Unprotected);
}

#[test]
fn points_that_are_late_let_nobody_off() {
    let mut world = protected(ProtectionMode::Async(30_000), OnReplicaLoss::GoOn);
    say(&mut world, 1, GuardState::Protected, 40_000);
    say(&mut world, 1, GuardState::Degraded, 0);
    let change = ProtectionChange {
        vm: VM,
        mode: ProtectionMode::Async(30_000),
        on_loss: OnReplicaLoss::GoOn,
        ..ProtectionChange::default()
    };
    world.accept(1, Command::SetProtection(change));
    let guard = &of(&world).protection.guard;
    assert_eq!((guard.released, guard.epoch, guard.point), (false, 1, Wall(40_000)));
    let since = guard.since;
    say(&mut world, 1, GuardState::Degraded, 90_000);
    let guard = &of(&world).protection.guard;
    assert_eq!((guard.state, guard.point, guard.since), (GuardState::Degraded, Wall(90_000), since));
}

#[test]
fn what_can_not_be_protected_is_refused() {
    let mut world = World::new();
    let mut plain = vm(1, "h1");
    plain.spec.size.disk_gib = 0;
    world.accept(1, create(vec![plain, vm(2, "h1")]));
    let sync = |vm, region| ProtectionChange {
        vm: VmId(vm),
        mode: ProtectionMode::Sync,
        region,
        ..ProtectionChange::default()
    };
    assert_eq!(world.refuse(1, Command::SetProtection(sync(1, None))), Code::WrongState);
    assert_eq!(world.refuse(1, Command::SetProtection(sync(2, Some(region("a"))))), Code::BadValue);
    assert_eq!(world.refuse(1, Command::SetProtection(sync(3, None))), Code::UnknownVm);
    world.accept(1, Command::SetProtection(sync(2, Some(region("c")))));
    assert_eq!(world.newest_event(1), "vm.protection");
}

#[test]
fn copies_are_read_back_byte_for_byte() {
    let mut world = protected(ProtectionMode::Async(5_000), OnReplicaLoss::GoOn);
    say(&mut world, 1, GuardState::Protected, 700);
    world.accept(2, Command::DeclineReplica((VmId(9), (4, "no room".into()))));
    let mut full = Vm { protection: samples::protection(), ..of(&world).clone() };
    full.protection.guard.released = true;
    assert_eq!(dwcp_types::decode::<Vm>(&dwcp_types::encode(&full)).expect("a VM"), full);
    for group in [1, 2] {
        let bytes = world.view.snapshot(group);
        let mut read = world.view.clone();
        read.restore(group, &bytes).expect("it is read");
        assert_eq!(read, world.view);
    }
}

const ID: MigrationId = MigrationId(7);

fn migrate(mode: Mode, to: &str) -> Command {
    let new = NewMigration { id: ID, vm: VM, to: region(to), mode, ..NewMigration::default() };
    let operation = Operation { kind: OperationKind::MigrateVms(vec![VM]), ..operation(2) };
    Command::BeginMigrations((vec![new], operation))
}

fn protect(mode: ProtectionMode) -> Command {
    Command::SetProtection(ProtectionChange { vm: VM, mode, ..ProtectionChange::default() })
}

fn released() -> Command {
    Command::Switch(Switch { vm: VM, migration: ID, released: true, ..Switch::default() })
}

#[test]
fn a_vm_with_a_protected_disk_moves_only_cold_and_only_to_its_whole_copy() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::Stop);
    for (mode, to) in [(Mode::Live, "b"), (Mode::Live, "a"), (Mode::Cold, "b")] {
        assert_eq!(world.refuse(1, migrate(mode, to)), Code::ProtectedDisk, "its copy is not whole");
    }
    say(&mut world, 1, GuardState::Protected, 0);
    for (mode, to) in [(Mode::Live, "b"), (Mode::Cold, "c"), (Mode::Cold, "a")] {
        assert_eq!(world.refuse(1, migrate(mode, to)), Code::ProtectedDisk);
    }
    let refusal = of(&world).check_protected_move(Mode::Live, &region("c"), None).expect_err("it is refused");
    let tries =
        ["dwcp-cli federation migrate --vm vm-1 --cold --target b", "dwcp-cli vm protect vm-1 --mode none"];
    assert_eq!(refusal.tries, tries, "{refusal}");

    world.accept(1, migrate(Mode::Cold, "b"));
    world.accept(1, Command::StartMigrations(vec![(VM, ID)]));
    assert_eq!(world.refuse(1, protect(ProtectionMode::None)), Code::WrongState, "it is moving");
    world.accept(1, released());
    let left = world.facts(1).departures[&VM].clone();
    assert_eq!((left.to.clone(), left.vm.generation), (region("b"), Generation(2)));
    let admission = Admission { vm: left.vm, host: host("h1"), from: region("a"), failover: None };
    world.accept(2, Command::Admit(Box::new(admission)));
    let there = &world.facts(2).vms[&VM];
    assert_eq!((there.protection.boot, there.host.clone()), (1, host("h1")), "it starts from its copy");
    assert_eq!(world.facts(2).hosts[&host("h1")].used, size(2, 2_048, 10), "whose room is its own");
    world.accept(1, Command::Forget((VM, Generation(2))));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_copy_that_falls_behind_at_the_last_moment_is_not_moved_to() {
    let mut world = protected(ProtectionMode::Sync, OnReplicaLoss::GoOn);
    say(&mut world, 1, GuardState::Protected, 0);
    world.accept(1, migrate(Mode::Cold, "b"));
    world.accept(1, Command::StartMigrations(vec![(VM, ID)]));
    say(&mut world, 1, GuardState::Degraded, 500);
    assert_eq!(world.refuse(1, released()), Code::ProtectedDisk);
    assert_eq!(of(&world).generation, Generation(1));
}

#[test]
fn what_waits_for_its_turn_to_move_is_dropped_when_its_disk_is_protected() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, migrate(Mode::Live, "b"));
    world.accept(1, protect(ProtectionMode::Sync));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::Cancelled);
    world.accept(1, protect(ProtectionMode::None));
    world.accept(1, migrate(Mode::Live, "b"));
    world.accept(1, Command::StartMigrations(vec![(VM, ID)]));
    assert_eq!(world.refuse(1, protect(ProtectionMode::Sync)), Code::WrongState, "it is moving");
}

#[test]
fn a_vm_whose_disk_is_kept_in_points_in_time_moves_while_it_runs_and_is_copied_anew_from_there() {
    let mut world = protected(ProtectionMode::Async(30_000), OnReplicaLoss::Stop);
    say(&mut world, 1, GuardState::Protected, 500);
    let (epoch, point) = (of(&world).protection.guard.epoch, of(&world).protection.guard.point);
    let refusal = of(&world).check_protected_move(Mode::Cold, &region("b"), None).expect_err("it is refused");
    assert_eq!(refusal.tries, ["dwcp-cli federation migrate --vm vm-1 --target b"], "{refusal}");

    world.accept(1, migrate(Mode::Live, "a"));
    world.accept(1, Command::StartMigrations(vec![(VM, ID)]));
    let vm = Vm { host: host("h2"), generation: Generation(2), ..of(&world).clone() };
    let arrival =
        Arrival { vm, migration: ID, from: region("a"), from_host: host("h1"), ..Arrival::default() };
    world.accept(1, Command::Expect(Box::new(arrival)));
    world.accept(1, released());
    let guard = &of(&world).protection.guard;
    assert_eq!((of(&world).host.clone(), guard.state), (host("h2"), GuardState::Syncing));
    assert_eq!((guard.epoch, guard.point), (epoch + 1, point), "the copy is another, its point is still one");
}

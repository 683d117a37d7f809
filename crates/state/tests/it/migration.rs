//! VMs that move while they run: whose they are at every moment, whatever is said and repeated.

use dwcp_state::{
    Aim, Arrival, Command, Drain, Envelope, MigrationState, Mode, NewMigration, Operation, OperationKind,
    OperationState, Outcome, Stopping, Switch, Want,
};
use dwcp_types::{Code, Generation, MigrationId, OperationId, VmId};

use super::world::{World, create, host, operation, region, size, vm};

const VM: VmId = VmId(1);
const ID: MigrationId = MigrationId(7);

fn new(to: &str) -> NewMigration {
    NewMigration { id: ID, vm: VM, to: region(to), max_downtime_ms: 300, ..NewMigration::default() }
}

fn migrate(number: u64) -> Operation {
    Operation { kind: OperationKind::MigrateVms(vec![VM]), ..operation(number) }
}

fn stop(state: MigrationState) -> Command {
    Command::StopMigrations((vec![(VM, ID)], Stopping { state, reason: "why".into() }))
}

fn switch(released: bool) -> Command {
    Command::Switch(Switch { vm: VM, migration: ID, released, ..Switch::default() })
}

/// With VM 1 on h1 of region a, and its migration begun and started.
fn moving(to: &str) -> World {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, Command::BeginMigrations((vec![new(to)], migrate(2))));
    world.accept(1, Command::StartMigrations(vec![(VM, ID)]));
    world
}

fn arrival(world: &World, on: &str) -> Arrival {
    let mut vm = world.facts(1).vms[&VM].clone();
    (vm.generation, vm.host) = (Generation(2), host(on));
    Arrival { vm, migration: ID, from: region("a"), from_host: host("h1"), ..Arrival::default() }
}

/// Sends what was decided on the newest facts of region a.
fn informed(world: &mut World, group: u64, command: Command) -> Outcome {
    let looked_at = vec![(region("a"), world.facts(1).revision)];
    world.send(group, Envelope { command, looked_at, ..Envelope::default() })
}

fn expect(world: &mut World, group: u64, arrival: Arrival) -> Outcome {
    informed(world, group, Command::Expect(Box::new(arrival)))
}

fn refused(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Refused(refusal) => refusal.code,
        Outcome::Accepted(receipt) => panic!("accepted: {receipt:?}"),
    }
}

fn accepted(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// The same, with room made in region b and the migration aimed there.
fn aimed() -> World {
    let mut world = moving("b");
    let arrival = arrival(&world, "h2");
    accepted(expect(&mut world, 2, arrival));
    let aim = Aim { host: host("h2"), endpoint: "127.77.2.12:1".into(), rate_bytes_per_s: 1 };
    world.accept(1, Command::AimMigration((VM, (ID, aim))));
    world
}

fn admit(world: &World, on: &str) -> Command {
    let departure = &world.facts(1).departures[&VM];
    Command::Admit(Box::new(dwcp_state::Admission {
        vm: departure.vm.clone(),
        host: host(on),
        from: region("a"),
        failover: None,
    }))
}

#[test]
fn a_vm_that_its_host_has_released_is_the_targets_under_the_generation_it_was_promised() {
    let mut world = aimed();
    assert_eq!(world.facts(2).hosts[&host("h2")].used, size(2, 2_048, 10), "room is made");
    world.accept(1, switch(true));
    assert_eq!(world.facts(1).departures[&VM].vm.generation, Generation(2));
    assert_eq!(world.facts(1).migrated.back().map(|ended| ended.state), Some(MigrationState::Done));
    let elsewhere = admit(&world, "h1");
    assert_eq!(refused(informed(&mut world, 2, elsewhere)), Code::WrongState, "it may run on h2 already");
    let declined = Command::Decline((VM, (Generation(2), "no".into())));
    assert_eq!(refused(informed(&mut world, 2, declined)), Code::WrongState);
    let there = admit(&world, "h2");
    accepted(informed(&mut world, 2, there));
    world.accept(1, Command::Forget((VM, Generation(2))));
    assert_eq!(world.facts(2).vms[&VM].host, host("h2"));
    assert!(world.facts(2).arrivals.is_empty());
    assert_eq!(world.view.flaws(), vec![], "its room is taken once");
}

#[test]
fn nobody_else_takes_a_vm_that_moves_also_when_its_host_is_lost() {
    let mut world = aimed();
    assert_eq!(world.refuse(1, switch(false)), Code::WrongState, "its host gets leases");
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    let step = dwcp_state::HostMove { vm: VM, generation: Generation(1), to: host("h2") };
    assert_eq!(world.refuse(1, Command::MoveVms(vec![step])), Code::WrongState);
    let leaving = dwcp_state::Departing { vm: VM, generation: Generation(1), to: region("c"), host: None };
    assert_eq!(world.refuse(1, Command::Depart((None, vec![leaving]))), Code::WrongState);
    world.accept(1, switch(false));
    let departure = &world.facts(1).departures[&VM];
    assert_eq!((departure.to.clone(), departure.host.clone()), (region("b"), Some(host("h2"))));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::TakenOver);
    let there = admit(&world, "h2");
    // Whatever has become of the target since: what may run there is its own.
    world.accept(2, Command::BeginEvacuation(1));
    accepted(informed(&mut world, 2, there));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_migration_that_is_stopped_ends_only_when_its_host_says_so_and_its_generation_is_never_used() {
    let mut world = aimed();
    assert_eq!(world.refuse(1, Command::EndMigration((VM, ID))), Code::WrongState, "nobody stopped it");
    world.accept(1, stop(MigrationState::Cancelled));
    world.accept(1, stop(MigrationState::Failed));
    world.accept(1, Command::EndMigration((VM, ID)));
    assert_eq!(world.refuse(1, switch(true)), Code::WrongState, "too late");
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::Cancelled, "what was said first");
    assert_eq!(world.facts(1).vms[&VM].generation, Generation(1), "it never stopped running");
    assert_eq!(world.refuse(2, Command::DropArrival((VM, Generation(2)))), Code::WrongState);
    accepted(informed(&mut world, 2, Command::Withdraw((VM, Generation(2)))));
    world.accept(2, Command::DropArrival((VM, Generation(2))));
    assert_eq!(world.facts(2).hosts[&host("h2")].used, size(0, 0, 0));
    assert_eq!(world.facts(2).barred(VM), Generation(2));
    world.accept(1, Command::RestartVm((VM, operation(9))));
    assert_eq!(world.facts(1).vms[&VM].generation, Generation(3), "2 was promised elsewhere");
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn within_a_region_the_switch_is_one_step() {
    let mut world = moving("a");
    let arrival = arrival(&world, "h2");
    accepted(expect(&mut world, 1, arrival));
    let both: u32 = world.facts(1).hosts.values().map(|host| host.used.vcpus).sum();
    assert_eq!(both, 4, "room on both hosts");
    world.accept(1, switch(true));
    let moved = &world.facts(1).vms[&VM];
    assert_eq!((moved.host.clone(), moved.generation), (host("h2"), Generation(2)));
    assert_eq!(world.facts(1).hosts[&host("h1")].used, size(0, 0, 0));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_vm_of_a_lost_host_whose_target_made_no_room_is_like_any_other() {
    let mut world = moving("a");
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    world.accept(1, switch(false));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::Failed);
    let step = dwcp_state::HostMove { vm: VM, generation: Generation(1), to: host("h2") };
    assert_eq!(world.accept(1, Command::MoveVms(vec![step])).vms, vec![(VM, Generation(3))]);
}

#[test]
fn a_vm_that_moves_is_neither_stopped_nor_deleted_nor_moved_twice() {
    let mut world = moving("b");
    for want in [Want::Stopped, Want::Deleted] {
        let command = Command::SetWant((VM, (want, operation(9))));
        assert_eq!(world.refuse(1, command), Code::WrongState);
    }
    assert_eq!(world.refuse(1, Command::RestartVm((VM, operation(9)))), Code::WrongState);
    let again = Command::BeginMigrations((vec![new("c")], migrate(3)));
    assert_eq!(world.refuse(1, again), Code::WrongState);
}

#[test]
fn one_that_waits_for_its_turn_is_dropped_when_its_vm_is_stopped() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, Command::BeginMigrations((vec![new("b")], migrate(2))));
    world.accept(1, Command::SetWant((VM, (Want::Stopped, operation(3)))));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::Cancelled);
    let live = Command::BeginMigrations((vec![new("b")], migrate(4)));
    assert_eq!(world.refuse(1, live), Code::WrongState, "there is nothing to move alive");
    let cold = NewMigration { mode: Mode::Cold, ..new("b") };
    world.accept(1, Command::BeginMigrations((vec![cold], migrate(5))));
}

#[test]
fn room_is_made_only_for_what_is_on_its_way_and_fits() {
    let mut world = moving("b");
    let mut huge = arrival(&world, "h2");
    huge.vm.spec.size = size(64, 1, 1);
    assert_eq!(refused(expect(&mut world, 2, huge)), Code::CapacityGone);
    let fits = arrival(&world, "h2");
    accepted(expect(&mut world, 2, fits.clone()));
    assert_eq!(refused(expect(&mut world, 2, fits)), Code::OldGeneration);
}

#[test]
fn a_drain_is_joined_by_the_same_one_and_opens_its_host_when_it_is_called_off() {
    let drain = |number| {
        let drain =
            Drain { host: Some(host("h1")), timeout_ms: 1, placement_before: true, ..Drain::default() };
        Operation { kind: OperationKind::Drain(drain), ..operation(number) }
    };
    let mut world = World::new();
    let first = world.accept(1, Command::BeginMigrations((vec![], drain(2)))).operation;
    let second = world.accept(1, Command::BeginMigrations((vec![], drain(3)))).operation;
    assert_eq!((first, second), (Some(OperationId(2)), Some(OperationId(2))));
    world.accept(1, Command::SetHostPlacement((host("h1"), false)));
    let end = (OperationState::Cancelled, "cancelled by ann".to_string());
    world.accept(1, Command::EndOperation((OperationId(2), end)));
    assert!(world.facts(1).hosts[&host("h1")].placement);
}

#[test]
fn calling_an_operation_off_stops_its_migrations() {
    let mut world = moving("b");
    let end = (OperationState::Cancelled, "cancelled by ann".to_string());
    world.accept(1, Command::EndOperation((OperationId(2), end)));
    let stopping = world.facts(1).migrations[&VM].stopping.clone();
    assert_eq!(stopping.map(|stopping| stopping.state), Some(MigrationState::Cancelled));
}

fn note_whole(world: &mut World) {
    world.accept(2, Command::NoteWhole((VM, Generation(2))));
}

#[test]
fn a_vm_whose_host_is_lost_before_its_target_has_everything_is_brought_back_like_any_other() {
    let mut world = aimed();
    assert_eq!(world.refuse(1, Command::LoseMigration((VM, ID))), Code::WrongState, "its host gets leases");
    assert_eq!(world.refuse(2, Command::DropArrival((VM, Generation(2)))), Code::WrongState);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    accepted(informed(&mut world, 2, Command::SettleArrival((VM, Generation(2)))));
    // Its target's host has ended what waited for it.
    world.accept(2, Command::DropArrival((VM, Generation(2))));
    assert_eq!(world.facts(2).hosts[&host("h2")].used, size(0, 0, 0));
    assert_eq!(world.facts(2).barred(VM), Generation(2), "nobody ever runs it there under that generation");
    let late = arrival(&world, "h2");
    assert_eq!(refused(expect(&mut world, 2, late)), Code::OldGeneration);
    world.accept(1, Command::LoseMigration((VM, ID)));
    let ended = world.facts(1).migrated[0].clone();
    assert_eq!(ended.state, MigrationState::Lost);
    assert!(ended.reason.contains("h1 was lost before everything was copied"), "{}", ended.reason);
    assert!(ended.reason.contains("new disk"), "{}", ended.reason);
    let left = world.facts(1).vms[&VM].clone();
    assert_eq!(world.facts(1).lost_in_mid_copy(&left).map(|of| of.id), Some(ID));
    let step = dwcp_state::HostMove { vm: VM, generation: Generation(1), to: host("h2") };
    assert_eq!(world.accept(1, Command::MoveVms(vec![step])).vms, vec![(VM, Generation(3))]);
    assert_eq!(world.facts(1).lost_in_mid_copy(&world.facts(1).vms[&VM]), None, "it is back");
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn what_is_noted_whole_stays_when_its_host_is_lost() {
    let mut world = aimed();
    note_whole(&mut world);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    accepted(informed(&mut world, 2, Command::SettleArrival((VM, Generation(2)))));
    assert_eq!(world.refuse(2, Command::DropArrival((VM, Generation(2)))), Code::WrongState, "it may run");
    world.accept(1, switch(false));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::TakenOver);
    let there = admit(&world, "h2");
    accepted(informed(&mut world, 2, there));
    assert_eq!(world.facts(2).vms[&VM].generation, Generation(2));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn what_turns_out_to_be_whole_after_its_host_was_lost_stays_too() {
    let mut world = aimed();
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    accepted(informed(&mut world, 2, Command::SettleArrival((VM, Generation(2)))));
    note_whole(&mut world);
    assert_eq!(world.refuse(2, Command::DropArrival((VM, Generation(2)))), Code::WrongState);
    // Its own region says that it does not come after all.
    accepted(informed(&mut world, 2, Command::Withdraw((VM, Generation(2)))));
    world.accept(2, Command::DropArrival((VM, Generation(2))));
}

#[test]
fn a_refusal_is_kept_while_a_migration_still_asks_for_it() {
    let mut world = aimed();
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    accepted(informed(&mut world, 2, Command::SettleArrival((VM, Generation(2)))));
    world.accept(2, Command::DropArrival((VM, Generation(2))));
    let unbarrable = |world: &World| {
        let others = world.view.regions.values().filter(|facts| facts.name != region("b"));
        world.facts(2).unbarrable(others, dwcp_types::Wall(10), 9)
    };
    assert_eq!(unbarrable(&world), vec![]);
    world.accept(1, Command::LoseMigration((VM, ID)));
    assert_eq!(unbarrable(&world), vec![(VM, Generation(2))]);
}

#[test]
fn within_a_region_a_target_that_may_have_everything_is_asked_first() {
    let mut world = moving("a");
    let arrival = arrival(&world, "h2");
    accepted(expect(&mut world, 1, arrival));
    let aim = Aim { host: host("h2"), endpoint: "127.77.2.12:1".into(), rate_bytes_per_s: 1 };
    world.accept(1, Command::AimMigration((VM, (ID, aim))));
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    assert_eq!(world.refuse(1, Command::LoseMigration((VM, ID))), Code::WrongState);
    accepted(informed(&mut world, 1, Command::SettleArrival((VM, Generation(2)))));
    world.accept(1, Command::DropArrival((VM, Generation(2))));
    world.accept(1, Command::LoseMigration((VM, ID)));
    assert_eq!(world.facts(1).migrated[0].state, MigrationState::Lost);
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn who_asks_to_move_a_vm_that_has_just_left_hears_where_it_is() {
    let mut world = aimed();
    world.accept(1, switch(true));
    let asked =
        |world: &mut World| match world.apply(1, Command::BeginMigrations((vec![new("c")], migrate(5)))) {
            Outcome::Refused(refusal) => refusal,
            Outcome::Accepted(receipt) => panic!("accepted: {receipt:?}"),
        };
    let leaving = asked(&mut world);
    assert_eq!((leaving.code, leaving.what.as_str()), (Code::WrongState, "vm-1 has left a for b"));
    let there = admit(&world, "h2");
    accepted(informed(&mut world, 2, there));
    world.accept(1, Command::Forget((VM, Generation(2))));
    assert_eq!(asked(&mut world).what, "vm-1 has left a for b");
    assert_eq!(world.facts(1).not_here(VmId(9)).code, Code::UnknownVm);
}

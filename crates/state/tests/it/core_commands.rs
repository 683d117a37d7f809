//! What each command of the federation's group does, and when it is refused.

use dwcp_state::{
    Command, Core, Envelope, FEDERATION_GROUP, Failover, FailoverState, FailoverVm, Freeze, Lifecycle,
    MoveState, OperationState, PhaseName, Policy, Region, RegionChange, Role, Standing, Token, Trigger,
};
use dwcp_types::{Code, FailoverId, Generation, OperationId, TokenId, VmId, Wall};

use super::world::{World, region};

const CORE: u64 = FEDERATION_GROUP;

pub fn loss(of: &str, operation: u64, trigger: Trigger) -> Box<Failover> {
    Box::new(Failover {
        operation: OperationId(operation),
        from: region(of),
        trigger,
        witnesses: vec![region("b"), region("c")],
        first_missed_at: Wall(500),
        ..Failover::default()
    })
}

fn declare(of: &str, epoch: u64) -> Command {
    Command::DeclareLost((loss(of, 7, Trigger::Automatic), epoch))
}

#[test]
fn a_freeze_and_a_failover_say_who_when_what_before_after_under_which_request_and_why() {
    let mut world = World::new();
    let newest = |world: &World| world.view.core.ledger.events.back().cloned().expect("an event");
    let by_hand = |command, reason: &str| Envelope {
        by: "ann".into(),
        at: Wall(77),
        request_id: "req-1".into(),
        reason: reason.into(),
        command,
        ..Envelope::default()
    };
    world.send(CORE, by_hand(Command::SetFreeze(Freeze::NoMoves), "rack work"));
    let event = newest(&world);
    assert_eq!((event.by.as_str(), event.at, event.request_id.as_str()), ("ann", Wall(77), "req-1"));
    assert_eq!((event.kind.as_str(), event.subject.as_str()), ("freeze.changed", "federation"));
    assert_eq!((event.before.as_str(), event.after.as_str()), ("active", "no-moves"));
    assert_eq!(
        (event.reason.as_str(), event.text.as_str()),
        ("rack work", "freeze switch: no-moves (rack work)")
    );
    world.accept(CORE, Command::SetFreeze(Freeze::Active));
    let failover = loss("a", 9, Trigger::Manual);
    world.send(CORE, by_hand(Command::DeclareLost((failover, 0)), "flood in the hall"));
    let event = newest(&world);
    assert_eq!((event.kind.as_str(), event.by.as_str()), ("region.lost", "ann"));
    assert_eq!((event.before.as_str(), event.after.as_str()), ("present", "lost"));
    assert_eq!(event.reason, "flood in the hall");
    let close = RegionChange {
        region: region("b"),
        placement: Some(false),
        reason: "audit".into(),
        ..RegionChange::default()
    };
    world.send(CORE, by_hand(Command::ChangeRegion(close), "audit"));
    let event = newest(&world);
    assert_eq!(event.before, "active, placement on, traffic 0 %");
    assert_eq!(
        (event.after.as_str(), event.reason.as_str()),
        ("active, placement off, traffic 0 %", "audit")
    );
}

#[test]
fn a_federation_is_founded_once() {
    let mut world = World::new();
    assert_eq!(world.view.core.name, "test");
    assert_eq!(world.refuse(CORE, Command::Found(Box::default())), Code::WrongState);
}

#[test]
fn a_command_of_the_other_kind_of_group_is_refused() {
    let mut world = World::new();
    assert_eq!(world.refuse(CORE, Command::BeginEvacuation(1)), Code::WrongState);
    assert_eq!(world.refuse(1, Command::SetFreeze(Freeze::Frozen)), Code::WrongState);
    world.accept(CORE, Command::Nothing);
    world.accept(1, Command::Nothing);
}

#[test]
fn a_region_is_switched_off_and_on() {
    let mut world = World::new();
    let change = |enabled, placement, traffic_percent| {
        let region = region("a");
        Command::ChangeRegion(RegionChange {
            region,
            enabled,
            placement,
            traffic_percent,
            reason: String::new(),
        })
    };
    world.accept(CORE, change(Some(false), None, None));
    let a = &world.view.core.regions[&region("a")];
    assert_eq!((a.lifecycle, a.placement, a.traffic_percent), (Lifecycle::Disabled, false, 0));
    assert_eq!((a.placement_by.as_str(), a.placement_since), ("test", Wall(1_000)));
    assert!(!a.takes_placements());
    world.accept(CORE, change(Some(true), None, Some(40)));
    let a = &world.view.core.regions[&region("a")];
    assert_eq!((a.lifecycle, a.placement, a.traffic_percent), (Lifecycle::Active, true, 40));
    world.accept(CORE, change(None, Some(false), None));
    assert!(!world.view.core.regions[&region("a")].takes_placements());
    assert_eq!(world.refuse(CORE, change(None, None, Some(101))), Code::BadValue);
    let unknown = RegionChange { region: region("z"), ..RegionChange::default() };
    assert_eq!(world.refuse(CORE, Command::ChangeRegion(unknown)), Code::UnknownRegion);
}

#[test]
fn policy_and_freeze_are_replaced() {
    let mut world = World::new();
    let policy = Policy { failovers_per_hour: 1, ..Policy::default() };
    world.accept(CORE, Command::SetPolicy(policy.clone()));
    world.accept(CORE, Command::SetFreeze(Freeze::NoMoves));
    assert_eq!((&world.view.core.policy, world.view.core.freeze), (&policy, Freeze::NoMoves));
    assert_eq!(world.newest_event(CORE), "freeze.changed");
}

#[test]
fn a_lost_region_takes_nothing_and_its_failover_is_recorded() {
    let mut world = World::new();
    let receipt = world.accept(CORE, declare("a", 0));
    assert_eq!((receipt.failover, receipt.operation), (Some(FailoverId(1)), Some(OperationId(7))));
    let a = &world.view.core.regions[&region("a")];
    assert_eq!((a.standing, a.epoch, a.placement, a.traffic_percent), (Standing::Lost, 1, false, 0));
    let failover = &world.view.core.failovers[&FailoverId(1)];
    assert_eq!(failover.phases.len(), 2);
    assert_eq!((failover.last_phase_end(), failover.rto_ms(Wall(1_700))), (Wall(1_000), 1_200));
    assert_eq!(world.view.core.operations[&OperationId(7)].state, OperationState::Running);
    assert_eq!(world.newest_event(CORE), "region.lost");
}

#[test]
fn a_second_report_of_the_same_loss_joins_the_first() {
    let mut world = World::new();
    world.accept(CORE, declare("a", 0));
    let receipt = world.accept(CORE, declare("a", 0));
    assert_eq!(receipt.failover, Some(FailoverId(1)));
    assert_eq!(world.view.core.failovers.len(), 1);
    let mut elsewhere = loss("a", 8, Trigger::Manual);
    elsewhere.to = vec![region("b")];
    assert_eq!(world.refuse(CORE, Command::DeclareLost((elsewhere, 1))), Code::FailoverRunning);
    let receipt = world.accept(CORE, Command::DeclareLost((loss("a", 8, Trigger::Manual), 1)));
    assert_eq!(receipt.failover, Some(FailoverId(1)));
}

#[test]
fn a_loss_is_refused_when_frozen_capped_stale_or_unknown() {
    let mut world = World::new();
    assert_eq!(world.refuse(CORE, declare("a", 1)), Code::WrongState, "an epoch that is not current");
    assert_eq!(world.refuse(CORE, declare("z", 0)), Code::UnknownRegion);
    for freeze in [Freeze::NoMoves, Freeze::Frozen] {
        world.accept(CORE, Command::SetFreeze(freeze));
        assert_eq!(world.refuse(CORE, declare("a", 0)), Code::Frozen);
    }
    world.accept(CORE, Command::SetFreeze(Freeze::Active));
    world.accept(CORE, Command::SetPolicy(Policy { failovers_per_hour: 1, ..Policy::default() }));
    world.accept(CORE, declare("a", 0));
    assert_eq!(world.refuse(CORE, declare("b", 0)), Code::HourlyCap);
    let by_hand = Command::DeclareLost((loss("b", 9, Trigger::Manual), 0));
    assert_eq!(world.accept(CORE, by_hand).failover, Some(FailoverId(2)));
    world.at = Wall(3_601_000);
    world.accept(CORE, declare("c", 0));
}

#[test]
fn phases_end_once_and_in_order() {
    let mut world = World::new();
    world.accept(CORE, declare("a", 0));
    world.at = Wall(2_000);
    let id = FailoverId(1);
    world.accept(CORE, Command::EndPhase((id, PhaseName::Fence)));
    world.at = Wall(3_000);
    world.accept(CORE, Command::EndPhase((id, PhaseName::Fence)));
    world
        .accept(CORE, Command::PlanFailover((id, vec![FailoverVm { vm: VmId(1), ..FailoverVm::default() }])));
    world.accept(CORE, Command::EndPhase((id, PhaseName::Detect)));
    let failover = &world.view.core.failovers[&id];
    let names: Vec<PhaseName> = failover.phases.iter().map(|span| span.name).collect();
    assert_eq!(names, [PhaseName::Detect, PhaseName::Agree, PhaseName::Fence, PhaseName::Plan]);
    assert_eq!((failover.phases[2].ended_at, failover.vms.len()), (Wall(2_000), 1));
    assert_eq!(
        world.refuse(CORE, Command::EndPhase((FailoverId(9), PhaseName::Plan))),
        Code::UnknownFailover
    );
    assert_eq!(world.refuse(CORE, Command::PlanFailover((FailoverId(9), vec![]))), Code::UnknownFailover);
}

#[test]
fn a_failover_ends_once_and_its_operation_with_it() {
    for (state, expected) in [
        (FailoverState::Done, OperationState::Done),
        (FailoverState::Partial, OperationState::Partial),
        (FailoverState::Cancelled, OperationState::Cancelled),
    ] {
        let mut world = World::new();
        world.accept(CORE, declare("a", 0));
        world.at = Wall(5_500);
        let vms = vec![FailoverVm { state: MoveState::Verified, ..FailoverVm::default() }];
        let end = Command::EndFailover((FailoverId(1), (state, vms)));
        world.accept(CORE, end.clone());
        let failover = &world.view.core.failovers[&FailoverId(1)];
        assert_eq!((failover.state, failover.ended_at), (state, Some(Wall(5_500))));
        let operation = &world.view.core.operations[&OperationId(7)];
        assert_eq!(operation.state, expected);
        assert_eq!(operation.result, "1 of 1 VMs serve elsewhere after 5000 ms");
        assert_eq!(world.refuse(CORE, end), Code::WrongState);
    }
}

#[test]
fn a_lost_region_returns_under_its_epoch_and_stays_empty_until_enabled() {
    let mut world = World::new();
    let back = |epoch| Command::ReturnRegion((region("a"), epoch));
    assert_eq!(world.refuse(CORE, back(0)), Code::WrongState, "it is not lost");
    world.accept(CORE, declare("a", 0));
    let enable = RegionChange { region: region("a"), enabled: Some(true), ..RegionChange::default() };
    assert_eq!(world.refuse(CORE, Command::ChangeRegion(enable.clone())), Code::WrongState);
    assert_eq!(world.refuse(CORE, back(0)), Code::WrongState, "an older loss");
    assert_eq!(world.refuse(CORE, Command::ReturnRegion((region("z"), 0))), Code::UnknownRegion);
    world.accept(CORE, back(1));
    let a = &world.view.core.regions[&region("a")];
    assert_eq!((a.standing, a.takes_placements()), (Standing::Returned, false));
    world.accept(CORE, Command::ChangeRegion(enable));
    assert!(world.view.core.regions[&region("a")].takes_placements());
}

#[test]
fn tokens_are_added_and_revoked_for_ever() {
    let mut world = World::new();
    let id = TokenId::from("token-1");
    let token =
        Token { id: id.clone(), role: Role::Admin, expires_at: Some(Wall(9_000)), ..Token::default() };
    world.accept(CORE, Command::PutToken(token));
    assert!(world.view.core.tokens[&id].is_valid(Wall(8_999)));
    assert!(!world.view.core.tokens[&id].is_valid(Wall(9_000)));
    world.accept(CORE, Command::RevokeToken(id.clone()));
    world.at = Wall(2_000);
    world.accept(CORE, Command::RevokeToken(id.clone()));
    assert_eq!(world.view.core.tokens[&id].revoked_at, Some(Wall(1_000)));
    assert_eq!(world.refuse(CORE, Command::RevokeToken(TokenId::from("token-2"))), Code::UnknownToken);
}

#[test]
fn only_so_many_failovers_are_kept_with_their_operations() {
    let mut world = World::new();
    world.accept(CORE, Command::SetPolicy(Policy { failovers_per_hour: 10_000, ..Policy::default() }));
    for number in 0..(Core::FAILOVERS_KEPT as u64 + 20) {
        let lost = loss("a", 100 + number, Trigger::Automatic);
        let receipt = world.accept(CORE, Command::DeclareLost((lost, number)));
        let id = receipt.failover.expect("a failover");
        world.accept(CORE, Command::EndFailover((id, (FailoverState::Done, vec![]))));
        world.accept(CORE, Command::ReturnRegion((region("a"), number + 1)));
    }
    assert_eq!(world.view.core.failovers.len(), Core::FAILOVERS_KEPT);
    assert_eq!(world.view.core.operations.len(), Core::FAILOVERS_KEPT);
}

fn placed(number: u64, generation: u64, to: Option<&str>, state: MoveState) -> FailoverVm {
    FailoverVm {
        vm: VmId(number),
        generation: Generation(generation),
        to_region: to.map(region),
        state,
        ..FailoverVm::default()
    }
}

#[test]
fn a_failover_is_recorded_in_parts_and_an_older_word_changes_nothing() {
    let mut world = World::new();
    world.accept(CORE, declare("a", 0));
    let id = FailoverId(1);
    let part = |vms: &[FailoverVm]| Command::RecordVms((id, vms.to_vec()));
    world.accept(CORE, part(&[placed(2, 3, Some("b"), MoveState::Waiting)]));
    world.accept(CORE, part(&[placed(1, 3, None, MoveState::Left)]));
    assert!(world.view.core.failovers[&id].phases.iter().all(|span| span.name < PhaseName::Plan));
    world.accept(CORE, Command::PlanFailover((id, vec![placed(3, 3, Some("c"), MoveState::Waiting)])));
    let vms = |world: &World| world.view.core.failovers[&id].vms.clone();
    assert_eq!(vms(&world).iter().map(|vm| vm.vm.0).collect::<Vec<_>>(), [1, 2, 3]);
    let older = [placed(2, 3, None, MoveState::Left), placed(3, 2, Some("b"), MoveState::Waiting)];
    let before = vms(&world);
    world.accept(CORE, part(&older));
    assert_eq!(vms(&world), before);
    world.accept(CORE, part(&[placed(2, 3, Some("b"), MoveState::Verified)]));
    world.accept(CORE, part(&[placed(2, 4, Some("b"), MoveState::Waiting)]));
    let state = FailoverState::Partial;
    world.accept(CORE, Command::EndFailover((id, (state, vec![placed(1, 5, None, MoveState::Left)]))));
    let states: Vec<MoveState> = vms(&world).iter().map(|vm| vm.state).collect();
    assert_eq!(states, [MoveState::Left, MoveState::Verified, MoveState::Failed]);
    assert!(vms(&world)[2].reason.contains("does not answer 500 ms"), "{}", vms(&world)[2].reason);
    assert_eq!(world.refuse(CORE, part(&[])), Code::WrongState);
}

#[test]
fn a_failover_without_a_place_for_any_vm_is_cancelled_and_its_region_is_as_it_was() {
    let mut world = World::new();
    let before = world.view.core.regions[&region("a")].clone();
    world.accept(CORE, Command::DeclareLost((loss("a", 7, Trigger::Manual), 0)));
    let id = FailoverId(1);
    world.accept(CORE, Command::PlanFailover((id, vec![placed(1, 3, None, MoveState::Left)])));
    world.accept(CORE, Command::CancelFailover(id));
    let after = &world.view.core.regions[&region("a")];
    let revision = after.revision;
    assert_eq!(*after, Region { epoch: 1, revision, ..before.clone() });
    assert!(revision > before.revision);
    let operation = &world.view.core.operations[&OperationId(7)];
    assert_eq!(operation.state, OperationState::Cancelled);
    assert_eq!(operation.result, "cancelled by test; no VM has left");
    assert_eq!(world.refuse(CORE, Command::CancelFailover(id)), Code::WrongState);
    assert_eq!(world.refuse(CORE, Command::CancelFailover(FailoverId(9))), Code::UnknownFailover);
}

#[test]
fn a_failover_with_a_place_for_a_vm_is_not_cancelled() {
    let mut world = World::new();
    world.accept(CORE, Command::DeclareLost((loss("a", 7, Trigger::Manual), 0)));
    let id = FailoverId(1);
    world.accept(CORE, Command::RecordVms((id, vec![placed(1, 3, Some("b"), MoveState::Waiting)])));
    assert_eq!(world.refuse(CORE, Command::CancelFailover(id)), Code::WrongState);
    assert_eq!(world.view.core.regions[&region("a")].standing, Standing::Lost);
}

#[test]
fn what_people_set_since_the_loss_outlives_a_cancelled_failover() {
    let mut world = World::new();
    world.accept(CORE, Command::DeclareLost((loss("a", 7, Trigger::Manual), 0)));
    let off = RegionChange { region: region("a"), enabled: Some(false), ..RegionChange::default() };
    world.accept(CORE, Command::ChangeRegion(off));
    world.accept(CORE, Command::CancelFailover(FailoverId(1)));
    let a = &world.view.core.regions[&region("a")];
    assert_eq!((a.standing, a.lifecycle, a.placement), (Standing::Present, Lifecycle::Disabled, false));
}

#[test]
fn the_oldest_failovers_of_very_many_vms_are_forgotten_after_an_hour() {
    let mut world = World::new();
    let many: Vec<FailoverVm> =
        (0..60_000).map(|number| placed(number, 3, Some("b"), MoveState::Verified)).collect();
    let lose = |world: &mut World, epoch: u64| {
        let lost = Failover { first_missed_at: world.at, ..*loss("a", 100 + epoch, Trigger::Manual) };
        let id =
            world.accept(CORE, Command::DeclareLost((Box::new(lost), epoch))).failover.expect("a failover");
        world.accept(CORE, Command::EndFailover((id, (FailoverState::Done, many.clone()))));
        world.accept(CORE, Command::ReturnRegion((region("a"), epoch + 1)));
        world.view.core.failovers.len()
    };
    assert_eq!([0, 1, 2].map(|epoch| lose(&mut world, epoch)), [1, 2, 3]);
    world.at = Wall(world.at.0 + 3_600_001);
    assert_eq!(lose(&mut world, 3), 2, "one of an hour ago, and the new one");
    assert_eq!(world.view.core.operations.len(), 2);
}

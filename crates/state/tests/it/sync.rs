//! Rebuilds of replicas as a record: begun once, noted step by step, ended.

use dwcp_state::{
    Command, FEDERATION_GROUP, ForceSync, Operation, OperationKind, OperationState, RebuildState, RebuildStep,
};
use dwcp_types::{Code, OperationId};

use super::world::{World, operation, region};

fn begin(number: u64, source: &str, targets: &[&str]) -> Command {
    let targets = targets.iter().map(|name| region(name)).collect();
    let sync = ForceSync::new(region(source), targets, &[0, 1]);
    let kind = OperationKind::ForceSync(Box::new(sync));
    Command::BeginSync(Box::new(Operation { kind, title: "rebuild b".into(), ..operation(number) }))
}

fn note(number: u64, group: Option<u64>, state: RebuildState) -> Command {
    let step = RebuildStep { target: region("b"), group, state, ..RebuildStep::default() };
    Command::NoteSync((OperationId(number), step))
}

#[test]
fn a_rebuild_typed_twice_is_joined_and_another_one_waits_for_its_end() {
    let mut world = World::new();
    let first = world.accept(FEDERATION_GROUP, begin(1, "a", &["b"]));
    assert_eq!(first.operation, Some(OperationId(1)));
    let again = world.accept(FEDERATION_GROUP, begin(2, "a", &["b"]));
    assert_eq!(again.operation, Some(OperationId(1)), "it joins");
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(3, "b", &["a"])), Code::WrongState);
    let end = Command::EndSync((OperationId(1), (OperationState::Cancelled, "by ops".into())));
    world.accept(FEDERATION_GROUP, end);
    let next = world.accept(FEDERATION_GROUP, begin(3, "b", &["a"]));
    assert_eq!(next.operation, Some(OperationId(3)));
}

#[test]
fn what_can_not_be_rebuilt_is_refused() {
    let mut world = World::new();
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(1, "a", &["a"])), Code::BadValue);
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(1, "a", &["b", "a"])), Code::BadValue);
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(1, "a", &[])), Code::BadValue);
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(1, "a", &["nowhere"])), Code::UnknownRegion);
    assert_eq!(world.refuse(FEDERATION_GROUP, begin(1, "nowhere", &["a"])), Code::UnknownRegion);
    assert!(world.view.core.operations.is_empty());
    assert_eq!(world.refuse(FEDERATION_GROUP, note(1, None, RebuildState::Equal)), Code::WrongState);
    let end = Command::EndSync((OperationId(1), (OperationState::Done, String::new())));
    assert_eq!(world.refuse(FEDERATION_GROUP, end), Code::UnknownOperation);
}

#[test]
fn steps_come_one_after_the_other_and_a_failed_one_is_the_last() {
    let mut world = World::new();
    world.accept(FEDERATION_GROUP, begin(1, "a", &["b"]));
    let next = |world: &World| {
        let (_, sync) = world.view.core.running_sync().expect("it goes on");
        sync.next().map(|step| step.group)
    };
    assert_eq!(next(&world), Some(None), "the store file first");
    world.accept(FEDERATION_GROUP, note(1, None, RebuildState::Equal));
    assert_eq!(next(&world), Some(Some(0)));
    world.accept(FEDERATION_GROUP, note(1, Some(0), RebuildState::Running));
    assert_eq!(next(&world), Some(Some(0)));
    world.accept(FEDERATION_GROUP, note(1, Some(0), RebuildState::Failed));
    assert_eq!(next(&world), None);
    assert_eq!(world.refuse(FEDERATION_GROUP, note(1, Some(9), RebuildState::Equal)), Code::WrongState);
}

#[test]
fn ended_rebuilds_are_kept_for_a_while() {
    let mut world = World::new();
    for number in 1..=60 {
        world.accept(FEDERATION_GROUP, begin(number, "a", &["b"]));
        let end = Command::EndSync((OperationId(number), (OperationState::Done, String::new())));
        world.accept(FEDERATION_GROUP, end);
    }
    let kept: Vec<u64> = world.view.core.syncs().map(|(operation, _)| operation.id.0).collect();
    assert_eq!((kept.first(), kept.last()), (Some(&10), Some(&60)));
}

//! A command with the same request id is applied once.

use dwcp_state::{Command, Envelope, FEDERATION_GROUP, Freeze, Ledger, Outcome, Want};
use dwcp_types::{Code, VmId};

use super::world::{World, create, operation, vm};

fn envelope(request: &str, digest: u64, command: Command) -> Envelope {
    Envelope { request: request.into(), digest, command, ..Envelope::default() }
}

#[test]
fn a_repeated_request_changes_nothing_and_answers_as_then() {
    let mut world = World::new();
    let first = world.send(1, envelope("r1", 1, create(vec![vm(1, "h1")])));
    assert!(matches!(first, Outcome::Accepted(_)));
    world.accept(1, Command::SetWant((VmId(1), (Want::Stopped, operation(2)))));
    let before = world.facts(1).vms.clone();
    assert_eq!(world.send(1, envelope("r1", 1, create(vec![vm(1, "h1")]))), first);
    assert_eq!(world.facts(1).vms, before);
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut world = World::new();
    let refused = world.send(1, envelope("r1", 1, create(vec![vm(1, "h9")])));
    assert!(matches!(refused, Outcome::Refused(_)));
    world.accept(1, Command::RegisterHost(super::world::host_facts("h9", "a")));
    assert_eq!(world.send(1, envelope("r1", 1, create(vec![vm(1, "h9")]))), refused);
    assert!(matches!(world.send(1, envelope("r2", 1, create(vec![vm(1, "h9")]))), Outcome::Accepted(_)));
}

#[test]
fn the_same_key_for_another_request_is_refused() {
    let mut world = World::new();
    world.send(FEDERATION_GROUP, envelope("r1", 1, Command::SetFreeze(Freeze::Frozen)));
    let other = world.send(FEDERATION_GROUP, envelope("r1", 2, Command::SetFreeze(Freeze::Active)));
    let Outcome::Refused(refusal) = other else { panic!("it was applied") };
    assert_eq!((refusal.code, world.view.core.freeze), (Code::IdempotencyMismatch, Freeze::Frozen));
}

#[test]
fn a_command_without_a_key_is_applied_each_time() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert!(matches!(world.apply(1, create(vec![vm(1, "h1")])), Outcome::Refused(_)));
    assert!(world.facts(1).ledger.outcomes.is_empty());
}

#[test]
fn only_so_many_requests_and_events_are_kept() {
    let mut world = World::new();
    for number in 0..Ledger::REQUESTS_KEPT + 10 {
        let freeze = if number % 2 == 0 { Freeze::Active } else { Freeze::NoMoves };
        world.send(FEDERATION_GROUP, envelope(&format!("r{number}"), 1, Command::SetFreeze(freeze)));
    }
    let ledger = &world.view.core.ledger;
    assert_eq!((ledger.outcomes.len(), ledger.order.len()), (Ledger::REQUESTS_KEPT, Ledger::REQUESTS_KEPT));
    assert_eq!(ledger.events.len(), Ledger::EVENTS_KEPT);
    assert!(ledger.recall("r0").is_none());
    assert!(ledger.recall("r10").is_some());
}

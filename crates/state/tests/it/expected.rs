//! A change that expects a revision compares with the record's own, where it is applied.

use dwcp_state::{
    Command, Envelope, FEDERATION_GROUP, Observation, Observed, Outcome, Phase, Policy, RegionChange, Role,
    Token, Want,
};
use dwcp_types::{Code, Generation, Refusal, Revision, TokenId, VmId};

use super::world::{World, create, host, operation, region, vm};

fn stop(number: u64) -> Command {
    Command::SetWant((VmId(number), (Want::Stopped, operation(9))))
}

fn expecting(world: &mut World, group: u64, expected: Revision, command: Command) -> Result<(), Refusal> {
    let envelope = Envelope { expected: Some(expected), command, ..Envelope::default() };
    match world.send(group, envelope) {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn another_change_in_the_region_does_not_make_an_expected_revision_stale() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h1")]));
    let read = world.facts(1).vms[&VmId(1)].revision;
    assert!(read > Revision(0));
    world.accept(1, stop(2));
    expecting(&mut world, 1, read, stop(1)).expect("nobody changed VM 1");
}

#[test]
fn what_a_host_says_of_a_vm_is_no_change_by_intent() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let read = world.facts(1).vms[&VmId(1)].revision;
    let observed = Observed { generation: Generation(1), phase: Phase::Running, ..Observed::default() };
    let seen = Observation { vm: VmId(1), observed, gone: false };
    world.accept(1, Command::Observe((host("h1"), vec![seen])));
    assert_eq!(world.facts(1).vms[&VmId(1)].observed.phase, Phase::Running);
    expecting(&mut world, 1, read, stop(1)).expect("only its host spoke");
}

#[test]
fn an_older_revision_is_refused_with_both_numbers_and_what_to_type() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let read = world.facts(1).vms[&VmId(1)].revision;
    world.accept(1, Command::RestartVm((VmId(1), operation(3))));
    let holds = world.facts(1).vms[&VmId(1)].revision;
    let before = world.facts(1).vms.clone();
    let refusal = expecting(&mut world, 1, read, stop(1)).expect_err("it was restarted");
    assert_eq!(refusal.code, Code::StaleRevision);
    assert_eq!(refusal.causes, vec![format!("expected revision {}, it has {}", read.0, holds.0)]);
    assert_eq!(refusal.tries, vec![format!("dwcp-cli vm show {}", VmId(1))]);
    assert_eq!(world.facts(1).vms, before);
}

#[test]
fn a_repeated_request_that_expected_a_revision_is_answered_as_then() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let expected = Some(world.facts(1).vms[&VmId(1)].revision);
    let envelope = Envelope { request: "once".into(), expected, command: stop(1), ..Envelope::default() };
    let first = world.send(1, envelope.clone());
    assert!(matches!(first, Outcome::Accepted(_)));
    assert_eq!(world.send(1, envelope), first);
}

#[test]
fn a_vm_that_changes_its_group_never_shows_a_revision_again() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    for _ in 0..40 {
        world.accept(1, Command::RestartVm((VmId(1), operation(3))));
    }
    let read = world.facts(1).vms[&VmId(1)].revision;
    world.accept(1, Command::BeginEvacuation(1));
    let generation = world.facts(1).vms[&VmId(1)].generation;
    let departing = dwcp_state::Departing { vm: VmId(1), generation, to: region("b"), host: None };
    world.accept(1, Command::Depart((None, vec![departing])));
    let vm = world.facts(1).departures[&VmId(1)].vm.clone();
    let admission = dwcp_state::Admission { vm, host: host("h1"), from: region("a"), failover: None };
    world.accept(2, Command::Admit(Box::new(admission)));
    assert!(world.view.revision(2) < read, "the other group's log is much shorter");
    let mut last = read;
    for _ in 0..60 {
        let now = world.facts(2).vms[&VmId(1)].revision;
        assert!(now > last, "{now:?} after {last:?}");
        last = now;
        world.accept(2, Command::RestartVm((VmId(1), operation(3))));
    }
    assert!(expecting(&mut world, 2, read, stop(1)).is_err());
}

#[test]
fn regions_tokens_policy_and_freeze_switch_have_revisions_of_their_own() {
    const CORE: u64 = FEDERATION_GROUP;
    let mut world = World::new();
    let id = TokenId::from("token-1");
    let token = Token { id: id.clone(), user: "ann".into(), role: Role::Viewer, ..Token::default() };
    world.accept(CORE, Command::PutToken(token));
    let core = world.view.core.clone();
    let close = |name| RegionChange { region: region(name), placement: Some(false), ..Default::default() };
    let changes = [
        (core.regions[&region("a")].revision, Command::ChangeRegion(close("a"))),
        (core.policy_revision, Command::SetPolicy(Policy { failovers_per_hour: 2, ..Policy::default() })),
        (core.freeze_revision, Command::SetFreeze(dwcp_state::Freeze::NoMoves)),
        (core.tokens[&id].revision, Command::RevokeToken(id.clone())),
    ];
    world.accept(CORE, Command::ChangeRegion(close("b")));
    for (read, command) in changes {
        expecting(&mut world, CORE, read, command.clone()).expect("its record did not change");
        let refusal = expecting(&mut world, CORE, read, command).expect_err("now it did");
        assert_eq!((refusal.code, refusal.tries.len()), (Code::StaleRevision, 1), "{refusal}");
    }
}

#[test]
fn a_change_without_a_record_takes_no_expected_revision() {
    let mut world = World::new();
    let refusal = expecting(&mut world, 1, Revision(1), create(vec![vm(1, "h1")])).expect_err("no record");
    assert_eq!(refusal.code, Code::BadValue);
}

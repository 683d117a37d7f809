//! Levels, releases and upgrades.

use dwcp_state::{
    Command, Core, Envelope, Federation, Operation, OperationKind, OperationState, Outcome, Region, Release,
    Upgrade, UpgradeStep,
};
use dwcp_types::{Code, OperationId, RegionId, Revision, Wall, decode, encode};

const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Group(Federation, u64);

impl Group {
    fn new(level: u64) -> Group {
        let mut facts = Federation::default();
        let region = Region { id: "a".into(), number: 1, ..Region::default() };
        facts.core = Core { level, regions: [("a".into(), region)].into(), ..Core::default() };
        Group(facts, 0)
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.1 += 1;
        self.0.apply(0, Revision(self.1), &Envelope { at: Wall(self.1), command, ..Envelope::default() })
    }

    fn publish(&mut self, version: &str, level: u64) -> Outcome {
        let release =
            Release { version: version.into(), level, sha256: SHA.into(), bytes: 7, ..Release::default() };
        self.apply(Command::PublishRelease(Box::new(release)))
    }

    fn upgrade(&mut self, id: u64, region: &str, version: &str) -> Outcome {
        let upgrade = Upgrade { region: region.into(), version: version.into(), ..Upgrade::default() };
        let kind = OperationKind::Upgrade(Box::new(upgrade));
        let operation = Operation { id: OperationId(id), kind, ..Operation::default() };
        self.apply(Command::BeginUpgrade(Box::new(operation)))
    }

    fn end(&mut self, id: u64, state: OperationState) -> Outcome {
        self.apply(Command::EndUpgrade((OperationId(id), (state, String::new()))))
    }
}

fn code(outcome: Outcome) -> Option<Code> {
    match outcome {
        Outcome::Accepted(_) => None,
        Outcome::Refused(refusal) => Some(refusal.code),
    }
}

#[test]
fn a_level_is_never_lowered_and_waits_for_an_upgrade_that_may_go_back() {
    let mut group = Group::new(1);
    group.publish("2", 2);
    assert_eq!(code(group.upgrade(1, "a", "2")), None);
    assert_eq!(code(group.apply(Command::RaiseLevel(2))), Some(Code::WrongState));
    assert_eq!(group.0.core.level, 1);
    group.end(1, OperationState::Done);
    assert_eq!(code(group.apply(Command::RaiseLevel(2))), None);
    assert_eq!(code(group.apply(Command::RaiseLevel(1))), None);
    assert_eq!(group.0.core.level, 2);
    let raised = |group: &Group| {
        group.0.core.ledger.events.iter().filter(|e| e.kind == "federation.level_raised").count()
    };
    assert_eq!(raised(&group), 1);
}

#[test]
fn only_a_published_version_within_one_level_of_the_one_in_force_is_begun() {
    let mut group = Group::new(2);
    assert_eq!(code(group.upgrade(1, "a", "9")), Some(Code::UnknownVersion));
    for (version, level) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        assert_eq!(code(group.publish(version, level)), None);
    }
    assert_eq!(code(group.upgrade(1, "b", "2")), Some(Code::UnknownRegion));
    assert_eq!(code(group.upgrade(1, "a", "1")), Some(Code::WrongState), "it can't read what was written");
    assert_eq!(code(group.upgrade(1, "a", "4")), Some(Code::WrongState), "two levels apart");
    assert_eq!(code(group.upgrade(1, "a", "3")), None);
    assert_eq!(code(group.upgrade(2, "a", "3")), None, "the same joins");
    assert_eq!(group.0.core.upgrades().count(), 1);
    assert_eq!(code(group.upgrade(3, "a", "2")), Some(Code::WrongState), "one at a time");
}

#[test]
fn a_version_is_published_once_and_the_oldest_of_many_is_forgotten() {
    let mut group = Group::new(1);
    assert_eq!(code(group.publish("1.0", 1)), None);
    assert_eq!(code(group.publish("1.0", 1)), None, "the same again");
    assert_eq!(code(group.publish("1.0", 2)), Some(Code::WrongState));
    assert_eq!(code(group.publish("a b", 1)), Some(Code::BadValue));
    for number in 1..=Release::KEPT {
        group.publish(&format!("1.{number}"), 1);
    }
    assert_eq!(group.0.core.releases.len(), Release::KEPT);
    assert!(!group.0.core.releases.contains_key("1.0"));
}

#[test]
fn an_upgrade_is_called_off_only_before_its_region_goes_over() {
    let mut group = Group::new(1);
    group.publish("2", 2);
    group.upgrade(1, "a", "2");
    assert_eq!(code(group.end(1, OperationState::Cancelled)), None);
    group.upgrade(2, "a", "2");
    assert_eq!(code(group.apply(Command::SwitchUpgrade(OperationId(2)))), None);
    let (_, upgrade) = group.0.core.running_upgrade().expect("it goes on");
    assert_eq!(upgrade.step, UpgradeStep::Switching);
    assert_eq!(code(group.end(2, OperationState::Cancelled)), Some(Code::WrongState));
    assert_eq!(code(group.end(2, OperationState::Failed)), None);
    assert!(group.0.core.running_upgrade().is_none());
    assert_eq!(code(group.apply(Command::SwitchUpgrade(OperationId(2)))), Some(Code::WrongState));
}

#[test]
fn upgrades_and_releases_are_read_back_byte_for_byte_and_count_in_the_digest() {
    let mut group = Group::new(1);
    let before = group.0.digest_tree(0).root();
    group.publish("2", 2);
    group.upgrade(1, "a", "2");
    group.apply(Command::RaiseLevel(1));
    let bytes = group.0.snapshot(0);
    let mut back = Federation::default();
    back.restore(0, &bytes).expect("it is read");
    assert_eq!(back.core, group.0.core);
    assert_eq!(back.snapshot(0), bytes);
    assert_ne!(group.0.digest_tree(0).root(), before);
    for command in [
        Command::RaiseLevel(7),
        Command::SwitchUpgrade(OperationId(3)),
        Command::EndUpgrade((OperationId(3), (OperationState::Done, "x".into()))),
    ] {
        assert_eq!(decode::<Command>(&encode(&command)), Ok(command));
    }
}

/// What a program of the level before writes and reads: the bytes must not differ until the level is in force.
#[test]
fn who_proposed_something_takes_no_byte_before_its_level() {
    let told = |proposer: &str| {
        let mut group = Group::new(1);
        let command = Command::SetFreeze(dwcp_state::Freeze::NoMoves);
        let envelope = Envelope { command, proposer: RegionId::from(proposer), ..Envelope::default() };
        let envelope: Envelope = decode(&encode(&envelope)).expect("it is read");
        group.0.apply(0, Revision(1), &envelope);
        let event = group.0.core.ledger.events[0].clone();
        let bytes = encode(&event);
        (event.proposer, bytes)
    };
    let (nobody, plain) = told("");
    assert_eq!(nobody, RegionId::default());
    let (proposer, bytes) = told("a");
    if cfg!(feature = "next") {
        assert_eq!(proposer, RegionId::from("a"));
        assert_ne!(bytes, plain);
        let old = include_bytes!("../golden/level-1-event.bin");
        assert_eq!(plain, old, "as the level before writes it");
    } else {
        assert_eq!(proposer, RegionId::default(), "this level does not know it");
        assert_eq!(bytes, plain);
        assert_eq!(plain, include_bytes!("../golden/level-1-event.bin"), "as this level wrote it at first");
    }
}

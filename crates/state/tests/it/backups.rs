//! Backups: planned, begun once, ended once, told when they are late. And what they are made of: facts in pieces, taken at a point
//! at which no cause is missing.

use dwcp_state::{
    Admission, BackupEnd, BackupMark, BackupPlan, BackupRun, BackupTask, Command, Departing, Envelope,
    FEDERATION_GROUP, Facts, Federation, OperationState, Outcome,
};
use dwcp_types::{Code, DrillId, Generation, OperationId, RegionId, Revision, VmId, Wall, WindowId};

use super::samples;
use super::world::{World, create, host, region, vm};

const CORE: u64 = FEDERATION_GROUP;
const PLACE: &str = "file:///backups";

fn plan() -> Command {
    Command::ConfigureBackups(Box::new(BackupPlan {
        destination: PLACE.into(),
        interval_ms: 60_000,
        keep_last: 10,
        key: "k1".into(),
        ..BackupPlan::default()
    }))
}

fn run(task: BackupTask, operation: u64) -> Command {
    Command::BeginBackup(Box::new(BackupRun {
        task,
        destination: PLACE.into(),
        operation: OperationId(operation),
        ..BackupRun::default()
    }))
}

fn end(run: u64, backup: u64, at: u64) -> BackupEnd {
    BackupEnd {
        run,
        state: OperationState::Done,
        result: "whole".into(),
        backup: Some(BackupMark { number: backup, at: Wall(at) }),
        verified: true,
        head: format!("{backup}-00"),
        head_number: backup,
        ..BackupEnd::default()
    }
}

fn kinds(world: &World) -> Vec<&str> {
    let events = world.view.core.ledger.events.iter();
    events.map(|event| event.kind.as_str()).filter(|kind| kind.starts_with("backup.")).collect()
}

#[test]
fn a_run_begins_once_ends_once_and_keeps_what_was_seen_of_its_destination() {
    let mut world = World::new();
    world.accept(CORE, plan());
    let first = world.accept(CORE, run(BackupTask::Full, 11));
    let joined = world.accept(CORE, run(BackupTask::Full, 12));
    assert_eq!((first.backup, first.operation), (Some(1), Some(OperationId(11))));
    assert_eq!((joined.backup, joined.operation), (Some(1), Some(OperationId(11))), "joined");
    assert_eq!(world.accept(CORE, run(BackupTask::Verify(None), 13)).backup, Some(2), "something else");
    world.accept(CORE, Command::EndBackup(Box::new(end(1, 4, 900))));
    assert_eq!(world.refuse(CORE, Command::EndBackup(Box::new(end(1, 4, 900)))), Code::WrongState);
    assert_eq!(world.refuse(CORE, Command::EndBackup(Box::new(end(9, 4, 900)))), Code::UnknownBackup);
    let backups = &world.view.core.backups;
    let place = &backups.places[PLACE];
    assert_eq!((place.head.as_str(), place.newest, place.verified), ("4-00", place.verified, place.newest));
    assert_eq!(backups.runs[&1].state, OperationState::Done);
    assert_eq!(world.view.core.operations[&OperationId(11)].state, OperationState::Done);
    // An older word, which comes late, takes nothing back.
    world.accept(CORE, Command::EndBackup(Box::new(end(2, 3, 800))));
    let place = &world.view.core.backups.places[PLACE];
    assert_eq!((place.head.as_str(), place.verified.map(|mark| mark.number)), ("4-00", Some(4)));
    assert_eq!(
        kinds(&world),
        ["backup.configured", "backup.begun", "backup.begun", "backup.done", "backup.done"]
    );
}

#[test]
fn damage_is_told_as_such_and_what_failed_counts_as_no_backup() {
    let mut world = World::new();
    world.accept(CORE, plan());
    world.accept(CORE, run(BackupTask::VerifyAll, 11));
    let damaged = BackupEnd {
        run: 1,
        state: OperationState::Failed,
        result: "packs/1-aa/0: altered".into(),
        damaged: true,
        ..BackupEnd::default()
    };
    world.accept(CORE, Command::EndBackup(Box::new(damaged)));
    let event = world.view.core.ledger.events.back().expect("told");
    assert_eq!((event.kind.as_str(), event.severity), ("backup.damaged", dwcp_state::Severity::Critical));
    assert!(event.text.contains("packs/1-aa/0"), "{}", event.text);
    assert!(world.view.core.backups.places.is_empty());
}

#[test]
fn backups_are_due_and_late_by_the_age_of_what_they_hold() {
    let mut world = World::new();
    assert_eq!(world.view.core.backups.due_at(), None);
    assert_eq!(world.refuse(CORE, Command::NoteBackupsLate((true, true))), Code::BackupsNotConfigured);
    world.accept(CORE, plan());
    let began = world.at;
    let after = |ms: u64| Wall(began.0 + ms);
    assert_eq!(world.view.core.backups.due_at(), Some(began), "the first one at once");
    assert_eq!(world.view.core.backups.late_at(after(120_000)), (false, false));
    assert_eq!(world.view.core.backups.late_at(after(120_001)), (true, true));
    world.accept(CORE, run(BackupTask::Incremental, 11));
    assert_eq!(world.view.core.backups.due_at(), Some(after(60_000)));
    world.accept(CORE, Command::NoteBackupsLate((true, true)));
    world.accept(CORE, Command::NoteBackupsLate((true, true)));
    let unread = BackupEnd { verified: false, ..end(1, 1, began.0) };
    world.accept(CORE, Command::EndBackup(Box::new(unread)));
    world.at = after(130_000);
    assert_eq!(world.view.core.backups.late_at(world.at), (true, true));
    world.accept(CORE, run(BackupTask::Incremental, 12));
    world.accept(CORE, Command::EndBackup(Box::new(end(2, 2, world.at.0))));
    assert_eq!(world.view.core.backups.late, (false, false));
    let told = kinds(&world).into_iter().filter(|kind| ["backup.late", "backup.in-time"].contains(kind));
    assert_eq!(told.collect::<Vec<_>>(), ["backup.late", "backup.in-time"], "each once");
}

#[test]
fn a_backup_that_failed_is_tried_again_sooner_and_ever_later() {
    let mut world = World::new();
    let Command::ConfigureBackups(mut daily) = plan() else { unreachable!() };
    daily.interval_ms = 86_400_000;
    world.accept(CORE, Command::ConfigureBackups(daily));
    let mut fails = |number: u64| {
        world.accept(CORE, run(BackupTask::Incremental, number));
        let at = world.at;
        let failed = BackupEnd { run: number, state: OperationState::Failed, ..BackupEnd::default() };
        world.accept(CORE, Command::EndBackup(Box::new(failed)));
        world.view.core.backups.due_at().expect("due").ms_since(at)
    };
    let waits: Vec<u64> = (1..=13).map(&mut fails).map(|wait| wait / 1_000).collect();
    assert_eq!(waits[..4], [30, 60, 120, 240]);
    assert_eq!(waits[11..], [61_440, 86_400], "never later than without a failure");
    world.accept(CORE, run(BackupTask::Incremental, 14));
    let began = world.at;
    world.accept(CORE, Command::EndBackup(Box::new(end(14, 1, began.0))));
    assert_eq!(world.view.core.backups.due_at(), Some(Wall(began.0 + 86_400_000)));
}

#[test]
fn a_plan_out_of_range_is_refused_and_so_is_one_decided_on_an_older_one() {
    let mut world = World::new();
    let wrong = |change: fn(&mut BackupPlan)| {
        let Command::ConfigureBackups(mut plan) = plan() else { unreachable!() };
        change(&mut plan);
        Command::ConfigureBackups(plan)
    };
    for command in [
        wrong(|plan| plan.interval_ms = 1),
        wrong(|plan| plan.keep_last = 0),
        wrong(|plan| plan.destination.clear()),
    ] {
        assert_eq!(world.refuse(CORE, command), Code::BadValue);
    }
    world.accept(CORE, plan());
    let stale = Envelope { expected: Some(Revision(0)), command: plan(), ..Envelope::default() };
    assert!(
        matches!(world.send(CORE, stale), Outcome::Refused(refusal) if refusal.code == Code::StaleRevision)
    );
}

#[test]
fn runs_that_are_over_are_forgotten_with_their_operations() {
    let mut world = World::new();
    for number in 1..=150 {
        world.accept(CORE, run(BackupTask::Full, number));
        world.accept(CORE, Command::EndBackup(Box::new(end(number, number, number))));
    }
    let core = &world.view.core;
    assert_eq!((core.backups.runs.len(), core.operations.len()), (100, 100));
    assert_eq!(core.backups.numbered, 150);
}

/// A federation with something of everything.
fn rich() -> Federation {
    let mut view = Federation::default();
    view.open_group(1, &region("a"));
    view.core = samples::core();
    view.core.backups = samples::backups();
    view.core.drills.insert(DrillId(2), samples::drill());
    view.core.windows.insert(WindowId(3), samples::window());
    let mut facts = samples::region_facts();
    facts.migrations.insert(VmId(1), samples::migration());
    facts.migrated.push_back(samples::migration());
    facts.arrivals.insert(VmId(2), samples::arrival());
    view.regions.insert(region("a"), facts);
    view
}

#[test]
fn facts_come_back_from_their_pieces_byte_for_byte() {
    let view = rich();
    for group in 0..=1 {
        let bytes = view.snapshot(group);
        let core = group == CORE;
        let facts = Facts::of_snapshot(core, &bytes).expect("its own snapshot");
        let pieces = facts.into_pieces();
        assert!(pieces.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted, each once");
        assert!(pieces.len() > 4, "{pieces:?}");
        assert_eq!(
            Facts::of_pieces(core, &pieces).expect("its own pieces").snapshot(),
            bytes,
            "group {group}"
        );
        assert!(Facts::of_pieces(core, &pieces[1..]).is_ok_and(|facts| facts.snapshot() != bytes));
        let without_rest: Vec<_> = pieces.into_iter().filter(|piece| piece.name != "rest").collect();
        assert!(Facts::of_pieces(core, &without_rest).is_err());
    }
}

#[test]
fn a_change_of_one_record_changes_few_pieces() {
    let mut world = World::new();
    world.accept(1, create((1..=3).map(|number| vm(number, "h1")).collect()));
    let pieces =
        |world: &World| Facts::of_snapshot(false, &world.view.snapshot(1)).expect("its own").into_pieces();
    let before = pieces(&world);
    world.accept(1, Command::SetHostPlacement((host("h2"), false)));
    let changed: Vec<String> =
        pieces(&world).into_iter().filter(|piece| !before.contains(piece)).map(|piece| piece.name).collect();
    let event = format!("events/{:020}/000000", world.view.revision(1).0);
    assert_eq!(changed, [event, "hosts/h2".to_string(), "rest".to_string()]);
}

/// A VM that goes from a to b, one command at a time: what each group's facts were after each of its commands.
fn journey() -> [Vec<Vec<u8>>; 2] {
    let mut world = World::new();
    let mut states: [Vec<Vec<u8>>; 2] = Default::default();
    let mut keep = |world: &World| {
        for (index, group) in [1, 2].into_iter().enumerate() {
            let bytes = world.view.snapshot(group);
            if states[index].last() != Some(&bytes) {
                states[index].push(bytes);
            }
        }
    };
    world.accept(1, create(vec![vm(1, "h1")]));
    keep(&world);
    world.accept(1, Command::BeginEvacuation(1));
    keep(&world);
    let leaving =
        Departing { vm: VmId(1), generation: Generation(1), to: region("b"), host: Some(host("h1")) };
    world.accept(1, Command::Depart((None, vec![leaving])));
    keep(&world);
    let record = world.view.regions[&region("a")].departures[&VmId(1)].vm.clone();
    let admission = Admission { vm: record, host: host("h1"), from: region("a"), failover: None };
    let looked_at: Vec<(RegionId, Revision)> = vec![(region("a"), world.view.revision(1))];
    let envelope =
        Envelope { command: Command::Admit(Box::new(admission)), looked_at, ..Envelope::default() };
    assert!(matches!(world.send(2, envelope), Outcome::Accepted(_)));
    keep(&world);
    world.accept(1, Command::Forget((VmId(1), Generation(2))));
    keep(&world);
    states
}

#[test]
fn a_look_that_shows_an_effect_without_its_cause_differs_from_every_later_one_that_shows_both() {
    let [of_a, of_b] = journey();
    let look = |a: usize, b: usize| {
        let mut view = World::new().view;
        view.restore(1, &of_a[a]).expect("its own");
        view.restore(2, &of_b[b]).expect("its own");
        view
    };
    let whole = |view: &Federation| {
        let departing = view.regions.values().any(|facts| facts.departures.contains_key(&VmId(1)));
        view.vm(VmId(1)).is_some() || departing
    };
    let mut lost = 0;
    for (a, b) in (0..of_a.len()).flat_map(|a| (0..of_b.len()).map(move |b| (a, b))) {
        let first = look(a, b);
        if whole(&first) {
            continue;
        }
        lost += 1;
        // Whatever is applied afterwards, up to where the cause is there too.
        for (later_a, later_b) in (a..of_a.len()).flat_map(|a| (b + 1..of_b.len()).map(move |b| (a, b))) {
            let second = look(later_a, later_b);
            assert!(whole(&second));
            assert_ne!(first.crossing(), second.crossing(), "{a},{b} then {later_a},{later_b}");
        }
    }
    assert_eq!(lost, 1, "a lets go of it before b is seen to have it");
    // What is nobody else's to act on does not count.
    let mut world = World::new();
    let before = world.view.crossing();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(before, world.view.crossing());
}

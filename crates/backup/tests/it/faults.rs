//! Writers that are killed at each step, destinations without room or without answers.

use std::sync::Arc;

use dwcp_backup::destination::Trouble;
use dwcp_backup::{Error, FederationKey, Kind, Record, Repository, Retention};
use dwcp_types::Wall;

use crate::memory::{Fail, Memory};
use crate::states::{HOUR_MS, backup, change, new, open, restored, state, whole};

const KEEP: Retention = Retention { keep_last: 2, keep_within: std::time::Duration::ZERO };

/// A repository with two backups in memory, and what each holds.
fn two(key: &FederationKey) -> (Arc<Memory>, [Vec<Record>; 2]) {
    let memory = Arc::new(Memory::default());
    let repository = new(&memory, key);
    let first = state(31, 200);
    backup(&repository, Kind::Full, 1, &first).unwrap();
    let mut second = first.clone();
    change(&mut second, 100..110);
    backup(&repository, Kind::Incremental, 2, &second).unwrap();
    (memory, [first, second])
}

/// Runs `work` with a failure at each change in turn until none is reached; `after` looks at what is left.
fn at_each_step(
    fail: Fail,
    key: &FederationKey,
    work: impl Fn(&Repository) -> Result<(), Error>,
    after: impl Fn(&Arc<Memory>, &[Vec<Record>; 2], Option<Error>),
) -> usize {
    for step in 0.. {
        let (memory, backups) = two(key);
        let repository = open(&memory, key).unwrap();
        memory.fail_at(step, fail);
        let outcome = work(&repository);
        memory.heal();
        let done = outcome.is_ok();
        after(&memory, &backups, outcome.err());
        if done {
            return step;
        }
    }
    unreachable!()
}

#[test]
fn a_writer_that_is_killed_at_any_step_leaves_the_older_backups_whole() {
    let key = FederationKey::random();
    let more = state(32, 400);
    for fail in [Fail::KilledBefore, Fail::KilledAfter] {
        let steps = at_each_step(
            fail,
            &key,
            |repository| backup(repository, Kind::Incremental, 3, &more).map(drop),
            |memory, backups, _| {
                let repository = open(memory, &key).unwrap();
                whole(&repository);
                assert_eq!(restored(&repository, Some(1)).unwrap(), backups[0]);
                assert_eq!(restored(&repository, Some(2)).unwrap(), backups[1]);
                // Half a backup is none; a whole one is one, whether its writer heard of it or not.
                let listed = repository.list().unwrap().backups.len();
                if listed == 3 {
                    assert_eq!(restored(&repository, Some(3)).unwrap(), more);
                }
                backup(&repository, Kind::Incremental, 4, &more).unwrap();
                assert_eq!(restored(&repository, None).unwrap(), more);
                // What is left over goes with the next prune, and no more than that.
                repository.prune(KEEP, Wall(5 * HOUR_MS)).unwrap();
                let verified = repository.verify().unwrap();
                assert_eq!((&*verified.faults, &*verified.remarks), (&[][..], &[][..]));
                assert_eq!(restored(&repository, None).unwrap(), more);
            },
        );
        assert!(steps >= 4, "{steps}");
    }
}

#[test]
fn without_room_nothing_changes_and_the_reason_is_told() {
    let key = FederationKey::random();
    let more = state(33, 400);
    let steps = at_each_step(
        Fail::NoSpace,
        &key,
        |repository| backup(repository, Kind::Incremental, 3, &more).map(drop),
        |memory, backups, error| {
            let Some(error) = error else { return };
            let Error::Destination(trouble) = &error else { panic!("{error}") };
            assert_eq!(trouble.trouble, Trouble::NoSpace);
            assert!(error.to_string().starts_with("no space left at memory"), "{error}");
            let repository = open(memory, &key).unwrap();
            whole(&repository);
            assert_eq!(repository.list().unwrap().backups.len(), 2);
            let packs = memory.objects().into_keys().filter(|name| name.starts_with("packs/"));
            let runs: std::collections::BTreeSet<String> =
                packs.filter_map(|name| Some(name.split('/').nth(1)?.to_owned())).collect();
            assert_eq!(runs.len(), 2, "what was begun is taken back");
            assert_eq!(restored(&repository, None).unwrap(), backups[1]);
        },
    );
    assert!(steps >= 4, "{steps}");
}

#[test]
fn an_answer_that_is_lost_loses_no_backup_that_is_there() {
    let key = FederationKey::random();
    let more = state(34, 100);
    at_each_step(
        Fail::Unanswered,
        &key,
        |repository| backup(repository, Kind::Incremental, 3, &more).map(drop),
        |memory, _, _| {
            let repository = open(memory, &key).unwrap();
            whole(&repository);
            let newest = restored(&repository, None).unwrap();
            assert_eq!(newest == more, repository.list().unwrap().backups.len() == 3);
        },
    );
}

#[test]
fn a_prune_that_is_killed_at_any_step_is_finished_by_the_next() {
    let key = FederationKey::random();
    let keep = Retention { keep_last: 1, ..KEEP };
    for fail in [Fail::KilledBefore, Fail::KilledAfter] {
        let steps = at_each_step(
            fail,
            &key,
            |repository| repository.prune(keep, Wall(9 * HOUR_MS)).map(drop),
            |memory, backups, _| {
                let repository = open(memory, &key).unwrap();
                whole(&repository);
                assert_eq!(restored(&repository, None).unwrap(), backups[1]);
                repository.prune(keep, Wall(9 * HOUR_MS)).unwrap();
                let verified = repository.verify().unwrap();
                assert_eq!((verified.backups, &*verified.faults, &*verified.remarks), (1, &[][..], &[][..]));
                assert_eq!(restored(&repository, None).unwrap(), backups[1]);
            },
        );
        assert!(steps >= 4, "{steps}");
    }
}

#[test]
fn a_change_of_keys_that_is_killed_at_any_step_leaves_a_key_that_opens_everything() {
    let (old, key) = (FederationKey::random(), FederationKey::random());
    for fail in [Fail::KilledBefore, Fail::KilledAfter, Fail::NoSpace] {
        let steps = at_each_step(
            fail,
            &old,
            |repository| repository.rewrap(key.clone(), Wall(3 * HOUR_MS)).map(drop),
            |memory, backups, _| {
                let opened = match open(memory, &old) {
                    Ok(repository) => {
                        assert_eq!(restored(&repository, Some(2)).unwrap(), backups[1]);
                        repository.rewrap(key.clone(), Wall(4 * HOUR_MS)).unwrap().0
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::WrongKey { .. }), "{error}");
                        open(memory, &key).unwrap()
                    }
                };
                whole(&opened);
                assert_eq!(restored(&opened, Some(1)).unwrap(), backups[0]);
                assert!(matches!(open(memory, &old), Err(Error::WrongKey { .. })));
                backup(&opened, Kind::Incremental, 5, &backups[0]).unwrap();
                opened.prune(KEEP, Wall(6 * HOUR_MS)).unwrap();
                assert_eq!(opened.verify().unwrap().remarks, []);
            },
        );
        assert!(steps >= 4, "{steps}");
    }
}

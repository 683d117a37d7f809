//! Two writers at one destination.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dwcp_backup::{Error, FederationKey, Folder, Kind, Retention};
use dwcp_types::Wall;

use crate::basics::Scratch;
use crate::memory::Memory;
use crate::states::{HOUR_MS, backup, change, new, open, restored, state, whole};

const LAST: Retention = Retention { keep_last: 1, keep_within: Duration::ZERO };

#[test]
fn writers_at_once_each_make_their_own_backups() {
    let scratch = Scratch::new("writers");
    let folder = Arc::new(Folder::open(&scratch.0).unwrap());
    let key = FederationKey::random();
    new(&folder, &key);
    let made: Vec<(u64, u64)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let repository = open(&folder, &key).unwrap();
                scope.spawn(move || {
                    let make = |round| {
                        let seed = 100 + 10 * writer + round;
                        let made = backup(&repository, Kind::Incremental, round, &state(seed, 60)).unwrap();
                        (made.head.sequence, seed)
                    };
                    (0..4).map(make).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let repository = open(&folder, &key).unwrap();
    for (sequence, seed) in &made {
        assert_eq!(restored(&repository, Some(*sequence)).unwrap(), state(*seed, 60));
    }
    assert_eq!(repository.list().unwrap().backups.len(), 16);
    let verified = repository.verify().unwrap();
    assert_eq!((&*verified.faults, &*verified.remarks), (&[][..], &[][..]));
}

#[test]
fn a_backup_that_a_prune_overtakes_is_taken_back() {
    let memory = Arc::new(Memory::default());
    let key = FederationKey::random();
    let repository = new(&memory, &key);
    let mut records = state(51, 200);
    for hour in 1..4 {
        change(&mut records, 0..20);
        backup(&repository, Kind::Incremental, hour, &records).unwrap();
    }
    // Between the last of its packs and its entry.
    let other = open(&memory, &key).unwrap();
    memory.before("log/", move || {
        assert_eq!(other.prune(LAST, Wall(9 * HOUR_MS)).unwrap().removed, [1, 2]);
    });
    let overtaken = backup(&repository, Kind::Incremental, 4, &records).unwrap_err();
    assert!(matches!(overtaken, Error::Overtaken(_)), "{overtaken}");
    assert_eq!(repository.verify().unwrap().remarks, []);
    backup(&repository, Kind::Incremental, 5, &records).unwrap();
    assert_eq!(restored(&repository, None).unwrap(), records);
    whole(&repository);
}

#[test]
fn a_prune_that_a_backup_overtakes_begins_anew_and_keeps_it() {
    let memory = Arc::new(Memory::default());
    let key = FederationKey::random();
    let repository = new(&memory, &key);
    let records = state(52, 200);
    backup(&repository, Kind::Full, 1, &records).unwrap();
    backup(&repository, Kind::Incremental, 2, &records).unwrap();
    let (other, more) = (open(&memory, &key).unwrap(), state(53, 200));
    let theirs = more.clone();
    memory.before("log/", move || drop(backup(&other, Kind::Incremental, 3, &theirs).unwrap()));
    assert_eq!(repository.prune(LAST, Wall(9 * HOUR_MS)).unwrap().removed, [1, 2]);
    assert_eq!(restored(&repository, None).unwrap(), more);
    whole(&repository);
}

#[test]
fn a_backup_that_comes_while_keys_change_is_sealed_under_both_or_refused() {
    let memory = Arc::new(Memory::default());
    let (old, key) = (FederationKey::random(), FederationKey::random());
    let repository = new(&memory, &old);
    let records = state(54, 200);
    backup(&repository, Kind::Full, 1, &records).unwrap();
    // A backup under the old key, between the new key's data keys and the entry that names it.
    let other = open(&memory, &old).unwrap();
    let more = state(55, 50);
    let theirs = more.clone();
    memory.before("log/", move || drop(backup(&other, Kind::Full, 2, &theirs).unwrap()));
    let (opened, _) = repository.rewrap(key.clone(), Wall(3 * HOUR_MS)).unwrap();
    assert_eq!(restored(&opened, Some(2)).unwrap(), more);
    // And the other way round.
    let (other, newest) = (open(&memory, &key).unwrap(), FederationKey::random());
    let to = newest.clone();
    memory.before("log/", move || drop(other.rewrap(to, Wall(4 * HOUR_MS)).unwrap()));
    let refused = backup(&opened, Kind::Incremental, 5, &records).unwrap_err();
    assert!(matches!(refused, Error::WrongKey { .. }), "{refused}");
    let last = open(&memory, &newest).unwrap();
    whole(&last);
    assert_eq!(last.verify().unwrap().remarks, []);
}

//! Retention, and changes of keys.

use std::sync::Arc;
use std::time::Duration;

use dwcp_backup::{Error, FederationKey, Kind, Retention};
use dwcp_types::Wall;

use crate::memory::Memory;
use crate::states::{HOUR_MS, backup, change, new, open, restored, state, whole};

#[test]
fn retention_keeps_the_last_ones_and_the_young_ones_and_what_follows_them() {
    let backups: Vec<(u64, Wall)> = (1..=10).map(|n| (n, Wall(n * HOUR_MS))).collect();
    let now = Wall(11 * HOUR_MS);
    let keep = |last, hours: u64| {
        let retention = Retention { keep_last: last, keep_within: Duration::from_secs(hours * 3600) };
        retention.oldest_kept(&backups, now)
    };
    assert_eq!(keep(3, 0), Some(8));
    assert_eq!(keep(0, 0), Some(10), "one is kept in any case");
    assert_eq!(keep(1, 4), Some(7));
    assert_eq!(keep(99, 0), Some(1));
    assert_eq!(keep(1, 99_999), Some(1));
    assert_eq!(Retention { keep_last: 1, keep_within: Duration::ZERO }.oldest_kept(&[], now), None);
    // A clock that went back keeps too much rather than too little.
    let jumped = [(1, Wall(20 * HOUR_MS)), (2, Wall(HOUR_MS))];
    assert_eq!(Retention { keep_last: 1, keep_within: Duration::ZERO }.oldest_kept(&jumped, now), Some(1));
}

#[test]
fn what_retention_removes_is_gone_explained_and_never_needed() {
    let memory = Arc::new(Memory::default());
    let repository = new(&memory, &FederationKey::random());
    let mut records = state(41, 1_000);
    let mut kept = Vec::new();
    for hour in 1..=8 {
        // Half of it changes, again and again: much of the older packs is used by nobody after a while.
        let half = 1_500 * (hour as usize % 2);
        change(&mut records, half..half + 1_500);
        backup(&repository, Kind::Incremental, hour, &records).unwrap();
        kept.push(records.clone());
    }
    let bytes = || memory.objects().values().map(|bytes| bytes.len() as u64).sum::<u64>();
    let before = bytes();
    let keep = Retention { keep_last: 3, keep_within: Duration::ZERO };
    let pruned = repository.prune(keep, Wall(9 * HOUR_MS)).unwrap();
    assert_eq!(pruned.removed, [1, 2, 3, 4, 5]);
    assert!(pruned.bytes * 3 > before, "{} of {before}", pruned.bytes);
    let listing = repository.list().unwrap();
    assert_eq!((listing.faults.len(), listing.backups.len()), (0, 3));
    assert!(listing.removed.unwrap().contains("5 backups before entry 6"));
    for number in 6..=8 {
        assert_eq!(restored(&repository, Some(number)).unwrap(), kept[number as usize - 1]);
    }
    let gone = restored(&repository, Some(2)).unwrap_err().to_string();
    assert!(gone.contains("removed") && gone.contains("retention"), "{gone}");
    whole(&repository);
    // Nothing to do is nothing done.
    let objects = memory.objects();
    assert!(repository.prune(keep, Wall(9 * HOUR_MS)).unwrap().head.is_none());
    assert_eq!(memory.objects(), objects);
    // The place that is taken stays within bounds.
    for hour in 9..30 {
        let half = 1_500 * (hour as usize % 2);
        change(&mut records, half..half + 1_500);
        backup(&repository, Kind::Incremental, hour, &records).unwrap();
        repository.prune(keep, Wall(hour * HOUR_MS)).unwrap();
    }
    assert!(bytes() < before, "{} and {before}", bytes());
    assert_eq!(restored(&repository, None).unwrap(), records);
    whole(&repository);
}

#[test]
fn after_a_change_of_keys_the_new_one_opens_everything_and_the_old_one_nothing() {
    let memory = Arc::new(Memory::default());
    let (old, key) = (FederationKey::random(), FederationKey::random());
    let repository = new(&memory, &old);
    let records = state(42, 100);
    backup(&repository, Kind::Full, 1, &records).unwrap();
    let late = open(&memory, &old).unwrap();
    let (opened, rotated) = repository.rewrap(key.clone(), Wall(2 * HOUR_MS)).unwrap();
    assert_eq!((rotated.data_keys, rotated.head.sequence), (2, 2));
    assert_eq!(restored(&opened, None).unwrap(), records);
    assert!(matches!(open(&memory, &old), Err(Error::WrongKey { .. })));
    // Who had it open with the old key neither writes nor takes it for damage.
    let refused = backup(&late, Kind::Full, 3, &records).unwrap_err();
    assert!(
        matches!(&refused, Error::WrongKey { sealed_under, .. } if *sealed_under == [key.id()]),
        "{refused}"
    );
    assert!(!memory.objects().keys().any(|name| name.contains(old.id())));
    backup(&open(&memory, &key).unwrap().expecting(rotated.head), Kind::Incremental, 4, &records).unwrap();
    // Back to the old one, and forth again.
    let (back, _) = opened.rewrap(old.clone(), Wall(5 * HOUR_MS)).unwrap();
    backup(&back, Kind::Incremental, 6, &records).unwrap();
    let (forth, _) = back.rewrap(key, Wall(7 * HOUR_MS)).unwrap();
    backup(&forth, Kind::Incremental, 8, &records).unwrap();
    whole(&forth);
    assert_eq!(restored(&forth, Some(1)).unwrap(), records);
}

//! Every object of a repository damaged in every way: what depends on it is refused and names it, the rest comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use dwcp_backup::key::{Cost, new_passphrase};
use dwcp_backup::{Error, FederationKey, Head, Kind, Record, Retention};
use dwcp_types::{Rng, Wall};

use crate::memory::Memory;
use crate::states::{HOUR_MS, backup, change, new, open, restored, state};

type Objects = BTreeMap<String, Vec<u8>>;

/// A repository with a full and two incremental backups behind a removal.
struct Sample {
    objects: Objects,
    key: FederationKey,
    head: Head,
    backups: BTreeMap<u64, Vec<Record>>,
    /// The objects before the last backup, as they could be put back.
    before: Objects,
    before_head: Head,
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let memory = Arc::new(Memory::default());
        let key = new_passphrase(&*memory, "x", Cost { memory_kib: 64, rounds: 1 }).unwrap();
        let repository = new(&memory, &key);
        let mut backups = BTreeMap::new();
        let mut records = state(11, 300);
        let mut head = backup(&repository, Kind::Full, 1, &records).unwrap().head;
        let mut before = None;
        for hour in 2..6 {
            change(&mut records, 10 * hour as usize..10 * hour as usize + 8);
            before = Some((memory.objects(), head));
            head = backup(&repository, Kind::Incremental, hour, &records).unwrap().head;
            backups.insert(head.sequence, records.clone());
            if hour == 3 {
                let keep = Retention { keep_last: 1, keep_within: Default::default() };
                head = repository.prune(keep, Wall(4 * HOUR_MS)).unwrap().head.unwrap();
            }
        }
        backups.remove(&2);
        let (before, before_head) = before.unwrap();
        Sample { objects: memory.objects(), key, head, backups, before, before_head }
    })
}

impl Sample {
    /// What is found in damaged objects: every fault's object, and by backup whether it came back.
    fn look(&self, objects: &Objects) -> (BTreeSet<String>, BTreeSet<u64>) {
        let named = |error: Error| match error {
            Error::Damaged(faults) => faults.into_iter().map(|fault| fault.object).collect(),
            Error::Newer { object, .. } => BTreeSet::from([object]),
            // The key's name is in the message, and what is at its place.
            Error::WrongKey { .. } | Error::OtherFederation { .. } => BTreeSet::from([format!("{error:?}")]),
            other => panic!("{other}"),
        };
        let repository = match open(&Arc::new(Memory::of(objects)), &self.key) {
            Ok(repository) => repository.expecting(self.head),
            Err(error) => return (named(error), BTreeSet::new()),
        };
        let mut faults: BTreeSet<String> =
            repository.verify().unwrap().faults.into_iter().map(|fault| fault.object).collect();
        let mut whole = BTreeSet::new();
        for (sequence, records) in &self.backups {
            match restored(&repository, Some(*sequence)) {
                Ok(found) => {
                    assert!(found == *records, "backup {sequence} came back as something else");
                    whole.insert(*sequence);
                }
                Err(error) => {
                    let named: BTreeSet<String> = named(error);
                    assert!(!named.is_disjoint(&faults), "{named:?}, verify said {faults:?}");
                    faults.extend(named);
                }
            }
        }
        (faults, whole)
    }

    /// Asserts that damage to the objects of these names is found, and one of them named.
    #[track_caller]
    fn found(&self, objects: &Objects, names: &[&str], how: &str) {
        let (faults, whole) = self.look(objects);
        let named = names.iter().any(|name| faults.contains(*name));
        assert!(named, "{how} of {names:?}: {faults:?}");
        for sequence in self.backups.keys() {
            // The secret opens everything; a data key, its entry.
            let its = format!("/{sequence:010}-");
            let mut keys = names.iter().filter(|name| name.starts_with("keys/"));
            let lost = keys.any(|name| name.contains(&its) || name.ends_with("/secret"));
            assert!(!(lost && whole.contains(sequence)), "{how} of {names:?}: {sequence} came back");
        }
    }
}

#[test]
fn what_is_whole_is_found_whole() {
    let sample = sample();
    let (faults, whole) = sample.look(&sample.objects);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(whole, sample.backups.keys().copied().collect());
    assert_eq!(sample.backups.len(), 3);
    let kinds = ["repository", "passphrase/", "keys/", "log/", "packs/"];
    for kind in kinds {
        assert!(sample.objects.keys().any(|name| name.starts_with(kind)), "{kind}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_its_object_named() {
    let sample = sample();
    let mut rng = Rng::new(21);
    for (name, bytes) in &sample.objects {
        let sampled: Vec<usize> = (0..24).map(|_| rng.below(bytes.len() as u64) as usize).collect();
        let ends = [0, 1, 4, 5, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1];
        for at in sampled.into_iter().chain(ends) {
            let mut objects = sample.objects.clone();
            objects.get_mut(name).unwrap()[at] ^= 1 << rng.below(8);
            sample.found(&objects, &[name], &format!("a bit at {at}"));
        }
    }
}

#[test]
fn what_is_cut_off_lengthened_or_gone_is_found_and_named() {
    let sample = sample();
    for (name, bytes) in &sample.objects {
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let mut objects = sample.objects.clone();
            objects.get_mut(name).unwrap().truncate(length);
            sample.found(&objects, &[name], &format!("a cut at {length}"));
        }
        for more in [1, 10 << 20] {
            let mut objects = sample.objects.clone();
            objects.get_mut(name).unwrap().extend(vec![0; more]);
            sample.found(&objects, &[name], &format!("{more} bytes more"));
        }
        let mut objects = sample.objects.clone();
        objects.remove(name);
        if name.starts_with("passphrase/") {
            // Nothing else names it: who gives the passphrase is told.
            let lost = dwcp_backup::key::from_passphrase(&Memory::of(&objects), "x").unwrap_err();
            assert!(lost.to_string().contains("passphrase/"), "{lost}");
            continue;
        }
        sample.found(&objects, &[name], "loss");
    }
}

#[test]
fn an_object_in_the_place_of_another_is_found_and_named() {
    let sample = sample();
    for (name, bytes) in &sample.objects {
        for (other, its) in sample.objects.iter().filter(|(other, _)| *other != name) {
            let mut objects = sample.objects.clone();
            objects.insert(name.clone(), its.clone());
            sample.found(&objects, &[name], &format!("{other} in place"));
            objects.insert(other.clone(), bytes.clone());
            sample.found(&objects, &[name, other], "a swap");
        }
    }
}

#[test]
fn a_destination_that_goes_back_in_time_is_found_out() {
    let sample = sample();
    let newest = format!("log/{:010}", sample.head.sequence);
    sample.found(&sample.before, &[&newest], "everything put back");
    // Also when another backup was made there since, by someone who did not know.
    let memory = Arc::new(Memory::of(&sample.before));
    let fork = open(&memory, &sample.key).unwrap().expecting(sample.before_head);
    let fork = backup(&fork, Kind::Full, 9, &state(12, 50)).unwrap().head;
    assert_eq!(fork.sequence, sample.head.sequence);
    sample.found(&memory.objects(), &[&newest], "a fork");
    // Nothing is added to what went back.
    let refused = open(&memory, &sample.key).unwrap().expecting(sample.head);
    assert!(matches!(backup(&refused, Kind::Full, 9, &[]), Err(Error::Damaged(_))));
    assert!(matches!(restored(&refused, None), Err(Error::Damaged(_))));
    // A removed backup that comes back is none.
    let mut objects = sample.objects.clone();
    objects.insert("log/0000000001".into(), sample.objects[&newest].clone());
    let listing = open(&Arc::new(Memory::of(&objects)), &sample.key).unwrap().list().unwrap();
    assert_eq!((listing.faults.len(), listing.backups.len()), (0, 3));
    assert!(listing.removed.unwrap().contains("retention keeps the last 1"));
}

#[test]
fn a_backup_comes_back_whatever_happened_to_the_others() {
    let sample = sample();
    let mut objects = sample.objects.clone();
    let (first, last) = (sample.backups.keys().next().unwrap(), sample.backups.keys().last().unwrap());
    objects.get_mut(&format!("log/{first:010}")).unwrap()[40] ^= 1;
    let repository = open(&Arc::new(Memory::of(&objects)), &sample.key).unwrap();
    assert!(restored(&repository, Some(*last)).unwrap() == sample.backups[last]);
    // The newest is not guessed at: a fault may hide a newer one.
    assert!(matches!(restored(&repository, None), Err(Error::Damaged(_))));
    // A damaged repository loses nothing more, and still takes backups.
    let keep = Retention { keep_last: 1, keep_within: Default::default() };
    assert!(matches!(repository.prune(keep, Wall(99 * HOUR_MS)), Err(Error::Damaged(_))));
    assert!(matches!(repository.rewrap(FederationKey::random(), Wall(0)), Err(Error::Damaged(_))));
    let made = backup(&repository, Kind::Full, 9, &sample.backups[last]).unwrap().backup;
    assert!(restored(&repository, Some(made.sequence)).unwrap() == sample.backups[last]);
}

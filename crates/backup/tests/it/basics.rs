//! Round trips, what an incremental one costs, keys, federations, differences.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use dwcp_backup::key::{Cost, from_passphrase, new_passphrase};
use dwcp_backup::{Change, Destination, Error, FederationKey, Folder, Kind, Record, Repository};

use crate::memory::Memory;
use crate::states::{FEDERATION, backup, change, new, open, restored, state, whole};

pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dwcp-backup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_backed_up_comes_back_record_by_record() {
    let scratch = Scratch::new("round-trip");
    let folder = Arc::new(Folder::open(&scratch.0.join("backups")).unwrap());
    let key = FederationKey::random();
    let repository = new(&folder, &key);
    assert!(matches!(restored(&repository, None), Err(Error::NoBackup(_))));
    let mut records = state(1, 2_000);
    // Records of every size, and bytes that are no text.
    records.push(Record { group: 9, key: vec![], value: vec![] });
    records.push(Record {
        group: 9,
        key: vec![0xff; 3],
        value: (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect(),
    });
    let full = backup(&repository, Kind::Full, 1, &records).unwrap();
    let empty = backup(&repository, Kind::Full, 2, &[]).unwrap();
    let repository = open(&folder, &key).unwrap().expecting(empty.head);
    assert_eq!(restored(&repository, Some(1)).unwrap(), records);
    assert_eq!(restored(&repository, None).unwrap(), []);
    let listing = repository.list().unwrap();
    assert_eq!((listing.head, listing.faults.len()), (empty.head, 0));
    assert_eq!(listing.backups, [full.backup.clone(), empty.backup]);
    assert_eq!(full.backup.metadata["revision/1"], "1");
    assert_eq!((full.backup.records, full.backup.groups[&9]), (6_002, 2));
    let verified = repository.verify().unwrap();
    assert_eq!((verified.backups, &*verified.faults, &*verified.remarks), (2, &[][..], &[][..]));
    assert_eq!(full.head.to_string().parse(), Ok(full.head));
}

#[test]
fn an_incremental_backup_writes_what_changed() {
    let memory = Arc::new(Memory::default());
    let key = FederationKey::random();
    let repository = new(&memory, &key);
    let mut records = state(2, 7_000);
    let full = backup(&repository, Kind::Full, 1, &records).unwrap().backup;
    // One in a hundred, as a zone that changes.
    change(&mut records, 9_000..9_210);
    let part = backup(&repository, Kind::Incremental, 2, &records).unwrap().backup;
    assert_eq!((part.kind, part.parent), (Kind::Incremental, Some(1)));
    let (all, fresh) = part.chunks;
    assert!(fresh * 10 <= all, "{fresh} of {all} chunks are new");
    assert!(
        part.written_bytes * 10 <= full.written_bytes,
        "{} of {}",
        part.written_bytes,
        full.written_bytes
    );
    // Records that come and go move no boundary but their own.
    records.drain(3_000..3_010);
    let mut more = state(3, 10);
    records.append(&mut more);
    records.sort();
    let moved = backup(&repository, Kind::Incremental, 3, &records).unwrap().backup;
    assert!(moved.chunks.1 < 60, "{:?}", moved.chunks);
    assert_eq!(restored(&repository, None).unwrap(), records);
    // A full one depends on nothing before.
    assert_eq!(backup(&repository, Kind::Full, 4, &records).unwrap().backup.chunks.1, moved.chunks.0);
    whole(&repository);
}

#[test]
fn ids_sizes_and_names_tell_nothing_to_whoever_lacks_the_key() {
    let (one, other) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    let key = FederationKey::random();
    let records = state(4, 300);
    for memory in [&one, &other] {
        backup(&new(memory, &key), Kind::Full, 1, &records).unwrap();
    }
    let (one, other) = (one.objects(), other.objects());
    for (name, bytes) in &one {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("debian") && !text.contains("revision"), "{name}");
        // Equal content is not seen to be equal.
        let same = other.values().any(|found| found == bytes);
        assert!(!same, "{name}");
    }
}

#[test]
fn a_wrong_key_another_federation_and_damage_are_told_apart() {
    let memory = Arc::new(Memory::default());
    let key = FederationKey::random();
    assert!(matches!(open(&memory, &key), Err(Error::NoRepository(_))));
    backup(&new(&memory, &key), Kind::Full, 1, &state(5, 20)).unwrap();
    let before = memory.objects();
    let wrong = open(&memory, &FederationKey::random()).err().unwrap();
    assert!(matches!(&wrong, Error::WrongKey { sealed_under, .. } if *sealed_under == [key.id()]), "{wrong}");
    for key in [key.clone(), FederationKey::random()] {
        let other = Repository::open(memory.clone(), "prod", key).err().unwrap();
        assert!(matches!(&other, Error::OtherFederation { found, .. } if found == FEDERATION), "{other}");
    }
    assert!(matches!(Repository::create(memory.clone(), "prod", key.clone()), Err(Error::Occupied(_))));
    assert_eq!(memory.objects(), before, "nothing changed");
    // The same names in another's repository, under the same key.
    let other = Arc::new(Memory::default());
    drop(Repository::create(other.clone(), "prod", key.clone()).unwrap());
    let mut mixed = before;
    mixed.insert("repository".into(), other.objects()["repository"].clone());
    let mixed = Repository::open(Arc::new(Memory::of(&mixed)), "prod", key).err().unwrap();
    assert!(matches!(&mixed, Error::Damaged(faults) if faults[0].object == "repository"), "{mixed}");
}

#[test]
fn a_key_file_is_its_owners_and_whole() {
    let scratch = Scratch::new("keys");
    let path = scratch.0.join("backup.key");
    let key = FederationKey::random();
    key.write_file(&path).unwrap();
    assert!(key.write_file(&path).is_err(), "a key is never written over");
    assert_eq!(FederationKey::read_file(&path).unwrap().id(), key.id());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = FederationKey::read_file(&path).unwrap_err().to_string();
    assert!(refused.contains("mode 640") && refused.contains("chmod 600"), "{refused}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let digit = if text.ends_with("0\n") { '1' } else { '0' };
    fs::write(&path, format!("{}{digit}\n", &text[..text.len() - 2])).unwrap();
    assert!(FederationKey::read_file(&path).unwrap_err().to_string().contains("no whole key file"));
}

#[test]
fn a_passphrase_opens_what_it_sealed() {
    let memory = Arc::new(Memory::default());
    let cheap = Cost { memory_kib: 64, rounds: 1 };
    let key = new_passphrase(&*memory, "correct horse", cheap).unwrap();
    backup(&new(&memory, &key), Kind::Full, 1, &state(6, 20)).unwrap();
    let found = from_passphrase(&*memory, "correct horse").unwrap();
    assert_eq!(restored(&open(&memory, &found).unwrap(), None).unwrap(), state(6, 20));
    whole(&open(&memory, &found).unwrap());
    assert!(matches!(from_passphrase(&*memory, "wrong horse"), Err(Error::WrongKey { .. })));
    let mut objects = memory.objects();
    let salt = objects.keys().find(|name| name.starts_with("passphrase/")).unwrap().clone();
    objects.get_mut(&salt).unwrap()[30] ^= 1;
    let damaged = from_passphrase(&Memory::of(&objects), "correct horse").unwrap_err();
    assert!(matches!(&damaged, Error::Damaged(faults) if faults[0].object == salt), "{damaged}");
    objects.remove(&salt);
    let lost = from_passphrase(&Memory::of(&objects), "correct horse").unwrap_err().to_string();
    assert!(lost.contains("passphrase/"), "{lost}");
}

#[test]
fn a_difference_counts_and_names_what_a_restore_would_change() {
    let memory = Arc::new(Memory::default());
    let repository = new(&memory, &FederationKey::random());
    let kept = state(7, 100);
    backup(&repository, Kind::Full, 1, &kept).unwrap();
    let same = repository.diff(None, kept.iter().cloned(), 9).unwrap();
    assert_eq!((same.added, same.changed, same.removed, same.same), (0, 0, 0, 300));
    let mut now = kept.clone();
    let gone = now.remove(250);
    change(&mut now, 40..43);
    now.push(Record { group: 7, key: b"new".to_vec(), value: vec![] });
    let found = repository.diff(None, now.iter().cloned(), 2).unwrap();
    assert_eq!((found.added, found.changed, found.removed, found.same), (1, 3, 1, 296));
    assert_eq!(found.names[0], (Change::Changed, 0, kept[40].key.clone()));
    assert_eq!(found.names.len(), 2);
    let all = repository.diff(None, now.into_iter(), 99).unwrap().names;
    assert_eq!(all[3..], [(Change::Added, 2, gone.key), (Change::Removed, 7, b"new".to_vec())]);
    let none = repository.diff(None, std::iter::empty(), 0).unwrap();
    assert_eq!((none.added, none.names.len()), (300, 0));
}

#[test]
fn records_out_of_order_are_refused_and_leave_nothing() {
    let memory = Arc::new(Memory::default());
    let repository = new(&memory, &FederationKey::random());
    let before = memory.objects();
    let mut records = state(8, 9_000);
    records.swap(26_000, 26_001);
    let refused = backup(&repository, Kind::Full, 1, &records).unwrap_err();
    assert!(matches!(refused, Error::Records(_)), "{refused}");
    assert_eq!(memory.objects(), before);
}

#[test]
fn a_folder_never_writes_over_an_object_and_keeps_a_reader_to_its_limit() {
    let scratch = Scratch::new("folder");
    let folder = Folder::open(&scratch.0).unwrap();
    assert!(folder.put_new("log/1", b"one").unwrap());
    assert!(!folder.put_new("log/1", b"two").unwrap());
    assert_eq!(folder.get("log/1", 3).unwrap().unwrap(), b"one");
    assert!(folder.get("log/1", 2).is_err());
    assert!(folder.get("log/2", 9).unwrap().is_none() && folder.get("../x", 9).unwrap().is_none());
    // Of many at once, one is written.
    let wins: usize = std::thread::scope(|scope| {
        let put = |n: u8| folder.put_new("log/race", &[n; 1000]).unwrap();
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || usize::from(put(n)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
    assert!(fs::read_dir(scratch.0.join(".new")).unwrap().next().is_none(), "nothing is left beside");
    folder.delete("log/1").unwrap();
    folder.delete("log/1").unwrap();
    assert_eq!(folder.list("log/").unwrap().len(), 1);
}

//! The store alone: what both engines promise, and what the embedded one does about a damaged file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use dwcp_consensus::{Batch, Disk};
use dwcp_server::log::Log;
use dwcp_server::store::{Opened, Store, StoreError};
use serde_json::json;

use crate::cluster::Cluster;
use crate::medium::Medium;
use crate::scratch::Scratch;

fn put(key: &str, value: &str) -> Batch {
    Batch { puts: vec![(key.into(), value.into())], ..Batch::default() }
}

fn open(folder: &Path) -> Opened {
    Store::open(folder).expect("the store opens")
}

fn keys(store: &Store) -> Vec<String> {
    store.range(b"r", b"s").map(|(key, _)| String::from_utf8(key).expect("text")).collect()
}

/// A store with two hundred records, closed again.
fn filled(folder: &Path) {
    let mut store = open(folder).store;
    for number in 0..200 {
        store.write(&[put(&format!("r{number:03}"), &"x".repeat(300))]).expect("written");
    }
}

/// One of the engines, with a folder of this machine.
struct Kept {
    scratch: Scratch,
    cluster: Option<Cluster>,
}

impl Kept {
    fn embedded(name: &str) -> Kept {
        Kept { scratch: Scratch::new(name), cluster: None }
    }

    fn etcd(name: &str) -> Kept {
        let cluster = Cluster::start(name, 1);
        Kept { scratch: Scratch::new(&format!("{name}-etcd")), cluster: Some(cluster) }
    }

    fn try_open(&self) -> Result<Opened, StoreError> {
        match &self.cluster {
            None => Store::open(self.scratch.path()),
            Some(cluster) => {
                Store::open_etcd(self.scratch.path(), &cluster.place("store"), &Log::silent("test"))
            }
        }
    }

    fn open(&self) -> Opened {
        self.try_open().expect("the store opens")
    }

    /// Everything that is durable, as it is now.
    fn copy(&mut self) -> PathBuf {
        let copy = self.scratch.path().with_extension("copy");
        let _ = fs::remove_dir_all(&copy);
        match &mut self.cluster {
            None => drop(
                fs::create_dir_all(&copy)
                    .and_then(|()| fs::copy(self.scratch.path().join("store.redb"), copy.join("store.redb"))),
            ),
            Some(cluster) => {
                cluster.kill(0);
                let copied = Command::new("cp").arg("-r").args([cluster.folder(0), &copy]).status();
                assert!(copied.expect("cp runs").success());
                cluster.run(0);
            }
        }
        copy
    }

    /// Puts that back.
    fn put_back(&mut self, copy: &Path) {
        match &mut self.cluster {
            None => drop(
                fs::copy(copy.join("store.redb"), self.scratch.path().join("store.redb")).expect("put back"),
            ),
            Some(cluster) => {
                cluster.kill(0);
                fs::remove_dir_all(cluster.folder(0)).expect("removed");
                // The cluster may be on another file system.
                let copied = Command::new("cp").arg("-r").args([copy, cluster.folder(0)]).status();
                assert!(copied.expect("cp runs").success());
                cluster.run(0);
            }
        }
        let _ = fs::remove_dir_all(copy);
    }

    /// All of it is gone, but for what this machine knows of it.
    fn forget(&self) {
        match &self.cluster {
            None => fs::remove_file(self.scratch.path().join("store.redb")).expect("removed"),
            Some(cluster) => {
                // "/test/" to "/test0", in base64.
                drop(cluster.post("kv/deleterange", &json!({"key": "L3Rlc3Qv", "range_end": "L3Rlc3Qw"})));
            }
        }
    }
}

/// What both engines promise.
macro_rules! both {
    ($($name:ident)*) => {
        mod embedded {
            $(#[test] fn $name() { super::$name(super::Kept::embedded(stringify!($name))) })*
        }
        mod in_etcd {
            $(#[test] fn $name() { super::$name(super::Kept::etcd(stringify!($name))) })*
        }
    };
}

both! {
    what_was_written_is_there_after_opening_again
    a_batch_deletes_ranges_then_keys_then_puts
    a_second_process_is_kept_out
    values_and_batches_of_any_size_are_written
    a_store_older_than_what_was_acknowledged_counts_as_lost
    a_store_that_vanished_counts_as_lost
    what_is_read_back_is_one_moment
    everything_is_written_anew_and_nothing_else_is_left
}

fn what_was_written_is_there_after_opening_again(kept: Kept) {
    let mut store = kept.open().store;
    store.write(&[put("r1", "one"), put("r2", "two"), put("r1", "newer")]).expect("written");
    drop(store);
    let opened = kept.open();
    let found: Vec<_> = opened.store.range(b"r", b"s").collect();
    assert_eq!(found, [(b"r1".to_vec(), b"newer".to_vec()), (b"r2".to_vec(), b"two".to_vec())]);
    assert!(!opened.lost && opened.set_aside.is_none());
}

fn a_batch_deletes_ranges_then_keys_then_puts(kept: Kept) {
    let mut store = kept.open().store;
    let all = ["r1", "r2", "r3", "r4"].map(|key| put(key, "old"));
    store.write(&all).expect("written");
    let batch = Batch {
        puts: vec![(b"r2".to_vec(), b"new".to_vec())],
        deletes: vec![b"r4".to_vec(), b"r9".to_vec()],
        delete_ranges: vec![(b"r1".to_vec(), b"r3".to_vec()), (b"r3".to_vec(), b"r3".to_vec())],
    };
    store.write(&[batch]).expect("written");
    assert_eq!(keys(&store), ["r2", "r3"]);
    assert_eq!(store.range(b"r2", b"r3").next().map(|(_, value)| value), Some(b"new".to_vec()));
}

fn a_second_process_is_kept_out(kept: Kept) {
    let _held = kept.open();
    let refused = kept.try_open().err().expect("refused");
    assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
}

fn values_and_batches_of_any_size_are_written(kept: Kept) {
    let mut store = kept.open().store;
    let value = |number: usize, bytes: usize| {
        number.to_le_bytes().into_iter().cycle().take(bytes).collect::<Vec<u8>>()
    };
    let long = Batch { puts: vec![(b"r-long".to_vec(), value(1, 5_000_000))], ..Batch::default() };
    let many: Vec<(Vec<u8>, Vec<u8>)> =
        (0..700).map(|number| (format!("r{number:04}").into_bytes(), value(number, number * 50))).collect();
    store.write(&[long, Batch { puts: many.clone(), ..Batch::default() }]).expect("written");
    let singly: Vec<Batch> = (0..300).map(|number| put(&format!("s{number:03}"), "x")).collect();
    store.write(&singly).expect("written");
    let shorter = Batch {
        puts: vec![(b"r-long".to_vec(), b"short".to_vec())],
        delete_ranges: vec![(b"r0100".to_vec(), b"r0700".to_vec())],
        ..Batch::default()
    };
    store.write(&[shorter]).expect("written");
    drop(store);
    let opened = kept.open();
    assert!(!opened.lost && opened.set_aside.is_none());
    let mut expected = vec![(b"r-long".to_vec(), b"short".to_vec())];
    expected.extend(many[..100].iter().cloned());
    assert!(opened.store.range(b"r", b"s").eq(expected));
    assert_eq!(opened.store.range(b"s", b"t").count(), 300);
}

fn a_store_older_than_what_was_acknowledged_counts_as_lost(mut kept: Kept) {
    kept.open().store.write(&[put("r001", "vote")]).expect("written");
    let older = kept.copy();
    kept.open().store.write(&[put("r999", "vote")]).expect("written");
    kept.put_back(&older);
    let opened = kept.open();
    assert!(opened.lost && keys(&opened.store).is_empty());
    assert!(opened.set_aside.expect("set aside").why.contains("acknowledged"));
    drop(opened.store);
    let again = kept.open();
    assert!(again.lost && again.set_aside.is_none(), "the new one is good, and remembers");
}

fn a_store_that_vanished_counts_as_lost(kept: Kept) {
    kept.open().store.write(&[put("r001", "vote")]).expect("written");
    kept.forget();
    let opened = kept.open();
    assert!(opened.lost && opened.set_aside.expect("set aside").why.contains("gone"));
}

fn what_is_read_back_is_one_moment(kept: Kept) {
    let mut store = kept.open().store;
    store.write(&(0..50).map(|number| put(&format!("r{number}"), "x")).collect::<Vec<_>>()).expect("written");
    let checkup = store.checkup().expect("readable");
    for number in 0..50 {
        store
            .write(&[put(&format!("r{number}"), "another"), put(&format!("q{number}"), "y")])
            .expect("written");
    }
    let check = checkup.run(&[]);
    assert!(check.is_whole(), "{check:?}");
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
}

fn everything_is_written_anew_and_nothing_else_is_left(kept: Kept) {
    let mut store = kept.open().store;
    store
        .write(&(0..300).map(|number| put(&format!("r{number:03}"), "x")).collect::<Vec<_>>())
        .expect("written");
    let all: Vec<_> = store.range(b"r100", b"s").collect();
    store.renew(&Batch { puts: all, ..Batch::default() }).expect("anew");
    store.write(&[put("r999", "after")]).expect("it goes on");
    drop(store);
    let opened = kept.open();
    assert!(!opened.lost && opened.set_aside.is_none());
    assert_eq!(keys(&opened.store).len(), 201);
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_does_no_harm() {
    let scratch = Scratch::new("flip");
    filled(scratch.path());
    let whole = fs::read(scratch.path().join("store.redb")).expect("read");
    let mut found = 0;
    for part in 1..12 {
        let file = File::options().write(true).open(scratch.path().join("store.redb")).expect("open");
        file.write_all_at(&whole, 0).expect("restored");
        let at = whole.len() / 12 * part + 17;
        file.write_all_at(&[whole[at] ^ 4], at as u64).expect("flipped");
        drop(file);
        let opened = open(scratch.path());
        match opened.set_aside {
            Some(_) => {
                found += 1;
                assert!(opened.lost, "a node that lost its store must say so");
            }
            None => assert_eq!(keys(&opened.store).len(), 200, "byte {at}"),
        }
        drop(opened.store);
        // The mark of the original again, as the next round begins with the original file.
        fs::remove_file(scratch.path().join("store.mark")).expect("removed");
    }
    assert!(found > 0, "no flip hit anything");
}

#[test]
fn a_truncated_file_is_set_aside_and_the_state_counts_as_lost() {
    let scratch = Scratch::new("short");
    filled(scratch.path());
    let file = File::options().write(true).open(scratch.path().join("store.redb")).expect("open");
    file.set_len(9_000).expect("cut");
    let opened = open(scratch.path());
    let aside = opened.set_aside.expect("set aside");
    assert!(Path::new(&aside.place).is_file() && !aside.why.is_empty());
    assert!(opened.lost && keys(&opened.store).is_empty());
    drop(opened.store);
    let again = open(scratch.path());
    assert!(again.lost && again.set_aside.is_none(), "the new file is good, and remembers");
}

#[test]
fn a_full_disk_fails_the_write_and_every_later_one() {
    let (medium, full) = Medium::new();
    let mut store = Store::on_medium(medium).expect("opens");
    store.write(&[put("r1", "one")]).expect("written");
    full.store(true, Ordering::SeqCst);
    let large = "x".repeat(100_000);
    let refused = store.write(&[put("r2", &large)]).expect_err("no room");
    assert!(refused.to_string().contains("acknowledged"), "{refused}");
    full.store(false, Ordering::SeqCst);
    assert!(store.write(&[put("r3", "three")]).is_err(), "what is in memory may be ahead of the disk");
}

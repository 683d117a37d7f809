//! The store alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use dwcp_consensus::{Batch, Disk};
use dwcp_server::store::{Opened, Store, StoreError};

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

#[test]
fn what_was_written_is_there_after_opening_again() {
    let scratch = Scratch::new("reopen");
    let mut store = open(scratch.path()).store;
    store.write(&[put("r1", "one"), put("r2", "two"), put("r1", "newer")]).expect("written");
    drop(store);
    let opened = open(scratch.path());
    let found: Vec<_> = opened.store.range(b"r", b"s").collect();
    assert_eq!(found, [(b"r1".to_vec(), b"newer".to_vec()), (b"r2".to_vec(), b"two".to_vec())]);
    assert!(!opened.lost && opened.set_aside.is_none());
}

#[test]
fn a_batch_deletes_ranges_then_keys_then_puts() {
    let scratch = Scratch::new("order");
    let mut store = open(scratch.path()).store;
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

#[test]
fn a_second_process_is_kept_out() {
    let scratch = Scratch::new("second");
    let _held = open(scratch.path());
    let refused = Store::open(scratch.path()).err().expect("refused");
    assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
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
    let (aside, why) = opened.set_aside.expect("set aside");
    assert!(aside.is_file() && !why.is_empty());
    assert!(opened.lost && keys(&opened.store).is_empty());
    drop(opened.store);
    let again = open(scratch.path());
    assert!(again.lost && again.set_aside.is_none(), "the new file is good, and remembers");
}

#[test]
fn a_store_older_than_what_was_acknowledged_counts_as_lost() {
    let scratch = Scratch::new("older");
    filled(scratch.path());
    let older = fs::read(scratch.path().join("store.redb")).expect("read");
    open(scratch.path()).store.write(&[put("r999", "vote")]).expect("written");
    fs::write(scratch.path().join("store.redb"), older).expect("put back");
    let opened = open(scratch.path());
    assert!(opened.lost);
    assert!(opened.set_aside.expect("set aside").1.contains("acknowledged"));
}

#[test]
fn a_store_that_vanished_counts_as_lost() {
    let scratch = Scratch::new("gone");
    filled(scratch.path());
    fs::remove_file(scratch.path().join("store.redb")).expect("removed");
    assert!(open(scratch.path()).lost);
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

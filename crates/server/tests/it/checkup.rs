//! The store read back from its disk while it is in use, and its file made anew.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use dwcp_consensus::{Batch, Disk};
use dwcp_server::store::Store;

use crate::scratch::Scratch;

fn put(number: u32, bytes: usize) -> Batch {
    let value = number.to_le_bytes().into_iter().cycle().take(bytes).collect();
    Batch { puts: vec![(format!("r{number:05}").into_bytes(), value)], ..Batch::default() }
}

/// A store in use, with four hundred records and some that are gone.
fn used(folder: &Path) -> Store {
    let mut store = Store::open(folder).expect("it opens").store;
    for number in 0..600 {
        store.write(&[put(number, 300)]).expect("written");
    }
    let gone = Batch { delete_ranges: vec![(b"r00100".to_vec(), b"r00300".to_vec())], ..Batch::default() };
    store.write(&[gone]).expect("written");
    store
}

fn flip(folder: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(folder.join("store.redb")).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 4], at).expect("flipped");
    file.sync_all().expect("synced");
}

/// Whether a process that started on this file now would set it aside.
fn a_start_would_find_it(folder: &Path, copy: &Path) -> bool {
    let _ = fs::remove_dir_all(copy);
    fs::create_dir_all(copy).expect("a folder");
    for name in ["store.redb", "store.mark"] {
        fs::copy(folder.join(name), copy.join(name)).expect("copied");
    }
    Store::open(copy).expect("it opens").set_aside.is_some()
}

#[test]
fn a_byte_changed_behind_the_process_is_found_exactly_where_a_start_would_find_it() {
    let scratch = Scratch::new("checkup");
    let folder = scratch.path().join("used");
    let store = used(&folder);
    let whole = store.checkup().expect("readable").run(&[]);
    assert_eq!(whole.flaws, vec![]);
    let length = fs::metadata(folder.join("store.redb")).expect("there").len();
    assert_eq!(whole.file_bytes, length);
    let (mut found, parts) = (0, 48);
    for part in 0..parts {
        let at = length / parts * part + 41;
        flip(&folder, at);
        let check = store.checkup().expect("readable").run(&[]);
        let expected = a_start_would_find_it(&folder, &scratch.path().join("copy"));
        assert_eq!(!check.is_whole(), expected, "byte {at} of {length}: {:?}", check.flaws);
        found += u32::from(expected);
        flip(&folder, at);
    }
    assert!(found >= 4, "{found} of {parts} flips hit something");
    assert!(store.checkup().expect("readable").run(&[]).is_whole(), "all flips are undone");
}

#[test]
fn what_is_read_back_is_one_moment_however_much_is_written_meanwhile() {
    let scratch = Scratch::new("moment");
    let mut store = used(scratch.path());
    for round in 0..8 {
        let checkup = store.checkup().expect("readable");
        let before = fs::metadata(scratch.path().join("store.redb")).expect("there").len();
        for number in 0..60 {
            // The file grows, and shrinks again.
            let size = if round % 2 == 0 { 40_000 } else { 10 };
            store.write(&[put(1_000 + number, size)]).expect("written");
        }
        let check = checkup.run(&[]);
        assert_eq!((check.flaws, check.file_bytes), (vec![], before), "round {round}");
    }
}

#[test]
fn a_read_back_that_would_keep_too_much_says_so_and_the_store_goes_on() {
    let scratch = Scratch::new("much");
    let mut store = used(scratch.path());
    let big = |store: &mut Store, byte: u8| {
        for number in 0..40 {
            let puts = vec![(format!("r9{number:03}").into_bytes(), vec![byte; 1 << 20])];
            store.write(&[Batch { puts, ..Batch::default() }]).expect("written");
        }
    };
    big(&mut store, 1);
    let checkup = store.checkup().expect("readable");
    for byte in 2..6 {
        big(&mut store, byte);
    }
    let check = checkup.run(&[]);
    assert!(check.unread.contains("written meanwhile"), "{check:?}");
    assert!(check.flaws.is_empty() && !check.is_whole(), "not read is neither damaged nor whole: {check:?}");
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
}

#[test]
fn a_damaged_file_is_replaced_by_a_new_one_while_the_store_is_in_use() {
    let scratch = Scratch::new("renew");
    let mut store = used(scratch.path());
    let all: Vec<(Vec<u8>, Vec<u8>)> = store.range(b"r", b"s").collect();
    let length = fs::metadata(scratch.path().join("store.redb")).expect("there").len();
    for part in 1..400 {
        flip(scratch.path(), length / 400 * part + 41);
    }
    assert!(!store.checkup().expect("readable").run(&[]).is_whole());
    let commits = store.commits();
    store.renew(&Batch { puts: all.clone(), ..Batch::default() }).expect("a new file");
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
    assert_eq!(store.commits(), commits + 1);
    assert!(scratch.path().join("store.replaced").is_file());
    store.write(&[put(7, 10)]).expect("it goes on");
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
    drop(store);
    let opened = Store::open(scratch.path()).expect("it opens");
    assert!(!opened.lost && opened.set_aside.is_none(), "nothing acknowledged is missing");
    assert_eq!(opened.store.range(b"r", b"s").count(), all.len());
    let mut store = opened.store;
    store.renew(&Batch { puts: all, ..Batch::default() }).expect("and once more");
    assert!(!scratch.path().join("store.new").exists());
}

#[test]
fn a_file_that_can_not_be_made_anew_leaves_the_old_one_in_use() {
    let scratch = Scratch::new("no-renew");
    let mut store = used(scratch.path());
    // A folder of that name can be neither removed as a file nor opened as one.
    fs::create_dir(scratch.path().join("store.new")).expect("made");
    assert!(store.renew(&put(1, 10)).is_err());
    store.write(&[put(8, 10)]).expect("it goes on");
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
}

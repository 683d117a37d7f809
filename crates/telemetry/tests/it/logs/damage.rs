//! Flipped bytes and cut files.

use std::fs;
use std::path::Path;

use dwcp_telemetry::logs::{Limits, Order, Query, Store};

use super::{Scratch, all, asked, files, line, open, origin, small};

const MANY: Query = Query {
    components: Vec::new(),
    levels: Vec::new(),
    kinds: dwcp_telemetry::logs::Kinds::Lines,
    since_ms: None,
    until_ms: None,
    region: None,
    grep: None,
    request_id: None,
    operation_id: None,
    trace: None,
    limit: usize::MAX,
    order: Order::OldestFirst,
    cursor: None,
    copies: true,
    max_bytes: u64::MAX,
    refuse: false,
};

fn filled(folder: &Path) {
    let store = open(folder, Limits { segment_bytes: 700, ..small() });
    for number in 1..=100 {
        store.append([line(number, "agent", &format!("line {number} {number:x}"))]).expect("written");
    }
    store.sync().expect("synced");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_flipped_byte_anywhere_is_named_and_the_rest_is_read() {
    let scratch = Scratch::new("flip");
    let whole = scratch.0.join("whole");
    filled(&whole);
    let place = whole.join("eu-west-1");
    let mut names: Vec<_> =
        fs::read_dir(&place).expect("a folder").map(|e| e.expect("one").file_name()).collect();
    names.retain(|name| name != "dropped");
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    let before = all(&open(&whole, small()));
    for name in names {
        let length = fs::metadata(place.join(&name)).expect("a file").len() as usize;
        for at in (0..length).step_by(7) {
            let copy = scratch.0.join("copy");
            fs::create_dir_all(copy.join("eu-west-1")).expect("a folder");
            fs::copy(whole.join("own"), copy.join("own")).expect("copied");
            for entry in fs::read_dir(&place).expect("a folder") {
                let entry = entry.expect("an entry");
                fs::copy(entry.path(), copy.join("eu-west-1").join(entry.file_name())).expect("copied");
            }
            let damaged = copy.join("eu-west-1").join(&name);
            flip(&damaged, at);
            let store = open(&copy, small());
            let page = asked(&store, &MANY);
            let faults = [store.take_faults(), page.faults].concat();
            let named = faults.iter().any(|fault| fault.file.file_stem() == damaged.file_stem());
            assert!(named, "{name:?} at {at}: {faults:?}");
            // One block at most is lost; nothing is made up.
            assert!(page.records.len() >= before.len() - 50, "{} at {at} of {name:?}", page.records.len());
            assert!(page.records.iter().all(|record| before[record.seq as usize - 1] == *record));
            // It can still be written to, with numbers that were not used.
            let next = store.append([line(101, "agent", "next")]).expect("written");
            assert!(page.records.iter().all(|record| record.seq < next));
            drop(store);
            fs::remove_dir_all(&copy).expect("removed");
        }
    }
}

#[test]
fn a_torn_end_is_cut_and_said() {
    let scratch = Scratch::new("torn");
    filled(&scratch.0);
    let active = files(&scratch.0, "eu-west-1", "log").remove(0);
    let bytes = fs::read(&active).expect("a file");
    fs::write(&active, &bytes[..bytes.len() - 3]).expect("written");
    let store = open(&scratch.0, small());
    let faults = store.take_faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().contains("were no whole block, and were cut"), "{}", faults[0]);
    assert_eq!(all(&store).len(), 99);
    // The number of what was cut is not given again: it may have been shipped.
    let next = store.append([line(100, "agent", "again")]).expect("written");
    assert_eq!(next, 100 + (1 << 20));
    store.sync().expect("synced");
    let shipment = store.after(store.origin(), 98, 10).expect("records");
    assert_eq!((shipment.from, shipment.through, shipment.records.len()), (99, next, 2));
    drop(store);
    let store = open(&scratch.0, small());
    assert_eq!((store.take_faults(), store.gaps(store.origin())), (vec![], vec![]));
}

#[test]
fn a_folder_of_another_region_is_refused() {
    let scratch = Scratch::new("other");
    filled(&scratch.0);
    assert!(Store::open(&scratch.0, &origin("us-east-1"), small()).is_err());
    // The name that it began with stays.
    let store = Store::open(&scratch.0, &origin("eu-west-1@later"), small()).expect("a store");
    assert_eq!(store.origin().as_str(), "eu-west-1");
}

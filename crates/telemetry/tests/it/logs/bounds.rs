//! How much is kept.

use dwcp_telemetry::logs::{Limits, Query};

use super::{Scratch, all, asked, files, line, open};

fn limits(floor: u64) -> Limits {
    let floors = if floor > 0 { [("security".to_owned(), floor)].into() } else { Default::default() };
    Limits { segment_bytes: 20_000, log_bytes: 60_000, age_ms: 1_000_000, floors }
}

/// Text that does not compress well.
fn noise(number: u64) -> String {
    let mut rng = dwcp_types::Rng::new(number);
    (0..12).map(|_| format!("{:016x}", rng.next_u64())).collect()
}

#[test]
fn the_oldest_go_first_and_the_log_stays_within_its_bound() {
    let scratch = Scratch::new("bound");
    let store = open(&scratch.0, limits(0));
    for number in 0..2_000 {
        store.append([line(number, "agent", &noise(number as u64))]).expect("written");
    }
    store.retain(2_000).expect("bounded");
    assert!(store.bytes() <= 60_000, "{}", store.bytes());
    let kept = all(&store);
    assert!(kept.len() > 100);
    let first = kept[0].seq;
    assert_eq!(kept.iter().map(|record| record.seq).collect::<Vec<_>>(), (first..=2_000).collect::<Vec<_>>());
    assert_eq!(store.gaps(store.origin()), []);
    drop(store);
    // Numbers go on, also when everything is gone.
    let store = open(&scratch.0, limits(0));
    assert_eq!(all(&store).len(), kept.len());
    store.retain(2_000_000).expect("bounded");
    assert_eq!((all(&store).len(), store.bytes()), (0, 0));
    drop(store);
    let store = open(&scratch.0, limits(0));
    assert!(store.append([line(0, "agent", "next")]).expect("written") > 2_000);
    assert_eq!(store.take_faults(), []);
}

#[test]
fn a_chatty_component_does_not_push_out_another_ones_floor() {
    let scratch = Scratch::new("floor");
    let store = open(&scratch.0, limits(5_000));
    for number in 0..4_000 {
        store.append([line(number, "agent", &noise(number as u64))]).expect("written");
        if number % 100 == 0 {
            store.append([line(number, "security", &format!("login {number}"))]).expect("written");
        }
    }
    store.retain(4_000).expect("bounded");
    assert!(store.bytes() <= 60_000, "{}", store.bytes());
    let security = Query { components: vec!["security".into()], ..Query::default() };
    let kept = asked(&store, &security).records;
    assert_eq!(kept.len(), 40);
    assert!(all(&store)[0].entry.component.as_ref() == "security");
    assert!(files(&scratch.0, "eu-west-1", "seg").len() < 20, "thinned files are joined");
    drop(store);
    let store = open(&scratch.0, limits(5_000));
    assert_eq!(asked(&store, &security).records, kept);
    assert_eq!(store.take_faults(), []);
    // A shipment tells of what is not there any more.
    let shipment = store.after(store.origin(), 0, 10).expect("records");
    assert_eq!((shipment.from, shipment.records.len()), (1, 10));
    assert!(shipment.records.iter().all(|record| &*record.entry.component == "security"));
}

#[test]
fn floors_larger_than_the_log_do_not_make_it_longer() {
    let scratch = Scratch::new("large-floor");
    let store = open(&scratch.0, limits(1 << 30));
    for number in 0..2_000 {
        store.append([line(number, "security", &noise(number as u64))]).expect("written");
    }
    store.retain(2_000).expect("bounded");
    assert!(store.bytes() <= 60_000, "{}", store.bytes());
    assert_eq!(all(&store).last().expect("a record").seq, 2_000);
}

#[test]
fn what_is_too_old_goes_whatever_it_is() {
    let scratch = Scratch::new("age");
    let store = open(&scratch.0, limits(5_000));
    store.append([line(5, "security", "old")]).expect("written");
    store.retain(1_000_005).expect("bounded");
    assert_eq!(all(&store).len(), 1);
    store.retain(1_000_006).expect("bounded");
    assert_eq!(all(&store).len(), 0);
}

#[test]
fn a_crash_while_a_file_is_replaced_leaves_each_record_once() {
    let scratch = Scratch::new("replace");
    let store = open(&scratch.0, limits(0));
    store.append([line(1, "agent", "one")]).expect("written");
    let active = files(&scratch.0, "eu-west-1", "log").remove(0);
    let before = std::fs::read(&active).expect("a file");
    for number in 2..300 {
        store.append([line(number, "agent", &noise(number as u64))]).expect("written");
    }
    let whole = all(&store);
    drop(store);
    assert!(!active.exists(), "it was closed");
    // As after a crash before the old file was removed, and while another was written.
    std::fs::write(&active, before).expect("written");
    std::fs::write(active.with_file_name("00000009-00000008.tmp"), b"half").expect("written");
    let store = open(&scratch.0, limits(0));
    assert_eq!(all(&store), whole);
    assert!(!active.exists() && files(&scratch.0, "eu-west-1", "tmp").is_empty());
    assert_eq!(store.take_faults(), []);
}

//! What is taken in and what is refused.

use std::sync::Arc;

use dwcp_telemetry::model::{Labels, Matcher};
use dwcp_telemetry::store::{Config, Reason, SeriesRef, Store};

use super::memory::Memory;
use super::{open, read, read_one, row, series, small};

const NOW: i64 = 1_000_000;

#[test]
fn samples_out_of_order_are_taken_within_the_window_and_older_ones_refused() {
    let (disk, counter) = (Memory::default(), series("requests_total", 1));
    let store = open(&disk, small(), NOW);
    let append = |at_ms: i64| store.append(&[row(&counter, at_ms, at_ms as f64)], NOW).expect("kept").refused;
    for at_ms in [NOW, NOW - 20_000, NOW - 10_000, NOW - 15_000, NOW - 1] {
        assert_eq!(append(at_ms), []);
    }
    assert_eq!(append(NOW - 20_001), [(0, Reason::TooOld)]);
    let times: Vec<i64> =
        read_one(&store, Matcher::equal("job", "node")).iter().map(|sample| sample.0).collect();
    assert_eq!(times, [NOW - 20_000, NOW - 15_000, NOW - 10_000, NOW - 1, NOW]);
    let refused = store.stats().refused;
    assert!(refused.contains(&(Reason::TooOld, 1)), "{refused:?}");
}

#[test]
fn what_would_be_removed_at_once_is_not_taken_in() {
    let (disk, counter) = (Memory::default(), series("requests_total", 1));
    let store = open(&disk, small(), NOW);
    for at_ms in [i64::MIN, 0, NOW - 480_001] {
        let refused = store.append(&[row(&counter, at_ms, 1.0)], NOW).expect("kept").refused;
        assert_eq!(refused, [(0, Reason::TooOld)]);
    }
    assert_eq!(store.append(&[row(&counter, NOW - 480_000, 1.0)], NOW).expect("kept").added, 1);
}

#[test]
fn a_sample_ahead_of_the_clock_does_not_make_the_others_too_old() {
    let (disk, one, other) = (Memory::default(), series("up", 1), series("up", 2));
    let store = open(&disk, small(), NOW);
    let append =
        |series: &SeriesRef, at_ms: i64| store.append(&[row(series, at_ms, 1.0)], NOW).expect("kept").refused;
    assert_eq!(append(&one, NOW + 10_000), []);
    assert_eq!(append(&one, NOW + 10_001), [(0, Reason::TooFarAhead)]);
    assert_eq!(append(&other, NOW - 20_000), []);
}

#[test]
fn the_same_moment_again_is_ignored_with_the_same_value_and_refused_with_another() {
    let (disk, gauge) = (Memory::default(), series("temperature", 1));
    let store = open(&disk, small(), NOW);
    let append = |at_ms: i64, value: f64| store.append(&[row(&gauge, at_ms, value)], NOW).expect("kept");
    for (at_ms, value) in [(NOW - 100, 0.0), (NOW - 50, f64::NAN), (NOW, 2.0)] {
        assert_eq!(append(at_ms, value).added, 1);
    }
    for (at_ms, value) in [(NOW - 100, 0.0), (NOW - 50, f64::NAN), (NOW, 2.0)] {
        assert_eq!(append(at_ms, value).same, 1);
        assert_eq!(append(at_ms, -value).refused, [(0, Reason::Conflict)]);
    }
    let all = read_one(&store, Matcher::equal("__name__", "temperature"));
    assert_eq!((all.len(), all[0].1.to_bits(), all[2].1), (3, 0, 2.0));
}

#[test]
fn a_configuration_that_does_not_work_is_refused_with_what_would() {
    let wrong = [
        Config { block_ms: 65_000, ..small() },
        Config { coarse_ms: 0, ..small() },
        Config { series_max: 1 << 25, ..small() },
        Config { buckets_max: 1_001, ..small() },
    ];
    for config in wrong {
        let refused = Store::open(Arc::new(Memory::default()), config, NOW).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("at most")));
    }
}

#[test]
fn a_label_bomb_is_refused_and_everything_else_of_the_batch_is_kept() {
    let disk = Memory::default();
    let config =
        Config { series_max: 3, labels_max: 3, value_bytes_max: 10, series_bytes_max: 40, ..small() };
    let store = open(&disk, config, NOW);
    let labels = |pairs: &[(&str, &str)]| SeriesRef::new(Labels::new(pairs.iter().copied()));
    let all = [
        labels(&[("__name__", "up")]),
        labels(&[]),
        labels(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]),
        labels(&[("a", "12345678901")]),
        labels(&[("a_name_of_some_length", "1234567890"), ("another", "1234567890")]),
        labels(&[("a", "1234567890")]),
        labels(&[("a", "2")]),
        labels(&[("a", "3")]),
    ];
    let rows: Vec<_> = all.iter().map(|series| row(series, NOW, 1.0)).collect();
    let appended = store.append(&rows, NOW).expect("kept");
    let expected = [
        (1, Reason::LabelCount),
        (2, Reason::LabelCount),
        (3, Reason::LabelLength),
        (4, Reason::LabelLength),
        (7, Reason::TooManySeries),
    ];
    assert_eq!((appended.added, appended.refused.as_slice()), (3, expected.as_slice()));
    assert_eq!(read(&store).len(), 3);
    assert!(expected.iter().all(|(_, reason)| reason.to_string().contains("may be")));
}

#[test]
fn a_reference_stays_good_when_its_series_went_and_in_another_store() {
    let (disk, ended, other) = (Memory::default(), series("up", 1), series("up", 2));
    let store = open(&disk, small(), 0);
    store.append(&[row(&ended, 0, 1.0)], 0).expect("kept");
    for n in 0..20 {
        let now_ms = 10_000 * n;
        store.append(&[row(&other, now_ms, 2.0)], now_ms).expect("kept");
        store.maintain(now_ms);
    }
    assert_eq!(store.stats().series, 1);
    // Its place may be another's now.
    let newcomer = series("up", 3);
    store.append(&[row(&newcomer, 200_000, 3.0)], 200_000).expect("kept");
    store.append(&[row(&ended, 200_000, 4.0)], 200_000).expect("kept");
    let of = |instance: &str| read_one(&store, Matcher::equal("instance", instance));
    assert_eq!((of("host-1"), of("host-3")), (vec![(0, 1.0), (200_000, 4.0)], vec![(200_000, 3.0)]));
    let second = open(&Memory::default(), small(), 0);
    second.append(&[row(&newcomer, 200_000, 5.0)], 200_000).expect("kept");
    assert_eq!(read(&second)[0].labels, *newcomer.labels());
}

//! What is read: by matchers, by time, from fine and coarse samples, and not more than may be.

use dwcp_telemetry::model::{Matcher, Select, Source, SourceError};
use dwcp_telemetry::store::{Config, Store};

use super::memory::Memory;
use super::{everything, open, read, row, series, small};

/// Two metrics of ten hosts, every second, over blocks and memory.
fn filled(seconds: i64, config: Config) -> Store {
    let store = open(&Memory::default(), config, 0);
    let hosts = (0..10).flat_map(|n| [series("up", n), series("requests_total", n)]);
    let all: Vec<_> = hosts.collect();
    for n in 0..seconds {
        let rows: Vec<_> = all.iter().map(|series| row(series, n * 1_000, n as f64)).collect();
        assert_eq!(store.append(&rows, n * 1_000).expect("kept").refused, []);
        assert_eq!(store.maintain(n * 1_000).problems, []);
    }
    store
}

fn names(store: &Store, matchers: Vec<Matcher>) -> Vec<String> {
    let all = store.series(&matchers, 0, i64::MAX).expect("what is kept");
    let selected = store.select(&Select { matchers, ..everything() }).expect("what is kept");
    let labels: Vec<_> = selected.series.into_iter().map(|series| series.labels).collect();
    assert_eq!(labels, all);
    all.iter().map(|labels| format!("{} {}", labels.name(), labels.get("instance"))).collect()
}

#[test]
fn series_are_found_by_every_kind_of_matcher() {
    let store = filled(100, small());
    let regex = |name, pattern, not| Matcher::regex(name, pattern, not).expect("a pattern");
    let up = || Matcher::equal("__name__", "up");
    assert_eq!(names(&store, vec![up(), Matcher::equal("instance", "host-3")]), ["up host-3"]);
    assert_eq!(names(&store, vec![up(), regex("instance", "host-[23]", false)]), ["up host-2", "up host-3"]);
    assert_eq!(names(&store, vec![up(), regex("instance", "host-[1-9]", true)]), ["up host-0"]);
    assert_eq!(
        names(&store, vec![regex("instance", "host-9", false)]),
        ["requests_total host-9", "up host-9"]
    );
    assert_eq!(names(&store, vec![up(), Matcher::equal("zone", "")]).len(), 10);
    assert_eq!(names(&store, vec![up(), regex("zone", ".+", false)]).len(), 0);
    assert_eq!(names(&store, vec![Matcher::equal("instance", "host-10")]).len(), 0);
    assert_eq!(names(&store, Vec::new()).len(), 20);
    assert_eq!(store.label_names(&[], 0, i64::MAX).expect("names"), ["__name__", "instance", "job"]);
    assert_eq!(store.label_values("__name__", &[], 0, i64::MAX).expect("values"), ["requests_total", "up"]);
    let of_one = [Matcher::equal("instance", "host-1"), up()];
    assert_eq!(store.label_values("__name__", &of_one, 0, i64::MAX).expect("values"), ["up"]);
    assert_eq!(store.label_values("zone", &[], 0, i64::MAX).expect("values"), [""; 0]);
}

#[test]
fn only_what_lies_in_the_time_is_read_both_ends_included() {
    let store = filled(150, small());
    assert!(store.stats().fine_blocks > 0 && store.stats().head_samples > 0);
    for (start_ms, end_ms) in
        [(0, 0), (59_000, 60_000), (10_500, 140_000), (149_000, 500_000), (200_000, 300_000)]
    {
        let matchers = vec![Matcher::equal("__name__", "up"), Matcher::equal("instance", "host-4")];
        let selected =
            store.select(&Select { matchers, start_ms, end_ms, ..everything() }).expect("what is kept");
        let times: Vec<i64> =
            selected.series.iter().flat_map(|series| &series.samples).map(|sample| sample.at_ms).collect();
        let expected: Vec<i64> =
            (0..150).map(|n| n * 1_000).filter(|at_ms| (start_ms..=end_ms).contains(at_ms)).collect();
        assert_eq!(times, expected);
    }
}

#[test]
fn what_would_be_too_much_is_refused_with_its_cost() {
    let store = filled(150, small());
    let select = |start_ms: i64, end_ms: i64, max_samples: u64| {
        store
            .select(&Select { start_ms, end_ms, max_samples, ..everything() })
            .map(|selected| selected.series.len())
    };
    assert_eq!(select(0, 150_000, 3_000), Ok(20));
    assert_eq!(select(0, 150_000, 2_999), Err(SourceError::TooMuch { samples: 3_000, limit: 2_999 }));
    assert_eq!(select(5_000, 8_000, 80), Ok(20));
    let Err(SourceError::TooMuch { samples, limit: 10 }) = select(5_000, 8_000, 10) else {
        panic!("too much")
    };
    assert!((60..=100).contains(&samples), "{samples}");
}

#[test]
fn what_is_old_is_read_from_coarse_samples_and_so_is_what_is_asked_for_coarsely() {
    let config = Config { fine_retention_ms: 240_000, ..small() };
    let store = filled(1_100, config);
    let stats = store.stats();
    assert!(stats.coarse_blocks > 0 && stats.coarse_samples < stats.fine_samples, "{stats:?}");
    let times = |step_ms: i64| -> Vec<i64> {
        let matchers = vec![Matcher::equal("__name__", "up"), Matcher::equal("instance", "host-4")];
        let mut selected = store.select(&Select { matchers, step_ms, ..everything() }).expect("what is kept");
        selected.series.remove(0).samples.iter().map(|sample| sample.at_ms).collect()
    };
    let fine_from_ms = 720_000;
    let expected = |coarse_to_ms: i64| -> Vec<i64> {
        let coarse = (1..=coarse_to_ms / 10_000).map(|n| n * 10_000 - 1_000);
        coarse.chain((coarse_to_ms / 1_000..1_100).map(|n| n * 1_000)).collect()
    };
    assert_eq!(times(0), expected(fine_from_ms));
    assert_eq!(times(19_999), expected(fine_from_ms));
    assert_eq!(times(20_000), expected(960_000));
}

#[test]
fn the_oldest_blocks_go_first_when_all_are_too_large() {
    let unbounded = filled(900, small()).stats();
    let limit = (unbounded.fine_bytes + unbounded.coarse_bytes) / 2;
    let store = filled(900, Config { blocks_bytes_max: Some(limit), ..small() });
    let stats = store.stats();
    assert!(stats.fine_bytes + stats.coarse_bytes <= limit, "{stats:?}");
    let oldest = read(&store)[0].samples[0].at_ms;
    assert!((240_000..900_000).contains(&oldest), "{oldest}");
}

//! The metric store.

mod crashes;
mod damage;
mod full;
mod memory;
mod model;
mod reading;
mod side_by_side;
mod taking;

use std::sync::Arc;

use dwcp_telemetry::model::{Labels, Matcher, Select, Series, Source, Value};
use dwcp_telemetry::store::{Config, Fsync, Row, SeriesRef, Store};
use memory::Memory;

/// Spans small enough for a test.
pub fn small() -> Config {
    Config {
        window_ms: 20_000,
        ahead_ms: 10_000,
        block_ms: 60_000,
        compacted_ms: 240_000,
        coarse_ms: 10_000,
        coarse_compacted_ms: 960_000,
        fine_retention_ms: 480_000,
        coarse_retention_ms: 3_000_000,
        fsync: Fsync::EachBatch,
        segment_bytes: 4 << 10,
        ..Config::default()
    }
}

pub fn open(disk: &Memory, config: Config, now_ms: i64) -> Store {
    Store::open(Arc::new(disk.clone()), config, now_ms).expect("a store").0
}

pub fn series(name: &str, instance: u64) -> SeriesRef {
    let instance = format!("host-{instance}");
    SeriesRef::new(Labels::new([("__name__", name), ("instance", &instance), ("job", "node")]))
}

pub fn row(series: &SeriesRef, at_ms: i64, value: f64) -> Row<'_> {
    Row { series, at_ms, value: Value::Float(value) }
}

pub fn everything() -> Select {
    Select { matchers: Vec::new(), start_ms: i64::MIN, end_ms: i64::MAX, step_ms: 0, max_samples: u64::MAX }
}

/// All there is, which must be whole.
pub fn read(store: &Store) -> Vec<Series> {
    let read = store.select(&everything()).expect("what is kept");
    assert_eq!(read.warnings, Vec::<String>::new());
    read.series
}

/// Times and values of the only series that fulfils a matcher.
pub fn read_one(store: &Store, matcher: Matcher) -> Vec<(i64, f64)> {
    let read = store.select(&Select { matchers: vec![matcher], ..everything() }).expect("what is kept");
    assert!(read.series.len() <= 1 && read.warnings.is_empty(), "{read:?}");
    let samples = read.series.into_iter().flat_map(|series| series.samples);
    samples
        .map(|sample| match sample.value {
            Value::Float(number) => (sample.at_ms, number),
            Value::Histogram(_) => panic!("a histogram"),
        })
        .collect()
}

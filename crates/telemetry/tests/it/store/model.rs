//! The store against a plain map: random batches in and out of order, flushed, put together, thinned out, opened again.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwcp_telemetry::model::{Bucket, Histogram, Labels, Series, Value};
use dwcp_telemetry::store::{Config, Reason, Row, SeriesRef, Store};
use dwcp_types::Rng;

use super::memory::Memory;
use super::{open, read, series, small};

/// What the store should hold.
#[derive(Default)]
pub struct Model {
    pub series: BTreeMap<Labels, BTreeMap<i64, Value>>,
    pub newest_ms: Option<i64>,
}

pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

impl Model {
    fn floor_ms(&self, config: &Config) -> i64 {
        self.newest_ms.map_or(i64::MIN, |newest| newest - config.window_ms)
    }

    /// What should become of a row: whether it is new, or why it is refused.
    fn judge(&self, row: &Row<'_>, config: &Config) -> Result<bool, Reason> {
        if row.at_ms < self.floor_ms(config) {
            return Err(Reason::TooOld);
        }
        match self.series.get(row.series.labels()).and_then(|samples| samples.get(&row.at_ms)) {
            None => Ok(true),
            Some(known) if same(known, &row.value) => Ok(false),
            Some(_) => Err(Reason::Conflict),
        }
    }

    pub fn keep(&mut self, labels: &Labels, at_ms: i64, value: &Value) {
        self.series.entry(labels.clone()).or_default().insert(at_ms, value.clone());
        self.newest_ms = Some(self.newest_ms.map_or(at_ms, |newest| newest.max(at_ms)));
    }

    /// Appends to both, and compares what they say.
    pub fn append(&mut self, store: &Store, rows: &[Row<'_>], now_ms: i64, config: &Config) {
        let appended = store.append(rows, now_ms).expect("a disk that works");
        let floor_ms = self.floor_ms(config);
        let (mut added, mut same, mut refused) = (0, 0, Vec::new());
        for (number, row) in rows.iter().enumerate() {
            // How old a row may be is measured before the batch.
            let judged = if row.at_ms < floor_ms {
                Err(Reason::TooOld)
            } else {
                self.judge(row, &Config { window_ms: i64::MAX / 2, ..config.clone() })
            };
            match judged {
                Ok(true) => {
                    added += 1;
                    self.keep(row.series.labels(), row.at_ms, &row.value);
                }
                Ok(false) => same += 1,
                Err(reason) => refused.push((number, reason)),
            }
        }
        let mut said = appended.refused.clone();
        said.sort();
        assert_eq!((appended.added, appended.same, said), (added, same, refused));
    }

    /// The store holds what the model does: all of the last time, of what is older at least the last of each window.
    pub fn compare(&self, store: &Store, config: &Config) {
        let newest_ms = self.newest_ms.unwrap_or(0);
        let found = read(store);
        let mut missing: Vec<&Labels> = self.series.keys().collect();
        for Series { labels, samples } in &found {
            missing.retain(|known| *known != labels);
            let known =
                self.series.get(labels).unwrap_or_else(|| panic!("nothing was ever said of {labels}"));
            assert!(samples.is_sorted_by(|left, right| left.at_ms < right.at_ms), "{labels}: {samples:?}");
            for sample in samples {
                let value = known.get(&sample.at_ms);
                assert!(
                    value.is_some_and(|value| same(value, &sample.value)),
                    "{labels}: {sample:?}, not {value:?}"
                );
            }
            let times: Vec<i64> = samples.iter().map(|sample| sample.at_ms).collect();
            for at_ms in self.kept(known, newest_ms, config) {
                assert!(times.binary_search(&at_ms).is_ok(), "{labels}: {at_ms} is lost, newest {newest_ms}");
            }
        }
        for labels in missing {
            assert_eq!(self.kept(&self.series[labels], newest_ms, config), [0; 0], "{labels} is lost");
        }
    }

    /// The moments that must be there.
    fn kept(&self, samples: &BTreeMap<i64, Value>, newest_ms: i64, config: &Config) -> Vec<i64> {
        let fine_from_ms = newest_ms - config.fine_retention_ms;
        let coarse_from_ms = newest_ms - config.coarse_retention_ms;
        let mut windows: BTreeMap<i64, Vec<(i64, bool)>> = BTreeMap::new();
        for (at_ms, value) in samples.range(coarse_from_ms..fine_from_ms) {
            windows.entry(at_ms.div_euclid(config.coarse_ms)).or_default().push((*at_ms, value.is_stale()));
        }
        // The first window may have begun before: it is left out.
        let last = windows.into_values().skip(1).flat_map(|window| {
            let end = window.last().copied();
            let before = window
                .iter()
                .rev()
                .find(|(_, stale)| !stale)
                .copied()
                .filter(|_| end.is_some_and(|end| end.1));
            before.into_iter().chain(end).map(|(at_ms, _)| at_ms).collect::<Vec<_>>()
        });
        last.chain(samples.range(fine_from_ms..).map(|(at_ms, _)| *at_ms)).collect()
    }
}

pub fn random_value(rng: &mut Rng) -> Value {
    match rng.below(12) {
        0 => Value::stale(),
        1 => Value::Float(f64::from_bits(rng.next_u64())),
        2 => Value::Float([f64::NAN, f64::INFINITY, -0.0, f64::MIN][rng.below(4) as usize]),
        3 | 4 => {
            let positive =
                (0..rng.below(4)).map(|n| Bucket { index: n as i32, count: rng.below(100) as f64 });
            let positive = positive.collect();
            Value::Histogram(Arc::new(Histogram {
                count: rng.below(100) as f64,
                positive,
                ..Histogram::default()
            }))
        }
        5..=7 => Value::Float(rng.below(100_000) as f64 / 100.0),
        _ => Value::Float(rng.below(1_000) as f64),
    }
}

pub fn random_rows<'a>(rng: &mut Rng, all: &'a [SeriesRef], now_ms: i64) -> Vec<Row<'a>> {
    let rows = 0..rng.below(20);
    rows.map(|_| {
        let late = match rng.below(10) {
            0..=6 => rng.below(1_500),
            7 | 8 => rng.below(20_000),
            _ => rng.below(60_000),
        };
        Row {
            series: &all[rng.below(all.len() as u64) as usize],
            at_ms: now_ms - late as i64,
            value: random_value(rng),
        }
    })
    .collect()
}

fn run(seed: u64, rounds: u32) {
    // Shown when it fails.
    eprintln!("seed {seed}");
    let (mut rng, disk, config) = (Rng::new(seed), Memory::default(), small());
    let mut now_ms = 1_000_000 + rng.below(1_000_000) as i64;
    let mut store = open(&disk, config.clone(), now_ms);
    let all: Vec<SeriesRef> = (0..6).map(|n| series("requests_total", n)).collect();
    let mut model = Model::default();
    for _ in 0..rounds {
        now_ms += rng.below(4_000) as i64;
        match rng.below(20) {
            0 => now_ms += rng.below(100_000) as i64,
            1 | 2 => model.compare(&store, &config),
            3 => {
                drop(store);
                store = open(&disk, config.clone(), now_ms);
                model.compare(&store, &config);
            }
            4..=8 => assert_eq!(store.maintain(now_ms).problems, []),
            _ => model.append(&store, &random_rows(&mut rng, &all, now_ms), now_ms, &config),
        }
    }
    model.compare(&store, &config);
}

#[test]
fn the_store_holds_what_a_plain_map_holds() {
    (0..8).for_each(|seed| run(seed, 600));
}

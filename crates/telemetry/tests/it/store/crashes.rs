//! Killed and without power in the middle of anything.

use dwcp_telemetry::model::Series;
use dwcp_telemetry::store::{Config, Fsync, Row, SeriesRef};
use dwcp_types::Rng;

use super::memory::Memory;
use super::model::{Model, random_rows, same};
use super::{open, read, series, small};

/// What of the batch that was interrupted is there counts from now on.
fn take_over(model: &mut Model, found: &[Series], rows: &[Row<'_>]) {
    for row in rows {
        let of = found.iter().find(|series| series.labels == *row.series.labels());
        let sample = of.and_then(|series| series.samples.iter().find(|sample| sample.at_ms == row.at_ms));
        let known = model.series.get(row.series.labels()).and_then(|samples| samples.get(&row.at_ms));
        if let (Some(sample), None) = (sample, known) {
            assert!(rows.iter().any(|row| same(&sample.value, &row.value)), "{sample:?} was never appended");
            model.keep(row.series.labels(), sample.at_ms, &sample.value);
        }
    }
}

fn run(seed: u64, rounds: u32) -> u32 {
    // Shown when it fails.
    eprintln!("seed {seed}");
    let (mut rng, disk, config) = (Rng::new(seed), Memory::default(), small());
    let mut now_ms = 1_000_000;
    let mut store = open(&disk, config.clone(), now_ms);
    let all: Vec<SeriesRef> = (0..5).map(|n| series("requests_total", n)).collect();
    let (mut model, mut crashes) = (Model::default(), 0);
    for _ in 0..rounds {
        now_ms += rng.below(6_000) as i64;
        let mut rows = Vec::new();
        let dies = rng.chance(1, 4);
        if dies {
            disk.stop_after(1 + rng.below(3_000));
        }
        if rng.chance(1, 3) {
            store.maintain(now_ms);
        } else {
            rows = random_rows(&mut rng, &all, now_ms);
            if dies {
                if store.append(&rows, now_ms).is_ok() {
                    // It was kept wholly, so all of it must be found.
                    disk.start_again();
                }
            } else {
                model.append(&store, &rows, now_ms, &config);
            }
        }
        if dies {
            drop(store);
            crashes += 1;
            if rng.chance(1, 2) {
                disk.lose_power(&mut rng)
            } else {
                disk.start_again()
            }
            store = open(&disk, config.clone(), now_ms);
            take_over(&mut model, &read(&store), &rows);
            model.compare(&store, &config);
        }
    }
    assert!(disk.files().iter().all(|(name, _)| !name.ends_with(".new")), "{:?}", disk.files());
    crashes
}

#[test]
fn nothing_that_was_kept_is_lost_or_doubled_wherever_it_stops() {
    let crashes: u32 = (0..12).map(|seed| run(100 + seed, 200)).sum();
    assert!(crashes > 300);
}

#[test]
fn what_was_read_after_a_kill_outlasts_a_power_failure() {
    let (mut rng, disk) = (Rng::new(1), Memory::default());
    let config = Config { fsync: Fsync::Every(i64::MAX), ..small() };
    let store = open(&disk, config.clone(), 0);
    let counter = series("requests_total", 1);
    for n in 0..10 {
        store.append(&[super::row(&counter, n * 100, n as f64)], n * 100).expect("kept");
    }
    drop(store);
    assert_eq!(read(&open(&disk, config.clone(), 1_000))[0].samples.len(), 10);
    disk.lose_power(&mut rng);
    assert_eq!(read(&open(&disk, config, 1_000))[0].samples.len(), 10);
}

#[test]
fn a_log_that_was_cut_anywhere_holds_every_whole_batch_before() {
    let disk = Memory::default();
    let store = open(&disk, small(), 0);
    let counter = series("requests_total", 1);
    for n in 0..30 {
        store.append(&[super::row(&counter, n * 100, n as f64)], n * 100).expect("kept");
    }
    drop(store);
    let (name, length) = disk.files().pop().expect("a log");
    let mut last = 31;
    for cut in (0..=length).rev() {
        let copy = disk.copy();
        copy.cut(&name, cut);
        let store = open(&copy, small(), 3_000);
        let found = read(&store).pop().map_or(0, |series| series.samples.len());
        assert!(found == last || found + 1 == last, "{found} after {last}");
        last = found;
        store.append(&[super::row(&counter, 5_000, 1.0)], 5_000).expect("kept");
    }
    assert_eq!(last, 0);
}

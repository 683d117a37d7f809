//! Flipped bits.

use std::sync::Arc;

use dwcp_telemetry::model::Source;
use dwcp_telemetry::store::{SeriesRef, Store};
use dwcp_types::Rng;

use super::memory::Memory;
use super::model::{Model, random_rows, same};
use super::{everything, open, series, small};

#[test]
fn a_flipped_bit_is_named_and_never_becomes_a_sample() {
    let (mut rng, disk, mut config) = (Rng::new(5), Memory::default(), small());
    config.fine_retention_ms = i64::MAX / 4;
    let mut now_ms = 1_000_000;
    let store = open(&disk, config.clone(), now_ms);
    let all: Vec<SeriesRef> = (0..6).map(|n| series("requests_total", n)).collect();
    let mut model = Model::default();
    for _ in 0..200 {
        now_ms += rng.below(4_000) as i64;
        model.append(&store, &random_rows(&mut rng, &all, now_ms), now_ms, &config);
        assert_eq!(store.maintain(now_ms).problems, []);
    }
    drop(store);
    let kept: usize = model.series.values().map(|samples| samples.len()).sum();
    let files = disk.files();
    for _ in 0..300 {
        let (name, length) = &files[rng.below(files.len() as u64) as usize];
        let (at, bit) = (rng.below(*length as u64) as usize, rng.below(8) as u32);
        let copy = disk.copy();
        copy.flip(name, at, bit);
        let opened = Store::open(Arc::new(copy), config.clone(), now_ms);
        let (store, opened) = opened.expect("damage is no reason not to open");
        let read = store.select(&everything()).expect("damage is no reason not to read");
        let mut count = 0;
        for series in &read.series {
            let known = model.series.get(&series.labels).expect("a series that was there");
            for sample in &series.samples {
                let value = known.get(&sample.at_ms);
                assert!(value.is_some_and(|value| same(value, &sample.value)), "{name} at {at}: {sample:?}");
                count += 1;
            }
        }
        let named = opened.found.iter().chain(&read.warnings).any(|said| said.contains(name.as_str()));
        assert!(count == kept || named, "{name} at {at}: {count} of {kept}, {opened:?} {:?}", read.warnings);
        // Putting blocks together and thinning them out goes on beside it.
        store.maintain(now_ms);
    }
}

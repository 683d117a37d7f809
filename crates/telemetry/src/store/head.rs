//! What is in memory: the series of the last hours, their newest samples, and which labels they have.

mod names;
mod series;

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::SeriesRef;
use super::chunk::Chunk;
use super::cost::Cost;
use crate::model::{Labels, Matcher, Value};
pub use names::Names;
use series::HeadSeries;

/// The low bits of a series' id are its slot.
const SLOT_BITS: u32 = 24;
/// Slots there may be.
pub const SLOTS: usize = 1 << SLOT_BITS;
/// What tells ids apart: no id is given twice, not even by two stores.
static IDS: AtomicU64 = AtomicU64::new(1);

/// Of the hash of labels; in tests few, so that hashes collide.
const HASH_BITS: u64 = if cfg!(test) { 3 } else { u64::MAX };

/// What became of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Added,
    /// There is one of that moment with that value.
    Same,
    /// There is one of that moment with another value.
    Conflict,
}

/// The memory of a store.
pub struct Head {
    block_ms: i64,
    /// Of the series in each slot, 0 when there is none: looked at before the series itself, and close together.
    ids: Vec<u64>,
    series: Vec<HeadSeries>,
    /// Slots by a hash of the labels: the table grows without looking at labels again, which for a million series takes a second.
    by_hash: HashMap<u64, u32>,
    /// Slots of series whose hash another series has too.
    collided: HashMap<Labels, u32>,
    hasher: RandomState,
    live: usize,
    pub names: Names,
    /// Slots without a series.
    free: Vec<u32>,
    /// Slots that get free when the log does not speak of the series any more that they had.
    retired: Vec<u32>,
    /// The newest sample's moment, or the clock's when that was before it.
    pub newest_ms: Option<i64>,
    /// What is older is in blocks, and nothing older is taken in.
    pub flushed_to_ms: i64,
    /// Nothing is older.
    pub oldest_ms: Option<i64>,
    /// Memory of samples.
    pub bytes: u64,
    pub samples: u64,
}

impl Head {
    pub fn new(block_ms: i64, flushed_to_ms: i64) -> Head {
        Head {
            block_ms,
            ids: Vec::new(),
            series: Vec::new(),
            by_hash: HashMap::new(),
            collided: HashMap::new(),
            hasher: RandomState::new(),
            live: 0,
            names: Names::default(),
            free: Vec::new(),
            retired: Vec::new(),
            newest_ms: None,
            flushed_to_ms,
            oldest_ms: None,
            bytes: 0,
            samples: 0,
        }
    }

    pub fn series_count(&self) -> usize {
        self.live
    }

    /// Nothing older is taken in any more.
    pub fn floor_ms(&self, window_ms: i64) -> i64 {
        let window = self.newest_ms.map_or(i64::MIN, |newest| newest.saturating_sub(window_ms));
        window.max(self.flushed_to_ms)
    }

    /// The slot noted in a reference, if it still holds.
    pub fn noted(&self, series: &SeriesRef) -> Option<u32> {
        let id = series.id();
        let slot = id & ((1 << SLOT_BITS) - 1);
        (id != 0 && self.ids.get(slot as usize) == Some(&id)).then_some(slot as u32)
    }

    /// The slot of a series.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let slot = self.by_hash.get(&self.hash(labels)).copied();
        let found = slot.filter(|slot| self.series[*slot as usize].labels == *labels);
        found.or_else(|| self.collided.get(labels).copied())
    }

    fn hash(&self, labels: &Labels) -> u64 {
        self.hasher.hash_one(labels) & HASH_BITS
    }

    pub fn id(&self, slot: u32) -> u64 {
        self.ids[slot as usize]
    }

    pub fn labels(&self, slot: u32) -> &Labels {
        &self.series[slot as usize].labels
    }

    /// Makes a series that is not there; `None` when there is no slot for it.
    pub fn create(&mut self, labels: &Labels) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.series.len() < SLOTS => {
                self.ids.push(0);
                self.series.push(HeadSeries::new(0, Labels::default()));
                self.series.len() as u32 - 1
            }
            None => return None,
        };
        let labels = self.names.add(labels, slot);
        let id = IDS.fetch_add(1, Ordering::Relaxed) << SLOT_BITS | u64::from(slot);
        match self.by_hash.entry(self.hash(&labels)) {
            Entry::Vacant(entry) => *entry.insert(slot),
            Entry::Occupied(_) => *self.collided.entry(labels.clone()).insert_entry(slot).get(),
        };
        self.live += 1;
        self.ids[slot as usize] = id;
        self.series[slot as usize] = HeadSeries::new(id, labels);
        Some(slot)
    }

    /// Adds a sample to the series in `slot`.
    pub fn apply(&mut self, slot: u32, at_ms: i64, value: &Value) -> Applied {
        let (applied, grown) = self.series[slot as usize].apply(at_ms, value, self.block_ms);
        self.bytes = self.bytes.saturating_add_signed(grown);
        if applied == Applied::Added {
            self.samples += 1;
            if self.oldest_ms.is_none_or(|oldest| at_ms < oldest) {
                self.oldest_ms = Some(at_ms);
            }
        }
        applied
    }

    /// Notes a moment that was reached.
    pub fn reached(&mut self, at_ms: i64) {
        self.newest_ms = Some(self.newest_ms.map_or(at_ms, |newest| newest.max(at_ms)));
    }

    /// Slots there are, used or not.
    pub fn slots(&self) -> usize {
        self.series.len()
    }

    /// Of the series in some slots, forgets what is before `at_ms`, and those that have nothing else. Whoever does all slots sets
    /// [`Head::oldest_ms`] to `None` before.
    pub fn cut_before(&mut self, slots: Range<usize>, at_ms: i64) {
        let end = slots.end.min(self.series.len());
        let mut gone = Vec::new();
        for (slot, series) in (slots.start..end).zip(&mut self.series[slots.start..end]) {
            if series.id == 0 {
                continue;
            }
            let (bytes, samples) = (series.bytes() as u64, series.samples());
            series.cut_before(at_ms);
            self.bytes = (self.bytes + series.bytes() as u64).saturating_sub(bytes);
            self.samples = (self.samples + series.samples()).saturating_sub(samples);
            self.oldest_ms = self.oldest_ms.into_iter().chain(series.oldest_ms()).min();
            if series.is_empty() {
                gone.push(slot as u32);
            }
        }
        for &slot in &gone {
            self.ids[slot as usize] = 0;
        }
        let (ids, series) = (&self.ids, &self.series);
        let labels = gone.iter().map(|slot| &series[*slot as usize].labels);
        self.names.remove(labels, |slot| ids[slot as usize] == 0);
        for &slot in &gone {
            let empty = HeadSeries::new(0, Labels::default());
            let series = std::mem::replace(&mut self.series[slot as usize], empty);
            let hash = self.hash(&series.labels);
            if self.by_hash.get(&hash) == Some(&slot) {
                self.by_hash.remove(&hash);
            } else {
                self.collided.remove(&series.labels);
            }
            self.live -= 1;
        }
        self.retired.extend(gone);
    }

    /// The log begins anew: slots may be given to other series.
    pub fn free_retired(&mut self) {
        self.free.append(&mut self.retired);
    }

    /// The series that fulfil the matchers, in no order.
    pub fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        let fulfils = |slot: u32| {
            let series = &self.series[slot as usize];
            series.id != 0 && matchers.iter().all(|matcher| matcher.holds_for(&series.labels))
        };
        match self.names.candidates(matchers) {
            Some(slots) => slots.into_iter().filter(|slot| fulfils(*slot)).collect(),
            None => (0..self.series.len() as u32).filter(|slot| fulfils(*slot)).collect(),
        }
    }

    /// All series and their slots, in no order.
    pub fn all(&self) -> Vec<(Labels, u32)> {
        let all = self.series.iter().zip(0..).filter(|(series, _)| series.id != 0);
        all.map(|(series, slot)| (series.labels.clone(), slot)).collect()
    }

    /// Copies of chunks of the series in `slot`, both ends included.
    pub fn chunks(&self, slot: u32, start_ms: i64, end_ms: i64) -> Vec<Chunk> {
        self.series[slot as usize].chunks(start_ms, end_ms)
    }

    /// What reading a span of time of the series in `slot` costs, both ends included.
    pub fn cost(&self, slot: u32, start_ms: i64, end_ms: i64, cost: &mut Cost) {
        self.series[slot as usize].cost(start_ms, end_ms, cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_their_labels_though_hashes_collide_and_others_go() {
        let mut head = Head::new(1_000, i64::MIN);
        let all: Vec<Labels> = (0..40).map(|n| Labels::new([("__name__", format!("metric_{n}"))])).collect();
        let slots: Vec<u32> = all.iter().map(|labels| head.create(labels).expect("a slot")).collect();
        let value = Value::Float(1.0);
        for (number, slot) in slots.iter().enumerate() {
            // Every third has no sample after the cut.
            let at_ms = if number % 3 == 0 { 10 } else { 500 };
            assert_eq!(head.apply(*slot, at_ms, &value), Applied::Added);
        }
        head.oldest_ms = None;
        head.cut_before(0..head.slots(), 100);
        assert_eq!((head.series_count(), head.samples, head.oldest_ms), (26, 26, Some(500)));
        for (number, labels) in all.iter().enumerate() {
            let expected = (number % 3 != 0).then_some(slots[number]);
            assert_eq!(head.find(labels), expected);
        }
        // A slot is given again only when the log does not speak of the series before it any more.
        assert_eq!(head.create(&all[0]), Some(40));
        head.free_retired();
        let again = head.create(&all[3]).expect("a slot");
        assert!(again < 40 && again.is_multiple_of(3) && head.find(&all[3]) == Some(again));
        assert_eq!(head.matching(&[Matcher::equal("__name__", "metric_3")]), [again]);
    }
}

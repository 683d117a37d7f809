//! The samples of one series in memory.

use super::Applied;
use crate::model::{Labels, Sample, Value};
use crate::store::chunk::{Appender, Chunk};
use crate::store::cost::Cost;
use crate::store::histogram::same_value;

/// A chunk is ended with so many samples.
const CHUNK_SAMPLES: u32 = 120;

/// A series. Its chunks do not overlap, and none reaches over the end of a block.
pub struct HeadSeries {
    /// Never given twice in this process; 0 when there is no series here.
    pub id: u64,
    pub labels: Labels,
    chunks: Vec<Chunk>,
    open: Appender,
}

impl HeadSeries {
    pub fn new(id: u64, labels: Labels) -> HeadSeries {
        HeadSeries { id, labels, chunks: Vec::new(), open: Appender::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.count() == 0
    }

    pub fn oldest_ms(&self) -> Option<i64> {
        let open = (self.open.count() > 0).then(|| self.open.first_ms());
        self.chunks.first().map(|chunk| chunk.first_ms).or(open)
    }

    /// Memory of its samples, bytes.
    pub fn bytes(&self) -> usize {
        self.open.capacity() + self.chunks.iter().map(chunk_bytes).sum::<usize>()
    }

    pub fn samples(&self) -> u64 {
        u64::from(self.open.count()) + self.chunks.iter().map(|chunk| u64::from(chunk.count)).sum::<u64>()
    }

    /// Adds a sample; and by how many bytes its memory grew.
    pub fn apply(&mut self, at_ms: i64, value: &Value, block_ms: i64) -> (Applied, i64) {
        if self.open.count() > 0 && at_ms <= self.open.last_ms() {
            if at_ms == self.open.last_ms() {
                let same = same_value(&self.open.last_value(), value);
                return (if same { Applied::Same } else { Applied::Conflict }, 0);
            }
            let before = self.bytes() as i64;
            let applied = self.insert(at_ms, value, block_ms);
            return (applied, self.bytes() as i64 - before);
        }
        let mut grown = -(self.open.capacity() as i64);
        let of_block = |at_ms: i64| at_ms.div_euclid(block_ms);
        let is_full = self.open.count() >= CHUNK_SAMPLES;
        if is_full || (self.open.count() > 0 && of_block(self.open.last_ms()) != of_block(at_ms)) {
            let chunk = std::mem::take(&mut self.open).close();
            grown += chunk_bytes(&chunk) as i64;
            self.chunks.push(chunk);
        }
        self.open.push(at_ms, value);
        (Applied::Added, grown + self.open.capacity() as i64)
    }

    /// Puts a sample between others: the chunk it belongs to is written anew. That is some microseconds, for what comes rarely.
    fn insert(&mut self, at_ms: i64, value: &Value, block_ms: i64) -> Applied {
        self.chunks.push(std::mem::take(&mut self.open).close());
        let applied = self.insert_closed(at_ms, value, block_ms);
        if let Some(last) = self.chunks.pop() {
            decoded(&last).iter().for_each(|sample| self.open.push(sample.at_ms, &sample.value));
        }
        applied
    }

    fn insert_closed(&mut self, at_ms: i64, value: &Value, block_ms: i64) -> Applied {
        let of_block = |at_ms: i64| at_ms.div_euclid(block_ms);
        let sample = Sample { at_ms, value: value.clone() };
        let after = self.chunks.partition_point(|chunk| chunk.first_ms <= at_ms);
        let is_home =
            |at: usize| self.chunks.get(at).is_some_and(|c| of_block(c.first_ms) == of_block(at_ms));
        let home = after.checked_sub(1).filter(|at| is_home(*at)).or(Some(after).filter(|at| is_home(*at)));
        let Some(home) = home else {
            self.chunks.insert(after, Chunk::of(&[sample]));
            return Applied::Added;
        };
        let mut samples = decoded(&self.chunks[home]);
        match samples.binary_search_by_key(&at_ms, |sample| sample.at_ms) {
            Ok(at) if same_value(&samples[at].value, value) => return Applied::Same,
            Ok(_) => return Applied::Conflict,
            Err(at) => samples.insert(at, sample),
        }
        if samples.len() > 2 * CHUNK_SAMPLES as usize {
            let later = samples.split_off(samples.len() / 2);
            self.chunks.insert(home + 1, Chunk::of(&later));
        }
        self.chunks[home] = Chunk::of(&samples);
        Applied::Added
    }

    /// Forgets what is before `at_ms`.
    pub fn cut_before(&mut self, at_ms: i64) {
        let keep = |chunk: &Chunk| {
            let kept: Vec<Sample> =
                decoded(chunk).into_iter().filter(|sample| sample.at_ms >= at_ms).collect();
            Chunk::of(&kept)
        };
        self.chunks.retain(|chunk| chunk.last_ms >= at_ms);
        if let Some(first) = self.chunks.first_mut().filter(|first| first.first_ms < at_ms) {
            *first = keep(first);
        }
        if self.open.count() > 0 && self.open.first_ms() < at_ms {
            let kept = keep(&std::mem::take(&mut self.open).close());
            decoded(&kept).iter().for_each(|sample| self.open.push(sample.at_ms, &sample.value));
        }
        self.chunks.shrink_to_fit();
    }

    /// What reading a span of time costs, both ends included.
    pub fn cost(&self, start_ms: i64, end_ms: i64, cost: &mut Cost) {
        for chunk in &self.chunks {
            cost.add(chunk.count, chunk.first_ms, chunk.last_ms, start_ms, end_ms);
        }
        cost.add(self.open.count(), self.open.first_ms(), self.open.last_ms(), start_ms, end_ms);
    }

    /// Copies of the chunks that have to do with a span of time, both ends included.
    pub fn chunks(&self, start_ms: i64, end_ms: i64) -> Vec<Chunk> {
        let overlaps = |first: i64, last: i64| first <= end_ms && last >= start_ms;
        let closed = self.chunks.iter().filter(|chunk| overlaps(chunk.first_ms, chunk.last_ms));
        let mut chunks: Vec<Chunk> = closed.cloned().collect();
        if self.open.count() > 0 && overlaps(self.open.first_ms(), self.open.last_ms()) {
            chunks.push(self.open.chunk());
        }
        chunks
    }
}

fn chunk_bytes(chunk: &Chunk) -> usize {
    chunk.bytes.len() + size_of::<Chunk>()
}

fn decoded(chunk: &Chunk) -> Vec<Sample> {
    let mut samples = Vec::new();
    chunk.decode(&mut samples).expect("this process wrote it, and memory does not change by itself");
    samples
}

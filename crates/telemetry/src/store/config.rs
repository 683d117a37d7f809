//! How a store is set up.

use super::error::StoreError;
use crate::model::{Histogram, Labels, Value};
use crate::store::batch::Reason;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// When what is appended is written through to the disk. A process that is killed loses at most the batch it was appending,
/// whatever is chosen here; a machine that loses power loses what was not written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// With each batch.
    EachBatch,
    /// With the first batch, or call of `maintain`, so many ms after the one before.
    Every(i64),
}

/// How a store is set up.
///
/// Memory: a series that has samples in the last `block_ms` + `window_ms` takes about 0.6 KiB and its labels, samples in memory take
/// 1 to 9 bytes each and all together `head_bytes_max` at most; a block on disk takes about 50 bytes for each 64 KiB of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Samples so much older than the newest are still taken.
    pub window_ms: i64,
    /// Samples so much ahead of the clock are still taken.
    pub ahead_ms: i64,
    /// Series with samples in memory; at most 2^24.
    pub series_max: usize,
    pub labels_max: usize,
    /// Of a label's name.
    pub name_bytes_max: usize,
    /// Of a label's value.
    pub value_bytes_max: usize,
    /// Of all names and values of a series.
    pub series_bytes_max: usize,
    /// Of a native histogram.
    pub buckets_max: usize,
    /// Samples in memory, bytes. From half of it on they are written to a block early, from three quarters on without waiting for
    /// samples out of order, which are refused then; when it is full, appends are refused.
    pub head_bytes_max: u64,
    /// The span of a new block.
    pub block_ms: i64,
    /// Blocks are put together up to this span.
    pub compacted_ms: i64,
    /// Of each series the last sample of each such window is kept for longer.
    pub coarse_ms: i64,
    /// Blocks of coarse samples are put together up to this span.
    pub coarse_compacted_ms: i64,
    /// How long samples are kept as they came. Their block goes as a whole, and not before its `compacted_ms` are over and were
    /// thinned out.
    pub fine_retention_ms: i64,
    /// How long coarse samples are kept.
    pub coarse_retention_ms: i64,
    /// All blocks together; the oldest goes first.
    pub blocks_bytes_max: Option<u64>,
    pub fsync: Fsync,
    /// A file of the write-ahead log is ended when the samples in it take so many bytes.
    pub segment_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            window_ms: 10 * MINUTE,
            ahead_ms: 10 * MINUTE,
            series_max: 2_000_000,
            labels_max: 64,
            name_bytes_max: 256,
            value_bytes_max: 4096,
            series_bytes_max: 16 << 10,
            buckets_max: 1000,
            head_bytes_max: 2 << 30,
            block_ms: 2 * HOUR,
            compacted_ms: DAY,
            coarse_ms: 5 * MINUTE,
            coarse_compacted_ms: 16 * DAY,
            fine_retention_ms: 15 * DAY,
            coarse_retention_ms: 400 * DAY,
            blocks_bytes_max: None,
            fsync: Fsync::Every(5_000),
            segment_bytes: 64 << 20,
        }
    }
}

impl Config {
    /// # Errors
    /// Spans that do not divide each other.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let spans = [self.coarse_ms, self.block_ms, self.compacted_ms, self.coarse_compacted_ms];
        let fits = spans[0] > 0 && spans.windows(2).all(|pair| pair[1] >= pair[0] && pair[1] % pair[0] == 0);
        if !fits || self.window_ms < 0 || self.ahead_ms < 0 || self.series_max > 1 << 24 {
            return Err(StoreError::Config(format!(
                "a store needs coarse windows, blocks, compacted and compacted coarse blocks whose spans are multiples, each of \
                 the one before (they are {spans:?} ms), and room for at most 16777216 series (it is {})",
                self.series_max
            )));
        }
        // A page of a block, and a record of the log, must be small enough to be read back.
        if self.buckets_max > 1000 || self.series_bytes_max > 1 << 20 {
            return Err(StoreError::Config(format!(
                "a store takes histograms of at most 1000 buckets (it is to take {}) and series of at most 1 MiB of labels (it is \
                 to take {} bytes)",
                self.buckets_max, self.series_bytes_max
            )));
        }
        Ok(())
    }

    /// Whether a series may be.
    pub(super) fn check_labels(&self, labels: &Labels) -> Result<(), Reason> {
        if labels.is_empty() || labels.len() > self.labels_max {
            return Err(Reason::LabelCount);
        }
        let mut bytes = 0;
        for (name, value) in labels.iter() {
            if name.len() > self.name_bytes_max || value.len() > self.value_bytes_max {
                return Err(Reason::LabelLength);
            }
            bytes += name.len() + value.len();
        }
        if bytes > self.series_bytes_max { Err(Reason::LabelLength) } else { Ok(()) }
    }

    /// Whether a value may be.
    pub(super) fn check_value(&self, value: &Value) -> Result<(), Reason> {
        match value {
            Value::Histogram(value) if buckets(value) > self.buckets_max => Err(Reason::TooManyBuckets),
            _ => Ok(()),
        }
    }
}

fn buckets(histogram: &Histogram) -> usize {
    histogram.positive.len() + histogram.negative.len() + histogram.custom.len()
}

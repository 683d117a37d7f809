//! What is handed to the store to keep, and what it says to that.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{Labels, Value};

/// A series that samples are appended to again and again: the store notes in it where the series is, so that labels are looked up
/// once. It stays good when the series goes, comes back, or another store is used: then the labels are looked up again.
#[derive(Debug)]
pub struct SeriesRef {
    labels: Labels,
    id: AtomicU64,
}

impl SeriesRef {
    pub fn new(labels: Labels) -> SeriesRef {
        SeriesRef { labels, id: AtomicU64::new(0) }
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    pub(super) fn set_id(&self, id: u64) {
        self.id.store(id, Ordering::Relaxed);
    }
}

/// A sample to keep.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    pub series: &'a SeriesRef,
    /// Since 1970-01-01 00:00 UTC, ms.
    pub at_ms: i64,
    pub value: Value,
}

/// For how many series there is room.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// That are not there yet, of one batch.
    pub new: usize,
    /// With samples in memory, whosever they are; the store's own limit holds too.
    pub series: usize,
}

/// Why a sample was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Older than the window for samples out of order, or than samples are kept as they came.
    TooOld,
    /// Further ahead of the clock than may be.
    TooFarAhead,
    /// There is a sample of that moment already, with another value.
    Conflict,
    /// There are as many series already as may be.
    TooManySeries,
    /// The series has no label, or more than may be.
    LabelCount,
    /// A label's name or value is longer than may be, or all of them together are.
    LabelLength,
    /// The histogram has more buckets than may be.
    TooManyBuckets,
}

impl Reason {
    pub const ALL: [Reason; 7] = [
        Reason::TooOld,
        Reason::TooFarAhead,
        Reason::Conflict,
        Reason::TooManySeries,
        Reason::LabelCount,
        Reason::LabelLength,
        Reason::TooManyBuckets,
    ];

    /// As a label's value.
    pub fn name(self) -> &'static str {
        match self {
            Reason::TooOld => "too_old",
            Reason::TooFarAhead => "too_far_ahead",
            Reason::Conflict => "conflict",
            Reason::TooManySeries => "too_many_series",
            Reason::LabelCount => "label_count",
            Reason::LabelLength => "label_length",
            Reason::TooManyBuckets => "too_many_buckets",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::TooOld => "it is older than samples out of order may be",
            Reason::TooFarAhead => "it is further ahead of the clock than samples may be",
            Reason::Conflict => "there is a sample of that moment with another value",
            Reason::TooManySeries => {
                "there are as many series as may be; some must end before another can begin"
            }
            Reason::LabelCount => "the series has no label, or more than may be",
            Reason::LabelLength => "a label of the series, or all of them together, are longer than may be",
            Reason::TooManyBuckets => "the histogram has more buckets than may be",
        })
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Kept.
    pub added: u64,
    /// Were there already, with the same value.
    pub same: u64,
    /// Which rows were refused, by their place in the batch.
    pub refused: Vec<(usize, Reason)>,
}

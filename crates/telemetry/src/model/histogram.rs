//! Native histograms: counts in buckets that are there only where something was observed.

/// Whether a histogram's counts may be smaller than those of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// To be found out by comparing.
    #[default]
    Unknown,
    /// It was begun anew.
    Reset,
    /// It was not.
    NotReset,
    /// It counts what is now, and may go up and down.
    Gauge,
}

/// One bucket that is not empty (or was not once).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Which: of `schema` s the bucket i holds what is above `base^(i-1)` and at most `base^i`, with `base = 2^(2^-s)`.
    pub index: i32,
    /// How many observations. Absolute, not a difference to the bucket before.
    pub count: f64,
}

/// A native histogram, counts as floats (Prometheus: *FloatHistogram*), each bucket with its own count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub reset: CounterReset,
    /// Resolution: -4 to 8. [`Histogram::CUSTOM`]: the bounds are `custom`.
    pub schema: i8,
    /// What is at most so far from 0 is in the zero bucket.
    pub zero_threshold: f64,
    pub zero_count: f64,
    /// All observations, NaN ones included.
    pub count: f64,
    pub sum: f64,
    /// In ascending order of the index, each once.
    pub positive: Vec<Bucket>,
    /// Of the values below 0, by their absolute value.
    pub negative: Vec<Bucket>,
    /// Upper bounds of the buckets, ascending, +Inf left out; only with schema [`Histogram::CUSTOM`].
    pub custom: Vec<f64>,
}

impl Histogram {
    /// The schema of histograms with bounds of their own.
    pub const CUSTOM: i8 = -53;
}

//! Series of samples, named by labels, in the model of Prometheus.

mod histogram;
mod labels;

use std::fmt;
use std::sync::Arc;

pub use histogram::{Bucket, CounterReset, Histogram};
pub use labels::{Labels, MatchOp, Matcher, NAME};

/// The bits of the NaN that says: from here on the series is not there any more (a *staleness marker* of Prometheus).
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// What was measured at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Since 1970-01-01 00:00 UTC, ms.
    pub at_ms: i64,
    pub value: Value,
}

/// A number or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Value {
    /// The end of a series.
    pub fn stale() -> Value {
        Value::Float(f64::from_bits(STALE_BITS))
    }

    /// Whether this is the end of a series: for a histogram, when its sum is the marker.
    pub fn is_stale(&self) -> bool {
        let number = match self {
            Value::Float(number) => *number,
            Value::Histogram(histogram) => histogram.sum,
        };
        number.to_bits() == STALE_BITS
    }
}

/// A series and some of its samples, in ascending order of time, no two at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub samples: Vec<Sample>,
}

/// Which samples are wanted.
#[derive(Clone, Debug)]
pub struct Select {
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// From this moment on, it included, ms.
    pub start_ms: i64,
    /// Up to this moment, it included, ms.
    pub end_ms: i64,
    /// How far apart the moments are that the answer is looked at, ms: a store that also keeps coarser samples may take those when
    /// they are no coarser than this. 0: the finest there are.
    pub step_ms: i64,
    /// More samples than this are not read: the request is refused with what it would take.
    pub max_samples: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selected {
    /// In ascending order of labels, each once; a series without a sample in the time is left out.
    pub series: Vec<Series>,
    /// What is missing and why, for people: a region that did not answer, for one.
    pub warnings: Vec<String>,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceError {
    /// It would read more than it may.
    TooMuch { samples: u64, limit: u64 },
    /// What is kept can't be read.
    Failed(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::TooMuch { samples, limit } => {
                write!(f, "it would read {samples} samples, and may read {limit}")
            }
            SourceError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SourceError {}

/// Where samples come from.
pub trait Source: Send + Sync {
    /// The series that fulfil every matcher, with their samples in the time asked for.
    ///
    /// # Errors
    /// It would read too much, or what is kept can't be read.
    fn select(&self, wanted: &Select) -> Result<Selected, SourceError>;
}

//! Functions over the samples of one series in a range of time.

pub mod over_time;
pub mod rate;
pub mod trend;

use super::Dialect;
use super::budget::Budget;
use crate::model::{Histogram, Sample, Value};

/// The samples of one series in a range, at least one, none of them a staleness marker.
pub struct Window<'a> {
    pub samples: &'a [Sample],
    /// Where the range begins and ends, `offset` and `@` taken into account, ms.
    pub start_ms: i64,
    pub end_ms: i64,
    /// The moment of the step, ms.
    pub at_ms: i64,
    /// The scalars among the arguments, in their order.
    pub parameters: &'a [f64],
    pub dialect: Dialect,
    pub budget: &'a Budget<'a>,
}

impl Window<'_> {
    /// The numbers among the samples, with their times in ms.
    pub fn floats(&self) -> impl DoubleEndedIterator<Item = (i64, f64)> + Clone {
        self.samples.iter().filter_map(|sample| match sample.value {
            Value::Float(number) => Some((sample.at_ms, number)),
            Value::Histogram(_) => None,
        })
    }

    /// The histograms, when all samples are; `None` when none is or, with a warning, when some are.
    pub fn histograms(&self, whose: &str) -> Option<Vec<&Histogram>> {
        let histograms = self.samples.iter().filter_map(|sample| match &sample.value {
            Value::Histogram(histogram) => Some(&**histogram),
            Value::Float(_) => None,
        });
        let found: Vec<_> = histograms.collect();
        match found.len() {
            0 => None,
            all if all == self.samples.len() => Some(found),
            _ => {
                self.warn_mixed(whose);
                None
            }
        }
    }

    /// Whether there are numbers and histograms.
    pub fn is_mixed(&self) -> bool {
        let histograms =
            self.samples.iter().filter(|sample| matches!(sample.value, Value::Histogram(_))).count();
        histograms > 0 && histograms < self.samples.len()
    }

    pub fn warn_mixed(&self, whose: &str) {
        self.budget.warn(format!("{whose}: a series with numbers and histograms in its range was left out"));
    }

    pub fn parameter(&self, number: usize) -> f64 {
        self.parameters.get(number).copied().unwrap_or(f64::NAN)
    }
}

//! How the server measures itself, and for how long it keeps what it measured.

use crate::Fields;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;

/// The metric store of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Between two measurements, milliseconds.
    pub interval_ms: u64,
    /// How long every measurement is kept, milliseconds.
    pub keep_ms: u64,
    /// How long one of each five minutes is kept, milliseconds.
    pub keep_coarse_ms: u64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { interval_ms: 15 * SECOND_MS, keep_ms: 15 * DAY_MS, keep_coarse_ms: 400 * DAY_MS }
    }
}

pub(super) fn read(fields: &mut Fields<'_>) -> Metrics {
    let standard = Metrics::default();
    let metrics = Metrics {
        interval_ms: fields.duration_ms("interval", SECOND_MS..=120 * SECOND_MS, standard.interval_ms),
        keep_ms: fields.duration_ms("keep", DAY_MS..=400 * DAY_MS, standard.keep_ms),
        keep_coarse_ms: fields.duration_ms("keep_coarse", DAY_MS..=3_650 * DAY_MS, standard.keep_coarse_ms),
    };
    if metrics.keep_coarse_ms < metrics.keep_ms {
        fields.complain("keep_coarse", "it can't be shorter than 'keep'");
    }
    metrics
}

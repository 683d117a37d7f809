//! How long placement decisions took in this process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Decisions kept.
const KEPT: usize = 1_024;

/// Durations of the newest placement decisions; cheap to clone, shared.
#[derive(Clone, Debug, Default)]
pub struct PlacementTimes(Arc<Mutex<VecDeque<u64>>>);

impl PlacementTimes {
    /// Notes `decisions` that took `us` microseconds together.
    pub fn note(&self, us: u64, decisions: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..decisions.min(KEPT as u64) {
            // 0 says "none" further on.
            kept.push_back((us / decisions).max(1));
        }
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }

    /// Median, 95th and 99th percentile in microseconds; zeros before the first decision.
    pub fn quantiles_us(&self) -> (u64, u64, u64) {
        let mut sorted: Vec<u64> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            sorted.get(at).copied().unwrap_or(0)
        };
        (rank(50), rank(95), rank(99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest_decisions() {
        let times = PlacementTimes::default();
        assert_eq!(times.quantiles_us(), (0, 0, 0));
        for us in 1..=100 {
            times.note(us, 1);
        }
        assert_eq!(times.quantiles_us(), (50, 95, 99));
        times.note(7 * KEPT as u64, KEPT as u64);
        assert_eq!(times.quantiles_us(), (7, 7, 7));
    }
}

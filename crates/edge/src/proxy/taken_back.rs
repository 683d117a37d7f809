//! Requests of HTTP/2 that a client takes back again and again: each costs it next to nothing, and an endpoint a whole request (CVE-2023-44487).

use std::sync::{Mutex, PoisonError};

/// So many are forgiven each second.
const FORGIVEN: f64 = 20.0;
/// So many may be taken back before the next request has to wait, a ms longer for each; the longest wait, ms.
const FREE: f64 = 16.0;
const HOLD_MS: f64 = 100.0;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client took it back before long.
    TakenBack,
    /// An endpoint's answer was sent whole.
    Answered,
    /// Nothing that speaks for or against the client.
    Other,
}

/// What one connection took back, less what was answered and what is forgiven.
#[derive(Debug, Default)]
pub(super) struct TakenBack(Mutex<Balance>);

#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    requests: f64,
    at_ms: u64,
}

impl Balance {
    fn at(self, now_ms: u64) -> f64 {
        let passed_s = now_ms.saturating_sub(self.at_ms) as f64 / 1_000.0;
        (self.requests - passed_s * FORGIVEN).max(0.0)
    }
}

impl TakenBack {
    /// A request ended; how many there are now.
    pub fn ended(&self, end: End, now_ms: u64) -> f64 {
        let by = match end {
            End::TakenBack => 1.0,
            End::Answered => -1.0,
            End::Other => 0.0,
        };
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *balance = Balance { requests: (balance.at(now_ms) + by).max(0.0), at_ms: now_ms };
        balance.requests
    }

    /// How long the next request waits before it goes to an endpoint, ms. What is taken back meanwhile goes to none.
    pub fn hold_ms(&self, now_ms: u64) -> u64 {
        let balance = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (balance.at(now_ms) - FREE).clamp(0.0, HOLD_MS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_made_up_for_by_answers_and_by_time_and_by_nothing_else() {
        let taken_back = TakenBack::default();
        assert_eq!(taken_back.ended(End::Answered, 0), 0.0, "nothing is saved up");
        (0..50).for_each(|_| _ = taken_back.ended(End::TakenBack, 0));
        assert_eq!((taken_back.ended(End::Other, 0), taken_back.hold_ms(0)), (50.0, 34));
        assert_eq!(taken_back.ended(End::Answered, 0), 49.0);
        assert_eq!((taken_back.ended(End::Other, 1_000), taken_back.hold_ms(1_500)), (29.0, 3));
        (0..400).for_each(|_| _ = taken_back.ended(End::TakenBack, 1_500));
        assert_eq!(taken_back.hold_ms(1_500), 100);
        assert_eq!((taken_back.ended(End::Other, 60_000), taken_back.hold_ms(60_000)), (0.0, 0));
    }
}

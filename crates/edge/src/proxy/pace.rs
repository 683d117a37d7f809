//! Answers over HTTP/2 that a client asked for and does not take: it keeps the window shut, and the connection looks well.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// When an answer moved last.
pub(super) struct Pace {
    begun: Instant,
    at_ms: AtomicU64,
}

impl Pace {
    /// It is the client's turn.
    pub fn moved(&self) {
        self.at_ms.store(self.begun.elapsed().as_millis() as u64, Relaxed);
    }

    /// It is the endpoint's turn.
    pub fn waits(&self) {
        self.at_ms.store(u64::MAX, Relaxed);
    }

    fn rests_ms(&self) -> u64 {
        (self.begun.elapsed().as_millis() as u64).saturating_sub(self.at_ms.load(Relaxed))
    }
}

/// Those of one connection.
#[derive(Default)]
pub(super) struct Paces(Mutex<Vec<Weak<Pace>>>);

impl Paces {
    pub fn begin(&self) -> Arc<Pace> {
        let pace = Arc::new(Pace { begun: Instant::now(), at_ms: AtomicU64::new(u64::MAX) });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|pace| pace.strong_count() > 0);
        }
        all.push(Arc::downgrade(&pace));
        pace
    }

    /// The longest that one rests, ms.
    pub fn rests_ms(&self) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pace| pace.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).map(|pace| pace.rests_ms()).max().unwrap_or(0)
    }
}

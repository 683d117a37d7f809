//! How much may be tried again: a fifth of a service's requests and ten a second, so that an outage is not made worse.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crate::routes::Pool;

const SHARE: f64 = 0.2;
const A_SECOND: f64 = 10.0;
/// The most that is saved up.
const SAVED: f64 = 100.0;

#[derive(Default)]
pub(super) struct Budgets {
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// Filled when it is asked, so that requests that are not tried again cost nothing here.
struct Bucket {
    tokens: f64,
    at_ms: u64,
    requests: u64,
}

impl Budgets {
    /// Whether a request of this service may be tried again now.
    pub fn take(&self, service: &str, pool: &Pool, now_ms: u64) -> bool {
        let counts = pool.flows.iter().flat_map(|flow| &flow.answers);
        let requests = counts.map(|count| count.load(Relaxed)).sum();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(service) {
            // What went well before anything failed has saved up as well.
            let first = Bucket { tokens: A_SECOND, at_ms: now_ms, requests: 0 };
            buckets.insert(service.to_owned(), first);
        }
        let Some(bucket) = buckets.get_mut(service) else { return false };
        bucket.take(requests, now_ms)
    }

    /// Forgets services that are gone.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
    }
}

impl Bucket {
    fn take(&mut self, requests: u64, now_ms: u64) -> bool {
        let new = requests.saturating_sub(self.requests) as f64 * SHARE;
        let time = now_ms.saturating_sub(self.at_ms) as f64 * A_SECOND / 1_000.0;
        self.tokens = (self.tokens + new + time).min(SAVED);
        (self.requests, self.at_ms) = (requests, now_ms.max(self.at_ms));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_and_ten_a_second_are_tried_again() {
        let mut bucket = Bucket { tokens: 0.0, at_ms: 0, requests: 0 };
        let taken = |bucket: &mut Bucket, requests, now_ms| {
            (0..10_000).take_while(|_| bucket.take(requests, now_ms)).count()
        };
        assert_eq!(taken(&mut bucket, 0, 1_000), 10);
        assert_eq!(taken(&mut bucket, 100, 1_000), 20);
        assert_eq!(taken(&mut bucket, 100, 1_000), 0);
        assert_eq!(taken(&mut bucket, 1_000_000, 60_000), 100);
    }
}

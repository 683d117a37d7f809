//! What the data path counts. Cheap enough for every request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Buckets of a [`Times`]: eight to a doubling, as Prometheus' native histograms of schema 3. Bucket `i` counts what took more than
/// 2^((i-1)/8) and at most 2^(i/8) units; the unit is a nanosecond. 2^38 ns are 275 s; longer counts as that.
pub const BUCKETS: usize = 38 * 8 + 1;

/// How long something took, as counts in buckets.
#[derive(Debug)]
pub struct Times {
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum_ns: AtomicU64::new(0) }
    }
}

impl Times {
    /// Something took so long.
    pub fn took(&self, time: Duration) {
        let ns = time.as_nanos().min(u128::from(u64::MAX)) as u64;
        self.sum_ns.fetch_add(ns, Relaxed);
        self.buckets[bucket(ns)].fetch_add(1, Relaxed);
    }

    /// What was counted: (bucket, count) of those that are not empty, and the sum in ns.
    pub fn read(&self) -> (Vec<(u32, u64)>, u64) {
        let counts = self.buckets.iter().enumerate().map(|(i, count)| (i as u32, count.load(Relaxed)));
        (counts.filter(|(_, count)| *count > 0).collect(), self.sum_ns.load(Relaxed))
    }
}

/// The bucket of a duration.
fn bucket(ns: u64) -> usize {
    let exact = (ns.max(1) as f64).log2() * 8.0;
    (exact.ceil() as usize).min(BUCKETS - 1)
}

/// What happened to requests of a service that went to a region.
#[derive(Debug, Default)]
pub struct Flow {
    /// Answers by class: 1xx to 5xx at 1 to 5, none at 0.
    pub answers: [AtomicU64; 6],
    /// Tried again elsewhere.
    pub retries: AtomicU64,
    /// From sending the request to the first byte of the answer.
    pub upstream: Times,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Figures {
    /// Decisions where to send something.
    pub decisions: Times,
    /// Decisions that sent somebody on because a better region was full.
    pub spilled: AtomicU64,
    /// DNS questions, by what became of them.
    pub dns_answered: AtomicU64,
    pub dns_truncated: AtomicU64,
    pub dns_dropped: AtomicU64,
    pub dns_malformed: AtomicU64,
    /// Connections open now.
    pub connections: AtomicU64,
    flows: Mutex<BTreeMap<(String, String), std::sync::Arc<Flow>>>,
}

impl Figures {
    /// The counts of a service in a region.
    pub fn flow(&self, service: &str, region: &str) -> std::sync::Arc<Flow> {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.entry((service.to_owned(), region.to_owned())).or_default().clone()
    }

    /// Every service and region with its counts.
    pub fn flows(&self) -> Vec<((String, String), std::sync::Arc<Flow>)> {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.iter().map(|(key, flow)| (key.clone(), flow.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_its_power_of_two_does() {
        assert_eq!((bucket(0), bucket(1), bucket(2), bucket(1024)), (0, 0, 8, 80));
        assert_eq!(bucket(1025), 81);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}

//! Quantiles of measured times.

use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Times {
    ns: Vec<u64>,
}

impl Times {
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.ns.push(start.elapsed().as_nanos() as u64);
        result
    }

    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.ns.iter().sum())
    }

    pub fn mean_us(&self) -> f64 {
        self.ns.iter().sum::<u64>() as f64 / self.ns.len().max(1) as f64 / 1_000.0
    }

    pub fn per_second(&self) -> f64 {
        self.ns.len() as f64 / self.total().as_secs_f64()
    }

    /// Microseconds below which `percent` of the times lie.
    pub fn quantile_us(&mut self, percent: usize) -> f64 {
        self.ns.sort_unstable();
        let at = (self.ns.len() * percent / 100).min(self.ns.len().saturating_sub(1));
        self.ns.get(at).copied().unwrap_or(0) as f64 / 1_000.0
    }
}

/// Time that this thread has really run, in nanoseconds: other work on a shared machine does not count. Linux only; 0
/// elsewhere.
pub fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

//! How fast one transfer may go: a token bucket that all its streams share, and what went through.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What may go at once after a pause, as time at the full rate.
const BURST: Duration = Duration::from_millis(40);

/// Bounds and counts one transfer's bytes.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; 0 is no bound.
    rate: AtomicU64,
    /// When what was let through so far has gone at the full rate.
    gone_at: Mutex<Instant>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Pace {
    /// At most `bytes_per_s`; 0 is no bound.
    pub fn new(bytes_per_s: u64) -> Pace {
        Pace {
            rate: AtomicU64::new(bytes_per_s),
            gone_at: Mutex::new(Instant::now()),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Changes the bound, bytes a second; 0 takes it away.
    pub fn set_rate(&self, bytes_per_s: u64) {
        self.rate.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until `bytes` may be sent.
    pub async fn take(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let until = {
            let mut gone_at = self.gone_at.lock().unwrap_or_else(|e| e.into_inner());
            let now = Instant::now();
            let from = (*gone_at).max(now.checked_sub(BURST).unwrap_or(now));
            *gone_at = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *gone_at
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_go_at_the_rate_and_a_pause_saves_up_little() {
        let pace = Pace::new(1_000_000);
        let begin = Instant::now();
        for _ in 0..100 {
            pace.take(10_000).await;
        }
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(950) && took <= Duration::from_millis(1_010), "{took:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let begin = Instant::now();
        pace.take(1_000_000).await;
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(950) && took <= Duration::from_millis(1_010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_share_the_rate_and_it_can_be_taken_away() {
        let pace = Pace::new(1_000_000);
        let begin = Instant::now();
        let half = || async {
            for _ in 0..50 {
                pace.take(10_000).await;
            }
        };
        tokio::join!(half(), half());
        assert!(begin.elapsed() >= Duration::from_millis(950), "{:?}", begin.elapsed());
        pace.set_rate(0);
        let begin = Instant::now();
        pace.take(usize::MAX).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

//! What requests found dead. Touched by those that fail, and by others only while there is something.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most addresses that are remembered.
const MOST: usize = 20_000;
/// How long a failure is remembered, ms.
const REMEMBERED_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    in_a_row: u32,
    last_ms: u64,
    /// Checks don't bring it back before then.
    down_until_ms: u64,
}

#[derive(Default)]
pub(super) struct Failures {
    count: AtomicUsize,
    all: Mutex<HashMap<SocketAddr, Failing>>,
}

impl Failures {
    /// A request failed at an address; true: it was one too many, and the address is down for so long at least.
    pub fn failed(&self, address: SocketAddr, now_ms: u64, most: u32, down_ms: u64) -> bool {
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(&address) {
            return false;
        }
        let failing = all.entry(address).or_default();
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        failing.last_ms = now_ms;
        let down = failing.in_a_row >= most;
        if down {
            failing.down_until_ms = now_ms + down_ms;
        }
        self.count.store(all.len(), Relaxed);
        down
    }

    /// A request was answered there.
    pub fn worked(&self, address: SocketAddr) {
        if self.count.load(Relaxed) > 0 {
            let mut all = self.all();
            all.remove(&address);
            self.count.store(all.len(), Relaxed);
        }
    }

    /// A check found it well; false: requests found it dead a moment ago, and they count more.
    pub fn may_return(&self, address: SocketAddr, now_ms: u64) -> bool {
        if self.count.load(Relaxed) == 0 {
            return true;
        }
        let mut all = self.all();
        let Some(failing) = all.get(&address) else { return true };
        if failing.down_until_ms == 0 {
            return true;
        }
        if now_ms < failing.down_until_ms {
            return false;
        }
        all.remove(&address);
        self.count.store(all.len(), Relaxed);
        true
    }

    /// Forgets what is long ago.
    pub fn sweep(&self, now_ms: u64) {
        let mut all = self.all();
        all.retain(|_, failing| {
            now_ms < failing.down_until_ms || now_ms.saturating_sub(failing.last_ms) < REMEMBERED_MS
        });
        self.count.store(all.len(), Relaxed);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<SocketAddr, Failing>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_failures_in_a_row_take_an_address_out_for_so_long() {
        let (failures, at) = (Failures::default(), "10.0.0.1:80".parse().unwrap());
        assert!(!failures.failed(at, 1, 3, 100) && !failures.failed(at, 2, 3, 100));
        failures.worked(at);
        assert!(!failures.failed(at, 3, 3, 100) && !failures.failed(at, 4, 3, 100));
        assert!(failures.may_return(at, 4));
        assert!(failures.failed(at, 5, 3, 100));
        assert!(!failures.may_return(at, 104) && failures.may_return(at, 105));
        assert!(!failures.failed(at, 106, 3, 100), "it counts from the beginning");
        failures.sweep(REMEMBERED_MS + 106);
        assert_eq!(failures.count.load(Relaxed), 0);
    }
}

//! How much of something may come in a second, for any number of keys in a table of fixed size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dwcp_decide::ddos::sketch::hash;

/// Slots; two keys are taken for one only when they meet in both of theirs.
const SLOTS: usize = 1 << 16;
/// What may come at once after a pause, as time, ns.
const BURST_NS: u64 = 250_000_000;

/// For each key the moment at which it will have used up what it had, as the generic cell rate algorithm (ITU-T I.371) keeps it.
pub struct Buckets {
    empty_at_ns: Box<[AtomicU64]>,
    seed: u64,
}

impl Buckets {
    /// Of a seed that nobody outside knows.
    pub fn new(seed: u64) -> Buckets {
        Buckets { empty_at_ns: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), seed }
    }

    /// One more of a key that may have so many a second. Two at the very same moment may count as one.
    ///
    /// # Errors
    /// It is too much: in so many ms it may try again.
    pub fn take(&self, key: u128, per_s: u32, now_ms: u64) -> Result<(), u64> {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let each_ns = 1_000_000_000 / u64::from(per_s.max(1));
        let hash = hash(self.seed, key);
        let slots =
            [hash as usize % SLOTS, (hash >> 32) as usize % SLOTS].map(|slot| &self.empty_at_ns[slot]);
        let empty_at = slots.iter().map(|slot| slot.load(Relaxed)).min().unwrap_or(0).max(now_ns);
        let next = empty_at.saturating_add(each_ns);
        let over_ns = (next - now_ns).saturating_sub(BURST_NS.max(each_ns));
        if over_ns > 0 {
            return Err(over_ns.div_ceil(1_000_000));
        }
        for slot in slots {
            slot.fetch_max(next, Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_what_it_may_have_and_no_more() {
        let buckets = Buckets::new(1);
        let passed = (0..10_000_u64).filter(|i| buckets.take(7, 100, 1_000_000 + i).is_ok()).count();
        assert!((1_000..=1_030).contains(&passed), "{passed}");
        let wait = (0..100).find_map(|_| buckets.take(7, 100, 1_010_000).err());
        assert!(wait.is_some_and(|wait| (1..=20).contains(&wait)), "{wait:?}");
    }

    #[test]
    fn keys_do_not_disturb_each_other() {
        let buckets = Buckets::new(1);
        for key in 0..2_000 {
            assert!((0..2).all(|_| buckets.take(key, 10, 5_000).is_ok()), "{key}");
            assert!(buckets.take(key, 10, 5_000).is_err(), "{key}");
        }
    }

    #[test]
    fn less_than_one_in_a_burst_is_still_one() {
        let buckets = Buckets::new(1);
        assert!(buckets.take(1, 1, 5_000).is_ok());
        assert!(buckets.take(1, 1, 5_100).is_err());
        assert!(buckets.take(1, 1, 6_000).is_ok());
        assert!(buckets.take(1, 0, 9_000).is_ok());
    }
}

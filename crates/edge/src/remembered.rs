//! Regions that networks were told: told again for a while, so that what is measured a little differently moves nobody to and fro.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Networks that are remembered; a further one takes the place of one before it.
const SLOTS: usize = 1 << 16;
/// Bits of a slot: the most of a key, a region, and when it ends in s.
const REGION_BITS: u32 = 10;
const END_BITS: u32 = 24;

/// What was told to whom. A slot is one number, so nobody waits for anybody.
pub struct Remembered {
    slots: Box<[AtomicU64]>,
    /// Decisions that were spared.
    pub used: AtomicU64,
}

impl Default for Remembered {
    fn default() -> Self {
        Remembered { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), used: AtomicU64::new(0) }
    }
}

/// The part of a slot that says whose it is.
fn whose(key: u64) -> u64 {
    key >> (REGION_BITS + END_BITS)
}

fn end(at_s: u64) -> u64 {
    at_s & ((1 << END_BITS) - 1)
}

impl Remembered {
    fn slot(&self, key: u64) -> &AtomicU64 {
        &self.slots[key as usize % SLOTS]
    }

    /// The region that was told to a key and is to be told again at `now_s`.
    pub fn recall(&self, key: u64, now_s: u64) -> Option<u16> {
        let slot = self.slot(key).load(Relaxed);
        // Half of the range is the future: what is older than 97 days may be taken for new, and is looked at as everything else.
        let left = end(slot).wrapping_sub(end(now_s)) & ((1 << END_BITS) - 1);
        let lasts = left > 0 && left < 1 << (END_BITS - 1);
        let known = slot != 0 && whose(slot) == whose(key) && lasts;
        known.then_some((slot >> END_BITS) as u16 & ((1 << REGION_BITS) - 1))
    }

    /// A region was told to a key, for so long.
    pub fn note(&self, key: u64, region: u16, (now_s, ttl_s): (u64, u64)) {
        if u32::from(region) >> REGION_BITS != 0 {
            return;
        }
        let whose = whose(key) << (REGION_BITS + END_BITS);
        self.slot(key).store(whose | u64::from(region) << END_BITS | end(now_s + ttl_s), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0xfedc_ba98_7654_3210;

    #[test]
    fn what_was_told_is_told_again_until_it_ends_and_to_nobody_else() {
        let all = Remembered::default();
        assert_eq!(all.recall(KEY, 100), None);
        all.note(KEY, 999, (100, 60));
        assert_eq!((all.recall(KEY, 100), all.recall(KEY, 159)), (Some(999), Some(999)));
        assert_eq!((all.recall(KEY, 160), all.recall(KEY, 10_000)), (None, None));
        assert_eq!(all.recall(KEY ^ 1 << 63, 100), None, "another one in the same place");
        all.note(KEY ^ 1 << 63, 7, (100, 60));
        assert_eq!(all.recall(KEY, 100), None, "it has made room");
    }

    #[test]
    fn the_end_is_found_also_when_the_seconds_begin_anew() {
        let all = Remembered::default();
        let last = (1 << END_BITS) - 5;
        all.note(KEY, 3, (last, 60));
        assert_eq!((all.recall(KEY, last + 59), all.recall(KEY, last + 60)), (Some(3), None));
    }

    #[test]
    fn a_region_beyond_the_bits_is_not_remembered() {
        let all = Remembered::default();
        all.note(KEY, 1 << REGION_BITS, (100, 60));
        assert_eq!(all.recall(KEY, 100), None);
    }
}

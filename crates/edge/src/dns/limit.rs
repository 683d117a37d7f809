//! Answers are limited by who gets them, so that nobody can be flooded with answers to questions that it did not ask.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher24;

use crate::geo::cut;

/// Buckets; each is 8 bytes. A power of two.
const SLOTS: usize = 1 << 16;
/// A bucket holds this many seconds of its rate.
const BURST_S: u64 = 2;
/// Bits of a bucket that say whose it is; the others say until when it is used up.
const TAG_BITS: u32 = 16;
const UNTIL: u64 = u64::MAX >> TAG_BITS;

/// Answers are counted by kind: who asks for names that are not there is not to be kept from those that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Found,
    NotThere,
    Error,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Send,
    /// Tell it to ask again by TCP: who lies about its address cannot.
    Slip,
    Drop,
}

/// Token buckets of a fixed number. Two networks that meet in one bucket share it while both are busy.
pub struct Limit {
    slots: Box<[AtomicU64]>,
    secret: [u8; 16],
    /// An answer uses up this much, µs.
    each_us: u64,
    limited: AtomicU32,
}

impl Limit {
    /// So many answers of a kind a second to a network.
    pub fn new(per_s: u32, secret: [u8; 16]) -> Limit {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let each_us = 1_000_000 / u64::from(per_s.max(1));
        Limit { slots, secret, each_us: each_us.max(1), limited: AtomicU32::new(0) }
    }

    /// An answer is about to go to an address; the time is since any fixed moment.
    pub fn passage(&self, to: IpAddr, kind: Kind, now_us: u64) -> Passage {
        let hash = self.hash(to, kind);
        let at = hash as usize & (SLOTS - 1);
        let tag = hash >> (64 - TAG_BITS);
        for _ in 0..4 {
            let (slot, value) = self.slot(at, tag, now_us);
            let until = (value & UNTIL).max(now_us);
            if until - now_us > BURST_S * 1_000_000 {
                let odd = self.limited.fetch_add(1, Relaxed) % 2 == 1;
                return if odd { Passage::Slip } else { Passage::Drop };
            }
            let owner = if value & UNTIL <= now_us { tag } else { value >> (64 - TAG_BITS) };
            let next = (owner << (64 - TAG_BITS)) | ((until + self.each_us) & UNTIL);
            if slot.compare_exchange(value, next, Relaxed, Relaxed).is_ok() {
                return Passage::Send;
            }
        }
        Passage::Send
    }

    /// Its own bucket, or one that nobody uses, or the one that it shares.
    fn slot(&self, at: usize, tag: u64, now_us: u64) -> (&AtomicU64, u64) {
        let both = [&self.slots[at], &self.slots[at ^ 1]].map(|slot| (slot, slot.load(Relaxed)));
        let own = both.iter().find(|(_, value)| value >> (64 - TAG_BITS) == tag && value & UNTIL > now_us);
        let idle = || both.iter().find(|(_, value)| value & UNTIL <= now_us);
        *own.or_else(idle).unwrap_or(&both[0])
    }

    fn hash(&self, to: IpAddr, kind: Kind) -> u64 {
        let mut hash = SipHasher24::new_with_key(&self.secret);
        match cut(to, if to.is_ipv4() { 24 } else { 56 }) {
            IpAddr::V4(address) => hash.write(&address.octets()),
            IpAddr::V6(address) => hash.write(&address.octets()),
        }
        hash.write_u8(kind as u8);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn sent(limit: &Limit, to: [u8; 4], kind: Kind, now_us: u64, tries: u32) -> u32 {
        let passages = (0..tries).map(|_| limit.passage(to.into(), kind, now_us));
        passages.filter(|passage| *passage == Passage::Send).count() as u32
    }

    #[test]
    fn a_network_gets_its_burst_and_then_its_rate() {
        let limit = Limit::new(100, [1; 16]);
        assert_eq!(sent(&limit, [192, 0, 2, 1], Kind::Found, SECOND, 1_000), 201);
        assert_eq!(sent(&limit, [192, 0, 2, 200], Kind::Found, 2 * SECOND, 1_000), 100);
        assert_eq!(sent(&limit, [192, 0, 3, 1], Kind::Found, 2 * SECOND, 100), 100);
        assert_eq!(sent(&limit, [192, 0, 2, 1], Kind::Error, 2 * SECOND, 100), 100);
    }

    #[test]
    fn every_second_limited_answer_slips() {
        let limit = Limit::new(1, [1; 16]);
        let all: Vec<Passage> =
            (0..100).map(|_| limit.passage([192, 0, 2, 1].into(), Kind::Found, SECOND)).collect();
        let slips = all.iter().filter(|passage| **passage == Passage::Slip).count();
        assert_eq!((slips, all.iter().filter(|passage| **passage == Passage::Send).count()), (48, 3));
    }

    #[test]
    fn many_networks_cannot_free_a_busy_one() {
        let limit = Limit::new(10, [1; 16]);
        sent(&limit, [192, 0, 2, 1], Kind::Found, SECOND, 100);
        for other in 0..200_000_u32 {
            limit.passage(IpAddr::V4((0x0a00_0000 + other * 256).into()), Kind::Found, SECOND);
        }
        assert_eq!(sent(&limit, [192, 0, 2, 1], Kind::Found, SECOND, 100), 0);
    }
}

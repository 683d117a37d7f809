//! How much of a piece of work can be shared out at all.

use std::sync::atomic::{AtomicU64, Ordering};

use dwcp_decide::Workers;

use crate::times::cpu_ns;

/// Runs every piece itself and notes how long they took: what is left can't be shared out, however many there are to help.
/// Other than a time by the clock, it can be measured on a busy machine.
#[derive(Default)]
pub struct Share {
    pieces_ns: AtomicU64,
}

impl Workers for Share {
    fn width(&self) -> usize {
        2
    }

    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        let before = cpu_ns();
        (0..count).for_each(piece);
        self.pieces_ns.fetch_add(cpu_ns() - before, Ordering::Relaxed);
    }
}

impl Share {
    /// Of work that took `whole_ns` with this door: the part in pieces, in percent, and how many times as fast two that
    /// share them equally could be.
    pub fn of(self, whole_ns: u64) -> (f64, f64) {
        let part = self.pieces_ns.into_inner() as f64 / whole_ns.max(1) as f64;
        (100.0 * part, 1.0 / (1.0 - part / 2.0))
    }
}

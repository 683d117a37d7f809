//! What a store says of itself.

use std::sync::atomic::Ordering;

use super::block::Tier;
use super::{Reason, Store};

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Series with samples in memory.
    pub series: u64,
    /// Samples in memory.
    pub head_samples: u64,
    /// Memory of these samples, bytes.
    pub head_bytes: u64,
    pub wal_bytes: u64,
    pub fine_blocks: u64,
    pub fine_samples: u64,
    pub fine_bytes: u64,
    pub coarse_blocks: u64,
    pub coarse_samples: u64,
    pub coarse_bytes: u64,
    /// Since the store was opened.
    pub refused: Vec<(Reason, u64)>,
}

impl Stats {
    /// On the disk, of the samples as they came, index included; 0 without a block.
    pub fn bytes_per_sample(&self) -> f64 {
        if self.fine_samples == 0 { 0.0 } else { self.fine_bytes as f64 / self.fine_samples as f64 }
    }
}

impl Store {
    pub fn stats(&self) -> Stats {
        let wal_bytes = self.wal().bytes();
        let refused =
            Reason::ALL.map(|reason| (reason, self.refused[reason as usize].load(Ordering::Relaxed)));
        let mut stats = Stats { wal_bytes, refused: refused.to_vec(), ..Stats::default() };
        {
            let head = self.head();
            stats.series = head.series_count() as u64;
            (stats.head_samples, stats.head_bytes) = (head.samples, head.bytes);
        }
        for block in self.blocks().iter() {
            let (blocks, samples, bytes) = match block.tier() {
                Tier::Fine => (&mut stats.fine_blocks, &mut stats.fine_samples, &mut stats.fine_bytes),
                Tier::Coarse => {
                    (&mut stats.coarse_blocks, &mut stats.coarse_samples, &mut stats.coarse_bytes)
                }
            };
            *blocks += 1;
            *samples += block.directory.samples;
            *bytes += block.bytes;
        }
        stats
    }
}

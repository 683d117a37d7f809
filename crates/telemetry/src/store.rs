//! A metric store on the local disk: samples in, series out.
//!
//! What is appended goes to a write-ahead log ([`wal`]) and to memory ([`head`]). When the samples of a span of time (2 h) are
//! complete, since older ones are not taken in any more, they become a block ([`block`]), a file that is never changed; blocks are
//! put together to larger ones. Nothing in memory and no two blocks of one tier overlap in time, so no sample is there twice.
//!
//! **What is kept for longer.** Of each series the last sample of each 5 min, with its own time. When that is the mark of its end, the
//! sample before it is kept too. So on what is older than the fine samples (15 days): `rate` and `increase` are right over ranges of
//! several such windows, but for what a counter counted between its last kept sample and a reset; `avg_over_time` and `quantile_over_time`
//! are over samples of a gauge every 5 min; `max_over_time` and `min_over_time` may miss what was between. A range must span at least
//! two windows (10 min) to hold the two samples that `rate` needs. A histogram is kept like a counter. [`Select::step_ms`] of at least
//! two windows has coarse samples read where there are fine ones too.
//!
//! [`Select::step_ms`]: crate::model::Select::step_ms

mod append;
mod batch;
mod block;
mod bytes;
mod chunk;
mod compress;
mod config;
mod cost;
mod decimal;
pub mod decoders;
pub mod disk;
mod error;
mod head;
mod histogram;
mod maintain;
mod open;
mod page;
mod postings;
mod read;
#[cfg(test)]
mod samples;
mod stats;
mod wal;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use batch::{Appended, Reason, Room, Row, SeriesRef};
use block::{Block, Tier};
pub use config::{Config, Fsync};
use disk::Disk;
pub use error::StoreError;
use head::Head;
pub use maintain::Maintained;
pub use open::Opened;
pub use stats::Stats;
use wal::Wal;

const NOT_POISONED: &str = "no thread panicked while it held the lock";

/// A metric store. Locks are taken in this order: maintenance, log, head, blocks.
pub struct Store {
    config: Config,
    disk: Arc<dyn Disk>,
    /// Held by who writes blocks. Which spans are damaged and are not put together again and again.
    maintenance: Mutex<BTreeSet<(Tier, i64)>>,
    wal: Mutex<Wal>,
    head: RwLock<Head>,
    /// In ascending order of tier, then time.
    blocks: RwLock<Arc<Vec<Arc<Block>>>>,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Store {
    fn wal(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().expect(NOT_POISONED)
    }

    fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().expect(NOT_POISONED)
    }

    fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().expect(NOT_POISONED)
    }

    fn blocks(&self) -> Arc<Vec<Arc<Block>>> {
        Arc::clone(&self.blocks.read().expect(NOT_POISONED))
    }

    /// Puts blocks in the place of others.
    fn replace_blocks(&self, gone: &[Arc<Block>], new: Vec<Arc<Block>>) {
        let mut blocks = self.blocks.write().expect(NOT_POISONED);
        let kept = blocks.iter().filter(|block| !gone.iter().any(|gone| Arc::ptr_eq(gone, block)));
        let mut all: Vec<Arc<Block>> = kept.cloned().chain(new).collect();
        all.sort_by_key(|block| (block.tier(), block.directory.start_ms));
        *blocks = Arc::new(all);
    }
}

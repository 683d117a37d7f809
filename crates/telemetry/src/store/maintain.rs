//! What is done from time to time: memory becomes blocks, blocks are put together, thinned out and removed.

mod coarse;
mod compact;

use std::sync::Arc;

use super::block::{Block, BlockWriter};
use super::{Config, Store, StoreError, Tier};
use crate::model::Labels;

/// Series that are copied out of memory at once, so that appends do not wait long.
const SERIES_AT_ONCE: usize = 256;
/// Series that are relieved of what was written at once.
const SERIES_CUT_AT_ONCE: usize = 8192;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Blocks that were written from memory.
    pub flushed: u32,
    /// Blocks that were put together from others.
    pub compacted: u32,
    /// Blocks of coarse samples that were made.
    pub thinned: u32,
    /// Blocks that were removed, since they are too old or too large.
    pub removed: u32,
    /// What could not be done; it is tried again at the next call, but for what is damaged.
    pub problems: Vec<StoreError>,
}

impl Store {
    /// Does what is due: to be called every second or so, by one thread. Appends and reads go on meanwhile.
    ///
    /// How old samples are is measured against the newest one, not against the clock: a clock that runs away removes nothing.
    pub fn maintain(&self, now_ms: i64) -> Maintained {
        let mut damaged = self.maintenance.lock().expect(super::NOT_POISONED);
        let mut done = Maintained::default();
        let synced = self.wal().sync_if_due(now_ms);
        done.problems.extend(synced.err());
        self.remove_old(&mut done);
        let flushed = self.flush_due(&mut done);
        done.problems.extend(flushed.err());
        self.compact(Tier::Fine, self.config.compacted_ms, &mut damaged, &mut done);
        let thinned = self.thin_out(&mut done);
        done.problems.extend(thinned.err());
        self.compact(Tier::Coarse, self.config.coarse_compacted_ms, &mut damaged, &mut done);
        self.remove_old(&mut done);
        done
    }

    /// What is before this is in blocks of the tier.
    fn reached_ms(&self, tier: Tier) -> i64 {
        let blocks = self.blocks();
        let ends = blocks.iter().filter(|block| block.tier() == tier).map(|block| block.directory.end_ms);
        ends.max().unwrap_or(i64::MIN)
    }

    fn flush_due(&self, done: &mut Maintained) -> Result<(), StoreError> {
        while let Some((start_ms, end_ms)) = self.due_span() {
            self.flush(start_ms.max(self.reached_ms(Tier::Fine)), end_ms)?;
            done.flushed += 1;
        }
        Ok(())
    }

    /// From where to where memory is to be written to a block. From here on nothing is taken in that is older than its end.
    fn due_span(&self) -> Option<(i64, i64)> {
        // No batch is between being looked at and being applied.
        let _wal = self.wal();
        let mut head = self.head_mut();
        let Config { block_ms, coarse_ms, window_ms, head_bytes_max, .. } = self.config;
        let oldest_ms = head.oldest_ms?;
        let floor_ms = head.floor_ms(window_ms);
        let start_ms = oldest_ms.div_euclid(block_ms).saturating_mul(block_ms);
        let mut end_ms = start_ms.saturating_add(block_ms);
        if floor_ms < end_ms {
            let early_ms = floor_ms.div_euclid(coarse_ms).saturating_mul(coarse_ms);
            // When memory is nearly full, samples out of order are given up before all samples are.
            let given_up_ms = head.newest_ms.unwrap_or(floor_ms);
            end_ms = match head.bytes {
                bytes if bytes > head_bytes_max / 2 && early_ms > oldest_ms => early_ms,
                bytes if bytes > head_bytes_max / 4 * 3 && given_up_ms > oldest_ms => given_up_ms.min(end_ms),
                _ => return None,
            };
        }
        head.flushed_to_ms = head.flushed_to_ms.max(end_ms);
        Some((start_ms, end_ms))
    }

    /// Writes what is in memory before `end_ms` to a block: nothing is taken in there any more.
    fn flush(&self, start_ms: i64, end_ms: i64) -> Result<(), StoreError> {
        let mut all: Vec<(Labels, u32)> = self.head().all();
        all.sort_unstable();
        let mut writer = BlockWriter::new(&*self.disk, Tier::Fine, start_ms, end_ms)?;
        let (mut samples, mut refs) = (Vec::new(), Vec::new());
        for some in all.chunks(SERIES_AT_ONCE) {
            let copied: Vec<_> = {
                let head = self.head();
                some.iter().map(|(_, slot)| head.chunks(*slot, start_ms, end_ms - 1)).collect()
            };
            for ((labels, _), chunks) in some.iter().zip(copied) {
                samples.clear();
                for chunk in chunks {
                    chunk.decode(&mut samples).map_err(StoreError::damaged("memory", 0))?;
                }
                samples.truncate(samples.partition_point(|sample| sample.at_ms < end_ms));
                if !samples.is_empty() {
                    refs.clear();
                    writer.samples(&samples, &mut refs)?;
                    writer.series(&labels.iter().collect::<Vec<_>>(), &refs)?;
                }
            }
        }
        let named = writer.finish()?;
        let block = named.map(|name| Block::open(&*self.disk, &name)).transpose()?;
        {
            let mut head = self.head_mut();
            self.replace_blocks(&[], block.into_iter().map(Arc::new).collect());
            head.oldest_ms = None;
        }
        self.forget(end_ms);
        let mut wal = self.wal();
        wal.cut_before(end_ms)?;
        self.head_mut().free_retired();
        Ok(())
    }

    /// Forgets what memory holds from before `end_ms`, some series at a time, so that appends do not wait long. Readers look at blocks
    /// for it already.
    fn forget(&self, end_ms: i64) {
        let mut first = 0;
        while first < self.head().slots() {
            // No batch is between being looked at and being applied.
            let _wal = self.wal();
            self.head_mut().cut_before(first..first + SERIES_CUT_AT_ONCE, end_ms);
            first += SERIES_CUT_AT_ONCE;
        }
    }

    /// Removes blocks that are too old, and the oldest while all are too large.
    fn remove_old(&self, done: &mut Maintained) {
        let newest_ms = self.head().newest_ms.unwrap_or(i64::MIN).max(self.reached_ms(Tier::Fine));
        let coarse_to_ms = self.reached_ms(Tier::Coarse);
        let is_old = |block: &Block| {
            let end_ms = block.directory.end_ms;
            match block.tier() {
                Tier::Fine => {
                    end_ms <= newest_ms.saturating_sub(self.config.fine_retention_ms)
                        && end_ms <= coarse_to_ms
                }
                Tier::Coarse => end_ms <= newest_ms.saturating_sub(self.config.coarse_retention_ms),
            }
        };
        let blocks = self.blocks();
        let (mut gone, mut kept): (Vec<_>, Vec<_>) = blocks.iter().cloned().partition(|block| is_old(block));
        if let Some(limit) = self.config.blocks_bytes_max {
            kept.sort_by_key(|block| std::cmp::Reverse((block.directory.end_ms, block.tier())));
            let mut bytes: u64 = kept.iter().map(|block| block.bytes).sum();
            while bytes > limit {
                let Some(oldest) = kept.pop() else { break };
                bytes -= oldest.bytes;
                gone.push(oldest);
            }
        }
        done.removed += gone.len() as u32;
        self.replace_blocks(&gone, Vec::new());
        let removed = self.remove_files(&gone);
        done.problems.extend(removed.err());
    }

    /// Removes the files of blocks that are not read any more. What is left over is found again at the next open.
    fn remove_files(&self, gone: &[Arc<Block>]) -> Result<(), StoreError> {
        for block in gone {
            self.disk.remove(&block.name).map_err(StoreError::disk(&block.name, "removing"))?;
        }
        if gone.is_empty() {
            Ok(())
        } else {
            self.disk.sync().map_err(StoreError::disk("", "syncing the store's folder"))
        }
    }
}

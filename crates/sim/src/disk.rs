//! A node's disk: what was made durable stays, what was only handed over is lost with the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dwcp_consensus::{Batch, Disk as Door};
use dwcp_types::Rng;

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    pending: VecDeque<(u64, Batch)>,
    /// Batches that begin an empty disk.
    fresh: BTreeSet<u64>,
    renew: bool,
    /// Time to make a batch durable, µs.
    pub fsync_us: u64,
}

impl Disk {
    /// An empty disk.
    pub fn new(fsync_us: u64) -> Disk {
        Disk { fsync_us, ..Disk::default() }
    }

    /// Takes a batch; it is not durable yet.
    pub fn hand_over(&mut self, seq: u64, batch: Batch) {
        if std::mem::take(&mut self.renew) {
            self.fresh.insert(seq);
        }
        self.pending.push_back((seq, batch));
    }

    /// The next batch holds everything: nothing else is left once it is durable.
    pub fn renew(&mut self) {
        self.renew = true;
    }

    /// Makes everything up to `seq` durable. False when the process it came from is gone, and the batch with it.
    pub fn sync(&mut self, seq: u64) -> bool {
        let mut found = false;
        while self.pending.front().is_some_and(|(number, _)| *number <= seq) {
            let Some((number, batch)) = self.pending.pop_front() else { break };
            self.write(number, batch);
            found = true;
        }
        found
    }

    fn write(&mut self, seq: u64, batch: Batch) {
        if self.fresh.remove(&seq) {
            self.durable.clear();
        }
        for (from, to) in batch.delete_ranges {
            let doomed: Vec<Vec<u8>> = self.durable.range(from..to).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                self.durable.remove(&key);
            }
        }
        for key in batch.deletes {
            self.durable.remove(&key);
        }
        self.durable.extend(batch.puts);
    }

    /// The process dies. Batches that were not synced are lost, but for a prefix of them that the disk had taken already.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.pending.len() as u64 + 1) as usize;
        for (seq, batch) in std::mem::take(&mut self.pending).into_iter().take(kept) {
            self.write(seq, batch);
        }
        (self.fresh, self.renew) = (BTreeSet::new(), false);
    }

    /// Flips one bit of one record. False when there is none.
    pub fn rot(&mut self, rng: &mut Rng) -> bool {
        let count = self.durable.len() as u64;
        let Some((_, value)) = self.durable.iter_mut().nth(rng.below(count.max(1)) as usize) else {
            return false;
        };
        if value.is_empty() {
            return false;
        }
        let at = rng.below(value.len() as u64) as usize;
        value[at] ^= 1 << rng.below(8);
        true
    }
}

impl Door for Disk {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let range = self.durable.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
    }
}

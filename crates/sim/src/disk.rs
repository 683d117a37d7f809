//! A node's disk: what was made durable stays, what was only handed over is lost with the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dwcp_consensus::{Batch, Disk as Door};
use dwcp_roles::node::{Input, StoreCheck};
use dwcp_types::{NodeId, Rng};

use crate::world::World;

/// Time to read a disk back, µs.
pub(crate) const READ_BACK_US: u64 = 200_000;

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

    /// A disk that holds this.
    pub fn holding(fsync_us: u64, batch: Batch) -> Disk {
        let mut disk = Disk::new(fsync_us);
        disk.durable.extend(batch.puts);
        disk
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

impl World {
    /// A node's batch is durable, unless its process has died meanwhile.
    pub(crate) fn durable(&mut self, number: NodeId, life: u64, seq: u64) {
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        let same = slot.life == life;
        let synced = same && slot.node.is_some() && slot.disk.sync(seq);
        if synced || (same && slot.paused_until_us > 0) {
            self.step_node(number, Input::Persisted { seq });
        }
    }

    /// A node's disk is read back as it is between two batches.
    pub(crate) fn read_back(&mut self, number: NodeId, life: u64) {
        let slot = &self.nodes[&number];
        if slot.life != life || slot.node.is_none() {
            return;
        }
        let mut check = StoreCheck { took_ms: READ_BACK_US / 1_000, ..StoreCheck::default() };
        for group in 0..=self.options.regions as u64 {
            let found = dwcp_consensus::examine(group, &slot.disk);
            check.records += found.records;
            check.bytes += found.bytes;
            check.flaws.extend(found.flaws.into_iter().map(|flaw| (Some(group), flaw)));
        }
        check.file_bytes = check.bytes;
        self.step_node(number, Input::StoreChecked(check));
    }
}

impl Door for Disk {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let range = self.durable.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
    }
}

//! The log of one group in memory, since its last truncation: what the Raft crate reads. The disk is written to, never
//! read, while the group is open.

use crate::records::{Hard, StoredSnapshot};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

pub(crate) struct Log {
    /// As read when the group was opened.
    start: Hard,
    snapshot: StoredSnapshot,
    /// All entries behind `snapshot.before_index`.
    entries: VecDeque<Entry>,
    /// A peer needs a snapshot that is not here; the caller must make one.
    wanted: Cell<bool>,
}

impl Log {
    pub fn new(start: Hard, snapshot: StoredSnapshot, entries: VecDeque<Entry>) -> Self {
        Self { start, snapshot, entries, wanted: Cell::new(false) }
    }

    pub fn snapshot_record(&self) -> &StoredSnapshot {
        &self.snapshot
    }

    pub fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    pub fn first(&self) -> u64 {
        self.snapshot.before_index + 1
    }

    pub fn last(&self) -> u64 {
        self.snapshot.before_index + self.entries.len() as u64
    }

    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.snapshot.before_term, |entry| entry.term)
    }

    /// Appends entries, first dropping what they replace. Returns the last index before.
    pub fn append(&mut self, entries: &[Entry]) -> u64 {
        let last = self.last();
        let Some(first) = entries.first() else { return last };
        assert!(first.index > self.snapshot.before_index && first.index <= last + 1, "a gap in the log");
        self.entries.truncate((first.index - self.first()) as usize);
        self.entries.extend(entries.iter().cloned());
        last
    }

    /// Everything is replaced by a snapshot from the leader.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let metadata = snapshot.get_metadata();
        self.entries.clear();
        self.snapshot = StoredSnapshot {
            index: metadata.index,
            term: metadata.term,
            members: metadata.get_conf_state().clone(),
            before_index: metadata.index,
            before_term: metadata.term,
            data: Some(snapshot.data.to_vec()),
        };
    }

    /// Takes a snapshot made here and drops entries up to `keep_from`, exclusive. None when the index is not newer
    /// than the snapshot at hand or is not in the log.
    pub fn compact(&mut self, index: u64, members: ConfState, data: Vec<u8>, keep: u64) -> Option<()> {
        if index <= self.snapshot.index {
            return None;
        }
        let term = self.term_at(index)?;
        let before_index = index.saturating_sub(keep).max(self.snapshot.before_index);
        let before_term = self.term_at(before_index)?;
        self.entries.drain(..(before_index - self.snapshot.before_index) as usize);
        self.snapshot = StoredSnapshot { index, term, members, before_index, before_term, data: Some(data) };
        Some(())
    }

    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.snapshot.before_index {
            return Some(self.snapshot.before_term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// All entries, oldest first.
    pub fn entries_in_order(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.first())? as usize)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        let mut hard = HardState::default();
        hard.term = self.start.term;
        hard.vote = self.start.vote;
        hard.commit = self.start.commit;
        Ok(RaftState::new(hard, self.snapshot.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0u64;
        let mut entries = Vec::new();
        for index in low..high {
            let entry = &self.entries[(index - self.first()) as usize];
            size += entry.data.len() as u64 + 24;
            if size > limit && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.snapshot.before_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_at(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        // A receiver refuses a snapshot that does not count it among the members: one who joined after it was made
        // needs a newer one.
        let members = &self.snapshot.members;
        let mut counted = members.voters.iter().chain(&members.learners).chain(&members.voters_outgoing);
        let usable = self.snapshot.index >= request_index && counted.any(|member| *member == to);
        let Some(data) = self.snapshot.data.as_ref().filter(|_| usable) else {
            self.wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot::default();
        snapshot.data = data.clone().into();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.snapshot.index;
        metadata.term = self.snapshot.term;
        metadata.set_conf_state(self.snapshot.members.clone());
        Ok(snapshot)
    }
}

//! What a replica finds on the disk when it is opened, and whether that is all it once wrote.

use crate::records::{self, Hard, Record, Repair, StoredSnapshot};
use crate::{Disk, GroupId, GroupSetup, NodeId};
use raft::eraftpb::{ConfState, Entry};
use std::collections::VecDeque;

/// The index and term that every founding member starts from. Not zero: a member that joins later starts at zero, and
/// the gap makes the leader send it a snapshot, which brings the members.
const FOUNDING: u64 = 1;

pub(crate) struct Found {
    pub hard: Hard,
    pub snapshot: StoredSnapshot,
    pub entries: VecDeque<Entry>,
    /// Some: the replica is damaged. `snapshot` and `entries` are still usable when the log is not what was lost.
    pub repair: Option<Repair>,
    /// A record of the damage is already on the disk.
    pub repair_recorded: bool,
    /// The first batch must write hard state and snapshot.
    pub fresh: bool,
}

/// Reads the group's records.
pub(crate) fn recover(node: NodeId, setup: &GroupSetup, now_us: u64, door: &dyn Disk) -> Found {
    let mut raw = Raw::default();
    let (from, to) = records::group_range(setup.group);
    for (key, value) in door.range(&from, &to) {
        raw.add(setup.group, &key, &value);
    }
    let mut found = if raw.empty { fresh(node, setup, now_us) } else { raw.judge(now_us) };
    // A name of an earlier opening must never come again: see `reads`.
    found.hard.boot += 1;
    found
}

fn fresh(node: NodeId, setup: &GroupSetup, now_us: u64) -> Found {
    let boot = if setup.lost { unused_boot(now_us) } else { 0 };
    let mut found = Found {
        hard: Hard { boot, ..Hard::default() },
        snapshot: StoredSnapshot::default(),
        entries: VecDeque::new(),
        repair: setup.lost.then_some(Repair { vote_lost: true }),
        repair_recorded: false,
        fresh: true,
    };
    let founder = setup.voters.contains(&node) || setup.learners.contains(&node);
    if founder && !setup.lost {
        let mut members = ConfState::default();
        members.voters = setup.voters.clone();
        members.learners = setup.learners.clone();
        found.snapshot = StoredSnapshot {
            index: FOUNDING,
            term: FOUNDING,
            members,
            before_index: FOUNDING,
            before_term: FOUNDING,
            data: None,
        };
        found.hard = Hard {
            term: FOUNDING,
            commit: FOUNDING,
            last_index: FOUNDING,
            last_term: FOUNDING,
            snapshot: FOUNDING,
            ..Hard::default()
        };
    }
    found
}

#[derive(Debug)]
pub(crate) struct Raw {
    empty: bool,
    hard: [Option<Hard>; 2],
    repair: Option<Option<Repair>>,
    snapshot: Option<StoredSnapshot>,
    entries: VecDeque<Entry>,
    /// A record of the log or its snapshot did not match its checksum.
    corrupt: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            empty: true,
            hard: [None; 2],
            repair: None,
            snapshot: None,
            entries: VecDeque::new(),
            corrupt: false,
        }
    }
}

impl Raw {
    pub fn add(&mut self, group: GroupId, key: &[u8], value: &[u8]) {
        self.empty = false;
        let hard_at = records::hard_keys(group).iter().position(|hard| hard == key);
        match records::decode(key, value) {
            Some(Record::Hard(hard)) => {
                if let Some(at) = hard_at {
                    self.hard[at] = Some(hard);
                }
            }
            Some(Record::Repair(repair)) => self.repair = Some(Some(repair)),
            Some(Record::Snapshot(snapshot)) => self.snapshot = Some(snapshot),
            Some(Record::Entry(entry)) => self.entries.push_back(entry),
            // One good copy of the hard state is enough.
            None if hard_at.is_some() => {}
            None if key == records::repair_key(group) => self.repair = Some(None),
            None => self.corrupt = true,
        }
    }

    /// Why what was found is not what was written, besides records that do not match their checksums; none when it is.
    pub fn missing(&self) -> Option<&'static str> {
        if self.empty {
            return Some("nothing of it is there");
        }
        let [Some(one), Some(two)] = &self.hard else {
            return Some("a copy of its term and vote is gone");
        };
        let hard = if rank(one) >= rank(two) { one } else { two };
        // A replica that is being repaired has an empty log, as its hard state says.
        let whole = log_whole(hard, self.snapshot.as_ref(), &self.entries);
        (!whole).then_some("records of its log are missing")
    }

    fn judge(self, now_us: u64) -> Found {
        // Copies differ only when a batch was torn; nothing was said on the ground of a torn batch, so either would
        // do, and the newer one promises more.
        let hard = match self.hard {
            [Some(one), Some(two)] => Some(if rank(&one) >= rank(&two) { one } else { two }),
            [one, two] => one.or(two),
        };
        let recorded = self.repair;
        let repair_recorded = recorded.is_some();
        let Some(hard) = hard else {
            let hard = Hard { boot: unused_boot(now_us), ..Hard::default() };
            let repair = Some(Repair { vote_lost: true });
            return damaged(hard, repair, repair_recorded);
        };
        let known = recorded.map(|repair| repair.unwrap_or(Repair { vote_lost: true }));
        let log_whole = !self.corrupt && log_whole(&hard, self.snapshot.as_ref(), &self.entries);
        if !log_whole {
            return damaged(hard, known.or(Some(Repair { vote_lost: false })), repair_recorded);
        }
        let snapshot = self.snapshot.unwrap_or_default();
        Found { hard, snapshot, entries: self.entries, repair: known, repair_recorded, fresh: false }
    }
}

/// A name for reads and candidacies that no earlier opening used: openings are counted, and microseconds run faster.
fn unused_boot(now_us: u64) -> u64 {
    (1 << 62) | now_us
}

fn rank(hard: &Hard) -> (u64, bool, u64, u64) {
    (hard.term, hard.vote != 0, hard.boot, hard.commit)
}

fn damaged(hard: Hard, repair: Option<Repair>, repair_recorded: bool) -> Found {
    Found {
        hard: Hard { boot: hard.boot, term: hard.term, vote: hard.vote, ..Hard::default() },
        snapshot: StoredSnapshot::default(),
        entries: VecDeque::new(),
        repair,
        repair_recorded,
        fresh: false,
    }
}

/// Nothing that was once written is missing: the log reaches without a gap from the snapshot to the last entry that
/// the hard state names.
fn log_whole(hard: &Hard, snapshot: Option<&StoredSnapshot>, entries: &VecDeque<Entry>) -> bool {
    let none = StoredSnapshot::default();
    let snapshot = snapshot.unwrap_or(&none);
    let mut index = snapshot.before_index;
    let mut term = snapshot.before_term;
    let mut snapshot_term = (index == snapshot.index).then_some(term);
    for entry in entries {
        if entry.index != index + 1 || entry.term < term {
            return false;
        }
        (index, term) = (entry.index, entry.term);
        if index == snapshot.index {
            snapshot_term = Some(term);
        }
    }
    (index, term) == (hard.last_index, hard.last_term)
        && snapshot.index == hard.snapshot
        && snapshot_term == Some(snapshot.term)
        && hard.commit >= snapshot.index
        && hard.commit <= index
        && hard.term >= term
}

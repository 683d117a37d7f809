//! What restoring a backup would change.

use std::cmp::Ordering;

use dwcp_types::GroupId;

use crate::chunk::Record;
use crate::error::Error;
use crate::repository::Repository;

/// What a restore would do to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bring it back: it is in the backup only.
    Added,
    /// Give it another value.
    Changed,
    /// Take it away: it is not in the backup.
    Removed,
}

/// The difference between a state and a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Records that a restore would bring back.
    pub added: u64,
    /// Records that it would change.
    pub changed: u64,
    /// Records that it would take away.
    pub removed: u64,
    /// Records that are the same.
    pub same: u64,
    /// The first of those that differ.
    pub names: Vec<(Change, GroupId, Vec<u8>)>,
}

impl Repository {
    /// What restoring a backup would change in the state `current`, sorted by group and key; keeps the names of the first
    /// `names`.
    ///
    /// # Errors
    /// As [`Repository::restore`].
    pub fn diff(
        &self,
        sequence: Option<u64>,
        current: impl Iterator<Item = Record>,
        names: usize,
    ) -> Result<Difference, Error> {
        let (_, records) = self.restore(sequence)?;
        let mut found = Difference::default();
        let mut current = current.peekable();
        let mut note = |change, record: &Record| {
            match change {
                Change::Added => found.added += 1,
                Change::Changed => found.changed += 1,
                Change::Removed => found.removed += 1,
            }
            if found.names.len() < names {
                found.names.push((change, record.group, record.key.clone()));
            }
        };
        let mut same = 0;
        for kept in records {
            let kept = kept?;
            loop {
                let order = current.peek().map(|now| (now.group, &now.key).cmp(&(kept.group, &kept.key)));
                match (order, current.peek()) {
                    (Some(Ordering::Less), Some(now)) => note(Change::Removed, now),
                    (Some(Ordering::Equal), Some(now)) => {
                        if now.value == kept.value {
                            same += 1;
                        } else {
                            note(Change::Changed, &kept);
                        }
                        current.next();
                        break;
                    }
                    _ => {
                        note(Change::Added, &kept);
                        break;
                    }
                }
                current.next();
            }
        }
        for now in current {
            note(Change::Removed, &now);
        }
        found.same = same;
        Ok(found)
    }
}

//! What restoring a backup would change.

use dwcp_types::GroupId;

use crate::chain::Backup;
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

/// A record that a restore would touch.
#[derive(Clone, Copy, Debug)]
pub struct Differing<'r> {
    /// What it would do.
    pub change: Change,
    /// Its group.
    pub group: GroupId,
    /// Its key.
    pub key: &'r [u8],
    /// What it is now; none: it is in the backup only.
    pub now: Option<&'r [u8]>,
    /// What it is in the backup; none: it is not there.
    pub kept: Option<&'r [u8]>,
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
        let mut first = Vec::new();
        let (_, mut found) = self.compare(sequence, current, |one| {
            if first.len() < names {
                first.push((one.change, one.group, one.key.to_vec()));
            }
        })?;
        found.names = first;
        Ok(found)
    }

    /// The same, for a caller who looks at every record that differs, in order. What it was told counts only when there is no error.
    ///
    /// # Errors
    /// As [`Repository::restore`].
    pub fn compare(
        &self,
        sequence: Option<u64>,
        current: impl Iterator<Item = Record>,
        mut tell: impl FnMut(Differing<'_>),
    ) -> Result<(Backup, Difference), Error> {
        let (backup, records) = self.restore(sequence)?;
        let mut found = Difference::default();
        let mut current = current.peekable();
        for kept in records {
            let kept = kept?;
            while let Some(now) = current.next_if(|now| (now.group, &now.key) < (kept.group, &kept.key)) {
                found.removed += 1;
                tell(of(Change::Removed, &now, Some(&now.value), None));
            }
            match current.next_if(|now| (now.group, &now.key) == (kept.group, &kept.key)) {
                Some(now) if now.value == kept.value => found.same += 1,
                Some(now) => {
                    found.changed += 1;
                    tell(of(Change::Changed, &kept, Some(&now.value), Some(&kept.value)));
                }
                None => {
                    found.added += 1;
                    tell(of(Change::Added, &kept, None, Some(&kept.value)));
                }
            }
        }
        for now in current {
            found.removed += 1;
            tell(of(Change::Removed, &now, Some(&now.value), None));
        }
        Ok((backup, found))
    }
}

fn of<'r>(
    change: Change,
    record: &'r Record,
    now: Option<&'r [u8]>,
    kept: Option<&'r [u8]>,
) -> Differing<'r> {
    Differing { change, group: record.group, key: &record.key, now, kept }
}

//! Looks at what lies on a disk without opening anything: whether every record is as it was written, and all are there.

use crate::records;
use crate::recover::Raw;
use crate::{Disk, GroupId};

/// What the disk holds of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Records read.
    pub records: u64,
    /// Their bytes, keys and values.
    pub bytes: u64,
    /// What is not as it was written, a line each; at most sixteen.
    pub flaws: Vec<String>,
}

const FLAWS: usize = 16;

/// Reads every record of a group between two batches, and compares each with its checksum.
pub fn examine(group: GroupId, door: &dyn Disk) -> Examined {
    let mut found = Examined::default();
    let mut raw = Raw::default();
    let (from, to) = records::group_range(group);
    for (key, value) in door.range(&from, &to) {
        found.records += 1;
        found.bytes += (key.len() + value.len()) as u64;
        if records::decode(&key, &value).is_none() {
            found.flaws.push(format!("{} does not match its checksum", records::name(&key)));
            found.flaws.truncate(FLAWS);
        }
        raw.add(group, &key, &value);
    }
    if found.flaws.is_empty() {
        found.flaws.extend(raw.missing().map(str::to_string));
    }
    found
}

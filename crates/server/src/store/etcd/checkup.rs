//! The store read back from every member of the cluster while it is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use dwcp_consensus::{Disk, examine};
use dwcp_roles::node::StoreCheck;
use dwcp_types::GroupId;

use super::client::{Client, Trouble};
use super::layout::{Index, Keys};
use super::reading::{Found, Reading, shown};

/// The store between two commits, to be read when there is time.
pub(in crate::store) struct Checkup {
    pub(super) client: Arc<Client>,
    pub(super) keys: Keys,
    pub(super) revision: u64,
    /// What the process that writes knows to be there.
    pub(super) index: Index,
    /// How long the writer was held up, µs.
    pub(super) held_us: u64,
    /// While it lives, nothing is compacted.
    pub(super) _reading: Arc<()>,
}

/// What a member holds.
struct Looked<'a>(&'a BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk for Looked<'_> {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let range = self.0.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl Checkup {
    /// Reads all of it from every member, each its own copy, and compares every record with what was written and every record of
    /// the groups with its own checksum.
    pub(in crate::store) fn run(self, groups: &[GroupId]) -> StoreCheck {
        let began = Instant::now();
        let mut check = StoreCheck { held_us: self.held_us, ..StoreCheck::default() };
        let mut silent = Vec::new();
        for (member, endpoint) in self.client.endpoints().iter().enumerate() {
            let reading = Reading {
                client: &self.client,
                keys: &self.keys,
                revision: self.revision,
                member: Some(member),
            };
            match reading.records(b"", None, true) {
                Ok(found) => {
                    check.file_bytes = check.file_bytes.max(found.bytes);
                    check.bytes += found.bytes;
                    self.compare(endpoint, &found, groups, &mut check);
                }
                // A member that is away is no damage, and its copy is not known to be whole.
                Err(Trouble::NoAnswer(why)) => silent.push(why),
                Err(other) => silent.push(format!("{endpoint}: {other}")),
            }
        }
        check.unread = silent.join("; ");
        check.took_ms = began.elapsed().as_millis() as u64;
        check
    }

    fn compare(&self, endpoint: &str, found: &Found, groups: &[GroupId], check: &mut StoreCheck) {
        let mut named = BTreeSet::new();
        for group in groups {
            let examined = examine(*group, &Looked(&found.values));
            check.records += examined.records;
            if !examined.flaws.is_empty() {
                named.insert(*group);
            }
            let flaws = examined.flaws.into_iter();
            check.flaws.extend(flaws.map(|flaw| (Some(*group), format!("{flaw} (at {endpoint})"))));
        }
        let mut tell = |key: &[u8], what: &str| {
            let group = group_of(key).filter(|group| groups.contains(group));
            // What the records themselves say is said better.
            if group.is_none_or(|group| !named.contains(&group)) {
                check.flaws.push((group, format!("record {} {what} (at {endpoint})", shown(key))));
            }
        };
        found.broken.iter().for_each(|(key, what)| tell(key, what));
        let broken: BTreeSet<&[u8]> = found.broken.iter().map(|(key, _)| key.as_slice()).collect();
        for (key, kept) in &self.index {
            match found.index.get(key) {
                _ if broken.contains(key.as_slice()) => {}
                None => tell(key, "is gone"),
                Some(there) if there != kept => tell(key, "is another one than was written"),
                Some(_) => {}
            }
        }
        let added = found.index.keys().filter(|key| !self.index.contains_key(*key));
        added.for_each(|key| tell(key, "was not written by this server"));
    }
}

/// The group of a record of the consensus.
fn group_of(key: &[u8]) -> Option<GroupId> {
    let number = key.strip_prefix(b"r")?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

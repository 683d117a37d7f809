//! What lies under a prefix of etcd.
//!
//! `owner`: which process may write, on a lease. `commit`: how far the store is, as JSON. `records/KEY`: the sum of a record
//! and its value, or where that lies. `parts/NUMBER INDEX`: a piece of a value, or of a commit, that is longer than a request may be.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::client::Change;

/// A value up to this long lies in its record, bytes.
pub(super) const INLINE_BYTES: usize = 16 << 10;
/// The longest piece, bytes. A request may have 1.5 MiB.
pub(super) const PART_BYTES: usize = 1 << 20;

const HERE: u8 = 0;
const IN_PARTS: u8 = 1;

/// Stands for a record: the first half of the SHA-256 of its key and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u128);

impl Sum {
    pub fn of(key: &[u8], value: &[u8]) -> Sum {
        let mut bytes = Vec::with_capacity(8 + key.len() + value.len());
        bytes.extend_from_slice(&(key.len() as u64).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        let digest = digest(&SHA256, &bytes);
        let half = digest.as_ref().first_chunk().expect("it has 32 bytes");
        Sum(u128::from_be_bytes(*half))
    }

    /// Adds a record to a set of them, or takes it out again.
    pub fn toggle(&mut self, other: Sum) {
        self.0 ^= other.0;
    }

    pub fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// Some pieces, one after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Parts {
    /// The commit that wrote them.
    pub number: u64,
    /// The first of that commit's pieces that is one of them.
    pub first: u32,
    pub count: u32,
}

/// A record without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub sum: Sum,
    pub parts: Option<Parts>,
}

/// Every record, without the values.
pub(super) type Index = BTreeMap<Vec<u8>, Kept>;

/// How far the store is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Commit {
    /// Whose state it is: federation and region.
    pub store: String,
    pub commits: u64,
    /// Records, and the sum of all of them.
    pub records: u64,
    pub sum: String,
    /// The process that wrote this.
    pub writer: String,
    /// The cluster that it was written in: one that was restored elsewhere is another.
    pub cluster: u64,
    /// Changes that belong to this commit and are not all carried out yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Parts>,
}

/// Which process may write.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Owner {
    /// The folder of it: one folder has one process.
    pub folder: String,
    pub process: String,
    /// For people.
    pub machine: String,
    pub pid: u32,
}

/// Keys as etcd knows them.
#[derive(Clone)]
pub(super) struct Keys {
    prefix: Vec<u8>,
}

impl Keys {
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.as_bytes().to_vec() }
    }

    fn at(&self, rest: &[&[u8]]) -> Vec<u8> {
        let mut key = self.prefix.clone();
        rest.iter().for_each(|piece| key.extend_from_slice(piece));
        key
    }

    pub fn owner(&self) -> Vec<u8> {
        self.at(&[b"owner"])
    }

    pub fn commit(&self) -> Vec<u8> {
        self.at(&[b"commit"])
    }

    pub fn record(&self, key: &[u8]) -> Vec<u8> {
        self.at(&[b"records/", key])
    }

    /// Behind every record; `/` is followed by `0`.
    pub fn records_end(&self) -> Vec<u8> {
        self.at(&[b"records0"])
    }

    /// The key of a record.
    pub fn of_record<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.prefix.as_slice())?.strip_prefix(b"records/")
    }

    pub fn part(&self, number: u64, index: u32) -> Vec<u8> {
        self.at(&[b"parts/", &number.to_be_bytes(), &index.to_be_bytes()])
    }

    pub fn parts_end(&self) -> Vec<u8> {
        self.at(&[b"parts0"])
    }

    /// Takes pieces away.
    pub fn delete_parts(&self, parts: Parts) -> Change {
        let Parts { number, first, count } = parts;
        Change::Delete(self.part(number, first), self.part(number, first + count))
    }

    /// Bytes as pieces of a commit, from its piece `first` on.
    pub fn split(&self, number: u64, first: u32, bytes: &[u8]) -> (Parts, Vec<Change>) {
        let pieces = bytes.chunks(PART_BYTES).zip(first..);
        let puts: Vec<Change> =
            pieces.map(|(piece, index)| Change::Put(self.part(number, index), piece.to_vec())).collect();
        (Parts { number, first, count: puts.len() as u32 }, puts)
    }
}

/// What a record holds: its value, or where that lies.
pub(super) enum Content<'a> {
    Here(&'a [u8]),
    Parts(Parts),
}

pub(super) fn record(sum: Sum, content: &Content<'_>) -> Vec<u8> {
    let mut bytes = vec![match content {
        Content::Here(_) => HERE,
        Content::Parts(_) => IN_PARTS,
    }];
    bytes.extend_from_slice(&sum.0.to_be_bytes());
    match content {
        Content::Here(value) => bytes.extend_from_slice(value),
        Content::Parts(Parts { number, first, count }) => {
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&first.to_be_bytes());
            bytes.extend_from_slice(&count.to_be_bytes());
        }
    }
    bytes
}

/// None when it is no record.
pub(super) fn read_record(bytes: &[u8]) -> Option<(Sum, Content<'_>)> {
    let (kind, bytes) = bytes.split_first()?;
    let (sum, rest) = bytes.split_first_chunk()?;
    let content = match *kind {
        HERE => Content::Here(rest),
        IN_PARTS => {
            let (number, rest) = rest.split_first_chunk()?;
            let (first, rest) = rest.split_first_chunk()?;
            let (first, count) = (u32::from_be_bytes(*first), u32::from_be_bytes(rest.try_into().ok()?));
            first.checked_add(count)?;
            Content::Parts(Parts { number: u64::from_be_bytes(*number), first, count })
        }
        _ => return None,
    };
    Some((Sum(u128::from_be_bytes(*sum)), content))
}

/// The changes of a commit as bytes.
pub(super) fn journal(changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in changes {
        let kind = matches!(change, Change::Put(..));
        let (Change::Put(a, b) | Change::Delete(a, b)) = change;
        bytes.push(u8::from(kind));
        for piece in [a, b] {
            bytes.extend_from_slice(&(piece.len() as u32).to_be_bytes());
            bytes.extend_from_slice(piece);
        }
    }
    bytes
}

/// None when it is no journal.
pub(super) fn read_journal(mut bytes: &[u8]) -> Option<Vec<Change>> {
    fn piece(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (piece, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *bytes = rest;
        Some(piece.to_vec())
    }
    let mut changes = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = rest;
        let (a, b) = (piece(&mut bytes)?, piece(&mut bytes)?);
        changes.push(match *kind {
            1 => Change::Put(a, b),
            0 => Change::Delete(a, b),
            _ => return None,
        });
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_every_cut_is_none() {
        let changes =
            [Change::Put(b"a".to_vec(), vec![7; 300]), Change::Delete(b"b".to_vec(), b"c".to_vec())];
        let bytes = journal(&changes);
        assert_eq!(read_journal(&bytes).as_deref(), Some(&changes[..]));
        let whole = [0, 310, bytes.len()];
        let cut = (0..=bytes.len()).filter(|end| read_journal(&bytes[..*end]).is_some());
        assert_eq!(cut.collect::<Vec<_>>(), whole, "only between two changes");
        let parts = Parts { number: 9, first: 2, count: 3 };
        let bytes = record(Sum(5), &Content::Parts(parts));
        assert!(matches!(read_record(&bytes), Some((Sum(5), Content::Parts(read))) if read == parts));
        assert!((0..bytes.len()).all(|end| read_record(&bytes[..end]).is_none()));
        assert!(matches!(
            read_record(&record(Sum(6), &Content::Here(b"x"))),
            Some((Sum(6), Content::Here(b"x")))
        ));
    }
}

//! Reading a store's content out of etcd, whole, and comparing it with what its commit says.

use std::collections::BTreeMap;

use super::client::{Client, Held, Trouble, held_in, range};
use super::layout::{Commit, Content, Index, Kept, Keys, Parts, Sum, read_record};

/// Records of one request: each has at most some KiB.
const RECORDS: usize = 256;
/// Pieces of one request: each has a mebibyte.
const PARTS: usize = 4;
/// How often a member is asked for one page.
const TRIES: usize = 3;

/// Reads as of one revision.
pub(super) struct Reading<'a> {
    pub client: &'a Client,
    pub keys: &'a Keys,
    pub revision: u64,
    /// The member to be asked; none: whoever answers.
    pub member: Option<usize>,
}

/// What was read.
#[derive(Default)]
pub(super) struct Found {
    pub index: Index,
    /// Keys of records that are not as they were written.
    pub broken: Vec<(Vec<u8>, &'static str)>,
    pub bytes: u64,
    /// The values, when they were to be kept.
    pub values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Reading<'_> {
    /// Every key of a range.
    fn all(
        &self,
        from: Vec<u8>,
        to: &[u8],
        page: usize,
        mut each: impl FnMut(Held) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut from = from;
        loop {
            let held = self.page(&from, to, page)?;
            let more = held.len() == page;
            if let Some(last) = held.last().filter(|_| more) {
                from = [last.key.as_slice(), &[0]].concat();
            }
            held.into_iter().try_for_each(&mut each)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn page(&self, from: &[u8], to: &[u8], most: usize) -> Result<Vec<Held>, Trouble> {
        let asked = range(from, to, most, self.revision);
        let ask = || match self.member {
            Some(member) => self.client.ask_at(member, &asked),
            None => self.client.ask(&asked),
        };
        let mut answer = ask();
        for _ in 1..TRIES {
            if !matches!(answer, Err(Trouble::NoAnswer(_))) {
                break;
            }
            answer = ask();
        }
        held_in(&answer?).map_err(|error| Trouble::Refused(error.to_string()))
    }

    /// The bytes of some pieces; none when one is missing.
    pub fn parts(&self, parts: Parts) -> Result<Option<Vec<u8>>, Trouble> {
        let Parts { number, first, count } = parts;
        let (mut bytes, mut found) = (Vec::new(), 0);
        let to = self.keys.part(number, first + count);
        self.all(self.keys.part(number, first), &to, PARTS, |held| {
            found += 1;
            bytes.extend_from_slice(&held.value);
            Ok(())
        })?;
        Ok((found == count).then_some(bytes))
    }

    /// Records with `from <= key < to`, and those of them that are not as they were written.
    pub fn records(&self, from: &[u8], to: Option<&[u8]>, keep: bool) -> Result<Found, Trouble> {
        let mut found = Found::default();
        let end = to.map_or_else(|| self.keys.records_end(), |to| self.keys.record(to));
        self.all(self.keys.record(from), &end, RECORDS, |held| {
            let Some(key) = self.keys.of_record(&held.key) else { return Ok(()) };
            found.bytes += held.value.len() as u64;
            let Some((sum, content)) = read_record(&held.value) else {
                found.broken.push((key.to_vec(), "is no record"));
                return Ok(());
            };
            let (parts, value) = match content {
                Content::Here(value) => (None, Some(value.to_vec())),
                Content::Parts(parts) => (Some(parts), self.parts(parts)?),
            };
            found.bytes += parts.and(value.as_ref()).map_or(0, Vec::len) as u64;
            match &value {
                None => found.broken.push((key.to_vec(), "has lost a piece of its value")),
                Some(value) if Sum::of(key, value) != sum => {
                    found.broken.push((key.to_vec(), "does not match its checksum"));
                }
                Some(_) => {}
            }
            if let Some(value) = value.filter(|_| keep) {
                found.values.insert(key.to_vec(), value);
            }
            found.index.insert(key.to_vec(), Kept { sum, parts });
            Ok(())
        })?;
        Ok(found)
    }
}

impl Found {
    /// The sum of all records.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.index.values().for_each(|kept| sum.toggle(kept.sum));
        sum
    }

    /// Why this is not what the commit says, if it is not.
    pub fn flaw(&self, commit: &Commit) -> Option<String> {
        if let Some((key, what)) = self.broken.first() {
            let count = self.broken.len();
            return Some(format!("{count} records are damaged; the first, {}, {what}", shown(key)));
        }
        let (records, expected) = (self.index.len() as u64, commit.records);
        if records != expected {
            return Some(format!("it holds {records} records, and its newest commit counts {expected}"));
        }
        (self.sum().text() != commit.sum)
            .then(|| "a record is another one than its newest commit speaks of".to_owned())
    }
}

/// A key for people.
pub(super) fn shown(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

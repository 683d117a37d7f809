//! What lies on the disk: keys, values and their checksums.
//!
//! Key: `r`, group (8 bytes, big endian), kind (1 byte), and for entries the index (8 bytes, big endian). Value: crc32
//! of key and payload (4 bytes, little endian), then the payload. The checksum covers the key, so that a record that
//! turns up in the wrong place is as bad as a flipped bit.

use crate::Disk;
use crate::codec::{Reader, Writer};
use dwcp_types::GroupId;
use raft::eraftpb::{ConfState, Entry, EntryType};

const HARD_FIRST: u8 = 1;
const HARD_SECOND: u8 = 2;
const REPAIR: u8 = 3;
const SNAPSHOT: u8 = 4;
const ENTRY: u8 = 16;
const BEHIND_ENTRIES: u8 = 17;

/// Every key of the group is in this half-open range.
pub(crate) fn group_range(group: GroupId) -> (Vec<u8>, Vec<u8>) {
    (key(group, 0), key(group, u8::MAX))
}

/// Everything that a disk held of a group when it was read: a [`Disk`] to open the group from later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRecords(Vec<(Vec<u8>, Vec<u8>)>);

impl GroupRecords {
    /// Reads them.
    pub fn read(disk: &dyn Disk, group: GroupId) -> GroupRecords {
        let (from, to) = group_range(group);
        GroupRecords(disk.range(&from, &to).collect())
    }

    /// True when the disk holds nothing of the group.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Disk for GroupRecords {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let (from, to) = (from.to_vec(), to.to_vec());
        Box::new(self.0.iter().filter(move |(key, _)| *key >= from && *key < to).cloned())
    }
}

fn key(group: GroupId, kind: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.push(b'r');
    key.extend_from_slice(&group.to_be_bytes());
    key.push(kind);
    key
}

/// The hard state is kept twice: a replica that forgot its vote is the hardest to heal.
pub(crate) fn hard_keys(group: GroupId) -> [Vec<u8>; 2] {
    [key(group, HARD_FIRST), key(group, HARD_SECOND)]
}

pub(crate) fn repair_key(group: GroupId) -> Vec<u8> {
    key(group, REPAIR)
}

pub(crate) fn snapshot_key(group: GroupId) -> Vec<u8> {
    key(group, SNAPSHOT)
}

pub(crate) fn entry_key(group: GroupId, index: u64) -> Vec<u8> {
    let mut key = key(group, ENTRY);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Keys of the entries from `from` on.
pub(crate) fn entries_from(group: GroupId, from: u64) -> (Vec<u8>, Vec<u8>) {
    (entry_key(group, from), key(group, BEHIND_ENTRIES))
}

/// What must survive a crash besides the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hard {
    /// Counts the openings of the group: makes the names of read requests unique across restarts.
    pub boot: u64,
    pub term: u64,
    pub vote: u64,
    /// May lag behind what is known in memory.
    pub commit: u64,
    /// The last entry of the log, so that a log that lost its tail is seen.
    pub last_index: u64,
    pub last_term: u64,
    /// The index of the snapshot, so that a lost or older snapshot record is seen.
    pub snapshot: u64,
}

/// The replica is damaged and not yet repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repair {
    /// The term and vote are unknown too.
    pub vote_lost: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StoredSnapshot {
    pub index: u64,
    pub term: u64,
    pub members: ConfState,
    /// The entry before the first one in the log.
    pub before_index: u64,
    pub before_term: u64,
    /// None at the founding: there is no content yet.
    pub data: Option<Vec<u8>>,
}

/// A record with its key; None when it is corrupt.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Hard(Hard),
    Repair(Repair),
    Snapshot(StoredSnapshot),
    Entry(Entry),
}

fn seal(key: &[u8], payload: Vec<u8>) -> Vec<u8> {
    let mut value = checksum(key, &payload).to_le_bytes().to_vec();
    value.extend_from_slice(&payload);
    value
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

pub(crate) fn encode_hard(key: &[u8], hard: &Hard) -> Vec<u8> {
    let mut writer = Writer::default();
    let Hard { boot, term, vote, commit, last_index, last_term, snapshot } = *hard;
    for number in [boot, term, vote, commit, last_index, last_term, snapshot] {
        writer.number(number);
    }
    seal(key, writer.out)
}

pub(crate) fn encode_repair(key: &[u8], repair: Repair) -> Vec<u8> {
    seal(key, vec![u8::from(repair.vote_lost)])
}

pub(crate) fn encode_snapshot(key: &[u8], snapshot: &StoredSnapshot) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(snapshot.index);
    writer.number(snapshot.term);
    write_members(&mut writer, &snapshot.members);
    writer.number(snapshot.before_index);
    writer.number(snapshot.before_term);
    writer.flag(snapshot.data.is_some());
    writer.bytes(snapshot.data.as_deref().unwrap_or_default());
    seal(key, writer.out)
}

pub(crate) fn encode_entry(key: &[u8], entry: &Entry) -> Vec<u8> {
    let mut writer = Writer::default();
    write_entry(&mut writer, entry);
    seal(key, writer.out)
}

/// Reads a record; None when it is corrupt or not one of ours.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Record> {
    let (sum, payload) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(key, payload) {
        return None;
    }
    let mut reader = Reader::new(payload);
    let record = match *key.get(9)? {
        HARD_FIRST | HARD_SECOND => Record::Hard(read_hard(&mut reader)?),
        REPAIR => Record::Repair(Repair { vote_lost: reader.flag()? }),
        SNAPSHOT => Record::Snapshot(read_snapshot(&mut reader)?),
        ENTRY => {
            let entry = read_entry(&mut reader)?;
            let index = u64::from_be_bytes(key.get(10..)?.try_into().ok()?);
            if entry.index != index {
                return None;
            }
            Record::Entry(entry)
        }
        _ => return None,
    };
    reader.is_empty().then_some(record)
}

/// What a key is of, for people.
pub(crate) fn name(key: &[u8]) -> String {
    let index = key.get(10..).and_then(|tail| tail.try_into().ok()).map(u64::from_be_bytes);
    match (key.get(9), index) {
        (Some(&HARD_FIRST | &HARD_SECOND), None) => "a copy of the term and vote".to_string(),
        (Some(&REPAIR), None) => "the note of a repair".to_string(),
        (Some(&SNAPSHOT), None) => "the snapshot".to_string(),
        (Some(&ENTRY), Some(index)) => format!("entry {index}"),
        _ => "a record of no known kind".to_string(),
    }
}

fn read_hard(reader: &mut Reader) -> Option<Hard> {
    Some(Hard {
        boot: reader.number()?,
        term: reader.number()?,
        vote: reader.number()?,
        commit: reader.number()?,
        last_index: reader.number()?,
        last_term: reader.number()?,
        snapshot: reader.number()?,
    })
}

fn read_snapshot(reader: &mut Reader) -> Option<StoredSnapshot> {
    let index = reader.number()?;
    let term = reader.number()?;
    let members = read_members(reader)?;
    let before_index = reader.number()?;
    let before_term = reader.number()?;
    let has_data = reader.flag()?;
    let data = reader.bytes()?.to_vec();
    Some(StoredSnapshot { index, term, members, before_index, before_term, data: has_data.then_some(data) })
}

pub(crate) fn write_entry(writer: &mut Writer, entry: &Entry) {
    writer.byte(match entry.entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    });
    writer.number(entry.index);
    writer.number(entry.term);
    writer.bytes(&entry.data);
}

pub(crate) fn read_entry(reader: &mut Reader) -> Option<Entry> {
    let mut entry = Entry::default();
    entry.entry_type = match reader.byte()? {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    };
    entry.index = reader.number()?;
    entry.term = reader.number()?;
    entry.data = reader.bytes()?.to_vec().into();
    Some(entry)
}

pub(crate) fn write_members(writer: &mut Writer, members: &ConfState) {
    for list in [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next] {
        writer.numbers(list);
    }
    writer.flag(members.auto_leave);
}

pub(crate) fn read_members(reader: &mut Reader) -> Option<ConfState> {
    let mut members = ConfState::default();
    members.voters = reader.numbers()?;
    members.learners = reader.numbers()?;
    members.voters_outgoing = reader.numbers()?;
    members.learners_next = reader.numbers()?;
    members.auto_leave = reader.flag()?;
    Some(members)
}

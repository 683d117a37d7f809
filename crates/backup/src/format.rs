//! What lies at a destination: names and byte forms. A version stands in front of each; tags are never used again.
//!
//! | name | what |
//! |---|---|
//! | `repository` | whose backups these are, in the clear |
//! | `passphrase/<digest>` | salt and cost of a passphrase, in the clear |
//! | `keys/<key>/secret` | the repository's secret, sealed under a key of the federation |
//! | `keys/<key>/<sequence>-<entry>` | the data key of an entry, likewise |
//! | `log/<sequence>` | an entry of the chain: a backup, a removal, a change of keys; sealed under its data key |
//! | `packs/<run>/<number>` | sealed chunks, one behind the other |
//! | `packs/<run>/index` | the chunks of a backup in order; sealed under the run's key |

use std::collections::BTreeMap;

use dwcp_types::codec::{Reader, Wire, Writer};
use dwcp_types::{DecodeError, GroupId, Wall, decode, encode, hex, wire_enum, wire_struct};

use crate::seal::{Bytes32, unhex};

/// The format that this program writes, and the newest that it reads.
pub const VERSION: u64 = 1;
/// The largest entry, bytes.
pub const LARGEST_ENTRY: u64 = 4 << 20;
/// The largest wrapped key, title or salt, bytes.
pub const LARGEST_SMALL: u64 = 4 << 10;
/// Numbers a run's index among its sealed messages; its chunks count from 0.
pub const INDEX_NUMBER: u64 = u64::MAX;

pub const TITLE: &str = "repository";
pub const LOG: &str = "log/";
pub const KEYS: &str = "keys/";
pub const PACKS: &str = "packs/";
pub const PASSPHRASE: &str = "passphrase/";

pub fn log_name(sequence: u64) -> String {
    format!("{LOG}{sequence:010}")
}

pub fn secret_name(key: &str) -> String {
    format!("{KEYS}{key}/secret")
}

pub fn wrap_name(key: &str, sequence: u64, entry: &[u8; 16]) -> String {
    format!("{KEYS}{key}/{sequence:010}-{}", hex(entry))
}

pub fn pack_name(run: &str, number: u64) -> String {
    format!("{PACKS}{run}/{number:06}")
}

pub fn index_name(run: &str) -> String {
    format!("{PACKS}{run}/index")
}

/// The number in front of a name such as `0000000012-…`, of exactly ten digits.
pub fn leading_number(text: &str) -> Option<u64> {
    let digits = text.get(..10)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whose repository it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    pub federation: String,
    pub id: [u8; 16],
}

impl Title {
    pub fn text(&self) -> String {
        format!("dwcp-backup {VERSION}\nfederation {}\nrepository {}\n", self.federation, hex(&self.id))
    }
}

/// A title or a version that is newer.
///
/// # Errors
/// What is wrong with the bytes; `Ok(Err(version))` for a newer format.
pub fn read_title(bytes: &[u8]) -> Result<Result<Title, u64>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
    let mut lines = text.lines();
    let mut line = |word: &str| lines.next()?.strip_prefix(word);
    let version = line("dwcp-backup ").ok_or("does not begin with `dwcp-backup`")?;
    let version: u64 = version.parse().map_err(|_| "its version is no number")?;
    if version > VERSION {
        return Ok(Err(version));
    }
    let federation = line("federation ").ok_or("names no federation")?.to_owned();
    let id = line("repository ").and_then(unhex).ok_or("has no id")?;
    let title = Title { federation, id };
    if title.text() != text { Err("altered") } else { Ok(Ok(title)) }
}

/// What stands in the clear in front of a sealed entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryHead {
    pub sequence: u64,
    pub entry: [u8; 16],
}

const ENTRY_MAGIC: &[u8; 4] = b"DWBE";
const HEAD_LENGTH: usize = 4 + 1 + 8 + 16;

impl EntryHead {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = ENTRY_MAGIC.to_vec();
        bytes.push(VERSION as u8);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.entry);
        bytes
    }
}

/// The head of an entry, and what is sealed behind it.
///
/// # Errors
/// As [`read_title`].
pub fn read_entry_head(bytes: &[u8]) -> Result<Result<(EntryHead, &[u8]), u64>, &'static str> {
    let (head, sealed) = bytes.split_at_checked(HEAD_LENGTH).ok_or("cut off")?;
    if &head[..4] != ENTRY_MAGIC {
        return Err("not an entry");
    }
    if u64::from(head[4]) != VERSION {
        return Ok(Err(u64::from(head[4])));
    }
    let sequence = u64::from_be_bytes(head[5..13].try_into().expect("8 bytes"));
    Ok(Ok((EntryHead { sequence, entry: head[13..].try_into().expect("16 bytes") }, sealed)))
}

/// Whether a backup shares chunks with the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Every chunk was written anew: it depends on nothing that was there.
    #[default]
    Full,
    /// Chunks of its parent that still hold are used again.
    Incremental,
}
wire_enum!(Kind { 1 Full, 2 Incremental });

/// An entry of the chain.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// SHA-256 of the whole object before; of `repository` for the first one.
    pub previous: Bytes32,
    /// When it was made.
    pub at: Wall,
    pub body: Body,
}
wire_struct!(Entry { 1 previous, 2 at, 3 body });

#[derive(Clone, Debug)]
pub enum Body {
    Backup(Box<Manifest>),
    Removal(Removal),
    NewKey(NewKey),
}
wire_enum!(Body { 1 Backup(manifest), 2 Removal(removal), 3 NewKey(key) });

impl Default for Body {
    fn default() -> Body {
        Body::Removal(Removal::default())
    }
}

/// A backup, but for its list of chunks, which is the index.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    pub kind: Kind,
    /// The sequence of the backup whose chunks were used again.
    pub parent: Option<u64>,
    pub metadata: BTreeMap<String, String>,
    pub run: String,
    pub run_key: Bytes32,
    pub index_digest: Bytes32,
    pub index_bytes: u64,
    pub records: u64,
    pub raw_bytes: u64,
    pub groups: BTreeMap<GroupId, u64>,
    /// What this backup added to the destination, bytes.
    pub written_bytes: u64,
    pub chunks: u64,
    pub new_chunks: u64,
}
wire_struct!(Manifest { 1 kind, 2 parent, 3 metadata, 4 run, 5 run_key, 6 index_digest, 7 index_bytes, 8 records,
    9 raw_bytes, 10 groups, 11 written_bytes, 12 chunks, 13 new_chunks });

/// Why everything before `floor` is gone.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// The oldest entry that is kept.
    pub floor: u64,
    /// SHA-256 of the entry before `floor`.
    pub before: Bytes32,
    /// The backups that were removed by it, with when they were made.
    pub removed: Vec<(u64, Wall)>,
    pub reason: String,
}
wire_struct!(Removal { 1 floor, 2 before, 3 removed, 4 reason });

/// The federation's key changed: from here on nobody writes with the one before.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    pub from: String,
    pub to: String,
}
wire_struct!(NewKey { 1 from, 2 to });

/// The chunks of a backup, in order, and what is needed to read them.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub runs: Vec<Run>,
    pub packs: Vec<Pack>,
    pub chunks: Vec<Chunk>,
}
wire_struct!(Index { 1 runs, 2 packs, 3 chunks });

/// The writing of one backup; its key seals its chunks, by their number, and its index.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: String,
    pub key: Bytes32,
}
wire_struct!(Run { 1 name, 2 key });

#[derive(Clone, Debug, Default)]
pub struct Pack {
    /// Which of the index's runs wrote it.
    pub run: u32,
    pub number: u64,
    pub bytes: u64,
    pub digest: Bytes32,
}
wire_struct!(Pack { 1 run, 2 number, 3 bytes, 4 digest });

/// Where a chunk lies. There are tens of thousands, so it has no tags; [`VERSION`] counts for its form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// Which of the index's packs.
    pub pack: u32,
    pub offset: u64,
    /// Its length as it lies there, sealed.
    pub bytes: u64,
    pub raw_bytes: u64,
    /// Its number in its run.
    pub number: u64,
    pub id: Bytes32,
}

impl Wire for Chunk {
    fn put(&self, w: &mut Writer) {
        self.pack.put(w);
        for number in [self.offset, self.bytes, self.raw_bytes, self.number] {
            w.varint(number);
        }
        self.id.put(w);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Chunk {
            pack: u32::get(r)?,
            offset: r.varint()?,
            bytes: r.varint()?,
            raw_bytes: r.varint()?,
            number: r.varint()?,
            id: Bytes32::get(r)?,
        })
    }
}

/// Reads an entry.
///
/// # Errors
/// When the bytes are none.
pub fn read_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    decode(bytes)
}

/// Reads an index whose parts all refer to each other.
///
/// # Errors
/// When the bytes are none, or it refers to what it lacks.
pub fn read_index(bytes: &[u8]) -> Result<Index, DecodeError> {
    let index: Index = decode(bytes)?;
    let runs = index.packs.iter().all(|pack| (pack.run as usize) < index.runs.len());
    let chunks = index.chunks.iter().all(|chunk| {
        let pack = index.packs.get(chunk.pack as usize);
        let end = chunk.offset.checked_add(chunk.bytes);
        pack.is_some_and(|pack| end.is_some_and(|end| end <= pack.bytes))
    });
    if runs && chunks {
        Ok(index)
    } else {
        Err(DecodeError::Invalid("an index that refers to what it lacks"))
    }
}

/// Bytes that every decoder understands, in the order title, entry head, entry, index.
pub fn write_samples() -> [Vec<u8>; 4] {
    let manifest = Manifest { run: "0000000000-00".to_owned(), parent: Some(1), ..Manifest::default() };
    let entry = Entry { body: Body::Backup(Box::new(manifest)), ..Entry::default() };
    let index = Index {
        runs: vec![Run::default()],
        packs: vec![Pack { bytes: 9, ..Pack::default() }],
        chunks: vec![Chunk { bytes: 9, ..Chunk::default() }],
    };
    let title = Title { federation: "dev".to_owned(), id: [7; 16] }.text().into_bytes();
    [title, EntryHead { sequence: 7, entry: [1; 16] }.bytes(), encode(&entry), encode(&index)]
}

//! Records, and how a sorted run of them is cut into chunks.
//!
//! Whether a chunk ends behind a record depends on that record alone (a keyed hash of its key, against its size), so that a
//! change moves no boundary but its own, and the chunks before and behind it are the same as before. Keyed, because
//! boundaries show: the sizes of chunks must not tell which keys are inside.

use dwcp_types::codec::Writer;
use dwcp_types::{DecodeError, GroupId, codec::Reader};

/// The size around which chunks lie, bytes. Small, because one changed record costs one chunk.
const USUAL: u64 = 16 << 10;
/// A chunk is cut here whatever its records say, bytes.
const MOST: usize = 1 << 20;
/// The largest record, bytes.
pub const LARGEST_RECORD: usize = 64 << 20;

/// A fact of a group, by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Whose fact it is.
    pub group: GroupId,
    /// Its name within the group.
    pub key: Vec<u8>,
    /// Its encoding.
    pub value: Vec<u8>,
}

/// Cuts records into chunks.
pub struct Chunker {
    key: (u64, u64),
    open: Writer,
    last: Option<(GroupId, Vec<u8>)>,
}

impl Chunker {
    /// `key` decides where boundaries fall.
    pub fn new(key: &[u8; 32]) -> Chunker {
        let word = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().expect("8 bytes"));
        Chunker { key: (word(0), word(8)), open: Writer::default(), last: None }
    }

    /// Takes a record; hands `out` the chunks that are full.
    ///
    /// # Errors
    /// When it is not behind the one before, or too large.
    pub fn push(&mut self, record: &Record, out: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let size = record.key.len() + record.value.len();
        if size > LARGEST_RECORD {
            return Err(format!(
                "a record of group {} has {size} bytes, {LARGEST_RECORD} are the most",
                record.group
            ));
        }
        if let Some((group, key)) = &self.last {
            if (*group, key) >= (record.group, &record.key) {
                return Err(format!("records of group {} are not sorted by group and key", record.group));
            }
            if *group != record.group || self.open.size() + size > MOST {
                self.cut(out);
            }
        }
        self.open.varint(record.group);
        self.open.bytes(&record.key);
        self.open.bytes(&record.value);
        let hash = siphash(self.key, &record.key);
        if hash < (u64::MAX / USUAL).saturating_mul(size as u64 + 4) {
            self.cut(out);
        }
        match &mut self.last {
            Some((group, key)) => {
                *group = record.group;
                key.clone_from(&record.key);
            }
            none => *none = Some((record.group, record.key.clone())),
        }
        Ok(())
    }

    /// Ends the chunk that is open.
    pub fn cut(&mut self, out: &mut Vec<Vec<u8>>) {
        if self.open.size() > 0 {
            out.push(std::mem::take(&mut self.open).into_bytes());
        }
    }
}

/// The records of a chunk.
///
/// # Errors
/// When the bytes are no records.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let mut records = Vec::new();
    let mut r = Reader::new(bytes);
    while !r.is_empty() {
        records.push(Record { group: r.varint()?, key: r.bytes()?.to_vec(), value: r.bytes()?.to_vec() });
    }
    Ok(records)
}

/// SipHash-2-4 (Aumasson, Bernstein, 2012).
fn siphash(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut v = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        absorb(&mut v, u64::from_le_bytes(word.try_into().expect("8 bytes")));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    last[7] = bytes.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_gives_its_published_vectors() {
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(key, &bytes), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
    }
}

//! The tagged binary codec of the log, of snapshots and of messages between processes.
//!
//! A record is a list of fields `(tag, length, bytes)` that ends with tag 0; a choice is `(tag, length, bytes)`. A reader
//! skips fields it does not know and leaves fields it misses at their default, so a record may gain fields from one
//! version to the next; a tag is never used again for another meaning. Integers are LEB128 varints.
//!
//! The macros [`wire_struct!`](crate::wire_struct) and [`wire_enum!`](crate::wire_enum) list the tags of a type.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end inside a value.
    Truncated,
    /// A choice carries a tag this version does not know.
    UnknownTag(&'static str, u64),
    /// A number or text that can't be.
    Invalid(&'static str),
    /// Bytes are left behind the value.
    Trailing(usize),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the bytes end inside a value"),
            DecodeError::UnknownTag(kind, tag) => write!(f, "{kind} has no choice {tag} in this version"),
            DecodeError::Invalid(what) => write!(f, "{what}"),
            DecodeError::Trailing(count) => write!(f, "{count} bytes are left behind the value"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A value with a byte form.
pub trait Wire: Sized {
    /// Appends the byte form.
    fn put(&self, w: &mut Writer);
    /// Reads one value and moves past it.
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// The byte form of a value.
pub fn encode<T: Wire>(value: &T) -> Vec<u8> {
    let mut w = Writer::default();
    value.put(&mut w);
    w.0
}

/// Reads a value that fills `bytes` exactly.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut r = Reader(bytes);
    let value = T::get(&mut r)?;
    if r.0.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(r.0.len())) }
}

/// Collects bytes.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// What was collected.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes were collected.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// An unsigned integer in LEB128.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Length, then bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Tag, length, then what `fill` writes.
    pub fn field(&mut self, tag: u64, fill: impl FnOnce(&mut Writer)) {
        self.varint(tag);
        let start = self.0.len();
        self.0.push(0);
        fill(self);
        let length = self.0.len() - start - 1;
        if length < 0x80 {
            self.0[start] = length as u8;
        } else {
            let mut prefix = Writer::default();
            prefix.varint(length as u64);
            self.0.splice(start..=start, prefix.0);
        }
    }
}

impl Writer {
    /// A field, unless it is at its default.
    pub fn field_that_differs<T: Wire + Default + PartialEq>(&mut self, tag: u64, value: &T) {
        if *value != T::default() {
            self.field(tag, |w| value.put(w));
        }
    }
}

/// Reads bytes from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An unsigned integer in LEB128, at most 64 bits.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Invalid("a number over 64 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("a number over 64 bits"))
    }

    /// Length, then bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.varint()?;
        if length > self.0.len() as u64 {
            return Err(DecodeError::Truncated);
        }
        let (head, rest) = self.0.split_at(length as usize);
        self.0 = rest;
        Ok(head)
    }

    /// Length, then UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text that is not UTF-8"))
    }

    /// A reader over the next length-prefixed bytes.
    pub fn inner(&mut self) -> Result<Reader<'a>, DecodeError> {
        Ok(Reader(self.bytes()?))
    }

    /// A count of elements that the remaining bytes could hold.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > self.0.len() as u64 {
            return Err(DecodeError::Truncated);
        }
        Ok(count as usize)
    }
}

macro_rules! wire_unsigned {
    ($($kind:ty),*) => { $(
        impl Wire for $kind {
            fn put(&self, w: &mut Writer) { w.varint(u64::from(*self)); }
            fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                <$kind>::try_from(r.varint()?).map_err(|_| DecodeError::Invalid("a number that is too large"))
            }
        }
    )* };
}
wire_unsigned!(u8, u16, u32, u64);

impl Wire for bool {
    fn put(&self, w: &mut Writer) {
        w.varint(u64::from(*self));
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.varint()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a truth value other than 0 and 1")),
        }
    }
}

impl Wire for String {
    fn put(&self, w: &mut Writer) {
        w.bytes(self.as_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(r.text()?.to_string())
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, w: &mut Writer) {
        (**self).put(w);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Box::new(T::get(r)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, w: &mut Writer) {
        self.is_some().put(w);
        if let Some(value) = self {
            value.put(w);
        }
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if bool::get(r)? { Ok(Some(T::get(r)?)) } else { Ok(None) }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, w: &mut Writer) {
        self.0.put(w);
        self.1.put(w);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::get(r)?, B::get(r)?))
    }
}

macro_rules! wire_list {
    ($kind:ident $(, $bound:ident)?) => {
        impl<T: Wire $(+ $bound)?> Wire for $kind<T> {
            fn put(&self, w: &mut Writer) {
                w.varint(self.len() as u64);
                for item in self {
                    item.put(w);
                }
            }
            fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let count = r.count()?;
                (0..count).map(|_| T::get(r)).collect()
            }
        }
    };
}
wire_list!(Vec);
wire_list!(VecDeque);
wire_list!(BTreeSet, Ord);

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, w: &mut Writer) {
        w.varint(self.len() as u64);
        for (key, value) in self {
            key.put(w);
            value.put(w);
        }
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.count()?;
        (0..count).map(|_| Ok((K::get(r)?, V::get(r)?))).collect()
    }
}

impl Wire for crate::Mono {
    fn put(&self, w: &mut Writer) {
        w.varint(self.0);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(crate::Mono(r.varint()?))
    }
}

impl Wire for crate::Wall {
    fn put(&self, w: &mut Writer) {
        w.varint(self.0);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(crate::Wall(r.varint()?))
    }
}

impl Wire for crate::Priority {
    fn put(&self, w: &mut Writer) {
        w.varint(u64::from(self.0));
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(crate::Priority(u8::get(r)?))
    }
}

crate::wire_struct!(crate::Amount { 1 vcpus, 2 memory_mib, 3 disk_gib });

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Old {
        name: String,
    }
    crate::wire_struct!(Old { 1 name });

    #[derive(Debug, Default, PartialEq)]
    struct New {
        name: String,
        sizes: Vec<u32>,
        kind: Kind,
    }
    crate::wire_struct!(New { 1 name, 2 sizes, 3 kind });

    #[derive(Debug, Default, PartialEq)]
    enum Kind {
        #[default]
        Plain,
        Sized(u32),
    }
    crate::wire_enum!(Kind { 1 Plain, 2 Sized(size) });

    #[test]
    fn a_newer_record_is_read_by_an_older_version_and_back() {
        let new = New { name: "a".into(), sizes: vec![1, 300], kind: Kind::Sized(7) };
        assert_eq!(
            decode::<New>(&encode(&new)),
            Ok(New { name: "a".into(), sizes: vec![1, 300], kind: Kind::Sized(7) })
        );
        assert_eq!(decode::<Old>(&encode(&new)), Ok(Old { name: "a".into() }));
        let old = Old { name: "x".repeat(300) };
        assert_eq!(decode::<New>(&encode(&old)), Ok(New { name: old.name.clone(), ..New::default() }));
    }

    #[derive(Debug, Default, PartialEq)]
    struct Later {
        name: String,
        note: String,
    }
    crate::wire_struct!(Later { 1 name; 9 note });

    #[test]
    fn a_later_field_takes_no_byte_until_it_is_set() {
        let later = |note: &str| Later { name: "a".into(), note: note.into() };
        assert_eq!(encode(&later("")), encode(&Old { name: "a".into() }));
        assert_eq!(decode::<Later>(&encode(&later("why"))), Ok(later("why")));
        assert_eq!(decode::<Old>(&encode(&later("why"))), Ok(Old { name: "a".into() }));
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let bytes = encode(&New { name: "abc".into(), sizes: vec![1, 2, 3], kind: Kind::Sized(9) });
        for end in 0..bytes.len() {
            assert!(decode::<New>(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_memory_is_taken() {
        assert_eq!(decode::<Vec<u64>>(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(DecodeError::Truncated));
    }
}

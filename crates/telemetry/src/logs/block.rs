//! Blocks: the bytes of a run of records, as they lie in files and go to other regions.
//!
//! A block is a header of 60 bytes, the names of the components in it, and the records, plain or compressed with zstd:
//!
//! | bytes | what (little endian) |
//! |---|---|
//! | 0 | `dLg1` |
//! | 4 | bit 0: the records are compressed |
//! | 5 | levels of the records, a bit each |
//! | 6 | length of the names |
//! | 8, 12 | length of the records as stored, and plain |
//! | 16, 24 | first and last sequence number that it speaks for: one of them without a record is known not to be there |
//! | 32, 40 | earliest and latest time, ms |
//! | 48 | number of records |
//! | 52 | CRC-32 of the records as stored |
//! | 56 | CRC-32 of the 56 bytes before and of the names |
//!
//! Names: their number, then each with its length and the plain bytes of its records. A record: its length, then
//! flags, component (index among the names), difference of sequence number and of time to the record before (of the
//! first: to 0), and what the flags say: trace and span, parent and durations, request id, operation id, bytes cut;
//! then message and fields, each field as `name=value` behind the name's length. Numbers are LEB128, differences of
//! times in zigzag.

use std::sync::Arc;

use dwcp_types::DecodeError;
use dwcp_types::codec::{Reader, Writer};

use super::record::{Entry, Level, Timing};
use super::trace::{InTrace, SpanId, TraceId};

/// What every block begins with.
pub const MAGIC: [u8; 4] = *b"dLg1";
/// Length of the header without the names.
pub const HEADER: usize = 60;
/// A block is closed when it is as long as this, plain bytes.
pub const BLOCK_BYTES: usize = 256 << 10;
/// No block is longer, plain or stored.
const BLOCK_MOST: usize = BLOCK_BYTES + (256 << 10);
const ZSTD_LEVEL: i32 = 3;

const COMPRESSED: u8 = 1;

const LEVEL: u8 = 3;
const TRACE: u8 = 4;
const SPAN: u8 = 8;
const REQUEST: u8 = 16;
const OPERATION: u8 = 32;
const CUT: u8 = 64;

/// What a block's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub compressed: bool,
    pub levels: u8,
    pub stored: usize,
    pub plain: usize,
    /// First and last sequence number that it speaks for.
    pub first: u64,
    pub last: u64,
    pub min_ms: i64,
    pub max_ms: i64,
    pub records: u32,
    body_crc: u32,
    /// Length of header and names.
    pub length: usize,
    /// Components, with the plain bytes of their records.
    pub names: Vec<(Arc<str>, u64)>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// How many bytes the header that begins with `head` has with its names; none when it is no header.
pub fn header_length(head: &[u8]) -> Option<usize> {
    (head.len() >= HEADER && head[..4] == MAGIC)
        .then(|| HEADER + usize::from(u16::from_le_bytes([head[6], head[7]])))
}

impl Header {
    /// Reads a header and its names from the front of `bytes`; none when they are not whole, or no header.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let length = header_length(bytes)?;
        let names = bytes.get(HEADER..length)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..56]);
        crc.update(names);
        if crc.finalize() != u32_at(bytes, 56) {
            return None;
        }
        let header = Header {
            compressed: bytes[4] & COMPRESSED != 0,
            levels: bytes[5],
            stored: u32_at(bytes, 8) as usize,
            plain: u32_at(bytes, 12) as usize,
            first: u64_at(bytes, 16),
            last: u64_at(bytes, 24),
            min_ms: u64_at(bytes, 32) as i64,
            max_ms: u64_at(bytes, 40) as i64,
            records: u32_at(bytes, 48),
            body_crc: u32_at(bytes, 52),
            length,
            names: read_names(names).ok()?,
        };
        let sound = header.stored <= BLOCK_MOST
            && header.plain <= BLOCK_MOST
            && (header.compressed || header.stored == header.plain)
            && (1..u64::MAX).contains(&header.first)
            && header.first <= header.last
            && header.last < u64::MAX;
        sound.then_some(header)
    }

    /// Length of the whole block.
    pub fn block(&self) -> usize {
        self.length + self.stored
    }

    /// The plain records of the block whose bytes behind the header are `stored`, in `room` when they were
    /// compressed; none when they are not what was written.
    pub fn open<'a>(&self, stored: &'a [u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if stored.len() != self.stored || crc32fast::hash(stored) != self.body_crc {
            return None;
        }
        if !self.compressed {
            return Some(stored);
        }
        room.resize(self.plain, 0);
        let length = zstd::bulk::decompress_to_buffer(stored, room).ok()?;
        (length == self.plain).then_some(&room[..])
    }
}

fn read_names(names: &[u8]) -> Result<Vec<(Arc<str>, u64)>, DecodeError> {
    let mut reader = Reader::new(names);
    let mut read = Vec::new();
    for _ in 0..reader.varint()? {
        let name = reader.text()?;
        read.push((Arc::from(name), reader.varint()?));
    }
    Ok(read)
}

/// Makes a block of records, in ascending order of their numbers.
#[derive(Default)]
pub struct Builder {
    names: Vec<(Arc<str>, u64)>,
    body: Vec<u8>,
    before: (u64, i64),
    times: Option<(i64, i64)>,
    levels: u8,
    records: u32,
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

impl Builder {
    /// Whether it is as long as a block should be, or has as many names as fit.
    pub fn is_full(&self) -> bool {
        self.body.len() >= BLOCK_BYTES || self.names.len() >= 128
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Plain bytes so far.
    pub fn plain(&self) -> usize {
        self.body.len()
    }

    /// Adds a record. `entry` is admitted: no text of it is longer than it may be.
    pub fn push(&mut self, seq: u64, entry: &Entry) {
        let component = self.names.iter().position(|(name, _)| *name == entry.component);
        let component = component.unwrap_or_else(|| {
            self.names.push((entry.component.clone(), 0));
            self.names.len() - 1
        });
        let mut w = Writer::default();
        w.varint(u64::from(flags(entry)));
        w.varint(component as u64);
        w.varint(seq.wrapping_sub(self.before.0));
        w.varint(zigzag(entry.at_ms.wrapping_sub(self.before.1)));
        put_rest(&mut w, entry);
        let record = w.into_bytes();
        let mut length = Writer::default();
        length.varint(record.len() as u64);
        let length = length.into_bytes();
        self.body.extend_from_slice(&length);
        self.body.extend_from_slice(&record);
        self.names[component].1 += (length.len() + record.len()) as u64;
        self.before = (seq, entry.at_ms);
        let (min, max) = self.times.unwrap_or((entry.at_ms, entry.at_ms));
        self.times = Some((min.min(entry.at_ms), max.max(entry.at_ms)));
        self.levels |= entry.level.bit();
        self.records += 1;
    }

    /// The block, which speaks for the numbers from `first` to `last`. It begins anew.
    pub fn finish(&mut self, first: u64, last: u64, compress: bool) -> Vec<u8> {
        let done = std::mem::take(self);
        let compressed = if compress { zstd::bulk::compress(&done.body, ZSTD_LEVEL).ok() } else { None };
        let compressed = compressed.filter(|shorter| shorter.len() < done.body.len());
        let stored = compressed.as_deref().unwrap_or(&done.body);
        let mut names = Writer::default();
        names.varint(done.names.len() as u64);
        for (name, bytes) in &done.names {
            names.bytes(name.as_bytes());
            names.varint(*bytes);
        }
        let names = names.into_bytes();
        let (min_ms, max_ms) = done.times.unwrap_or((i64::MAX, i64::MIN));
        let mut block = Vec::with_capacity(HEADER + names.len() + stored.len());
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&[u8::from(compressed.is_some()) * COMPRESSED, done.levels]);
        block.extend_from_slice(&(names.len() as u16).to_le_bytes());
        block.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        block.extend_from_slice(&(done.body.len() as u32).to_le_bytes());
        for number in [first, last, min_ms as u64, max_ms as u64] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&done.records.to_le_bytes());
        block.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&block);
        crc.update(&names);
        block.extend_from_slice(&crc.finalize().to_le_bytes());
        block.extend_from_slice(&names);
        block.extend_from_slice(stored);
        block
    }
}

fn flags(entry: &Entry) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    entry.level as u8
        | flag(entry.trace.is_some(), TRACE)
        | flag(entry.span.is_some(), SPAN)
        | flag(!entry.request_id.is_empty(), REQUEST)
        | flag(!entry.operation_id.is_empty(), OPERATION)
        | flag(entry.cut_bytes > 0, CUT)
}

fn put_rest(w: &mut Writer, entry: &Entry) {
    if let Some(place) = entry.trace {
        w.bytes(&place.trace.bytes());
        w.bytes(&place.span.bytes());
    }
    if let Some(timing) = entry.span {
        w.bytes(&timing.parent.map_or([0; 8], SpanId::bytes));
        w.varint(u64::from(timing.start_rest_us));
        w.varint(timing.duration_us);
    }
    for id in [&entry.request_id, &entry.operation_id] {
        if !id.is_empty() {
            w.bytes(id.as_bytes());
        }
    }
    if entry.cut_bytes > 0 {
        w.varint(u64::from(entry.cut_bytes));
    }
    w.bytes(entry.message.as_bytes());
    w.varint(entry.fields.len() as u64);
    for (name, value) in &entry.fields {
        w.varint(name.len() as u64);
        w.bytes(format!("{name}={value}").as_bytes());
    }
}

/// A record of which only the first numbers were read.
#[derive(Clone, Copy, Debug)]
pub struct Peeked<'a> {
    pub seq: u64,
    pub at_ms: i64,
    pub level: Level,
    /// Index among the names of its block.
    pub component: usize,
    pub is_span: bool,
    flags: u8,
    rest: &'a [u8],
    /// Where it ends in the plain bytes of the block.
    pub end: usize,
}

/// The records of a block, one after the other.
pub struct Records<'a> {
    plain: &'a [u8],
    reader: Reader<'a>,
    before: (u64, i64),
}

impl<'a> Records<'a> {
    pub fn new(plain: &'a [u8]) -> Records<'a> {
        Records { plain, reader: Reader::new(plain), before: (0, 0) }
    }

    fn peek(&mut self) -> Result<Peeked<'a>, DecodeError> {
        let record = self.reader.bytes()?;
        let end = record.as_ptr() as usize - self.plain.as_ptr() as usize + record.len();
        let mut at = 0;
        let mut number = || varint(record, &mut at).ok_or(DecodeError::Truncated);
        let flags = number()? as u8;
        let component = number()? as usize;
        let seq = self.before.0.wrapping_add(number()?);
        let at_ms = self.before.1.wrapping_add(unzigzag(number()?));
        let level = Level::ALL.get(usize::from(flags & LEVEL)).copied();
        let level = level.ok_or(DecodeError::Invalid("no such level"))?;
        self.before = (seq, at_ms);
        let rest = &record[at..];
        Ok(Peeked { seq, at_ms, level, component, is_span: flags & SPAN != 0, flags, rest, end })
    }
}

/// A LEB128 number at `at`, which moves behind it.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Peeked<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let peeked = self.peek();
        if peeked.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(peeked)
    }
}

/// The texts of a record, not copied yet.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    pub trace: Option<InTrace>,
    pub span: Option<Timing>,
    pub request_id: &'a str,
    pub operation_id: &'a str,
    cut_bytes: u32,
    pub message: &'a str,
    /// `name=value`, with the name's length.
    pub fields: Vec<(usize, &'a str)>,
}

fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    reader.bytes()?.try_into().map_err(|_| DecodeError::Invalid("an id of another length"))
}

impl<'a> Peeked<'a> {
    /// Reads the rest, into `seen`.
    ///
    /// # Errors
    /// It is no record.
    pub fn read(&self, seen: &mut Seen<'a>) -> Result<(), DecodeError> {
        let r = &mut Reader::new(self.rest);
        let has = |flag: u8| self.flags & flag != 0;
        let no_id = DecodeError::Invalid("an id of zeros");
        (seen.trace, seen.span) = (None, None);
        if has(TRACE) {
            let trace = TraceId::new(fixed(r)?).ok_or(no_id.clone())?;
            seen.trace = Some(InTrace { trace, span: SpanId::new(fixed(r)?).ok_or(no_id)? });
        }
        if has(SPAN) {
            let parent = SpanId::new(fixed(r)?);
            let start_rest_us = r.varint()?.min(999) as u16;
            seen.span = Some(Timing { parent, start_rest_us, duration_us: r.varint()? });
        }
        seen.request_id = if has(REQUEST) { r.text()? } else { "" };
        seen.operation_id = if has(OPERATION) { r.text()? } else { "" };
        let cut = if has(CUT) { r.varint()? } else { 0 };
        seen.cut_bytes = u32::try_from(cut).unwrap_or(u32::MAX);
        seen.message = r.text()?;
        seen.fields.clear();
        for _ in 0..r.varint()? {
            let length = r.varint()? as usize;
            let field = r.text()?;
            if field.as_bytes().get(length) != Some(&b'=') {
                return Err(DecodeError::Invalid("a field without a name"));
            }
            seen.fields.push((length, field));
        }
        if r.is_empty() { Ok(()) } else { Err(DecodeError::Invalid("bytes behind a record")) }
    }

    /// The whole entry. `names` are those of its block's header.
    ///
    /// # Errors
    /// It is no record.
    pub fn entry(&self, seen: &Seen<'a>, names: &[(Arc<str>, u64)]) -> Result<Entry, DecodeError> {
        let name = names.get(self.component).ok_or(DecodeError::Invalid("no such component"))?;
        let field = |(length, field): &(usize, &str)| (field[..*length].into(), field[length + 1..].into());
        Ok(Entry {
            at_ms: self.at_ms,
            component: name.0.clone(),
            level: self.level,
            message: seen.message.to_owned(),
            request_id: seen.request_id.to_owned(),
            operation_id: seen.operation_id.to_owned(),
            fields: seen.fields.iter().map(field).collect(),
            trace: seen.trace,
            span: seen.span,
            cut_bytes: seen.cut_bytes,
        })
    }
}

//! Chunks of many series as columns, each column compressed on its own: what a block on disk is made of.
//!
//! Series that lie beside each other are alike, and so are their columns. Times that several series share (one scrape gives them
//! all) are there once. Numbers that are decimals become whole numbers, of these the smallest of three: the distance to the
//! smallest, the difference to the one before, the difference of differences; byte by byte, each byte of significance in a column.

mod numbers;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use dwcp_types::DecodeError;

use super::bytes::{Bytes, put_bytes, put_signed, put_varint};
use super::compress::{Compressor, decompress};
use super::histogram;
use crate::model::{Sample, Value};
use numbers::Numbers;

/// What each chunk is: its columns' lengths, and how its numbers are written.
const HEADS: usize = 0;
const TIMES: usize = 1;
/// Whole numbers, by their bytes: the least significant first.
const PLANES: usize = 2;
/// Numbers that are no decimals.
const RAW: usize = 10;
const HISTOGRAMS: usize = 11;
const COLUMNS: usize = 12;

/// A page is closed when its columns are as large, uncompressed.
pub const PAGE_BYTES: usize = 64 << 10;
/// No column of a page is larger: a chunk is at most 1,024 samples of at most 1,000 buckets, and a page is closed soon after
/// [`PAGE_BYTES`].
const COLUMN_MAX: u64 = 16 << 20;
/// A chunk of more samples is split.
pub const CHUNK_SAMPLES: usize = 1024;

/// Collects chunks.
#[derive(Default)]
pub struct PageBuilder {
    columns: [Vec<u8>; COLUMNS],
    chunks: u32,
    /// By a hash of the written times, their numbers.
    times: HashMap<u64, Vec<(u64, Vec<u8>)>>,
    distinct_times: u64,
    /// Reused.
    scratch: Numbers,
}

impl PageBuilder {
    pub fn is_full(&self) -> bool {
        self.columns.iter().map(Vec::len).sum::<usize>() >= PAGE_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.chunks == 0
    }

    /// Adds samples in ascending order of time, at most [`CHUNK_SAMPLES`]; their number in the page.
    pub fn push(&mut self, samples: &[Sample]) -> u32 {
        put_varint(&mut self.columns[HEADS], samples.len() as u64);
        self.push_times(samples);
        let floats = samples.iter().all(|sample| matches!(sample.value, Value::Float(_)));
        if floats {
            self.scratch.take(samples);
            self.scratch.write(&mut self.columns);
        } else {
            self.push_mixed(samples);
        }
        self.chunks += 1;
        self.chunks - 1
    }

    fn push_times(&mut self, samples: &[Sample]) {
        let mut written = Vec::with_capacity(samples.len() + 8);
        let (mut last, mut step) = (0, 0);
        for (number, sample) in samples.iter().enumerate() {
            let next = sample.at_ms.wrapping_sub(last);
            put_signed(&mut written, next.wrapping_sub(step));
            last = sample.at_ms;
            step = if number == 0 { 0 } else { next };
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&written);
        let known = self.times.entry(hasher.finish()).or_default();
        let heads = &mut self.columns[HEADS];
        if let Some((number, _)) = known.iter().find(|(_, times)| *times == written) {
            put_varint(heads, *number + 1);
            return;
        }
        put_varint(heads, 0);
        put_varint(heads, written.len() as u64);
        self.columns[TIMES].extend_from_slice(&written);
        known.push((self.distinct_times, written));
        self.distinct_times += 1;
    }

    /// Histograms, and numbers between them: a byte which of both, then it.
    fn push_mixed(&mut self, samples: &[Sample]) {
        let mut written = Vec::new();
        let mut before = None;
        for sample in samples {
            match &sample.value {
                Value::Float(number) => {
                    written.push(0);
                    written.extend_from_slice(&number.to_bits().to_le_bytes());
                }
                Value::Histogram(value) => {
                    written.push(1);
                    histogram::encode(before, value, &mut written);
                    before = Some(&**value);
                }
            }
        }
        self.columns[HEADS].push(numbers::MIXED);
        put_varint(&mut self.columns[HEADS], written.len() as u64);
        self.columns[HISTOGRAMS].extend_from_slice(&written);
    }

    /// The page's bytes; the builder is empty after it.
    ///
    /// # Errors
    /// The compressor has no memory.
    pub fn finish(&mut self, compressor: &mut Compressor) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.chunks));
        for column in &mut self.columns {
            put_varint(&mut out, column.len() as u64);
            if !column.is_empty() {
                put_bytes(&mut out, compressor.compress(column)?);
            }
            column.clear();
        }
        self.chunks = 0;
        self.times.clear();
        self.distinct_times = 0;
        Ok(out)
    }

    /// The columns as they are, each after its length; for fuzzing.
    pub fn columns(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.chunks));
        self.columns.iter().for_each(|column| put_bytes(&mut out, column));
        out
    }
}

/// A page that was read.
pub struct Page {
    columns: [Vec<u8>; COLUMNS],
    chunks: u32,
}

impl Page {
    /// Of the bytes that [`PageBuilder::finish`] made.
    ///
    /// # Errors
    /// The bytes are no page.
    pub fn open(bytes: &[u8]) -> Result<Page, DecodeError> {
        let mut bytes = Bytes(bytes);
        let mut page = Page { columns: Default::default(), chunks: bytes.u32()? };
        for column in &mut page.columns {
            let length = bytes.varint()?;
            if length > COLUMN_MAX {
                return Err(DecodeError::Invalid("a column that is too large"));
            }
            if length > 0 {
                *column = decompress(bytes.bytes()?, length as usize)?;
            }
        }
        bytes.end()?;
        Ok(page)
    }

    /// Of what [`PageBuilder::columns`] gives; for fuzzing.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn of_columns(bytes: &[u8]) -> Result<Page, DecodeError> {
        let mut bytes = Bytes(bytes);
        let mut page = Page { columns: Default::default(), chunks: bytes.u32()? };
        for column in &mut page.columns {
            *column = bytes.bytes()?.to_vec();
        }
        bytes.end()?;
        Ok(page)
    }

    /// Hands the samples of the chunks `wanted` (ascending, each once) to `found`, with which of `wanted` they are. It may take them
    /// away.
    ///
    /// # Errors
    /// The bytes are no page, or it has fewer chunks.
    pub fn read(
        &self,
        wanted: &[u32],
        mut found: impl FnMut(usize, &mut Vec<Sample>),
    ) -> Result<(), DecodeError> {
        let mut columns: [Bytes<'_>; COLUMNS] = std::array::from_fn(|n| Bytes(&self.columns[n]));
        // Where the times of each kind are, and of how many samples they are.
        let mut times: Vec<(Bytes<'_>, usize)> = Vec::new();
        let mut samples = Vec::new();
        let mut next = 0;
        for number in 0..self.chunks {
            if next == wanted.len() {
                return Ok(());
            }
            let count = columns[HEADS].varint()?;
            if count == 0 || count > CHUNK_SAMPLES as u64 {
                return Err(DecodeError::Invalid("a chunk of too many samples"));
            }
            let count = count as usize;
            let which = columns[HEADS].varint()?;
            if which == 0 {
                let length = columns[HEADS].varint()? as usize;
                let written = columns[TIMES].take(length)?;
                times.push((Bytes(written), count));
            }
            let at = if which == 0 { times.len() as u64 } else { which };
            let (mut at, of) =
                times.get(at as usize - 1).cloned().ok_or(DecodeError::Invalid("unknown times"))?;
            if of != count {
                return Err(DecodeError::Invalid("times of another number of samples"));
            }
            if wanted[next] != number {
                numbers::skip(&mut columns, count)?;
                continue;
            }
            samples.clear();
            read_times(&mut at, count, &mut samples)?;
            numbers::read(&mut columns, &mut samples)?;
            found(next, &mut samples);
            next += 1;
        }
        if next == wanted.len() {
            Ok(())
        } else {
            Err(DecodeError::Invalid("a chunk that its page does not have"))
        }
    }

    /// Whether every chunk in it can be read.
    pub fn check(&self) -> Result<(), DecodeError> {
        if self.chunks as usize > self.columns[HEADS].len() {
            return Err(DecodeError::Truncated);
        }
        self.read(&(0..self.chunks).collect::<Vec<_>>(), |_, _| {})
    }
}

fn read_times(bytes: &mut Bytes<'_>, count: usize, samples: &mut Vec<Sample>) -> Result<(), DecodeError> {
    let (mut last, mut step) = (0i64, 0i64);
    for number in 0..count {
        let next = bytes.signed()?.wrapping_add(step);
        last = last.wrapping_add(next);
        step = if number == 0 { 0 } else { next };
        samples.push(Sample { at_ms: last, value: Value::Float(0.0) });
    }
    bytes.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{edge_samples, same_samples};

    fn read(page: &[u8], wanted: &[u32]) -> Vec<Vec<Sample>> {
        let page = Page::open(page).expect("a page");
        page.check().expect("whole");
        let mut read = vec![Vec::new(); wanted.len()];
        page.read(wanted, |n, samples| read[n] = samples.clone()).expect("its chunks");
        read
    }

    #[test]
    fn samples_at_the_edges_are_read_as_written() {
        let edges = edge_samples();
        let floats: Vec<Sample> =
            edges.iter().filter(|sample| matches!(sample.value, Value::Float(_))).cloned().collect();
        let rising: Vec<Sample> = (0..500)
            .map(|n| Sample { at_ms: n * 15_000 + n % 7, value: Value::Float((n * n % 997 * n) as f64) })
            .collect();
        let mut gaps = rising.clone();
        gaps.iter_mut().step_by(50).for_each(|sample| sample.value = Value::stale());
        let random: Vec<Sample> =
            (1..300).map(|n| Sample { at_ms: n, value: Value::Float(1.0 / n as f64) }).collect();
        let all = [&edges, &floats, &rising, &gaps, &random, &gaps, &edges[..1].to_vec()];
        let mut builder = PageBuilder::default();
        for (number, samples) in all.iter().enumerate() {
            assert_eq!(builder.push(samples) as usize, number);
        }
        let page = builder.finish(&mut Compressor::new().expect("memory")).expect("memory");
        assert!(builder.is_empty());
        for (samples, read) in all.iter().zip(read(&page, &[0, 1, 2, 3, 4, 5, 6])) {
            assert!(same_samples(samples, &read), "{read:?} is not {samples:?}");
        }
        let some = read(&page, &[1, 3, 6]);
        assert!(
            same_samples(&some[0], all[1])
                && same_samples(&some[1], all[3])
                && same_samples(&some[2], all[6])
        );
    }
}

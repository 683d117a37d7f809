//! The numbers of one chunk in the columns of a page.

use dwcp_types::DecodeError;

use super::{COLUMNS, HEADS, HISTOGRAMS, PLANES, RAW};
use crate::model::{Sample, Value};
use crate::store::bytes::{Bytes, put_signed, put_varint, unzigzag, zigzag};
use crate::store::{decimal, histogram};
use std::sync::Arc;

/// How a chunk's numbers are written, in its head's low bits. Distances to the smallest.
const DISTANCES: u8 = 0;
/// Differences to the one before.
const DIFFERENCES: u8 = 1;
/// Differences of differences.
const CHANGES: u8 = 2;
/// XOR with the one before, byte by byte.
const PLAIN: u8 = 3;
/// Histograms are among them.
pub const MIXED: u8 = 4;

const EXPONENT_MAX: u8 = 15;

/// A chunk's numbers on their way into the columns; reused for its memory.
#[derive(Default)]
pub struct Numbers {
    bits: Vec<u64>,
    /// As whole numbers; an exception has that of the one before.
    whole: Vec<i64>,
    exponent: u8,
    /// Which are no whole numbers.
    exceptions: Vec<usize>,
    written: Vec<u64>,
}

impl Numbers {
    pub fn take(&mut self, samples: &[Sample]) {
        self.bits.clear();
        self.bits.extend(samples.iter().map(|sample| match sample.value {
            Value::Float(number) => number.to_bits(),
            Value::Histogram(_) => 0,
        }));
    }

    pub fn write(&mut self, columns: &mut [Vec<u8>; COLUMNS]) {
        if !self.find_whole() {
            return self.write_plain(columns);
        }
        let form = self.smallest_form();
        let first = match form {
            DISTANCES => self.whole.iter().copied().min().unwrap_or(0),
            _ => self.whole.first().copied().unwrap_or(0),
        };
        self.fill(form, first);
        let most = self.written.iter().fold(0, |all, number| all | number);
        let width = (64 - most.leading_zeros()).div_ceil(8) as usize;
        let heads = &mut columns[HEADS];
        heads.push(form | (width as u8) << 4);
        heads.push(self.exponent);
        put_signed(heads, first);
        put_varint(heads, self.exceptions.len() as u64);
        let mut last = 0;
        for &at in &self.exceptions {
            put_varint(heads, (at - last) as u64);
            last = at;
        }
        for (plane, column) in columns[PLANES..PLANES + width].iter_mut().enumerate() {
            column.extend(self.written.iter().map(|number| (number >> (8 * plane)) as u8));
        }
        for &at in &self.exceptions {
            columns[RAW].extend_from_slice(&self.bits[at].to_le_bytes());
        }
    }

    /// Finds the power of ten; false when too many are no whole numbers at any.
    fn find_whole(&mut self) -> bool {
        let allowed = self.bits.len() / 8 + 1;
        let mut misses = 0;
        self.exponent = 0;
        for &bits in &self.bits {
            match decimal::least_exponent(f64::from_bits(bits), self.exponent, EXPONENT_MAX) {
                Some((exponent, _)) => self.exponent = exponent,
                None => misses += 1,
            }
            if misses > allowed {
                return false;
            }
        }
        self.whole.clear();
        self.exceptions.clear();
        let mut last = None;
        for (at, &bits) in self.bits.iter().enumerate() {
            let found = decimal::whole(f64::from_bits(bits), self.exponent);
            if found.is_none() {
                self.exceptions.push(at);
            }
            last = found.or(last);
            self.whole.push(last.unwrap_or(0));
        }
        // Exceptions before the first whole number are as that: no jump.
        if let Some(first) = (0..self.bits.len()).find(|at| self.exceptions.get(*at) != Some(at)) {
            let value = self.whole[first];
            self.whole[..first].fill(value);
        }
        self.exceptions.len() <= allowed
    }

    fn smallest_form(&self) -> u8 {
        let length = |number: u64| u64::from(64 - number.leading_zeros());
        let least = self.whole.iter().copied().min().unwrap_or(0);
        let (mut last, mut step) = (self.whole.first().copied().unwrap_or(0), 0);
        let mut sizes = [0u64; 3];
        for &whole in &self.whole {
            let next = whole - last;
            sizes[0] += length((whole - least) as u64);
            sizes[1] += length(zigzag(next));
            sizes[2] += length(zigzag(next - step));
            (last, step) = (whole, next);
        }
        let smallest = (0..3).min_by_key(|form| sizes[*form]).unwrap_or(0);
        smallest as u8
    }

    fn fill(&mut self, form: u8, first: i64) {
        self.written.clear();
        let (mut last, mut step) = (first, 0);
        self.written.extend(self.whole.iter().map(|&whole| {
            let next = whole - last;
            let change = next - step;
            match form {
                DISTANCES => next as u64,
                DIFFERENCES => {
                    last = whole;
                    zigzag(next)
                }
                _ => {
                    (last, step) = (whole, next);
                    zigzag(change)
                }
            }
        }));
    }

    fn write_plain(&self, columns: &mut [Vec<u8>; COLUMNS]) {
        columns[HEADS].push(PLAIN);
        for plane in 0..8 {
            let mut last = 0;
            columns[RAW].extend(self.bits.iter().map(|&bits| {
                let byte = ((bits ^ last) >> (8 * plane)) as u8;
                last = bits;
                byte
            }));
        }
    }
}

/// What a chunk's head says of its numbers.
struct Head {
    form: u8,
    width: usize,
    exponent: u8,
    first: i64,
    exceptions: Vec<usize>,
}

impl Head {
    fn read(heads: &mut Bytes<'_>, count: usize) -> Result<Head, DecodeError> {
        let kind = heads.byte()?;
        let mut head = Head {
            form: kind & 15,
            width: usize::from(kind >> 4),
            exponent: 0,
            first: 0,
            exceptions: Vec::new(),
        };
        if head.form >= PLAIN {
            return Ok(head);
        }
        head.exponent = heads.byte()?;
        head.first = heads.signed()?;
        if head.width > 8 || head.exponent > EXPONENT_MAX {
            return Err(DecodeError::Invalid("numbers too wide"));
        }
        let mut last = 0u64;
        for _ in 0..heads.count()? {
            last = last.saturating_add(heads.varint()?);
            if last >= count as u64 {
                return Err(DecodeError::Invalid("an exception behind the end"));
            }
            head.exceptions.push(last as usize);
        }
        Ok(head)
    }
}

/// Moves past the numbers of a chunk of `count`.
pub fn skip(columns: &mut [Bytes<'_>; COLUMNS], count: usize) -> Result<(), DecodeError> {
    let head = Head::read(&mut columns[HEADS], count)?;
    match head.form {
        PLAIN => columns[RAW].take(8 * count).map(drop),
        MIXED => {
            let length = columns[HEADS].varint()? as usize;
            columns[HISTOGRAMS].take(length).map(drop)
        }
        DISTANCES | DIFFERENCES | CHANGES => {
            for plane in &mut columns[PLANES..PLANES + head.width] {
                plane.take(count)?;
            }
            columns[RAW].take(8 * head.exceptions.len()).map(drop)
        }
        _ => Err(DecodeError::Invalid("numbers of an unknown form")),
    }
}

/// Reads the numbers of a chunk into samples that have their times.
pub fn read(columns: &mut [Bytes<'_>; COLUMNS], samples: &mut [Sample]) -> Result<(), DecodeError> {
    let count = samples.len();
    let head = Head::read(&mut columns[HEADS], count)?;
    match head.form {
        PLAIN => read_plain(columns[RAW].take(8 * count)?, samples),
        MIXED => {
            let length = columns[HEADS].varint()? as usize;
            return read_mixed(Bytes(columns[HISTOGRAMS].take(length)?), samples);
        }
        DISTANCES | DIFFERENCES | CHANGES => {
            let mut written = [0u64; super::CHUNK_SAMPLES];
            let written = &mut written[..count];
            for (plane, column) in columns[PLANES..PLANES + head.width].iter_mut().enumerate() {
                let bytes = column.take(count)?;
                written
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(number, &byte)| *number |= u64::from(byte) << (8 * plane));
            }
            undo(&head, written, samples);
            for at in head.exceptions {
                let number = columns[RAW].f64()?;
                samples[at].value = Value::Float(number);
            }
        }
        _ => return Err(DecodeError::Invalid("numbers of an unknown form")),
    }
    Ok(())
}

fn undo(head: &Head, written: &[u64], samples: &mut [Sample]) {
    let (mut last, mut step) = (head.first, 0i64);
    for (sample, &number) in samples.iter_mut().zip(written) {
        let whole = match head.form {
            DISTANCES => head.first.wrapping_add(number as i64),
            DIFFERENCES => {
                last = last.wrapping_add(unzigzag(number));
                last
            }
            _ => {
                step = step.wrapping_add(unzigzag(number));
                last = last.wrapping_add(step);
                last
            }
        };
        sample.value = Value::Float(decimal::float(whole, head.exponent));
    }
}

fn read_plain(bytes: &[u8], samples: &mut [Sample]) {
    let count = samples.len();
    let mut last = 0;
    for (at, sample) in samples.iter_mut().enumerate() {
        last ^= (0..8).fold(0, |bits, plane| bits | u64::from(bytes[plane * count + at]) << (8 * plane));
        sample.value = Value::Float(f64::from_bits(last));
    }
}

fn read_mixed(mut bytes: Bytes<'_>, samples: &mut [Sample]) -> Result<(), DecodeError> {
    let mut before: Option<Arc<_>> = None;
    for sample in samples {
        sample.value = match bytes.byte()? {
            0 => Value::Float(bytes.f64()?),
            1 => {
                let read = Arc::new(histogram::decode(before.as_deref(), &mut bytes)?);
                before = Some(Arc::clone(&read));
                Value::Histogram(read)
            }
            _ => return Err(DecodeError::Invalid("a value of an unknown form")),
        };
    }
    bytes.end()
}

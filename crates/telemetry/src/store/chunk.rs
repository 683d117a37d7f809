//! A run of samples of one series in memory, written sample by sample.
//!
//! The idea is that of Gorilla (Pelkonen et al., VLDB 2015): of the time the difference of differences, of the value the difference
//! to the one before. Here in whole bytes, and values that are decimals as differences of whole numbers, which for counters and
//! rounded gauges is smaller than an XOR and quicker to read.
//!
//! A sample: a byte of its form (bits 0-1 the time's, 2-4 the value's, 5-7 the power of ten), the time, the value.

use std::sync::Arc;

use dwcp_types::DecodeError;

use super::bytes::{Bytes, put_f64, put_signed};
use super::{decimal, histogram};
use crate::model::{Histogram, Sample, Value};

/// The largest power of ten that the form has room for.
const EXPONENT_MAX: u8 = 7;
/// After so many values in a row that are no decimals, other powers of ten are not tried any more.
const MISSES_MAX: u8 = 4;

const SAME: u8 = 0;
const WHOLE_1: u8 = 1;
const WHOLE_2: u8 = 2;
const WHOLE_4: u8 = 3;
const WHOLE_8: u8 = 4;
const RAW: u8 = 5;
const HISTOGRAM: u8 = 6;

/// Samples that are not added to any more.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub bytes: Box<[u8]>,
    pub count: u32,
    pub first_ms: i64,
    pub last_ms: i64,
}

impl Chunk {
    /// Of samples in ascending order of time.
    pub fn of(samples: &[Sample]) -> Chunk {
        let mut appender = Appender::default();
        samples.iter().for_each(|sample| appender.push(sample.at_ms, &sample.value));
        appender.close()
    }

    /// Appends its samples to `out`.
    ///
    /// # Errors
    /// The bytes are no chunk of as many samples.
    pub fn decode(&self, out: &mut Vec<Sample>) -> Result<(), DecodeError> {
        decode(&self.bytes, self.count, out)
    }
}

/// Where values are written relative to.
#[derive(Clone, Debug, Default)]
struct Position {
    last_ms: i64,
    step: i64,
    exponent: u8,
    whole: i64,
    bits: u64,
    histogram: Option<Arc<Histogram>>,
}

/// A chunk that is being written.
#[derive(Clone, Debug, Default)]
pub struct Appender {
    bytes: Vec<u8>,
    first_ms: i64,
    count: u32,
    misses: u8,
    at: Position,
}

impl Appender {
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub fn last_ms(&self) -> i64 {
        self.at.last_ms
    }

    /// Bytes of memory held beside the struct itself.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The value pushed last; 0 when there is none.
    pub fn last_value(&self) -> Value {
        match &self.at.histogram {
            Some(histogram) => Value::Histogram(Arc::clone(histogram)),
            None => Value::Float(f64::from_bits(self.at.bits)),
        }
    }

    /// A copy of what was written so far.
    pub fn chunk(&self) -> Chunk {
        Chunk {
            bytes: self.bytes.as_slice().into(),
            count: self.count,
            first_ms: self.first_ms,
            last_ms: self.at.last_ms,
        }
    }

    /// Ends it.
    pub fn close(self) -> Chunk {
        Chunk {
            bytes: self.bytes.into_boxed_slice(),
            count: self.count,
            first_ms: self.first_ms,
            last_ms: self.at.last_ms,
        }
    }

    /// Adds a sample that is later than all before.
    pub fn push(&mut self, at_ms: i64, value: &Value) {
        if self.bytes.capacity() - self.bytes.len() < 10 {
            // A million of them are open at once: growing by halves wastes less than doubling.
            self.bytes.reserve_exact(32.max(self.bytes.len() / 2));
        }
        let form = self.bytes.len();
        self.bytes.push(0);
        let time = self.put_time(at_ms);
        let value = match value {
            Value::Float(number) => self.put_float(*number),
            Value::Histogram(value) => {
                histogram::encode(self.at.histogram.as_deref(), value, &mut self.bytes);
                self.at.histogram = Some(Arc::clone(value));
                HISTOGRAM << 2
            }
        };
        self.bytes[form] = time | value;
        self.count += 1;
    }

    fn put_time(&mut self, at_ms: i64) -> u8 {
        let step = at_ms.wrapping_sub(self.at.last_ms);
        let change = step.wrapping_sub(self.at.step);
        self.at.last_ms = at_ms;
        if self.count == 0 {
            self.first_ms = at_ms;
        } else {
            self.at.step = step;
        }
        if change == 0 {
            0
        } else if let Ok(change) = i8::try_from(change) {
            self.bytes.push(change as u8);
            1
        } else if let Ok(change) = i16::try_from(change) {
            self.bytes.extend_from_slice(&change.to_le_bytes());
            2
        } else {
            put_signed(&mut self.bytes, change);
            3
        }
    }

    fn put_float(&mut self, number: f64) -> u8 {
        let at = &mut self.at;
        let bits = number.to_bits();
        if self.count > 0 && bits == at.bits && at.histogram.is_none() {
            return SAME << 2;
        }
        at.bits = bits;
        at.histogram = None;
        let most = if self.misses < MISSES_MAX { EXPONENT_MAX } else { at.exponent };
        let found = decimal::least_exponent(number, at.exponent, most).and_then(|(exponent, whole)| {
            let base = at.whole.checked_mul(decimal::scale(exponent - at.exponent))?;
            Some((exponent, whole, whole.checked_sub(base)?))
        });
        let Some((exponent, whole, change)) = found else {
            self.misses = self.misses.saturating_add(1);
            put_f64(&mut self.bytes, number);
            return RAW << 2;
        };
        self.misses = 0;
        (at.exponent, at.whole) = (exponent, whole);
        let form = if let Ok(change) = i8::try_from(change) {
            self.bytes.push(change as u8);
            WHOLE_1
        } else if let Ok(change) = i16::try_from(change) {
            self.bytes.extend_from_slice(&change.to_le_bytes());
            WHOLE_2
        } else if let Ok(change) = i32::try_from(change) {
            self.bytes.extend_from_slice(&change.to_le_bytes());
            WHOLE_4
        } else {
            self.bytes.extend_from_slice(&change.to_le_bytes());
            WHOLE_8
        };
        form << 2 | exponent << 5
    }
}

/// Appends the `count` samples that an [`Appender`] wrote.
///
/// # Errors
/// The bytes are no chunk of as many samples.
pub fn decode(bytes: &[u8], count: u32, out: &mut Vec<Sample>) -> Result<(), DecodeError> {
    if count as usize > bytes.len() {
        return Err(DecodeError::Truncated);
    }
    out.reserve(count as usize);
    let (mut bytes, mut at) = (Bytes(bytes), Position::default());
    for number in 0..count {
        let form = bytes.byte()?;
        let change = match form & 3 {
            0 => 0,
            1 => i64::from(bytes.byte()? as i8),
            2 => i64::from(i16::from_le_bytes(bytes.array()?)),
            _ => bytes.signed()?,
        };
        let step = at.step.wrapping_add(change);
        at.last_ms = at.last_ms.wrapping_add(step);
        if number > 0 {
            at.step = step;
        }
        let value = at.read_value(form, &mut bytes)?;
        out.push(Sample { at_ms: at.last_ms, value });
    }
    bytes.end()
}

impl Position {
    fn read_value(&mut self, form: u8, bytes: &mut Bytes<'_>) -> Result<Value, DecodeError> {
        let change = match form >> 2 & 7 {
            SAME => return Ok(Value::Float(f64::from_bits(self.bits))),
            WHOLE_1 => i64::from(bytes.byte()? as i8),
            WHOLE_2 => i64::from(i16::from_le_bytes(bytes.array()?)),
            WHOLE_4 => i64::from(i32::from_le_bytes(bytes.array()?)),
            WHOLE_8 => i64::from_le_bytes(bytes.array()?),
            RAW => {
                self.bits = bytes.f64()?.to_bits();
                self.histogram = None;
                return Ok(Value::Float(f64::from_bits(self.bits)));
            }
            HISTOGRAM => {
                let read = Arc::new(histogram::decode(self.histogram.as_deref(), bytes)?);
                self.histogram = Some(Arc::clone(&read));
                return Ok(Value::Histogram(read));
            }
            _ => return Err(DecodeError::Invalid("a value of an unknown form")),
        };
        let exponent = form >> 5;
        let more = exponent.checked_sub(self.exponent);
        let more = more.ok_or(DecodeError::Invalid("a power of ten that shrinks"))?;
        self.whole = self.whole.wrapping_mul(decimal::scale(more)).wrapping_add(change);
        self.exponent = exponent;
        let number = decimal::float(self.whole, exponent);
        self.bits = number.to_bits();
        self.histogram = None;
        Ok(Value::Float(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{edge_samples, same_samples};

    #[test]
    fn samples_at_the_edges_are_read_as_written() {
        let samples = edge_samples();
        let chunk = Chunk::of(&samples);
        assert_eq!((chunk.first_ms, chunk.last_ms), (i64::MIN, i64::MAX));
        let mut read = Vec::new();
        chunk.decode(&mut read).expect("what was written");
        assert!(same_samples(&read, &samples), "{read:?} is not {samples:?}");
    }

    #[test]
    fn a_counter_takes_two_bytes_a_sample_and_a_constant_one() {
        let samples = |step: f64| -> Vec<Sample> {
            let sample = |n: i64| Sample { at_ms: 15_000 * n, value: Value::Float(1e6 + step * n as f64) };
            (0..120).map(sample).collect()
        };
        assert!(Chunk::of(&samples(100.0)).bytes.len() < 120 * 2 + 16);
        assert!(Chunk::of(&samples(0.0)).bytes.len() < 120 + 16);
    }
}

//! Records of the log: which series have which slots, and samples of series in slots.
//!
//! A record: length of the body, CRC-32 of the body, CRC-32 of these two (4 bytes each, little endian), the body. The head has a
//! checksum of its own, so that a damaged body can be stepped over.

use std::sync::Arc;

use dwcp_types::DecodeError;

use crate::model::{Labels, Sample, Value};
use crate::store::batch::Row;
use crate::store::bytes::{Bytes, put_bytes, put_signed, put_varint, unzigzag, zigzag};
use crate::store::histogram;

pub const HEAD: usize = 12;
/// A body is ended when it is as large.
pub const BODY_BYTES: usize = 1 << 20;
/// No body is larger: one series or one histogram may come on top.
pub const BODY_MAX: u32 = 8 << 20;

/// What a record says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// From here on in this file, the slot is that of the series.
    pub series: Vec<(u32, Labels)>,
    pub samples: Vec<(u32, Sample)>,
}

/// A record's body being written.
#[derive(Default)]
pub struct Body {
    series: Vec<u8>,
    series_count: u64,
    samples: Vec<u8>,
    samples_count: u64,
    last_slot: i64,
    last_ms: i64,
}

impl Body {
    pub fn is_empty(&self) -> bool {
        self.series_count == 0 && self.samples_count == 0
    }

    pub fn is_full(&self) -> bool {
        self.series.len() + self.samples.len() >= BODY_BYTES
    }

    pub fn define(&mut self, slot: u32, labels: &Labels) {
        put_varint(&mut self.series, u64::from(slot));
        put_varint(&mut self.series, labels.len() as u64);
        for (name, value) in labels.iter() {
            put_bytes(&mut self.series, name.as_bytes());
            put_bytes(&mut self.series, value.as_bytes());
        }
        self.series_count += 1;
    }

    pub fn sample(&mut self, slot: u32, row: &Row<'_>) {
        let step = zigzag(i64::from(slot) - self.last_slot) << 1;
        let is_histogram = matches!(row.value, Value::Histogram(_));
        put_varint(&mut self.samples, step | u64::from(is_histogram));
        put_signed(&mut self.samples, row.at_ms.wrapping_sub(self.last_ms));
        match &row.value {
            Value::Float(number) => self.samples.extend_from_slice(&number.to_bits().to_le_bytes()),
            Value::Histogram(value) => histogram::encode(None, value, &mut self.samples),
        }
        (self.last_slot, self.last_ms) = (i64::from(slot), row.at_ms);
        self.samples_count += 1;
    }

    /// Appends the record to `out`; how many of its bytes are series. The body is empty after it.
    pub fn close(&mut self, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        put_varint(out, self.series_count);
        out.append(&mut self.series);
        let series = (out.len() - start) as u64;
        put_varint(out, self.samples_count);
        out.append(&mut self.samples);
        let (head, body) = out[start..].split_at_mut(HEAD);
        head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let checksum = crc32fast::hash(&head[..8]);
        head[8..].copy_from_slice(&checksum.to_le_bytes());
        // The memory of both lists is kept for the next.
        (self.series_count, self.samples_count, self.last_slot, self.last_ms) = (0, 0, 0, 0);
        series
    }
}

/// Length and checksum of the body, if this is the head of a record.
pub fn read_head(head: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let (length, checksum) = (number(0)?, number(4)?);
    (number(8)? == crc32fast::hash(&head[..8]) && length <= BODY_MAX).then_some((length, checksum))
}

/// Reads a record's body, whose checksum was verified.
///
/// # Errors
/// The bytes are none.
pub fn read_body(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut bytes = Bytes(bytes);
    let mut record = Record::default();
    for _ in 0..bytes.count()? {
        let slot = bytes.u32()?;
        let labels = (0..bytes.count()?).map(|_| Ok((bytes.text()?, bytes.text()?)));
        record.series.push((slot, Labels::new(labels.collect::<Result<Vec<_>, DecodeError>>()?)));
    }
    let (mut slot, mut at_ms) = (0i64, 0i64);
    let count = bytes.count()?;
    record.samples.reserve_exact(count);
    for _ in 0..count {
        let step = bytes.varint()?;
        slot = slot.wrapping_add(unzigzag(step >> 1));
        at_ms = at_ms.wrapping_add(bytes.signed()?);
        let value = match step & 1 {
            0 => Value::Float(bytes.f64()?),
            _ => Value::Histogram(Arc::new(histogram::decode(None, &mut bytes)?)),
        };
        let slot = u32::try_from(slot).map_err(|_| DecodeError::Invalid("a slot that can't be"))?;
        record.samples.push((slot, Sample { at_ms, value }));
    }
    bytes.end()?;
    Ok(record)
}

//! The decoders of what is on the disk, and real input for them: for fuzzing.

use std::io;

use dwcp_types::DecodeError;

use super::block::{self, Directory, Frame, Tier};
use super::chunk::{self, Chunk};
use super::compress::Compressor;
use super::disk::DiskFile;
use super::page::{Page, PageBuilder};
use super::{Row, SeriesRef, wal};
use crate::model::{Bucket, Histogram, Labels, Sample, Value};

/// A record of the log: checksums are made right first, so that what is behind them is reached.
pub fn read_record(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 12 {
        let (head, body) = bytes.split_at_mut(12);
        head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let checksum = crc32fast::hash(&head[..8]);
        head[8..].copy_from_slice(&checksum.to_le_bytes());
    }
    wal::read_record(&bytes).is_some()
}

/// A file in memory.
struct Content<'a>(&'a [u8]);

impl DiskFile for Content<'_> {
    fn append(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let found = self.0.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn cut(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the log: whether it is whole.
pub fn read_log(bytes: &[u8]) -> bool {
    let found = wal::replay(&Content(bytes), "log", |_| {});
    found.is_ok_and(|found| found.damaged.is_empty() && found.end == found.length)
}

/// A chunk in memory: a byte how many samples, then it.
///
/// # Errors
/// It is none.
pub fn read_chunk(bytes: &[u8]) -> Result<(), DecodeError> {
    let (count, bytes) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    chunk::decode(bytes, u32::from(*count), &mut Vec::new())
}

/// A page of samples.
///
/// # Errors
/// It is none.
pub fn read_page(bytes: &[u8]) -> Result<(), DecodeError> {
    Page::open(bytes)?.check()
}

/// A page's columns before they are compressed: 12 columns, each with its length.
///
/// # Errors
/// They are none.
pub fn read_columns(bytes: &[u8]) -> Result<(), DecodeError> {
    Page::of_columns(bytes)?.check()
}

/// The directory of a block.
///
/// # Errors
/// It is none.
pub fn read_directory(bytes: &[u8]) -> Result<(), DecodeError> {
    Directory::decode(bytes).map(drop)
}

/// Entries of the index: 0, then a page of series, else one of labels.
///
/// # Errors
/// They are none.
pub fn read_index(bytes: &[u8]) -> Result<(), DecodeError> {
    let (kind, bytes) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if *kind == 0 { block::check_series(bytes) } else { block::check_postings(bytes) }
}

/// Real input of each of them.
pub struct RealInput {
    pub log: Vec<u8>,
    pub record: Vec<u8>,
    pub chunk: Vec<u8>,
    pub page: Vec<u8>,
    pub columns: Vec<u8>,
    pub directory: Vec<u8>,
    pub series: Vec<u8>,
    pub postings: Vec<u8>,
}

/// Real input of each decoder.
///
/// # Errors
/// No memory.
pub fn real_input() -> std::io::Result<RealInput> {
    let samples = some_samples();
    let series = SeriesRef::new(Labels::new([("__name__", "up"), ("region", "eu-west-1")]));
    let rows = samples.iter().map(|sample| Row {
        series: &series,
        at_ms: sample.at_ms,
        value: sample.value.clone(),
    });
    let record = wal::write_record(&rows.collect::<Vec<_>>());
    let log = [wal::MAGIC, &*record, &*record, &*record].concat();
    let made = Chunk::of(&samples);
    let mut chunk = vec![made.count as u8];
    chunk.extend_from_slice(&made.bytes);
    let builder = || {
        let mut builder = PageBuilder::default();
        builder.push(&samples);
        builder.push(&samples[..20]);
        builder.push(&samples[..20]);
        builder
    };
    let page = builder().finish(&mut Compressor::new()?)?;
    let frame = Frame { offset: 8, length: 100, checksum: 7 };
    let directory = Directory {
        tier: Tier::Fine,
        start_ms: 0,
        end_ms: 7_200_000,
        series: 1,
        samples: 30,
        pages: vec![frame],
        series_pages: vec![frame],
        postings: vec![block::PostingsPage { frame, name: "region".into(), value: "eu-west-1".into() }],
        names: vec![("region".into(), 1)],
    };
    let (series, postings) = block::some_entries();
    let columns = builder().columns();
    Ok(RealInput { log, record, chunk, page, columns, directory: directory.encode(), series, postings })
}

fn some_samples() -> Vec<Sample> {
    let number = |n: i64| Sample { at_ms: 15_000 * n, value: Value::Float(n as f64 * 1.5) };
    let mut samples: Vec<Sample> = (0..20).map(number).collect();
    samples[7].value = Value::stale();
    samples.extend((20..30).map(|n| {
        let positive = vec![Bucket { index: 3, count: n as f64 }];
        let histogram = Histogram { count: n as f64, sum: 0.5, positive, ..Histogram::default() };
        Sample { at_ms: 15_000 * n, value: Value::Histogram(histogram.into()) }
    }));
    samples
}

//! How a block is made: beside its place, synced, then renamed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directory::PostingsPage;
use super::{BlockSeries, ChunkRef, Directory, FOOTER, Frame, MAGIC, SERIES_A_PAGE, Tier};
use crate::model::Sample;
use crate::store::bytes::{put_bytes, put_varint};
use crate::store::compress::Compressor;
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::StoreError;
use crate::store::page::{CHUNK_SAMPLES, PageBuilder};
use crate::store::postings::Runs;

/// What an unfinished file's name ends with; it is removed at the next open.
pub const UNFINISHED: &str = ".new";
/// What a block's name ends with.
pub const BLOCK: &str = ".block";
/// A page of the index is closed when it is as large, uncompressed.
const POSTINGS_BYTES: usize = 16 << 10;
/// Bytes are written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// The name of a block.
pub fn block_name(tier: Tier, start_ms: i64, end_ms: i64) -> String {
    let tier = match tier {
        Tier::Fine => "fine",
        Tier::Coarse => "coarse",
    };
    format!("{tier}-{start_ms}-{end_ms}{BLOCK}")
}

/// Writes a block: samples page by page, series in ascending order of labels.
pub struct BlockWriter<'a> {
    disk: &'a dyn Disk,
    name: String,
    is_named: bool,
    unfinished: String,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    offset: u64,
    compressor: Compressor,
    directory: Directory,
    page: PageBuilder,
    series_page: Vec<u8>,
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Runs>>,
}

impl<'a> BlockWriter<'a> {
    /// Of the span of time from `start_ms` up to `end_ms`, it not included.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(
        disk: &'a dyn Disk,
        tier: Tier,
        start_ms: i64,
        end_ms: i64,
    ) -> Result<BlockWriter<'a>, StoreError> {
        let name = block_name(tier, start_ms, end_ms);
        let unfinished = format!("{name}{UNFINISHED}");
        let writing = StoreError::disk(&unfinished, "writing");
        let file = disk.create(&unfinished).map_err(&writing)?;
        let compressor = Compressor::new().map_err(&writing)?;
        let directory = Directory {
            tier,
            start_ms,
            end_ms,
            series: 0,
            samples: 0,
            pages: Vec::new(),
            series_pages: Vec::new(),
            postings: Vec::new(),
            names: Vec::new(),
        };
        let mut writer = BlockWriter {
            disk,
            name,
            is_named: false,
            unfinished,
            file,
            buffer: Vec::new(),
            offset: 0,
            compressor,
            directory,
            page: PageBuilder::default(),
            series_page: Vec::new(),
            postings: BTreeMap::new(),
        };
        writer.write(MAGIC)?;
        Ok(writer)
    }

    fn writing(&self) -> impl Fn(std::io::Error) -> StoreError + use<> {
        StoreError::disk(&self.unfinished, "writing")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file.append(&self.buffer).map_err(self.writing())?;
        self.buffer.clear();
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<Frame, StoreError> {
        let frame =
            Frame { offset: self.offset, length: bytes.len() as u32, checksum: crc32fast::hash(bytes) };
        self.write(bytes)?;
        Ok(frame)
    }

    fn index_page(&mut self, bytes: &[u8]) -> Result<Frame, StoreError> {
        let mut out = Vec::new();
        put_varint(&mut out, bytes.len() as u64);
        let writing = self.writing();
        out.extend_from_slice(self.compressor.compress(bytes).map_err(writing)?);
        self.frame(&out)
    }

    fn close_page(&mut self) -> Result<(), StoreError> {
        if !self.page.is_empty() {
            let writing = self.writing();
            let bytes = self.page.finish(&mut self.compressor).map_err(writing)?;
            let frame = self.frame(&bytes)?;
            self.directory.pages.push(frame);
        }
        Ok(())
    }

    /// Adds a page of another block as it is; its number here.
    ///
    /// # Errors
    /// The disk's.
    pub fn copy_page(&mut self, bytes: &[u8]) -> Result<u32, StoreError> {
        let frame = self.frame(bytes)?;
        self.directory.pages.push(frame);
        Ok(self.directory.pages.len() as u32 - 1)
    }

    /// Adds the samples of the series that comes next, in ascending order of time.
    ///
    /// # Errors
    /// The disk's.
    pub fn samples(&mut self, samples: &[Sample], chunks: &mut Vec<ChunkRef>) -> Result<(), StoreError> {
        for samples in samples.chunks(CHUNK_SAMPLES) {
            let (first_ms, last_ms) = (samples[0].at_ms, samples[samples.len() - 1].at_ms);
            let page = self.directory.pages.len() as u32;
            let nth = self.page.push(samples);
            chunks.push(ChunkRef { page, nth, count: samples.len() as u32, first_ms, last_ms });
            if self.page.is_full() {
                self.close_page()?;
            }
        }
        Ok(())
    }

    /// Adds a series, whose labels come after those of all before.
    ///
    /// # Errors
    /// The disk's.
    pub fn series(&mut self, labels: &[(&str, &str)], chunks: &[ChunkRef]) -> Result<(), StoreError> {
        let ordinal = self.directory.series;
        for &(name, value) in labels {
            if !self.postings.contains_key(name) {
                self.postings.insert(name.into(), BTreeMap::new());
            }
            let values = self.postings.get_mut(name).expect("it was put there when it was missing");
            match values.get_mut(value) {
                Some(runs) => runs.push(ordinal),
                None => values.entry(value.into()).or_default().push(ordinal),
            }
        }
        put_bytes(&mut self.series_page, &BlockSeries::encode(labels, chunks));
        self.directory.series += 1;
        self.directory.samples += chunks.iter().map(|chunk| u64::from(chunk.count)).sum::<u64>();
        if (self.directory.series as usize).is_multiple_of(SERIES_A_PAGE) {
            self.close_series_page()
        } else {
            Ok(())
        }
    }

    fn close_series_page(&mut self) -> Result<(), StoreError> {
        let bytes = std::mem::take(&mut self.series_page);
        let frame = self.index_page(&bytes)?;
        self.directory.series_pages.push(frame);
        Ok(())
    }

    fn write_postings(&mut self) -> Result<(), StoreError> {
        let (mut page, mut first, mut written) = (Vec::new(), None, Vec::new());
        for (name, values) in std::mem::take(&mut self.postings) {
            self.directory.names.push(((&*name).into(), values.len() as u32));
            for (value, runs) in values {
                first.get_or_insert_with(|| (Arc::clone(&name), Arc::clone(&value)));
                put_bytes(&mut page, name.as_bytes());
                put_bytes(&mut page, value.as_bytes());
                written.clear();
                runs.encode(&mut written);
                put_bytes(&mut page, &written);
                if page.len() >= POSTINGS_BYTES {
                    self.close_postings(&mut page, &mut first)?;
                }
            }
        }
        self.close_postings(&mut page, &mut first)
    }

    fn close_postings(
        &mut self,
        page: &mut Vec<u8>,
        first: &mut Option<(Arc<str>, Arc<str>)>,
    ) -> Result<(), StoreError> {
        if let Some((name, value)) = first.take() {
            let frame = self.index_page(page)?;
            self.directory.postings.push(PostingsPage {
                frame,
                name: (&*name).into(),
                value: (&*value).into(),
            });
            page.clear();
        }
        Ok(())
    }

    /// Writes what is left and gives the file its name; `None` when no series was added.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self) -> Result<Option<String>, StoreError> {
        if self.directory.series == 0 {
            return Ok(None);
        }
        self.finish_file()?;
        let naming = StoreError::disk(&self.name, "naming");
        self.disk.rename(&self.unfinished, &self.name).map_err(&naming)?;
        self.is_named = true;
        self.disk.sync().map_err(&naming)?;
        Ok(Some(std::mem::take(&mut self.name)))
    }

    fn finish_file(&mut self) -> Result<(), StoreError> {
        self.close_page()?;
        if !self.series_page.is_empty() {
            self.close_series_page()?;
        }
        self.write_postings()?;
        let directory = self.directory.encode();
        let writing = self.writing();
        let compressed = self.compressor.compress(&directory).map_err(&writing)?.to_vec();
        let frame = self.frame(&compressed)?;
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend_from_slice(&frame.offset.to_le_bytes());
        footer.extend_from_slice(&frame.length.to_le_bytes());
        footer.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        footer.extend_from_slice(&frame.checksum.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.write(&footer)?;
        self.flush()?;
        self.file.sync().map_err(writing)
    }
}

impl Drop for BlockWriter<'_> {
    /// What was not finished makes room at once; if it can't be removed now, it is at the next open.
    fn drop(&mut self) {
        if !self.is_named {
            let _ = self.disk.remove(&self.unfinished);
        }
    }
}

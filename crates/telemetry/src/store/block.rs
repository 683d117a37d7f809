//! A block: the samples of all series in a span of time, in a file that is never changed.
//!
//! Pages of samples ([`super::page`]), pages of series in ascending order of labels, each with where its chunks are, pages of the
//! index from label name and value to series, then a directory of all these, of which only the directory stays in memory. Every
//! page has a checksum in the directory, and the directory one in the last bytes of the file.

mod directory;
mod write;

use dwcp_types::DecodeError;

use super::bytes::{Bytes, put_bytes, put_signed, put_varint};
use super::compress::decompress;
use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::page::Page;
use super::postings::Runs;
use crate::model::{MatchOp, Matcher};
pub use directory::{Directory, Frame, PostingsPage, Tier};
pub use write::{BLOCK, BlockWriter, UNFINISHED};

/// Series in a page of them.
pub const SERIES_A_PAGE: usize = 256;
const MAGIC: &[u8; 8] = b"DWCPBLK1";
/// Of the directory: offset 8 bytes, length, length uncompressed, checksum 4 each, then the magic.
const FOOTER: usize = 28;
/// No page of the index and no directory is larger, uncompressed.
const INDEX_MAX: u64 = 256 << 20;

/// Where some samples of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    pub page: u32,
    /// Which chunk of the page.
    pub nth: u32,
    /// Samples.
    pub count: u32,
    pub first_ms: i64,
    pub last_ms: i64,
}

/// A series of a block.
pub struct BlockSeries<'a> {
    /// In ascending order of names.
    pub labels: Vec<(&'a str, &'a str)>,
    /// In ascending order of time.
    pub chunks: Vec<ChunkRef>,
}

impl<'a> BlockSeries<'a> {
    fn decode(mut bytes: Bytes<'a>) -> Result<BlockSeries<'a>, DecodeError> {
        let mut labels = Vec::new();
        for _ in 0..bytes.count()? {
            labels.push((bytes.text()?, bytes.text()?));
        }
        let mut chunks = Vec::new();
        let (mut page, mut at_ms) = (0u64, 0i64);
        for _ in 0..bytes.count()? {
            page = page.saturating_add(bytes.varint()?);
            let (nth, count) = (bytes.u32()?, bytes.u32()?);
            let first_ms = at_ms.wrapping_add(bytes.signed()?);
            let last_ms = first_ms.wrapping_add(bytes.signed()?);
            at_ms = last_ms;
            let page = u32::try_from(page).map_err(|_| DecodeError::Invalid("a page that is not there"))?;
            chunks.push(ChunkRef { page, nth, count, first_ms, last_ms });
        }
        bytes.end()?;
        Ok(BlockSeries { labels, chunks })
    }

    fn encode(labels: &[(&str, &str)], chunks: &[ChunkRef]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, labels.len() as u64);
        for (name, value) in labels {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        put_varint(&mut out, chunks.len() as u64);
        let (mut page, mut at_ms) = (0, 0i64);
        for chunk in chunks {
            put_varint(&mut out, u64::from(chunk.page - page));
            put_varint(&mut out, u64::from(chunk.nth));
            put_varint(&mut out, u64::from(chunk.count));
            put_signed(&mut out, chunk.first_ms.wrapping_sub(at_ms));
            put_signed(&mut out, chunk.last_ms.wrapping_sub(chunk.first_ms));
            (page, at_ms) = (chunk.page, chunk.last_ms);
        }
        out
    }

    /// Whether it fulfils every one of them.
    pub fn fulfils(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| {
            let found = self.labels.iter().find(|(name, _)| *name == matcher.name);
            matcher.holds(found.map_or("", |(_, value)| value))
        })
    }
}

/// A block that was opened.
pub struct Block {
    pub name: String,
    /// Of its file.
    pub bytes: u64,
    pub directory: Directory,
    file: Box<dyn DiskFile>,
}

impl Block {
    /// Opens a block and reads its directory.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub fn open(disk: &dyn Disk, name: &str) -> Result<Block, StoreError> {
        let reading = || StoreError::disk(name, "reading");
        let file = disk.open(name).map_err(reading())?;
        let bytes = file.length().map_err(reading())?;
        let at = bytes.saturating_sub(FOOTER as u64);
        let damaged = StoreError::damaged(name, at);
        if bytes < FOOTER as u64 {
            return Err(damaged(DecodeError::Truncated));
        }
        let mut footer = [0; FOOTER];
        file.read_at(&mut footer, at).map_err(reading())?;
        let (frame, length) = read_footer(&footer).map_err(&damaged)?;
        if frame.offset + u64::from(frame.length) != at {
            return Err(damaged(DecodeError::Invalid("a directory of another length")));
        }
        let encoded = read_frame(&*file, name, frame)?;
        let damaged = StoreError::damaged(name, frame.offset);
        let directory =
            decompress(&encoded, length).and_then(|bytes| Directory::decode(&bytes)).map_err(damaged)?;
        Ok(Block { name: name.to_owned(), bytes, directory, file })
    }

    pub fn tier(&self) -> Tier {
        self.directory.tier
    }

    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.directory.start_ms <= end_ms && start_ms < self.directory.end_ms
    }

    fn damaged(&self, frame: Frame) -> impl Fn(DecodeError) -> StoreError + use<> {
        StoreError::damaged(&self.name, frame.offset)
    }

    /// A page of samples.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub fn page(&self, number: u32) -> Result<Page, StoreError> {
        let (frame, bytes) = self.page_bytes(number)?;
        Page::open(&bytes).map_err(self.damaged(frame))
    }

    /// A page of samples as it is in the file, its checksum verified.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub fn page_bytes(&self, number: u32) -> Result<(Frame, Vec<u8>), StoreError> {
        let missing = DecodeError::Invalid("a page that is not there");
        let frame = self.directory.pages.get(number as usize).copied();
        let frame = frame.ok_or_else(|| StoreError::damaged(&self.name, self.bytes)(missing))?;
        Ok((frame, read_frame(&*self.file, &self.name, frame)?))
    }

    /// Names a page of samples that holds something else than the index says.
    pub fn contradicted(&self, page: u32, why: DecodeError) -> StoreError {
        let frame = self.directory.pages.get(page as usize).copied().unwrap_or_default();
        self.damaged(frame)(why)
    }

    fn index_page(&self, frame: Frame) -> Result<Vec<u8>, StoreError> {
        open_index_page(&read_frame(&*self.file, &self.name, frame)?).map_err(self.damaged(frame))
    }

    /// Hands the series of these numbers to `found`, in ascending order of labels.
    ///
    /// # Errors
    /// They can't be read, or are damaged, or `found` fails.
    pub fn series(
        &self,
        wanted: &Runs,
        mut found: impl FnMut(BlockSeries<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut wanted = wanted.iter().peekable();
        while let Some(&first) = wanted.peek() {
            let number = first as usize / SERIES_A_PAGE;
            let Some(&frame) = self.directory.series_pages.get(number) else { return Ok(()) };
            let bytes = self.index_page(frame)?;
            let (mut bytes, damaged) = (Bytes(&bytes), self.damaged(frame));
            let start = (number * SERIES_A_PAGE) as u32;
            for ordinal in start.. {
                if wanted.peek().is_none_or(|next| *next as usize / SERIES_A_PAGE != number) {
                    break;
                }
                let entry = bytes.bytes().map_err(&damaged)?;
                if wanted.next_if_eq(&ordinal).is_some() {
                    found(BlockSeries::decode(Bytes(entry)).map_err(&damaged)?)?;
                }
            }
        }
        Ok(())
    }

    /// The numbers of series that may fulfil the matchers; their labels are to be looked at still.
    ///
    /// # Errors
    /// The index can't be read, or is damaged.
    pub fn candidates(&self, matchers: &[Matcher]) -> Result<Runs, StoreError> {
        let mut candidates = Runs::below(self.directory.series);
        for matcher in matchers {
            if let MatchOp::Equal(value) = &matcher.op {
                if !value.is_empty() {
                    let mut known = Runs::default();
                    self.postings(&matcher.name, Some(value), |_, runs| {
                        known = runs()?;
                        Ok(())
                    })?;
                    candidates = candidates.intersect(&known);
                }
            }
        }
        for matcher in matchers {
            let by_equal = matches!(matcher.op, MatchOp::Equal(_)) || matcher.holds("");
            // Looking at each candidate's label is cheaper than looking at more values than there are candidates.
            if by_equal || u64::from(self.directory.values(&matcher.name)) > candidates.count() {
                continue;
            }
            let mut known = Vec::new();
            self.postings(&matcher.name, None, |value, runs| {
                if matcher.holds(value) {
                    known.push(runs()?);
                }
                Ok(())
            })?;
            candidates = candidates.intersect(&Runs::union(known));
        }
        Ok(candidates)
    }

    /// The values of a label, in ascending order.
    ///
    /// # Errors
    /// The index can't be read, or is damaged.
    pub fn label_values(&self, name: &str, mut found: impl FnMut(&str)) -> Result<(), StoreError> {
        self.postings(name, None, |value, _| {
            found(value);
            Ok(())
        })
    }

    /// Hands the values of a label (or one of them) to `found`, with what gives the series that have it.
    fn postings(
        &self,
        name: &str,
        value: Option<&str>,
        mut found: impl FnMut(&str, &mut dyn FnMut() -> Result<Runs, DecodeError>) -> Result<(), DecodeError>,
    ) -> Result<(), StoreError> {
        let pages = &self.directory.postings;
        let least = (name, value.unwrap_or(""));
        let first = pages.partition_point(|page| (&*page.name, &*page.value) <= least).saturating_sub(1);
        for page in &pages[first..] {
            if &*page.name > name || value.is_some_and(|value| &*page.name == name && &*page.value > value) {
                break;
            }
            let bytes = self.index_page(page.frame)?;
            let series = self.directory.series;
            read_postings(&bytes, series, |known, one, runs| match known.cmp(name) {
                std::cmp::Ordering::Equal if value.is_none_or(|value| value == one) => found(one, runs),
                _ => Ok(()),
            })
            .map_err(self.damaged(page.frame))?;
        }
        Ok(())
    }
}

/// Goes through the series of a block one by one, in ascending order of labels.
pub struct SeriesCursor<'a> {
    block: &'a Block,
    next_page: usize,
    page: Vec<u8>,
    /// What of the page is still to come, after the entry.
    rest: usize,
    entry: std::ops::Range<usize>,
}

impl<'a> SeriesCursor<'a> {
    /// Before the first.
    pub fn new(block: &'a Block) -> SeriesCursor<'a> {
        SeriesCursor { block, next_page: 0, page: Vec::new(), rest: 0, entry: 0..0 }
    }

    fn damaged(&self) -> impl Fn(DecodeError) -> StoreError + use<> {
        self.block.damaged(self.block.directory.series_pages[self.next_page - 1])
    }

    /// Goes to the next; false when there is none.
    ///
    /// # Errors
    /// It can't be read, or is damaged.
    pub fn advance(&mut self) -> Result<bool, StoreError> {
        if self.rest == 0 {
            let Some(&frame) = self.block.directory.series_pages.get(self.next_page) else {
                return Ok(false);
            };
            self.page = self.block.index_page(frame)?;
            self.rest = self.page.len();
            self.next_page += 1;
        }
        let mut bytes = Bytes(&self.page[self.page.len() - self.rest..]);
        let length = bytes.bytes().map_err(self.damaged())?.len();
        let end = self.page.len() - bytes.0.len();
        self.rest = bytes.0.len();
        self.entry = end - length..end;
        Ok(true)
    }

    /// The series it is at.
    ///
    /// # Errors
    /// It is damaged.
    pub fn series(&self) -> Result<BlockSeries<'_>, StoreError> {
        BlockSeries::decode(Bytes(&self.page[self.entry.clone()])).map_err(self.damaged())
    }
}

/// What follows a length, decompressed.
fn open_index_page(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Bytes(bytes);
    let length = bytes.varint()?;
    if length > INDEX_MAX {
        return Err(DecodeError::Invalid("a page of the index that is too large"));
    }
    decompress(bytes.0, length as usize)
}

/// Hands every entry to `found`: name, value, and what gives the series.
fn read_postings(
    bytes: &[u8],
    series: u32,
    mut found: impl FnMut(&str, &str, &mut dyn FnMut() -> Result<Runs, DecodeError>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut bytes = Bytes(bytes);
    while !bytes.is_empty() {
        let (name, value, runs) = (bytes.text()?, bytes.text()?, bytes.bytes()?);
        found(name, value, &mut || Runs::decode(Bytes(runs), series))?;
    }
    Ok(())
}

fn read_footer(footer: &[u8; FOOTER]) -> Result<(Frame, usize), DecodeError> {
    let mut bytes = Bytes(footer);
    let offset = u64::from_le_bytes(bytes.array()?);
    let mut number = || bytes.array().map(u32::from_le_bytes);
    let (length, uncompressed, checksum) = (number()?, number()?, number()?);
    if &bytes.array()? != MAGIC || u64::from(uncompressed) > INDEX_MAX || offset > i64::MAX as u64 {
        return Err(DecodeError::Invalid("a file that does not end as a block does"));
    }
    Ok((Frame { offset, length, checksum }, uncompressed as usize))
}

fn read_frame(file: &dyn DiskFile, name: &str, frame: Frame) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; frame.length as usize];
    file.read_at(&mut bytes, frame.offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => StoreError::damaged(name, frame.offset)(DecodeError::Truncated),
        _ => StoreError::disk(name, "reading")(error),
    })?;
    if crc32fast::hash(&bytes) != frame.checksum {
        return Err(StoreError::damaged(name, frame.offset)(DecodeError::Invalid("the checksum is another")));
    }
    Ok(bytes)
}

/// Reads a page of series; for fuzzing.
///
/// # Errors
/// The bytes are none.
pub fn check_series(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut bytes = Bytes(bytes);
    while !bytes.is_empty() {
        BlockSeries::decode(Bytes(bytes.bytes()?))?;
    }
    Ok(())
}

/// Reads a page of labels; for fuzzing.
///
/// # Errors
/// The bytes are none.
pub fn check_postings(bytes: &[u8]) -> Result<(), DecodeError> {
    read_postings(bytes, u32::MAX, |_, _, runs| runs().map(drop))
}

/// A page of series and one of labels, each after the byte that tells them apart; for fuzzing.
pub fn some_entries() -> (Vec<u8>, Vec<u8>) {
    let chunk = ChunkRef { page: 3, nth: 7, count: 480, first_ms: 0, last_ms: 7_185_000 };
    let (mut series, mut postings) = (vec![0], vec![1]);
    put_bytes(&mut series, &BlockSeries::encode(&[("__name__", "up"), ("region", "eu-west-1")], &[chunk; 2]));
    let mut runs = Vec::new();
    Runs::below(3).encode(&mut runs);
    for field in [b"region", b"eu-we1", &*runs] {
        put_bytes(&mut postings, field);
    }
    (series, postings)
}

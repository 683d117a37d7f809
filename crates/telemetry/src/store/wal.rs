//! The write-ahead log: what was appended and is in no block yet.
//!
//! Files in the order of their numbers. Each says itself which series has which slot before it speaks of samples in it, so a file
//! whose samples are all in blocks is removed without looking at the others. A new one is begun at each open, when one is large
//! enough, when a block was written, and when one could not be written to.

mod record;
mod replay;

use std::sync::Arc;

use super::batch::Row;
use super::config::Fsync;
use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use crate::model::Labels;
use record::{Body, HEAD};
pub use record::{Record, read_body, read_head};
pub use replay::{Found, MAGIC, replay};

const PREFIX: &str = "wal-";

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub number: u64,
    pub bytes: u64,
    /// Its newest sample.
    pub newest_ms: i64,
}

/// The name of the file with this number.
pub fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// The number of the file with this name, if it is one of the log.
pub fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The file that is written to.
struct Open {
    file: Box<dyn DiskFile>,
    segment: Segment,
    /// Bytes in it that say which series have which slots.
    series_bytes: u64,
}

/// The log.
pub struct Wal {
    disk: Arc<dyn Disk>,
    fsync: Fsync,
    segment_bytes: u64,
    older: Vec<Segment>,
    open: Option<Open>,
    next: u64,
    /// Of each slot, the number of the last file that says which series has it.
    defined: Vec<u64>,
    synced_ms: Option<i64>,
    is_dirty: bool,
    /// Reused.
    body: Body,
    out: Vec<u8>,
}

/// A row that is to be written, and the slot of its series.
pub const NO_SLOT: u32 = u32::MAX;

impl Wal {
    /// Goes on after `older`, in a new file.
    pub fn new(disk: Arc<dyn Disk>, fsync: Fsync, segment_bytes: u64, older: Vec<Segment>) -> Wal {
        let next = older.iter().map(|segment| segment.number).max().unwrap_or(0) + 1;
        Wal {
            disk,
            fsync,
            segment_bytes,
            older,
            open: None,
            next,
            defined: Vec::new(),
            synced_ms: None,
            is_dirty: false,
            body: Body::default(),
            out: Vec::new(),
        }
    }

    /// All files together.
    pub fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.segment.bytes);
        self.older.iter().map(|segment| segment.bytes).sum::<u64>() + open
    }

    /// Writes the rows that have a slot ([`NO_SLOT`]: none). After an error none of them counts as written.
    ///
    /// # Errors
    /// The disk's.
    pub fn write<'l>(
        &mut self,
        rows: &[Row<'_>],
        slots: &[u32],
        labels: impl Fn(u32) -> &'l Labels,
    ) -> Result<(), StoreError> {
        self.begin()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        self.out.clear();
        let (mut fresh, mut newest, mut series_bytes) = (Vec::new(), open.segment.newest_ms, 0);
        for (row, &slot) in rows.iter().zip(slots).filter(|(_, slot)| **slot != NO_SLOT) {
            let at = slot as usize;
            if self.defined.len() <= at {
                self.defined.resize(at + 1, 0);
            }
            if self.defined[at] != open.segment.number {
                self.defined[at] = open.segment.number;
                fresh.push(at);
                self.body.define(slot, labels(slot));
            }
            self.body.sample(slot, row);
            newest = newest.max(row.at_ms);
            if self.body.is_full() {
                series_bytes += self.body.close(&mut self.out);
            }
        }
        if !self.body.is_empty() {
            series_bytes += self.body.close(&mut self.out);
        }
        if self.out.is_empty() {
            return Ok(());
        }
        if let Err(error) = open.file.append(&self.out) {
            fresh.into_iter().for_each(|slot| self.defined[slot] = 0);
            let error = StoreError::disk(&segment_name(open.segment.number), "writing")(error);
            // What stands there of these rows must not be read back; if it can't be taken away, a new file is begun.
            if open.file.cut(open.segment.bytes).is_err() {
                self.end();
            }
            return Err(error);
        }
        open.segment.bytes += self.out.len() as u64;
        open.segment.newest_ms = newest;
        open.series_bytes += series_bytes;
        self.is_dirty = true;
        self.out.shrink_to(4 * record::BODY_BYTES);
        Ok(())
    }

    /// Sees to it that there is a file to write to.
    fn begin(&mut self) -> Result<(), StoreError> {
        let is_full = |open: &Open| {
            open.segment.bytes - open.series_bytes >= self.segment_bytes.max(4 * open.series_bytes)
        };
        if self.open.as_ref().is_some_and(is_full) {
            self.sync()?;
            self.end();
        }
        if self.open.is_some() {
            return Ok(());
        }
        let name = segment_name(self.next);
        let beginning = StoreError::disk(&name, "beginning");
        let file = self.disk.create(&name).map_err(&beginning)?;
        file.append(MAGIC).map_err(&beginning)?;
        self.disk.sync().map_err(&beginning)?;
        let segment = Segment { number: self.next, bytes: MAGIC.len() as u64, newest_ms: i64::MIN };
        self.open = Some(Open { file, segment, series_bytes: 0 });
        self.next += 1;
        Ok(())
    }

    /// Ends the file that is written to.
    fn end(&mut self) {
        self.older.extend(self.open.take().map(|open| open.segment));
    }

    /// Writes through what was written, if it is time.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync_if_due(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let is_due = match (self.fsync, self.synced_ms) {
            (Fsync::EachBatch, _) | (_, None) => true,
            // A clock that was set back must not put it off.
            (Fsync::Every(ms), Some(last)) => now_ms.saturating_sub(last) >= ms || now_ms < last,
        };
        if is_due && self.is_dirty {
            self.sync()?;
            self.synced_ms = Some(now_ms);
        }
        Ok(())
    }

    /// Writes through what was written.
    ///
    /// # Errors
    /// The disk's. What was not written through may be lost with the power; what follows goes to a new file.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.as_ref().filter(|_| self.is_dirty) else { return Ok(()) };
        let synced =
            open.file.sync().map_err(StoreError::disk(&segment_name(open.segment.number), "syncing"));
        if synced.is_err() {
            // After a failure the kernel may take pages for written that are not.
            self.end();
        }
        self.is_dirty = false;
        synced
    }

    /// Ends the file and removes those whose samples are all before `at_ms`. What can't be removed is at the next time.
    ///
    /// # Errors
    /// The disk's.
    pub fn cut_before(&mut self, at_ms: i64) -> Result<(), StoreError> {
        self.sync()?;
        self.end();
        let mut failed = None;
        let disk = &self.disk;
        self.older.retain(|segment| {
            let name = segment_name(segment.number);
            let removed = segment.newest_ms < at_ms
                && match disk.remove(&name) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        failed = Some(StoreError::disk(&name, "removing")(error));
                        false
                    }
                    _ => true,
                };
            !removed
        });
        failed.map_or(Ok(()), Err)
    }
}

/// A record as it is in a file; for fuzzing.
pub fn write_record(rows: &[Row<'_>]) -> Vec<u8> {
    let (mut body, mut out) = (Body::default(), Vec::new());
    for (slot, row) in rows.iter().enumerate() {
        body.define(slot as u32, row.series.labels());
        body.sample(slot as u32, row);
    }
    body.close(&mut out);
    out
}

/// Reads a record as it is in a file.
pub fn read_record(bytes: &[u8]) -> Option<Record> {
    let (length, checksum) = read_head(bytes)?;
    let body = bytes.get(HEAD..HEAD + length as usize)?;
    if crc32fast::hash(body) == checksum { read_body(body).ok() } else { None }
}

//! One log in its folder: a file that is written to, closed ones, and the numbers of records that were let go.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{Builder, Header, Records, Seen};
use super::ranges::Ranges;
use super::record::{Entry, Origin, Record};
use super::segment::{Room, Segment, add, rewrite, scan};
use super::{Fault, Limits, Shipment};

const OPEN: &str = "log";
const CLOSED: &str = "seg";
const DROPPED: &str = "dropped";
/// So many numbers are left out after every opening: more than can have been given to records that a crash then took,
/// so that none of them is given again.
const LEFT_OUT: u64 = 1 << 20;
/// Plain bytes after which a shipment ends.
const SHIPMENT_BYTES: u64 = 8 << 20;

pub struct Log {
    pub origin: Origin,
    folder: PathBuf,
    /// Whether this is where its records are written first.
    own: bool,
    active: Option<Active>,
    closed: Vec<Arc<Segment>>,
    next_number: u64,
    /// Records that are here.
    covered: Ranges,
    /// Records that were here and were let go.
    dropped: Ranges,
    /// How many numbers are left out before the next record.
    left_out: u64,
}

/// The file that is written to.
struct Active {
    segment: Segment,
    plain: u64,
    /// Whether something was written since the last sync.
    unsynced: bool,
    /// The last record that is on the disk for certain.
    synced: u64,
}

fn file_name(number: u64, replaces: &[u64], ending: &str) -> String {
    let numbers: Vec<String> = [number].iter().chain(replaces).map(|n| format!("{n:08x}")).collect();
    format!("{}.{ending}", numbers.join("-"))
}

/// The number of a file, then those of the files that it replaces.
fn numbers(path: &Path) -> Option<(Vec<u64>, bool)> {
    let closed = match path.extension()?.to_str()? {
        OPEN => false,
        CLOSED => true,
        _ => return None,
    };
    let parts = path.file_stem()?.to_str()?.split('-');
    let numbers: Option<Vec<u64>> = parts.map(|part| u64::from_str_radix(part, 16).ok()).collect();
    Some((numbers?, closed))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Log {
    /// Opens the log of a folder, which is made when it is missing: what a crash left half done is finished, a torn
    /// end is cut.
    pub fn open(folder: &Path, origin: Origin, own: bool, faults: &mut Vec<Fault>) -> io::Result<Log> {
        fs::create_dir_all(folder)?;
        let mut log = Log {
            origin,
            folder: folder.to_owned(),
            own,
            active: None,
            closed: Vec::new(),
            next_number: 1,
            covered: Ranges::default(),
            dropped: read_dropped(&folder.join(DROPPED), faults),
            left_out: 0,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "tmp") {
                fs::remove_file(&path)?;
            } else if let Some((numbers, closed)) = numbers(&path) {
                files.push((numbers, closed, path));
            }
        }
        files.sort();
        if own && (!files.is_empty() || log.dropped.last() > 0) {
            log.left_out = LEFT_OUT;
        }
        let replaced: BTreeSet<u64> = files.iter().flat_map(|(numbers, ..)| numbers[1..].to_vec()).collect();
        for (numbers, closed, path) in files {
            log.next_number = log.next_number.max(numbers[0] + 1);
            if replaced.contains(&numbers[0]) {
                fs::remove_file(&path)?;
            } else if closed {
                let file = File::open(&path)?;
                let found = scan(&path, &file, false)?;
                faults.extend(found.faults);
                if found.torn > 0 {
                    let what = format!("the last {} bytes are damaged", found.torn);
                    faults.push(Fault { file: path.clone(), offset: found.end, what });
                }
                let bytes = file.metadata()?.len();
                log.push_closed(Segment {
                    path,
                    number: numbers[0],
                    file: None,
                    extents: found.extents,
                    bytes,
                });
            } else {
                log.open_active(path, numbers[0], faults)?;
            }
        }
        if own {
            let last = log.last_seq();
            if last > 0 {
                log.covered.insert(1, last);
            }
        }
        sync_folder(folder)?;
        Ok(log)
    }

    fn open_active(&mut self, path: PathBuf, number: u64, faults: &mut Vec<Fault>) -> io::Result<()> {
        self.close(faults)?;
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        let found = scan(&path, &file, true)?;
        if found.torn > 0 {
            let what = format!("the last {} bytes were no whole block, and were cut", found.torn);
            faults.push(Fault { file: path.clone(), offset: found.end, what });
            file.set_len(found.end)?;
        }
        // What is there may be in the machine's memory only, and counts as synced from here on.
        file.sync_all()?;
        let plain = found.extents.iter().map(|extent| extent.plain).sum();
        let synced = found.extents.iter().map(|extent| extent.last).max().unwrap_or(0);
        for extent in &found.extents {
            self.covered.insert(extent.first, extent.last);
        }
        let file = Some(Arc::new(file));
        let segment = Segment { path, number, file, extents: found.extents, bytes: found.end };
        if found.faults.is_empty() {
            self.active = Some(Active { segment, plain, unsynced: false, synced });
            return Ok(());
        }
        faults.extend(found.faults);
        self.close_as_is(segment)
    }

    /// Closes a file that is damaged, so that what is damaged can be looked at.
    fn close_as_is(&mut self, segment: Segment) -> io::Result<()> {
        let to = segment.path.with_extension(CLOSED);
        fs::rename(&segment.path, &to)?;
        sync_folder(&self.folder)?;
        self.push_closed(Segment { path: to, file: None, ..segment });
        Ok(())
    }

    fn push_closed(&mut self, segment: Segment) {
        for extent in &segment.extents {
            self.covered.insert(extent.first, extent.last);
        }
        self.closed.push(Arc::new(segment));
    }

    /// The largest number that was given to a record.
    pub fn last_seq(&self) -> u64 {
        self.covered.last().max(self.dropped.last())
    }

    /// The last record that is on the disk for certain, of those written first here.
    fn synced_seq(&self) -> u64 {
        match &self.active {
            Some(active) if active.unsynced => active.synced,
            _ => self.last_seq(),
        }
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.segment.bytes);
        active + self.closed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Its files as they are now.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        let active = self.active.iter().map(|active| Arc::new(active.segment.clone()));
        self.closed.iter().cloned().chain(active).collect()
    }

    /// Numbers of records below the largest known that are neither here nor were let go.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut known = self.covered.clone();
        self.dropped.iter().for_each(|(first, last)| known.insert(first, last));
        known.missing(1, known.last())
    }

    /// Writes entries with the next numbers, and gives the first of them. They are admitted already.
    pub fn append(&mut self, entries: &[Entry], limits: &Limits, faults: &mut Vec<Fault>) -> io::Result<u64> {
        if self.left_out > 0 {
            // On the disk before any number behind them is given, or another crash would give it again.
            let last = self.last_seq();
            let block = Builder::default().finish(last + 1, last + self.left_out, false);
            self.write(&[block], limits, faults)?;
            self.sync()?;
            self.left_out = 0;
        }
        let first = self.last_seq() + 1;
        let (mut blocks, mut builder, mut from) = (Vec::new(), Builder::default(), first);
        for (seq, entry) in (first..).zip(entries) {
            if builder.is_full() {
                blocks.push(builder.finish(from, seq - 1, false));
                from = seq;
            }
            builder.push(seq, entry);
        }
        if !builder.is_empty() {
            blocks.push(builder.finish(from, first + entries.len() as u64 - 1, false));
        }
        self.write(&blocks, limits, faults)?;
        Ok(first)
    }

    /// Writes what is missing of a shipment, and says how many records that were.
    pub fn append_copy(
        &mut self,
        from: u64,
        through: u64,
        entries: &[(u64, Entry)],
        limits: &Limits,
        faults: &mut Vec<Fault>,
    ) -> io::Result<u64> {
        let mut known = self.covered.clone();
        self.dropped.iter().for_each(|(first, last)| known.insert(first, last));
        let (mut blocks, mut written) = (Vec::new(), 0);
        for (first, last) in known.missing(from, through) {
            let begin = entries.partition_point(|(seq, _)| *seq < first);
            let end = entries.partition_point(|(seq, _)| *seq <= last);
            let (mut builder, mut from) = (Builder::default(), first);
            for (seq, entry) in &entries[begin..end] {
                if builder.is_full() {
                    blocks.push(builder.finish(from, seq - 1, false));
                    from = *seq;
                }
                builder.push(*seq, entry);
                written += 1;
            }
            blocks.push(builder.finish(from, last, false));
        }
        self.write(&blocks, limits, faults)?;
        Ok(written)
    }

    fn write(&mut self, blocks: &[Vec<u8>], limits: &Limits, faults: &mut Vec<Fault>) -> io::Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        if self.active.as_ref().is_some_and(|active| active.plain >= limits.segment_bytes) {
            self.close(faults)?;
            self.bound(limits, faults)?;
        }
        let synced = self.last_seq();
        if self.active.is_none() {
            let number = self.next_number;
            let path = self.folder.join(file_name(number, &[], OPEN));
            let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
            self.next_number += 1;
            sync_folder(&self.folder)?;
            let file = Some(Arc::new(file));
            let segment = Segment { path, number, file, extents: Vec::new(), bytes: 0 };
            self.active = Some(Active { segment, plain: 0, unsynced: false, synced });
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let Some(file) = &active.segment.file else { return Ok(()) };
        let whole = blocks.concat();
        if let Err(error) = (&**file).write_all(&whole) {
            // What was half written would hide what follows it.
            let cut = file.set_len(active.segment.bytes);
            return Err(cut.err().unwrap_or(error));
        }
        if !active.unsynced {
            (active.unsynced, active.synced) = (true, synced);
        }
        let mut offset = active.segment.bytes;
        for header in blocks.iter().filter_map(|block| Header::read(block)) {
            add(&mut active.segment.extents, offset, &header);
            self.covered.insert(header.first, header.last);
            offset += header.block() as u64;
            active.plain += header.plain as u64;
        }
        active.segment.bytes = offset;
        Ok(())
    }

    /// Has what was written so far on the disk when it returns.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(active) = self.active.as_mut().filter(|active| active.unsynced) {
            if let Some(file) = &active.segment.file {
                file.sync_data()?;
            }
            active.unsynced = false;
        }
        Ok(())
    }

    /// Compresses the file that is written to.
    fn close(&mut self, faults: &mut Vec<Fault>) -> io::Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let number = self.next_number;
        let path = self.folder.join(file_name(number, &[active.segment.number], CLOSED));
        let mut wrong = Vec::new();
        match rewrite(&[&active.segment], None, &path, number, &mut wrong) {
            Ok(segment) => {
                self.next_number += 1;
                if !wrong.is_empty() {
                    faults.append(&mut wrong);
                    segment.map_or(Ok(()), |segment| fs::remove_file(&segment.path))?;
                    return self.close_as_is(active.segment);
                }
                sync_folder(&self.folder)?;
                self.closed.extend(segment.map(Arc::new));
                fs::remove_file(&active.segment.path)
            }
            Err(error) => {
                self.active = Some(active);
                Err(error)
            }
        }
    }

    /// Lets the oldest records go until the files are no longer than they may be.
    pub fn bound(&mut self, limits: &Limits, faults: &mut Vec<Fault>) -> io::Result<()> {
        self.closed.sort_by_key(|segment| (segment.max_ms(), segment.number));
        let mut at = 0;
        while self.bytes() > limits.log_bytes && at < self.closed.len() {
            let keep = self.floored(at, limits);
            if self.closed[at].extents.iter().all(|extent| all_kept(extent, &keep)) {
                at += 1;
                continue;
            }
            self.thin(at, &keep, limits, faults)?;
        }
        // What the floors keep may not make the log longer than it may be.
        while self.bytes() > limits.log_bytes && !self.closed.is_empty() {
            self.drop_segment(0)?;
        }
        Ok(())
    }

    /// The components of a file that would have less than their floor without it.
    fn floored(&self, at: usize, limits: &Limits) -> BTreeSet<Arc<str>> {
        let newer = self.closed[at + 1..].iter().map(|segment| &**segment);
        let newer: Vec<&Segment> = newer.chain(self.active.iter().map(|active| &active.segment)).collect();
        let has = |component: &str| -> u64 {
            let extents = newer.iter().flat_map(|segment| &segment.extents);
            let names = extents.flat_map(|extent| &extent.names);
            names.filter(|(name, _)| **name == *component).map(|(_, bytes)| *bytes).sum()
        };
        let low = limits.floors.iter().filter(|(component, floor)| has(component) < **floor);
        low.map(|(component, _)| Arc::from(component.as_str())).collect()
    }

    /// Writes a file anew with these components only, together with the one before when both are small.
    fn thin(
        &mut self,
        at: usize,
        keep: &BTreeSet<Arc<str>>,
        limits: &Limits,
        faults: &mut Vec<Fault>,
    ) -> io::Result<()> {
        let there = self.closed[at].extents.iter().flat_map(|extent| &extent.names);
        if !there.into_iter().any(|(name, _)| keep.contains(name)) {
            return self.drop_segment(at);
        }
        self.note_dropped(at)?;
        let small = |segment: &Segment| segment.bytes * 4 < limits.segment_bytes;
        let first = if at > 0 && small(&self.closed[at - 1]) { at - 1 } else { at };
        let old: Vec<Arc<Segment>> = self.closed[first..=at].to_vec();
        let number = self.next_number;
        let replaced: Vec<u64> = old.iter().map(|segment| segment.number).collect();
        let path = self.folder.join(file_name(number, &replaced, CLOSED));
        let parts: Vec<&Segment> = old.iter().map(|segment| &**segment).collect();
        let thinned = rewrite(&parts, Some(keep), &path, number, faults)?;
        self.next_number += 1;
        sync_folder(&self.folder)?;
        self.closed.splice(first..=at, thinned.map(Arc::new));
        old.iter().try_for_each(|segment| fs::remove_file(&segment.path))
    }

    /// Lets go of every file whose latest record is from before `before_ms`.
    pub fn expire(&mut self, before_ms: i64, faults: &mut Vec<Fault>) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.segment.max_ms() < before_ms) {
            self.close(faults)?;
        }
        while let Some(at) = self.closed.iter().position(|segment| segment.max_ms() < before_ms) {
            self.drop_segment(at)?;
        }
        Ok(())
    }

    fn drop_segment(&mut self, at: usize) -> io::Result<()> {
        self.note_dropped(at)?;
        let segment = self.closed.remove(at);
        fs::remove_file(&segment.path)
    }

    /// Remembers that records of a file were here, before they are let go.
    fn note_dropped(&mut self, at: usize) -> io::Result<()> {
        for extent in &self.closed[at].extents {
            self.dropped.insert(extent.first, extent.last);
        }
        let mut text: String = self.dropped.iter().map(|(first, last)| format!("{first} {last}\n")).collect();
        text.push_str(&format!("crc32 {:08x}\n", crc32fast::hash(text.as_bytes())));
        let (new, path) = (self.folder.join("dropped.tmp"), self.folder.join(DROPPED));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)?;
        sync_folder(&self.folder)
    }

    /// Which records follow the record `after` without a gap, and where they are: what a crash could undo is left out.
    pub fn following(&self, after: u64) -> Option<Following> {
        let mut known = self.covered.clone();
        self.dropped.iter().for_each(|(first, last)| known.insert(first, last));
        let (from, through) = known.next(after)?;
        let through = if self.own { through.min(self.synced_seq()) } else { through };
        let segments = self.segments();
        (from <= through).then(|| Following { origin: self.origin.clone(), from, through, segments })
    }
}

/// A run of records of a log.
pub struct Following {
    origin: Origin,
    from: u64,
    through: u64,
    segments: Vec<Arc<Segment>>,
}

impl Following {
    /// Reads its first records, `limit` at most.
    pub fn read(self, limit: usize, faults: &mut Vec<Fault>) -> Shipment {
        let Following { origin, from, mut through, segments } = self;
        let extents = segments.iter().flat_map(|segment| segment.extents.iter().map(move |e| (segment, e)));
        let mut wanted: Vec<_> =
            extents.filter(|(_, extent)| extent.last >= from && extent.first <= through).collect();
        wanted.sort_by_key(|(_, extent)| extent.first);
        let (mut records, mut room, mut bytes) = (Vec::new(), Room::default(), 0);
        for (segment, extent) in wanted {
            if bytes > SHIPMENT_BYTES {
                through = through.min(extent.first - 1);
                break;
            }
            bytes += extent.plain;
            segment.read(extent, &mut room, faults, |header, plain| {
                for (seq, entry) in entries(header, plain) {
                    if (from..=through).contains(&seq) {
                        records.push(Record { origin: origin.clone(), seq, entry });
                    }
                }
            });
            if records.len() > limit {
                records.truncate(limit);
                through = records.last().map_or(through, |record| record.seq);
                break;
            }
        }
        Shipment { origin, from, through, records }
    }
}

fn all_kept(extent: &super::segment::Extent, keep: &BTreeSet<Arc<str>>) -> bool {
    !extent.names.is_empty() && extent.names.iter().all(|(name, _)| keep.contains(name))
}

/// The entries of a block, with their numbers.
pub fn entries<'a>(header: &'a Header, plain: &'a [u8]) -> impl Iterator<Item = (u64, Entry)> + 'a {
    let mut seen = Seen::default();
    Records::new(plain).map_while(move |peeked| {
        let peeked = peeked.ok()?;
        peeked.read(&mut seen).ok()?;
        Some((peeked.seq, peeked.entry(&seen, &header.names).ok()?))
    })
}

fn read_dropped(path: &Path, faults: &mut Vec<Fault>) -> Ranges {
    let Ok(text) = fs::read(path) else { return Ranges::default() };
    parse_dropped(&text).unwrap_or_else(|| {
        faults.push(Fault {
            file: path.to_owned(),
            offset: 0,
            what: "it is damaged, and is taken as empty".into(),
        });
        Ranges::default()
    })
}

/// Reads the numbers of records that were let go.
pub fn parse_dropped(text: &[u8]) -> Option<Ranges> {
    let text = std::str::from_utf8(text).ok()?;
    let (lines, crc) = text.strip_suffix('\n')?.rsplit_once("crc32 ")?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(lines.as_bytes()) {
        return None;
    }
    let mut ranges = Ranges::default();
    for line in lines.lines() {
        let (first, last) = line.split_once(' ')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        if first == 0 || first > last || last == u64::MAX {
            return None;
        }
        ranges.insert(first, last);
    }
    Some(ranges)
}

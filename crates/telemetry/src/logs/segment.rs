//! Files of blocks: read, checked, written anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Fault;
use super::block::{Builder, HEADER, Header, MAGIC, Records, Seen, header_length};

/// Blocks that are looked up and read together.
#[derive(Clone, Debug)]
pub struct Extent {
    pub offset: u64,
    pub bytes: u64,
    pub plain: u64,
    pub first: u64,
    pub last: u64,
    pub min_ms: i64,
    pub max_ms: i64,
    pub levels: u8,
    pub names: Vec<(Arc<str>, u64)>,
}

/// Blocks of a file that is written to are looked up together up to so many bytes.
const EXTENT_BYTES: u64 = 64 << 10;

impl Extent {
    fn new(offset: u64, header: &Header) -> Extent {
        Extent {
            offset,
            bytes: header.block() as u64,
            plain: header.plain as u64,
            first: header.first,
            last: header.last,
            min_ms: header.min_ms,
            max_ms: header.max_ms,
            levels: header.levels,
            names: header.names.clone(),
        }
    }

    /// Adds the block behind it, and is false when that must be an extent of its own.
    fn extend(&mut self, offset: u64, header: &Header) -> bool {
        let next = self.offset + self.bytes == offset && self.last + 1 == header.first;
        if !next || self.bytes + header.block() as u64 > EXTENT_BYTES {
            return false;
        }
        self.bytes += header.block() as u64;
        self.plain += header.plain as u64;
        self.last = header.last;
        self.min_ms = self.min_ms.min(header.min_ms);
        self.max_ms = self.max_ms.max(header.max_ms);
        self.levels |= header.levels;
        for (name, bytes) in &header.names {
            match self.names.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 += bytes,
                None => self.names.push((name.clone(), *bytes)),
            }
        }
        true
    }
}

/// Adds a block to the extents of a file.
pub fn add(extents: &mut Vec<Extent>, offset: u64, header: &Header) {
    let joined = extents.last_mut().is_some_and(|last| last.extend(offset, header));
    if !joined {
        extents.push(Extent::new(offset, header));
    }
}

/// A file of blocks, as it was at one moment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub path: PathBuf,
    /// Later files have larger numbers.
    pub number: u64,
    /// Open while it is written to; it is opened for every reading afterwards.
    pub file: Option<Arc<File>>,
    pub extents: Vec<Extent>,
    pub bytes: u64,
}

/// Room for bytes that are read, used again and again.
#[derive(Default)]
pub struct Room {
    stored: Vec<u8>,
    plain: Vec<u8>,
}

impl Segment {
    /// Time of its latest record, ms; the earliest there is when it has none.
    pub fn max_ms(&self) -> i64 {
        self.extents.iter().map(|extent| extent.max_ms).max().unwrap_or(i64::MIN)
    }

    /// Gives every whole block of an extent to `each`, and names the others.
    pub fn read(
        &self,
        extent: &Extent,
        room: &mut Room,
        faults: &mut Vec<Fault>,
        mut each: impl FnMut(&Header, &[u8]),
    ) {
        let fault = |offset, what: String| Fault { file: self.path.clone(), offset, what };
        room.stored.resize(extent.bytes as usize, 0);
        let read = match &self.file {
            Some(file) => file.read_exact_at(&mut room.stored, extent.offset),
            None => {
                File::open(&self.path).and_then(|file| file.read_exact_at(&mut room.stored, extent.offset))
            }
        };
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return faults.push(fault(extent.offset, "it was let go or thinned out meanwhile".into()));
            }
            Err(error) => return faults.push(fault(extent.offset, error.to_string())),
        }
        let mut at = 0;
        while at < room.stored.len() {
            let offset = extent.offset + at as u64;
            let Some(header) = Header::read(&room.stored[at..]) else {
                return faults.push(fault(offset, "the header of a block is damaged".into()));
            };
            let stored = room.stored.get(at + header.length..at + header.block()).unwrap_or(&[]);
            match header.open(stored, &mut room.plain) {
                Some(plain) => each(&header, plain),
                None => faults.push(fault(offset, damaged(&header))),
            }
            at += header.block();
        }
    }
}

fn damaged(header: &Header) -> String {
    format!("the block of records {} to {} is damaged", header.first, header.last)
}

/// What is in a file.
#[derive(Debug, Default)]
pub struct Scan {
    pub extents: Vec<Extent>,
    /// Where the last whole block ends.
    pub end: u64,
    /// What is wrong before that.
    pub faults: Vec<Fault>,
    /// Bytes behind it that are no whole block.
    pub torn: u64,
}

/// Reads the headers of a file's blocks, and checks their records too when `bodies`. Behind a damaged header it looks
/// for the next.
///
/// # Errors
/// The file can't be read.
pub fn scan(path: &Path, file: &File, bodies: bool) -> io::Result<Scan> {
    let length = file.metadata()?.len();
    let (mut found, mut at, mut room, mut bad) = (Scan::default(), 0, Room::default(), Vec::new());
    while at < length {
        let Some(header) = header_at(file, at, length)? else {
            bad.push((at, "the header of a block is damaged".to_owned()));
            match next_magic(file, at + 1, length)? {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        let sound = !bodies || {
            room.stored.resize(header.stored, 0);
            file.read_exact_at(&mut room.stored, at + header.length as u64)?;
            header.open(&room.stored, &mut room.plain).is_some()
        };
        if sound {
            add(&mut found.extents, at, &header);
            found.end = at + header.block() as u64;
            let named = bad.drain(..).map(|(offset, what)| Fault { file: path.to_owned(), offset, what });
            found.faults.extend(named);
        } else {
            bad.push((at, damaged(&header)));
        }
        at += header.block() as u64;
    }
    found.torn = length - found.end;
    Ok(found)
}

/// The header at `at`, if the block is whole within `length`.
fn header_at(file: &File, at: u64, length: u64) -> io::Result<Option<Header>> {
    let mut head = vec![0; (length - at).min(1 << 10) as usize];
    file.read_exact_at(&mut head, at)?;
    let Some(whole) = header_length(&head) else { return Ok(None) };
    if whole > head.len() && whole as u64 <= length - at {
        head.resize(whole, 0);
        file.read_exact_at(&mut head, at)?;
    }
    Ok(Header::read(&head).filter(|header| header.block() as u64 <= length - at))
}

/// Where a block's first bytes stand again, at `from` or behind it.
fn next_magic(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    const WINDOW: u64 = 1 << 20;
    let mut from = from;
    while from + HEADER as u64 <= length {
        let mut window = vec![0; (length - from).min(WINDOW) as usize];
        file.read_exact_at(&mut window, from)?;
        if let Some(at) = memchr::memmem::find(&window, &MAGIC) {
            return Ok(Some(from + at as u64));
        }
        // The first bytes of a block may lie on the edge of the window.
        from += (window.len() - (MAGIC.len() - 1).min(window.len() - 1)) as u64;
    }
    Ok(None)
}

/// Which components are kept when a file is written anew; none: all of them, and what is known not to be there.
pub type Keep<'a> = Option<&'a BTreeSet<Arc<str>>>;

/// Writes the records of some files to a new one, compressed and in order of their numbers; the file is there whole
/// or not at all. None when nothing is kept.
///
/// # Errors
/// The file can't be written.
pub fn rewrite(
    from: &[&Segment],
    keep: Keep<'_>,
    path: &Path,
    number: u64,
    faults: &mut Vec<Fault>,
) -> io::Result<Option<Segment>> {
    let mut parts: Vec<(&Segment, &Extent)> =
        from.iter().flat_map(|segment| segment.extents.iter().map(|extent| (*segment, extent))).collect();
    parts.sort_by_key(|(_, extent)| extent.first);
    let mut out = Rewritten { thin: keep.is_some(), ..Rewritten::default() };
    let mut room = Room::default();
    for (segment, extent) in parts {
        if keep.is_some_and(|keep| !extent.names.iter().any(|(name, _)| keep.contains(name))) {
            continue;
        }
        let mut wrong = Vec::new();
        segment.read(extent, &mut room, &mut wrong, |header, plain| out.take(header, plain, keep));
        faults.extend(wrong);
    }
    out.finish();
    if out.bytes.is_empty() {
        return Ok(None);
    }
    let new = path.with_extension("tmp");
    let mut file = File::create(&new)?;
    file.write_all(&out.bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let bytes = out.bytes.len() as u64;
    Ok(Some(Segment { path: path.to_owned(), number, file: None, extents: out.extents, bytes }))
}

/// The blocks of a file that is made of others.
#[derive(Default)]
struct Rewritten {
    bytes: Vec<u8>,
    extents: Vec<Extent>,
    builder: Builder,
    /// Whether blocks without a record are left out.
    thin: bool,
    /// Which numbers the builder speaks for.
    range: Option<(u64, u64)>,
}

impl Rewritten {
    fn take(&mut self, header: &Header, plain: &[u8], keep: Keep<'_>) {
        if self.range.is_some_and(|(_, last)| last + 1 != header.first) || self.builder.is_full() {
            self.finish();
        }
        let mut seen = Seen::default();
        for peeked in Records::new(plain) {
            // A block whose checksum holds is what was written, so that a record that can't be read was never one.
            let Ok(peeked) = peeked else { break };
            let name = header.names.get(peeked.component);
            let kept = name.is_some_and(|(name, _)| keep.is_none_or(|keep| keep.contains(name)));
            if !kept || peeked.read(&mut seen).is_err() {
                continue;
            }
            if let Ok(entry) = peeked.entry(&seen, &header.names) {
                if self.builder.is_full() {
                    let first = self.range.map_or(header.first, |(first, _)| first);
                    self.range = Some((first, peeked.seq - 1));
                    self.finish();
                    self.range = Some((peeked.seq, peeked.seq));
                }
                self.builder.push(peeked.seq, &entry);
            }
        }
        let first = self.range.map_or(header.first, |(first, _)| first);
        self.range = Some((first, header.last));
    }

    fn finish(&mut self) {
        let range = self.range.take().filter(|_| !(self.thin && self.builder.is_empty()));
        if let Some((first, last)) = range {
            let block = self.builder.finish(first, last, true);
            if let Some(header) = Header::read(&block) {
                self.extents.push(Extent::new(self.bytes.len() as u64, &header));
            }
            self.bytes.extend_from_slice(&block);
        }
    }
}

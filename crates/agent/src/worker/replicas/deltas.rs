//! Points in time of another host's disk, as they are received and kept.
//!
//! The copy's file holds one whole point. What comes for the next one is written to a file beside it, and only what differs.
//! Once all of it is durably there, one note says so, and that note is what the other host is told; then it is written into
//! the copy, as often as it takes. So at every moment copy and noted file together are one whole point. A copy that has none
//! yet is written in place.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dwcp_roles::protocol::ReplicaIntent;
use dwcp_types::{decode, encode};
use serde_json::json;

use super::super::memory;
use super::super::points::{self, About, Begin, Head, PAYLOAD_MAX, Point};
use super::files::{Note, note_of};
use super::{DISK_FILE, GIB, NOTE_FILE};
use crate::clock::wall_ms;
use crate::journal;

static ZEROS: [u8; PAYLOAD_MAX] = [0; PAYLOAD_MAX];
/// What is being received.
const PART_FILE: &str = "delta.part";
/// How the name of a file begins that was received; then come epoch and number of its point.
const DELTA: &str = "delta-";

/// What a point that was taken came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub point: Point,
    /// Bytes that differed.
    pub changed: u64,
}

/// Takes one point from the host that has the disk; none when it ended before it began one. Blocks.
///
/// # Errors
/// Why there is no further point here. What was received of it is thrown away.
pub(super) fn receive(
    dir: &Path,
    intent: &ReplicaIntent,
    from: impl Read,
    mut to: impl Write,
) -> Result<Option<Taken>, String> {
    let taken = take(dir, intent, &mut BufReader::with_capacity(PAYLOAD_MAX, from), &mut to);
    let _ = std::fs::remove_file(dir.join(PART_FILE));
    match &taken {
        Err(error) => drop(to.write_all(&points::word(About::Refused, error.as_bytes()))),
        // What is noted is told first: the other host need not wait until it is written into the copy.
        Ok(Some(_)) => {
            to.write_all(&points::word(About::Noted, &[])).map_err(|e| format!("not told: {e}"))?;
            settle(dir)?;
        }
        Ok(None) => {}
    }
    taken
}

fn take(
    dir: &Path,
    intent: &ReplicaIntent,
    from: &mut impl Read,
    to: &mut impl Write,
) -> Result<Option<Taken>, String> {
    settle(dir)?;
    let note = note_of(dir).ok_or("the copy's note can't be read")?;
    let lost = |e: io::Error| format!("the connection ended: {e}");
    to.write_all(&points::word(About::Have, &encode(&note.point))).map_err(lost)?;
    let mut payload = Vec::new();
    let Some(head) = points::read(from, &mut payload).map_err(lost)? else { return Ok(None) };
    let begin = match head.about {
        About::Begin => decode::<Begin>(&payload).map_err(|e| format!("not understood: {e}"))?,
        other => return Err(format!("{other:?} was said before what begins")),
    };
    let on_nothing = begin.since == Point::default();
    let newer = begin.point.epoch == intent.epoch
        && (begin.point.epoch, begin.point.number) > (note.point.epoch, note.point.number);
    if !newer || !(on_nothing || begin.since.is(&note.point)) {
        return Err(format!("{begin:?} does not follow what is here: {:?}", note.point));
    }
    let mut sink = Sink::open(dir, &note)?;
    let mut words = 0;
    loop {
        let head = points::read(from, &mut payload).map_err(lost)?;
        let head = head.ok_or("the connection ended before the point was whole")?;
        match head.about {
            About::Data => sink.data(head.offset, &payload)?,
            About::Zeros => sink.zeros(head.offset, head.count)?,
            About::Whole if head.count == words => break,
            other => return Err(format!("{other:?} of {} was said after {words} words", head.count)),
        }
        words += 1;
    }
    let changed = sink.changed;
    sink.keep(dir, &begin.point)?;
    let note = Note { point: begin.point, ..note };
    memory::replace(&dir.join(NOTE_FILE), &encode(&note))?;
    Ok(Some(Taken { point: begin.point, changed }))
}

/// Where what differs goes.
struct Sink {
    dir: PathBuf,
    base: File,
    bytes: u64,
    /// None: the copy is no point yet, and is written in place.
    delta: Option<BufWriter<File>>,
    changed: u64,
    /// What the copy holds where something is compared.
    there: Vec<u8>,
}

impl Sink {
    fn open(dir: &Path, note: &Note) -> Result<Sink, String> {
        let fault = |name: &str, e: io::Error| format!("{}: {e}", dir.join(name).display());
        let base = File::options().read(true).write(true).open(dir.join(DISK_FILE));
        let base = base.map_err(|e| fault(DISK_FILE, e))?;
        let delta = if note.point.number == 0 {
            None
        } else {
            let file = File::create(dir.join(PART_FILE)).map_err(|e| fault(PART_FILE, e))?;
            Some(BufWriter::with_capacity(PAYLOAD_MAX, file))
        };
        let bytes = note.disk_gib.saturating_mul(GIB);
        Ok(Sink { dir: dir.to_path_buf(), base, bytes, delta, changed: 0, there: Vec::new() })
    }

    fn fault(&self, e: io::Error) -> String {
        let name = if self.delta.is_some() { PART_FILE } else { DISK_FILE };
        format!("{}: {e}", self.dir.join(name).display())
    }

    /// What the copy holds there.
    fn look(&mut self, offset: u64, count: usize) -> Result<(), String> {
        if offset.checked_add(count as u64).is_none_or(|end| end > self.bytes) {
            return Err(format!("{count} bytes at {offset} are beyond the disk of {} bytes", self.bytes));
        }
        self.there.resize(count, 0);
        let read = self.base.read_exact_at(&mut self.there, offset);
        read.map_err(|e| format!("{}: {e}", self.dir.join(DISK_FILE).display()))
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        self.look(offset, bytes.len())?;
        if self.there == bytes {
            return Ok(());
        }
        self.changed += bytes.len() as u64;
        let head = Head { about: About::Data, length: bytes.len() as u32, offset, count: 0 };
        let put = match &mut self.delta {
            Some(delta) => points::write(delta, &head, bytes),
            None => self.base.write_all_at(bytes, offset),
        };
        put.map_err(|e| self.fault(e))
    }

    fn zeros(&mut self, mut offset: u64, mut count: u64) -> Result<(), String> {
        while count > 0 {
            let piece = count.min(PAYLOAD_MAX as u64);
            self.look(offset, piece as usize)?;
            if self.there != ZEROS[..piece as usize] {
                self.changed += piece;
                let head = Head { about: About::Zeros, length: 0, offset, count: piece };
                let put = match &mut self.delta {
                    Some(delta) => points::write(delta, &head, &[]),
                    None => self.base.write_all_at(&ZEROS[..piece as usize], offset),
                };
                put.map_err(|e| self.fault(e))?;
            }
            offset += piece;
            count -= piece;
        }
        Ok(())
    }

    /// Puts all of it durably where the note will look for it.
    fn keep(self, dir: &Path, point: &Point) -> Result<(), String> {
        let fault = |e: io::Error| format!("{}: {e}", dir.display());
        let Some(delta) = self.delta else {
            return self.base.sync_all().map_err(fault);
        };
        let file = delta.into_inner().map_err(|e| fault(e.into_error()))?;
        file.sync_all().map_err(fault)?;
        std::fs::rename(dir.join(PART_FILE), dir.join(name_of(point))).map_err(fault)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault)
    }
}

fn name_of(point: &Point) -> String {
    format!("{DELTA}{}-{}", point.epoch, point.number)
}

/// Makes the copy's file the newest whole point: what is noted is written into it, what is not is thrown away. Blocks.
///
/// # Errors
/// The files can't be read or written; nothing is lost by that, and it can be done again.
pub(super) fn settle(dir: &Path) -> Result<(), String> {
    let fault = |e: io::Error| format!("{}: {e}", dir.display());
    let noted = note_of(dir).map(|note| name_of(&note.point)).unwrap_or_default();
    for entry in std::fs::read_dir(dir).map_err(fault)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == noted {
            let began = wall_ms();
            fold(&entry.path(), &dir.join(DISK_FILE))?;
            std::fs::remove_file(entry.path()).map_err(fault)?;
            journal::info(
                "point-written",
                json!({"file": noted, "took_ms": wall_ms().saturating_sub(began)}),
            );
        } else if name == PART_FILE || name.starts_with(DELTA) {
            std::fs::remove_file(entry.path()).map_err(fault)?;
            journal::info("point-thrown-away", json!({"file": name, "why": "it was not whole"}));
        }
    }
    Ok(())
}

/// Writes what was received into the copy, durably. Done again, it comes to the same.
fn fold(delta: &Path, base: &Path) -> Result<(), String> {
    let fault = |e: io::Error| format!("{} into {}: {e}", delta.display(), base.display());
    let mut from = BufReader::with_capacity(PAYLOAD_MAX, File::open(delta).map_err(fault)?);
    let base = File::options().write(true).open(base).map_err(fault)?;
    let mut payload = Vec::new();
    while let Some(head) = points::read(&mut from, &mut payload).map_err(fault)? {
        match head.about {
            About::Data => base.write_all_at(&payload, head.offset).map_err(fault)?,
            About::Zeros => {
                let zeros = usize::try_from(head.count).ok().and_then(|count| ZEROS.get(..count));
                let zeros = zeros.ok_or_else(|| format!("{} holds {head:?}", delta.display()))?;
                base.write_all_at(zeros, head.offset).map_err(fault)?;
            }
            other => return Err(format!("{} holds {other:?}", delta.display())),
        }
    }
    base.sync_all().map_err(fault)
}

#[cfg(test)]
mod tests {
    use dwcp_types::VmId;

    use super::super::files::{promote, ready};
    use super::*;

    const VM: VmId = VmId(7);

    fn intent(epoch: u64) -> ReplicaIntent {
        ReplicaIntent { vm: VM, epoch, disk_gib: 1, points: true, ..ReplicaIntent::default() }
    }

    /// The folder of a copy of epoch 1, in a data directory of its own.
    fn folder(name: &str) -> (PathBuf, PathBuf) {
        let data = std::env::temp_dir().join(format!("dwcp-delta-{name}-{}", std::process::id()));
        let dir = data.join("replicas").join(VM.to_string());
        std::fs::create_dir_all(&dir).expect("temp dir");
        std::fs::create_dir_all(data.join("vm")).expect("temp dir");
        ready(&dir, &intent(1)).expect("ready");
        (data, dir)
    }

    fn point(epoch: u64, number: u64) -> Point {
        Point { epoch, number, at_ms: number * 1_000 }
    }

    fn data(offset: u64, bytes: &[u8]) -> Vec<u8> {
        let head = Head { about: About::Data, length: bytes.len() as u32, offset, count: 0 };
        [&head.bytes()[..], bytes].concat()
    }

    fn zeros(offset: u64, count: u64) -> Vec<u8> {
        Head { about: About::Zeros, length: 0, offset, count }.bytes().to_vec()
    }

    fn begin(point: Point, since: Point) -> Vec<u8> {
        points::word(About::Begin, &encode(&Begin { point, since }))
    }

    fn whole(count: u64) -> Vec<u8> {
        Head { about: About::Whole, count, ..Head::default() }.bytes().to_vec()
    }

    /// What was answered: the point that is had, and whether the one that came was noted.
    fn send(dir: &Path, epoch: u64, words: &[Vec<u8>]) -> (Point, Result<bool, String>) {
        let mut told = Vec::new();
        let taken = receive(dir, &intent(epoch), &words.concat()[..], &mut told);
        let (mut from, mut payload) = (&told[..], Vec::new());
        points::read(&mut from, &mut payload).expect("a word").expect("what is had");
        let have = decode(&payload).expect("a point");
        let last = points::read(&mut from, &mut payload).expect("a word").map(|head| head.about);
        assert_eq!(last == Some(About::Noted), matches!(taken, Ok(Some(_))));
        assert_eq!(last == Some(About::Refused), taken.is_err());
        (have, taken.map(|taken| taken.is_some()))
    }

    fn at(dir: &Path, offset: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let file = File::open(dir.join(DISK_FILE)).expect("the copy");
        file.read_exact_at(&mut bytes, offset).expect("read");
        bytes
    }

    fn files(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).expect("dir").flatten();
        names
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| n.starts_with("delta"))
            .collect()
    }

    #[test]
    fn points_follow_each_other_and_one_that_is_torn_changes_nothing() {
        let (root, dir) = folder("follow");
        let first = [begin(point(1, 1), Point::default()), data(0, b"first"), data(4096, b"kept")];
        // Before the first is whole there is nothing to start from.
        assert!(send(&dir, 1, &first).1.is_err());
        assert!(promote(&root, VM, 1, &root.join("vm")).is_err_and(|e| e.contains("no whole point")));
        assert_eq!(send(&dir, 1, &[&first[..], &[whole(2)]].concat()), (Point::default(), Ok(true)));
        let second = [begin(point(1, 2), point(1, 1)), data(0, b"later"), zeros(4096, 4)];
        assert!(send(&dir, 1, &second).1.is_err());
        let miscounted = [&second[..], &[whole(3)]].concat();
        assert!(send(&dir, 1, &miscounted).1.is_err());
        assert_eq!((at(&dir, 0, 5), at(&dir, 4096, 4)), (b"first".to_vec(), b"kept".to_vec()));
        assert_eq!(files(&dir), Vec::<String>::new(), "nothing of it is left");
        assert_eq!(send(&dir, 1, &[&second[..], &[whole(2)]].concat()), (point(1, 1), Ok(true)));
        assert_eq!((at(&dir, 0, 5), at(&dir, 4096, 4)), (b"later".to_vec(), vec![0; 4]));
        assert_eq!(send(&dir, 1, &[]), (point(1, 2), Ok(false)));
        std::fs::remove_dir_all(root).expect("remove");
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let (root, dir) = folder("refused");
        let first = [begin(point(1, 1), Point::default()), data(0, b"first"), whole(1)];
        assert_eq!(send(&dir, 1, &first).1, Ok(true));
        for (of, since) in [
            (point(1, 1), Point::default()),
            (point(1, 3), point(1, 2)),
            (point(2, 1), Point::default()),
            (point(1, 2), point(2, 1)),
        ] {
            assert!(send(&dir, 1, &[begin(of, since), whole(0)]).1.is_err(), "{of:?} after {since:?}");
        }
        let beyond = [begin(point(1, 2), point(1, 1)), data(GIB - 1, b"xx"), whole(1)];
        assert!(send(&dir, 1, &beyond).1.is_err_and(|e| e.contains("beyond the disk")));
        assert!(send(&dir, 1, &[whole(0)]).1.is_err());
        // A later epoch of the same host goes on from the same point.
        ready(&dir, &intent(2)).expect("ready");
        let next = [begin(point(2, 1), point(1, 1)), data(0, b"other"), whole(1)];
        assert_eq!(send(&dir, 2, &next), (point(1, 1), Ok(true)));
        assert!(send(&dir, 1, &[begin(point(1, 9), Point::default()), whole(0)]).1.is_err(), "an old source");
        assert_eq!(at(&dir, 0, 5), b"other");
        std::fs::remove_dir_all(root).expect("remove");
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_point_before_or_the_next_one() {
        let (root, dir) = folder("crash");
        let first = [begin(point(1, 1), Point::default()), data(0, b"first"), whole(1)];
        assert_eq!(send(&dir, 1, &first).1, Ok(true));
        let delta = [data(0, b"later"), data(8192, b"more")].concat();
        let copied = |to: &Path| std::fs::write(to, &delta).expect("written");

        // Received in part, or all of it, but not noted.
        for name in [PART_FILE.to_string(), name_of(&point(1, 2))] {
            copied(&dir.join(name));
            settle(&dir).expect("settled");
            assert_eq!((at(&dir, 0, 5), files(&dir).len()), (b"first".to_vec(), 0));
        }
        // Noted; then writing it into the copy broke off anywhere, any number of times.
        let noted = Note { point: point(1, 2), ..note_of(&dir).expect("a note") };
        copied(&dir.join(name_of(&point(1, 2))));
        memory::replace(&dir.join(NOTE_FILE), &encode(&noted)).expect("noted");
        let base = File::options().write(true).open(dir.join(DISK_FILE)).expect("the copy");
        base.write_all_at(b"lat", 0).expect("a torn write");
        settle(&dir).expect("settled");
        assert_eq!((at(&dir, 0, 5), at(&dir, 8192, 4)), (b"later".to_vec(), b"more".to_vec()));
        // Written, but its file was not removed yet.
        copied(&dir.join(name_of(&point(1, 2))));
        settle(&dir).expect("settled");
        assert_eq!((at(&dir, 0, 5), files(&dir).len()), (b"later".to_vec(), 0));

        // What is noted is in the disk that a VM starts from, also after another boot of the host.
        copied(&dir.join(name_of(&point(1, 2))));
        base.write_all_at(b"torn!", 0).expect("a torn write");
        let other = Note { boot: "another".into(), ..noted };
        memory::replace(&dir.join(NOTE_FILE), &encode(&other)).expect("noted");
        ready(&dir, &intent(1)).expect("it goes on after another boot");
        // The facts may name a later epoch than this host ever heard of: the point of the one before counts.
        let disk = promote(&root, VM, 3, &root.join("vm")).expect("a disk");
        assert_eq!(std::fs::read(disk).expect("read")[..5], *b"later");
        std::fs::remove_dir_all(root).expect("remove");
    }

    #[test]
    fn a_copy_that_took_every_write_is_no_point() {
        let (root, dir) = folder("modes");
        let first = [begin(point(1, 1), Point::default()), data(0, b"first"), whole(1)];
        assert_eq!(send(&dir, 1, &first).1, Ok(true));
        let sync = ReplicaIntent { points: false, ..intent(2) };
        ready(&dir, &sync).expect("ready");
        assert_eq!(note_of(&dir).expect("a note").point, Point::default());
        ready(&dir, &intent(3)).expect("ready");
        assert_eq!(send(&dir, 3, &[]), (Point::default(), Ok(false)));
        assert!(promote(&root, VM, 3, &root.join("vm")).is_err());
        std::fs::remove_dir_all(root).expect("remove");
    }
}

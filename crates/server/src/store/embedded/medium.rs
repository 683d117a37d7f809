//! The file under the database, with a second way to read it: as it was between two commits, past every cache.
//!
//! While somebody reads it so, the first write to a block after that moment keeps what was there. So the writer waits for no
//! reader, and the reader sees one moment, however long it takes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// What is kept and read at once, bytes: a page of the database, and a block of any disk.
const BLOCK: u64 = 4_096;
/// A reader that would make more be kept is given up, bytes.
const KEPT_MOST: usize = 64 << 20;
/// Why a reader was given up.
pub(super) const TOO_MUCH_WRITTEN: &str = "more was written meanwhile than is kept for a reader";

/// What blocks held at a moment, of those that were written since.
#[derive(Debug, Default)]
struct Kept {
    /// Bytes of the file at that moment.
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    /// Too much was written.
    given_up: bool,
}

/// The file as the database sees it.
#[derive(Debug)]
pub(super) struct Medium {
    file: FileBackend,
    kept: Arc<Mutex<Option<Kept>>>,
    path: PathBuf,
}

/// What a [`Medium`] is asked for from outside the database.
#[derive(Clone, Debug)]
pub(super) struct Side {
    kept: Arc<Mutex<Option<Kept>>>,
    path: PathBuf,
}

fn lock(kept: &Mutex<Option<Kept>>) -> MutexGuard<'_, Option<Kept>> {
    kept.lock().unwrap_or_else(|e| e.into_inner())
}

impl Medium {
    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Medium, redb::DatabaseError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Medium { file: FileBackend::new(file)?, kept: Arc::default(), path: path.to_path_buf() })
    }

    pub(super) fn side(&self) -> Side {
        Side { kept: self.kept.clone(), path: self.path.clone() }
    }

    /// Keeps what is about to be overwritten or cut off.
    fn keep(&self, from: u64, to: u64) -> io::Result<()> {
        let mut kept = lock(&self.kept);
        let Some(kept) = kept.as_mut().filter(|kept| !kept.given_up) else { return Ok(()) };
        let mut block = from / BLOCK * BLOCK;
        while block < to.min(kept.length) {
            if !kept.blocks.contains_key(&block) {
                let mut bytes = vec![0; BLOCK.min(kept.length - block) as usize];
                self.file.read(block, &mut bytes)?;
                kept.bytes += bytes.len();
                kept.blocks.insert(block, bytes);
            }
            block += BLOCK;
            if kept.bytes > KEPT_MOST {
                kept.given_up = true;
                kept.blocks.clear();
                break;
            }
        }
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.keep(len, u64::MAX)?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.keep(offset, offset + data.len() as u64)?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

impl Side {
    /// The same file, which has another name from now on.
    pub(super) fn at(self, path: &Path) -> Side {
        Side { path: path.to_path_buf(), ..self }
    }

    /// The file as it is now; nothing may be written to it meanwhile. What a reader before this one saw is forgotten.
    pub(super) fn moment(&self) -> io::Result<Moment> {
        let file = open_direct(&self.path)?;
        let length = file.metadata()?.len();
        *lock(&self.kept) = Some(Kept { length, ..Kept::default() });
        let own = Mutex::new(Own { length, blocks: BTreeMap::new() });
        Ok(Moment { file, kept: self.kept.clone(), length, read: Arc::default(), own })
    }

    /// Nobody reads the moment any more. True when it was given up.
    pub(super) fn forget_moment(&self) -> bool {
        lock(&self.kept).take().is_some_and(|kept| kept.given_up)
    }
}

/// Opens a file so that what is read comes from the disk. File systems in memory know no such way and need none; others that
/// know none are told to drop what they hold of it.
fn open_direct(path: &Path) -> io::Result<File> {
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(path);
    match direct {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let file = File::open(path)?;
            // SAFETY: the descriptor is open; the call only advises.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            Ok(file)
        }
        other => other,
    }
}

/// The file at one moment. Who opens a database on it may write: that stays in memory.
#[derive(Debug)]
pub(super) struct Moment {
    file: File,
    kept: Arc<Mutex<Option<Kept>>>,
    length: u64,
    read: Arc<AtomicU64>,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Moment {
    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Counts the bytes read from the disk.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    /// Reads whole blocks. What was overwritten since is put in afterwards: it was kept before it was overwritten.
    fn read_blocks(&self, from: u64, count: u64) -> io::Result<Vec<u8>> {
        let length = (count * BLOCK) as usize;
        let mut room = vec![0u8; length + BLOCK as usize];
        let start = room.as_ptr().align_offset(BLOCK as usize);
        let blocks = &mut room[start..start + length];
        let mut done = 0;
        while done < length {
            match self.file.read_at(&mut blocks[done..], from + done as u64) {
                // What is missing was cut off since, and kept.
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if !done.is_multiple_of(BLOCK as usize) {
                break;
            }
        }
        self.read.fetch_add(done as u64, Ordering::Relaxed);
        let kept = lock(&self.kept);
        let kept = kept.as_ref().filter(|kept| !kept.given_up);
        let kept = kept.ok_or_else(|| io::Error::other(TOO_MUCH_WRITTEN))?;
        for (at, bytes) in kept.blocks.range(from..from + count * BLOCK) {
            let at = (at - from) as usize;
            blocks[at..at + bytes.len()].copy_from_slice(bytes);
        }
        Ok(blocks.to_vec())
    }
}

impl StorageBackend for Moment {
    fn len(&self) -> io::Result<u64> {
        Ok(self.own.lock().unwrap_or_else(|e| e.into_inner()).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        let own = self.own.lock().unwrap_or_else(|e| e.into_inner());
        if end > own.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from = offset / BLOCK * BLOCK;
        let count = end.div_ceil(BLOCK) - from / BLOCK;
        let mut blocks = self.read_blocks(from, count)?;
        for (at, bytes) in own.blocks.range(from..from + count * BLOCK) {
            let at = (at - from) as usize;
            blocks[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let start = (offset - from) as usize;
        out.copy_from_slice(&blocks[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut own = self.own.lock().unwrap_or_else(|e| e.into_inner());
        let mut block = len.min(self.length).div_ceil(BLOCK) * BLOCK;
        // New positions are zero, also where the file has something.
        while block < own.length.max(len) {
            own.blocks.insert(block, vec![0; BLOCK as usize]);
            block += BLOCK;
        }
        own.length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        let from = offset / BLOCK * BLOCK;
        let count = end.div_ceil(BLOCK) - from / BLOCK;
        let mut blocks = vec![0; (count * BLOCK) as usize];
        self.read(
            from,
            &mut blocks[..(self.len()?.min(from + count * BLOCK).saturating_sub(from)) as usize],
        )?;
        blocks[(offset - from) as usize..][..data.len()].copy_from_slice(data);
        let mut own = self.own.lock().unwrap_or_else(|e| e.into_inner());
        for (number, block) in blocks.chunks(BLOCK as usize).enumerate() {
            own.blocks.insert(from + number as u64 * BLOCK, block.to_vec());
        }
        Ok(())
    }
}

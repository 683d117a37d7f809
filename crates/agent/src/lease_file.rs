//! The lease's end as the worker tells it to the watchdog: 24 bytes in a file, replaced by one write.
//!
//! A torn or foreign content fails its checksum and counts as unreadable; the watchdog then goes on with the last value it
//! could read, which only ever ends earlier.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: u64 = u64::from_le_bytes(*b"dwcpleas");

/// Its length: magic, end, checksum.
const BYTES: usize = 24;

fn checksum(until_us: u64) -> u64 {
    // splitmix64's finalizer: any single changed bit changes about half of the sum.
    let mut x = until_us ^ MAGIC;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The file, open.
#[derive(Debug)]
pub struct LeaseFile(File);

impl LeaseFile {
    /// Opens or creates it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(path: &Path) -> io::Result<LeaseFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(LeaseFile(file))
    }

    /// Writes the lease's end, µs on the host's monotonic clock.
    ///
    /// # Errors
    /// When the system refuses; the watchdog then fences at the end it knows.
    pub fn write(&self, until_us: u64) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&until_us.to_le_bytes());
        bytes[16..].copy_from_slice(&checksum(until_us).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    /// Reads the lease's end; `None` when there is none that can be trusted.
    pub fn read(&self) -> Option<u64> {
        let mut bytes = [0; BYTES];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        believed([word(0), word(8), word(16)])
    }
}

fn believed([magic, until_us, sum]: [u64; 3]) -> Option<u64> {
    (magic == MAGIC && sum == checksum(until_us)).then_some(until_us)
}

/// The file as memory. A read never waits: not for the disk, which may hang, nor for a writer that hangs with it.
#[derive(Debug)]
pub struct LeaseView(NonNull<[AtomicU64; 3]>);

// SAFETY: the mapping belongs to the process, not to a thread, and is only read, by atomic loads.
unsafe impl Send for LeaseView {}
// SAFETY: as above.
unsafe impl Sync for LeaseView {}

impl LeaseView {
    /// Maps a file that has been written before. The page is kept in memory, as far as the system allows.
    ///
    /// # Errors
    /// When the file is too short or its file system can't share its pages.
    pub fn map(file: &LeaseFile) -> io::Result<LeaseView> {
        if file.0.metadata()?.len() < BYTES as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping of an open file; nothing in this process is replaced by it.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), BYTES, libc::PROT_READ, flags, file.0.as_raw_fd(), 0) };
        let words = NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED);
        let view = LeaseView(words.ok_or_else(io::Error::last_os_error)?);
        // SAFETY: the mapping was just made. One page is within what anyone may lock; it is looked at often enough to stay.
        unsafe { libc::mlock(at, BYTES) };
        Ok(view)
    }

    /// Reads the lease's end; `None` when there is none that can be trusted.
    pub fn read(&self) -> Option<u64> {
        // SAFETY: the mapping is page-aligned, long enough, and lives as long as `self`.
        let words = unsafe { self.0.as_ref() };
        believed(std::array::from_fn(|at| u64::from_le(words[at].load(Ordering::Acquire))))
    }
}

impl Drop for LeaseView {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nobody can read through `self` any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_lease_is_not_believed() {
        let path = std::env::temp_dir().join(format!("dwcp-lease-{}", std::process::id()));
        let file = LeaseFile::open(&path).expect("temp file");
        assert_eq!(file.read(), None);
        assert!(LeaseView::map(&file).is_err(), "nothing was written yet");
        file.write(77).expect("write");
        assert_eq!(file.read(), Some(77));
        let view = LeaseView::map(&file).expect("a mapping");
        assert_eq!(view.read(), Some(77));
        LeaseFile::open(&path).expect("as the worker opens it").write(79).expect("write");
        assert_eq!((file.read(), view.read()), (Some(79), Some(79)));
        file.0.write_all_at(&78u64.to_le_bytes(), 8).expect("write");
        assert_eq!((file.read(), view.read()), (None, None));
        std::fs::remove_file(path).expect("remove");
    }
}

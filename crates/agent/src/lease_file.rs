//! The lease's end as the worker tells it to the watchdog: 24 bytes in a file, replaced by one write.
//!
//! A torn or foreign content fails its checksum and counts as unreadable; the watchdog then goes on with the last value it
//! could read, which only ever ends earlier.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = u64::from_le_bytes(*b"dwcpleas");

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
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&until_us.to_le_bytes());
        bytes[16..].copy_from_slice(&checksum(until_us).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    /// Reads the lease's end; `None` when there is none that can be trusted.
    pub fn read(&self) -> Option<u64> {
        let mut bytes = [0; 24];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        (word(0) == MAGIC && word(16) == checksum(word(8))).then(|| word(8))
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
        file.write(77).expect("write");
        assert_eq!(file.read(), Some(77));
        file.0.write_all_at(&78u64.to_le_bytes(), 8).expect("write");
        assert_eq!(file.read(), None);
        std::fs::remove_file(path).expect("remove");
    }
}

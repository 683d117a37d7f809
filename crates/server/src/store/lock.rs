//! Keeps a second dwcpd out of a folder.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::StoreError;

/// Held as long as the store is open; the system drops it with the process.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Lock, StoreError> {
        let path = folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| StoreError::io("cannot open", &path, e))?;
        // SAFETY: the descriptor is open for the whole call; flock touches no memory of ours.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Lock { _file: file });
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => {
                Err(StoreError::InUse(folder.display().to_string()))
            }
            error => Err(StoreError::io("cannot lock", &path, error)),
        }
    }
}

//! How many commits were made, beside the store.
//!
//! The database undoes its newest commit when that one's pages don't match their checksums, taking it for one that a crash
//! tore. A flipped bit in an acknowledged commit looks the same, and undoing that would make a replica forget its
//! vote. The mark tells them apart: it is written after each commit, without a wait for the disk, so it is never ahead of
//! what was acknowledged, and behind only after a power cut.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::StoreError;

pub(super) struct Mark {
    file: File,
    path: PathBuf,
    commits: std::cell::Cell<u64>,
}

impl Mark {
    /// A missing or torn mark says 0.
    pub(super) fn open(folder: &Path) -> Result<Mark, StoreError> {
        let path = folder.join("store.mark");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| StoreError::io("cannot open", &path, e))?;
        let mut twice = [0; 16];
        let commits = match file.read_exact_at(&mut twice, 0) {
            Ok(()) if twice[..8] == twice[8..] => {
                u64::from_be_bytes(twice[..8].try_into().expect("eight bytes"))
            }
            _ => 0,
        };
        Ok(Mark { file, path, commits: commits.into() })
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.get()
    }

    pub(super) fn set(&self, commits: u64) -> Result<(), StoreError> {
        let mut twice = [0; 16];
        twice[..8].copy_from_slice(&commits.to_be_bytes());
        twice[8..].copy_from_slice(&commits.to_be_bytes());
        self.file.write_all_at(&twice, 0).map_err(|e| StoreError::io("cannot write", &self.path, e))?;
        self.commits.set(commits);
        Ok(())
    }
}

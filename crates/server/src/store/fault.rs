//! What can go wrong with the store, said so that an operator knows what to do.

use std::fmt;
use std::io;
use std::path::Path;

/// Why the store can't be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has it open.
    InUse(String),
    /// A file or folder can't be used: what was tried, and what the system said.
    Io(String, io::Error),
    /// The content can't be trusted; says why.
    Damaged(String),
    /// A write failed. Nothing of it was acknowledged.
    Write(String),
    /// The etcd cluster does not answer or refuses, or another process has taken the store over; says what to do.
    Etcd(String),
}

impl StoreError {
    pub(super) fn io(tried: &str, path: &Path, error: io::Error) -> StoreError {
        StoreError::Io(format!("{tried} {}", path.display()), error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse(folder) => {
                write!(f, "{folder} is in use by another dwcpd; stop that one, or set another data_dir")
            }
            StoreError::Etcd(why) => write!(f, "{why}"),
            StoreError::Io(tried, error) => write!(f, "{tried}: {error}"),
            StoreError::Damaged(why) => write!(f, "the store is damaged: {why}"),
            StoreError::Write(why) => write!(
                f,
                "the store can't be written: {why}. Nothing of that write was acknowledged; make room or replace the disk, then start again"
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// Tells a disk that fails from a file that is damaged: only the second may be set aside.
pub(super) fn on_open(path: &Path, error: redb::DatabaseError) -> StoreError {
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.display().to_string()),
        // A file that is not one of ours, or too short, shows as invalid or ended.
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StoreError::io("cannot open", path, error)
        }
        other => StoreError::Damaged(other.to_string()),
    }
}

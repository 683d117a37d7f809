//! Why the store could not do what it was asked.

use std::fmt;
use std::io;

use dwcp_types::DecodeError;

/// What went wrong, with the file it went wrong in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk refused.
    Disk { file: String, doing: &'static str, why: String },
    /// The disk is full: nothing was taken in, and it goes on when there is space again.
    NoSpace { file: String, doing: &'static str },
    /// What is in a file is not what was written.
    Damaged { file: String, offset: u64, why: String },
    /// Too much is in memory, since it could not be written out.
    MemoryFull { bytes: u64, limit: u64 },
    /// It is set up in a way that does not work.
    Config(String),
}

impl StoreError {
    pub(super) fn disk(file: &str, doing: &'static str) -> impl Fn(io::Error) -> StoreError + use<> {
        let file = file.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::NoSpace { file: file.clone(), doing }
            }
            _ => StoreError::Disk { file: file.clone(), doing, why: error.to_string() },
        }
    }

    pub(super) fn damaged(file: &str, offset: u64) -> impl Fn(DecodeError) -> StoreError + use<> {
        let file = file.to_owned();
        move |error| StoreError::Damaged { file: file.clone(), offset, why: error.to_string() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Disk { file, doing, why } => write!(f, "{doing} {file}: {why}"),
            StoreError::NoSpace { file, doing } => {
                write!(
                    f,
                    "{doing} {file}: the disk is full; nothing was taken in, it goes on when there is space"
                )
            }
            StoreError::Damaged { file, offset, why } => {
                write!(f, "{file} is damaged at byte {offset}: {why}; what it held there is left out")
            }
            StoreError::Config(why) => f.write_str(why),
            StoreError::MemoryFull { bytes, limit } => write!(
                f,
                "{bytes} bytes of samples wait in memory to be written to the disk, and {limit} may: \
                 nothing more is taken in until a block was written"
            ),
        }
    }
}

impl std::error::Error for StoreError {}

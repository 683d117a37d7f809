//! Where backups lie: named objects that are written once, read, listed and deleted.

pub mod folder;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "s3")]
mod sign;

use std::fmt;

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name, with `/` between its parts.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
}

/// A place for objects. It is trusted with nothing but to be there: what it gives back is checked by whoever asked.
pub trait Destination: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// Writes an object unless there is one of that name, durably; says whether it did. An object is seen whole or not at all.
    ///
    /// # Errors
    /// Nothing is left of the object, except after an error without an answer, when it may be there.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, DestinationError>;

    /// An object, or nothing when there is none.
    ///
    /// # Errors
    /// Also when it is longer than `limit` bytes: a destination must not fill our memory.
    fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError>;

    /// The objects whose names begin with `prefix`, which is empty or ends with `/`.
    ///
    /// # Errors
    /// The destination's.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, DestinationError>;

    /// Deletes an object; it is fine when there is none.
    ///
    /// # Errors
    /// The destination's.
    fn delete(&self, name: &str) -> Result<(), DestinationError>;
}

/// What kind of trouble a destination has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room.
    NoSpace,
    /// We are not allowed to.
    NotPermitted,
    /// It gives no answer.
    NoAnswer,
    /// An object is longer than it can be.
    TooLong,
    /// Anything else.
    Failed,
}

/// Why a destination did not do what it was asked.
#[derive(Clone, Debug)]
pub struct DestinationError {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// Where.
    pub place: String,
    /// The object.
    pub object: String,
    /// In its own words.
    pub why: String,
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DestinationError { place, object, why, .. } = self;
        match self.trouble {
            Trouble::NoSpace => write!(
                f,
                "no space left at {place} for {object} ({why}); earlier backups are whole: make room, or let retention keep less"
            ),
            Trouble::NotPermitted => write!(f, "{place} does not permit to use {object} ({why})"),
            Trouble::NoAnswer => write!(f, "{place} gives no answer for {object} ({why})"),
            Trouble::TooLong => write!(f, "{object} at {place} is longer than it can be ({why})"),
            Trouble::Failed => write!(f, "{place} failed on {object}: {why}"),
        }
    }
}

impl std::error::Error for DestinationError {}

/// Whether a name is one that this package gives: parts of letters, digits, `-` and `_`, none of them empty.
pub(crate) fn plain(name: &str) -> bool {
    name.split('/').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

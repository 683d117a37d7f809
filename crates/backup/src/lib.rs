//! Backups of the control plane's state: sealed, deduplicated, in a folder or an S3 bucket that is trusted with nothing.
//!
//! A [`Repository`] lies at a [`Destination`] that may flip, cut, swap, drop or put back anything: whatever is read is
//! checked against the federation's key first, and what does not hold is named by its object. Every object is written once
//! and never changed, so that two writers can't spoil each other's. `docs/decisions/2026-11-28-backups.md` has the format,
//! the trust model and the reasons.
//!
//! Everything here is synchronous: most of it is hashing, compression and encryption, which belong on a thread of their own
//! in any case (`spawn_blocking`), and the records come from and go to plain iterators.

mod chain;
mod chunk;
mod create;
pub mod destination;
mod diff;
mod error;
mod format;
pub mod key;
mod repository;
mod restore;
mod retention;
mod rotate;
mod seal;
mod verify;
mod workers;

pub use chain::{Backup, Head, Listing};
pub use chunk::Record;
pub use create::{Create, Created};
pub use destination::{Destination, DestinationError, folder::Folder};
pub use diff::{Change, Difference, Differing};
pub use error::{Error, Fault};
pub use format::Kind;
pub use key::FederationKey;
pub use repository::Repository;
pub use restore::Records;
pub use retention::{Pruned, Retention};
pub use rotate::Rotated;
pub use verify::Verified;

/// What reads bytes from outside, for those who damage them on purpose.
#[doc(hidden)]
pub mod decoders {
    pub use crate::chunk::decode_records;
    pub use crate::format::{read_entry, read_entry_head, read_index, read_title, write_samples};
    pub use crate::key::{read_key_text, read_salt};
}

//! Logs: what every component said, kept in its region, and copied to others so that a dead region's log can be read.
//!
//! A [`Store`] is a folder with one log of its own and copies of other regions' logs. Each record has a number in the
//! log that it was written to first ([`Origin`]), so that a copy knows what it has ([`Store::append_copy`]) and what
//! is missing ([`Store::gaps`]). Records lie in blocks with checksums ([`block`]); a file of blocks is compressed
//! when it is full. After a crash what was synced is there; what was half written is cut, and said. A damaged block
//! is named, and the others are still read.
//!
//! Secrets never get in ([`redact`]), and what is shown as text can't forge lines ([`text`]).

pub mod block;
mod cursor;
mod grep;
mod log;
mod merge;
pub mod query;
mod ranges;
pub mod record;
pub mod redact;
mod search;
mod segment;
mod shipment;
mod store;
pub mod text;
pub mod trace;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use cursor::Cursor;
pub use grep::Grep;
pub use merge::merge;
pub use query::{Kinds, Order, Page, Query, QueryError};
pub use record::{Entry, Level, Origin, Place, Record, Timing};
pub use shipment::Shipment;
pub use store::{Store, StoreError};
pub use trace::{InTrace, Span, SpanId, TraceId, Traceparent, span_of, trace_of};

/// What reads bytes from outside, for those who damage them on purpose.
#[doc(hidden)]
pub mod decoders {
    pub use super::log::{entries, parse_dropped};
}

/// How much is kept of every log of a store.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A file is closed and compressed when it has so many plain bytes.
    pub segment_bytes: u64,
    /// All files of one log together have no more bytes than this, and one file.
    pub log_bytes: u64,
    /// A record is let go with the last of its file when it is older than this, ms.
    pub age_ms: i64,
    /// How many plain bytes of a component's latest records are kept while others' are let go for room. Together they
    /// should be well below `log_bytes`, which holds in any case.
    pub floors: BTreeMap<String, u64>,
}

impl Default for Limits {
    /// 256 MiB and 30 days of each log, of `security` at least 64 MiB before compression.
    fn default() -> Limits {
        Limits {
            segment_bytes: 4 << 20,
            log_bytes: 256 << 20,
            age_ms: 30 * 86_400_000,
            floors: [("security".to_owned(), 64 << 20)].into(),
        }
    }
}

/// What is kept and can't be read. The rest still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// Where in the file, bytes.
    pub offset: u64,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.file.display(), self.offset, self.what)
    }
}

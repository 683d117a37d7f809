//! What a region's process says of itself when another one asks. Between shells: no decision depends on it.

use dwcp_types::wire_struct;

use crate::protocol::{Dialed, Durability, Endpoint, ProcessReport};

/// A question of one process for another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfAsk {
    /// The asking process's number for it, repeated in the answer.
    pub id: u64,
    /// How long to count processor time, ms.
    pub window_ms: u64,
    /// Also measure the disk, and look at certificate and store.
    pub measure: bool,
    /// And reach these.
    pub dial: Vec<Endpoint>,
}
wire_struct!(SelfAsk { 1 id, 2 window_ms, 3 measure, 4 dial });

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfTell {
    /// As asked.
    pub id: u64,
    /// The process.
    pub process: ProcessReport,
    /// Its program's version.
    pub version: String,
    /// Its wall clock when the question came, ms.
    pub asked_wall_ms: u64,
    /// Its wall clock when the answer went, ms.
    pub answered_wall_ms: u64,
    /// How long its certificate holds, s; none: it could not look.
    pub certificate_left_s: Option<u64>,
    /// How fast its disk is; none: not asked for.
    pub disk: Option<Durability>,
    /// Free disk of its data folder, MiB; none: the system does not tell.
    pub disk_free_mib: Option<u64>,
    /// Memory that is available, MiB; none: the system does not tell.
    pub memory_available_mib: Option<u64>,
    /// How its state is kept: `embedded`, `etcd`.
    pub store: String,
    /// Bytes of the store's files on its own disk; none: it could not look.
    pub store_bytes: Option<u64>,
    /// How it reached whom, in the order asked.
    pub dialed: Vec<Dialed>,
}
wire_struct!(SelfTell {
    1 id, 2 process, 3 version, 4 asked_wall_ms, 5 answered_wall_ms, 6 certificate_left_s, 7 disk, 8 disk_free_mib,
    9 memory_available_mib, 10 store, 11 store_bytes, 12 dialed
});

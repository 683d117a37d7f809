//! Many Raft groups in one process, driven synchronously: no clock, no disk, no socket.
//!
//! [`MultiRaft::open`] reads a group from the local store; from then on [`MultiRaft::step`] takes what happened
//! ([`Input`]) with the time, and says what must be done ([`Output`]). The same seed and the same inputs give the same
//! outputs, byte by byte. Promises:
//!
//! - Nothing is said to another node, and nothing is applied here, before what it rests on is durable (`Persisted`).
//! - `Apply` comes in order, once a life of the process, from behind the snapshot that `open` or `InstallSnapshot` gave.
//! - `ReadReady` names an index that covers everything any replica applied before the request was made.
//! - Bytes from the network and from the disk never panic: the first are ignored and counted, the second make the
//!   replica *damaged*, and a damaged replica heals from a peer before it votes again.

// The Raft crate's messages carry private bookkeeping; they are filled field by field.
#![allow(clippy::field_reassign_with_default)]

mod claims;
mod codec;
mod config;
mod effects;
mod examine;
mod group;
mod guard;
mod log;
mod multi;
mod records;
mod recover;
mod restored;
mod status;
mod turn;
mod wire;

pub use claims::{Claim, Stored, claims, stored};
#[cfg(feature = "mutations")]
pub use config::Mutation;
pub use config::{Config, GroupSetup};
pub use dwcp_types::{GroupId, NodeId};
pub use effects::{Batch, Disk, DropReason, Input, Output, Ticket};
pub use examine::{Examined, examine};
pub use multi::{MultiRaft, OpenError, Opened, OpenedSnapshot};
pub use records::GroupRecords;
pub use restored::{Beginning, restored};
pub use status::{GroupStatus, PeerStatus, Role};

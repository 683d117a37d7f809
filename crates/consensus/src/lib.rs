//! Many Raft groups in one process, driven synchronously: no clock, no disk, no socket.

mod codec;
mod config;
mod effects;
mod group;
mod guard;
mod log;
mod multi;
mod records;
mod recover;
mod status;
mod turn;
mod wire;

#[cfg(feature = "mutations")]
pub use config::Mutation;
pub use config::{Config, GroupSetup};
pub use dwcp_types::{GroupId, NodeId};
pub use effects::{Batch, Disk, DropReason, Input, Output, Ticket};
pub use multi::{MultiRaft, OpenError, Opened, OpenedSnapshot};
pub use status::{GroupStatus, PeerStatus, Role};

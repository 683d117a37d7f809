//! QUIC links with mutual TLS between regions and between agents and their region, over an emulated WAN in
//! development.
//!
//! [`pki`] makes and checks certificates, [`Mesh`] joins the regions and accepts agents, [`AgentLink`] is an
//! agent's end, [`transfer`] carries memory and disks between agents, and [`wan`] delays, drops and cuts datagrams under the sockets when a development federation
//! asks for it. Delivery is best effort and in order per peer and class while a link stays up: what was queued
//! when a link fell is lost, so callers repeat what matters.

mod agent_link;
mod frame;
mod intake;
pub mod mesh;
pub mod pki;
mod queue;
mod seed;
mod stats;
pub mod transfer;
mod transport;
pub mod wan;

pub use agent_link::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle};
pub use intake::Room;
pub use mesh::{Class, Limits, Mesh, MeshConfig, MeshEvent, MeshHandle, NodeId, Peer};
pub use pki::{Ca, Identity, Issued, Key, PeerId, PkiError, San};
pub use queue::{DropReason, Sent};
pub use stats::{LinkStats, QueueStats};
pub use wan::{LinkShape, LinkTable, Wan};

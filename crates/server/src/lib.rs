//! dwcpd: the control plane of one region.
//!
//! The shell around [`dwcp_roles::node::Node`]: a durable [`store`], a thread that runs the node, the mesh between
//! regions, the log. [`region::Region`] puts them together; the binary adds the HTTP API and the command line.

pub mod api_socket;
mod asked;
pub mod backups;
pub mod clock;
pub mod controller;
pub mod dev;
pub mod handle;
mod hands;
pub mod http;
pub mod inspect;
mod issuer;
pub mod links;
pub mod log;
pub mod monitor;
pub mod node_loop;
pub mod notify;
pub mod outbound;
mod placement_times;
pub mod program;
pub mod record;
mod records;
pub mod region;
pub mod restore;
pub mod run;
pub mod setup;
pub mod store;
pub mod telemetry;
pub mod writer;

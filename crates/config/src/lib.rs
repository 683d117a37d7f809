//! Configuration text to validated settings, every error at once with line and column.
//!
//! [`tree`] reads YAML into nodes that know where they stand; [`reader`] turns nodes into settings and collects every
//! complaint. Each file kind has a module: [`capacity`] (`capacity-thresholds.yaml`), [`cli`] (contexts of `dwcp-cli`), [`region`]
//! (`dwcpd.yaml`), [`host`] (`host.yaml`), [`router`] (`router.yaml`),
//! [`settings`] (what operators say of a region).

pub mod capacity;
pub mod cli;
pub mod complaint;
pub mod emit;
pub mod host;
pub mod reader;
pub mod region;
pub mod router;
pub mod settings;
pub mod spelling;
pub mod tree;
pub mod units;

pub use complaint::{Complaint, Complaints};
pub use reader::{Fields, Reader};
pub use tree::Node;

//! The same filter where the kernel never sees what is dropped: packets go from one port to another of DPDK in a program of its own
//! (`dwcp-dpdk`), which the router starts, feeds and hears.

mod packet;
mod program;
mod rules;

pub use packet::{Asked, asked};
pub use program::{Ports, Program};
pub use rules::{Order, Rules, Told};

//! What the system says of a machine and of its processes: `/proc`, disks, ways to other machines. Everything here blocks.

pub mod dial;
pub mod disk;
pub mod host;
pub mod memory;
pub mod network;
pub mod process;

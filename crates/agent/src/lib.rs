//! `dwcp-agentd`: runs virtual machines on one host under a lease.
//!
//! Two processes. The [`watchdog`] is small and has no runtime; it is the parent of every QEMU, holds them still when the
//! lease runs out and kills them later. The [`worker`] talks to the region's leader and carries out what the pure machine
//! `dwcp_roles::agent` decides; it may die and come back at any time without the VMs noticing.

pub mod accelerator;
pub mod clock;
pub mod console;
pub mod host_config;
pub mod image;
pub mod images;
pub mod journal;
pub mod lease_file;
pub mod mover;
mod process_id;
pub mod qemu;
pub mod qmp;
pub mod quiet_thread;
pub mod watch_protocol;
pub mod watchdog;
pub mod worker;

//! Versions of this program, and what they can read and write.
//!
//! A *level* counts the steps by which commands and facts have changed. Programs one level apart work together: what belongs to
//! a level is written only once the federation's facts say that this level is in force, and they say so only once every
//! region's program knows it.

/// The version of this program.
pub const VERSION: &str = if cfg!(feature = "next") { "3.2.0" } else { env!("CARGO_PKG_VERSION") };

/// The highest level that this program knows.
pub const LEVEL: u64 = if cfg!(feature = "next") { 2 } else { 1 };

/// The level from which on an event says which region's controller it was proposed by.
pub const PROPOSER_LEVEL: u64 = 2;

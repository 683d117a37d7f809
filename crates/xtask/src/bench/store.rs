//! Commits of the embedded store against those in etcd: the benchmark is the server's, the etcd program is fetched here.

use crate::etcd;
use crate::run::{Failure, cargo, run};
use crate::tree::Tree;
use std::time::Instant;

/// Runs it.
///
/// # Errors
/// When there is no etcd, or the benchmark fails.
pub fn measure(tree: &Tree) -> Result<(), Failure> {
    let program = etcd::ensure(tree, Instant::now())?;
    let words = ["run", "--quiet", "--profile=sim", "-p=dwcp-server", "--example=bench-store", "--"];
    run(cargo().args(words).arg(program).current_dir(&tree.root))
}

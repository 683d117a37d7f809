//! Decisions of a region with more controllers: the benchmark is the server's, and starts its program, which is built first.

use crate::run::{Failure, cargo, run};
use crate::tree::Tree;

/// Runs it.
///
/// # Errors
/// When something can't be built, or the benchmark fails.
pub fn measure(tree: &Tree) -> Result<(), Failure> {
    let program = ["build", "--quiet", "--profile=sim", "-p=dwcp-server", "--bin=dwcpd"];
    run(cargo().args(program).current_dir(&tree.root))?;
    let words = ["run", "--quiet", "--profile=sim", "-p=dwcp-server", "--example=bench-controllers"];
    run(cargo().args(words).current_dir(&tree.root))
}

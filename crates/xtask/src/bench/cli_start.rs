//! How long `dwcp-cli` takes to start and say something, beside a program that does nothing.

use crate::run::{Failure, cargo, command, run};
use crate::tree::Tree;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Starts of each program, in turn, so that both meet the same machine.
const RUNS: usize = 500;
/// Promised for `--help`, ms.
const LIMIT_MS: f64 = 10.0;

/// Prints the least, the median and the 99th percentile of both.
///
/// # Errors
/// When the CLI cannot be built or started, or its least is above the promise: other work on the machine shows in the
/// others.
pub fn measure(tree: &Tree) -> Result<(), Failure> {
    run(cargo()
        .args(["build", "--quiet", "--profile=sim", "-p=dwcp-cli", "--bin=dwcp-cli"])
        .current_dir(&tree.root))?;
    let (ours, nothing) = (tree.binary("dwcp-cli"), Path::new("/bin/true"));
    let mut took = [Vec::with_capacity(RUNS), Vec::with_capacity(RUNS)];
    for _ in 0..RUNS {
        took[0].push(start(&ours)?);
        took[1].push(start(nothing)?);
    }
    took.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let [ours, nothing] = took.map(|times| [times[0], times[RUNS / 2], times[RUNS * 99 / 100]]);
    for (name, [least, p50, p99]) in [("dwcp-cli --help", ours), ("/bin/true", nothing)] {
        println!("{name:<16} least {least:.2} ms, P50 {p50:.2} ms, P99 {p99:.2} ms");
    }
    println!(
        "ratio of the medians {:.2}; the least is {:.0} % of the promised {LIMIT_MS} ms",
        ours[1] / nothing[1],
        ours[0] / LIMIT_MS * 100.0
    );
    if ours[0] < LIMIT_MS { Ok(()) } else { Err(Failure::new("slower than promised")) }
}

fn start(program: &Path) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut child = command(program);
    child.arg("--help").stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        child.status().map_err(|e| Failure::new(format!("cannot start {}: {e}", program.display())))?;
    if !status.success() {
        return Err(Failure::new(format!("{} --help ended with {status}", program.display())));
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

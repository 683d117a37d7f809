//! The gates: `quick` before a commit, `test` for everything that CI runs.

mod changed;
mod count;

use crate::federation::{image, up};
use crate::flags::Flags;
use crate::install;
use crate::run::{Failure, capture, cargo, on_path, run, say, shown};
use crate::tidy::{self, PURE};
use crate::tree::Tree;
use crate::{deny, docs, drill, etcd};
use count::Count;
use std::process::Command;
use std::time::Instant;

/// Seeds that `test` simulates; nightly runs may take more.
const SEEDS: &str = "0..200";
/// Partitions that `test` simulates.
const PARTITIONS: &str = "0..100";

/// The steps so far, with what each found.
struct Report {
    since: Instant,
    rows: Vec<Row>,
}

/// A step: what it found, and the seconds that it took, of the clock and of processors.
struct Row {
    name: String,
    count: Count,
    seconds: f64,
    processor: f64,
}

/// Processor time of everything that was run and has ended, seconds.
fn processor_seconds() -> f64 {
    // SAFETY: fills one struct of ours, which any bytes make valid.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut used);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

impl Report {
    fn new() -> Report {
        Report { since: Instant::now(), rows: Vec::new() }
    }

    /// Runs one step. A failed step is reported and the next one runs all the same, so that one
    /// run tells everything.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Count, Failure>) {
        say(self.since, &format!("== {name}"));
        let (start, used) = (Instant::now(), processor_seconds());
        let count = work().unwrap_or_else(|failure| {
            if !failure.message.is_empty() {
                println!("{name}: {}", failure.message);
            }
            Count::FAILED
        });
        let (seconds, processor) = (start.elapsed().as_secs_f64(), processor_seconds() - used);
        self.rows.push(Row { name: name.to_owned(), count, seconds, processor });
    }

    /// Prints the table and, last and alone, `N passed, N failed`.
    fn finish(self) -> Result<(), Failure> {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(8);
        println!("\n{:<width$} {:>8} {:>8} {:>9} {:>9}", "step", "passed", "failed", "seconds", "processor");
        let (mut total, mut used) = (Count { passed: 0, failed: 0 }, 0.0);
        for Row { name, count, seconds, processor } in &self.rows {
            let Count { passed, failed } = count;
            println!("{name:<width$} {passed:>8} {failed:>8} {seconds:>9.1} {processor:>9.1}");
            total = total.plus(*count);
            used += processor;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        println!("{:<width$} {:>8} {:>8} {seconds:>9.1} {used:>9.1}", "all", "", "");
        println!("{} passed, {} failed", total.passed, total.failed);
        if total.failed == 0 { Ok(()) } else { Err(Failure::told()) }
    }
}

/// Everything that CI runs.
///
/// # Errors
/// Exit 1 when anything failed.
pub fn test(tree: &Tree, flags: &Flags) -> Result<(), Failure> {
    let mut report = Report::new();
    report.step("install", || install::ensure(Instant::now()).map(|()| Count::PASSED));
    report.step("etcd", || etcd::ensure(tree, Instant::now()).map(|_| Count::PASSED));
    // Tests that need a guest pass without one, so it is there before them.
    report.step("guest image", || image::ensure(tree, Instant::now()).map(|()| Count::PASSED));
    report.step("tidy", || tidy(tree));
    report.step("format", || check(in_tree(tree, &["fmt", "--all", "--", "--check"])));
    report.step("licences", || deny::check(tree).map(|()| Count::PASSED));
    report.step("clippy", || {
        check(in_tree(
            tree,
            &["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ))
    });
    report.step("tests", || tests(tree, &["--locked", "--workspace"]));
    let simulator = [("dwcp-sim", "dwcp-sim")];
    report.step("programs", || up::build(tree, &simulator, Instant::now()).map(|()| Count::PASSED));
    report.step("simulation", || simulation(tree));
    report.step("scenarios", || scenarios(tree));
    report.step("reference pages", || docs::compare(tree).map(|()| Count::PASSED));
    if !flags.has("no-e2e") {
        report.step("end to end", || drills(tree));
    }
    report.finish()
}

/// What to run before a commit: about a minute when warm.
///
/// # Errors
/// Exit 1 when anything failed.
pub fn quick(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    let mut report = Report::new();
    let changed = changed::packages(tree);
    report.step("format", || check(in_tree(tree, &["fmt", "--all", "--", "--check"])));
    report.step("tidy", || tidy(tree));
    if !changed.is_empty() {
        report.step(&format!("clippy ({})", changed.join(" ")), || {
            let mut clippy = in_tree(tree, &["clippy", "--quiet", "--all-targets"]);
            for package in &changed {
                clippy.args(["-p", &format!("dwcp-{package}")]);
            }
            clippy.args(["--", "-D", "warnings"]);
            check(clippy)
        });
    }
    let packages: Vec<String> =
        PURE.iter().flat_map(|package| ["-p".to_owned(), format!("dwcp-{package}")]).collect();
    let arguments: Vec<&str> = packages.iter().map(String::as_str).collect();
    report.step("tests of pure packages", || tests(tree, &arguments));
    report.finish()
}

fn in_tree(tree: &Tree, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments).current_dir(&tree.root);
    command
}

fn check(mut command: Command) -> Result<Count, Failure> {
    run(&mut command).map(|()| Count::PASSED)
}

fn tidy(tree: &Tree) -> Result<Count, Failure> {
    let problems = tidy::check(&tree.root)?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(if problems.is_empty() { Count::PASSED } else { Count { passed: 0, failed: problems.len() } })
}

/// Runs tests and counts them. Their output is shown only when something failed.
fn tests(tree: &Tree, packages: &[&str]) -> Result<Count, Failure> {
    if on_path("cargo-nextest") {
        let arguments =
            ["nextest", "run", "--no-fail-fast", "--no-tests=pass", "--status-level=fail", "--color=never"];
        let mut tests = in_tree(tree, &arguments);
        tests.args(["--final-status-level=fail", "--show-progress=none"]);
        tests.args(packages);
        return counted(tests);
    }
    let mut tests = in_tree(tree, &["test", "--quiet", "--no-fail-fast", "--all-targets"]);
    tests.args(packages);
    counted(tests)
}

fn counted(mut command: Command) -> Result<Count, Failure> {
    let output = capture(&mut command)?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let count = count::in_output(&text);
    if output.status.success() {
        return Ok(count);
    }
    println!("{text}");
    println!("`{}` ended with {}", shown(&command), output.status);
    Ok(if count.failed == 0 { count.plus(Count::FAILED) } else { count })
}

/// The drills that belong to the gate: one check each, and one for coming up and going down.
fn drills(tree: &Tree) -> Result<Count, Failure> {
    let outcomes = drill::in_ci(tree)?;
    let held = outcomes.iter().filter(|outcome| outcome.held).count();
    Ok(Count { passed: held + 1, failed: outcomes.len() - held })
}

fn scenarios(tree: &Tree) -> Result<Count, Failure> {
    let mut tell = crate::run::command(tree.binary("dwcp-sim"));
    tell.arg("scenario").current_dir(&tree.root);
    run(&mut tell).map(|()| Count::PASSED)
}

fn simulation(tree: &Tree) -> Result<Count, Failure> {
    let mut swarm = crate::run::command(tree.binary("dwcp-sim"));
    swarm.args(["swarm", "--seeds", SEEDS]).current_dir(&tree.root);
    run(&mut swarm)?;
    let mut partitions = crate::run::command(tree.binary("dwcp-sim"));
    partitions.args(["partitions", "--seeds", PARTITIONS]).current_dir(&tree.root);
    run(&mut partitions)?;
    let mut migrations = crate::run::command(tree.binary("dwcp-sim"));
    migrations.arg("migrations").current_dir(&tree.root);
    run(&mut migrations).map(|()| Count::PASSED)
}

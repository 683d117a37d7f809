//! The gates: `quick` before a commit, `test` for everything that CI runs.

mod changed;
mod count;
mod drill;

use crate::flags::Flags;
use crate::install;
use crate::run::{Failure, capture, cargo, on_path, run, say, shown};
use crate::tidy::{self, PURE};
use crate::tree::Tree;
use crate::{deny, docs};
use count::Count;
use std::process::Command;
use std::time::Instant;

/// Seeds that `test` simulates; nightly runs may take more.
const SEEDS: &str = "200";

/// The steps so far, with what each found.
struct Report {
    since: Instant,
    rows: Vec<(String, Count, f64)>,
}

impl Report {
    fn new() -> Report {
        Report { since: Instant::now(), rows: Vec::new() }
    }

    /// Runs one step. A failed step is reported and the next one runs all the same, so that one
    /// run tells everything.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Count, Failure>) {
        say(self.since, &format!("== {name}"));
        let start = Instant::now();
        let count = work().unwrap_or_else(|failure| {
            if !failure.message.is_empty() {
                println!("{name}: {}", failure.message);
            }
            Count::FAILED
        });
        self.rows.push((name.to_owned(), count, start.elapsed().as_secs_f64()));
    }

    /// Prints the table and, last and alone, `N passed, N failed`.
    fn finish(self) -> Result<(), Failure> {
        let width = self.rows.iter().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0).max(8);
        println!("\n{:<width$} {:>8} {:>8} {:>9}", "step", "passed", "failed", "seconds");
        let mut total = Count { passed: 0, failed: 0 };
        for (name, count, seconds) in &self.rows {
            println!("{name:<width$} {:>8} {:>8} {seconds:>9.1}", count.passed, count.failed);
            total = total.plus(*count);
        }
        println!("{:<width$} {:>8} {:>8} {:>9.1}", "all", "", "", self.since.elapsed().as_secs_f64());
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
    report.step("simulation", || simulation(tree));
    report.step("reference pages", || docs::check(tree).map(|()| Count::PASSED));
    if !flags.has("no-e2e") {
        report.step("end to end", || drill::drill(tree));
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

fn simulation(tree: &Tree) -> Result<Count, Failure> {
    run(&mut in_tree(tree, &["build", "--quiet", "--locked", "--profile", "sim", "-p", "dwcp-sim"]))?;
    let mut swarm = crate::run::command(tree.binary("dwcp-sim"));
    swarm.args(["swarm", "--seeds", SEEDS]).current_dir(&tree.root);
    run(&mut swarm).map(|()| Count::PASSED)
}

//! `up`: from a bare machine to five running regions with six VMs that answer.

use super::process::{recorded, start};
use super::{
    Lock, Planned, api_address, console, demo, image, known_region, link, planned, regions, traffic,
};
use crate::flags::Flags;
use crate::run::{Failure, cargo, command, run, say, wait_until};
use crate::tree::Tree;
use crate::{etcd, geo, install};
use std::fs;
use std::io::IsTerminal as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const BINARIES: [(&str, &str); 4] = [
    ("dwcp-server", "dwcpd"),
    ("dwcp-agent", "dwcp-agentd"),
    ("dwcp-edge", "dwcp-routerd"),
    ("dwcp-cli", "dwcp-cli"),
];

/// Starts what is missing of the federation, or of one region.
///
/// # Errors
/// The first step that fails stops it; what runs already keeps running, and a further `up` goes on.
pub fn up(tree: &Tree, flags: &Flags) -> Result<(), Failure> {
    let since = Instant::now();
    let _lock = Lock::take(&tree.dev)?;
    install::ensure(since)?;
    if !flags.has("no-build") {
        console::build(tree, since);
        build(tree, &[], since)?;
    }
    image::ensure(tree, since)?;
    // Routers go on without it.
    if let Err(why) = geo::ensure(tree, since) {
        say(since, &format!("routers will not know where addresses are: {}", why.message));
    }
    initialise(tree, flags.value("store"), since)?;
    let planned = planned(tree)?;
    known_store(&planned, flags)?;
    if in_etcd(&planned) {
        etcd::ensure(tree, since)?;
    }
    image::share(tree, &planned)?;
    let region = known_region(&planned, flags)?;
    let chosen: Vec<&Planned> =
        planned.iter().filter(|entry| region.is_none_or(|r| entry.region == r)).collect();
    start_missing(tree, &chosen, since)?;
    wait_for_apis(tree, &regions(&planned), &chosen, since)?;
    link::make_link(tree, since)?;
    link::make_context(tree, regions(&planned).len(), since)?;
    demo::wait_for_status(tree, since)?;
    if region.is_none() && !flags.has("no-vms") {
        demo::ensure_vms(tree, regions(&planned).len(), since)?;
        traffic::ensure(tree, &planned, &regions(&planned), since)?;
    }
    say(since, "up");
    demo::tell_what_to_try();
    Ok(())
}

/// Starts what is missing of a federation that was up before, with the programs as they are.
///
/// # Errors
/// As [`up`].
pub fn again(tree: &Tree) -> Result<(), Failure> {
    let since = Instant::now();
    let _lock = Lock::take(&tree.dev)?;
    let planned = planned(tree)?;
    let all: Vec<&Planned> = planned.iter().collect();
    start_missing(tree, &all, since)?;
    wait_for_apis(tree, &regions(&planned), &all, since)?;
    demo::wait_for_status(tree, since)
}

/// Starts every process of one program that does not run.
///
/// # Errors
/// As [`up`].
pub fn start_all(tree: &Tree, program: &str) -> Result<(), Failure> {
    let planned = planned(tree)?;
    let chosen: Vec<&Planned> = planned.iter().filter(|entry| entry.program == program).collect();
    start_missing(tree, &chosen, Instant::now())
}

/// Builds the four programs, and `more` of them (package and program), with the `sim` profile: release speed, every
/// check on. What is built in one go agrees on the features of its dependencies, which then are built once.
///
/// # Errors
/// When cargo fails.
pub fn build(tree: &Tree, more: &[(&str, &str)], since: Instant) -> Result<(), Failure> {
    let first = BINARIES.iter().any(|(_, binary)| !tree.binary(binary).is_file());
    if first {
        say(since, "building dwcpd, dwcp-agentd, dwcp-routerd and dwcp-cli; the first time takes minutes");
    }
    let mut build = building(tree);
    // What takes minutes shows how far it is, where somebody looks.
    if !first || !std::io::stderr().is_terminal() {
        build.arg("--quiet");
    }
    for (package, binary) in BINARIES.iter().chain(more) {
        build.args(["-p", package, "--bin", binary]);
    }
    run(&mut build)?;
    say(since, "programs are built");
    Ok(())
}

/// A build for the four programs, still without any of them. Dependencies have the features that these ask for together, so that
/// whoever builds one of them finds what a build of all has left.
pub fn building(tree: &Tree) -> Command {
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "sim"]).current_dir(&tree.root);
    for (package, _) in BINARIES {
        build.args(["-p", package]);
    }
    build
}

/// Keys, certificates, configuration and the list of processes, written once by `dwcpd` itself.
fn initialise(tree: &Tree, store: Option<&str>, since: Instant) -> Result<(), Failure> {
    if tree.dev.join("processes.txt").is_file() {
        return Ok(());
    }
    run(command(tree.binary("dwcpd"))
        .args(["dev", "init", "--dir"])
        .arg(&tree.dev)
        .args(store.into_iter().flat_map(|store| ["--store", store]))
        .stdout(std::process::Stdio::null()))?;
    say(since, "wrote keys, certificates and configuration to .dwcp");
    Ok(())
}

/// Whether the servers keep their state in etcd.
pub fn in_etcd(planned: &[Planned]) -> bool {
    planned.iter().any(|entry| entry.program == "etcd")
}

/// A federation keeps its state where it was told to when it was made.
fn known_store(planned: &[Planned], flags: &Flags) -> Result<(), Failure> {
    let now = if in_etcd(planned) { "etcd" } else { "embedded" };
    match flags.value("store") {
        Some(other) if other != now => Err(Failure::usage(format!(
            "the federation that is here keeps its state {now}; `cargo xtask down` first"
        ))),
        _ => Ok(()),
    }
}

fn start_missing(tree: &Tree, chosen: &[&Planned], since: Instant) -> Result<(), Failure> {
    let mut started = 0;
    let mut outdated = 0;
    for entry in chosen {
        if let Some(running) = recorded(&tree.dev, &entry.name) {
            outdated += usize::from(running.outdated());
            continue;
        }
        let etcd = etcd::program(tree).filter(|_| entry.program == "etcd");
        start(&tree.dev, &etcd.unwrap_or_else(|| tree.binary(&entry.program)), entry)?;
        started += 1;
    }
    match started {
        0 => say(since, &format!("all {} processes run already", chosen.len())),
        _ => say(since, &format!("started {started} of {} processes", chosen.len())),
    }
    if outdated > 0 {
        say(
            since,
            &format!(
                "{outdated} of them run an older build; `cargo xtask down --keep` and `up` replace them"
            ),
        );
    }
    Ok(())
}

fn wait_for_apis(
    tree: &Tree,
    regions: &[String],
    chosen: &[&Planned],
    since: Instant,
) -> Result<(), Failure> {
    let mut dead = None;
    for (region, number) in regions.iter().zip(1..) {
        if !chosen.iter().any(|entry| &entry.region == region) {
            continue;
        }
        let address = api_address(number);
        let answers = wait_until(Duration::from_secs(30), Duration::from_millis(50), || {
            dead = chosen.iter().find(|entry| recorded(&tree.dev, &entry.name).is_none());
            dead.is_some() || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        if let Some(entry) = dead {
            return Err(Failure::new(format!("{} ended:\n{}", entry.name, log_tail(tree, &entry.name))));
        }
        if !answers {
            return Err(Failure::new(format!(
                "{region} does not listen at {address}:\n{}",
                log_tail(tree, &chosen[0].name)
            )));
        }
    }
    say(since, "every region listens");
    Ok(())
}

/// The last lines of a process's log, for an error message.
fn log_tail(tree: &Tree, name: &str) -> String {
    let text = fs::read_to_string(tree.dev.join("log").join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(8)..];
    format!("  {}\n  (more in .dwcp/log/{name}.log)", tail.join("\n  "))
}

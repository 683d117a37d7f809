//! `down` and `kill`: stopping the federation, or breaking a part of it on purpose.

use super::process::{Owned, owned, stop};
use super::{Lock, known_region, link, planned};
use crate::flags::Flags;
use crate::run::{Failure, fault, say};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What `down` leaves in the state folder: the guest image is costly to build, the logs explain.
const KEPT: [&str; 2] = ["cache", "log"];

/// Stops the federation, or one region of it, and removes its state unless `--keep` is given.
///
/// # Errors
/// When a process survives even a KILL, or a file cannot be removed.
pub fn down(tree: &Tree, flags: &Flags) -> Result<(), Failure> {
    let since = Instant::now();
    if !tree.dev.exists() {
        println!("nothing to stop: no development federation here");
        return Ok(());
    }
    let lock = Lock::take(&tree.dev)?;
    let planned = planned(tree)?;
    let region = known_region(&planned, flags)?;
    let (stopped, left) =
        stop(&tree.dev, Duration::from_secs(5), |one| region.is_none_or(|region| one.region == region));
    if !left.is_empty() {
        return Err(Failure::new(format!("still running after KILL: {}", summary(&left))));
    }
    say(
        since,
        &format!("stopped {stopped} processes{}", region.map(|r| format!(" of {r}")).unwrap_or_default()),
    );
    if region.is_some() {
        return Ok(());
    }
    remove(&tree.dev.join("run"))?;
    if !flags.has("keep") {
        link::remove_link(tree, since)?;
        link::remove_context(tree, since);
        clear(&tree.dev)?;
        say(since, "removed its state; the guest image and the logs stay in .dwcp");
    }
    drop(lock);
    Ok(())
}

/// Kills processes of one region at once, as a crash or a power cut would.
///
/// # Errors
/// Wrong usage without a known region or with an unknown `--only`.
pub fn kill(tree: &Tree, flags: &Flags) -> Result<(), Failure> {
    let planned = planned(tree)?;
    let region = known_region(&planned, flags)?.ok_or_else(|| Failure::usage("kill wants --region"))?;
    let only = flags.value("only");
    if let Some(other) = only.filter(|only| !["dwcpd", "agents", "vms"].contains(only)) {
        return Err(Failure::usage(format!("--only {other}: one of dwcpd, agents, vms")));
    }
    let _lock = Lock::take(&tree.dev)?;
    let picks = |one: &Owned| {
        one.region == region
            && match only {
                Some("dwcpd") => one.program == "dwcpd",
                Some("agents") => one.program.starts_with("dwcp-agent"),
                Some("vms") => one.is_vm(),
                _ => true,
            }
    };
    // One sweep, all at once: whatever starts afterwards (a VM restarted by its agent) is recovery,
    // and shall be seen. Without --only nothing of the region may be left that could start anything.
    let victims: Vec<Owned> = owned(&tree.dev).into_iter().filter(picks).collect();
    for victim in &victims {
        victim.id.signal(libc::SIGKILL);
    }
    if only.is_none() {
        let (_, left) = stop(&tree.dev, Duration::ZERO, picks);
        if !left.is_empty() {
            return Err(Failure::new(format!("still running after KILL: {}", summary(&left))));
        }
    }
    match victims.as_slice() {
        [] => println!("nothing of {region} was running"),
        victims => println!("killed in {region}: {}", summary(victims)),
    }
    println!("bring it back with: cargo xtask up --region {region}");
    Ok(())
}

/// `3 qemu-system-x86 (11, 12, 13), 1 dwcpd (9)`.
fn summary(processes: &[Owned]) -> String {
    let mut by_program: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in processes {
        by_program.entry(&one.program).or_default().push(one.id.pid.to_string());
    }
    let parts: Vec<String> = by_program
        .iter()
        .map(|(program, pids)| format!("{} {program} ({})", pids.len(), pids.join(", ")))
        .collect();
    parts.join(", ")
}

/// What an earlier federation has left that the next one would go on with. None when there is no folder.
///
/// # Errors
/// The folder can't be read.
pub fn state(dev: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(dev) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| fault("cannot read", dev, &e))?,
    };
    let is_state = |name: &OsStr| !name.to_str().is_some_and(|name| KEPT.contains(&name) || name == "lock");
    Ok(entries.flatten().filter(|entry| is_state(&entry.file_name())).map(|entry| entry.path()).collect())
}

fn clear(dev: &Path) -> Result<(), Failure> {
    state(dev)?.iter().try_for_each(|path| remove(path))?;
    remove(&dev.join("lock"))
}

fn remove(path: &Path) -> Result<(), Failure> {
    let result =
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(fault("cannot remove", path, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_keeps_the_guest_image_and_the_logs() {
        let dev = std::env::temp_dir().join(format!("dwcp-xtask-clear-{}", std::process::id()));
        for folder in ["cache", "log", "data/us-east-1", "pki"] {
            fs::create_dir_all(dev.join(folder)).unwrap();
        }
        fs::write(dev.join("wan.toml"), "").unwrap();
        fs::write(dev.join("lock"), "").unwrap();
        assert_eq!(state(&dev).unwrap().len(), 3);
        clear(&dev).unwrap();
        assert!(state(&dev).unwrap().is_empty());
        let mut left: Vec<_> = fs::read_dir(&dev).unwrap().flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["cache", "log"]);
        fs::remove_dir_all(dev).unwrap();
    }
}

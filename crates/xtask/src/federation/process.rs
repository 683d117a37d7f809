//! Processes of the federation: starting them, knowing them again, stopping them for certain.
//!
//! A process number alone proves nothing, since numbers are used again. Every record therefore
//! carries the start time from `/proc/PID/stat`, and every signal is sent only while it matches.

use super::{DIR_VARIABLE, Planned, REGION_VARIABLE};
use crate::run::{Failure, command, fault};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The variable that says which entry of the plan a process is, or was started by.
const NAME_VARIABLE: &str = "DWCP_DEV_NAME";

/// One process: its number and when it started, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// The kernel's number for it.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// A live process whose environment says that it belongs to a development federation.
#[derive(Debug, Clone)]
pub struct Owned {
    /// Which process.
    pub id: ProcessId,
    /// The program's name as the kernel knows it (15 characters at most).
    pub program: String,
    /// The region from its environment; empty when not set.
    pub region: String,
    /// What started it, as its log is called: a VM bears the name of its host's agent.
    pub name: String,
}

impl Owned {
    /// Whether it is a virtual machine.
    pub fn is_vm(&self) -> bool {
        self.program.starts_with("qemu-system")
    }
}

/// The start time out of a `/proc/PID/stat` line; `None` for a process that has ended already and
/// only waits for its parent.
fn start_ticks(stat: &str) -> Option<u64> {
    // The program name, in parentheses, may itself contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The process with this number now, if it lives.
pub fn live(pid: i32) -> Option<ProcessId> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ProcessId { pid, start_ticks: start_ticks(&stat)? })
}

impl ProcessId {
    /// Whether this very process still lives.
    pub fn lives(self) -> bool {
        live(self.pid) == Some(self)
    }

    /// Whether it is stopped (SIGSTOP), as a VM whose host's lease ran out.
    fn is_stopped(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
    }

    /// Whether its program has been built anew since it started.
    pub fn outdated(self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid))
            .is_ok_and(|exe| exe.to_string_lossy().ends_with(" (deleted)"))
    }

    /// Sends a signal, only if it is still the same process.
    pub fn signal(self, signal: i32) {
        if self.lives() {
            // SAFETY: kill touches no memory of ours; a process that has just ended makes it a no-op.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

/// The recorded and still living process of that name.
pub fn recorded(dev: &Path, name: &str) -> Option<ProcessId> {
    let text = fs::read_to_string(dev.join("run").join(format!("{name}.pid"))).ok()?;
    let mut words = text.split_whitespace();
    let id = ProcessId { pid: words.next()?.parse().ok()?, start_ticks: words.next()?.parse().ok()? };
    id.lives().then_some(id)
}

/// Starts one process in a session of its own, with its output in `log/NAME.log`, and records it.
///
/// # Errors
/// When a file cannot be written or the program cannot start.
pub fn start(dev: &Path, binary: &Path, entry: &Planned) -> Result<ProcessId, Failure> {
    for folder in ["log", "run"] {
        let path = dev.join(folder);
        fs::create_dir_all(&path).map_err(|e| fault("cannot create", &path, &e))?;
    }
    let log = dev.join("log").join(format!("{}.log", entry.name));
    let out = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|e| fault("cannot open", &log, &e))?;
    let error = out.try_clone().map_err(|e| fault("cannot open", &log, &e))?;
    let mut child = command(binary);
    child
        .args(&entry.arguments)
        .current_dir(dev)
        .env(DIR_VARIABLE, dev)
        .env(REGION_VARIABLE, &entry.region)
        .env(NAME_VARIABLE, &entry.name)
        .stdout(out)
        .stderr(error);
    // SAFETY: setsid is async-signal-safe and allocates nothing.
    unsafe {
        child.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    let child = child.spawn().map_err(|e| fault("cannot start", binary, &e))?;
    let pid = i32::try_from(child.id()).map_err(|_| Failure::new("process number out of range"))?;
    let id = live(pid)
        .ok_or_else(|| Failure::new(format!("{} ended at once; see {}", entry.name, log.display())))?;
    let record = dev.join("run").join(format!("{}.pid", entry.name));
    fs::write(&record, format!("{} {}\n", id.pid, id.start_ticks))
        .map_err(|e| fault("cannot write", &record, &e))?;
    Ok(id)
}

/// Every living process that belongs to the federation in `dev`: this command and those that
/// started it excepted.
pub fn owned(dev: &Path) -> Vec<Owned> {
    let ours = ancestors();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let wanted = format!("{DIR_VARIABLE}={}", dev.display());
    let mut found: Vec<Owned> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !ours.contains(pid))
        .filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let variables: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
            if !variables.contains(&wanted.as_bytes()) {
                return None;
            }
            let value = |variable: &str| {
                let value = variables.iter().find_map(|v| v.strip_prefix(format!("{variable}=").as_bytes()));
                String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
            };
            let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some(Owned {
                id: live(pid)?,
                program: program.trim().to_owned(),
                region: value(REGION_VARIABLE),
                name: value(NAME_VARIABLE),
            })
        })
        .collect();
    found.sort_by_key(|one| one.id.pid);
    found
}

fn ancestors() -> Vec<i32> {
    let mut pids = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    while pid > 1 {
        pids.push(pid);
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { break };
        let parent =
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
    }
    pids
}

/// Stops every process that `select` picks, those that appear meanwhile too: TERM first, KILL for
/// what is left after `patience`. Returns how many there were, and the ones that live on after all.
pub fn stop(dev: &Path, patience: Duration, select: impl Fn(&Owned) -> bool) -> (usize, Vec<Owned>) {
    let since = Instant::now();
    let picked = || -> Vec<Owned> { owned(dev).into_iter().filter(|one| select(one)).collect() };
    let mut seen: Vec<i32> = Vec::new();
    loop {
        let left = picked();
        let waited = since.elapsed();
        if left.is_empty() || waited > patience + Duration::from_secs(10) {
            return (seen.len(), left);
        }
        for one in &left {
            if !seen.contains(&one.id.pid) {
                seen.push(one.id.pid);
                // A stopped process (a VM whose lease ran out) would take a TERM only once it goes on,
                // and it must not go on: it may run elsewhere by now.
                let at_once = patience.is_zero() || one.id.is_stopped();
                one.id.signal(if at_once { libc::SIGKILL } else { libc::SIGTERM });
            } else if waited >= patience {
                one.id.signal(libc::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("dwcp-xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn shell(name: &str, region: &str, script: &str) -> Planned {
        Planned {
            name: name.to_owned(),
            region: region.to_owned(),
            program: "dwcpd".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        }
    }

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let tail = (4..=21).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_ticks(&format!("7 (a) b) S {tail} 4242 23")), Some(4242));
        assert_eq!(start_ticks(&format!("7 (gone) Z {tail} 4242 23")), None);
        assert_eq!(start_ticks("nonsense"), None);
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let us = live(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(us.lives());
        assert!(!ProcessId { start_ticks: us.start_ticks + 1, ..us }.lives());
    }

    #[test]
    fn stopping_reaches_children_that_outlive_their_parent() {
        let dev = scratch("orphans");
        let parent = start(&dev, Path::new("/bin/sh"), &shell("p", "r1", "sleep 100 & sleep 100")).unwrap();
        assert_eq!(recorded(&dev, "p"), Some(parent));
        assert!(crate::run::wait_until(Duration::from_secs(5), Duration::from_millis(5), || owned(&dev)
            .len()
            == 3));
        parent.signal(libc::SIGKILL);
        let (stopped, left) = stop(&dev, Duration::from_secs(2), |_| true);
        assert!(stopped >= 2, "{stopped}");
        assert!(left.is_empty());
        assert_eq!(recorded(&dev, "p"), None);
        fs::remove_dir_all(dev).unwrap();
    }

    #[test]
    fn a_paused_process_is_ended_without_going_on() {
        let dev = scratch("paused");
        let went_on = dev.join("went-on");
        let script = format!("trap 'echo x > {}' CONT TERM; while :; do sleep 0.01; done", went_on.display());
        let paused = start(&dev, Path::new("/bin/bash"), &shell("p", "r1", &script)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        paused.signal(libc::SIGSTOP);
        assert!(
            crate::run::wait_until(Duration::from_secs(2), Duration::from_millis(5), || paused.is_stopped())
        );
        let (_, left) = stop(&dev, Duration::from_secs(2), |_| true);
        assert!(left.is_empty());
        assert!(!went_on.exists());
        fs::remove_dir_all(dev).unwrap();
    }

    #[test]
    fn stopping_one_region_leaves_the_others_and_insists() {
        let dev = scratch("regions");
        let stays = start(&dev, Path::new("/bin/sh"), &shell("a", "r1", "sleep 100; true")).unwrap();
        start(&dev, Path::new("/bin/sh"), &shell("b", "r2", "trap '' TERM; while :; do sleep 1; done"))
            .unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let (_, left) = stop(&dev, Duration::from_millis(300), |one| one.region == "r2");
        assert!(left.is_empty());
        assert!(stays.lives());
        let (_, left) = stop(&dev, Duration::ZERO, |_| true);
        assert!(left.is_empty());
        fs::remove_dir_all(dev).unwrap();
    }
}

//! The QEMU processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use serde_json::json;

use super::fence::{Done, Fence};
use crate::journal;
use crate::qemu::ERRORS_FILE;
use crate::watch_protocol::Tell;

/// An emulator is so much nicer than the worker: many guests that boot at once must not keep it from renewing the lease.
const GUEST_NICER: libc::c_int = 5;

struct Process {
    generation: u64,
    child: Child,
    /// What the worker knows of.
    told: Done,
    note: String,
    dir: String,
}

pub(super) struct Children {
    fence: Arc<Fence>,
    processes: BTreeMap<u64, Process>,
    /// The niceness that this process was started with.
    nice: libc::c_int,
}

impl Children {
    pub(super) fn new(fence: Arc<Fence>, nice: libc::c_int) -> Children {
        Children { fence, processes: BTreeMap::new(), nice }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    pub(super) fn running_pids(&self) -> Vec<u32> {
        self.processes.values().map(|process| process.child.id()).collect()
    }

    pub(super) fn list(&self) -> Vec<Tell> {
        let tell = |(vm, process): (&u64, &Process)| Tell::Running {
            vm: *vm,
            generation: process.generation,
            pid: process.child.id(),
            held: self.fence.done(*vm).held,
            note: process.note.clone(),
        };
        self.processes.iter().map(tell).collect()
    }

    pub(super) fn spawn(
        &mut self,
        vm: u64,
        generation: u64,
        line: &[String],
        dir: &str,
        note: String,
    ) -> Result<u32, String> {
        if let Some(there) = self.processes.get(&vm) {
            return Err(format!(
                "generation {} of this VM still runs as process {}",
                there.generation,
                there.child.id()
            ));
        }
        if !self.fence.has_room() {
            return Err(format!("{} processes are all that can be watched", self.processes.len()));
        }
        let (program, arguments) = line.split_first().ok_or("an empty command line")?;
        // It appends, so that the file can be emptied while it runs.
        let errors = File::options().create(true).append(true).open(Path::new(dir).join(ERRORS_FILE));
        let errors = errors.map_err(|e| format!("{dir}/{ERRORS_FILE}: {e}"))?;
        // What its last process complained of matters no more.
        let _ = errors.set_len(0);
        let mut command = Command::new(program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        die_with_parent(&mut command, self.nice + GUEST_NICER);
        // What comes before may have waited for the disk.
        if !self.fence.leased() {
            return Err("the host has no lease".to_string());
        }
        let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let pid = child.id();
        self.fence.guard(vm, pid);
        journal::info("vm-process-started", json!({"vm": vm, "generation": generation, "qemu": pid}));
        let process = Process { generation, child, told: Done::default(), note, dir: dir.to_string() };
        self.processes.insert(vm, process);
        Ok(pid)
    }

    /// Takes away what has ended.
    pub(super) fn reap(&mut self) -> Vec<Tell> {
        let mut ended = Vec::new();
        for (vm, process) in &mut self.processes {
            if let Some((status, done)) = self.fence.reap(*vm, &mut process.child) {
                let reason = reason(status, done, &process.dir);
                journal::info(
                    "vm-process-ended",
                    json!({"vm": vm, "qemu": process.child.id(), "reason": reason}),
                );
                ended.push(Tell::Exited { vm: *vm, generation: process.generation, reason });
            }
        }
        for tell in &ended {
            if let Tell::Exited { vm, .. } = tell {
                self.processes.remove(vm);
            }
        }
        ended
    }

    pub(super) fn kill(&mut self, vm: u64, generation: u64) {
        if let Some(process) = self.processes.get_mut(&vm).filter(|process| process.generation == generation)
        {
            process.told.killed = true;
            self.fence.kill(vm);
        }
    }

    /// Lets a VM go on that is held; false without a lease.
    pub(super) fn resume(&mut self, vm: u64, generation: u64) -> bool {
        let Some(process) = self.processes.get_mut(&vm).filter(|process| process.generation == generation)
        else {
            return self.fence.leased();
        };
        // Held again right after, it is to be told again.
        process.told.held = false;
        self.fence.resume(vm)
    }

    /// What the fence did that the worker does not know of: VMs held still.
    pub(super) fn newly_held(&mut self) -> Vec<Tell> {
        let mut held = Vec::new();
        for (vm, process) in &mut self.processes {
            let done = self.fence.done(*vm);
            if done.held && !process.told.held {
                journal::warn("lease-ran-out", json!({"vm": vm, "action": "held still"}));
                held.push(Tell::Held { vm: *vm });
            }
            if done.killed && !process.told.killed {
                journal::warn("lease-ran-out", json!({"vm": vm, "action": "killed"}));
            }
            process.told = done;
        }
        held
    }

    /// Kills every process.
    pub(super) fn kill_all(&mut self) {
        for (vm, process) in &mut self.processes {
            process.told.killed = true;
            self.fence.kill(*vm);
        }
    }
}

fn reason(status: ExitStatus, done: Done, dir: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("QEMU ended with status {code}"),
        (_, Some(9)) if done.killed => "QEMU was killed by the agent".to_string(),
        (_, Some(signal)) => format!("QEMU was ended by signal {signal}"),
        _ => "QEMU ended".to_string(),
    };
    let errors = std::fs::read(Path::new(dir).join(ERRORS_FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&errors);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {}", line.chars().take(300).collect::<String>()),
        None => how,
    }
}

/// The niceness of this process.
pub(crate) fn own_nice() -> libc::c_int {
    // SAFETY: plain numbers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Makes the kernel kill the child when this process dies, and gives it its own priority.
pub(crate) fn die_with_parent(command: &mut Command, nice: libc::c_int) {
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: between fork and exec only calls that may be made there: prctl, getppid, setpriority, open, write, close, _exit.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() != parent {
                libc::_exit(1);
            }
            libc::setpriority(libc::PRIO_PROCESS, 0, nice);
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if score >= 0 {
                libc::write(score, c"0".as_ptr().cast(), 1);
                libc::close(score);
            }
            Ok(())
        });
    }
}

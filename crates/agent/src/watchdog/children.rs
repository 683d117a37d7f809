//! The QEMU processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::json;

use crate::journal;
use crate::watch_protocol::Tell;

/// Where QEMU's own complaints go, in the VM's directory.
const ERRORS_FILE: &str = "qemu.err";

struct Process {
    generation: u64,
    child: Child,
    held: bool,
    killed: bool,
    note: String,
    dir: String,
}

#[derive(Default)]
pub(super) struct Children(BTreeMap<u64, Process>);

impl Children {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn running_pids(&self) -> Vec<u32> {
        self.0.values().map(|process| process.child.id()).collect()
    }

    pub(super) fn list(&self) -> Vec<Tell> {
        let tell = |(vm, process): (&u64, &Process)| Tell::Running {
            vm: *vm,
            generation: process.generation,
            pid: process.child.id(),
            held: process.held,
            note: process.note.clone(),
        };
        self.0.iter().map(tell).collect()
    }

    pub(super) fn spawn(
        &mut self,
        vm: u64,
        generation: u64,
        line: &[String],
        dir: &str,
        note: String,
    ) -> Result<u32, String> {
        if let Some(there) = self.0.get(&vm) {
            return Err(format!(
                "generation {} of this VM still runs as process {}",
                there.generation,
                there.child.id()
            ));
        }
        let (program, arguments) = line.split_first().ok_or("an empty command line")?;
        let errors = File::create(Path::new(dir).join(ERRORS_FILE))
            .map_err(|e| format!("{dir}/{ERRORS_FILE}: {e}"))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        die_with_parent(&mut command, 5);
        let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let pid = child.id();
        journal::info("vm-process-started", json!({"vm": vm, "generation": generation, "qemu": pid}));
        let process = Process { generation, child, held: false, killed: false, note, dir: dir.to_string() };
        self.0.insert(vm, process);
        Ok(pid)
    }

    /// Takes away what has ended.
    pub(super) fn reap(&mut self) -> Vec<Tell> {
        let mut ended = Vec::new();
        for (vm, process) in &mut self.0 {
            if let Ok(Some(status)) = process.child.try_wait() {
                let reason = reason(status, process);
                journal::info(
                    "vm-process-ended",
                    json!({"vm": vm, "qemu": process.child.id(), "reason": reason}),
                );
                ended.push(Tell::Exited { vm: *vm, generation: process.generation, reason });
            }
        }
        for tell in &ended {
            if let Tell::Exited { vm, .. } = tell {
                self.0.remove(vm);
            }
        }
        ended
    }

    pub(super) fn kill(&mut self, vm: u64, generation: u64) {
        if let Some(process) = self.0.get_mut(&vm).filter(|process| process.generation == generation) {
            process.killed = true;
            signal(process, libc::SIGKILL);
        }
    }

    pub(super) fn resume(&mut self, vm: u64, generation: u64) {
        if let Some(process) =
            self.0.get_mut(&vm).filter(|process| process.generation == generation && process.held)
        {
            process.held = false;
            signal(process, libc::SIGCONT);
        }
    }

    /// Holds every process still that is not yet; returns those VMs.
    pub(super) fn hold_all(&mut self) -> Vec<u64> {
        let mut held = Vec::new();
        for (vm, process) in self.0.iter_mut().filter(|(_, process)| !process.held) {
            signal(process, libc::SIGSTOP);
            process.held = true;
            held.push(*vm);
        }
        held
    }

    /// Kills every process not yet killed; returns those VMs.
    pub(super) fn kill_all(&mut self) -> Vec<u64> {
        let mut killed = Vec::new();
        for (vm, process) in self.0.iter_mut().filter(|(_, process)| !process.killed) {
            signal(process, libc::SIGKILL);
            process.killed = true;
            killed.push(*vm);
        }
        killed
    }
}

fn signal(process: &Process, signal: libc::c_int) {
    // SAFETY: plain numbers. The process is our child and was not waited for, so its number can't be another's.
    unsafe { libc::kill(process.child.id() as libc::pid_t, signal) };
}

fn reason(status: ExitStatus, process: &Process) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("QEMU ended with status {code}"),
        (_, Some(9)) if process.killed => "QEMU was killed by the agent".to_string(),
        (_, Some(signal)) => format!("QEMU was ended by signal {signal}"),
        _ => "QEMU ended".to_string(),
    };
    let errors = std::fs::read(Path::new(&process.dir).join(ERRORS_FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&errors);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {}", line.chars().take(300).collect::<String>()),
        None => how,
    }
}

/// Makes the kernel kill the child when this process dies, and gives it its own priority.
pub(super) fn die_with_parent(command: &mut Command, nice: libc::c_int) {
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

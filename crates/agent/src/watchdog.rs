//! The parent of everything: one thread, no runtime, nothing that can wait.
//!
//! It starts the worker and starts it again when it dies. It is the parent of every QEMU, and the kernel kills those when
//! it dies itself. It reads the lease every 50 ms; at the end of the lease it holds every VM still, 3 s later it kills
//! them. It never lets a VM go on by itself: only the worker knows whether the VM is still wanted here.

mod children;
pub mod worker_process;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clock::monotonic_us;
use crate::journal;
use crate::lease_file::LeaseFile;
use crate::qmp;
use crate::watch_protocol::{Ask, Tell};
use children::Children;
use worker_process::WorkerProcess;

/// Between two looks at the lease, ms.
const LOOK_MS: i32 = 50;
/// From the end of the lease to the kill, µs.
const KILL_AFTER_US: u64 = 3_000_000;
/// How long VMs may take to power down on an ordered stop, s.
const POWER_DOWN_S: u64 = 10;

/// What the watchdog must know.
#[derive(Clone, Debug)]
pub struct WatchdogConfig {
    /// The agent's data directory.
    pub data_dir: PathBuf,
    /// Program and arguments of the worker.
    pub worker: Vec<String>,
    /// Whether SIGTERM powers VMs down before it ends them.
    pub stop_vms: bool,
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

extern "C" fn on_child(_signal: libc::c_int) {}

/// The name of the lease's file in the data directory.
pub const LEASE_FILE: &str = "lease";
/// The name of the lock's file in the data directory: one agent a data directory.
const LOCK_FILE: &str = "lock";

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The data directory can't be used, or another agent uses it.
pub fn run(config: WatchdogConfig) -> Result<(), String> {
    std::fs::create_dir_all(&config.data_dir).map_err(|e| format!("{}: {e}", config.data_dir.display()))?;
    let _lock = lock(&config)?;
    let path = config.data_dir.join(LEASE_FILE);
    let lease = LeaseFile::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // No VM is there yet, and what an earlier watchdog was granted ended with its VMs.
    lease.write(0).map_err(|e| format!("{}: {e}", path.display()))?;
    prepare_process();
    let mut watchdog =
        Watchdog { lease, until_us: 0, children: Children::default(), worker: WorkerProcess::new(&config) };
    while !STOP.load(Ordering::Relaxed) {
        watchdog.turn();
    }
    watchdog.stop(config.stop_vms);
    Ok(())
}

fn lock(config: &WatchdogConfig) -> Result<File, String> {
    let path = config.data_dir.join(LOCK_FILE);
    let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // SAFETY: the descriptor is open for as long as `file` lives.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        return Err(format!("{} is in use by another agent", config.data_dir.display()));
    }
    Ok(file)
}

/// Signals, priority and memory, so that the watchdog is on time when the host is not well. What the system refuses is
/// only said: an agent without rights still works, with less certainty under load.
fn prepare_process() {
    // SAFETY: the handlers only store to an atomic; the other calls take plain numbers.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        for (signal, handler) in [
            (libc::SIGTERM, on_stop as extern "C" fn(libc::c_int)),
            (libc::SIGINT, on_stop as extern "C" fn(libc::c_int)),
            (libc::SIGCHLD, on_child as extern "C" fn(libc::c_int)),
        ] {
            // Without SA_RESTART, so that poll returns at once.
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let nice = libc::setpriority(libc::PRIO_PROCESS, 0, -10) == 0;
        let locked = libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) == 0;
        if !nice || !locked {
            journal::warn("watchdog-unprivileged", json!({"priority_raised": nice, "memory_locked": locked}));
        }
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
}

struct Watchdog {
    lease: LeaseFile,
    until_us: u64,
    children: Children,
    worker: WorkerProcess,
}

impl Watchdog {
    fn turn(&mut self) {
        self.worker.wait(LOOK_MS);
        self.enforce();
        for exited in self.children.reap() {
            self.worker.tell(&exited);
        }
        for ask in self.worker.read() {
            self.carry_out(ask);
        }
        self.worker.keep_alive();
    }

    fn leased(&mut self) -> bool {
        // What can't be read leaves the last value, which only ends earlier.
        self.until_us = self.lease.read().unwrap_or(self.until_us);
        monotonic_us() < self.until_us
    }

    fn enforce(&mut self) {
        if self.leased() {
            return;
        }
        for vm in self.children.hold_all() {
            journal::warn("lease-ran-out", json!({"vm": vm, "action": "held still"}));
            self.worker.tell(&Tell::Held { vm });
        }
        if monotonic_us() >= self.until_us.saturating_add(KILL_AFTER_US) {
            for vm in self.children.kill_all() {
                journal::warn("lease-ran-out", json!({"vm": vm, "action": "killed"}));
            }
        }
    }

    fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::List => {
                for running in self.children.list() {
                    self.worker.tell(&running);
                }
                self.worker.tell(&Tell::Listed);
            }
            Ask::Spawn { vm, generation, line, dir, note } => {
                let spawned = if self.leased() {
                    self.children.spawn(vm, generation, &line, &dir, note)
                } else {
                    Err("the host has no lease".to_string())
                };
                let (pid, error) = match spawned {
                    Ok(pid) => (Some(pid), String::new()),
                    Err(error) => (None, error),
                };
                self.worker.tell(&Tell::Spawned { vm, generation, pid, error });
            }
            Ask::Kill { vm, generation } => self.children.kill(vm, generation),
            Ask::Resume { vm, generation } => {
                if self.leased() {
                    self.children.resume(vm, generation);
                } else {
                    self.worker.tell(&Tell::Held { vm });
                }
            }
            Ask::HoldAll => {
                for vm in self.children.hold_all() {
                    self.worker.tell(&Tell::Held { vm });
                }
            }
        }
    }

    /// The worker first, so that it does not bring back what is stopped here.
    fn stop(&mut self, stop_vms: bool) {
        self.worker.stop();
        if stop_vms {
            let limit = Duration::from_millis(500);
            for pid in self.children.running_pids() {
                if let Err(error) = qmp::execute(&qmp::socket_of(pid), "system_powerdown", json!(null), limit)
                {
                    journal::warn("power-down-failed", json!({"qemu": pid, "error": error}));
                }
            }
            let deadline = Instant::now() + Duration::from_secs(POWER_DOWN_S);
            while !self.children.is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
                self.children.reap();
                self.enforce();
            }
        }
        self.children.kill_all();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.children.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            self.children.reap();
        }
        journal::info("stopped", json!({"vms_left": self.children.running_pids()}));
    }
}

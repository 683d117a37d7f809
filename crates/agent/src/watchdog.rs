//! The parent of everything: no runtime, and fencing apart from all that can wait.
//!
//! It starts the worker and starts it again when it dies. It is the parent of every QEMU, and the kernel kills those when
//! it dies itself. The [`fence`] is a thread of its own that holds every VM still at the end of the lease and kills them
//! 3 s later, whatever the main thread waits for. A VM never goes on by itself: only the worker knows whether it is still
//! wanted here.

mod children;
mod fence;
mod threads;
pub mod worker_process;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lease_file::{LeaseFile, LeaseView};
use crate::watch_protocol::{Ask, Tell};
use crate::{journal, qmp, quiet_thread};
use children::Children;
pub(crate) use children::{die_with_parent, own_nice};
use fence::{Fence, Urgency};
use worker_process::WorkerProcess;

/// Longest time between two looks at children and at what the fence did, ms.
const LOOK_MS: i32 = 50;
/// How long VMs may take to power down on an ordered stop.
const POWER_DOWN: Duration = Duration::from_secs(10);
/// How long killed processes may take to end.
const DIE: Duration = Duration::from_secs(5);
/// How long a monitor may take to answer.
const MONITOR_LIMIT: Duration = Duration::from_secs(2);

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
    let fence = Arc::new(Fence::new(LeaseView::map(&lease).map_err(|e| format!("{}: {e}", path.display()))?));
    let urgency = fence.start().map_err(|e| format!("the fence's thread: {e}"))?;
    // Its children are to keep it, while this process raises itself.
    let nice = own_nice();
    prepare_process(urgency);
    let mut watchdog = Watchdog {
        fence: fence.clone(),
        children: Children::new(fence, nice),
        worker: WorkerProcess::new(&config, nice),
        stopping: false,
    };
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
fn prepare_process(urgency: Urgency) {
    // Half a watchdog is worse than none: without it the kernel kills every VM. No word on a log that may not be read.
    std::panic::set_hook(Box::new(|panic| {
        journal::error("watchdog-failed", json!({"panic": panic.to_string()}));
        journal::flush(Duration::from_millis(100));
        std::process::abort();
    }));
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
        if !nice || !locked || urgency != Urgency::RealTime {
            let fence = format!("{urgency:?}");
            journal::warn(
                "watchdog-unprivileged",
                json!({"priority_raised": nice, "memory_locked": locked, "fence": fence}),
            );
        }
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
}

struct Watchdog {
    fence: Arc<Fence>,
    children: Children,
    worker: WorkerProcess,
    /// Nothing is started any more.
    stopping: bool,
}

impl Watchdog {
    fn turn(&mut self) {
        self.worker.wait(LOOK_MS);
        for held in self.children.newly_held() {
            self.worker.tell(&held);
        }
        for exited in self.children.reap() {
            self.worker.tell(&exited);
        }
        for ask in self.worker.read() {
            self.carry_out(ask);
        }
        if !self.stopping {
            self.worker.keep_alive();
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
                let spawned = if self.stopping {
                    Err("the agent is stopping".to_string())
                } else {
                    self.children.spawn(vm, generation, &line, &dir, note)
                };
                let (pid, error) = match spawned {
                    Ok(pid) => (Some(pid), String::new()),
                    Err(error) => (None, error),
                };
                self.worker.tell(&Tell::Spawned { vm, generation, pid, error });
            }
            Ask::Kill { vm, generation } => self.children.kill(vm, generation),
            Ask::Resume { vm, generation } => {
                if !self.children.resume(vm, generation) {
                    self.worker.tell(&Tell::Held { vm });
                }
            }
            Ask::HoldAll => {
                self.fence.hold_all();
                for held in self.children.newly_held() {
                    self.worker.tell(&held);
                }
            }
        }
    }

    /// The worker last: it keeps the lease while VMs power down.
    fn stop(&mut self, stop_vms: bool) {
        self.stopping = true;
        if stop_vms {
            self.children.running_pids().into_iter().for_each(power_down);
            self.turn_until_empty(POWER_DOWN);
        }
        self.children.kill_all();
        self.turn_until_empty(DIE);
        self.worker.stop();
        journal::info("stopped", json!({"vms_left": self.children.running_pids()}));
    }

    fn turn_until_empty(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.children.is_empty() && Instant::now() < deadline {
            self.turn();
        }
    }
}

/// Presses a VM's power button, aside: its monitor may not answer.
fn power_down(pid: u32) {
    let press = move || {
        let socket = qmp::socket_of(pid);
        if let Err(error) = qmp::execute(&socket, "system_powerdown", json!(null), MONITOR_LIMIT) {
            journal::warn("power-down-failed", json!({"qemu": pid, "error": error, "next": "it is killed"}));
        }
    };
    if let Err(error) = quiet_thread::start("power-down", press) {
        journal::warn("power-down-failed", json!({"qemu": pid, "error": error.to_string()}));
    }
}

//! The fence: a thread that only looks at the lease and stops or kills processes.
//!
//! Everything else in the watchdog may wait for a disk, a log or a program; this must not. So the lease is memory shared
//! with the worker, the loop allocates nothing, logs nothing, and takes one lock, under which nobody does more than change
//! a table that never grows, send signals, or ask whether a child has ended. The main thread finds out from the table
//! what was done.
//!
//! A process number can't be another's: only children that were not waited for are in the table, and who takes a child's
//! end takes it out of the table under the same lock.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::threads;
use crate::clock::monotonic_us;
use crate::lease_file::LeaseView;
use crate::quiet_thread;

/// Longest time between two looks at the lease.
const LOOK: Duration = Duration::from_millis(50);
/// From the end of the lease to the kill, µs.
const KILL_AFTER_US: u64 = 3_000_000;
/// Most processes: more than a host may have addresses for.
const GUARDED_MAX: usize = 1_024;

/// What was done to a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// It is held still.
    pub held: bool,
    /// It was killed.
    pub killed: bool,
}

#[derive(Clone, Copy)]
struct Guarded {
    vm: u64,
    pid: libc::pid_t,
    done: Done,
}

impl Guarded {
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: plain numbers. The process is our child and was not waited for, so its number can't be another's.
        unsafe { libc::kill(self.pid, signal) };
    }

    fn stop(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// The kernel gives a signal to one thread, the first if it may. When that one hangs in the kernel, as on a disk that
    /// does not answer, it stops nobody; any other thread that takes the signal stops all that can be stopped. To list them
    /// the kernel needs memory, which it may wait for, so every process is told first.
    fn stop_threads(&mut self) {
        if !self.done.held {
            threads::signal_each(self.pid, libc::SIGSTOP);
        }
        self.done.held = true;
    }

    fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.done.killed = true;
    }
}

/// How urgent the system lets the fence be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Before every ordinary thread.
    RealTime,
    /// Before most ordinary threads.
    Raised,
    /// As others.
    Ordinary,
}

pub(super) struct Fence {
    lease: LeaseView,
    until_us: AtomicU64,
    guarded: Mutex<Vec<Guarded>>,
}

impl Fence {
    pub(super) fn new(lease: LeaseView) -> Fence {
        Fence { lease, until_us: AtomicU64::new(0), guarded: Mutex::new(Vec::with_capacity(GUARDED_MAX)) }
    }

    /// Starts the thread; it lives as long as the process.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(self: &Arc<Fence>) -> io::Result<Urgency> {
        let fence = self.clone();
        let (say, said) = std::sync::mpsc::sync_channel(1);
        quiet_thread::start("fence", move || {
            // The other end waits for exactly this.
            let _ = say.send(raise());
            loop {
                std::thread::sleep(fence.look());
            }
        })?;
        said.recv().map_err(io::Error::other)
    }

    /// Acts on the lease as it is now; returns when to look again at the latest.
    pub(super) fn look(&self) -> Duration {
        let mut guarded = self.lock();
        let (now_us, until_us) = (monotonic_us(), self.until_us());
        if now_us < until_us {
            return Duration::from_micros(until_us - now_us).min(LOOK);
        }
        let kill = now_us >= until_us.saturating_add(KILL_AFTER_US);
        // At every look: somebody else may have let one go on.
        guarded.iter().for_each(Guarded::stop);
        if kill {
            guarded.iter_mut().for_each(Guarded::kill);
        }
        guarded.iter_mut().for_each(Guarded::stop_threads);
        LOOK
    }

    fn until_us(&self) -> u64 {
        // What can't be read leaves the last value, which only ends earlier.
        if let Some(until_us) = self.lease.read() {
            self.until_us.store(until_us, Ordering::Relaxed);
        }
        self.until_us.load(Ordering::Relaxed)
    }

    pub(super) fn leased(&self) -> bool {
        monotonic_us() < self.until_us()
    }

    pub(super) fn has_room(&self) -> bool {
        self.lock().len() < GUARDED_MAX
    }

    /// Takes a child that has just been started into the table; the caller has made sure that there is room.
    pub(super) fn guard(&self, vm: u64, pid: u32) {
        let guarded = Guarded { vm, pid: pid as libc::pid_t, done: Done::default() };
        self.lock().push(guarded);
        // The lease may have ended while the program was being loaded.
        self.look();
    }

    /// The child's end, if it has ended, and what had been done to it.
    pub(super) fn reap(&self, vm: u64, child: &mut Child) -> Option<(ExitStatus, Done)> {
        let mut guarded = self.lock();
        let status = child.try_wait().ok()??;
        let at = guarded.iter().position(|process| process.vm == vm)?;
        Some((status, guarded.swap_remove(at).done))
    }

    pub(super) fn done(&self, vm: u64) -> Done {
        self.lock().iter().find(|process| process.vm == vm).map(|process| process.done).unwrap_or_default()
    }

    /// Lets a VM go on that is held, under the lease only; false when there is none.
    pub(super) fn resume(&self, vm: u64) -> bool {
        let mut guarded = self.lock();
        let leased = self.leased();
        if let Some(process) =
            guarded.iter_mut().find(|process| process.vm == vm && process.done.held && leased)
        {
            process.done.held = false;
            process.signal(libc::SIGCONT);
        }
        leased
    }

    pub(super) fn hold_all(&self) {
        let mut guarded = self.lock();
        guarded.iter().for_each(Guarded::stop);
        guarded.iter_mut().for_each(Guarded::stop_threads);
    }

    pub(super) fn kill(&self, vm: u64) {
        self.lock().iter_mut().filter(|process| process.vm == vm).for_each(Guarded::kill);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Guarded>> {
        self.guarded.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Puts the calling thread before others, as far as the system allows.
fn raise() -> Urgency {
    let least = libc::sched_param { sched_priority: 1 };
    // SAFETY: plain numbers and a structure that lives through the call; 0 is the calling thread.
    unsafe {
        if libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &least) == 0 {
            Urgency::RealTime
        } else if libc::setpriority(libc::PRIO_PROCESS, 0, -20) == 0 {
            Urgency::Raised
        } else {
            Urgency::Ordinary
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::lease_file::LeaseFile;
    use crate::process_id::Stat;

    struct World {
        fence: Fence,
        lease: LeaseFile,
        child: Child,
    }

    fn state(pid: u32) -> Option<char> {
        Stat::of(pid).map(|stat| stat.state)
    }

    impl World {
        fn new(name: &str) -> World {
            let path = std::env::temp_dir().join(format!("dwcp-fence-{name}-{}", std::process::id()));
            let lease = LeaseFile::open(&path).expect("temp file");
            lease.write(0).expect("write");
            let fence = Fence::new(LeaseView::map(&lease).expect("a mapping"));
            std::fs::remove_file(path).expect("remove");
            World { fence, lease, child: Command::new("sleep").arg("60").spawn().expect("sleep") }
        }

        fn becomes(&self, wanted: char) -> bool {
            (0..1_000).any(|_| {
                std::thread::sleep(Duration::from_millis(2));
                state(self.child.id()) == Some(wanted)
            })
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn a_process_guarded_after_the_end_of_the_lease_is_stopped_at_once() {
        let mut world = World::new("late");
        world.fence.guard(1, world.child.id());
        assert_eq!(world.fence.done(1), Done { held: true, killed: true }, "the lease ended long ago");
        let ended = (0..1_000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(2));
            world.fence.reap(1, &mut world.child)
        });
        assert!(ended.is_some_and(|(status, done)| !status.success() && done.killed));
        assert_eq!(world.fence.done(1), Done::default(), "its number is no longer known");
    }

    /// A process whose first thread hangs in the kernel, as on a disk that does not answer, while a second one counts.
    fn hanging(counter: &'static AtomicU64) -> u32 {
        // SAFETY: the child of a process with threads may start threads of its own, as the C library puts its locks in
        // order. A parent that waits for a child of vfork hangs as one that waits for a disk; that child only waits.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                std::thread::spawn(|| {
                    loop {
                        counter.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
                std::thread::sleep(Duration::from_millis(50));
                #[allow(deprecated)]
                if libc::vfork() == 0 {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                }
                loop {
                    libc::pause();
                }
            }
            pid as u32
        }
    }

    #[test]
    fn a_process_of_which_one_thread_hangs_in_the_kernel_is_held_all_the_same() {
        let world = World::new("hangs");
        world.lease.write(monotonic_us() + 400_000).expect("write");
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new page of zeros, shared with children and never unmapped.
        let counter: &'static AtomicU64 = unsafe {
            let page = libc::mmap(std::ptr::null_mut(), 8, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            &*page.cast()
        };
        let pid = hanging(counter);
        world.fence.guard(1, pid);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(state(pid), Some('D'));
        assert!(counter.load(Ordering::Relaxed) > 10);
        std::thread::sleep(Duration::from_millis(110));
        world.fence.look();
        std::thread::sleep(Duration::from_millis(50));
        let held = counter.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(counter.load(Ordering::Relaxed), held, "it executes on");
        world.lease.write(monotonic_us() + 60_000_000).expect("write");
        assert!(world.fence.resume(1));
        std::thread::sleep(Duration::from_millis(100));
        assert!(counter.load(Ordering::Relaxed) > held, "it goes on with its lease");
        world.fence.kill(1);
        // SAFETY: the child is this test's and was not waited for.
        assert_eq!(unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) }, pid as libc::pid_t);
    }

    #[test]
    fn what_somebody_else_lets_go_on_without_a_lease_is_held_again() {
        let world = World::new("again");
        world.lease.write(monotonic_us() + 200_000).expect("write");
        world.fence.guard(1, world.child.id());
        assert!(world.fence.look() <= LOOK);
        assert_eq!(world.fence.done(1), Done::default());
        std::thread::sleep(Duration::from_millis(210));
        world.fence.look();
        assert!(world.becomes('T'));
        // SAFETY: plain numbers; the process is this test's.
        unsafe { libc::kill(world.child.id() as libc::pid_t, libc::SIGCONT) };
        assert!(world.becomes('S'));
        world.fence.look();
        assert!(world.becomes('T'));
        assert!(!world.fence.resume(1), "no lease");
        assert_eq!(state(world.child.id()), Some('T'));
        world.lease.write(monotonic_us() + 60_000_000).expect("write");
        assert!(world.fence.resume(1));
        assert!(world.becomes('S'));
    }
}

//! Threads that run the independent pieces of one decision.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{any::Any, io};

use dwcp_decide::Workers;

/// More would gain nothing that a decision needs, and would stand in the way of everything else.
const MOST: usize = 4;

type Piece<'a> = dyn Fn(usize) + Sync + 'a;

/// A few standing threads. Who asks them works with them; they sleep while nobody asks.
pub struct Hands {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// One job at a time.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told to the threads: there is a job, or the end.
    asked: Condvar,
    /// Told to who asked: a thread has let go of the job.
    left: Condvar,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Threads that work on the job.
    busy: usize,
    panic: Option<Box<dyn Any + Send>>,
    ends: bool,
}

/// What is asked for; the piece lives until `run` returns, which is after the last thread has let go of it.
#[derive(Clone)]
struct Job {
    piece: &'static Piece<'static>,
    count: usize,
    next: Arc<AtomicUsize>,
}

impl Job {
    fn work(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.count {
                return;
            }
            (self.piece)(at);
        }
    }
}

impl Hands {
    /// Starts threads for the processors that are there, at most four with the one that asks.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start() -> io::Result<Hands> {
        Hands::of(std::thread::available_parallelism().map_or(1, usize::from).min(MOST))
    }

    /// So many that work at once, the one that asks among them.
    ///
    /// # Errors
    /// As [`Hands::start`].
    pub fn of(width: usize) -> io::Result<Hands> {
        let shared = Arc::new(Shared::default());
        let mut hands = Hands { shared, threads: Vec::new(), asking: Mutex::new(()) };
        for _ in 1..width {
            let shared = hands.shared.clone();
            let thread =
                std::thread::Builder::new().name("dwcpd-decide".into()).spawn(move || shared.serve())?;
            hands.threads.push(thread);
        }
        Ok(hands)
    }
}

impl Workers for Hands {
    fn width(&self) -> usize {
        self.threads.len() + 1
    }

    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: only the lifetime changes. The reference is kept in `state.job` and in the clones of it that threads
        // take while they count as `busy`; below, the job is taken away and `busy` is awaited to be 0 on every way out of
        // this function, also when a piece panics, so nobody holds the reference once it returns.
        let piece = unsafe { std::mem::transmute::<&Piece<'_>, &'static Piece<'static>>(piece) };
        let job = Job { piece, count, next: Arc::default() };
        self.shared.state().job = Some(job.clone());
        self.shared.asked.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| job.work()));
        let mut state = self.shared.state();
        state.job = None;
        while state.busy > 0 {
            state = self.shared.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let theirs = state.panic.take();
        drop(state);
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.state();
        while !state.ends {
            let open = state.job.as_ref().filter(|job| job.next.load(Ordering::Relaxed) < job.count);
            let Some(job) = open.cloned() else {
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let outcome = catch_unwind(AssertUnwindSafe(|| job.work()));
            // What it refers to may be gone as soon as this thread counts as busy no longer.
            drop(job);
            state = self.state();
            state.busy -= 1;
            if let Err(panic) = outcome {
                state.panic = Some(panic);
            }
            self.left.notify_all();
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.shared.state().ends = true;
        self.shared.asked.notify_all();
        for thread in self.threads.drain(..) {
            // Its panics were passed on to who asked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_run_once_whoever_runs_it() {
        let hands = Hands::of(3).expect("threads");
        assert_eq!(hands.width(), 3);
        for count in [0, 1, 2, 7, 1_000] {
            let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            hands.run(count, &|at| {
                runs[at].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn pieces_run_at_the_same_time() {
        let hands = Hands::of(2).expect("threads");
        // Neither piece ends before the other has begun.
        let both = std::sync::Barrier::new(2);
        hands.run(2, &|_| {
            both.wait();
        });
    }

    #[test]
    fn a_panic_of_a_piece_reaches_who_asked_and_the_hands_go_on() {
        let hands = Hands::of(2).expect("threads");
        for _ in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                hands.run(8, &|at| assert_ne!(at, 5, "a piece that fails"));
            }));
            assert!(outcome.is_err());
        }
        let sum = AtomicUsize::new(0);
        hands.run(10, &|at| {
            sum.fetch_add(at, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}

//! The thread that makes batches durable: everything that waits shares one commit.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use dwcp_consensus::Batch;

use crate::store::{Checkup, Store, StoreError};
use crate::telemetry::Instruments;

/// Commits the times of which are remembered.
const REMEMBERED: usize = 256;

/// How long commits took lately.
#[derive(Clone, Default)]
pub struct CommitTimes {
    us: Arc<Mutex<VecDeque<u64>>>,
    /// The longest since somebody last asked, µs.
    longest: Arc<AtomicU64>,
    /// Where each is counted for the metrics.
    instruments: Option<Instruments>,
}

impl CommitTimes {
    /// The same, counted for the metrics too.
    pub fn counted(instruments: Instruments) -> CommitTimes {
        CommitTimes { instruments: Some(instruments), ..CommitTimes::default() }
    }

    fn add(&self, us: u64) {
        self.longest.fetch_max(us, Ordering::Relaxed);
        if let Some(instruments) = &self.instruments {
            instruments.committed(us);
        }
        let mut times = self.us.lock().unwrap_or_else(|e| e.into_inner());
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(us);
    }

    /// The longest since this was last asked, µs; 0: there was none.
    pub fn take_longest_us(&self) -> u64 {
        self.longest.swap(0, Ordering::Relaxed)
    }

    /// The median, µs; 0 before the first commit.
    pub fn p50_us(&self) -> u64 {
        let mut times: Vec<u64> = self.us.lock().unwrap_or_else(|e| e.into_inner()).iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }
}

/// Who wants the store as it is between two commits.
type Waiting = Box<dyn FnOnce(Result<Checkup, StoreError>) + Send>;

/// Who is told why a new file could not be made.
type NotMade = Box<dyn FnOnce(StoreError) + Send>;

enum Work {
    Batch(u64, Batch),
    /// The next batch holds everything, and begins a new file.
    Renew(NotMade),
    Checkup(Waiting),
}

/// Takes batches in. The thread ends, with everything written, when this is dropped.
pub struct Writer {
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. `durable` is told the newest durable batch; `failed` is called once, and nothing is written
    /// or reported after that.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(
        store: Store,
        times: CommitTimes,
        durable: impl Fn(u64) + Send + 'static,
        failed: impl FnOnce(StoreError) + Send + 'static,
    ) -> io::Result<Writer> {
        let (work, waiting) = channel();
        let thread = std::thread::Builder::new().name("dwcpd-store".into()).spawn(move || {
            // An assertion inside the database is a failed write like any other: this thread must not just be gone.
            let done = catch_unwind(AssertUnwindSafe(|| run(store, &waiting, &times, durable)));
            let asserted = |_| Err(StoreError::Write("the database failed an assertion (above)".to_owned()));
            if let Err(error) = done.unwrap_or_else(asserted) {
                failed(error);
            }
        })?;
        Ok(Writer { work, thread })
    }

    /// Queues a batch.
    pub fn push(&self, seq: u64, batch: Batch) {
        // After a failure nobody takes batches: the process is about to end.
        let _ = self.work.send(Work::Batch(seq, batch));
    }

    /// Begins a new file with the next batch, which must hold everything. When it can't be made the old one goes on, and
    /// `not_made` is told why.
    pub fn renew(&self, not_made: impl FnOnce(StoreError) + Send + 'static) {
        // As above.
        let _ = self.work.send(Work::Renew(Box::new(not_made)));
    }

    /// Gives the store as it is between two commits to `then`, on the store's thread: it must be short.
    pub fn checkup(&self, then: impl FnOnce(Result<Checkup, StoreError>) + Send + 'static) {
        // As above.
        let _ = self.work.send(Work::Checkup(Box::new(then)));
    }

    /// Waits until everything is written.
    pub fn finish(self) {
        drop(self.work);
        // A thread that failed has said so.
        let _ = self.thread.join();
    }
}

fn run(
    mut store: Store,
    waiting: &Receiver<Work>,
    times: &CommitTimes,
    durable: impl Fn(u64),
) -> Result<(), StoreError> {
    let mut renew: Option<NotMade> = None;
    while let Ok(first) = waiting.recv() {
        let (mut newest, mut batches, mut other) = (0, Vec::new(), None);
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Work::Batch(seq, batch) => {
                    newest = seq;
                    batches.push(batch);
                    // The first of a new file goes in alone.
                    next = if renew.is_some() { None } else { waiting.try_recv().ok() };
                }
                work => {
                    other = Some(work);
                    next = None;
                }
            }
        }
        if !batches.is_empty() {
            let began = Instant::now();
            match (renew.take(), batches.as_slice()) {
                (Some(not_made), [all]) => {
                    if let Err(why) = store.renew(all) {
                        // A store that takes nothing any more says so for the reason for which it was not made anew.
                        if store.write(&batches).is_err() {
                            return Err(why);
                        }
                        not_made(why);
                    }
                }
                _ => store.write(&batches)?,
            }
            times.add(began.elapsed().as_micros() as u64);
            durable(newest);
        }
        match other {
            Some(Work::Renew(not_made)) => renew = Some(not_made),
            Some(Work::Checkup(then)) => then(store.checkup()),
            _ => {}
        }
    }
    Ok(())
}

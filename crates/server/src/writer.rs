//! The thread that makes batches durable: everything that waits shares one commit.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use dwcp_consensus::Batch;

use crate::store::{Store, StoreError};

/// Commits the times of which are remembered.
const REMEMBERED: usize = 256;

/// How long commits took lately.
#[derive(Clone, Default)]
pub struct CommitTimes {
    us: Arc<Mutex<VecDeque<u64>>>,
}

impl CommitTimes {
    fn add(&self, us: u64) {
        let mut times = self.us.lock().unwrap_or_else(|e| e.into_inner());
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(us);
    }

    /// The median, µs; 0 before the first commit.
    pub fn p50_us(&self) -> u64 {
        let mut times: Vec<u64> = self.us.lock().unwrap_or_else(|e| e.into_inner()).iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }
}

/// Takes batches in. The thread ends, with everything written, when this is dropped.
pub struct Writer {
    batches: Sender<(u64, Batch)>,
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
        let (batches, waiting) = channel();
        let thread = std::thread::Builder::new().name("dwcpd-store".into()).spawn(move || {
            // An assertion inside the database is a failed write like any other: this thread must not just be gone.
            let done = catch_unwind(AssertUnwindSafe(|| run(store, &waiting, &times, durable)));
            let asserted = |_| Err(StoreError::Write("the database failed an assertion (above)".to_owned()));
            if let Err(error) = done.unwrap_or_else(asserted) {
                failed(error);
            }
        })?;
        Ok(Writer { batches, thread })
    }

    /// Queues a batch.
    pub fn push(&self, seq: u64, batch: Batch) {
        // After a failure nobody takes batches: the process is about to end.
        let _ = self.batches.send((seq, batch));
    }

    /// Waits until everything is written.
    pub fn finish(self) {
        drop(self.batches);
        // A thread that failed has said so.
        let _ = self.thread.join();
    }
}

fn run(
    mut store: Store,
    waiting: &Receiver<(u64, Batch)>,
    times: &CommitTimes,
    durable: impl Fn(u64),
) -> Result<(), StoreError> {
    while let Ok((mut newest, first)) = waiting.recv() {
        let mut batches = vec![first];
        while let Ok((seq, batch)) = waiting.try_recv() {
            newest = seq;
            batches.push(batch);
        }
        let began = Instant::now();
        store.write(&batches)?;
        times.add(began.elapsed().as_micros() as u64);
        durable(newest);
    }
    Ok(())
}

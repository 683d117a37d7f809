//! How late this machine wakes a thread that is due: what a busy machine adds to every time that is measured on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);

/// Measures until it is dropped.
pub struct Lateness {
    late: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lateness {
    pub fn start() -> Lateness {
        let (late, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (late.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(STEP);
                let late = began.elapsed().saturating_sub(STEP);
                if late > STEP {
                    seen.lock().expect("no panic under the lock").push((began, late));
                }
            }
        });
        Lateness { late, stop, thread: Some(thread) }
    }

    /// All the time since `since` in which the machine kept this thread waiting. Nothing on an idle machine.
    pub fn since(&self, since: Instant) -> Duration {
        let late = self.late.lock().expect("no panic under the lock");
        late.iter().filter(|(at, late)| *at + *late >= since).map(|(_, late)| *late).sum()
    }

    /// How late a thread that is due is woken here on average, since `since`.
    #[allow(dead_code)]
    pub fn mean_since(&self, since: Instant) -> Duration {
        let late = self.since(since);
        let wakes = since.elapsed().saturating_sub(late).as_secs_f64() / STEP.as_secs_f64();
        late.div_f64(wakes.max(1.0))
    }

    /// The longest single time since `since` in which the machine kept this thread waiting.
    #[allow(dead_code)]
    pub fn worst_since(&self, since: Instant) -> Duration {
        let late = self.late.lock().expect("no panic under the lock");
        late.iter().filter(|(at, late)| *at + *late >= since).map(|(_, late)| *late).max().unwrap_or_default()
    }

    /// Asserts that what began at `since` took no longer than `limit` and what the machine held it up.
    pub fn assert_within(&self, what: &str, since: Instant, limit: Duration) {
        let (took, late) = (since.elapsed(), self.since(since));
        assert!(took < limit + late, "{what} after {took:?}; the machine was {late:?} late itself");
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

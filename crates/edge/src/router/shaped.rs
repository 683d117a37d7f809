//! The interfaces that `router.yaml` names are shaped, by the shares of the policy in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Shared;
use crate::kernel::Shaper;

/// What an operator is told about under this name.
const SHAPING: &str = "shaping";
/// How often the policy is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shaping, for as long as this is there.
pub struct Shaping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shaping {
    /// None: no interface is named.
    pub fn start(shared: &Arc<Shared>) -> Option<Shaping> {
        let config = &shared.settings.config;
        if config.shape.is_empty() {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared) = (stop.clone(), shared.clone());
        let work = move || {
            let shares = || shared.current.routes().table.policy.shares;
            let first = shares();
            let (mut shapers, mut lacks) = (Vec::new(), Vec::new());
            for shape in &shared.settings.config.shape {
                match Shaper::start(&shape.interface, shape.rate_mbit, first, vec!["tc".to_owned()]) {
                    Ok(shaper) => shapers.push(shaper),
                    Err(why) => lacks.push(why),
                }
            }
            while !stopped.load(Relaxed) {
                let shares = shares();
                let wrong = shapers.iter_mut().filter_map(|shaper| shaper.share(shares).err());
                let wrong: Vec<String> = lacks.iter().cloned().chain(wrong).collect();
                shared.trouble(SHAPING, wrong.join("; "));
                std::thread::sleep(LOOK_EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("routerd-shape".into()).spawn(work).ok()?;
        Some(Shaping { stop, thread: Some(thread) })
    }
}

impl Drop for Shaping {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

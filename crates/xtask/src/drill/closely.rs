//! VMs asked every few milliseconds from outside, each by a thread of its own: for what must not be felt at all.

use crate::federation::demo::{self, Vm};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two questions to one VM. An answer costs an emulated guest milliseconds of a processor that all share.
const ASK_EVERY: Duration = Duration::from_millis(40);
/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_secs(2);

/// What one VM has answered.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// When each answer came, since the watch began.
    answered: Vec<Duration>,
    /// Boot and generation of each process that answered.
    processes: BTreeSet<(String, u64)>,
}

/// Asks some VMs where they are, until dropped.
pub struct Closely {
    began: Instant,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The times between two answers of one VM, of all that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gaps {
    sorted: Vec<Duration>,
}

impl Closely {
    /// Starts asking every VM of the list that has an address.
    pub fn watch(vms: &BTreeMap<String, Vm>) -> Closely {
        let (began, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let addresses = vms.iter().filter_map(|(name, vm)| Some((name.clone(), vm.address?)));
        let threads = addresses
            .map(|(name, address)| {
                let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
                std::thread::spawn(move || ask(&name, address, began, &seen, &stop))
            })
            .collect();
        Closely { began, seen, stop, threads }
    }

    /// Time since the watch began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The times between answers in a part of the watch. A VM that was silent at its beginning or end counts from and to there.
    pub fn gaps(&self, from: Duration, to: Duration) -> Gaps {
        let seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Gaps::of(seen.values().map(|seen| seen.answered.as_slice()), from, to)
    }

    /// VMs that were started again since the watch began, or answer under another generation; and those that never answered.
    pub fn changed(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let other = |seen: &Seen| seen.processes.len() != 1;
        seen.iter()
            .filter(|(_, seen)| other(seen))
            .map(|(name, seen)| format!("{name}: {:?}", seen.processes))
            .collect()
    }

    /// How many are watched.
    pub fn count(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Closely {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn ask(
    name: &str,
    address: SocketAddr,
    began: Instant,
    all: &Mutex<BTreeMap<String, Seen>>,
    stop: &AtomicBool,
) {
    let mut next = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let answer = demo::get(address, ANSWER);
        let answered = began.elapsed();
        {
            let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let seen = all.entry(name.to_owned()).or_default();
            if let Some(value) = answer.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
                let boot = value["boot_id"].as_str().unwrap_or_default().to_owned();
                seen.answered.push(answered);
                seen.processes.insert((boot, value["generation"].as_u64().unwrap_or(0)));
            }
        }
        next = (next + ASK_EVERY).max(answered);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
}

impl Gaps {
    fn of<'a>(vms: impl Iterator<Item = &'a [Duration]>, from: Duration, to: Duration) -> Gaps {
        let mut sorted = Vec::new();
        for answered in vms {
            let within = answered.iter().copied().filter(|at| (from..to).contains(at));
            let times: Vec<Duration> = [from].into_iter().chain(within).chain([to]).collect();
            sorted.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
        }
        sorted.sort_unstable();
        Gaps { sorted }
    }

    /// The value that so many percent of all do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        super::moves::percentile(&self.sorted, percent)
    }

    /// `P50 44 ms, P99 130 ms, longest 312 ms of 9,812`.
    pub fn told(&self) -> String {
        let ms = |percent| self.percentile(percent).as_millis();
        format!("P50 {} ms, P99 {} ms, longest {} ms of {}", ms(50), ms(99), ms(100), self.sorted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_at_the_beginning_or_the_end_counts() {
        let ms = Duration::from_millis;
        let one: Vec<Duration> = [100, 140, 180].map(ms).to_vec();
        let gaps = Gaps::of([one.as_slice()].into_iter(), ms(90), ms(1_180));
        assert_eq!(gaps.percentile(100), ms(1_000));
        assert_eq!(gaps.sorted.len(), 4);
        let silent = Gaps::of([&[][..]].into_iter(), ms(0), ms(500));
        assert_eq!(silent.percentile(50), ms(500));
    }
}

//! Asks every address a VM could have, from outside, and judges what answered: no VM twice at one
//! time, and how long each was not to be reached.

use crate::federation::demo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often an address where something listens is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The same once it has answered many times in a row: an answer costs an emulated guest milliseconds, and
/// a dozen of them asked all the time would slow the very boots that are measured.
const ASK_STEADY_EVERY: Duration = Duration::from_millis(200);
/// The same for each of so many that answer: 30 asked five times a second take more than a processor. Above 15, a boot that
/// answers at two addresses can no longer be told from a guest that moves to and fro ([`NO_MOVE_IN`]).
const ASK_STEADY_SHARE: Duration = Duration::from_millis(30);
/// However many there are, none is asked more rarely.
const ASK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// So many answers in a row are many.
const STEADY: u32 = 30;
/// How often the other addresses are tried.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// The last part of the addresses that VMs of the first two hosts of a region may have.
const SLOTS: std::ops::Range<u8> = 32..96;
const SERVICE_PORT: u16 = 8080;

/// One boot of a VM, as it was seen from outside. Times are since the probe began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What its kernel drew at boot.
    pub id: String,
    /// What its kernel was told.
    pub generation: u64,
    /// Where it answered.
    pub address: SocketAddr,
    /// When each answered request was sent, and when the answer came.
    pub answers: Vec<(Duration, Duration)>,
}

/// Everything that answered: by VM, then by what its kernel drew at boot.
pub type Book = BTreeMap<String, BTreeMap<String, Boot>>;

/// The threads that ask, until dropped.
pub struct Probe {
    began: Instant,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    looker: Option<JoinHandle<()>>,
}

impl Probe {
    /// Starts asking every VM address of so many regions.
    pub fn start(regions: usize) -> Probe {
        let (began, book, stop) = (Instant::now(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let (shared, end) = (Arc::clone(&book), Arc::clone(&stop));
        let looker = std::thread::spawn(move || look(regions, began, &shared, &end));
        Probe { began, book, stop, looker: Some(looker) }
    }

    /// Time since the probe began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What has answered so far.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(looker) = self.looker.take() {
            let _ = looker.join();
        }
    }
}

/// Tries the addresses nobody asks yet; one where something listens gets a thread of its own.
fn look(regions: usize, began: Instant, book: &Arc<Mutex<Book>>, stop: &Arc<AtomicBool>) {
    let regions = u8::try_from(regions).expect("a development federation has fewer than 256 regions");
    let mut cold: Vec<SocketAddr> = (1..=regions)
        .flat_map(|region| SLOTS.map(move |slot| Ipv4Addr::new(127, 77, region, slot)))
        .map(|address| SocketAddr::from((address, SERVICE_PORT)))
        .collect();
    let mut asking = Vec::new();
    let steady = Arc::new(AtomicU32::new(0));
    while !stop.load(Ordering::Relaxed) {
        cold.retain(|address| {
            if TcpStream::connect_timeout(address, ANSWER_WITHIN).is_err() {
                return true;
            }
            let (address, book, stop, steady) = (*address, book.clone(), stop.clone(), steady.clone());
            asking.push(std::thread::spawn(move || ask(address, began, &book, (&stop, &steady))));
            false
        });
        std::thread::sleep(LOOK_EVERY);
    }
    for thread in asking {
        let _ = thread.join();
    }
}

fn ask(address: SocketAddr, began: Instant, book: &Mutex<Book>, (stop, steady): (&AtomicBool, &AtomicU32)) {
    let mut in_a_row = 0;
    while !stop.load(Ordering::Relaxed) {
        let sent = began.elapsed();
        let answer = demo::get(address, ANSWER_WITHIN);
        let answered = began.elapsed();
        let before = in_a_row;
        in_a_row = if answer.is_some() { in_a_row + 1 } else { 0 };
        if before < STEADY && in_a_row == STEADY {
            steady.fetch_add(1, Ordering::Relaxed);
        } else if before >= STEADY && in_a_row == 0 {
            steady.fetch_sub(1, Ordering::Relaxed);
        }
        let every = if in_a_row < STEADY { ASK_EVERY } else { steady_every(steady.load(Ordering::Relaxed)) };
        if let Some(value) = answer.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
            let mut book = book.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            write_down(&mut book, &value, address, (sent, answered));
        }
        std::thread::sleep(every.saturating_sub(began.elapsed().saturating_sub(sent)));
    }
}

/// How often each of so many steady addresses is asked.
fn steady_every(steady: u32) -> Duration {
    ASK_STEADY_SHARE.saturating_mul(steady).clamp(ASK_STEADY_EVERY, ASK_AT_LEAST_EVERY)
}

fn write_down(book: &mut Book, answer: &Value, address: SocketAddr, times: (Duration, Duration)) {
    let (Some(vm), Some(boot)) = (answer["vm"].as_str(), answer["boot_id"].as_str()) else { return };
    let generation = answer["generation"].as_u64().unwrap_or(0);
    // A boot at two addresses would be two machines: it is kept apart, and the judgement sees both.
    let key = format!("{boot} at {address}");
    let fresh = || Boot { id: boot.to_owned(), generation, address, answers: Vec::new() };
    book.entry(vm.to_owned()).or_default().entry(key).or_insert_with(fresh).answers.push(times);
}

/// Every VM that ran twice: an older boot took a request that was sent after a newer one had answered.
pub fn doubles(book: &Book) -> Vec<String> {
    let mut found = Vec::new();
    for (vm, boots) in book {
        let mut ordered: Vec<&Boot> = boots.values().filter(|boot| !boot.answers.is_empty()).collect();
        ordered.sort_by_key(|boot| (boot.generation, boot.answers[0].1));
        for (index, older) in ordered.iter().enumerate() {
            for newer in &ordered[index + 1..] {
                // One boot at two addresses is a guest that moved, unless both answer in turns.
                if older.id == newer.id && !alternate(older, newer) {
                    continue;
                }
                let (first, last) = (newer.answers[0].1, older.answers[older.answers.len() - 1].0);
                if last > first {
                    found.push(format!(
                        "{vm}: generation {} at {} took a request {} ms after generation {} at {} had answered",
                        older.generation,
                        older.address,
                        (last - first).as_millis(),
                        newer.generation,
                        newer.address,
                    ));
                }
            }
        }
    }
    found
}

/// Two answers of one address that follow each other so soon leave no room for a move there and back.
const NO_MOVE_IN: Duration = Duration::from_millis(450);

/// True when one of the two answered between two answers of the other.
fn alternate(one: &Boot, other: &Boot) -> bool {
    let between = |inner: &Boot, outer: &Boot| {
        outer.answers.windows(2).filter(|pair| pair[1].0.saturating_sub(pair[0].1) < NO_MOVE_IN).any(|pair| {
            inner.answers.iter().any(|(sent, answered)| *sent > pair[0].1 && *answered < pair[1].0)
        })
    };
    between(one, other) || between(other, one)
}

/// The newest boot of a VM that has answered.
pub fn newest<'a>(book: &'a Book, vm: &str) -> Option<&'a Boot> {
    let boots = book.get(vm)?.values();
    boots.max_by_key(|boot| (boot.generation, boot.answers.first().map(|first| first.1)))
}

/// When a VM first answered under a generation above this one.
pub fn answered_above(book: &Book, vm: &str, generation: u64) -> Option<Duration> {
    let boots = book.get(vm)?.values().filter(|boot| boot.generation > generation);
    boots.filter_map(|boot| boot.answers.first()).map(|(_, answered)| *answered).min()
}

/// When a VM last answered a request sent under this generation or an older one.
pub fn last_answer_up_to(book: &Book, vm: &str, generation: u64) -> Option<Duration> {
    let boots = book.get(vm)?.values().filter(|boot| boot.generation <= generation);
    boots.filter_map(|boot| boot.answers.last()).map(|(sent, _)| *sent).max()
}

/// The longest time between `from` and `to` in which a VM answered nobody.
pub fn longest_gap(book: &Book, vm: &str, (from, to): (Duration, Duration)) -> Duration {
    let mut times: Vec<Duration> = book
        .get(vm)
        .into_iter()
        .flat_map(|boots| boots.values())
        .flat_map(|boot| boot.answers.iter().map(|(_, answered)| *answered))
        .filter(|answered| (from..to).contains(answered))
        .collect();
    times.push(from);
    times.push(to);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn book(answers: &[(u64, &str, u8, u64)]) -> Book {
        let mut book = Book::new();
        for (generation, boot, slot, sent) in answers {
            let address = SocketAddr::from(([127, 77, 1, *slot], SERVICE_PORT));
            let answer = json!({"vm": "vm_1", "boot_id": boot, "generation": generation});
            write_down(&mut book, &answer, address, (ms(*sent), ms(sent + 10)));
        }
        book
    }

    #[test]
    fn many_steady_addresses_are_asked_less_often_each() {
        assert_eq!([0, 6, 10, 30, 300].map(|n| steady_every(n).as_millis()), [200, 200, 300, 900, 1000]);
    }

    #[test]
    fn an_older_boot_that_answers_after_a_newer_one_is_a_double() {
        assert_eq!(doubles(&book(&[(1, "a", 32, 0), (1, "a", 32, 95), (2, "b", 33, 90)])), [""; 0]);
        let found = doubles(&book(&[(1, "a", 32, 0), (2, "b", 33, 90), (1, "a", 32, 105)]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("5 ms after generation 2"), "{found:?}");
    }

    #[test]
    fn one_boot_at_two_addresses_is_a_double() {
        assert_eq!(doubles(&book(&[(1, "a", 32, 0), (1, "a", 33, 50), (1, "a", 32, 100)])).len(), 1);
    }

    #[test]
    fn gaps_count_from_the_start_and_to_the_end() {
        let book = book(&[(1, "a", 32, 90), (2, "b", 33, 990)]);
        assert_eq!(longest_gap(&book, "vm_1", (ms(0), ms(1_100))), ms(900));
        assert_eq!(longest_gap(&book, "vm_1", (ms(0), ms(9_000))), ms(8_000));
        assert_eq!(longest_gap(&book, "vm_2", (ms(0), ms(50))), ms(50));
        assert_eq!(answered_above(&book, "vm_1", 1), Some(ms(1_000)));
        assert_eq!(last_answer_up_to(&book, "vm_1", 1), Some(ms(90)));
        assert_eq!(newest(&book, "vm_1").map(|boot| boot.generation), Some(2));
    }
}

//! Running VMs move between regions under a guest that writes, watched from outside every few milliseconds; and a region is
//! emptied and filled again.

use super::stage::{Stage, must, told};
use super::sync_loss;
use crate::federation::demo::{self, Vm};
use crate::run::{Failure, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The VM; drills take away what begins so.
const NAME: &str = "drill-moves";
/// Between two questions of one asker.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_millis(80);
/// Askers of the addresses where the VM is not.
const LOOKERS: usize = 4;
/// Last parts of the addresses that are asked: the first of each of two hosts.
const SLOTS: [u8; 8] = [32, 33, 34, 35, 64, 65, 66, 67];
/// Two answers of one address that follow each other so soon leave no room for a move there and back.
const NO_MOVE_IN: Duration = Duration::from_millis(450);
/// VMs of the region that is emptied.
const DRAINED: usize = 6;

/// One answer of the VM.
#[derive(Clone, Debug)]
struct Answer {
    sent: Duration,
    answered: Duration,
    address: SocketAddr,
    boot_id: String,
}

/// Asks for one VM everywhere it could be.
struct Watch {
    began: Instant,
    vm: String,
    answers: Mutex<Vec<Answer>>,
    /// Where it answered last.
    at: Mutex<SocketAddr>,
    stop: AtomicBool,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Watch {
    fn start(vm: &Vm, address: SocketAddr, regions: usize) -> (Arc<Watch>, Vec<JoinHandle<()>>) {
        let watch = Arc::new(Watch {
            began: Instant::now(),
            vm: vm.id.clone(),
            answers: Mutex::default(),
            at: Mutex::new(address),
            stop: AtomicBool::new(false),
        });
        let regions = u8::try_from(regions).expect("a development federation has fewer than 256 regions");
        let everywhere: Vec<SocketAddr> = (1..=regions)
            .flat_map(|region| {
                SLOTS.map(|slot| SocketAddr::from((Ipv4Addr::new(127, 77, region, slot), 8080)))
            })
            .collect();
        let mut threads = Vec::new();
        let one = Arc::clone(&watch);
        threads.push(std::thread::spawn(move || {
            while !one.stop.load(Ordering::Relaxed) {
                let at = *held(&one.at);
                one.ask(at);
                std::thread::sleep(ASK_EVERY);
            }
        }));
        for _ in 0..LOOKERS {
            let (one, everywhere) = (Arc::clone(&watch), everywhere.clone());
            threads.push(std::thread::spawn(move || {
                while !one.stop.load(Ordering::Relaxed) {
                    let at = *held(&one.at);
                    everywhere.iter().filter(|address| **address != at).for_each(|address| one.ask(*address));
                    std::thread::sleep(ASK_EVERY);
                }
            }));
        }
        (watch, threads)
    }

    fn ask(&self, address: SocketAddr) {
        let sent = self.began.elapsed();
        let Some(text) = demo::get(address, ANSWER) else { return };
        let answered = self.began.elapsed();
        let Ok(value) = serde_json::from_str::<Value>(&text) else { return };
        if value["vm"] != self.vm.as_str() {
            return;
        }
        let boot_id = value["boot_id"].as_str().unwrap_or_default().to_owned();
        *held(&self.at) = address;
        held(&self.answers).push(Answer { sent, answered, address, boot_id });
    }

    /// The longest time between two answers that touches this one.
    fn gap(&self, from: Duration, to: Duration) -> Duration {
        let mut times: Vec<Duration> = held(&self.answers).iter().map(|answer| answer.answered).collect();
        times.sort_unstable();
        let touching = times.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
        touching.map(|pair| pair[1] - pair[0]).max().unwrap_or(to - from)
    }
}

/// Every moment at which two addresses answered for one guest.
fn twice(answers: &[Answer]) -> Vec<String> {
    let mut of: BTreeMap<SocketAddr, Vec<&Answer>> = BTreeMap::new();
    for answer in answers {
        of.entry(answer.address).or_default().push(answer);
    }
    let mut found = Vec::new();
    for list in of.values_mut() {
        list.sort_by_key(|answer| answer.sent);
    }
    for (address, list) in &of {
        let pairs = list.windows(2).filter(|pair| pair[1].sent.saturating_sub(pair[0].answered) < NO_MOVE_IN);
        for pair in pairs {
            let between = |other: &&Answer| {
                other.address != *address && other.sent > pair[0].answered && other.answered < pair[1].sent
            };
            if let Some(other) = answers.iter().find(between) {
                found.push(format!("{} answered between two answers of {address}", other.address));
            }
        }
    }
    found
}

/// The value that so many percent of all do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

pub fn told_times(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let ms = |percent| percentile(times, percent).as_millis();
    format!("P50 {} ms, P99 {} ms, longest {} ms", ms(50), ms(99), ms(100))
}

/// A VM by its name.
///
/// # Errors
/// When there is none.
pub fn vm(stage: &Stage, name: &str) -> Result<Vm, Failure> {
    demo::vms(stage.tree)?.remove(name).ok_or_else(|| Failure::new(format!("no VM {name}")))
}

/// Moves a VM that writes through the regions, as often as asked.
///
/// # Errors
/// A move failed, a record is missing, the guest booted again, or it answered from two places.
pub fn moves(stage: &Stage) -> Result<(), Failure> {
    must(stage, &["vm", "create", "--name", NAME, "--disk", "1GiB"])?;
    stage.wait_until_all_answer(Duration::from_secs(60))?;
    let first = vm(stage, NAME)?;
    let address = first.address.ok_or_else(|| Failure::new(format!("{NAME} has no address")))?;
    let (watch, mut threads) = Watch::start(&first, address, stage.regions.len());
    let records = Arc::new(Mutex::new(0_u64));
    let (one, written) = (Arc::clone(&watch), Arc::clone(&records));
    threads.push(std::thread::spawn(move || write(&one, &written)));
    std::thread::sleep(Duration::from_secs(2));
    let result = rounds(stage, &watch, &first.region);
    watch.stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    let (mut gaps, mut took) = result?;
    let answers = held(&watch.answers).clone();
    let boots: std::collections::BTreeSet<&str> = answers.iter().map(|one| one.boot_id.as_str()).collect();
    if boots.len() != 1 {
        return Err(Failure::new(format!("the guest booted again: {boots:?}")));
    }
    let doubles = twice(&answers);
    if let Some(double) = doubles.first() {
        return Err(Failure::new(format!("ran twice: {double}")));
    }
    let count = *held(&records);
    // An answer of the address before may have come in last.
    let at = vm(stage, NAME)?.address.unwrap_or(*held(&watch.at));
    let lost: Vec<u64> = (0..count).filter(|number| !has(at, *number)).collect();
    stage.say(&format!(
        "{} moves, one boot, {} answers; {count} records acknowledged, {} missing; \
         no answer for {}; a move took {}",
        gaps.len(),
        answers.len(),
        lost.len(),
        told_times(&mut gaps),
        told_times(&mut took)
    ));
    if lost.is_empty() { Ok(()) } else { Err(Failure::new(format!("records missing: {lost:?}"))) }
}

/// Gaps of the moves, and how long each took.
fn rounds(stage: &Stage, watch: &Watch, from: &str) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
    let (mut gaps, mut took) = (Vec::new(), Vec::new());
    let mut at = stage.number(from) - 1;
    for round in 1..=stage.rounds {
        at = (at + 1) % stage.regions.len();
        let region = &stage.regions[at];
        let began = watch.began.elapsed();
        must(stage, &["federation", "migrate", "--vm", NAME, "--target", region])?;
        let ended = watch.began.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        let gap = watch.gap(began, ended);
        let shown =
            stage.json_at(region, &["federation", "migrate", "status", "--vm", NAME, "--limit", "1"])?;
        let last = &shown["items"][0];
        stage.say(&format!(
            "move {round} to {region}: {:.1} s, no answer for {} ms, stood still {} ms, {} bytes",
            (ended - began).as_secs_f64(),
            gap.as_millis(),
            last["downtime_ms"],
            last["bytes_done"]
        ));
        gaps.push(gap);
        took.push(ended - began);
    }
    Ok((gaps, took))
}

/// Writes one record after the other to wherever the VM answers; counts those that it said are on its disk.
fn write(watch: &Watch, records: &Mutex<u64>) {
    while !watch.stop.load(Ordering::Relaxed) {
        let (at, number) = (*held(&watch.at), *held(records));
        let text = format!("record {number} of a VM that moves");
        if sync_loss::ask(at, "PUT", number, &text).is_some_and(|(status, _)| status == 200) {
            *held(records) += 1;
        }
    }
}

fn has(at: SocketAddr, number: u64) -> bool {
    let mut found = None;
    wait_until(Duration::from_secs(20), Duration::from_millis(50), || {
        found = sync_loss::ask(at, "GET", number, "");
        found.as_ref().is_some_and(|(status, _)| *status != 503)
    });
    found.is_some_and(|(status, body)| status == 200 && body == format!("record {number} of a VM that moves"))
}

/// Empties a region as the operations guide does, looks that nothing is left, and brings its VMs home.
///
/// # Errors
/// What the commands or the region's count say against it.
pub fn drain(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[0].clone();
    let before = stage.fill(&region, DRAINED)?;
    let there = before.values().filter(|vm| vm.region == region).count();
    let began = Instant::now();
    // The words of the guide; the stage's own time limit would be another.
    let mut drain = demo::cli(stage.tree);
    drain.args(["federation", "region", "drain", "--region", &region, "--timeout", "5m"]);
    let output = crate::run::capture(&mut drain)?;
    let took = began.elapsed();
    if !output.status.success() {
        return Err(Failure::new(format!("drain: {}", told(&output))));
    }
    let count = stage.cli(&["federation", "region", "vm-count", "--region", &region])?;
    if String::from_utf8_lossy(&count.stdout).trim() != "0" {
        return Err(Failure::new(format!("vm-count of {region}: {}", told(&count))));
    }
    stage.wait_until_all_answer(Duration::from_secs(30))?;
    stage.say(&format!("{region} with {there} VMs is empty after {:.1} s", took.as_secs_f64()));
    must(stage, &["federation", "region", "enable-placement", "--region", &region])?;
    let began = Instant::now();
    let mut home = demo::cli(stage.tree);
    home.args(["federation", "failback", "--region", &region, "--stable-for", "0s"]);
    let output = crate::run::capture(&mut home)?;
    if !output.status.success() {
        return Err(Failure::new(format!("failback: {}", told(&output))));
    }
    stage.wait_until_all_answer(Duration::from_secs(30))?;
    let after = demo::vms(stage.tree)?;
    let home =
        after.iter().filter(|(name, vm)| vm.region == region && before[*name].region == region).count();
    stage.say(&format!("{home} of {there} are home after {:.1} s", began.elapsed().as_secs_f64()));
    if home == there { Ok(()) } else { Err(Failure::new(format!("{home} of {there} VMs came home"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(slot: u8, sent_ms: u64) -> Answer {
        Answer {
            sent: Duration::from_millis(sent_ms),
            answered: Duration::from_millis(sent_ms + 4),
            address: SocketAddr::from(([127, 77, 1, slot], 8080)),
            boot_id: "b".into(),
        }
    }

    #[test]
    fn a_guest_that_answers_here_and_there_in_turns_runs_twice() {
        let moved = [answer(32, 0), answer(32, 100), answer(33, 300), answer(33, 400)];
        assert_eq!(twice(&moved), [""; 0]);
        let back = [answer(32, 0), answer(33, 300), answer(32, 2_000)];
        assert_eq!(twice(&back), [""; 0], "there and back");
        let double = [answer(32, 0), answer(33, 50), answer(32, 100)];
        assert_eq!(twice(&double).len(), 1);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
    }
}

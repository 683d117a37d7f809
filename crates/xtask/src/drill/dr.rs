//! A region's failure rehearsed as the operations guide has it, while every VM that people use is asked all the time; once
//! more while the leader of the federation dies; and once for real, with nobody there to end it.

use super::closely::Closely;
use super::leaks;
use super::probe::{self, Book};
use super::regions::back_elsewhere;
use super::script::{self, Ran};
use super::single::arguments;
use super::stage::{Stage, must, told};
use super::traces::{Traces, nothing_left};
use crate::federation::{demo, process, up};
use crate::run::{Failure, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Guide 5.3, as printed there.
const GUIDE: &str = r#"#!/bin/bash
# DR drill script

echo "=== DWCP Federation DR Drill ==="
echo "Date: $(date)"
echo ""

# Simulate region failure
echo "Simulating failure of region: us-east-1"
dwcp-cli federation dr-drill simulate-failure --region us-east-1

# Verify auto-failover
echo "Verifying auto-failover..."
sleep 30
dwcp-cli federation region status --region us-east-1

# Check VM migration status
echo "Checking VM migration..."
dwcp-cli federation migrate status --source us-east-1

# Verify all VMs operational
echo "Verifying VM health..."
dwcp-cli federation vm health-check --all

# Restore region
echo "Restoring region us-east-1..."
dwcp-cli federation dr-drill restore --region us-east-1

# Verify restoration
sleep 60
dwcp-cli federation region status --region us-east-1

echo ""
echo "=== DR Drill Complete ==="
echo "Results:"
echo "  RTO Achieved: $(dwcp-cli federation dr-drill results --metric rto)"
echo "  RPO Achieved: $(dwcp-cli federation dr-drill results --metric rpo)"
echo "  VMs Migrated: $(dwcp-cli federation dr-drill results --metric vms-migrated)"
echo "  Success Rate: $(dwcp-cli federation dr-drill results --metric success-rate)"
"#;
/// How many VMs the region has at least.
const VMS: usize = 3;
/// How long VMs are watched before the drill, and at least with it.
const QUIET: Duration = Duration::from_secs(60);
/// A drill disturbs nobody: the longest silence of any VM is at most this much longer than without one. The machine also boots
/// the copies, on the same processors.
const NOISE: Duration = Duration::from_secs(1);
/// What the drill says of its recovery time and what is seen from outside differ by at most so much.
const AGREES: Duration = Duration::from_secs(1);
/// A live drill ends by itself after this.
const LIVE: &str = "60s";
/// It is over, its links are whole and the region is heard so long after that at most.
const ENDED: Duration = Duration::from_secs(100);
/// A lost region's VMs answer elsewhere within this.
const PROMISED: Duration = Duration::from_secs(30);

/// Rehearses the loss of a region three times, each time in another way.
///
/// # Errors
/// Says what was disturbed, left behind, or told wrongly.
pub fn dr(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[0].clone();
    stage.fill(&region, VMS)?;
    rehearsed(stage, &region)?;
    leader_dies(stage, &region)?;
    live(stage)?;
    leaks::check(stage)?;
    stage.check_no_doubles()
}

/// The newest drill of a region, as any other one tells of it.
fn newest(stage: &Stage, region: &str) -> Result<Value, Failure> {
    let words = ["federation", "dr-drill", "list", "--region", region, "--limit", "1"];
    Ok(stage.json_at(&stage.other_than(&[region]), &words)?["items"][0].take())
}

fn rehearsed(stage: &Stage, region: &str) -> Result<(), Failure> {
    let before = Traces::take(stage);
    let vms = demo::vms(stage.tree)?;
    let watch = Closely::watch(&vms);
    std::thread::sleep(QUIET);
    let began = watch.now();
    let quiet = watch.gaps(Duration::ZERO, began);
    let deaths = Deaths::watch(stage.tree.dev.clone(), stage);
    // The second pause only waits for nothing to happen.
    let text = GUIDE.replace("sleep 60", "sleep 5");
    let (ran, listed) = std::thread::scope(|scope| {
        let listing = scope.spawn(|| copies_are_told_apart(stage));
        let ran = script::run(stage, &text, Duration::from_secs(300));
        let listed = listing.join().map_err(|_| Failure::new("the thread that lists VMs failed"));
        (ran, listed)
    });
    let ran = ran?;
    stage.say(&format!(
        "the guide's script (its last pause 5 instead of 60 s): exit {:?} after {:.0} s\n{}",
        ran.exit,
        ran.took.as_secs_f64(),
        ran.told()
    ));
    listed??;
    std::thread::sleep(QUIET.saturating_sub(watch.now() - began));
    // All of the drill, also when it takes longer than the time before: then it is judged the harder.
    let ended = watch.now();
    let during = watch.gaps(began, ended);
    stage.say(&format!(
        "{} VMs asked all the time, {} s without and {} s with the drill; between two answers: {}; {}",
        watch.count(),
        began.as_secs(),
        (ended - began).as_secs(),
        quiet.told(),
        during.told()
    ));
    let changed = watch.changed();
    if !changed.is_empty() {
        return Err(Failure::new(format!("the drill disturbed {}", changed.join("; "))));
    }
    if during.percentile(100) > quiet.percentile(100) + NOISE {
        return Err(Failure::new("the drill silenced VMs that people use"));
    }
    results_are_true(stage, &ran, &newest(stage, region)?, &deaths)?;
    nothing_left(stage, &before)?;
    stage.say(&format!("nothing is left of it, {} traces as before", before.count()));
    Ok(())
}

/// While a drill runs, its copies are not among the VMs that people list unless they ask for them.
fn copies_are_told_apart(stage: &Stage) -> Result<(), Failure> {
    let other = stage.other_than(&[]);
    let names = |words: &[&str]| -> Result<Vec<(String, bool)>, Failure> {
        let list = stage.json_at(&other, words)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items
            .iter()
            .map(|vm| (vm["name"].as_str().unwrap_or_default().to_owned(), vm["drill"].is_string()))
            .collect())
    };
    let mut copies = 0;
    wait_until(Duration::from_secs(60), Duration::from_millis(300), || {
        let all = names(&["vm", "list", "--drills"]).unwrap_or_default();
        copies = all.iter().filter(|(_, marked)| *marked).count();
        copies >= VMS
    });
    let shown = names(&["vm", "list"])?;
    let stray: Vec<&(String, bool)> =
        shown.iter().filter(|(name, marked)| *marked || name.starts_with("drill-0")).collect();
    if copies < VMS || !stray.is_empty() {
        return Err(Failure::new(format!(
            "`vm list --drills` marks {copies} copies; `vm list` shows {stray:?} of them"
        )));
    }
    stage.say(&format!("{copies} copies in `vm list --drills`, each marked; none in `vm list`"));
    Ok(())
}

/// What the drill says of itself, against what was seen from outside.
fn results_are_true(stage: &Stage, ran: &Ran, drill: &Value, deaths: &Deaths) -> Result<(), Failure> {
    let value = |label: &str| ran.value(label).unwrap_or_default().to_owned();
    let (rpo, rate) = (value("RPO Achieved:"), value("Success Rate:"));
    let rto = script::seconds_ms(&value("RTO Achieved:"))
        .ok_or_else(|| Failure::new(format!("the script prints no recovery time:\n{}", ran.told())))?;
    let copies: Vec<&str> = drill["vms"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|vm| vm["lost"] == true)
        .filter_map(|vm| vm["vm"].as_str())
        .collect();
    let seen = recovery(&copies, &deaths.first(), &stage.probe.book()).map_err(Failure::new)?;
    stage.say(&format!(
        "recovery time: {rto} ms printed, {} ms from outside (first emulator of {} copies gone to the last one's answer elsewhere)",
        seen.as_millis(),
        copies.len()
    ));
    let migrated = value("VMs Migrated:");
    if migrated != copies.len().to_string() || rate != "100%" || !rpo.starts_with("0 records") {
        return Err(Failure::new(format!(
            "not all of {} copies came back whole: {migrated} migrated, {rate}, {rpo}",
            copies.len()
        )));
    }
    if seen.abs_diff(Duration::from_millis(rto)) > AGREES {
        return Err(Failure::new(format!(
            "the drill says {rto} ms, outside it took {} ms",
            seen.as_millis()
        )));
    }
    Ok(())
}

/// From the first emulator's end to the last copy's first answer elsewhere.
fn recovery(copies: &[&str], gone: &BTreeMap<String, Duration>, book: &Book) -> Result<Duration, String> {
    let mut last = None;
    let mut first = None;
    for copy in copies {
        let at = *gone.get(*copy).ok_or(format!("nobody saw the emulator of {copy} end"))?;
        let boots = book.get(*copy).ok_or(format!("{copy} never answered"))?;
        let lost = boots.values().map(|boot| boot.generation).min().unwrap_or(0);
        let back = probe::answered_above(book, copy, lost).ok_or(format!("{copy} did not come back"))?;
        first = Some(first.map_or(at, |first: Duration| first.min(at)));
        last = Some(last.map_or(back, |last: Duration| last.max(back)));
    }
    first.zip(last).map(|(first, last)| last.saturating_sub(first)).ok_or("there was no copy".to_owned())
}

/// When the emulators of VMs were seen to end first, in the probe's time.
struct Deaths {
    gone: Arc<Mutex<BTreeMap<String, Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Deaths {
    /// Between two looks whether a process lives.
    const LOOK: Duration = Duration::from_millis(5);
    /// Between two searches for new ones.
    const SEARCH: Duration = Duration::from_millis(300);

    fn watch(dev: PathBuf, stage: &Stage) -> Deaths {
        let (gone, stop) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::new(AtomicBool::new(false)));
        let (kept, end) = (Arc::clone(&gone), Arc::clone(&stop));
        let began = Instant::now() - stage.probe.now();
        let thread = std::thread::spawn(move || {
            let mut known: BTreeMap<i32, (process::ProcessId, String)> = BTreeMap::new();
            let mut searched = None::<Instant>;
            while !end.load(Ordering::Relaxed) {
                if searched.is_none_or(|at| at.elapsed() >= Self::SEARCH) {
                    searched = Some(Instant::now());
                    for one in process::owned(&dev).into_iter().filter(|one| one.is_vm()) {
                        let Some(vm) = leaks::vm_of(&arguments(one.id)) else { continue };
                        known.insert(one.id.pid, (one.id, vm));
                    }
                }
                known.retain(|_, (id, vm)| {
                    if id.lives() {
                        return true;
                    }
                    let mut gone = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    gone.entry(vm.clone()).or_insert(began.elapsed());
                    false
                });
                std::thread::sleep(Self::LOOK);
            }
        });
        Deaths { gone, stop, thread: Some(thread) }
    }

    fn first(&self) -> BTreeMap<String, Duration> {
        self.gone.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Drop for Deaths {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// The leader of the federation dies right after the copies were lost: whoever leads next goes on.
fn leader_dies(stage: &Stage, region: &str) -> Result<(), Failure> {
    let before = Traces::take(stage);
    let watch = Closely::watch(&demo::vms(stage.tree)?);
    // It returns when the copies, which boot first, were lost.
    let begin = ["--timeout", "150s", "federation", "dr-drill", "simulate-failure", "--region", region];
    let begun = crate::run::capture(demo::cli(stage.tree).args(begin))?;
    if !begun.status.success() {
        return Err(Failure::new(format!("the drill did not begin: {}", told(&begun))));
    }
    let status = stage.json_at(region, &["federation", "status", "--global"])?;
    let leader = status["leader"].as_str().unwrap_or_default().to_owned();
    let (killed, left) =
        process::stop(&stage.tree.dev, Duration::ZERO, |one| one.region == leader && one.program == "dwcpd");
    if killed == 0 || !left.is_empty() {
        return Err(Failure::new(format!("could not kill the leader of the federation, {leader:?}")));
    }
    let asked = stage.other_than(&[&leader, region]);
    let endpoint = crate::federation::api_url(stage.number(&asked));
    // What was being measured is waited for.
    let restore = ["--endpoint", &endpoint, "federation", "dr-drill", "restore", "--region", region];
    let output = crate::run::capture(demo::cli(stage.tree).args(["--timeout", "240s"]).args(restore))?;
    let words = ["federation", "dr-drill", "list", "--region", region, "--limit", "1"];
    let drill = stage.json_at(&asked, &words)?["items"][0].take();
    stage.say(&format!(
        "the leader ({leader}) was killed in the midst: {} {}, {} of {} back, rto_ms {}, records lost {} ({})",
        drill["drill"],
        drill["state"],
        drill["migrated"],
        drill["lost"],
        drill["rto_ms"],
        drill["rpo"]["records_lost"],
        drill["rpo"]["evidence"]
    ));
    if !output.status.success() || drill["state"] != "restored" {
        return Err(Failure::new(format!("the next leader did not end the drill: {}", told(&output))));
    }
    up::again(stage.tree)?;
    stage.heal(&[])?;
    nothing_left(stage, &before)?;
    let changed = watch.changed();
    if changed.is_empty() { Ok(()) } else { Err(Failure::new(format!("disturbed: {}", changed.join("; ")))) }
}

/// A region is really cut off and nobody ends the drill: its time limit does, and mends the links.
fn live(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[1].clone();
    let other = stage.other_than(&[&region]);
    let before = stage.fill(&region, VMS)?;
    let cut = stage.probe.now();
    let begin = ["federation", "dr-drill", "simulate-failure", "--region", &region, "--live", "--yes"];
    must(stage, &[&begin[..], &["--max-time", LIVE]].concat())?;
    back_elsewhere(stage, &before, &[&region], (cut, PROMISED))?;
    let mut last = Value::Null;
    let ended = wait_until(ENDED, Duration::from_millis(500), || {
        last = newest(stage, &region).unwrap_or_default();
        last["state"] == "restored"
    });
    let seconds = (stage.probe.now() - cut).as_secs();
    stage.say(&format!(
        "{} ({LIVE}) is {} {seconds} s after it began, rto_ms {}, {} of {} answer elsewhere; {}",
        last["drill"], last["state"], last["rto_ms"], last["migrated"], last["lost"], last["failover"]
    ));
    let links = stage.json_at(&other, &["dev", "link"])?;
    let is_cut = |link: &&Value| link["cut"] == true;
    let still = links["links"].as_array().into_iter().flatten().filter(is_cut).count();
    if !ended || still > 0 {
        return Err(Failure::new(format!(
            "the drill did not end by itself: {still} directions are still cut"
        )));
    }
    must(stage, &["federation", "dr-drill", "restore", "--region", &region])?;
    let lifecycle = stage.lifecycle(&region);
    stage.say(&format!("its links are whole; {region} is {lifecycle:?} after `dr-drill restore`"));
    if lifecycle != "active" {
        return Err(Failure::new(format!("{region} is {lifecycle:?} after the drill")));
    }
    stage.wait_until_all_answer(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::super::probe::Boot;
    use super::*;

    #[test]
    fn recovery_counts_from_the_first_end_to_the_last_answer_of_a_later_generation() {
        let ms = Duration::from_millis;
        let boot = |generation: u64, at: u64| Boot {
            id: generation.to_string(),
            generation,
            address: ([127, 77, 1, 32], 8080).into(),
            answers: vec![(ms(at), ms(at + 10))],
        };
        let book = Book::from([
            ("vm_1".to_owned(), BTreeMap::from([("a".into(), boot(1, 100)), ("b".into(), boot(2, 9_000))])),
            ("vm_2".to_owned(), BTreeMap::from([("c".into(), boot(1, 100)), ("d".into(), boot(2, 9_500))])),
        ]);
        let gone = BTreeMap::from([("vm_1".to_owned(), ms(1_000)), ("vm_2".to_owned(), ms(1_200))]);
        assert_eq!(recovery(&["vm_1", "vm_2"], &gone, &book), Ok(ms(8_510)));
        assert!(recovery(&["vm_3"], &gone, &book).is_err());
        assert!(recovery(&[], &gone, &book).is_err());
    }
}

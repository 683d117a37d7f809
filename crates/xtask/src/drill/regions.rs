//! Regions that die as a whole: one after the other, two at once, three at once.

use super::probe;
use super::stage::{Stage, told, words};
use super::writer::Writer;
use crate::federation::demo::{self, Vm};
use crate::federation::{process, up};
use crate::flags::Flags;
use crate::run::{Failure, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Promised: a lost region's VMs answer elsewhere within this of the cut.
pub(super) const PROMISED: Duration = Duration::from_secs(30);
/// After the loss of two regions the survivors boot twice as many VMs on the same machine.
const PROMISED_FOR_TWO: Duration = Duration::from_secs(60);
/// How many VMs a region has at least when it dies.
pub(super) const VMS: usize = 5;
/// What may pass beside the boots of a crowded region's VMs: finding the loss, fencing, deciding.
const BESIDE_BOOTS: Duration = Duration::from_secs(10);
/// How long VMs must go on without any leader.
const WITHOUT_LEADER: Duration = Duration::from_secs(20);

/// Kills one region after the other.
///
/// # Errors
/// Says which promise did not hold in which region.
pub fn kill_each(stage: &Stage) -> Result<(), Failure> {
    // Enough boots to see how fast this machine is.
    stage.fill(&stage.regions[0].clone(), 2 * VMS)?;
    stage.clear()?;
    for region in stage.regions.clone() {
        lose(stage, &[&region], (VMS, PROMISED))?;
        stage.clear()?;
    }
    Ok(())
}

/// Brings everything up once more, which must change nothing, and kills the region that `dwcp-cli` asks first.
///
/// # Errors
/// As [`kill_each`].
pub fn kill_one(stage: &Stage) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    up::up(stage.tree, &Flags::parse(words("--no-build"), &[], &["no-build"])?)?;
    if demo::vms(stage.tree)? != before {
        return Err(Failure::new("`up` of a running federation changed its VMs"));
    }
    lose(stage, &[&stage.regions[0].clone()], (VMS, PROMISED))
}

/// Kills a region with many VMs.
///
/// # Errors
/// As [`kill_each`].
pub fn kill_many(stage: &Stage) -> Result<(), Failure> {
    lose(stage, &[&stage.regions[0].clone()], (stage.vms, PROMISED))
}

/// Kills two regions at once.
///
/// # Errors
/// As [`kill_each`].
pub fn two_regions(stage: &Stage) -> Result<(), Failure> {
    let (first, second) = (stage.regions[0].clone(), stage.regions[2].clone());
    stage.fill(&second, 3)?;
    lose(stage, &[&first, &second], (VMS, PROMISED_FOR_TWO))
}

/// Kills regions and brings them back; their VMs must answer elsewhere in time, see [`back_elsewhere`].
pub(super) fn lose(stage: &Stage, lost: &[&str], (vms, limit): (usize, Duration)) -> Result<(), Failure> {
    let before = stage.fill(lost[0], vms)?;
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(2));
    let cut = stage.probe.now();
    for region in lost {
        stage.kill(region)?;
    }
    let within = back_elsewhere(stage, &before, lost, (cut, limit));
    std::thread::sleep(Duration::from_secs(1));
    let written = writer.finish();
    tell_failovers(stage, lost);
    within?;
    let alive: Vec<String> =
        stage.regions.iter().filter(|name| !lost.contains(&name.as_str())).cloned().collect();
    stage.check_written(&written, &alive)?;
    undisturbed(stage, &before, lost, (cut, stage.probe.now()))?;
    stage.heal(lost)?;
    stage.check_written(&written, &stage.regions)?;
    stage.check_no_doubles()
}

/// How long so many VMs of lost regions may take, `limit` at least. They can't be back sooner than this one machine boots them
/// all, which their creation has shown: if that and what is promised beside it is longer, they are given that. The promise is
/// for [`VMS`]; where no boots were seen, more of them are given as much time each.
fn given(stage: &Stage, moving: usize, limit: Duration) -> Duration {
    let share = || PROMISED.mul_f64(moving as f64 / VMS as f64);
    limit.max(stage.boots(moving).map_or_else(share, |boots| boots + BESIDE_BOOTS))
}

/// Waits until every VM of the lost regions answers elsewhere, within `limit` where this machine can, see [`given`]; says how
/// long each took.
pub fn back_elsewhere(
    stage: &Stage,
    before: &BTreeMap<String, Vm>,
    lost: &[&str],
    (cut, limit): (Duration, Duration),
) -> Result<(), Failure> {
    let moved: Vec<(&String, &Vm)> =
        before.iter().filter(|(_, vm)| lost.contains(&vm.region.as_str())).collect();
    let limit = given(stage, moved.len(), limit);
    let took = |vm: &Vm| {
        probe::answered_above(&stage.probe.book(), &vm.id, vm.generation).map(|at| at.saturating_sub(cut))
    };
    // It is known when the last came back even if that was too late.
    wait_until(3 * limit, Duration::from_millis(100), || moved.iter().all(|(_, vm)| took(vm).is_some()));
    let mut times: Vec<(Duration, &str)> =
        moved.iter().map(|(name, vm)| (took(vm).unwrap_or(Duration::MAX), name.as_str())).collect();
    times.sort_unstable();
    let shown: Vec<String> = times
        .iter()
        .map(|(took, name)| match *took {
            Duration::MAX => format!("{name} never"),
            took => format!("{name} {:.1} s", took.as_secs_f64()),
        })
        .collect();
    stage.say(&format!("{} lost; seen from outside: {}", lost.join(" and "), shown.join(", ")));
    if let Some((last, _)) = times.last().filter(|(took, _)| *took != Duration::MAX) {
        let share = last.as_secs_f64() / limit.as_secs_f64();
        stage.say(&format!(
            "all back after {share:.2} of the {:.1} s that they were given",
            limit.as_secs_f64()
        ));
    }
    let late: Vec<&str> = times
        .iter()
        .zip(&shown)
        .filter(|((took, _), _)| *took > limit)
        .map(|(_, text)| text.as_str())
        .collect();
    if late.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not elsewhere within {} s: {}", limit.as_secs(), late.join(", "))))
}

fn tell_failovers(stage: &Stage, lost: &[&str]) {
    let other = stage.other_than(lost);
    for region in lost {
        // It ends a moment after the last VM answers.
        let mut line = String::new();
        wait_until(Duration::from_secs(5), Duration::from_millis(300), || {
            let words = ["federation", "failover", "list", "--region", region];
            let Ok(list) = stage.json_at(&other, &words) else { return false };
            let newest = &list["items"][0];
            let phases: Vec<String> = newest["phases"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|phase| format!("{} {}", phase["name"].as_str().unwrap_or("?"), phase["took_ms"]))
                .collect();
            line = format!(
                "{} of {region}: {} rto_ms {} done {} of {}; ms: {}",
                newest["failover"].as_str().unwrap_or("no failover"),
                newest["state"].as_str().unwrap_or("?"),
                newest["rto_ms"],
                newest["done"],
                newest["total"],
                phases.join(", ")
            );
            newest["rto_final"] == true
        });
        stage.say(&line);
    }
}

/// VMs of the other regions must have gone on under the same boot.
fn undisturbed(
    stage: &Stage,
    before: &BTreeMap<String, Vm>,
    lost: &[&str],
    window: (Duration, Duration),
) -> Result<(), Failure> {
    let spared = before.iter().filter(|(_, vm)| !lost.contains(&vm.region.as_str()));
    stage.undisturbed(spared, window).map(drop)
}

/// Kills three regions at once: no majority is left.
///
/// # Errors
/// Says what did not hold.
pub fn three_regions(stage: &Stage) -> Result<(), Failure> {
    let dead: Vec<String> = stage.regions[..3].to_vec();
    let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
    for region in &stage.regions[3..] {
        stage.fill(region, 2)?;
    }
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(2));
    let cut = stage.probe.now();
    process::stop(&stage.tree.dev, Duration::ZERO, |one| dead.contains(&one.region.as_str()));
    std::thread::sleep(Duration::from_secs(8));
    let refused = stage.cli(&["security", "token", "create", "--user", "nobody", "--role", "viewer"])?;
    stage.say(&format!("a write: exit {}: {}", refused.status.code().unwrap_or(-1), told(&refused)));
    if refused.status.code() != Some(6) {
        return Err(Failure::new("a write without a majority must end with exit 6"));
    }
    reads_with_age(stage)?;
    std::thread::sleep(WITHOUT_LEADER.saturating_sub(stage.probe.now().saturating_sub(cut)));
    let end = stage.probe.now();
    let written = writer.finish();
    undisturbed(stage, &before, &dead, (cut, end))?;
    stage.say(&format!("the VMs of the two living regions went on for {} s", (end - cut).as_secs()));
    stage.heal(&dead)?;
    stage.check_written(&written, &stage.regions)?;
    let works = stage.cli(&["security", "token", "create", "--user", "drill", "--role", "viewer"])?;
    if !works.status.success() {
        return Err(Failure::new(format!("no write after the three came back: {}", told(&works))));
    }
    stage.check_no_doubles()
}

fn reads_with_age(stage: &Stage) -> Result<(), Failure> {
    let living = stage.regions[3].clone();
    let list = stage.json_at(&living, &["vm", "list"])?;
    let ages: Vec<String> = list["as_of"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|of| format!("{} {}", of["region"].as_str().unwrap_or("?"), of["age_ms"]))
        .collect();
    stage.say(&format!("a read in {living} says how old it is, ms: {}", ages.join(", ")));
    let old = list["as_of"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|of| of["age_ms"].as_u64().is_none_or(|age_ms| age_ms >= 5_000));
    if old { Ok(()) } else { Err(Failure::new("a read without a majority does not show its age")) }
}

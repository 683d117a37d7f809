//! A region dies, its VMs start elsewhere, it returns, and they come home: the running ones while they run, the one whose disk
//! is protected by being started where its copy is. The home region's controller dies once in the midst.

use super::leaks;
use super::moves::{told_times, vm};
use super::probe::{self, Book};
use super::regions::back_elsewhere;
use super::stage::{Stage, must, told};
use super::sync_loss::wait_whole;
use crate::federation::demo::{self, Vm};
use crate::federation::{process, up};
use crate::run::{Failure, capture, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

/// The VM whose disk is protected; drills take away what begins so.
const PROTECTED: &str = "drill-home-db";
/// How many VMs the region has at least, the protected one among them.
const VMS: usize = 4;
/// A lost region's VMs answer elsewhere within this.
const PROMISED: Duration = Duration::from_secs(30);
/// How long the region must have been back.
const STABLE_SECONDS: u64 = 15;
/// A VM that comes home while it runs is silent for no longer: its way home is no second outage.
const GAP: Duration = Duration::from_secs(10);
/// How often `failback` is typed again at most.
const TRIES: usize = 6;
/// How long one `failback` may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Kills a region, brings it back, and its VMs home.
///
/// # Errors
/// Says what did not come home, or not as promised.
pub fn home(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[0].clone();
    stage.place_only_in(&region, true)?;
    let size = ["--disk", "1GiB", "--protection", "sync"];
    let created = must(stage, &[&["vm", "create", "--name", PROTECTED][..], &size].concat());
    stage.place_only_in(&region, false)?;
    created?;
    let before = stage.fill(&region, VMS)?;
    let at_home = wait_whole(stage, PROTECTED)?;
    let cut = stage.kill(&region)?;
    back_elsewhere(stage, &before, &[&region], (cut, PROMISED))?;
    protected_while_away(stage, &region, &at_home)?;
    up::again(stage.tree)?;
    enable(stage, &region)?;
    too_soon(stage, &region)?;
    let away = away_from(stage, &before, &region)?;
    let began = stage.probe.now();
    let last = come_home(stage, &region)?;
    let ended = stage.probe.now();
    came_while_running(stage, &away, &region, (began, ended))?;
    names_the_protected(&last, &region)?;
    protected_home(stage, &region, &at_home)?;
    stage.heal(&[&region])?;
    leaks::check(stage)?;
    stage.check_no_doubles()
}

/// The VMs that were at home before and are not now.
fn away_from(
    stage: &Stage,
    before: &BTreeMap<String, Vm>,
    region: &str,
) -> Result<BTreeMap<String, Vm>, Failure> {
    let mut now = demo::vms(stage.tree)?;
    now.retain(|name, vm| before.get(name).is_some_and(|was| was.region == region) && vm.region != region);
    Ok(now)
}

/// On its copy's host it is protected again, towards a region that lives.
fn protected_while_away(stage: &Stage, home: &str, at_home: &Value) -> Result<(), Failure> {
    let away = wait_whole(stage, PROTECTED)?;
    let at = vm(stage, PROTECTED)?.region;
    stage.say(&format!(
        "{PROTECTED}: at home protected in {}; now it runs in {at} and is protected in {}",
        at_home["region"], away["region"]
    ));
    if at_home["region"] != at.as_str() {
        return Err(Failure::new(format!("{PROTECTED} was started in {at}, which had no copy of it")));
    }
    if away["region"] == home || away["region"] == at.as_str() {
        return Err(Failure::new(format!("{PROTECTED} in {at} is protected in {}", away["region"])));
    }
    Ok(())
}

/// Takes a region that is back into service.
fn enable(stage: &Stage, region: &str) -> Result<(), Failure> {
    let active = wait_until(Duration::from_secs(60), Duration::from_millis(500), || {
        let done = must(stage, &["federation", "region", "enable", "--region", region]).is_ok();
        done && stage.lifecycle(region) == "active"
    });
    if active { Ok(()) } else { Err(Failure::new(format!("{region} is {:?}", stage.lifecycle(region)))) }
}

/// A region that has only just come back takes nobody home; then the time that was asked for passes.
fn too_soon(stage: &Stage, region: &str) -> Result<(), Failure> {
    let output = failback(stage, region, STABLE_SECONDS)?;
    stage.say(&format!("failback at once: exit {:?}: {}", output.status.code(), told(&output)));
    if output.status.code() != Some(5) {
        return Err(Failure::new("a region that has just come back must not take its VMs home yet"));
    }
    std::thread::sleep(Duration::from_secs(STABLE_SECONDS));
    Ok(())
}

fn failback(stage: &Stage, region: &str, stable: u64) -> Result<Output, Failure> {
    let stable = format!("{stable}s");
    let words = ["federation", "failback", "--region", region, "--stable-for", &stable];
    capture(demo::cli(stage.tree).args(["--timeout", "120s"]).args(words))
}

/// Types `failback` until it has nothing more to do; the home region's controller dies under the first one. Returns the last
/// answer.
fn come_home(stage: &Stage, region: &str) -> Result<Output, Failure> {
    let stable = format!("{STABLE_SECONDS}s");
    let words = ["federation", "failback", "--region", region, "--stable-for", &stable];
    let mut first = demo::cli(stage.tree)
        .args(["--timeout", "120s"])
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::new(format!("cannot run dwcp-cli: {e}")))?;
    let other = stage.other_than(&[region]);
    let under_way = wait_until(Duration::from_secs(20), Duration::from_millis(50), || {
        let list = stage.json_at(&other, &["federation", "migrate", "status", "--target", region]);
        let list = list.unwrap_or_default();
        list["items"].as_array().into_iter().flatten().any(|one| one["state"] == "running")
    });
    let (killed, _) =
        process::stop(&stage.tree.dev, Duration::ZERO, |one| one.region == region && one.program == "dwcpd");
    std::thread::sleep(Duration::from_secs(3));
    up::again(stage.tree)?;
    let ended = wait_until(PATIENCE, Duration::from_millis(200), || {
        first.try_wait().is_ok_and(|status| status.is_some())
    });
    if !ended {
        let _ = first.kill();
    }
    let output = first.wait_with_output().map_err(|e| Failure::new(format!("failback: {e}")))?;
    stage.say(&format!(
        "failback, the controller of {region} killed while a VM moved ({under_way}, {killed} process): exit {:?}: {}",
        output.status.code(),
        told(&output)
    ));
    if !ended || killed == 0 || !under_way {
        return Err(Failure::new("nothing moved when the controller was killed, or `failback` did not end"));
    }

    for _ in 0..TRIES {
        enable(stage, region)?;
        let last = failback(stage, region, 0)?;
        let left = demo::vms(stage.tree)?
            .into_iter()
            .filter(|(name, vm)| name.starts_with("drill-") && name != PROTECTED && vm.region != region);
        let left: Vec<String> = left.map(|(name, _)| name).collect();
        stage.say(&format!("failback again: exit {:?}; away: {left:?}: {}", last.status.code(), told(&last)));
        if left.is_empty() {
            return Ok(last);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Err(Failure::new(format!("not everything is at home after failback was typed {TRIES} times again")))
}

/// What came home did so under its boot, and was silent no longer than a VM that moves.
fn came_while_running(
    stage: &Stage,
    away: &BTreeMap<String, Vm>,
    region: &str,
    (began, ended): (Duration, Duration),
) -> Result<(), Failure> {
    let now = demo::vms(stage.tree)?;
    let book = stage.probe.book();
    let mut gaps = Vec::new();
    for (name, was) in away.iter().filter(|(name, _)| *name != PROTECTED) {
        let vm = now.get(name).ok_or_else(|| Failure::new(format!("{name} is gone")))?;
        let (one_boot, gap) =
            (boots_since(&book, &vm.id, began), probe::longest_gap(&book, &vm.id, (began, ended)));
        stage.say(&format!(
            "{name}: {} to {}, {one_boot} boot(s), no answer for {} ms at most",
            was.region,
            vm.region,
            gap.as_millis()
        ));
        if vm.region != region || one_boot != 1 || gap > GAP {
            return Err(Failure::new(format!("{name} did not come home as it ran")));
        }
        gaps.push(gap);
    }
    stage.say(&format!(
        "{} VMs came home while they ran; longest silence of each: {}",
        gaps.len(),
        told_times(&mut gaps)
    ));
    Ok(())
}

/// Boots of a VM that have answered since then.
fn boots_since(book: &Book, vm: &str, since: Duration) -> usize {
    let boots = book.get(vm).into_iter().flat_map(|boots| boots.values());
    let answered = boots.filter(|boot| boot.answers.last().is_some_and(|(_, at)| *at > since));
    answered.map(|boot| boot.id.as_str()).collect::<std::collections::BTreeSet<_>>().len()
}

/// What can't come home while it runs is named, with why.
fn names_the_protected(last: &Output, region: &str) -> Result<(), Failure> {
    let said = told(last);
    if said.contains(PROTECTED) && last.status.code() != Some(0) {
        return Ok(());
    }
    Err(Failure::new(format!("failback to {region} does not say why {PROTECTED} stays away: {said}")))
}

/// The protected VM's copy is made at home, and then it starts there; its own copy is then elsewhere again.
fn protected_home(stage: &Stage, region: &str, at_home: &Value) -> Result<(), Failure> {
    must(stage, &["vm", "protect", PROTECTED, "--mode", "sync", "--protect-in", region, "--again"])?;
    wait_whole(stage, PROTECTED)?;
    let (was, began) = (vm(stage, PROTECTED)?, stage.probe.now());
    must(stage, &["federation", "migrate", "--vm", PROTECTED, "--target", region, "--cold"])?;
    stage.wait_until_all_answer(Duration::from_secs(60))?;
    let (now, ended) = (vm(stage, PROTECTED)?, stage.probe.now());
    must(stage, &["vm", "protect", PROTECTED, "--mode", "sync"])?;
    let again = wait_whole(stage, PROTECTED)?;
    let gap = probe::longest_gap(&stage.probe.book(), &now.id, (began, ended));
    stage.say(&format!(
        "{PROTECTED}: handed home from {} to {}, no answer for {} ms; protected in {} again (before: {})",
        was.region,
        now.region,
        gap.as_millis(),
        again["region"],
        at_home["region"]
    ));
    if now.region != region || again["region"] == region || again["wanted"] != at_home["wanted"] {
        return Err(Failure::new(format!("{PROTECTED} is not protected at home as it was: {again}")));
    }
    Ok(())
}

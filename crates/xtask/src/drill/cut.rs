//! A region that is cut off with everything in it alive: fenced before its VMs start elsewhere.

use super::probe;
use super::regions::back_elsewhere;
use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::{api_url, demo};
use crate::run::{Failure, wait_until};
use std::time::Duration;

/// How many VMs the region has at least when it is cut off.
const VMS: usize = 3;
const PROMISED: Duration = Duration::from_secs(30);
/// How long everything must stay as it is after the cut is over.
const QUIET: Duration = Duration::from_secs(10);

/// Cuts one region off, both ways, and lets it return.
///
/// # Errors
/// Says what did not hold.
pub fn cut(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[1].clone();
    let other = stage.other_than(&[&region]);
    let before = stage.fill(&region, VMS)?;
    let count = before.values().filter(|vm| vm.region == region).count();
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(2));
    link(stage, &other, &region, "--cut")?;
    let at = stage.probe.now();
    let known = (count.to_string(), Some(7));
    let mut last_known = (String::new(), None);
    // The others notice after a second or so, and move the VMs a few seconds later.
    wait_until(Duration::from_secs(5), Duration::from_millis(100), || {
        last_known = vm_count(stage, &other, &region).unwrap_or_default();
        last_known == known
    });
    stage.say(&format!("vm-count of {region}, asked in {other}: {last_known:?}"));
    let seen = aging(stage, &region);
    let within = back_elsewhere(stage, &before, &[&region], (at, PROMISED));
    tell_fences(stage, &before, &region, at);
    let written = writer.finish();
    // Whatever happened, the cut must not outlive the drill.
    link(stage, &other, &region, "--heal")?;
    within?;
    if last_known != known {
        return Err(Failure::new(format!(
            "vm-count of the cut region said {last_known:?}; it had {count} VMs and could not be reached (exit 7)"
        )));
    }
    seen?;
    let after = demo::vms(stage.tree)?;
    std::thread::sleep(QUIET);
    stage.check_no_doubles()?;
    let now = demo::vms(stage.tree)?;
    let moved: Vec<&String> = after
        .iter()
        .filter(|(name, vm)| now[*name].generation != vm.generation)
        .map(|(name, _)| name)
        .collect();
    if !moved.is_empty() {
        return Err(Failure::new(format!("moved again after the cut was over: {moved:?}")));
    }
    comes_back_empty(stage, &other, &region)?;
    stage.heal(&[&region])?;
    stage.check_written(&written, &stage.regions)?;
    stage.check_no_doubles()
}

fn link(stage: &Stage, at: &str, region: &str, what: &str) -> Result<(), Failure> {
    let endpoint = api_url(stage.number(at));
    let words = ["--endpoint", &endpoint, "dev", "link", "--from", region, "--to", "all", what];
    let output = stage.cli(&words)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("dev link {what}: {}", told(&output))))
    }
}

/// What `region vm-count` prints, and its exit code.
fn vm_count(stage: &Stage, at: &str, region: &str) -> Result<(String, Option<i32>), Failure> {
    let endpoint = api_url(stage.number(at));
    let output =
        stage.cli(&["--endpoint", &endpoint, "federation", "region", "vm-count", "--region", region])?;
    Ok((String::from_utf8_lossy(&output.stdout).trim().to_owned(), output.status.code()))
}

/// The cut region must say how old what it tells of the others is, and that must grow.
fn aging(stage: &Stage, region: &str) -> Result<(), Failure> {
    let age_ms = || -> Result<u64, Failure> {
        let list = stage.json_at(region, &["vm", "list"])?;
        let ages = list["as_of"].as_array().into_iter().flatten();
        Ok(ages.filter_map(|of| of["age_ms"].as_u64()).max().unwrap_or(u64::MAX))
    };
    let first = age_ms()?;
    std::thread::sleep(Duration::from_secs(2));
    let second = age_ms()?;
    stage.say(&format!("{region} itself answers with facts of {first} ms, then {second} ms of age"));
    if second >= first.saturating_add(1_500) {
        return Ok(());
    }
    Err(Failure::new(format!("the age of what {region} tells did not grow: {first} ms, then {second} ms")))
}

fn tell_fences(
    stage: &Stage,
    before: &std::collections::BTreeMap<String, demo::Vm>,
    region: &str,
    cut: Duration,
) {
    let book = stage.probe.book();
    let fences: Vec<String> = before
        .iter()
        .filter(|(_, vm)| vm.region == region)
        .map(|(name, vm)| {
            let last = probe::last_answer_up_to(&book, &vm.id, vm.generation).unwrap_or_default();
            let next = probe::answered_above(&book, &vm.id, vm.generation).unwrap_or_default();
            format!(
                "{name} last {:.1} s, elsewhere {:.1} s",
                last.saturating_sub(cut).as_secs_f64(),
                next.saturating_sub(cut).as_secs_f64()
            )
        })
        .collect();
    stage.say(&format!("after the cut: {}", fences.join("; ")));
}

/// Until it is enabled the returned region has no VM and takes none.
fn comes_back_empty(stage: &Stage, other: &str, region: &str) -> Result<(), Failure> {
    let mut seen = (String::new(), None);
    let empty = wait_until(Duration::from_secs(20), Duration::from_millis(500), || {
        seen = vm_count(stage, other, region).unwrap_or_default();
        seen == ("0".to_owned(), Some(0))
    });
    let lifecycle = stage.lifecycle(region);
    stage.say(&format!("{region} is {lifecycle:?} after its return"));
    if empty && lifecycle != "active" {
        return Ok(());
    }
    Err(Failure::new(format!("{region} came back {lifecycle:?} with vm-count {seen:?}")))
}

//! A zone loses power: every host in it at once, with its VMs, while the region's server lives.

use super::probe;
use super::stage::Stage;
use super::writer::Writer;
use crate::federation::process;
use crate::run::{Failure, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many VMs the region has at least.
const VMS: usize = 4;
/// A host's VMs answer elsewhere within this of its death.
const PROMISED: Duration = Duration::from_secs(30);

/// Kills every host of a zone at once. Its VMs must answer in the region's other zone, and nothing else may move.
///
/// # Errors
/// Says what did not hold.
pub fn zone(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[1].clone();
    let before = stage.fill(&region, VMS)?;
    let (zone, hosts) = fullest_zone(stage, &region)?;
    let (hit, spared): (Vec<_>, Vec<_>) = before.iter().partition(|(_, vm)| hosts.contains(&vm.host));
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(2));
    let cut = stage.probe.now();
    let names: BTreeSet<String> = hosts.iter().map(|host| format!("agentd-{host}")).collect();
    let (killed, left) = process::stop(&stage.tree.dev, Duration::ZERO, |one| names.contains(&one.name));
    if killed == 0 || !left.is_empty() {
        return Err(Failure::new(format!("could not kill zone {zone} of {region}")));
    }
    let mut missing = Vec::new();
    let back = wait_until(2 * PROMISED, Duration::from_millis(100), || {
        let book = stage.probe.book();
        missing = hit
            .iter()
            .filter(|(_, vm)| probe::answered_above(&book, &vm.id, vm.generation).is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        missing.is_empty()
    });
    let took = stage.probe.now() - cut;
    stage.say(&format!(
        "zone {zone} of {region}: {killed} processes killed, {} VMs, the last answers again after {:.1} s",
        hit.len(),
        took.as_secs_f64()
    ));
    if !back || took > PROMISED {
        let left = missing.join(", ");
        return Err(Failure::new(format!(
            "later than {} s; without an answer: {left:?}",
            PROMISED.as_secs()
        )));
    }
    let written = writer.finish();
    stage.undisturbed(spared, (cut, stage.probe.now()))?;
    stay_in_the_region(stage, &region, &hosts)?;
    stage.check_written(&written, &stage.regions)?;
    stage.heal(&[])?;
    stage.check_no_doubles()
}

/// The region is not lost with a zone of it: its VMs are in its other zone.
fn stay_in_the_region(stage: &Stage, region: &str, dead: &BTreeSet<String>) -> Result<(), Failure> {
    let lifecycle = stage.lifecycle(region);
    if lifecycle != "active" {
        return Err(Failure::new(format!("{region} is {lifecycle:?} after the loss of one zone")));
    }
    let vms = crate::federation::demo::vms(stage.tree)?;
    let there = vms.values().filter(|vm| vm.region == region).count();
    let on_dead: Vec<&String> =
        vms.iter().filter(|(_, vm)| dead.contains(&vm.host)).map(|(name, _)| name).collect();
    if there < VMS || !on_dead.is_empty() {
        return Err(Failure::new(format!("{region} has {there} VMs; on dead hosts: {on_dead:?}")));
    }
    Ok(())
}

/// The zone with the most VMs, and the names of its hosts.
fn fullest_zone(stage: &Stage, region: &str) -> Result<(String, BTreeSet<String>), Failure> {
    let list = stage.json_at(region, &["host", "list", "--region", region])?;
    let mut zones: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
    for host in list["items"].as_array().into_iter().flatten() {
        let (Some(zone), Some(name)) = (host["zone"].as_str(), host["host"].as_str()) else { continue };
        let (vms, hosts) = zones.entry(zone.to_owned()).or_default();
        *vms += host["vms"].as_u64().unwrap_or(0);
        hosts.insert(name.to_owned());
    }
    if zones.len() < 2 {
        return Err(Failure::new(format!("{region} has {} zones", zones.len())));
    }
    let (zone, (vms, hosts)) = zones.into_iter().max_by_key(|(_, (vms, _))| *vms).expect("two or more");
    if vms == 0 {
        return Err(Failure::new(format!("no VM runs in {region}")));
    }
    Ok((zone, hosts))
}

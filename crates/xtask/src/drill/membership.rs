//! A region comes in from its host pool, takes VMs, and loses its node for a moment; one of the first ones is emptied and leaves;
//! the new one's host comes back with an empty disk; the new one leaves too, its host is cleaned up, and comes in again.

use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::{demo, image, planned, process};
use crate::run::{Failure, capture, fault, wait_until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

/// The region that comes.
const COMES: &str = "eu-central-1";
/// The region that leaves.
const LEAVES: &str = "sa-east-1";
/// VMs that go to the new region.
const VMS: usize = 2;
/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(120);

/// The guide's runbooks for a region that comes and one that leaves, with what must be refused between their steps.
///
/// # Errors
/// Says what did not hold.
pub fn membership(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    let began = stage.probe.now();
    comes_in(stage)?;
    takes_vms(stage)?;
    its_node_dies(stage)?;
    let stay: std::collections::BTreeMap<_, _> =
        before.into_iter().filter(|(_, vm)| vm.region != LEAVES).collect();
    let longest = stage.undisturbed(&stay, (began, stage.probe.now()))?;
    stage.say(&format!("{} VMs went on, longest silence {} ms", stay.len(), longest.as_millis()));
    leaves(stage)?;
    let written = writer.finish();
    let left: Vec<String> = stage.regions.iter().filter(|region| *region != LEAVES).cloned().collect();
    stage.check_written(&written, &left)?;
    stage.wait_until_all_answer(PATIENCE)?;
    for number in 1..=VMS {
        done(stage, &format!("vm delete drill-new-{number} --yes"))?;
    }
    its_host_loses_its_disk(stage)?;
    goes_and_comes_back(stage)?;
    stage.check_no_doubles()
}

fn cli(stage: &Stage, line: &str) -> Result<Output, Failure> {
    let began = Instant::now();
    let output = capture(demo::cli(stage.tree).args(line.split(' ')))?;
    let code = output.status.code().unwrap_or(-1);
    stage.say(&format!("dwcp-cli {line}: exit {code} after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(output)
}

fn done(stage: &Stage, line: &str) -> Result<String, Failure> {
    let output = cli(stage, line)?;
    if !output.status.success() {
        return Err(Failure::new(format!("dwcp-cli {line}: {}", told(&output))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn refused(stage: &Stage, line: &str, because: &str) -> Result<(), Failure> {
    let output = cli(stage, line)?;
    let said = told(&output);
    match !output.status.success() && said.contains(because) {
        true => Ok(()),
        false => Err(Failure::new(format!("dwcp-cli {line}: {said:?} does not refuse with {because:?}"))),
    }
}

fn region(stage: &Stage, name: &str) -> Result<Value, Failure> {
    let text = done(stage, &format!("--format json federation region status --region {name}"))?;
    serde_json::from_str(&text).map_err(|e| Failure::new(format!("region status printed no JSON: {e}")))
}

/// Guide 10.1.
fn comes_in(stage: &Stage) -> Result<(), Failure> {
    let mut pools = String::new();
    let waits = wait_until(PATIENCE, Duration::from_secs(1), || {
        pools = done(stage, "infrastructure pools").unwrap_or_default();
        [COMES, "ap-northeast-1", "ca-central-1"].iter().all(|pool| pools.contains(pool))
    });
    if !waits {
        return Err(Failure::new(format!("not every host pool waits: {pools}")));
    }
    refused(stage, "infrastructure deploy --region nowhere-1", "no host with a certificate of nowhere-1")?;
    refused(stage, &format!("federation state enable-region --region {COMES}"), "no region")?;
    let deploy = format!(
        "infrastructure deploy --region {COMES} --components controller,state-manager,router,monitor"
    );
    done(stage, &deploy)?;
    refused(stage, &deploy, "is a region already")?;
    refused(stage, &format!("federation region enable --region {COMES}"), "no replica of the state yet")?;
    let reach = format!("federation region connectivity-test --region {COMES} --test-all-regions");
    let reached = wait_until(PATIENCE, Duration::from_secs(1), || {
        cli(stage, &reach).is_ok_and(|output| output.status.success())
    });
    if !reached {
        return Err(Failure::new(format!("not every region reaches {COMES}")));
    }
    done(stage, &format!("federation state enable-region --region {COMES}"))?;
    done(stage, &format!("federation state verify-sync --region {COMES}"))?;
    done(stage, &format!("federation region enable --region {COMES} --traffic-percentage 10"))?;
    for percent in [25, 50, 75, 100] {
        done(stage, &format!("federation region set-traffic --region {COMES} --percentage {percent}"))?;
    }
    let status = region(stage, COMES)?;
    if status["summary"]["lifecycle"] != "active" || status["summary"]["traffic_percent"] != 100.0 {
        return Err(Failure::new(format!("{COMES} is not in service: {}", status["summary"])));
    }
    Ok(())
}

fn takes_vms(stage: &Stage) -> Result<(), Failure> {
    let hosts = wait_until(PATIENCE, Duration::from_secs(1), || {
        region(stage, COMES).is_ok_and(|status| status["summary"]["hosts"].as_u64() > Some(0))
    });
    if !hosts {
        return Err(Failure::new(format!("no host of {COMES} is registered")));
    }
    for number in 1..=VMS {
        done(stage, &format!("vm create --name drill-new-{number} --regions {COMES}"))?;
    }
    stage.wait_until_all_answer(PATIENCE)?;
    refused(stage, &format!("federation region remove --region {COMES} --confirm"), "is not empty")
}

/// The host's agent starts the node again.
fn its_node_dies(stage: &Stage) -> Result<(), Failure> {
    let node = || {
        let owned = process::owned(&stage.tree.dev);
        owned.into_iter().find(|one| one.program == "dwcpd" && one.region == COMES).map(|one| one.id.pid)
    };
    let first = node().ok_or_else(|| Failure::new(format!("no dwcpd of {COMES} runs")))?;
    let began = Instant::now();
    process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd" && one.region == COMES);
    let again = wait_until(PATIENCE, Duration::from_millis(100), || node().is_some_and(|pid| pid != first));
    if !again {
        return Err(Failure::new(format!("nobody started the node of {COMES} again")));
    }
    stage.say(&format!(
        "the node of {COMES} was killed and runs again after {} ms",
        began.elapsed().as_millis()
    ));
    let active = wait_until(PATIENCE, Duration::from_secs(1), || stage.lifecycle(COMES) == "active");
    if !active {
        return Err(Failure::new(format!(
            "{COMES} is {} after its node was started again",
            stage.lifecycle(COMES)
        )));
    }
    stage.wait_until_all_answer(PATIENCE)
}

/// Guide 4.3.
fn leaves(stage: &Stage) -> Result<(), Failure> {
    let remove = format!("federation region remove --region {LEAVES} --confirm");
    refused(stage, &remove, "is not empty")?;
    done(stage, &format!("federation region disable-placement --region {LEAVES}"))?;
    let away = format!(
        "federation migrate-all --source {LEAVES} --targets us-east-1,eu-west-1 --reason decommission"
    );
    done(stage, &away)?;
    let count = done(stage, &format!("federation region vm-count --region {LEAVES}"))?;
    if count.trim() != "0" {
        return Err(Failure::new(format!("{} VMs are left in {LEAVES}", count.trim())));
    }
    done(stage, &format!("federation region disable --region {LEAVES}"))?;
    let began = Instant::now();
    done(stage, &remove)?;
    stage.say(&format!("{LEAVES} has left after {:.1} s", began.elapsed().as_secs_f64()));
    refused(stage, &format!("federation region status --region {LEAVES}"), "no region")?;
    done(stage, "vm create --name drill-after")?;
    done(stage, "federation state verify-sync").map(|_| ())
}

/// The host is told to run its region's node again, as one that has lost its votes, and that node gets everything from the others.
fn its_host_loses_its_disk(stage: &Stage) -> Result<(), Failure> {
    stage.kill(COMES)?;
    let planned = planned(stage.tree)?;
    let agents = planned.iter().filter(|entry| entry.region == COMES && entry.program == "dwcp-agentd");
    for agent in agents {
        let Some(folder) = image::data_of(stage.tree, agent)? else { continue };
        fs::remove_dir_all(&folder).map_err(|e| fault("cannot remove", &folder, &e))?;
    }
    image::share(stage.tree, &planned)?;
    let began = Instant::now();
    stage.heal(&[COMES])?;
    // What is still being repaired is unverified, exit 7.
    let verify = format!("federation state verify-sync --region {COMES}");
    let whole = wait_until(PATIENCE, Duration::from_secs(1), || {
        cli(stage, &verify).is_ok_and(|output| output.status.success())
    });
    if !whole {
        return Err(Failure::new(format!("{COMES} is not whole: {}", told(&cli(stage, &verify)?))));
    }
    let log = kept(stage).join("log");
    let text = fs::read_to_string(&log).map_err(|e| fault("cannot read", &log, &e))?;
    if !text.contains("was repaired from a peer") {
        return Err(Failure::new(format!("{} does not say that lost votes were repaired", log.display())));
    }
    stage.say(&format!(
        "{COMES} has everything again {:.1} s after its host came back with an empty disk",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Where the new region's host keeps its node.
fn kept(stage: &Stage) -> PathBuf {
    stage.tree.dev.join("data").join(format!("{COMES}-a1")).join("control-plane")
}

/// What the new region's host has of its node is removed, and made anew.
fn goes_and_comes_back(stage: &Stage) -> Result<(), Failure> {
    let clean = format!("infrastructure cleanup --region {COMES}");
    refused(stage, &clean, "is part of the federation")?;
    done(stage, &format!("federation region disable --region {COMES}"))?;
    done(stage, &format!("federation region remove --region {COMES} --confirm"))?;
    done(stage, &clean)?;
    let kept = kept(stage);
    let runs = || {
        let owned = process::owned(&stage.tree.dev);
        owned.iter().any(|one| one.program == "dwcpd" && one.region == COMES)
    };
    if runs() || kept.exists() {
        return Err(Failure::new(format!("the node of {COMES} runs, or left {}", kept.display())));
    }
    done(stage, &format!("federation region deploy --region {COMES} --capacity 10000 --priority 85"))?;
    done(stage, &format!("federation region verify-connectivity --region {COMES}"))?;
    done(stage, &format!("federation region enable --region {COMES}"))?;
    done(stage, "federation state verify-sync").map(|_| ())
}

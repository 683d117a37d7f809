//! One process dies: anywhere, in the middle of an operation; and each part of a host by itself.

use super::stage::{Stage, told, words};
use super::{leaks, probe};
use crate::federation::demo::{self, Vm};
use crate::federation::process::{self, ProcessId};
use crate::federation::up;
use crate::run::{Failure, wait_until};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

/// How many rounds `single-kills` has.
const ROUNDS: u64 = 10;
/// A host's VMs answer elsewhere within this of its death.
const HOST_LOSS_LIMIT: Duration = Duration::from_secs(30);

/// A process to kill.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Home,
    Target,
    Worker,
    Watchdog,
    Qemu,
}

const VICTIMS: [Victim; 5] = [Victim::Home, Victim::Target, Victim::Worker, Victim::Watchdog, Victim::Qemu];

/// The arguments a process was started with.
pub fn arguments(id: ProcessId) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", id.pid)).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Kills single processes while operations run; each must end, and nothing may leak.
///
/// # Errors
/// Says in which round what did not hold.
pub fn single_kills(stage: &Stage) -> Result<(), Failure> {
    let seed = std::env::var("DRILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    stage.say(&format!("seed {seed} (DRILL_SEED)"));
    for round in 0..ROUNDS {
        one_round(stage, round, &mut random)
            .map_err(|failure| Failure::new(format!("round {round} of seed {seed}: {}", failure.message)))?;
    }
    Ok(())
}

fn one_round(stage: &Stage, round: u64, random: &mut Random) -> Result<(), Failure> {
    let home = stage.regions[random.below(stage.regions.len() as u64) as usize].clone();
    let target = stage.other_than(&[&home]);
    let victim = VICTIMS[random.below(5) as usize];
    let delay = Duration::from_millis(random.below(1_500));
    let name = format!("single-{round}");
    let line = match round % 3 {
        0 => format!("vm create --name {name} --regions {home}"),
        1 => format!("federation failover --from-region {home} --to-regions {target} --partial --yes"),
        _ => {
            let output = stage.cli(&["federation", "region", "disable", "--region", &home, "--yes"])?;
            if !output.status.success() {
                return Err(Failure::new(format!("region disable: {}", told(&output))));
            }
            format!("federation region enable --region {home}")
        }
    };
    let mut operation = demo::cli(stage.tree)
        .args(["--timeout", "60s"])
        .args(words(&line))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::new(format!("cannot run dwcp-cli: {e}")))?;
    std::thread::sleep(delay);
    let killed = kill(stage, victim, &home, &target, random);
    // A second for the others to notice, as a person would need at least.
    std::thread::sleep(Duration::from_secs(1));
    let killed_at = delay.as_millis();
    up::again(stage.tree)?;
    let ended = wait_until(Duration::from_secs(65), Duration::from_millis(200), || {
        operation.try_wait().is_ok_and(|status| status.is_some())
    });
    if !ended {
        let _ = operation.kill();
    }
    let output = operation.wait_with_output().map_err(|e| Failure::new(format!("{line}: {e}")))?;
    stage.say(&format!(
        "round {round}: `{line}`, {victim:?} ({killed}) killed after {killed_at} ms: exit {:?}: {}",
        output.status.code(),
        told(&output)
    ));
    if !ended {
        return Err(Failure::new(format!("`{line}` did not end")));
    }
    if matches!(output.status.code(), Some(2..=4) | None) {
        return Err(Failure::new(format!("`{line}` was answered by a region that did not know of it")));
    }
    stage.heal(&[&home, &target])?;
    no_open_operation(stage)?;
    leaks::check(stage)?;
    stage.check_no_doubles()
}

/// Kills one; returns which process it was.
fn kill(stage: &Stage, victim: Victim, home: &str, target: &str, random: &mut Random) -> String {
    let owned = process::owned(&stage.tree.dev);
    let is_worker = |id: ProcessId| {
        arguments(id).last().is_some_and(String::is_empty)
            && arguments(id).iter().any(|word| word == "worker")
    };
    let picked: Vec<ProcessId> = owned
        .iter()
        .filter(|one| match victim {
            Victim::Home => one.program == "dwcpd" && one.region == home,
            Victim::Target => one.program == "dwcpd" && one.region == target,
            Victim::Worker => {
                one.program.starts_with("dwcp-agent") && one.region == home && is_worker(one.id)
            }
            Victim::Watchdog => {
                one.program.starts_with("dwcp-agent") && one.region == home && !is_worker(one.id)
            }
            Victim::Qemu => one.is_vm() && (one.region == home || one.region == target),
        })
        .map(|one| one.id)
        .collect();
    if picked.is_empty() {
        return "none there".to_owned();
    }
    let one = picked[random.below(picked.len() as u64) as usize];
    one.signal(libc::SIGKILL);
    format!("pid {}", one.pid)
}

fn no_open_operation(stage: &Stage) -> Result<(), Failure> {
    let mut open = Vec::new();
    let none = wait_until(Duration::from_secs(60), Duration::from_millis(500), || {
        let Ok(list) = stage.json_at(&stage.regions[0], &["operation", "list", "--limit", "200"]) else {
            return false;
        };
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let is_open = |state: &str| matches!(state, "waiting" | "running" | "cancelling");
        open = items
            .iter()
            .filter(|one| one["state"].as_str().is_some_and(is_open))
            .map(ToString::to_string)
            .collect();
        open.is_empty()
    });
    if none { Ok(()) } else { Err(Failure::new(format!("operations still open: {}", open.join(" ")))) }
}

/// Each part of a host by itself, and a region's server by itself.
///
/// # Errors
/// Says what did not hold.
pub fn agents(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[0].clone();
    stage.fill(&region, 2)?;
    worker_dies(stage, &region)?;
    watchdog_dies(stage, &region)?;
    server_dies(stage, &region)?;
    leaks::check(stage)?;
    stage.check_no_doubles()
}

/// Kills the agents' workers of a region, which their watchdogs start again; returns how many.
pub fn kill_workers(stage: &Stage, region: &str) -> usize {
    let owned = process::owned(&stage.tree.dev).into_iter();
    let agents = owned.filter(|one| one.region == region && one.program.starts_with("dwcp-agent"));
    let workers = agents.map(|one| one.id).filter(|id| arguments(*id).iter().any(|word| word == "worker"));
    workers.map(|id| id.signal(libc::SIGKILL)).count()
}

fn worker_dies(stage: &Stage, region: &str) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    let at = stage.probe.now();
    let killed = kill_workers(stage, region);
    std::thread::sleep(Duration::from_secs(8));
    let gap = went_on(stage, &before, region, at)?;
    stage.say(&format!("{killed} workers of {region} killed: longest silence {} ms", gap.as_millis()));
    if killed == 0 { Err(Failure::new(format!("no worker runs in {region}"))) } else { Ok(()) }
}

/// That every VM of the region still is the same boot; returns the longest silence.
fn went_on(
    stage: &Stage,
    before: &BTreeMap<String, Vm>,
    region: &str,
    since: Duration,
) -> Result<Duration, Failure> {
    let there = before.iter().filter(|(_, vm)| vm.region == region);
    stage.undisturbed(there, (since, stage.probe.now()))
}

fn watchdog_dies(stage: &Stage, region: &str) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    let vm = before.values().find(|vm| vm.region == region);
    let host = vm.map(|vm| vm.host.clone()).ok_or_else(|| Failure::new(format!("no VM in {region}")))?;
    let watchdog = process::recorded(&stage.tree.dev, &format!("agentd-{host}"))
        .ok_or_else(|| Failure::new(format!("no agent of {host} runs")))?;
    let at = stage.probe.now();
    watchdog.signal(libc::SIGKILL);
    let hit: Vec<(&String, &Vm)> = before.iter().filter(|(_, vm)| vm.host == host).collect();
    let mut missing = Vec::new();
    let back = wait_until(HOST_LOSS_LIMIT, Duration::from_millis(100), || {
        let book = stage.probe.book();
        let returned = |vm: &Vm| probe::answered_above(&book, &vm.id, vm.generation).is_some();
        missing = hit.iter().filter(|(_, vm)| !returned(vm)).map(|(name, _)| name.as_str()).collect();
        missing.is_empty()
    });
    let took = stage.probe.now() - at;
    stage.say(&format!(
        "watchdog of {host} killed: {} VMs, all again after {:.1} s",
        hit.len(),
        took.as_secs_f64()
    ));
    if !back {
        return Err(Failure::new(format!(
            "not started again under a higher generation: {}",
            missing.join(", ")
        )));
    }
    stage.heal(&[])
}

fn server_dies(stage: &Stage, region: &str) -> Result<(), Failure> {
    stage.fill(region, 2)?;
    let before = demo::vms(stage.tree)?;
    let at = stage.probe.now();
    let (killed, _) =
        process::stop(&stage.tree.dev, Duration::ZERO, |one| one.region == region && one.program == "dwcpd");
    std::thread::sleep(Duration::from_secs(10));
    stage.heal(&[region])?;
    let gap = went_on(stage, &before, region, at)?;
    stage.say(&format!("{killed} dwcpd of {region} gone for 10 s: longest silence {} ms", gap.as_millis()));
    Ok(())
}

/// Repeatable choices (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

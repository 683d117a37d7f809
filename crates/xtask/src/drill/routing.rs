//! Users reach VMs through every region's router: while a VM moves, while a region dies, and while every server is dead.

use super::crew::Crew;
use super::stage::{Stage, must, told};
use crate::federation::{demo, process, router_address, up};
use crate::run::{Failure, wait_until};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients for each router.
const CLIENTS: usize = 2;
/// No answer is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a region dies, requests through the other routers fail no longer than this.
const FAILS_NO_LONGER: Duration = Duration::from_secs(10);
/// How long there is no server.
const GONE: Duration = Duration::from_secs(20);
/// Requests that a split is counted over, and how far from its share it may be, percent.
const SPLIT: usize = 4_000;
const SPLIT_OFF: f64 = 4.0;
/// Between two requests of one client: by default 500 connections a second are a flood.
const POLITE: Duration = Duration::from_millis(3);

/// A request that failed.
#[derive(Clone, Debug)]
struct Failed {
    at: Instant,
    router: usize,
    why: String,
}

#[derive(Default)]
struct Count {
    answers: BTreeMap<String, u64>,
    failed: Vec<Failed>,
    longest: Duration,
}

/// Clients that ask through routers, one request after the other.
struct Load {
    crew: Crew,
    count: Arc<Mutex<Count>>,
}

/// The name of the VM that answers through a router.
fn ask(region: usize) -> Result<String, String> {
    let text = demo::get(router_address(region), PATIENCE).ok_or("no answer of 200")?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|_| format!("no JSON: {text:.80}"))?;
    value["vm"].as_str().map(str::to_owned).ok_or_else(|| format!("no VM in {text:.80}"))
}

impl Load {
    fn start(routers: impl Iterator<Item = usize>) -> Load {
        let mut load = Load { crew: Crew::new(), count: Arc::default() };
        for router in routers.flat_map(|router| [router; CLIENTS]) {
            let count = load.count.clone();
            load.crew.add(move || {
                let at = Instant::now();
                let answer = ask(router);
                let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                count.longest = count.longest.max(at.elapsed());
                match answer {
                    Ok(vm) => *count.answers.entry(vm).or_default() += 1,
                    Err(why) => count.failed.push(Failed { at, router, why }),
                }
                drop(count);
                std::thread::sleep(Duration::from_millis(20));
            });
        }
        load
    }

    fn end(self) -> Count {
        drop(self.crew);
        std::mem::take(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Count {
    fn all(&self) -> u64 {
        self.answers.values().sum()
    }

    fn told(&self, since: Instant) -> String {
        let last = self.failed.last().map(|one| {
            format!(
                "; the last {:.1} s on, router {}: {}",
                (one.at - since).as_secs_f64(),
                one.router,
                one.why
            )
        });
        format!(
            "{} answers, {} failures{}, longest wait {} ms",
            self.all(),
            self.failed.len(),
            last.unwrap_or_default(),
            self.longest.as_millis()
        )
    }
}

/// Asks through all routers while VMs move, a region dies and every server is dead.
///
/// # Errors
/// Says what did not hold.
pub fn routing(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    every_router_leads_somewhere(stage)?;
    split(stage)?;
    more_routers(stage)?;
    a_vm_moves(stage)?;
    no_server(stage)?;
    a_region_dies(stage)?;
    stage.check_no_doubles()
}

fn all(stage: &Stage) -> impl Iterator<Item = usize> {
    1..=stage.regions.len()
}

fn every_router_leads_somewhere(stage: &Stage) -> Result<(), Failure> {
    let mut silent = String::new();
    let there = wait_until(Duration::from_secs(30), Duration::from_millis(250), || {
        let dead = all(stage).find_map(|number| ask(number).err().map(|why| (number, why)));
        silent = dead.map(|(number, why)| format!("{}: {why}", router_address(number))).unwrap_or_default();
        silent.is_empty()
    });
    if !there {
        return Err(Failure::new(format!("no way to a VM through {silent}")));
    }
    stage.say("every region's router leads to a VM");
    Ok(())
}

/// A region with a share of the traffic takes that share of what came to its own router.
fn split(stage: &Stage) -> Result<(), Failure> {
    let region = &stage.regions[1];
    let vms = demo::vms(stage.tree)?;
    let here = |id: &str| vms.values().any(|vm| vm.id == id && vm.region == *region);
    for percent in ["50", "100"] {
        must(stage, &["federation", "region", "set-traffic", "--region", region, "--percentage", percent])?;
        std::thread::sleep(Duration::from_secs(2));
        let (mut answers, mut failed) = (Vec::new(), None);
        for _ in 0..SPLIT {
            match ask(2) {
                Ok(vm) => answers.push(vm),
                Err(why) => drop(failed.get_or_insert(why)),
            }
            std::thread::sleep(POLITE);
        }
        let share = answers.iter().filter(|id| here(id)).count() as f64 * 100.0 / answers.len().max(1) as f64;
        stage.say(&format!(
            "{region} with {percent} % of its traffic: {share:.1} % of {} requests",
            answers.len()
        ));
        let wanted: f64 = percent.parse().unwrap_or(0.0);
        if answers.len() < SPLIT || (share - wanted).abs() > SPLIT_OFF {
            let why = failed.map(|why| format!("; one failed: {why}")).unwrap_or_default();
            let told = format!("{share:.1} % of {} requests, not {percent} %{why}", answers.len());
            return Err(Failure::new(told));
        }
    }
    Ok(())
}

/// More routers at a region's addresses take part of what comes; one that is killed comes again, and fewer are not missed.
fn more_routers(stage: &Stage) -> Result<(), Failure> {
    let region = &stage.regions[0];
    let (load, since) = (Load::start(std::iter::once(1)), Instant::now());
    let scale = |count: &str| {
        must(
            stage,
            &["infrastructure", "scale", "--component", "router", "--replicas", count, "--region", region],
        )
    };
    scale("+2")?;
    std::thread::sleep(Duration::from_secs(5));
    let all = routers(stage, region)?;
    let asked: Vec<u64> = all.iter().map(|of| of["requests"].as_u64().unwrap_or(0)).collect();
    stage.say(&format!("{} routers of {region} served {asked:?} requests", all.len()));
    let victim = all.iter().find(|of| of["number"] == 2).and_then(|of| of["pid"].as_u64()).unwrap_or(0);
    let process = process::live(i32::try_from(victim).unwrap_or(0));
    let killed = process.inspect(|process| process.signal(libc::SIGKILL)).is_some();
    let again = wait_until(Duration::from_secs(20), Duration::from_millis(250), || {
        routers(stage, region).is_ok_and(|all| {
            all.iter().any(|of| of["number"] == 2 && of["pid"] != victim && of["services"] != 0)
        })
    });
    let failed = load.end();
    stage.say(&format!("one of them was killed ({killed}) and came again ({again}): {}", failed.told(since)));
    let (load, since) = (Load::start(std::iter::once(1)), Instant::now());
    scale("1")?;
    std::thread::sleep(Duration::from_secs(2));
    let (left, count) = (routers(stage, region)?.len(), load.end());
    stage.say(&format!("{left} router of {region} is left: {}", count.told(since)));
    // What waited at the one that was killed is lost with it.
    let lost = failed.failed.len() + count.failed.len();
    match asked.len() == 3
        && asked.iter().all(|count| *count > 0)
        && killed
        && again
        && left == 1
        && lost <= 2
    {
        true => Ok(()),
        false => Err(Failure::new("more routers must share what comes, come again, and not be missed")),
    }
}

fn routers(stage: &Stage, region: &str) -> Result<Vec<serde_json::Value>, Failure> {
    let all = stage.json_at(region, &["routing", "routers", "--region", region])?;
    Ok(all["routers"].as_array().cloned().unwrap_or_default())
}

fn a_vm_moves(stage: &Stage) -> Result<(), Failure> {
    let vms = demo::vms(stage.tree)?;
    let from = &stage.regions[1];
    let (name, _) = vms
        .iter()
        .find(|(_, vm)| vm.region == *from)
        .ok_or_else(|| Failure::new(format!("no VM in {from}")))?;
    let (load, since) = (Load::start(all(stage)), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let moved = stage.cli(&["federation", "migrate", "--vm", name, "--target", &stage.regions[2]])?;
    std::thread::sleep(Duration::from_secs(3));
    let count = load.end();
    stage.say(&format!("{name} moved while it ran: {}", count.told(since)));
    if !moved.status.success() {
        return Err(Failure::new(format!("migrate: {}", told(&moved))));
    }
    match count.failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new("requests failed while a VM moved")),
    }
}

fn no_server(stage: &Stage) -> Result<(), Failure> {
    let (load, since) = (Load::start(all(stage)), Instant::now());
    let (killed, _) = process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd");
    std::thread::sleep(GONE);
    let count = load.end();
    stage.say(&format!("{killed} servers dead for {} s: {}", GONE.as_secs(), count.told(since)));
    // Routers that begin while nobody is there have their last table.
    let (ended, _) = process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcp-routerd");
    up::start_all(stage.tree, "dwcp-routerd")?;
    every_router_leads_somewhere(stage)?;
    stage.say(&format!("{ended} routers that began meanwhile serve by the table on their disks"));
    stage.heal(&[])?;
    match count.failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new("requests failed while every server was dead")),
    }
}

fn a_region_dies(stage: &Stage) -> Result<(), Failure> {
    let victim = stage.regions[0].clone();
    let (load, since) = (Load::start(all(stage).skip(1)), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    stage.kill(&victim)?;
    let died = Instant::now();
    std::thread::sleep(Duration::from_secs(25));
    let count = load.end();
    stage.say(&format!("{victim} died: {}", count.told(since)));
    stage.heal(&[&victim])?;
    let late = count.failed.iter().filter(|one| one.at > died + FAILS_NO_LONGER).count();
    match late {
        0 => Ok(()),
        late => {
            Err(Failure::new(format!("{late} requests failed later than {FAILS_NO_LONGER:?} after it died")))
        }
    }
}

//! Partitions of real processes: links break in six ways, heal, and everything must be as it should within a minute.

use super::probe;
use super::stage::{Stage, must};
use super::writer::Writer;
use crate::federation::api_url;
use crate::federation::demo::{self, Vm};
use crate::run::Failure;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long links stay broken, or flap.
const LONG: Duration = Duration::from_secs(30);
/// Links that flap turn so often.
const TURN: Duration = Duration::from_secs(3);
/// After healing everything is as it should be within, and so much later for each VM that may have to boot: two cores that emulate
/// boot ten VMs in 80 s beside seven members of etcd.
const CONVERGE: Duration = Duration::from_secs(30);
const BOOT: Duration = Duration::from_secs(6);
/// Then nothing may move for.
const QUIET: Duration = Duration::from_secs(10);
/// Between two looks at where VMs are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// VMs in a region that is to lose its links.
const VMS: usize = 2;
/// Automatic failovers an hour: all partitions together ask for more than the default.
const FAILOVERS: &str = "60";

/// One partition.
struct Case {
    name: &'static str,
    /// From, to, by position; none: all regions.
    links: &'static [(usize, Option<usize>)],
    one_way: bool,
    flaps: bool,
}

/// Every partition, in the order in which they strike.
const CASES: [Case; 6] = [
    Case {
        name: "full 2|3",
        links: &[(0, Some(2)), (0, Some(3)), (0, Some(4)), (1, Some(2)), (1, Some(3)), (1, Some(4))],
        one_way: false,
        flaps: false,
    },
    Case { name: "full 1|4", links: &[(1, None)], one_way: false, flaps: false },
    Case { name: "full 1|1|3", links: &[(2, None), (3, None)], one_way: false, flaps: false },
    Case { name: "one-way", links: &[(4, None)], one_way: true, flaps: false },
    Case { name: "partial", links: &[(3, Some(0)), (3, Some(1))], one_way: false, flaps: false },
    Case { name: "flapping", links: &[(1, None)], one_way: false, flaps: true },
];

/// Where VMs were seen, and how often each has moved.
#[derive(Default)]
struct Places {
    known: BTreeMap<String, Vm>,
    moves: BTreeMap<String, Vec<String>>,
}

impl Places {
    /// Takes a list of VMs, which may be an old one.
    fn look(&mut self, vms: BTreeMap<String, Vm>) {
        for (name, vm) in vms {
            let before = self.known.get(&name);
            if before.is_some_and(|before| vm.generation <= before.generation) {
                continue;
            }
            if let Some(before) = before.filter(|before| before.host != vm.host) {
                let step = format!("{} to {}", before.host, vm.host);
                self.moves.entry(name.clone()).or_default().push(step);
            }
            self.known.insert(name, vm);
        }
    }

    /// VMs that moved more than once.
    fn to_and_fro(&self) -> Vec<String> {
        let often = self.moves.iter().filter(|(_, moves)| moves.len() > 1);
        often.map(|(name, moves)| format!("{name}: {}", moves.join("; "))).collect()
    }
}

/// Lets every partition strike, one after the other, and prints a table.
///
/// # Errors
/// Says what did not hold, and of which partition.
pub fn partitions(stage: &Stage) -> Result<(), Failure> {
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", FAILOVERS])?;
    let mut table = vec![format!(
        "{:<12} {:>9} {:>12} {:>12} {:>8}",
        "partition", "VMs moved", "converged", "writes kept", "failed"
    )];
    for case in &CASES {
        let line = strike(stage, case);
        if line.is_err() {
            // Whatever happened, broken links must not outlive the drill.
            turn(stage, case, "--heal")?;
        }
        let line = line.map_err(|failure| Failure::new(format!("{}: {}", case.name, failure.message)));
        table.push(line?);
    }
    table.iter().for_each(|line| stage.say(line));
    Ok(())
}

fn strike(stage: &Stage, case: &Case) -> Result<String, Failure> {
    for (from, _) in case.links {
        stage.fill(&stage.regions[*from], VMS)?;
    }
    let mut places = Places::default();
    places.look(demo::vms(stage.tree)?);
    let hit = |vm: &&Vm| case.links.iter().any(|(from, _)| stage.regions[*from] == vm.region);
    let at_stake = places.known.values().filter(hit).count();
    let writer = Writer::start(stage.tree);
    stage.say(&format!("{}: the links break for {} s", case.name, LONG.as_secs()));
    turn(stage, case, "--cut")?;
    let (start, mut cut, mut turned) = (Instant::now(), true, Instant::now());
    while start.elapsed() < LONG {
        std::thread::sleep(LOOK_EVERY);
        places.look(demo::vms(stage.tree).unwrap_or_default());
        if case.flaps && turned.elapsed() >= TURN {
            (cut, turned) = (!cut, Instant::now());
            turn(stage, case, if cut { "--cut" } else { "--heal" })?;
        }
    }
    turn(stage, case, "--heal")?;
    let converged = converge(stage, &mut places, CONVERGE + BOOT * at_stake as u32)?;
    let end = Instant::now();
    let before = places.moves.clone();
    while end.elapsed() < QUIET {
        std::thread::sleep(LOOK_EVERY);
        places.look(demo::vms(stage.tree).unwrap_or_default());
    }
    let written = writer.finish();
    stage.check_no_doubles()?;
    stage.check_written(&written, &stage.regions)?;
    if before != places.moves {
        return Err(Failure::new(format!("VMs moved after all had converged: {:?}", places.moves)));
    }
    let to_and_fro = places.to_and_fro();
    if !to_and_fro.is_empty() {
        return Err(Failure::new(format!("moved to and fro: {}", to_and_fro.join(", "))));
    }
    Ok(format!(
        "{:<12} {:>9} {:>10.1} s {:>12} {:>8}",
        case.name,
        places.moves.len(),
        converged.as_secs_f64(),
        written.acknowledged.len(),
        written.failed
    ))
}

/// Waits until every region serves (those that returned are enabled, as an operator would) and every VM answers.
fn converge(stage: &Stage, places: &mut Places, limit: Duration) -> Result<Duration, Failure> {
    let healed = Instant::now();
    let mut why = String::new();
    while healed.elapsed() < limit {
        places.look(demo::vms(stage.tree).unwrap_or_default());
        let idle = stage.not_active();
        for region in &idle {
            // Refused until it has returned.
            stage.cli(&["federation", "region", "enable", "--region", region])?;
        }
        why = match stage.wait_until_all_answer(Duration::from_secs(1)) {
            Ok(()) if idle.is_empty() => return Ok(healed.elapsed()),
            Ok(()) => format!("not active: {idle:?}"),
            Err(failure) => failure.message,
        };
        std::thread::sleep(LOOK_EVERY);
    }
    let doubles = probe::doubles(&stage.probe.book());
    let after = limit.as_secs();
    Err(Failure::new(format!("not converged {after} s after healing: {why} {doubles:?}")))
}

fn turn(stage: &Stage, case: &Case, what: &str) -> Result<(), Failure> {
    // Every process reads the same file, so any region's API will do.
    let endpoint = api_url(stage.number(&stage.regions[4]));
    for (from, to) in case.links {
        let (from, to) = (&stage.regions[*from], to.map_or("all", |to| &stage.regions[to]));
        let mut words = vec!["--endpoint", &endpoint, "dev", "link", "--from", from, "--to", to, what];
        if case.one_way {
            words.push("--one-way");
        }
        must(stage, &words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(host: &str, generation: u64) -> BTreeMap<String, Vm> {
        let vm = Vm { host: host.to_owned(), generation, ..Vm::default() };
        BTreeMap::from([("web".to_owned(), vm)])
    }

    #[test]
    fn a_vm_that_goes_and_comes_back_is_told_and_one_that_only_starts_again_is_not() {
        let mut places = Places::default();
        for (host, generation) in [("a", 1), ("a", 2), ("b", 3), ("a", 2), ("b", 4)] {
            places.look(vm(host, generation));
        }
        assert_eq!(places.moves.len(), 1);
        assert!(places.to_and_fro().is_empty(), "an old list is no move");
        places.look(vm("a", 5));
        assert_eq!(places.to_and_fro(), ["web: a to b; b to a"]);
    }

    #[test]
    fn every_partition_names_two_regions_of_five() {
        for case in &CASES {
            let ends = case.links.iter().flat_map(|(from, to)| [Some(*from), *to]).flatten();
            assert!(!case.links.is_empty() && ends.max() < Some(5), "{}", case.name);
            assert!(case.links.iter().all(|(from, to)| Some(*from) != *to), "{}", case.name);
        }
    }
}

//! One thing dies at one moment of a move: every moment, every thing, a cell each. Afterwards exactly one emulator runs the VM, the
//! guest's disk has every record that it said is written, and the operation has ended and says how.

mod cell;
mod sight;

use super::stage::{Stage, must, told};
use crate::federation::demo::{self, Vm};
use crate::federation::{api_url, up};
use crate::run::{Failure, wait_until};
use cell::Found;
use std::time::Duration;

/// The VM; drills take away what begins so.
const NAME: &str = "drill-breaks";
/// A moment that was over before anything could be struck is waited for so often.
const TRIES: usize = 3;
/// Round trip between the two regions while a VM moves: moments of one or two round trips must last long enough to be seen.
const RTT: &str = "300ms";
/// What the link carries, Mbit/s: a copy takes seconds.
const RATE: &str = "40";
/// A region's server, or the link, is gone for so long.
const GONE: Duration = Duration::from_secs(8);
/// Until the federation is as it was before a cell.
const SETTLED: Duration = Duration::from_secs(120);

/// A moment of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It was asked for; at the target nothing has begun.
    Noted,
    /// The target's emulator is there; nothing is copied.
    Room,
    /// The copy has begun.
    Begin,
    /// More than a third of it is done.
    Middle,
    /// The guest stands still.
    Switch,
    /// It was given away; the books are not closed.
    Books,
}

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The worker of the source's agent.
    SourceAgent,
    /// The worker of the target's agent.
    TargetAgent,
    /// The VM's emulator at the source.
    SourceVm,
    /// The emulator at the target.
    TargetVm,
    /// The server that leads the source's region.
    SourceServer,
    /// The server that leads the target's region.
    TargetServer,
    /// The link between the two regions.
    Link,
}

const PHASES: [(&str, Phase); 6] = [
    ("noted", Phase::Noted),
    ("room", Phase::Room),
    ("begin", Phase::Begin),
    ("middle", Phase::Middle),
    ("switch", Phase::Switch),
    ("books", Phase::Books),
];

const FAULTS: [(&str, Fault); 7] = [
    ("source-agent", Fault::SourceAgent),
    ("target-agent", Fault::TargetAgent),
    ("source-vm", Fault::SourceVm),
    ("target-vm", Fault::TargetVm),
    ("source-server", Fault::SourceServer),
    ("target-server", Fault::TargetServer),
    ("link", Fault::Link),
];

impl Fault {
    /// True when a guest may boot again over it: its memory may have been in what died.
    fn may_boot(self) -> bool {
        matches!(self, Fault::SourceVm | Fault::TargetVm)
    }
}

/// The cells that are asked for.
#[derive(Clone, Debug)]
pub struct Chosen {
    phases: Vec<(&'static str, Phase)>,
    faults: Vec<(&'static str, Fault)>,
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen { phases: PHASES.to_vec(), faults: FAULTS.to_vec() }
    }
}

impl Chosen {
    /// Takes `--phases=a,b` and `--faults=a,b` out of the arguments of `drill`; without them every cell is asked for.
    ///
    /// # Errors
    /// Wrong usage for an unknown name.
    pub fn take(arguments: &mut Vec<String>) -> Result<Chosen, Failure> {
        let mut chosen = Chosen::default();
        if let Some(names) = given(arguments, "--phases=") {
            chosen.phases = pick(&PHASES, &names)?;
        }
        if let Some(names) = given(arguments, "--faults=") {
            chosen.faults = pick(&FAULTS, &names)?;
        }
        Ok(chosen)
    }
}

fn given(arguments: &mut Vec<String>, flag: &str) -> Option<Vec<String>> {
    let at = arguments.iter().position(|argument| argument.starts_with(flag))?;
    Some(arguments.remove(at)[flag.len()..].split(',').map(str::to_owned).collect())
}

fn pick<T: Copy>(all: &[(&'static str, T)], names: &[String]) -> Result<Vec<(&'static str, T)>, Failure> {
    let known = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
        return Err(Failure::usage(format!("no {unknown:?}; there are: {}", known())));
    }
    Ok(all.iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name)).copied().collect())
}

/// Strikes in every chosen cell and prints a table.
///
/// # Errors
/// How many cells did not hold; or the federation could not be brought back to where it was.
pub fn breaks(stage: &Stage) -> Result<(), Failure> {
    // On a machine that has just started all of it a region may have counted as lost for a moment.
    stage.heal(&stage.regions.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (mut table, mut records, mut wrong) = (vec![head(&stage.chosen)], (0, 0), Vec::new());
    let cells = all(stage, &mut table, |name, found| {
        records = (records.0 + found.records, records.1 + found.missing);
        if !found.wrong.is_empty() {
            wrong.push(format!("{name}: {}", found.wrong.join("; ")));
        }
    });
    table.iter().for_each(|line| stage.say(line));
    stage.say(&format!("{} records acknowledged and looked for, {} missing", records.0, records.1));
    wrong.iter().for_each(|line| stage.say(&format!("did not hold: {line}")));
    cells?;
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("{} cells did not hold", wrong.len()))) }
}

fn all(stage: &Stage, table: &mut Vec<String>, mut tell: impl FnMut(&str, &Found)) -> Result<(), Failure> {
    for (phase_name, phase) in &stage.chosen.phases {
        table.push(format!("{phase_name:<8}"));
        for (fault_name, fault) in &stage.chosen.faults {
            let name = format!("{phase_name} x {fault_name}");
            let found = one_cell(stage, &name, *phase, *fault)?;
            stage.say(&format!("{name}: {}", found.told()));
            tell(&name, &found);
            if let Some(line) = table.last_mut() {
                line.push_str(&format!(" {:>16}", found.short()));
            }
        }
    }
    Ok(())
}

fn head(chosen: &Chosen) -> String {
    let columns = chosen.faults.iter().map(|(name, _)| format!(" {name:>16}"));
    format!("{:<8}{}", "", columns.collect::<String>())
}

/// One cell, with the federation whole before and after.
fn one_cell(stage: &Stage, name: &str, phase: Phase, fault: Fault) -> Result<Found, Failure> {
    let mut found = Found::default();
    for _ in 0..TRIES {
        let vm = ready(stage)?;
        let at = stage.number(&vm.region) - 1;
        let target = stage.regions[(at + 1) % stage.regions.len()].clone();
        led_at_home(stage, &[&vm.region, &target])?;
        link(stage, (&vm.region, &target), &["--rtt", RTT, "--rate", RATE])?;
        found = cell::strike(stage, &vm, &target, (phase, fault)).unwrap_or_else(|failure| Found {
            outcome: "not begun".to_owned(),
            wrong: vec![failure.message],
            ..Found::default()
        });
        // Whatever happened, what is broken must not outlive the cell.
        link(stage, (&vm.region, &target), &["--heal"])?;
        up::again(stage.tree)?;
        if !found.wrong.is_empty() {
            // What is wrong with this VM must not be found again in the next cell.
            must(stage, &["vm", "delete", NAME, "--yes"])?;
        }
        stage.heal(&[&vm.region, &target])?;
        if !found.missed {
            break;
        }
        stage.say(&format!("{name}: missed ({})", found.outcome));
    }
    if found.missed {
        found.wrong.push("the moment was over before anything could be struck".to_owned());
    }
    Ok(found)
}

/// The VM, running and answering; made when it is not there.
fn ready(stage: &Stage) -> Result<Vm, Failure> {
    if !demo::vms(stage.tree)?.contains_key(NAME) {
        must(stage, &["--detach", "vm", "create", "--name", NAME, "--disk", "1GiB"])?;
    }
    let mut vm = Vm::default();
    let answers = wait_until(SETTLED, Duration::from_millis(200), || {
        vm = demo::vms(stage.tree).unwrap_or_default().remove(NAME).unwrap_or_default();
        vm.state == "running" && vm.answer().is_some()
    });
    if answers { Ok(vm) } else { Err(Failure::new(format!("{NAME} does not answer: {vm:?}"))) }
}

/// Waits until each of the regions is led by its own server again.
fn led_at_home(stage: &Stage, regions: &[&str]) -> Result<(), Failure> {
    for region in regions {
        let mut leader = String::new();
        let home = wait_until(SETTLED, Duration::from_millis(200), || {
            let words = ["federation", "region", "status", "--region", region];
            let status = stage.json_at(&stage.other_than(&[region]), &words).unwrap_or_default();
            leader = status["summary"]["leader"].as_str().unwrap_or_default().to_owned();
            leader == *region
        });
        if !home {
            return Err(Failure::new(format!("{region} is led by {leader:?} and not at home")));
        }
    }
    Ok(())
}

/// Sets the link between two regions, by way of a third.
fn link(stage: &Stage, (from, to): (&str, &str), how: &[&str]) -> Result<(), Failure> {
    let endpoint = api_url(stage.number(&stage.other_than(&[from, to])));
    let words = [&["--endpoint", &endpoint, "dev", "link", "--from", from, "--to", to][..], how].concat();
    let output = stage.cli(&words)?;
    if output.status.success() { Ok(()) } else { Err(Failure::new(format!("dev link: {}", told(&output)))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_chosen_by_name_and_a_wrong_name_is_told() {
        let mut words = ["--phases=begin,books", "breaks", "--faults=link"].map(str::to_owned).to_vec();
        let chosen = Chosen::take(&mut words).expect("they are known");
        assert_eq!(words, ["breaks"]);
        assert_eq!(chosen.phases, [("begin", Phase::Begin), ("books", Phase::Books)]);
        assert_eq!(chosen.faults, [("link", Fault::Link)]);
        assert!(Chosen::take(&mut vec!["--faults=sun".to_owned()]).is_err());
        let all = Chosen::take(&mut Vec::new()).expect("all");
        assert_eq!(all.phases.len() * all.faults.len(), 42);
    }
}

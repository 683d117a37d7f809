//! `drill`: the real federation, real VMs and real kills, watched from outside.
//!
//! Each drill ends with everything healthy again, so that several can follow each other on one
//! federation. The federation is the drill's own and goes with it, also when a drill fails.

mod async_loss;
mod attack;
mod backup;
mod bitrot;
mod breaks;
mod closely;
mod control_plane;
mod crew;
mod cut;
mod dr;
mod etcd;
mod home;
mod images;
mod leaks;
mod lifecycle;
mod membership;
mod moves;
mod paging;
mod partitions;
mod probe;
mod regions;
mod restore;
mod routing;
mod runbook;
mod script;
mod single;
mod stage;
mod sync_loss;
mod traces;
mod upgrade;
mod writer;
mod zone;

use crate::federation::{down, process};
use crate::flags::Flags;
use crate::run::Failure;
use crate::tree::Tree;
use breaks::Chosen;
use stage::{Built, Setting, Stage};
use std::time::Instant;

/// How often a drill in rounds does what it does.
const ROUNDS: usize = 20;
/// How many VMs a region has that `kill-many` kills.
const VMS: usize = 30;

/// The drill whose federation keeps its state in etcd.
const ETCD: &str = "etcd";

type Run = fn(&Stage) -> Result<(), Failure>;

/// Every drill: its name, what it shows, and whether CI runs it.
const DRILLS: [(&str, &str, bool, Run); 30] = [
    (
        "kill-one",
        "a region dies; its VMs answer elsewhere in 30 s and no write is lost",
        true,
        regions::kill_one,
    ),
    ("cut", "a region is cut off alive: fenced first, never twice, empty until enabled", true, cut::cut),
    (
        "three-regions",
        "no majority: writes are refused, VMs go on, everything returns",
        true,
        regions::three_regions,
    ),
    (
        "paging",
        "a region dies, and the monitor that pages: one incident, one page, one end each",
        false,
        paging::paging,
    ),
    (
        "routing",
        "users reach VMs through every router while a VM moves, every server is dead, and a region dies",
        false,
        routing::routing,
    ),
    (
        "attack",
        "floods are found, judged and kept out at every router, and users notice nothing",
        false,
        attack::attack,
    ),
    ("kill-each", "every region dies in its turn, also the one the CLI asks", false, regions::kill_each),
    ("kill-many", "a region with 30 VMs (--vms=N) dies", false, regions::kill_many),
    ("zone", "every host of a zone dies; its VMs answer in the other zone", false, zone::zone),
    (
        "control-plane",
        "every server dies; VMs go on, and everything acknowledged is there afterwards",
        false,
        control_plane::control_plane,
    ),
    ("two-regions", "two regions die at once", false, regions::two_regions),
    (
        "partitions",
        "links break in six ways and heal: nothing runs twice, nothing moves to and fro",
        false,
        partitions::partitions,
    ),
    (
        "moves",
        "a VM moves through the regions while it runs and writes: one boot, no record lost",
        false,
        moves::moves,
    ),
    ("drain", "a region of six VMs is emptied while they run, and filled again", false, moves::drain),
    (
        "breaks",
        "one thing dies at one moment of a move: a table of both (--phases=, --faults=)",
        false,
        breaks::breaks,
    ),
    (
        "single-kills",
        "one process dies in the middle of an operation, ten times",
        false,
        single::single_kills,
    ),
    ("agents", "workers, a watchdog and a server die by themselves", false, single::agents),
    (
        "sync-loss",
        "a region dies under a guest that writes to a protected disk: no record is lost",
        false,
        sync_loss::sync_loss,
    ),
    (
        "async-loss",
        "a region and the copy's server die under a guest whose disk is kept in points in time: what came before the point is there",
        false,
        async_loss::async_loss,
    ),
    (
        "dr",
        "a region's loss is rehearsed: nobody is disturbed, the figures are true, nothing is left",
        false,
        dr::dr,
    ),
    (
        "home",
        "a region dies and returns: its VMs come home while they run, one by one, and are protected as before",
        false,
        home::home,
    ),
    (
        "images",
        "an image of one host comes to all, goes on after a kill, and is refused where a byte of it is wrong",
        false,
        images::images,
    ),
    (
        "bitrot",
        "a byte changes on a region's disk: found, named and mended while VMs and writes go on",
        false,
        bitrot::bitrot,
    ),
    (
        ETCD,
        "members of etcd clusters that hold the state die, and a region with them: nothing written is lost",
        false,
        etcd::etcd,
    ),
    (
        "membership",
        "a region comes in from its host pool and takes VMs, another one is emptied and leaves",
        false,
        membership::membership,
    ),
    (
        "backup",
        "backups are made while VMs are created, in a folder and at an S3 server; all damage to them is named",
        false,
        backup::backup,
    ),
    (
        "restore",
        "every server is lost with its data, and comes back from a backup: VMs go on, what is lost is named",
        false,
        restore::restore,
    ),
    (
        "upgrade",
        "programs that don't work are rolled back, a leader dies over an upgrade, then every region gets the next version",
        false,
        upgrade::upgrade,
    ),
    (
        "lifecycle",
        "the guide's runbooks for a region that comes and one that leaves, line by line; a killed verification leaves nothing",
        false,
        lifecycle::lifecycle,
    ),
    (
        "runbook",
        "the emergency runbook against a region that was killed, line by line and as one command",
        false,
        runbook::runbook,
    ),
];

/// What a drill found.
pub struct Outcome {
    /// Whether everything held.
    pub held: bool,
}

/// `cargo xtask drill [--no-build] [--store=etcd] [--rounds=N] [--vms=N] [--phases=…] [--faults=…] [NAME…]`: runs those drills, or lists
/// them.
///
/// # Errors
/// Wrong usage for an unknown name; exit 1 when one does not hold.
pub fn command(tree: &Tree, mut names: Vec<String>) -> Result<(), Failure> {
    let given = names.len();
    names.retain(|name| name != "--no-build");
    let built = if names.len() < given { Built::Before } else { Built::Now };
    let rounds = number(&mut names, "--rounds=", ROUNDS)?;
    let vms = number(&mut names, "--vms=", VMS)?;
    let given = names.len();
    names.retain(|name| name != "--store=etcd");
    let in_etcd = names.len() < given || names.iter().any(|name| name == ETCD);
    let chosen = Chosen::take(&mut names)?;
    if names.is_empty() {
        for (name, shows, in_ci, _) in DRILLS {
            println!("  {name:<14} {shows}{}", if in_ci { " (in `test`)" } else { "" });
        }
        return Ok(());
    }
    if let Some(unknown) =
        names.iter().find(|name| name.as_str() != "all" && !DRILLS.iter().any(|drill| drill.0 == **name))
    {
        return Err(Failure::usage(format!("no drill {unknown:?}; `cargo xtask drill` lists them")));
    }
    let setting = Setting { built, rounds, vms, chosen, in_etcd };
    let outcomes = run(tree, setting, |name, _| {
        names.iter().any(|wanted| wanted == name || (wanted == "all" && (name != ETCD || in_etcd)))
    })?;
    if outcomes.iter().all(|outcome| outcome.held) { Ok(()) } else { Err(Failure::told()) }
}

/// Takes a number out of what was typed.
fn number(names: &mut Vec<String>, flag: &str, without: usize) -> Result<usize, Failure> {
    let Some(at) = names.iter().position(|name| name.starts_with(flag)) else { return Ok(without) };
    match names.remove(at)[flag.len()..].parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format!("{flag}N takes a number above 0"))),
    }
}

/// Runs the drills that CI runs.
///
/// # Errors
/// As [`run`].
pub fn in_ci(tree: &Tree) -> Result<Vec<Outcome>, Failure> {
    let chosen = Chosen::default();
    let setting = Setting { built: Built::Now, rounds: ROUNDS, vms: VMS, chosen, in_etcd: false };
    run(tree, setting, |_, in_ci| in_ci)
}

/// Runs the picked drills on a federation of their own and takes it down again, whatever happens.
///
/// # Errors
/// When a federation runs here already, does not come up, or cannot be taken down.
fn run(tree: &Tree, setting: Setting, picked: impl Fn(&str, bool) -> bool) -> Result<Vec<Outcome>, Failure> {
    if !process::owned(&tree.dev).is_empty() {
        return Err(Failure::new("a development federation runs here; `cargo xtask down` first"));
    }
    if !down::state(&tree.dev)?.is_empty() {
        let reason = "an earlier federation's state is in .dwcp, of a drill that did not hold or of `down --keep`; \
                      `cargo xtask down` removes it";
        return Err(Failure::new(reason));
    }
    let outcomes = Stage::set(tree, setting).map(|stage| {
        let mut outcomes = Vec::new();
        for (name, shows, _, drill) in DRILLS.into_iter().filter(|drill| picked(drill.0, drill.2)) {
            stage.say(&format!("== {name}: {shows}"));
            let start = Instant::now();
            let result = drill(&stage).and_then(|()| stage.clear());
            let (held, seconds) = (result.is_ok(), start.elapsed().as_secs_f64());
            match result {
                Ok(()) => stage.say(&format!("held: {name} ({seconds:.0} s)")),
                Err(failure) => stage.say(&format!("DID NOT HOLD: {name}: {}", failure.message)),
            }
            outcomes.push(Outcome { held });
            if !held {
                // What follows would start from an unknown state.
                break;
            }
        }
        outcomes
    });
    let flags = match &outcomes {
        Ok(outcomes) if outcomes.iter().all(|outcome| outcome.held) => Flags::default(),
        // The state explains what happened.
        _ => Flags::parse(vec!["--keep".to_owned()], &[], &["keep"])?,
    };
    down::down(tree, &flags)?;
    let left = process::owned(&tree.dev).len();
    if left > 0 {
        return Err(Failure::new(format!("{left} processes are left after `down`")));
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drill_has_a_name_of_its_own() {
        for (index, drill) in DRILLS.iter().enumerate() {
            assert!(DRILLS[index + 1..].iter().all(|other| other.0 != drill.0), "{}", drill.0);
        }
    }
}

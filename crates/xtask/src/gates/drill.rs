//! The end-to-end drill: the real federation starts, loses a region, and goes again, as in the README.

use super::count::Count;
use crate::federation::demo::{self, Vm};
use crate::federation::{down, process, up};
use crate::flags::Flags;
use crate::run::{Failure, say, wait_until};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Promised: a lost region's VMs run elsewhere within this of the cut.
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);

/// Runs the drill on a federation of its own and takes it down again, whatever happens.
///
/// # Errors
/// When a federation runs here already, or `down` fails.
pub fn drill(tree: &Tree) -> Result<Count, Failure> {
    if !process::owned(&tree.dev).is_empty() {
        return Err(Failure::new("a development federation runs here; `cargo xtask down` first"));
    }
    let found = stages(tree);
    let ended = down::down(tree, &Flags::default());
    let gone = process::owned(&tree.dev).is_empty();
    let mut count = found.unwrap_or_else(|(count, failure)| {
        println!("{}", failure.message);
        count.plus(Count::FAILED)
    });
    ended?;
    count = count.plus(if gone { Count::PASSED } else { Count::FAILED });
    Ok(count)
}

fn stages(tree: &Tree) -> Result<Count, (Count, Failure)> {
    let mut count = Count { passed: 0, failed: 0 };
    let mut stage = |name: &str, result: Result<(), Failure>| match result {
        Ok(()) => {
            println!("ok: {name}");
            count = count.plus(Count::PASSED);
            Ok(())
        }
        Err(failure) => Err((count, Failure::new(format!("{name}: {}", failure.message)))),
    };
    stage("five regions and six VMs start", up::up(tree, &Flags::default()))?;
    stage("up again changes nothing", up::up(tree, &Flags::default()))?;
    stage("a lost region's VMs answer elsewhere in 30 s", region_loss(tree))?;
    Ok(count)
}

fn region_loss(tree: &Tree) -> Result<(), Failure> {
    let before = demo::vms(tree)?;
    let (region, there) =
        fullest(&before).ok_or_else(|| Failure::new("no VM runs, so nothing would be shown"))?;
    let cut = Instant::now();
    let (killed, left) = process::stop(&tree.dev, Duration::ZERO, |one| one.region == region);
    if killed == 0 || !left.is_empty() {
        return Err(Failure::new(format!("could not kill {region}")));
    }
    let mut waiting = Vec::new();
    let recovered =
        wait_until(FAILOVER_LIMIT.saturating_sub(cut.elapsed()), Duration::from_millis(200), || {
            let Ok(now) = demo::vms(tree) else { return false };
            waiting = before
                .iter()
                .filter(|(name, old)| !goes_on(old, now.get(*name), &region))
                .map(|(name, _)| name.clone())
                .collect();
            waiting.is_empty()
        });
    if !recovered {
        return Err(Failure::new(format!(
            "after {region} was killed, not running elsewhere: {}",
            waiting.join(", ")
        )));
    }
    say(cut, &format!("{there} VMs of {region} answer elsewhere, the others where they were"));
    Ok(())
}

/// The region with the most VMs, and how many.
fn fullest(vms: &BTreeMap<String, Vm>) -> Option<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for vm in vms.values() {
        *counts.entry(&vm.region).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(region, count)| (region.to_owned(), count))
}

/// Whether a VM answers by itself: under a newer generation and elsewhere if its region was lost,
/// under the same one if not.
fn goes_on(old: &Vm, now: Option<&Vm>, lost: &str) -> bool {
    let Some(now) = now else { return false };
    let right_place = if old.region == lost {
        now.region != lost && now.generation > old.generation
    } else {
        now.region == old.region && now.generation == old.generation
    };
    let answered = now.answer().and_then(|answer| answer["generation"].as_u64());
    right_place && answered == Some(now.generation)
}

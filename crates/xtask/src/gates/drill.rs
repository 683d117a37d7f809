//! The end-to-end drill: the real federation starts, loses a region, and goes again, as in the README.

use super::count::Count;
use crate::federation::{self, demo, down, process, up};
use crate::flags::Flags;
use crate::run::{Failure, say, wait_until};
use crate::tree::Tree;
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
    let planned = federation::planned(tree)?;
    let region = federation::regions(&planned).into_iter().next().ok_or_else(|| Failure::new("no region"))?;
    let before = demo::addresses(tree)?;
    let cut = Instant::now();
    let (killed, left) = process::stop(&tree.dev, Duration::ZERO, |one| one.region == region);
    if killed == 0 || !left.is_empty() {
        return Err(Failure::new(format!("could not kill {region}")));
    }
    let mut silent = Vec::new();
    let recovered =
        wait_until(FAILOVER_LIMIT.saturating_sub(cut.elapsed()), Duration::from_millis(200), || {
            let Ok(now) = demo::addresses(tree) else { return false };
            silent = before
                .keys()
                .filter(|name| now.get(*name).cloned().flatten().as_deref().and_then(demo::ask).is_none())
                .cloned()
                .collect();
            silent.is_empty()
        });
    if !recovered {
        return Err(Failure::new(format!(
            "after {region} was killed, no answer from: {}",
            silent.join(", ")
        )));
    }
    say(cut, &format!("every VM of {region} answers elsewhere"));
    Ok(())
}

//! Regions that come and go: not to be relied on for VMs that have just lost one.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::RegionId;

/// A region that was silent for a while is shaky until it has been heard for so long without a gap, ms.
pub const STEADY_MS: u64 = 60_000;
/// Regions that start together hear each other after at most, ms: who was heard that soon has not been silent.
const STARTING_MS: u64 = 10_000;

/// Whom a region hears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// How long its own node has run, ms.
    pub uptime_ms: u64,
    /// For how long it has heard each other region without a gap, ms; those that it does not hear now are left out.
    pub heard_ms: BTreeMap<RegionId, u64>,
}

/// Regions that less than half of the others say to have heard for a minute (or since they started) without a gap.
///
/// One region that has lost its own link finds all others shaky, and all others find it shaky: what most say counts.
pub fn shaky_regions<'a>(
    regions: impl Iterator<Item = &'a RegionId> + Clone,
    observed: &BTreeMap<RegionId, Observed>,
) -> BTreeSet<RegionId> {
    let others = regions.clone().count().saturating_sub(1);
    let relies = |by: &Observed, on: &RegionId| {
        by.heard_ms.get(on).is_some_and(|ms| *ms >= STEADY_MS || ms + STARTING_MS >= by.uptime_ms)
    };
    let shaky = |region: &&RegionId| {
        let relied = observed.iter().filter(|(by, seen)| *by != *region && relies(seen, region)).count();
        relied * 2 < others
    };
    regions.filter(shaky).cloned().collect()
}

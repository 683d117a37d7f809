//! How good a region is for a VM.

use dwcp_state::{Federation, Region, Weights};
use dwcp_types::Amount;

use crate::index::RegionTable;
use crate::place::Ask;
use crate::relations::Bounds;
use crate::report::{Reason, RegionVerdict, ScoreParts};
use crate::seen::Seen;
use crate::{Measured, region_rules};

/// Farther than this scores 0 for latency, in milliseconds.
const FAR_MS: u64 = 400;

/// What scoring one region needs of the whole federation.
pub(crate) struct Context<'a> {
    pub measured: &'a Measured,
    pub ask: Ask<'a>,
    pub bounds: Bounds,
    pub weights: Weights,
    pub cheapest: u64,
}

impl<'a> Context<'a> {
    pub fn new(view: &'a Federation, measured: &'a Measured, bounds: Bounds, ask: Ask<'a>) -> Context<'a> {
        let policy = &view.core.policy;
        let size = ask.vm.spec.size;
        let cheapest = view.core.regions.values().map(|region| region.monthly_cost_millis(size)).min();
        Context {
            measured,
            ask,
            bounds,
            weights: policy.profile.weights(policy.weights),
            cheapest: cheapest.unwrap_or(0),
        }
    }

    /// Judges one region by its rules and its score; hosts are not looked at.
    pub fn judge(&self, region: &Region, seen: &Seen<'_>) -> RegionVerdict {
        let excluded = self.excluded(region, seen);
        let cost = region.monthly_cost_millis(self.ask.vm.spec.size);
        let parts = self.parts(region, seen, cost);
        RegionVerdict {
            region: region.id.clone(),
            score_milli: if excluded.is_some() { 0 } else { weighted(&self.weights, &parts) },
            excluded,
            parts,
            rtt_ms: seen.rtt_ms,
            monthly_cost_millis: cost,
            hosts_considered: 0,
            hosts_excluded: Default::default(),
            hosts: Vec::new(),
        }
    }

    /// The first rule that excludes a region, if one does.
    pub fn excluded(&self, region: &Region, seen: &Seen<'_>) -> Option<Reason> {
        region_rules::excluded(self.measured, &self.bounds, &self.ask, region, seen)
    }

    /// What a region's score is made of, for a VM that costs `cost` there; no capacity when its table is not seen.
    pub fn parts(&self, region: &Region, seen: &Seen<'_>, cost: u64) -> ScoreParts {
        let size = self.ask.vm.spec.size;
        ScoreParts {
            latency: latency_score(seen.rtt_ms),
            cost: (self.cheapest * 1_000).checked_div(cost).unwrap_or(1_000) as u32,
            capacity: seen
                .table
                .map_or(0, |table| capacity_score(table, size.plus(seen.taken), self.weights.pack)),
            health: seen.health.map_or(0, |score| u32::from(score.min(100)) * 10),
            priority: u32::from(region.priority.min(100)) * 10,
        }
    }
}

fn latency_score(rtt_ms: Option<u64>) -> u32 {
    rtt_ms.map_or(0, |ms| ((FAR_MS - ms.min(FAR_MS)) * 1_000 / FAR_MS) as u32)
}

/// The smallest share that stays free over the region's dimensions; under `pack`, the rest.
fn capacity_score(table: &RegionTable, need: Amount, pack: bool) -> u32 {
    let needs = [u64::from(need.vcpus), need.memory_mib, need.disk_gib];
    let shares = table.free.iter().zip(needs).zip(table.room).filter(|(_, room)| *room > 0);
    let least = shares.map(|((free, need), room)| free.saturating_sub(need) * 1_000 / room).min();
    let least = least.unwrap_or(0).min(1_000) as u32;
    if pack { 1_000 - least } else { least }
}

pub(crate) fn weighted(weights: &Weights, parts: &ScoreParts) -> u32 {
    let pairs = [
        (weights.latency, parts.latency),
        (weights.cost, parts.cost),
        (weights.capacity, parts.capacity),
        (weights.health, parts.health),
        (weights.priority, parts.priority),
    ];
    let whole: u64 = pairs.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let sum: u64 = pairs.iter().map(|(weight, part)| u64::from(*weight) * u64::from(*part)).sum();
    sum.checked_div(whole).unwrap_or(0) as u32
}

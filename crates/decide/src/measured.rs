//! What was measured, and may be stale or missing.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::RegionId;

/// Soft inputs. What is missing is unknown, never good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Round trips between regions, in milliseconds; one direction is enough.
    pub rtt_ms: BTreeMap<(RegionId, RegionId), u64>,
    /// Health scores, 0 to 100; none: unknown.
    pub health: BTreeMap<RegionId, Option<u8>>,
    /// Regions that were silent a short while ago: VMs that lose their region go there only when nothing else will do.
    pub shaky: BTreeSet<RegionId>,
}

impl Measured {
    /// Round trip between two regions in milliseconds; 0 within one.
    pub fn rtt(&self, from: &RegionId, to: &RegionId) -> Option<u64> {
        if from == to {
            return Some(0);
        }
        let forth = self.rtt_ms.get(&(from.clone(), to.clone()));
        forth.or_else(|| self.rtt_ms.get(&(to.clone(), from.clone()))).copied()
    }

    /// A region's health score; none when unknown.
    pub fn health_of(&self, region: &RegionId) -> Option<u8> {
        self.health.get(region).copied().flatten()
    }

    /// Mean round trip of each region to the others it has been measured with.
    pub(crate) fn means(&self) -> BTreeMap<RegionId, u64> {
        let mut sums: BTreeMap<&RegionId, (u64, u64)> = BTreeMap::new();
        for ((from, to), ms) in &self.rtt_ms {
            for region in [from, to] {
                let sum = sums.entry(region).or_default();
                *sum = (sum.0.saturating_add(*ms), sum.1 + 1);
            }
        }
        sums.into_iter().map(|(region, (sum, count))| (region.clone(), sum / count.max(1))).collect()
    }

    /// Changes whenever a round trip does (up to collisions), so that means can be kept.
    pub(crate) fn fingerprint(&self) -> u64 {
        let seed = self.rtt_ms.len() as u64;
        self.rtt_ms.values().fold(seed, |hash, ms| (hash ^ ms).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
    }
}

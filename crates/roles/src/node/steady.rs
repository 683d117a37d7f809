//! What the regions that are heard now say of each other: which come and go, and what time it is.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::Observed;
use dwcp_types::{NodeId, RegionId, Wall};

use super::Node;
use super::beats::{Beat, GAP_BEATS};

/// A clock is far ahead of another from so much on, ms.
const AHEAD_MS: u64 = 300_000;

impl Node {
    /// Regions that were silent to most others a short while ago.
    pub(super) fn shaky_regions(&self) -> BTreeSet<RegionId> {
        let gap_ms = self.config.beat_ms * GAP_BEATS;
        let own = self.own_beat();
        let mut observed: BTreeMap<RegionId, Observed> = BTreeMap::new();
        observed.insert(self.config.region.clone(), self.observed(&own));
        for (node, view) in self.peers() {
            let heard = self.now.mono.ms_since(view.heard) < gap_ms;
            if let (true, Some(beat), Some(name)) = (heard, &view.beat, self.region_name(*node)) {
                observed.insert(name.clone(), self.observed(beat));
            }
        }
        dwcp_decide::shaky_regions(self.regions.values(), &observed)
    }

    /// True when a majority of the voters, this node among them, is heard now and by their clocks it is not much earlier than
    /// by the own one.
    pub(super) fn clock_is_shared(&self) -> bool {
        let gap_ms = self.config.beat_ms * GAP_BEATS;
        let heard = |node: &NodeId| {
            let view = self.peers().get(node)?;
            let age_ms = self.now.mono.ms_since(view.heard);
            let beat = view.beat.as_ref().filter(|_| age_ms < gap_ms)?;
            Some(Wall(beat.wall.0.saturating_add(age_ms)))
        };
        let voters = self.federation_voters();
        let others: Vec<Wall> =
            voters.iter().filter(|node| **node != self.config.me).filter_map(heard).collect();
        is_shared(self.now.wall, &others, voters.len())
    }

    fn observed(&self, beat: &Beat) -> Observed {
        let gap_ms = self.config.beat_ms * GAP_BEATS;
        let now = beat
            .heard_ms
            .iter()
            .filter(|(node, _)| beat.silent_ms.get(node).is_some_and(|silent| *silent < gap_ms))
            .filter_map(|(node, ms)| Some((self.region_name(*node)?.clone(), *ms)));
        Observed { uptime_ms: beat.uptime_ms, heard_ms: now.collect() }
    }
}

/// True when a majority of so many voters, of which the others say what time it is, do not find this clock far ahead.
fn is_shared(own: Wall, others: &[Wall], voters: usize) -> bool {
    let agree = others.iter().filter(|other| own.ms_since(**other) <= AHEAD_MS).count();
    (agree + 1) * 2 > voters
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const NOW: Wall = Wall(1_795_392_000_000);

    #[test]
    fn a_clock_that_is_a_day_ahead_of_most_is_not_shared() {
        let others = [NOW; 4];
        assert!(is_shared(NOW, &others, 5));
        assert!(is_shared(Wall(NOW.0 + AHEAD_MS), &others, 5));
        assert!(!is_shared(Wall(NOW.0 + DAY_MS), &others, 5));
        let one_more_ahead = [Wall(NOW.0 + DAY_MS), NOW, NOW, NOW];
        assert!(!is_shared(Wall(NOW.0 + DAY_MS), &one_more_ahead, 5));
    }

    #[test]
    fn a_clock_behind_the_others_may_be_counted_on_and_one_that_nobody_confirms_may_not() {
        assert!(is_shared(Wall(NOW.0 - DAY_MS), &[NOW; 4], 5), "what it drops is older still");
        assert!(!is_shared(NOW, &[NOW], 5));
        assert!(is_shared(NOW, &[], 1), "alone in its federation");
    }
}

//! Which regions come and go, as all that are heard now say.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::Observed;
use dwcp_types::RegionId;

use super::Node;
use super::beats::{Beat, GAP_BEATS};

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
        dwcp_decide::shaky_regions(self.config.regions.values(), &observed)
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

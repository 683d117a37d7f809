//! Who could lead: what a node must hear, and who must hear it, so that others elect and follow it.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_consensus::Input as RaftInput;
use dwcp_types::NodeId;

use super::Node;
use super::beats::GAP_BEATS;

/// By node: whom it hears.
type Hearing = BTreeMap<NodeId, BTreeSet<NodeId>>;

impl Node {
    /// Tells the consensus who could lead, by what those that are heard now say.
    pub(super) fn tell_who_could_lead(&mut self) {
        let nodes = could_lead(&self.federation_voters(), &self.hears());
        self.inbox.push_back(RaftInput::CouldLead { nodes });
    }

    fn hears(&self) -> Hearing {
        let gap_ms = self.config.beat_ms * GAP_BEATS;
        let now = |silences: &BTreeMap<NodeId, u64>| {
            silences.iter().filter(|(_, ms)| **ms < gap_ms).map(|(node, _)| *node).collect()
        };
        let own = self.peers().keys().map(|node| (*node, self.silent_ms(*node))).collect();
        let mut hears = Hearing::from([(self.config.me, now(&own))]);
        for (node, view) in self.peers() {
            if let Some(beat) = view.beat.as_ref().filter(|_| self.silent_ms(*node) < gap_ms) {
                hears.insert(*node, now(&beat.silent_ms));
            }
        }
        hears
    }
}

/// Nodes that hear a majority of the voters and are heard by those, each itself among them. Who is not heard here says
/// nothing, and so counts for nobody.
fn could_lead(voters: &[NodeId], hears: &Hearing) -> BTreeSet<NodeId> {
    let hear = |from: &NodeId, to: &NodeId| hears.get(from).is_some_and(|heard| heard.contains(to));
    let able = |node: &&NodeId| {
        let both_ways = |other: &&NodeId| *other == *node || (hear(node, other) && hear(other, node));
        voters.iter().filter(both_ways).count() * 2 > voters.len()
    };
    hears.keys().filter(able).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [NodeId; 5] = [1, 2, 3, 4, 5];

    /// Whom each hears when nothing passes in these directions.
    fn without(cut: &[(NodeId, NodeId)]) -> Hearing {
        let heard = |by: NodeId| ALL.into_iter().filter(move |of| *of != by && !cut.contains(&(*of, by)));
        ALL.into_iter().map(|node| (node, heard(node).collect())).collect()
    }

    #[test]
    fn who_hears_enough_and_is_heard_by_enough_but_not_by_the_same_could_not_lead() {
        let cut = [(2, 1), (2, 3), (2, 5), (3, 4), (4, 1), (4, 2), (5, 3)];
        // 3 hears 1 and 4, and is heard by 1, 2 and 5: only 1 does both. 1 has 3 and 5.
        assert_eq!(could_lead(&ALL, &without(&cut)), BTreeSet::from([1, 5]));
        assert_eq!(could_lead(&ALL, &without(&[])), BTreeSet::from(ALL));
    }

    #[test]
    fn who_says_nothing_counts_for_nobody() {
        let mut hears = without(&[]);
        hears.retain(|node, _| [1, 2].contains(node));
        assert_eq!(could_lead(&ALL, &hears), BTreeSet::new());
        hears.insert(3, BTreeSet::from([1, 2]));
        assert_eq!(could_lead(&ALL, &hears), BTreeSet::from([1, 2, 3]));
        assert_eq!(could_lead(&[1], &Hearing::from([(1, BTreeSet::new())])), BTreeSet::from([1]), "alone");
    }
}

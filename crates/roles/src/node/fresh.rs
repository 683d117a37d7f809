//! What is known here and new: facts that are all here, and nodes that were heard a moment ago.

use dwcp_types::{GroupId, NodeId};

use super::{Beat, Node};

/// What was all here, or heard, so short a while ago counts as such, ms.
const FRESH_MS: u64 = 2_000;

impl Node {
    /// Whether what is committed in a group is all here, or was a moment ago. A replica that is empty or behind looks as if less
    /// had happened, so what is decided from that something is *not* there is decided only then.
    pub(super) fn is_current(&self, group: GroupId) -> bool {
        self.facts_age_ms(group).is_some_and(|ms| ms < FRESH_MS)
    }

    /// The same of every group.
    pub(super) fn all_current(&self) -> bool {
        self.raft.groups().all(|group| self.is_current(group))
    }

    /// What nodes that were heard a moment ago said then.
    pub(super) fn fresh_beats(&self) -> impl Iterator<Item = (NodeId, &Beat)> {
        let fresh = self.peers().iter().filter(|(node, _)| self.silent_ms(**node) < FRESH_MS);
        fresh.filter_map(|(node, view)| Some((*node, view.beat.as_ref()?)))
    }
}

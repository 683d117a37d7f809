//! What a node tells others of its disk is on its disk by then: entries of the log, its term, its vote.
//!
//! Whatever is acknowledged to anybody rests on such words of a majority. So an acknowledgement that comes before its fsync
//! is found when it is said, whether or not a crash follows, and whether or not another replica makes up for it.

use dwcp_consensus::{Claim, claims, stored};
use dwcp_roles::node::MeshMessage;
use dwcp_types::{GroupId, NodeId};

use crate::disk::Disk;

/// Compares a frame that a node sends with what a crash would leave on its disk now.
pub(super) fn check(node: NodeId, frame: &[u8], disk: &Disk) -> Option<String> {
    let claimed = claims(node, MeshMessage::packet(frame)?);
    claimed.into_iter().find_map(|(group, claim)| {
        let missing = missing(group, claim, disk)?;
        Some(format!("node {node} acknowledges in group {group} what a crash loses: {missing}"))
    })
}

fn missing(group: GroupId, claim: Claim, disk: &Disk) -> Option<String> {
    let found = stored(group, disk).unwrap_or_default();
    // A word of an older term that was held back until the disk had it: a newer leader may have replaced those entries since.
    match claim {
        Claim::Holds { term, index }
            if found.term < term || (found.term == term && found.last_index < index) =>
        {
            Some(format!(
                "it says that it holds entry {index} in term {term}; its disk ends with entry {} in term {}",
                found.last_index, found.term
            ))
        }
        Claim::Voted { term, candidate }
            if found.term < term || (found.term == term && found.vote != candidate) =>
        {
            Some(format!(
                "its vote of term {term} is node {candidate}'s; its disk knows of term {} and a vote for node {}",
                found.term, found.vote
            ))
        }
        _ => None,
    }
}

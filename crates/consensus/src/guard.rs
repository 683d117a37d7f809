//! What a Raft message must look like before the Raft crate sees it. The crate panics on messages that a correct peer
//! never sends; a peer with a bug or a stolen key must not be able to stop this process.

use crate::log::Log;
use dwcp_types::NodeId;
use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{Raft, StateRole};
use std::collections::BTreeSet;

/// More members than any group has.
const MEMBER_LIMIT: usize = 64;
/// Length of the name of a read request.
pub(crate) const READ_NAME_LEN: usize = 24;
/// Length of what the leader adds to the name: see `reads`.
pub(crate) const READ_FLOOR_LEN: usize = 8;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Ignore,
    /// The leader believes that this replica holds what it does not: it lost records without noticing.
    LostRecords,
}

/// Judges a message from the network. May lower its commit index.
pub(crate) fn judge(raft: &Raft<Log>, node: NodeId, message: &mut Message) -> Verdict {
    let kind = message.msg_type;
    if message.to != node || (message.term == 0) != (kind == MessageType::MsgReadIndex) {
        return Verdict::Ignore;
    }
    let carries_entries =
        matches!(kind, MessageType::MsgAppend | MessageType::MsgReadIndex | MessageType::MsgReadIndexResp);
    if (!carries_entries && !message.entries.is_empty())
        || (message.snapshot.is_some() != (kind == MessageType::MsgSnapshot))
    {
        return Verdict::Ignore;
    }
    let sound = match kind {
        MessageType::MsgAppend => entries_follow(message),
        MessageType::MsgAppendResponse => {
            // A stale answer of an older term is dropped by its term; in this term nobody holds more than the leader.
            raft.state != StateRole::Leader || message.reject || message.index <= raft.raft_log.last_index()
        }
        MessageType::MsgSnapshot => snapshot_sound(message),
        // Only a leader answers; two followers that take each other for the leader would pass it to and fro.
        MessageType::MsgReadIndex => raft.state == StateRole::Leader && names_a_read(message, READ_NAME_LEN),
        MessageType::MsgReadIndexResp => names_a_read(message, READ_NAME_LEN + READ_FLOOR_LEN),
        MessageType::MsgHeartbeat => return judge_heartbeat(raft, message),
        _ => true,
    };
    if sound { Verdict::Pass } else { Verdict::Ignore }
}

fn names_a_read(message: &Message, len: usize) -> bool {
    message.entries.len() == 1 && message.entries[0].data.len() == len
}

fn entries_follow(message: &Message) -> bool {
    // The crate takes term 0 for a match outside its log. No leader here anchors at 0: see `recover`.
    if message.index == 0 || message.log_term == 0 || message.log_term > message.term {
        return false;
    }
    let mut term = message.log_term;
    for (at, entry) in message.entries.iter().enumerate() {
        if entry.index != message.index + 1 + at as u64 || entry.term < term || entry.term > message.term {
            return false;
        }
        term = entry.term;
    }
    true
}

fn judge_heartbeat(raft: &Raft<Log>, message: &mut Message) -> Verdict {
    let last = raft.raft_log.last_index();
    if message.commit <= last || message.term < raft.term {
        return Verdict::Pass;
    }
    // A leader's heartbeat names no more than what this replica acknowledged to it in this very term, and only a newer
    // term's leader could have truncated that since.
    message.commit = last;
    Verdict::LostRecords
}

fn snapshot_sound(message: &Message) -> bool {
    let metadata = message.get_snapshot().get_metadata();
    metadata.index > 0
        && metadata.term > 0
        && metadata.term <= message.term
        && members_sound(metadata.get_conf_state())
}

/// Whether the Raft crate can take these members over.
pub(crate) fn members_sound(members: &ConfState) -> bool {
    let sets: Vec<BTreeSet<u64>> =
        [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next]
            .iter()
            .map(|list| list.iter().copied().collect())
            .collect();
    let total = members.voters.len()
        + members.learners.len()
        + members.voters_outgoing.len()
        + members.learners_next.len();
    let [voters, learners, outgoing, next] = sets.as_slice() else { return false };
    !voters.is_empty()
        && total <= MEMBER_LIMIT
        && sets.iter().map(BTreeSet::len).sum::<usize>() == total
        && sets.iter().all(|set| !set.contains(&0))
        && learners.is_disjoint(voters)
        && learners.is_disjoint(outgoing)
        && next.is_subset(outgoing)
        && next.is_disjoint(voters)
        && !(outgoing.is_empty() && members.auto_leave)
}

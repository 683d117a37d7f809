//! What a node's packets promise of its disk, and what a disk holds: for checkers that compare the two.

use crate::records::{Record, decode, hard_keys};
use crate::wire::{Frame, decode_packet};
use crate::{Disk, GroupId, NodeId};
use raft::eraftpb::{Message, MessageType};

/// What a node tells others of its disk. Others rest commits and elections on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It holds the log of the leader of `term` up to `index`, and does not go back behind `term`.
    Holds {
        /// The leader's term.
        term: u64,
        /// The newest entry.
        index: u64,
    },
    /// Its vote of `term` is given to `candidate`.
    Voted {
        /// The term.
        term: u64,
        /// Whom it votes for.
        candidate: NodeId,
    },
}

/// What node `from` promises with a packet, by group. A packet that makes no sense promises nothing.
pub fn claims(from: NodeId, packet: &[u8]) -> Vec<(GroupId, Claim)> {
    let frames = decode_packet(from, packet).into_iter().flatten();
    let claimed = frames.filter_map(|(group, frame)| match frame {
        Frame::Holds { term, index } => Some((group, Claim::Holds { term, index })),
        Frame::Raft(message) => Some((group, claim(from, &message)?)),
        Frame::RepairAsk { .. }
        | Frame::RepairTell { .. }
        | Frame::RepairLost { .. }
        | Frame::RepairMembers { .. } => None,
    });
    claimed.collect()
}

fn claim(from: NodeId, message: &Message) -> Option<Claim> {
    let term = message.term;
    match message.msg_type {
        MessageType::MsgAppendResponse if !message.reject => {
            Some(Claim::Holds { term, index: message.index })
        }
        MessageType::MsgRequestVoteResponse if !message.reject => {
            Some(Claim::Voted { term, candidate: message.to })
        }
        // Who asks for votes or leads has voted for itself.
        MessageType::MsgRequestVote
        | MessageType::MsgAppend
        | MessageType::MsgHeartbeat
        | MessageType::MsgSnapshot => Some(Claim::Voted { term, candidate: from }),
        _ => None,
    }
}

/// What a disk holds of a group, as its newest hard state says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The node's term.
    pub term: u64,
    /// Whom it voted for in that term; 0: nobody.
    pub vote: NodeId,
    /// Its newest entry.
    pub last_index: u64,
}

/// Reads what a disk holds of a group; none: nothing that can be read.
pub fn stored(group: GroupId, disk: &dyn Disk) -> Option<Stored> {
    let [first, second] = hard_keys(group);
    let behind = [&second[..], &[0]].concat();
    let copies = disk.range(&first, &behind).filter_map(|(key, value)| match decode(&key, &value) {
        Some(Record::Hard(hard)) => {
            Some(Stored { term: hard.term, vote: hard.vote, last_index: hard.last_index })
        }
        _ => None,
    });
    copies.max_by_key(|stored| (stored.term, stored.vote != 0, stored.last_index))
}

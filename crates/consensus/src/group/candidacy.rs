//! A vote counts only for the opening of the candidate that asked for it: a candidate that lost its vote may campaign again in
//! a term that it no longer knows, and what was given to it before must not count then. A request carries the name of the
//! opening in a field that the Raft crate leaves free in votes, and the vote carries it back.

use super::Group;
use crate::wire::NUMBER_LIMIT;
use raft::eraftpb::{Message, MessageType};

impl Group {
    /// Puts the name of this opening into a request for votes.
    pub(super) fn name_candidacy(&self, message: &mut Message) {
        if message.msg_type == MessageType::MsgRequestVote {
            message.reject_hint = self.boot % NUMBER_LIMIT;
        }
    }

    /// True unless the message is a vote for an earlier opening of this node. Earlier versions carry no name back.
    pub(super) fn names_candidacy(&self, message: &Message) -> bool {
        let vote = message.msg_type == MessageType::MsgRequestVoteResponse && !message.reject;
        !vote || [0, self.boot % NUMBER_LIMIT].contains(&message.reject_hint)
    }

    /// Carries the name of a request into its answer, the newest message.
    pub(super) fn answer_candidacy(&mut self, to: u64, name: u64) {
        let newest = self.raft.raft.msgs.last_mut();
        let answer = newest.filter(|answer| {
            answer.msg_type == MessageType::MsgRequestVoteResponse && answer.to == to && !answer.reject
        });
        if let Some(answer) = answer {
            answer.reject_hint = name;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use crate::Input;
    use crate::group::alone::Alone;
    use crate::wire::{Frame, NUMBER_LIMIT};
    use raft::eraftpb::{Message, MessageType};

    #[test]
    fn a_vote_for_an_earlier_opening_does_not_count() {
        let mut node = Alone::new(false);
        let asked = node.asks(MessageType::MsgRequestPreVote);
        node.grant(2, &asked, MessageType::MsgRequestPreVoteResponse, 0);
        let asked = node.asks(MessageType::MsgRequestVote);
        assert!((1..NUMBER_LIMIT).contains(&asked.reject_hint));
        node.grant(2, &asked, MessageType::MsgRequestVoteResponse, asked.reject_hint + 1);
        assert!(!node.leads(), "that vote was asked for by another opening");
        node.grant(3, &asked, MessageType::MsgRequestVoteResponse, asked.reject_hint);
        assert!(node.leads());
    }

    #[test]
    fn a_vote_names_the_opening_that_asked() {
        let mut node = Alone::new(false);
        let mut asked = Message::default();
        (asked.msg_type, asked.to, asked.term) = (MessageType::MsgRequestVote, 1, 9);
        (asked.index, asked.log_term, asked.reject_hint) = (100, 8, 77);
        node.give(Input::Wake);
        node.hear(2, &Frame::Raft(Box::new(asked)));
        let vote = node.asks(MessageType::MsgRequestVoteResponse);
        assert_eq!((vote.reject, vote.term, vote.reject_hint), (false, 9, 77));
    }
}

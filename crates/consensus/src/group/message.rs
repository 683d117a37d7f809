//! What comes in from other nodes.

use super::Group;
use crate::NodeId;
use crate::guard::{self, Verdict};
use crate::turn::Turn;
use crate::wire::Frame;
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

impl Group {
    pub fn receive(&mut self, turn: &mut Turn, from: NodeId, frame: Frame) {
        if from == self.me {
            self.ignored += 1;
            return;
        }
        match frame {
            Frame::Raft(message) => self.receive_raft(turn, *message),
            Frame::RepairAsk { boot, have } => self.repair_asked(turn, from, boot, have),
            Frame::RepairTell { boot, term, target } => self.repair_told(turn, from, boot, term, target),
            Frame::RepairMembers { boot, index, voters, learners } => {
                self.repair_members(boot, index, (voters, learners));
            }
            Frame::RepairLost { boot } => self.repair_lost(turn, from, boot),
            Frame::Holds { term, index } => self.holds.hear(from, term, index),
        }
    }

    fn receive_raft(&mut self, turn: &mut Turn, mut message: Message) {
        if !self.damage_admits(message.msg_type) || !self.names_candidacy(&message) {
            return;
        }
        match guard::judge(&self.raft.raft, self.me, &mut message) {
            Verdict::Pass => {}
            Verdict::LostRecords if self.is_damaged() || turn.config.acks_before_fsync() => {}
            Verdict::LostRecords => {
                self.declare_damage(turn);
                return;
            }
            Verdict::Ignore => {
                self.ignored += 1;
                return;
            }
        }
        if self.asks_to_break_promise(turn.now_us, &message) {
            return;
        }
        if message.msg_type == MessageType::MsgReadIndex {
            if self.answer_from_lease(turn, &mut message) {
                return;
            }
            self.add_read_floor(&mut message);
        }
        // An election now could make a leader whose log is not durable yet; the old leader will ask again.
        if message.msg_type == MessageType::MsgTimeoutNow && self.unsettled() {
            return;
        }
        self.note_reign(turn.now_us);
        let leads = matches!(
            message.msg_type,
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
        );
        let reign = (message.term, message.from);
        let answers =
            matches!(message.msg_type, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        if answers && self.leads() && message.term == self.term() {
            self.heard.insert(message.from, self.ticks);
        }
        let asks_pre_vote = message.msg_type == MessageType::MsgRequestPreVote;
        let asks_vote = message.msg_type == MessageType::MsgRequestVote;
        let (candidate, candidacy) = (message.from, message.reject_hint);
        // Errors are refusals (a stranger's answer, a proposal without leader); the sender learns by silence.
        let _ = self.raft.step(message);
        if asks_vote {
            self.answer_candidacy(candidate, candidacy);
        }
        if asks_pre_vote && self.raft.raft.msgs.last().is_some_and(grants_pre_vote) {
            self.give_way(turn.config);
        }
        if leads && reign == (self.term(), self.raft.raft.leader_id) {
            self.fence.acknowledge(turn.now_us, reign);
            self.lease.promise(turn.config, turn.now_us);
        }
    }

    /// A leader acknowledges itself for as long as it leads.
    pub(super) fn note_reign(&mut self, now_us: u64) {
        if self.raft.raft.state == StateRole::Leader {
            self.fence.acknowledge(now_us, (self.term(), self.me));
        }
    }
}

fn grants_pre_vote(message: &Message) -> bool {
    message.msg_type == MessageType::MsgRequestPreVoteResponse && !message.reject
}

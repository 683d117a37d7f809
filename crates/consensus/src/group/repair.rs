//! A replica that lost records.
//!
//! It may have acknowledged entries that it no longer has, and voted in a term that it no longer knows. Both matter only
//! to elections, so it takes no part in them until it is whole again:
//!
//! 1. *Vote lost*: it takes no part in Raft at all until every other member has answered: with its term, or that its vote
//!    is lost too. Who the members are, those who answer say; the word of the one that has applied most counts. If any is, those that told a term must be a majority of the voters. F is the highest term told. It then
//!    goes on as if it had voted for itself in F: it refuses every other candidate up to F, and any leader of a term
//!    below F.
//! 2. *Log lost*: it accepts heartbeats and snapshots of a leader, nothing else, and asks for repair. The leader forgets
//!    what it believed of this replica, sends a snapshot, and says the last index of its log at that moment, the target.
//! 3. *Catching up*: with the snapshot in place it accepts appends, and what it acknowledges now is true. It still does
//!    not vote or campaign until it holds the target durably.
//!
//! # Why F is high enough
//!
//! Say that this replica, R, voted for C in term t and forgot it. The vote can do harm only if C won t or still may. A vote
//! counts only for the opening of C that asked for it (see [`Group::names_candidacy`]). So there are three cases.
//!
//! * C has not lost its vote since. It had written t before asking R, which was before R was opened, and it answered R
//!   after that: it told at least t.
//! * C has lost its vote since, and did not win t before. The opening that asked is over and never wins.
//! * C has won t, and lost its vote since. A majority of voters, W, had voted for it by then. Those that told a term are a
//!   majority too, T, and share a voter Q with W. Q is neither R nor one whose vote is lost. It had voted before C lost
//!   its vote, so before C said so, and it told its term after that: what was told before a member first said that
//!   its vote is lost is dropped and asked again under the number of a further round. If Q never lost its vote, it
//!   told at least t. If it did and has a vote again, its own F was at least t, by this same argument one repair
//!   earlier, and terms only rise.
//!
//! An entry that R accepted from a leader of term t makes t matter as well; that leader is a C that won. When no other vote is
//! lost the third case does not arise, and no majority is needed. Three lost votes of five are never made up: then
//! W and T need not meet.
//!
//! # Why its acknowledgements are true again
//!
//! Say that R had acknowledged entry e before the damage, and that e is or becomes committed with the help of that
//! acknowledgement, perhaps with those of other damaged replicas. A replica that is damaged does not vote: every election is
//! won with replicas that are whole, and their majority shares one with the majority that acknowledged e. That one
//! was not damaged since, or is whole again; it has e, in the second case by this same argument one repair earlier. So every
//! leader elected after e was acknowledged by its majority has e, and so has any leader that e was acknowledged to.
//! The leader that names the target is one of these: if e was acknowledged to it, then before the damage, and the
//! target was named after. So e is at or below the target, and a replica that holds the leader's log up to the target
//! holds e: from then on its acknowledgement is true again, also one that is still under way.

use super::{Group, raft_node};
use crate::log::Log;
use crate::records::{self, Hard, Repair, StoredSnapshot};
use crate::turn::Turn;
use crate::wire::{Frame, TAKES_NOTHING};
use crate::{NodeId, Output};
use raft::eraftpb::MessageType;
use raft::{ProgressState, StateRole};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) struct Damage {
    stage: Stage,
    /// The log of a leader up to here makes the replica whole.
    target: Option<u64>,
}

enum Stage {
    VoteLost { answers: Answers, log_present: bool },
    LogLost,
    CatchingUp,
}

/// What the other members answered to a replica that lost its vote.
#[derive(Default)]
struct Answers {
    /// By member: its term; none: its vote is lost too.
    told: BTreeMap<NodeId, Option<u64>>,
    /// Raised when a member says for the first time that its vote is lost: terms told before count no more.
    round: u64,
    /// The newest index at which a member has said who belongs to the group.
    members_at: u64,
}

/// Rounds of one opening. They are told apart in bits that counts of openings and microseconds leave free.
const ROUNDS: u64 = 1 << 10;
const ROUND_SHIFT: u32 = 52;

impl Answers {
    /// The number that an answer to a question asked now carries; none: there were too many rounds.
    fn number(&self, boot: u64) -> Option<u64> {
        (self.round < ROUNDS).then_some(boot ^ (self.round << ROUND_SHIFT))
    }

    fn tells(&mut self, from: NodeId, term: u64) {
        let told = self.told.entry(from).or_default();
        *told = (*told).max(Some(term));
    }

    fn lost(&mut self, from: NodeId) {
        if self.told.get(&from) != Some(&None) {
            self.told.retain(|_, term| term.is_none());
            self.told.insert(from, None);
            self.round += 1;
        }
    }

    /// The highest term told, when the answers suffice.
    fn floor(&self, others: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>) -> Option<u64> {
        let all = !others.is_empty() && others.iter().all(|member| self.told.contains_key(member));
        let some_lost = self.told.values().any(Option::is_none);
        let known = voters.iter().filter(|voter| matches!(self.told.get(voter), Some(Some(_)))).count();
        let floor = self.told.values().flatten().copied().max();
        floor.filter(|_| all && (!some_lost || known * 2 > voters.len()))
    }
}

impl Damage {
    pub fn open(repair: Repair, log_present: bool) -> Self {
        let stage = match (repair.vote_lost, log_present) {
            (true, log_present) => Stage::VoteLost { answers: Answers::default(), log_present },
            (false, false) => Stage::LogLost,
            (false, true) => Stage::CatchingUp,
        };
        Self { stage, target: None }
    }
}

impl Group {
    /// Which Raft messages a damaged replica listens to.
    pub(super) fn damage_admits(&self, kind: MessageType) -> bool {
        let Some(damage) = &self.damage else { return true };
        match (&damage.stage, kind) {
            (Stage::VoteLost { .. }, _) => false,
            (_, MessageType::MsgHeartbeat | MessageType::MsgSnapshot | MessageType::MsgReadIndexResp) => true,
            (Stage::CatchingUp, MessageType::MsgAppend) => true,
            _ => false,
        }
    }

    /// Found while running: a leader names an index that this replica acknowledged and does not have. How much is gone
    /// besides, the vote included, cannot be known.
    pub(super) fn declare_damage(&mut self, turn: &mut Turn) {
        self.drop_log(turn, Repair { vote_lost: true });
    }

    /// Drops what this replica holds, though nothing of it is known to be lost, to get it anew from its leader. Term and vote
    /// stay, so the repair begins at its second step. A replica that leads, is damaged already or has no peer is left as it is.
    pub fn rebuild(&mut self, turn: &mut Turn) {
        if !self.leads() && !self.is_damaged() && !self.peers().is_empty() {
            self.drop_log(turn, Repair { vote_lost: false });
        }
    }

    fn drop_log(&mut self, turn: &mut Turn, repair: Repair) {
        let hard = Hard { term: self.term(), vote: self.raft.raft.vote, ..Hard::default() };
        let log = Log::new(hard, StoredSnapshot::default(), VecDeque::new());
        let Ok(raft) = raft_node(turn.config, 0, log) else { return };
        self.raft = raft;
        self.held.clear();
        self.members_at.clear();
        self.holds = Default::default();
        self.damage = Some(Damage::open(repair, false));
        turn.stage.delete_range(records::entries_from(self.id, 0));
        self.stage_snapshot(turn);
        self.stage_repair(turn, Some(repair));
    }

    /// Everything that the disk must hold of this replica is written once more.
    pub fn rewrite(&mut self, turn: &mut Turn) {
        let (from, to) = records::group_range(self.id);
        turn.stage.delete_range((from, to));
        self.stage_snapshot(turn);
        for entry in self.log().entries_in_order() {
            let key = records::entry_key(self.id, entry.index);
            let value = records::encode_entry(&key, entry);
            turn.stage.put(key, value);
        }
        let repair = self.is_damaged().then(|| Repair { vote_lost: self.lost_its_vote() });
        self.stage_repair(turn, repair);
    }

    pub(super) fn stage_repair(&mut self, turn: &mut Turn, repair: Option<Repair>) {
        let key = records::repair_key(self.id);
        match repair {
            Some(repair) => {
                let value = records::encode_repair(&key, repair);
                turn.stage.put(key, value);
            }
            None => turn.stage.delete(key),
        }
        self.must_write = true;
        self.write_seq = turn.next_seq;
    }

    pub(super) fn snapshot_installed(&mut self) {
        if let Some(damage) = &mut self.damage {
            damage.stage = Stage::CatchingUp;
        }
    }

    pub(super) fn tick_repair(&mut self, turn: &mut Turn) {
        if self.damage.is_none() || !self.ticks.is_multiple_of(u64::from(turn.config.repair_ticks.max(1))) {
            return;
        }
        let have = if self.lost_its_vote() { TAKES_NOTHING } else { self.raft.raft.raft_log.persisted };
        let Some(boot) = self.question() else { return };
        let mut askable = self.peers();
        askable.extend(&self.named);
        for peer in askable {
            turn.post(peer, self.id, &Frame::RepairAsk { boot, have });
        }
    }

    /// It does not know its term yet.
    fn lost_its_vote(&self) -> bool {
        matches!(&self.damage, Some(Damage { stage: Stage::VoteLost { .. }, .. }))
    }

    /// What the answers to a question asked now must carry.
    fn question(&self) -> Option<u64> {
        match &self.damage {
            Some(Damage { stage: Stage::VoteLost { answers, .. }, .. }) => answers.number(self.boot),
            _ => Some(self.boot),
        }
    }

    /// Whole again as soon as the target is durable.
    pub(super) fn tick_repaired(&mut self, turn: &mut Turn) {
        let Some(damage) = &self.damage else { return };
        let Some(target) = damage.target else { return };
        if matches!(damage.stage, Stage::CatchingUp) && self.raft.raft.raft_log.persisted >= target {
            self.damage = None;
            self.stage_repair(turn, None);
            turn.out.push(Output::Repaired { group: self.id });
        }
    }

    pub(super) fn repair_asked(&mut self, turn: &mut Turn, from: NodeId, boot: u64, have: u64) {
        if self.lost_its_vote() {
            turn.post(from, self.id, &Frame::RepairLost { boot });
            return;
        }
        let last = self.raft.raft.raft_log.last_index();
        let target = self.leads().then_some(last);
        let members = self.members();
        let (index, voters) = (self.applied(), [members.voters, members.voters_outgoing].concat());
        turn.post(from, self.id, &Frame::RepairMembers { boot, index, voters, learners: members.learners });
        turn.post(from, self.id, &Frame::RepairTell { boot, term: self.term(), target });
        if target.is_some() {
            self.repairing.insert(from, self.ticks);
            // A snapshot that is sent before it is taken would count as under way, and the next one wait for its end.
            if have != TAKES_NOTHING {
                self.forget_progress(turn, from, have.min(last));
            }
        }
    }

    /// What this leader believed of the peer is void: start again behind what the peer says it has.
    fn forget_progress(&mut self, turn: &Turn, peer: NodeId, have: u64) {
        let under_way = self.snapshot_sent.get(&peer);
        let patience = u64::from(turn.config.snapshot_retry_ticks);
        if have == 0 && under_way.is_some_and(|sent| self.ticks < sent + patience) {
            return;
        }
        let Some(progress) = self.raft.raft.mut_prs().get_mut(peer) else { return };
        if have > 0 && progress.matched <= have && progress.state == ProgressState::Replicate {
            return;
        }
        progress.matched = 0;
        progress.pending_snapshot = 0;
        progress.become_probe();
        progress.next_idx = have + 1;
        progress.recent_active = true;
        self.raft.raft.send_append(peer);
        let progress = self.raft.raft.prs().get(peer);
        if progress.is_some_and(|progress| progress.state == ProgressState::Snapshot) {
            self.snapshot_sent.insert(peer, self.ticks);
        }
    }

    pub(super) fn repair_told(
        &mut self,
        turn: &mut Turn,
        from: NodeId,
        boot: u64,
        term: u64,
        target: Option<u64>,
    ) {
        let my_term = self.term();
        let asked = self.question() == Some(boot);
        let Some(damage) = self.damage.as_mut().filter(|_| asked) else { return };
        let Stage::VoteLost { answers, .. } = &mut damage.stage else {
            if let Some(target) = target.filter(|_| term >= my_term) {
                damage.target.get_or_insert(target);
            }
            return;
        };
        answers.tells(from, term);
        self.take_vote_back(turn);
    }

    /// Another member says who belongs to the group: the newest word counts, as what this replica was opened with may be of
    /// long ago.
    pub(super) fn repair_members(
        &mut self,
        boot: u64,
        index: u64,
        (voters, learners): (Vec<NodeId>, Vec<NodeId>),
    ) {
        let asked = self.question() == Some(boot);
        let Some(Damage { stage: Stage::VoteLost { answers, .. }, .. }) = &mut self.damage else { return };
        if asked && index >= answers.members_at && !voters.is_empty() {
            answers.members_at = index;
            self.voters = voters.iter().copied().collect();
            self.named = voters.into_iter().chain(learners).filter(|node| *node != self.me).collect();
        }
    }

    /// Another member answers that its vote is lost too.
    pub(super) fn repair_lost(&mut self, turn: &mut Turn, from: NodeId, boot: u64) {
        let asked = self.question() == Some(boot);
        if let Some(Damage { stage: Stage::VoteLost { answers, .. }, .. }) = &mut self.damage {
            if asked {
                answers.lost(from);
                self.take_vote_back(turn);
            }
        }
    }

    fn take_vote_back(&mut self, turn: &mut Turn) {
        let Some(damage) = &mut self.damage else { return };
        let Stage::VoteLost { answers, log_present } = &damage.stage else { return };
        let Some(floor) = answers.floor(&self.named, &self.voters) else { return };
        let floor = floor.max(self.raft.raft.term);
        damage.stage = if *log_present { Stage::CatchingUp } else { Stage::LogLost };
        debug_assert!(self.raft.raft.state != StateRole::Leader);
        self.raft.raft.become_follower(floor, 0);
        self.raft.raft.vote = self.me;
        self.stage_repair(turn, Some(Repair { vote_lost: false }));
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, ROUNDS};
    use crate::group::alone::Alone;
    use crate::wire::Frame;
    use raft::eraftpb::{Message, MessageType};
    use std::collections::BTreeSet;

    /// The others of node 1 of five, and the voters: all.
    fn others() -> (BTreeSet<u64>, BTreeSet<u64>) {
        ((2..=5).collect(), (1..=5).collect())
    }

    #[test]
    fn all_must_answer_and_the_highest_term_is_the_floor() {
        let (others, voters) = others();
        let mut answers = Answers::default();
        for (node, term) in [(2, 7), (3, 9), (4, 8), (2, 6)] {
            answers.tells(node, term);
            assert_eq!(answers.floor(&others, &voters), None);
        }
        answers.tells(5, 3);
        assert_eq!(answers.floor(&others, &voters), Some(9));
        assert_eq!(Answers::default().floor(&BTreeSet::new(), &[1].into()), None);
    }

    #[test]
    fn what_was_told_before_a_member_lost_its_vote_is_asked_again() {
        let (others, voters) = others();
        let mut answers = Answers::default();
        for node in [2, 3, 4] {
            answers.tells(node, 7);
        }
        let before = answers.number(1);
        answers.lost(5);
        assert_ne!(answers.number(1), before, "an answer to the earlier question is none to this one");
        assert_eq!(answers.floor(&others, &voters), None);
        for (node, term) in [(2, 7), (3, 12), (4, 7)] {
            answers.lost(5);
            answers.tells(node, term);
        }
        assert_eq!(answers.floor(&others, &voters), Some(12));
    }

    #[test]
    fn those_that_know_their_terms_must_be_a_majority_of_the_voters() {
        let (others, voters) = others();
        let mut answers = Answers::default();
        for lost in [4, 5] {
            answers.lost(lost);
        }
        for known in [2, 3] {
            answers.tells(known, 7);
        }
        assert_eq!(answers.floor(&others, &voters), None, "two of five");
        assert_eq!(answers.floor(&others, &[1, 2, 3].into()), Some(7), "two of three, the others learn");
        answers.tells(4, 6);
        assert_eq!(answers.floor(&others, &voters), Some(7), "healed meanwhile");
        answers.lost(4);
        assert_eq!(answers.floor(&others, &voters), None, "and lost again");
    }

    #[test]
    fn a_member_that_loses_its_vote_again_and_again_is_not_believed_for_ever() {
        let mut answers = Answers::default();
        for _ in 0..ROUNDS {
            answers.lost(2);
            answers.tells(2, 7);
        }
        assert_eq!(answers.number(1), None);
    }

    fn heartbeat(term: u64) -> Frame {
        let mut message = Message::default();
        (message.msg_type, message.to, message.term) = (MessageType::MsgHeartbeat, 1, term);
        Frame::Raft(Box::new(message))
    }

    #[test]
    fn a_replica_that_lost_its_vote_follows_no_leader_below_the_highest_term_told() {
        let mut node = Alone::new(true);
        let boot = node.says(|frame| match frame {
            Frame::RepairAsk { boot, .. } => Some(*boot),
            _ => None,
        });
        node.hear(2, &heartbeat(20));
        assert_eq!(node.follows(), (0, None), "it takes no part before all have answered");
        node.hear(2, &Frame::RepairTell { boot: boot + 1, term: 30, target: None });
        node.hear(2, &Frame::RepairTell { boot, term: 4, target: None });
        node.hear(3, &Frame::RepairTell { boot, term: 9, target: None });
        assert_eq!(node.follows(), (9, None));
        node.hear(2, &heartbeat(8));
        assert_eq!(node.follows(), (9, None));
        node.hear(3, &heartbeat(9));
        assert_eq!(node.follows(), (9, Some(3)));
    }

    #[test]
    fn a_replica_that_lost_its_vote_says_so_and_no_term() {
        let mut node = Alone::new(true);
        node.hear(2, &Frame::RepairAsk { boot: 77, have: 0 });
        node.says(|frame| matches!(frame, Frame::RepairLost { boot: 77 }).then_some(()));
    }
}

//! A replica that lost records.
//!
//! It may have acknowledged entries that it no longer has, and voted in a term that it no longer knows. Both matter only
//! to elections, so it takes no part in them until it is whole again:
//!
//! 1. *Vote lost*: it takes no part in Raft at all until every other member has told its term. Whoever it may have voted
//!    for had written that candidacy's term before asking, so the highest of these terms, F, is at least the term of any
//!    vote it gave. It then goes on as if it had voted for itself in F: it refuses every other candidate up to F, and
//!    any leader of a term below F.
//! 2. *Log lost*: it accepts heartbeats and snapshots of a leader, nothing else, and asks for repair. The leader forgets
//!    what it believed of this replica, sends a snapshot, and says the last index of its log at that moment, the target.
//! 3. *Catching up*: with the snapshot in place it accepts appends, and what it acknowledges now is true. It still does
//!    not vote or campaign until it holds the target durably.
//!
//! Why that is safe. Say that it had acknowledged entry e before the damage, and that e is or becomes committed with the
//! help of that acknowledgement. Until it is whole, every election is won without it: the winners' majority shares with
//! the majority that committed e a replica other than this one, so every leader elected meanwhile has e. The leader that
//! names the target has e as well: it either was elected after e was acknowledged, as just argued or by Raft's own
//! argument, or it is the leader that e was acknowledged to, and then e was in its log before the damage and thus before
//! the target was named. So e is at or below the target, and a replica that holds the leader's log up to the target
//! holds e: from then on its acknowledgement is true again, also one that is still under way.

use super::{Group, raft_node};
use crate::log::Log;
use crate::records::{self, Hard, Repair, StoredSnapshot};
use crate::turn::Turn;
use crate::wire::Frame;
use crate::{NodeId, Output};
use raft::eraftpb::MessageType;
use raft::{ProgressState, StateRole};
use std::collections::{BTreeMap, VecDeque};

pub(super) struct Damage {
    stage: Stage,
    /// The log of a leader up to here makes the replica whole.
    target: Option<u64>,
}

enum Stage {
    VoteLost { terms: BTreeMap<NodeId, u64>, log_present: bool },
    LogLost,
    CatchingUp,
}

impl Damage {
    pub fn open(repair: Repair, log_present: bool) -> Self {
        let stage = match (repair.vote_lost, log_present) {
            (true, log_present) => Stage::VoteLost { terms: BTreeMap::new(), log_present },
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
        let repair = Repair { vote_lost: true };
        let hard = Hard { term: self.term(), vote: self.raft.raft.vote, ..Hard::default() };
        let log = Log::new(hard, StoredSnapshot::default(), VecDeque::new());
        let Ok(raft) = raft_node(turn.config, self.rank, 0, log) else { return };
        self.raft = raft;
        self.held.clear();
        self.members_at.clear();
        self.holds = Default::default();
        self.damage = Some(Damage::open(repair, false));
        turn.stage.delete_range(records::entries_from(self.id, 0));
        self.stage_snapshot(turn);
        self.stage_repair(turn, Some(repair));
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
        let have = self.raft.raft.raft_log.persisted;
        let mut askable = self.peers();
        askable.extend(&self.named);
        for peer in askable {
            turn.post(peer, self.id, &Frame::RepairAsk { boot: self.boot, have });
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
        if matches!(&self.damage, Some(Damage { stage: Stage::VoteLost { .. }, .. })) {
            return;
        }
        let last = self.raft.raft.raft_log.last_index();
        let target = self.leads().then_some(last);
        turn.post(from, self.id, &Frame::RepairTell { boot, term: self.term(), target });
        if target.is_some() {
            self.repairing.insert(from, self.ticks);
            self.forget_progress(turn, from, have.min(last));
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
        let (me, named) = (self.me, &self.named);
        let Some(damage) = self.damage.as_mut().filter(|_| boot == self.boot) else { return };
        let Stage::VoteLost { terms, log_present } = &mut damage.stage else {
            if let Some(target) = target.filter(|_| term >= my_term) {
                damage.target.get_or_insert(target);
            }
            return;
        };
        let told = terms.entry(from).or_default();
        *told = term.max(*told);
        if named.is_empty() || !named.iter().all(|member| terms.contains_key(member)) {
            return;
        }
        let floor = terms.values().copied().max().unwrap_or(0).max(my_term);
        damage.stage = if *log_present { Stage::CatchingUp } else { Stage::LogLost };
        debug_assert!(self.raft.raft.state != StateRole::Leader);
        self.raft.raft.become_follower(floor, 0);
        self.raft.raft.vote = me;
        self.stage_repair(turn, Some(Repair { vote_lost: false }));
    }
}

//! Replicas tell each other what they hold durably, so that each concludes the commit without the leader's notice.
//! The safety argument is in `docs/decisions/2026-11-23-acknowledgement-broadcast.md`.

use super::Group;
use crate::turn::Turn;
use crate::wire::Frame;
use crate::{Config, NodeId};
use raft::StateRole;
use raft::eraftpb::EntryType;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Holds {
    /// What each peer said of its newest term: the term, and the highest index.
    heard: BTreeMap<NodeId, (u64, u64)>,
    told: (u64, u64),
}

impl Holds {
    pub fn hear(&mut self, from: NodeId, term: u64, index: u64) {
        let known = self.heard.entry(from).or_default();
        *known = (term, index).max(*known);
    }

    /// Forgets who is no member any more.
    pub fn keep(&mut self, peers: &BTreeSet<NodeId>) {
        self.heard.retain(|node, _| peers.contains(node));
    }
}

impl Group {
    /// The index up to which this replica durably holds the log of the leader of its term. An entry of that term can
    /// only come from that leader, and brings with it everything before it.
    fn durable_of_reign(&self) -> Option<u64> {
        let log = &self.raft.raft.raft_log;
        let same_term = log.term(log.persisted).is_ok_and(|term| term == self.term());
        (same_term && self.leader().is_some()).then_some(log.persisted)
    }

    pub(super) fn tell_holds(&mut self, turn: &mut Turn) {
        if !turn.config.ack_broadcast || self.is_damaged() {
            return;
        }
        let Some(index) = self.durable_of_reign() else { return };
        let claim = (self.term(), index);
        if claim <= self.holds.told {
            return;
        }
        self.holds.told = claim;
        let leader = self.leader();
        for peer in self.peers() {
            // The leader hears the same from the answer to its append.
            if Some(peer) != leader {
                turn.post(peer, self.id, &Frame::Holds { term: claim.0, index });
            }
        }
    }

    pub(super) fn conclude_commit(&mut self, config: &Config) {
        if !config.ack_broadcast || self.is_damaged() {
            return;
        }
        let raft = &self.raft.raft;
        let settled = raft.raft_log.committed == raft.raft_log.last_index();
        if raft.state != StateRole::Follower || raft.leader_id == 0 || settled {
            return;
        }
        let term = raft.term;
        let mine = self.durable_of_reign().unwrap_or(0);
        let held = |node: &NodeId| match self.holds.heard.get(node) {
            _ if *node == self.me => mine,
            Some((of, index)) if *of == term => *index,
            _ => 0,
        };
        let members = self.members();
        let of_majority = |voters: &[NodeId]| {
            let mut indexes: Vec<u64> = voters.iter().map(held).collect();
            indexes.sort_unstable();
            indexes.get((voters.len().max(1) - 1) / 2).copied().unwrap_or(u64::MAX)
        };
        let index = of_majority(&members.voters).min(of_majority(&members.voters_outgoing));
        let log = &raft.raft_log;
        let index = index.min(log.last_index());
        if index <= log.committed || !log.match_term(index, term) || !self.members_certain(index) {
            return;
        }
        self.raft.raft.raft_log.commit_to(index);
    }

    /// No change of members lies between what is applied and `index`: the members known here are those that decide.
    fn members_certain(&self, index: u64) -> bool {
        let log = self.log();
        index <= log.last()
            && (self.applied() + 1..=index)
                .all(|at| log.entry(at).is_some_and(|entry| entry.entry_type == EntryType::EntryNormal))
    }
}

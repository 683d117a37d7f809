//! Changing who belongs to the group.

use super::{Group, sorted};
use crate::guard::members_sound;
use crate::turn::Turn;
use crate::{DropReason, NodeId, Output, Ticket};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType};
use std::collections::BTreeSet;

impl Group {
    pub fn ask_members(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        voters: Vec<NodeId>,
        learners: Vec<NodeId>,
    ) {
        if let Err(reason) = self.propose_members(turn, ticket, voters, learners) {
            turn.out.push(Output::ProposalDropped { group: self.id, ticket, reason });
        }
    }

    fn propose_members(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        voters: Vec<NodeId>,
        learners: Vec<NodeId>,
    ) -> Result<(), DropReason> {
        self.may_append()?;
        let now = self.members();
        if self.raft.raft.has_pending_conf() || !now.voters_outgoing.is_empty() {
            return Err(DropReason::ChangePending);
        }
        let mut target = ConfState::default();
        target.voters = voters;
        target.learners = learners;
        let changes = changes(&now, &target);
        if !members_sound(&target) || changes.is_empty() {
            return Err(DropReason::BadMembers);
        }
        let mut change = ConfChangeV2::default();
        change.set_changes(changes.into());
        self.raft.propose_conf_change(Vec::new(), change).map_err(|_| DropReason::TooMany)?;
        self.tell_proposed(ticket, turn.out);
        Ok(())
    }

    /// A committed change comes into force.
    pub(super) fn change_members(&mut self, turn: &mut Turn, entry: &Entry) {
        // The commit that put these members in force is written with the next batch, not some time later: a replica
        // that forgot it would count votes among the old members.
        self.must_write = true;
        let Some(change) = decode(entry) else { return };
        // A change that does not fit is refused alike on every replica, as all see the same members here.
        let Ok(members) = self.raft.apply_conf_change(&change) else { return };
        self.members_at.insert(entry.index, sorted(members));
        self.lease.members_changed(turn.now_us);
        self.tell_members(turn, entry.index);
    }

    /// Takes over whom the log names; keeps what the caller named while it names nobody.
    pub(super) fn know_members(&mut self, seed: u64) {
        let members = self.members();
        if !members.voters.is_empty() {
            self.named = self.peers();
            self.voters = members.voters.iter().chain(&members.voters_outgoing).copied().collect();
        }
        self.find_rank(seed);
    }

    pub(super) fn tell_members(&mut self, turn: &mut Turn, index: u64) {
        self.know_members(turn.config.seed);
        let members = self.members();
        self.holds.keep(&self.peers());
        turn.out.push(Output::MembersChanged {
            group: self.id,
            index,
            joint: !members.voters_outgoing.is_empty(),
            voters: members.voters,
            learners: members.learners,
        });
    }

    /// A leader that is no voter any more makes room; the Raft crate would let it lead on.
    pub(super) fn step_down_when_removed(&mut self) {
        if self.leads() && !self.raft.raft.promotable() {
            let term = self.term();
            self.raft.raft.become_follower(term, 0);
        }
    }

    /// The leader that began a joint change may be gone before it could end it.
    pub(super) fn tick_joint(&mut self) {
        if self.leads()
            && !self.raft.raft.has_pending_conf()
            && !self.members().voters_outgoing.is_empty()
            && self.raft.raft.lead_transferee.is_none()
        {
            // Refused at worst; the next tick tries again.
            let _ = self.raft.propose_conf_change(Vec::new(), ConfChangeV2::default());
        }
    }
}

fn changes(now: &ConfState, target: &ConfState) -> Vec<ConfChangeSingle> {
    let set = |list: &[NodeId]| list.iter().copied().collect::<BTreeSet<_>>();
    let (voters, learners) = (set(&target.voters), set(&target.learners));
    let (voters_now, learners_now) = (set(&now.voters), set(&now.learners));
    let single = |kind: ConfChangeType, node: NodeId| {
        let mut change = ConfChangeSingle::default();
        change.change_type = kind;
        change.node_id = node;
        change
    };
    let added = voters.difference(&voters_now).map(|node| single(ConfChangeType::AddNode, *node));
    let learning =
        learners.difference(&learners_now).map(|node| single(ConfChangeType::AddLearnerNode, *node));
    let gone = voters_now
        .union(&learners_now)
        .filter(|node| !voters.contains(node) && !learners.contains(node))
        .map(|node| single(ConfChangeType::RemoveNode, *node));
    added.chain(learning).chain(gone).collect()
}

/// Longer than any change of members: the decoder of the Raft crate's messages is old and recurses.
const CHANGE_LIMIT: usize = 4096;

fn decode(entry: &Entry) -> Option<ConfChangeV2> {
    let ours = entry.entry_type == EntryType::EntryConfChangeV2 && entry.data.len() <= CHANGE_LIMIT;
    let mut change = ConfChangeV2::default();
    if !ours {
        return None;
    }
    change.merge_from_bytes(&entry.data).ok()?;
    Some(change)
}

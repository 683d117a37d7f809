//! One replica of one group: the Raft crate's node and what surrounds it.

#[cfg(test)]
mod alone;
mod candidacy;
mod fence;
mod holds;
mod home;
mod lease;
mod members;
mod message;
mod reads;
mod ready;
mod repair;
mod ticks;

use crate::config::{Config, GroupSetup};
use crate::log::Log;
use crate::records::StoredSnapshot;
use crate::recover::Found;
use crate::restored::opened_first;
use crate::status::{GroupStatus, PeerStatus, Role};
use crate::turn::Turn;
use crate::{DropReason, GroupId, NodeId, Output, Ticket};
use fence::Fence;
use holds::Holds;
use home::{Home, Pace};
use lease::Lease;
use raft::eraftpb::{ConfState, Message};
use raft::{ProgressState, RawNode, ReadOnlyOption, StateRole};
use reads::Reads;
use repair::Damage;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What waits until a batch is durable.
struct Held {
    seq: u64,
    /// When it began to wait, in ticks.
    since: u64,
    /// The Raft crate's number of the ready that is then persisted.
    ready: Option<u64>,
    /// The index of a snapshot that is then installed; 0 for none.
    installed: u64,
    messages: Vec<Message>,
}

pub(crate) struct Group {
    id: GroupId,
    me: NodeId,
    boot: u64,
    raft: RawNode<Log>,
    /// The other members: those that were last in force here, or what the caller named before there were any.
    named: BTreeSet<NodeId>,
    /// Those of them, and this node, that vote.
    voters: BTreeSet<NodeId>,
    damage: Option<Damage>,
    /// Something of this group must be written in this call.
    must_write: bool,
    /// Term and vote as last given to be written.
    voted: (u64, NodeId),
    /// The batch that holds them.
    vote_seq: u64,
    /// The newest batch that holds anything of this group.
    write_seq: u64,
    held: VecDeque<Held>,
    /// Members as of the index, for changes behind the snapshot.
    members_at: BTreeMap<u64, ConfState>,
    /// (leader, term) as last told to the caller.
    told: (NodeId, u64),
    ticks: u64,
    pace: Pace,
    /// In the order of succession, 0 first.
    rank: u32,
    leader_since: Option<(u64, u64)>,
    /// When this leader last heard each peer's answer, in ticks; the beginning of its reign before the first.
    heard: BTreeMap<NodeId, u64>,
    reign_began: u64,
    reads: Reads,
    fence: Fence,
    lease: Lease,
    home: Home,
    holds: Holds,
    /// When a snapshot to a peer was first seen under way, in ticks.
    snapshot_sent: BTreeMap<NodeId, u64>,
    /// When a damaged peer last asked, in ticks.
    repairing: BTreeMap<NodeId, u64>,
    /// When the caller was asked for a snapshot that is not there yet, in ticks.
    asked_snapshot: Option<u64>,
    ignored: u64,
}

impl Group {
    pub fn open(config: &Config, setup: &GroupSetup, found: Found, turn: &mut Turn) -> Result<Self, String> {
        let applied = found.snapshot.index;
        let fresh = found.fresh;
        let boot = found.hard.boot;
        let restored = opened_first(boot);
        let repair = found.repair;
        let repair_recorded = found.repair_recorded;
        let empty = found.snapshot == StoredSnapshot::default();
        let log = Log::new(found.hard, found.snapshot, found.entries);
        let raft = raft_node(config, applied, log)?;
        let named = setup.voters.iter().chain(&setup.learners).chain(&setup.others).copied();
        let mut group = Self {
            id: setup.group,
            me: config.node,
            boot,
            rank: 0,
            voted: (0, 0),
            named: named.filter(|node| *node != config.node).collect(),
            voters: setup.voters.iter().copied().collect(),
            damage: repair.map(|repair| Damage::open(repair, !empty)),
            // The count of openings must be durable before anything is said in its name.
            must_write: true,
            vote_seq: turn.next_seq,
            write_seq: turn.next_seq,
            held: VecDeque::new(),
            members_at: BTreeMap::new(),
            told: (0, 0),
            ticks: 0,
            pace: Pace::of(restored),
            leader_since: None,
            heard: BTreeMap::new(),
            reign_began: 0,
            reads: Reads::new(config.node, boot),
            fence: Fence::new(turn.now_us),
            lease: Lease::new(config, turn.now_us, !fresh && !restored),
            home: Home::new(config, setup.home),
            holds: Holds::default(),
            snapshot_sent: BTreeMap::new(),
            repairing: BTreeMap::new(),
            asked_snapshot: None,
            ignored: 0,
            raft,
        };
        group.know_members(config.seed);
        if fresh {
            group.stage_snapshot(turn);
        }
        if !repair_recorded && let Some(repair) = repair {
            group.stage_repair(turn, Some(repair));
        }
        Ok(group)
    }

    fn log(&self) -> &Log {
        self.raft.store()
    }

    fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    fn term(&self) -> u64 {
        self.raft.raft.term
    }

    fn leader(&self) -> Option<NodeId> {
        Some(self.raft.raft.leader_id).filter(|leader| *leader != 0)
    }

    fn applied(&self) -> u64 {
        self.raft.raft.raft_log.applied
    }

    fn members(&self) -> ConfState {
        sorted(self.raft.raft.prs().conf().to_conf_state())
    }

    /// All members besides this node, in order.
    fn peers(&self) -> BTreeSet<NodeId> {
        let ConfState { voters, learners, voters_outgoing, .. } = self.members();
        let all = voters.into_iter().chain(learners).chain(voters_outgoing);
        all.filter(|node| *node != self.me).collect()
    }

    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.log().term_at(index)
    }

    pub fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    pub fn snapshot(&self) -> &StoredSnapshot {
        self.log().snapshot_record()
    }

    pub fn propose(&mut self, turn: &mut Turn, ticket: Ticket, data: Vec<u8>) {
        if let Err(reason) = self.append(turn.config, ticket, data, turn.out) {
            turn.out.push(Output::ProposalDropped { group: self.id, ticket, reason });
        }
    }

    fn append(
        &mut self,
        config: &Config,
        ticket: Ticket,
        data: Vec<u8>,
        out: &mut Vec<Output>,
    ) -> Result<(), DropReason> {
        self.may_append()?;
        if data.is_empty() || data.len() as u64 > config.max_proposal_bytes {
            return Err(DropReason::BadSize);
        }
        self.raft.propose(Vec::new(), data).map_err(|_| DropReason::TooMany)?;
        self.tell_proposed(ticket, out);
        Ok(())
    }

    fn may_append(&self) -> Result<(), DropReason> {
        if !self.leads() {
            return Err(DropReason::NotLeader { leader: self.leader() });
        }
        match self.raft.raft.lead_transferee {
            Some(_) => Err(DropReason::Transferring),
            None => Ok(()),
        }
    }

    fn tell_proposed(&self, ticket: Ticket, out: &mut Vec<Output>) {
        let index = self.raft.raft.raft_log.last_index();
        out.push(Output::Proposed { group: self.id, ticket, index, term: self.term() });
    }

    pub fn transfer(&mut self, to: NodeId) {
        if self.leads() && self.raft.raft.prs().conf().voters().contains(to) {
            self.raft.transfer_leader(to);
        }
    }

    pub fn unreachable(&mut self, node: NodeId) {
        if self.leads() {
            self.raft.report_unreachable(node);
            if self.snapshot_sent.remove(&node).is_some() {
                self.raft.report_snapshot(node, raft::SnapshotStatus::Failure);
            }
        }
    }

    pub fn older_leader_ack_age_us(&self, now_us: u64) -> u64 {
        self.fence.age_us(now_us, (self.term(), self.raft.raft.leader_id))
    }

    pub fn led_for_us(&self, now_us: u64) -> u64 {
        self.fence.first_age_us(now_us)
    }

    pub fn leader_since_us(&self) -> Option<u64> {
        self.leader_since.filter(|(term, _)| self.leads() && *term == self.term()).map(|(_, since)| since)
    }

    pub fn status(&self) -> GroupStatus {
        let raft = &self.raft.raft;
        let members = self.members();
        let voters: BTreeSet<NodeId> = members.voters.iter().copied().collect();
        GroupStatus {
            leader: self.leader(),
            term: raft.term,
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            last: raft.raft_log.last_index(),
            persisted: raft.raft_log.persisted,
            first: self.log().first(),
            snapshot: self.snapshot().index,
            voters: voters.into_iter().collect(),
            learners: members.learners,
            joint: !members.voters_outgoing.is_empty(),
            peers: if self.leads() { self.peer_statuses() } else { Vec::new() },
            damaged: self.is_damaged(),
            ignored_messages: self.ignored,
        }
    }

    fn peer_statuses(&self) -> Vec<PeerStatus> {
        let last = self.raft.raft.raft_log.last_index();
        let peers = self.peers();
        let known = peers.iter().filter_map(|node| Some((*node, self.raft.raft.prs().get(*node)?)));
        known
            .map(|(node, progress)| PeerStatus {
                node,
                matched: progress.matched,
                next: progress.next_idx,
                lag: last.saturating_sub(progress.matched),
                active: progress.recent_active,
                snapshot: progress.state == ProgressState::Snapshot,
                repairing: self.repairing.contains_key(&node),
            })
            .collect()
    }
}

/// The Raft crate keeps members in hash sets; what leaves this package is in order.
fn sorted(mut members: ConfState) -> ConfState {
    members.voters.sort_unstable();
    members.learners.sort_unstable();
    members.voters_outgoing.sort_unstable();
    members.learners_next.sort_unstable();
    members
}

fn raft_node(config: &Config, applied: u64, log: Log) -> Result<RawNode<Log>, String> {
    let timeout = home::crate_timeout(config);
    let settings = raft::Config {
        id: config.node,
        election_tick: config.election_ticks as usize,
        heartbeat_tick: config.heartbeat_ticks as usize,
        applied,
        max_size_per_msg: config.max_message_bytes,
        max_inflight_msgs: config.max_inflight_messages as usize,
        check_quorum: true,
        pre_vote: true,
        // One apart: the crate draws the timeout from ambient randomness, and here there is only one to draw. It is
        // out of reach; `home` decides when to campaign.
        min_election_tick: timeout,
        max_election_tick: timeout + 1,
        read_only_option: ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        batch_append: true,
        // Whoever has the log may lead: home gets leadership back by a transfer.
        priority: 0,
        max_uncommitted_size: config.max_inflight_bytes,
        max_committed_size_per_ready: 8 << 20,
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&settings, log, &logger).map_err(|error| error.to_string())
}

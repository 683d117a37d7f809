//! Regions come and go: which groups there are, who holds them, and when a region that leaves is forgotten.
//!
//! The set of regions is a fact of the federation's group. Every node opens and closes groups and names its peers by it. The
//! leader of each group moves its members towards it, one node at a time ([`dwcp_decide::next_members`]).
//!
//! # Why leases hold across a change of voters
//!
//! Two arguments rest on the voters of a group: that a takeover waits until no lease of an older leader can hold (`leases`),
//! and that an agent keeps its lease while enough voters are proven dead (`agent/lease`). Both need that any majority of
//! the voters that one side knows shares a voter with any majority of those that the other side knows. Voters change by
//! one node at a time, so neighbours in the sequence of voter sets have that property. It is enough if nobody holds a lease
//! on the word of voters that are two or more steps old:
//! * every grant names the voters as they are when it is given, and
//! * a node that is to vote is named as one who joins, in every grant, for as long as any lease can last before it votes. An
//!   agent asks it too before it takes a leader for gone; and
//! * a leader changes voters only when it has led, and the last change has been in force, for as long as any lease can
//!   last. By then a lease that was granted under the voters before that change has ended, or was renewed by a grant that
//!   named them. One that its agent keeps by itself rests on a majority of dead voters: while it rests on them no leader is
//!   elected by the next set, so none has led for that long.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_consensus::{Disk, GroupRecords, GroupSetup, Input as RaftInput, OpenError};
use dwcp_decide::{FEWEST, Members, MembersStep, MembersView, next_members};
use dwcp_state::{Command, FEDERATION_GROUP, FailoverState, Lifecycle, Region};
use dwcp_types::{Code, GroupId, Mono, NodeId, Refusal, RegionId};

use super::{Effect, Level, Node};
use crate::protocol::Endpoint;

/// The ticket of every change of members: what becomes of it shows in the members.
pub(super) const MEMBERS_TICKET: u64 = u64::MAX;
/// Between two steps of one group, ms.
const STEP_MS: u64 = 500;
/// Entries that a member may lack to count as ready.
const LAG_MOST: u64 = 64;

/// What this node remembers of groups that come and go.
#[derive(Default)]
pub(super) struct Membership {
    /// What the disk held, when this process started, of groups that were not known yet.
    shelf: BTreeMap<GroupId, GroupRecords>,
    /// When the voters of a group last changed here.
    changed: BTreeMap<GroupId, Mono>,
    voters: BTreeMap<GroupId, Vec<NodeId>>,
    /// Who is to vote next in groups led here, and since when every grant says so.
    joining: BTreeMap<GroupId, (NodeId, Mono)>,
    told: Option<Vec<Endpoint>>,
}

impl Node {
    /// Opens every group that is known at the start.
    pub(super) fn open_groups(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        let founding = self.founding();
        self.open_group(FEDERATION_GROUP, None, founding, self.config.lost, disk)?;
        let (in_force, own) = (self.facts.core.level, self.config.program.level);
        if in_force > own {
            return Err(OpenError::BadSetup(format!(
                "level {in_force} is in force in this store; this program knows level {own} only"
            )));
        }
        if !self.facts.core.regions.is_empty() {
            let records = self.facts.core.regions.values();
            self.regions = records.map(|region| (region.number, region.id.clone())).collect();
        }
        let known: BTreeSet<NodeId> = match (self.facts.core.regions.is_empty(), self.config.joins) {
            (true, true) => BTreeSet::new(),
            (true, false) => self.config.regions.keys().copied().collect(),
            (false, _) => self.regions.keys().copied().collect(),
        };
        for number in known.iter().copied().chain(1..=Region::MOST).collect::<BTreeSet<_>>() {
            if known.contains(&number) {
                self.open_region(number, disk)?;
                continue;
            }
            let records = GroupRecords::read(disk, number);
            if !records.is_empty() {
                self.membership.shelf.insert(number, records);
            }
        }
        self.follow_regions();
        Ok(())
    }

    /// The founding voters and learners of the federation, as this node was configured; nobody when it joined later.
    fn founding(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        if self.config.joins {
            return (Vec::new(), Vec::new());
        }
        let voters = self.config.voters.clone();
        let learners = self.config.regions.keys().copied().filter(|node| !voters.contains(node)).collect();
        (voters, learners)
    }

    fn open_region(&mut self, number: NodeId, disk: &dyn Disk) -> Result<(), OpenError> {
        let region = self.regions[&number].clone();
        self.facts.open_group(number, &region);
        let record = self.facts.core.regions.get(&region);
        let (founder, unfounded) = record.map_or((0, false), |record| (record.founder, record.unfounded));
        if founder == 0 {
            return self.open_group(number, Some(number), self.founding(), self.config.lost, disk);
        }
        // One node founds it, once. Whoever knows that it was founded and has nothing of it has lost it, or never had it.
        let founds = founder == self.config.me && unfounded;
        let lost = !founds && (self.config.lost || founder == self.config.me);
        let voters = if founds { vec![founder] } else { Vec::new() };
        self.open_group(number, Some(number), (voters, Vec::new()), lost, disk)
    }

    fn open_group(
        &mut self,
        group: GroupId,
        home: Option<NodeId>,
        (voters, learners): (Vec<NodeId>, Vec<NodeId>),
        lost: bool,
        disk: &dyn Disk,
    ) -> Result<(), OpenError> {
        let others = self.regions.keys().copied().filter(|node| *node != self.config.me).collect();
        let setup = GroupSetup { group, voters, learners, others, home, lost };
        let opened = self.raft.open(self.now.mono.0, setup, disk)?;
        if let Some(snapshot) = opened.snapshot {
            if let Err(error) = self.facts.restore(group, &snapshot.data) {
                return Err(OpenError::BadSetup(format!(
                    "group {group}: the snapshot can't be read: {error}"
                )));
            }
        }
        Ok(())
    }

    /// Every region with its number, as far as this node knows.
    pub fn regions(&self) -> &BTreeMap<NodeId, RegionId> {
        &self.regions
    }

    /// True when the others have let this region go: what is known here grows old and says nothing any more.
    pub fn is_left_out(&self) -> bool {
        self.raft.status(FEDERATION_GROUP).is_none_or(|status| {
            let me = self.config.me;
            !status.voters.is_empty() && !status.voters.contains(&me) && !status.learners.contains(&me)
        })
    }

    /// The answer to everybody who asks a node that is left out.
    pub fn left_out(&self) -> Option<Refusal> {
        let what = format!("{} is not part of the federation any more", self.config.region);
        self.is_left_out().then(|| Refusal::new(Code::NotReady, what).then("ask another region"))
    }

    /// The voters of the federation's group.
    pub(super) fn federation_voters(&self) -> Vec<NodeId> {
        let status = self.raft.status(FEDERATION_GROUP);
        status
            .map(|status| status.voters)
            .filter(|voters| !voters.is_empty())
            .unwrap_or_else(|| self.config.voters.clone())
    }

    /// Opens, closes and names what the federation's facts say there is.
    pub(super) fn follow_regions(&mut self) {
        if self.facts.core.regions.is_empty() {
            return;
        }
        let records: Vec<Region> = self.facts.core.regions.values().cloned().collect();
        let now: BTreeMap<NodeId, RegionId> =
            records.iter().map(|region| (region.number, region.id.clone())).collect();
        if !now.contains_key(&self.config.me) {
            self.left();
            return;
        }
        let gone: Vec<NodeId> = self.regions.keys().copied().filter(|node| !now.contains_key(node)).collect();
        for number in gone {
            self.close_region(number);
        }
        self.regions = now;
        self.beats.follow(self.regions.keys().copied().filter(|node| *node != self.config.me), self.now.mono);
        for region in &records {
            if self.raft.status(region.number).is_none() {
                let disk = self.membership.shelf.remove(&region.number).unwrap_or_default();
                if let Err(error) = self.open_region(region.number, &disk) {
                    panic!("group {}: {error}", region.number);
                }
            }
        }
        let others = records.iter().filter(|region| region.number != self.config.me);
        self.tell_peers(others.map(endpoint).collect());
    }

    /// This region is not part of the federation any more.
    fn left(&mut self) {
        if self.regions.is_empty() {
            return;
        }
        for number in std::mem::take(&mut self.regions).into_keys() {
            self.close_region(number);
        }
        self.raft.close(FEDERATION_GROUP);
        self.beats.follow(std::iter::empty(), self.now.mono);
        self.tell_peers(Vec::new());
        let text = format!(
            "{} has left the federation; this process has nothing to do any more",
            self.config.region
        );
        self.log("state-manager", Level::Warning, text);
    }

    fn close_region(&mut self, number: NodeId) {
        self.lost_track(number);
        self.leases.leader_changed(number, self.now.mono);
        self.raft.close(number);
        self.facts.close_group(number);
        self.membership.changed.remove(&number);
        self.membership.voters.remove(&number);
    }

    fn tell_peers(&mut self, peers: Vec<Endpoint>) {
        if self.membership.told.as_ref() != Some(&peers) {
            self.membership.told = Some(peers.clone());
            self.out.push(Effect::Peers(peers));
        }
    }

    pub(super) fn members_changed(&mut self, group: GroupId, voters: Vec<NodeId>) {
        let before = self.membership.voters.insert(group, voters.clone());
        if before.as_ref() != Some(&voters) {
            self.membership.changed.insert(group, self.now.mono);
            self.joining_ends(group);
            self.log("state-manager", Level::Info, format!("group {group}: voters {voters:?}"));
        }
    }

    /// The leader of a group brings its members one step closer to what they should be.
    pub(super) fn keep_members(&mut self, group: GroupId) {
        let record = self.record_of(group);
        let leaves = record.is_some_and(|region| region.lifecycle == Lifecycle::Leaving);
        let unfounded = record.filter(|region| region.unfounded).map(|region| region.id.clone());
        if self.facts.core.regions.is_empty() || leaves || !self.due(format!("members {group}"), STEP_MS) {
            return;
        }
        if let Some(region) = unfounded {
            if !self.is_telling(|command| matches!(command, Command::FoundedRegion(_))) {
                self.tell_again(FEDERATION_GROUP, Command::FoundedRegion(region));
            }
            return;
        }
        let Some(status) = self.raft.status(group).filter(|status| !status.joint) else { return };
        let now = Members {
            voters: status.voters.iter().copied().collect(),
            learners: status.learners.iter().copied().collect(),
        };
        let ready = status
            .peers
            .iter()
            .filter(|peer| peer.active && !peer.snapshot && !peer.repairing && peer.lag <= LAG_MOST);
        // One that leaves must hear that it does, and close, before it is left out.
        let closed = |region: &Region| self.facts.regions.get(&region.id).is_some_and(|facts| facts.closed);
        let stays = |region: &&Region| {
            region.holds_replicas() || (region.lifecycle == Lifecycle::Leaving && !closed(region))
        };
        let stay = self.facts.core.regions.values().filter(stays);
        let view = MembersView {
            unleased: self.is_unleased(group),
            me: self.config.me,
            home: (group != FEDERATION_GROUP).then_some(group),
            stay: stay.map(|region| region.number).collect(),
            ready: ready.map(|peer| peer.node).chain([self.config.me]).collect(),
            rtt_ms: self
                .beats
                .links
                .iter()
                .map(|link| (link.node, link.rtt_p50_us.div_ceil(1_000)))
                .collect(),
        };
        match next_members(&now, &view) {
            Some(MembersStep::Become(next)) if self.may_become(group, &now, &next) => {
                self.inbox.push_back(RaftInput::ChangeMembers {
                    group,
                    ticket: MEMBERS_TICKET,
                    voters: next.voters.into_iter().collect(),
                    learners: next.learners.into_iter().collect(),
                });
            }
            Some(MembersStep::HandOver(to)) => self.inbox.push_back(RaftInput::TransferLeader { group, to }),
            _ => {}
        }
    }

    /// True when the step changes no voter, or no lease is left that knows too little for it.
    fn may_become(&mut self, group: GroupId, now: &Members, next: &Members) -> bool {
        if next.voters == now.voters || self.is_unleased(group) {
            return true;
        }
        let Some(node) = next.voters.difference(&now.voters).next().copied() else {
            return self.voters_may_change(group);
        };
        let joining = self.membership.joining.entry(group).or_insert((node, self.now.mono));
        if joining.0 != node {
            *joining = (node, self.now.mono);
        }
        let told_ms = self.now.mono.ms_since(joining.1);
        told_ms >= self.fence_ms() && self.voters_may_change(group)
    }

    /// True when no lease rests on the group: without hosts nobody holds one.
    fn is_unleased(&self, group: GroupId) -> bool {
        let facts = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region));
        facts.is_none_or(|facts| facts.hosts.is_empty())
    }

    /// True when hosts may rest on the group: it has had some before, or would survive the loss of a region.
    pub(super) fn takes_hosts(&self, group: GroupId) -> bool {
        let enough = FEWEST.min(self.regions.len());
        !self.is_unleased(group)
            || self.raft.status(group).is_some_and(|status| status.voters.len() >= enough)
    }

    /// Who may vote in a group soon.
    pub(super) fn joining(&self, group: GroupId) -> Vec<NodeId> {
        self.membership.joining.get(&group).map(|(node, _)| *node).into_iter().collect()
    }

    /// What an earlier leader told hosts is told again from the beginning.
    pub(super) fn joining_ends(&mut self, group: GroupId) {
        self.membership.joining.remove(&group);
    }

    /// True when no lease is left that rests on voters before the last change.
    fn voters_may_change(&self, group: GroupId) -> bool {
        let fence_ms = self.fence_ms();
        let led_since = self.raft.leader_since_us(group).map_or(self.now.mono, Mono);
        let since = self.membership.changed.get(&group).copied().unwrap_or_default().max(led_since);
        self.now.mono.ms_since(since) >= fence_ms
    }

    /// A region that leaves takes nothing any more as soon as it is empty.
    pub(super) fn close_leaving(&mut self, group: GroupId) {
        let leaves = self.record_of(group).is_some_and(|region| region.lifecycle == Lifecycle::Leaving);
        let Some(facts) = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region))
        else {
            return;
        };
        if leaves && !facts.closed && facts.left().is_none() && self.due(format!("close {group}"), 1_000) {
            self.conclude(group, Command::CloseRegion);
        }
    }

    /// Forgets regions of which nothing is left.
    pub(super) fn forget_left(&mut self) {
        let leaving =
            self.facts.core.regions.values().filter(|region| region.lifecycle == Lifecycle::Leaving);
        let gone: Vec<RegionId> =
            leaving.filter(|region| self.is_gone(region)).map(|region| region.id.clone()).collect();
        for region in gone {
            if self.due(format!("forget {region}"), 1_500) {
                self.conclude(FEDERATION_GROUP, Command::ForgetRegion(region));
            }
        }
    }

    /// Closed, awaited by nobody, and without a replica of anything but its own group.
    fn is_gone(&self, region: &Region) -> bool {
        let closed = self.facts.regions.get(&region.id).is_some_and(|facts| facts.closed);
        let others = || self.facts.regions.iter().filter(|(name, _)| **name != region.id);
        let holds = |group: GroupId| {
            self.raft.status(group).is_none_or(|status| {
                status.voters.contains(&region.number) || status.learners.contains(&region.number)
            })
        };
        let left = others().all(|(_, facts)| {
            !facts.waits_for(&region.id) && self.is_current(facts.number) && !holds(facts.number)
        });
        // Where a lost region's VMs have gone is told by the facts of those that took them.
        let mut failovers = self.facts.core.failovers.values();
        let settled = failovers.all(|failover| failover.state != FailoverState::Running);
        closed && left && settled && !holds(FEDERATION_GROUP)
    }

    pub(super) fn record_of(&self, group: GroupId) -> Option<&Region> {
        self.facts.region_of(group).and_then(|region| self.facts.core.regions.get(region))
    }
}

/// Where a region's node answers, by the facts.
pub(super) fn endpoint(region: &Region) -> Endpoint {
    Endpoint {
        node: region.number,
        region: region.id.clone(),
        mesh: region.mesh.clone(),
        api: region.api.clone(),
    }
}

//! All groups of a node behind one door.

use crate::group::Group;
use crate::records;
use crate::recover::recover;
use crate::turn::{Mail, Stage, Turn};
use crate::wire;
use crate::{Config, Disk, DropReason, GroupId, GroupSetup, GroupStatus, Input, NodeId, Output, Ticket};
use std::collections::{BTreeMap, BTreeSet};

/// Ticks made up for after the caller was late. A process that was stopped for long must not find that all its leaders
/// are silent before it has read what they sent meanwhile.
const LATE_TICKS: u64 = 2;

/// The replicas of one node.
pub struct MultiRaft {
    config: Config,
    groups: BTreeMap<GroupId, Group>,
    /// Groups that were touched and not yet settled.
    touched: BTreeSet<GroupId>,
    stage: Stage,
    mail: Mail,
    next_seq: u64,
    persisted_seq: u64,
    next_tick_us: Option<u64>,
    now_us: u64,
    ignored: u64,
    /// As the caller said last.
    could_lead: Option<BTreeSet<NodeId>>,
}

/// What was found when a group was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Give this to the state machine first; None when it starts empty. `Apply` goes on behind it.
    pub snapshot: Option<OpenedSnapshot>,
    /// Records were lost; the replica does not vote until it is repaired from a peer (`Output::Repaired`).
    pub damaged: bool,
}

/// The content of the state machine as it was on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSnapshot {
    /// Content as of this index.
    pub index: u64,
    /// Of the entry at `index`.
    pub term: u64,
    /// As given to `Input::Snapshot`.
    pub data: Vec<u8>,
}

/// Why a group could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is open already.
    AlreadyOpen,
    /// The settings contradict themselves; says how.
    BadSetup(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AlreadyOpen => write!(f, "the group is open already"),
            Self::BadSetup(how) => write!(f, "the group cannot be opened: {how}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl MultiRaft {
    /// A node without groups.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            touched: BTreeSet::new(),
            stage: Stage::default(),
            mail: Mail::default(),
            next_seq: 1,
            persisted_seq: 0,
            next_tick_us: None,
            now_us: 0,
            ignored: 0,
            could_lead: None,
        }
    }

    /// Opens a group from what the disk holds, or as a founding member when it holds nothing of it. Committed entries
    /// behind the snapshot come as `Output::Apply` with the next `step`; call it with `Input::Wake` soon.
    pub fn open(&mut self, now_us: u64, setup: GroupSetup, door: &dyn Disk) -> Result<Opened, OpenError> {
        self.now_us = self.now_us.max(now_us);
        if self.groups.contains_key(&setup.group) {
            return Err(OpenError::AlreadyOpen);
        }
        self.check(&setup)?;
        let found = recover(self.config.node, &setup, self.now_us, door);
        let mut out = Vec::new();
        let mut turn = Turn {
            now_us: self.now_us,
            config: &self.config,
            could_lead: self.could_lead.as_ref(),
            stage: &mut self.stage,
            mail: &mut self.mail,
            out: &mut out,
            next_seq: self.next_seq,
            persisted_seq: self.persisted_seq,
        };
        let group = Group::open(&self.config, &setup, found, &mut turn).map_err(OpenError::BadSetup)?;
        let stored = group.snapshot();
        let snapshot = stored.data.as_ref().map(|data| OpenedSnapshot {
            index: stored.index,
            term: stored.term,
            data: data.clone(),
        });
        let opened = Opened { snapshot, damaged: group.is_damaged() };
        self.groups.insert(setup.group, group);
        self.touched.insert(setup.group);
        self.next_tick_us = Some(self.now_us);
        Ok(opened)
    }

    /// Forgets a group and what the disk holds of it. The caller knows that it will never be needed again.
    pub fn close(&mut self, group: GroupId) {
        if self.groups.remove(&group).is_some() {
            self.touched.remove(&group);
            self.stage.delete_range(records::group_range(group));
        }
    }

    fn check(&self, setup: &GroupSetup) -> Result<(), OpenError> {
        let bad = |how: &str| Err(OpenError::BadSetup(how.to_owned()));
        let all: Vec<NodeId> = setup.voters.iter().chain(&setup.learners).copied().collect();
        let distinct: BTreeSet<NodeId> = all.iter().copied().collect();
        let config = &self.config;
        if distinct.len() != all.len() || distinct.contains(&0) {
            return bad("members must be distinct and not 0");
        }
        if setup.voters.is_empty() && !setup.learners.is_empty() {
            return bad("learners without a voter");
        }
        if config.tick_us == 0
            || config.heartbeat_ticks == 0
            || config.election_ticks <= config.heartbeat_ticks
        {
            return bad("tick and heartbeat must be positive and the election time longer than a heartbeat");
        }
        Ok(())
    }

    /// Takes one input and appends what must be done to `out`.
    pub fn step(&mut self, now_us: u64, input: Input, out: &mut Vec<Output>) {
        self.step_all(now_us, [input], out);
    }

    /// Takes several inputs at once: their writes share one `Persist` and their messages share `Send`s.
    pub fn step_all(&mut self, now_us: u64, inputs: impl IntoIterator<Item = Input>, out: &mut Vec<Output>) {
        self.now_us = self.now_us.max(now_us);
        for input in inputs {
            self.take(input, out);
        }
        self.run_ticks(out);
        self.settle(out);
    }

    fn take(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Wake => {}
            Input::Message { from, bytes } => self.receive(from, &bytes, out),
            Input::Propose { group, ticket, data } => {
                if !self.with(group, out, |group, turn| group.propose(turn, ticket, data)) {
                    out.push(dropped(group, ticket));
                }
            }
            Input::ChangeMembers { group, ticket, voters, learners } => {
                let asked = self.with(group, out, |group, turn| {
                    group.ask_members(turn, ticket, voters, learners);
                });
                if !asked {
                    out.push(dropped(group, ticket));
                }
            }
            Input::ReadIndex { group, ticket } => self.read(group, ticket, false, out),
            Input::Read { group, ticket } => self.read(group, ticket, true, out),
            Input::Persisted { seq } => {
                self.persisted_seq = self.persisted_seq.max(seq.min(self.next_seq - 1));
                self.with_all(out, Group::persisted);
            }
            Input::Snapshot { group, index, data } => {
                self.with(group, out, |group, turn| group.take_snapshot(turn, index, data));
            }
            Input::TransferLeader { group, to } => {
                self.with(group, out, |group, _| group.transfer(to));
            }
            Input::Rebuild { group } => {
                self.with(group, out, Group::rebuild);
            }
            Input::Rewrite => self.with_all(out, Group::rewrite),
            Input::CouldLead { nodes } => self.could_lead = Some(nodes),
            Input::AppendMessages { most } => {
                let most = most.max(1);
                if most != self.config.max_inflight_messages {
                    self.config.max_inflight_messages = most;
                    self.with_all(out, |group, turn| group.keep_window(turn.config));
                }
            }
            Input::Unreachable { node } => self.with_all(out, |group, _| group.unreachable(node)),
        }
    }

    fn read(&mut self, group: GroupId, ticket: Ticket, leased: bool, out: &mut Vec<Output>) {
        if !self.with(group, out, |group, turn| group.read(turn, ticket, leased)) {
            out.push(Output::ReadDropped { group, ticket, reason: DropReason::UnknownGroup });
        }
    }

    fn receive(&mut self, from: NodeId, bytes: &[u8], out: &mut Vec<Output>) {
        for frame in wire::decode_packet(from, bytes) {
            let known = frame.is_some_and(|(group, frame)| {
                self.with(group, out, |group, turn| group.receive(turn, from, frame))
            });
            if !known {
                self.ignored += 1;
            }
        }
    }

    fn run_ticks(&mut self, out: &mut Vec<Output>) {
        let Some(mut due) = self.next_tick_us else { return };
        let mut ticks = 0;
        while due <= self.now_us && ticks < LATE_TICKS {
            self.with_all(out, Group::tick);
            due += self.config.tick_us;
            ticks += 1;
        }
        if due <= self.now_us {
            due = self.now_us + self.config.tick_us;
        }
        self.next_tick_us = Some(due);
    }

    /// Settles every touched group, then closes the batch and the packets.
    fn settle(&mut self, out: &mut Vec<Output>) {
        for group in std::mem::take(&mut self.touched) {
            self.with(group, out, Group::settle);
        }
        self.touched.clear();
        let batch = self.stage.take();
        if !batch.is_empty() {
            out.push(Output::Persist { seq: self.next_seq, batch });
            self.next_seq += 1;
        }
        self.mail.deliver(out);
    }

    fn with_all(&mut self, out: &mut Vec<Output>, mut act: impl FnMut(&mut Group, &mut Turn)) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            self.with(group, out, &mut act);
        }
    }

    /// False when there is no such group.
    fn with(
        &mut self,
        group: GroupId,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Group, &mut Turn),
    ) -> bool {
        let Some(found) = self.groups.get_mut(&group) else { return false };
        self.touched.insert(group);
        let mut turn = Turn {
            now_us: self.now_us,
            config: &self.config,
            could_lead: self.could_lead.as_ref(),
            stage: &mut self.stage,
            mail: &mut self.mail,
            out,
            next_seq: self.next_seq,
            persisted_seq: self.persisted_seq,
        };
        act(found, &mut turn);
        true
    }

    /// When to give `Input::Wake`, microseconds on the caller's monotonic clock; None without groups.
    pub fn wake_at_us(&self) -> Option<u64> {
        self.next_tick_us
    }

    /// The groups of this node, in order.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    /// What this node knows of a group; None when it does not hold it.
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(&group).map(Group::status)
    }

    /// To whom this node would best hand a group that it leads; None when it does not lead or nobody else is alive.
    pub fn successor(&self, group: GroupId) -> Option<NodeId> {
        let found = self.groups.get(&group)?;
        found.successor(&self.config, self.could_lead.as_ref())
    }

    /// The term of an entry that is still in this node's log, for checkers that compare logs.
    pub fn term_at(&self, group: GroupId, index: u64) -> Option<u64> {
        self.groups.get(&group).and_then(|group| group.term_at(index))
    }

    /// How long ago this node first knew a leader since the group was opened; 0 when it has known none, and no answer of it to
    /// [`MultiRaft::older_leader_ack_age_us`] will ever reach back to now. None when it does not hold the group.
    pub fn led_for_us(&self, group: GroupId, now_us: u64) -> Option<u64> {
        self.groups.get(&group).map(|group| group.led_for_us(now_us.max(self.now_us)))
    }

    /// How long ago this node last answered a leader other than the one it now knows; never more than the time since it first
    /// knew one since the group was opened. None when it does not hold the group.
    ///
    /// An older leader's promise on the ground of a read index needs, after it was asked for, an answer of one member
    /// of every majority of voters. So when a majority says that its last answer is older than the promise lasts, no
    /// such promise is in force.
    pub fn older_leader_ack_age_us(&self, group: GroupId, now_us: u64) -> Option<u64> {
        self.groups.get(&group).map(|group| group.older_leader_ack_age_us(now_us.max(self.now_us)))
    }

    /// When this node became leader in its current term; None when it does not lead.
    pub fn leader_since_us(&self, group: GroupId) -> Option<u64> {
        self.groups.get(&group).and_then(Group::leader_since_us)
    }

    /// Packets and frames ignored because they made no sense or were about an unknown group.
    pub fn ignored_frames(&self) -> u64 {
        self.ignored
    }
}

fn dropped(group: GroupId, ticket: Ticket) -> Output {
    Output::ProposalDropped { group, ticket, reason: DropReason::UnknownGroup }
}

//! A network, disks and state machines under one seed, with the checks that hold at every moment: no two entries
//! applied at one place, one leader a term, reads that see what was committed before them.

use dwcp_consensus::{
    Batch, Config, Disk, GroupId, GroupSetup, Input, MultiRaft, NodeId, Opened, Output, Role, Ticket,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Round trips between the five regions, milliseconds.
const RTT_MS: [[u64; 5]; 5] = [
    [0, 71, 182, 113, 198],
    [71, 0, 118, 184, 254],
    [182, 118, 0, 299, 143],
    [113, 184, 299, 0, 309],
    [198, 254, 143, 309, 0],
];

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Default, Clone)]
pub struct Store(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Store {
    pub fn write(&mut self, batch: &Batch) {
        for (from, to) in &batch.delete_ranges {
            let doomed: Vec<_> = self.0.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                self.0.remove(&key);
            }
        }
        for key in &batch.deletes {
            self.0.remove(key);
        }
        self.0.extend(batch.puts.iter().cloned());
    }
}

impl Disk for Store {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let bounds = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        Box::new(self.0.range(bounds).map(|(key, value)| (key.clone(), value.clone())))
    }
}

/// What a group's state machine holds: index, term and data of all it applied.
pub type Content = BTreeMap<u64, (u64, Vec<u8>)>;

fn pack(content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, (term, data)) in content {
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&term.to_be_bytes());
        out.extend_from_slice(&(data.len() as u32).to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

fn unpack(mut bytes: &[u8]) -> Content {
    let mut content = Content::new();
    let mut take = |len: usize| {
        let (head, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some(head.to_vec())
    };
    while let Some(index) = take(8) {
        let term = take(8).unwrap();
        let len = u32::from_be_bytes(take(4).unwrap().try_into().unwrap());
        let data = take(len as usize).unwrap();
        let number = |bytes: Vec<u8>| u64::from_be_bytes(bytes.try_into().unwrap());
        content.insert(number(index), (number(term), data));
    }
    content
}

pub struct Node {
    pub raft: Option<MultiRaft>,
    pub store: Store,
    /// Written and not yet durable.
    cache: VecDeque<(u64, Batch)>,
    pub content: BTreeMap<GroupId, Content>,
    life: u64,
    pub repaired: u64,
    /// Its clock runs faster by so much.
    pub drift_ppm: i64,
    /// Stands still until then.
    pub paused_until_us: u64,
}

impl Node {
    fn clock_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add_signed(now_us as i64 / 1_000 * self.drift_ppm / 1_000)
    }

    fn world_us(&self, clock_us: u64) -> u64 {
        (i128::from(clock_us) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64 + 1_001
    }
}

enum Event {
    Wake { node: NodeId, life: u64 },
    Arrive { from: NodeId, to: NodeId, bytes: Vec<u8> },
    Synced { node: NodeId, life: u64, seq: u64 },
}

pub struct World {
    pub now_us: u64,
    pub rng: Rng,
    seed: u64,
    pub nodes: BTreeMap<NodeId, Node>,
    pub setups: BTreeMap<(NodeId, GroupId), GroupSetup>,
    pub groups: Vec<GroupId>,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    /// Directed links that deliver nothing.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub loss_percent: u64,
    pub jitter_us: u64,
    pub sync_us: u64,
    /// Disks that never finish a write.
    pub stuck: BTreeSet<NodeId>,
    pub tune: fn(&mut Config),
    /// Everything that any node applied.
    pub committed: BTreeMap<GroupId, Content>,
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    /// What a read must see: the newest index known to be committed when it was asked for.
    reads: BTreeMap<Ticket, (GroupId, u64, u64)>,
    /// Reads answered in the very step that asked.
    pub reads_at_once: u64,
    /// How long the newest answered read took, µs.
    pub read_took_us: u64,
    pub reads_ready: u64,
    pub reads_dropped: u64,
    pub members_changed: u64,
    pub proposed: u64,
    pub dropped: u64,
    tickets: u64,
    pub trace: Vec<u8>,
    pub when_visible: BTreeMap<(GroupId, u64), Vec<u64>>,
}

impl World {
    /// Five nodes; group 0 and a group with its home on each node, all five voting.
    pub fn new(seed: u64, tune: fn(&mut Config)) -> Self {
        Self::of_groups(seed, tune, vec![0, 1, 2, 4])
    }

    /// Five nodes and these groups, all five voting; each but group 0 has its home on the node of its number.
    pub fn of_groups(seed: u64, tune: fn(&mut Config), groups: Vec<GroupId>) -> Self {
        let members: Vec<NodeId> = (1..=5).collect();
        let mut world = Self::empty(seed, tune);
        world.groups = groups;
        for group in world.groups.clone() {
            for node in 1..=5 {
                let home = Some(group.max(1)).filter(|_| group != 0);
                let setup = GroupSetup {
                    group,
                    voters: members.clone(),
                    learners: vec![],
                    home,
                    others: vec![],
                    lost: false,
                };
                world.setups.insert((node, group), setup);
            }
        }
        for node in 1..=5 {
            world.start(node);
        }
        world
    }

    pub fn empty(seed: u64, tune: fn(&mut Config)) -> Self {
        let node = || Node {
            raft: None,
            store: Store::default(),
            cache: VecDeque::new(),
            content: BTreeMap::new(),
            life: 0,
            repaired: 0,
            drift_ppm: 0,
            paused_until_us: 0,
        };
        Self {
            now_us: 1_000_000,
            rng: Rng::new(seed),
            seed,
            nodes: (1..=5).map(|id| (id, node())).collect(),
            setups: BTreeMap::new(),
            groups: vec![],
            queue: BTreeMap::new(),
            queued: 0,
            cut: BTreeSet::new(),
            loss_percent: 0,
            jitter_us: 2_000,
            sync_us: 3_000,
            stuck: BTreeSet::new(),
            tune,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_at_once: 0,
            read_took_us: 0,
            reads_ready: 0,
            reads_dropped: 0,
            members_changed: 0,
            proposed: 0,
            dropped: 0,
            tickets: 0,
            trace: Vec::new(),
            when_visible: BTreeMap::new(),
        }
    }

    /// Starts a node from what its disk holds. True when a group was found damaged.
    pub fn start(&mut self, id: NodeId) -> bool {
        let mut config = Config::new(id, self.seed);
        (self.tune)(&mut config);
        let mut raft = MultiRaft::new(config);
        let now_us = self.now_us;
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.raft.is_none());
        node.paused_until_us = 0;
        node.life += 1;
        node.content.clear();
        let mut damaged = false;
        for ((_, group), setup) in self.setups.iter().filter(|((node, _), _)| *node == id) {
            let opened: Opened = raft.open(node.clock_us(now_us), setup.clone(), &node.store).unwrap();
            damaged |= opened.damaged;
            let content = opened.snapshot.map(|snapshot| unpack(&snapshot.data)).unwrap_or_default();
            node.content.insert(*group, content);
        }
        node.raft = Some(raft);
        let life = node.life;
        self.push(self.now_us, Event::Wake { node: id, life });
        damaged
    }

    /// The process is gone; some of what it wrote last is durable, in order, the rest is lost.
    pub fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.content.clear();
        let kept = self.rng.below(node.cache.len() as u64 + 1);
        for (_, batch) in node.cache.drain(..).take(kept as usize) {
            node.store.write(&batch);
        }
    }

    /// As `crash`, on a store that breaks its word: half of a batch arrives.
    pub fn crash_torn(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.content.clear();
        if let Some((_, mut batch)) = node.cache.pop_front() {
            batch.puts.retain(|_| self.rng.chance(50));
            node.store.write(&batch);
        }
        node.cache.clear();
    }

    fn push(&mut self, at_us: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_us, self.queued), event);
    }

    pub fn run_for(&mut self, micros: u64) {
        let end = self.now_us + micros;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now_us = self.now_us.max(at);
            self.happen(event);
        }
        self.now_us = end;
    }

    /// Runs until the condition holds; panics when it does not within the time.
    pub fn run_until(&mut self, limit_us: u64, what: &str, done: impl Fn(&World) -> bool) -> u64 {
        let start = self.now_us;
        while !done(self) {
            assert!(self.now_us < start + limit_us, "seed {}: not within {limit_us} us: {what}", self.seed);
            self.run_for(10_000);
        }
        self.now_us - start
    }

    fn happen(&mut self, event: Event) {
        let (Event::Wake { node, .. } | Event::Arrive { to: node, .. } | Event::Synced { node, .. }) = &event;
        let until = self.nodes[node].paused_until_us;
        if self.now_us < until {
            self.push(until, event);
            return;
        }
        match event {
            Event::Wake { node, life } => {
                if self.nodes[&node].life == life && self.nodes[&node].raft.is_some() {
                    self.input(node, Input::Wake);
                    let wake = self.nodes[&node].raft.as_ref().unwrap().wake_at_us().unwrap();
                    let found = &self.nodes[&node];
                    assert!(wake > found.clock_us(self.now_us));
                    let at = if found.drift_ppm == 0 { wake } else { found.world_us(wake) };
                    self.push(at, Event::Wake { node, life });
                }
            }
            Event::Arrive { from, to, bytes } => {
                if !self.cut.contains(&(from, to)) && self.nodes[&to].raft.is_some() {
                    self.input(to, Input::Message { from, bytes });
                }
            }
            Event::Synced { node, life, seq } => {
                let found = self.nodes.get_mut(&node).unwrap();
                if found.life != life || found.raft.is_none() || self.stuck.contains(&node) {
                    return;
                }
                while found.cache.front().is_some_and(|(number, _)| *number <= seq) {
                    let (_, batch) = found.cache.pop_front().unwrap();
                    found.store.write(&batch);
                }
                self.input(node, Input::Persisted { seq });
            }
        }
    }

    pub fn input(&mut self, id: NodeId, input: Input) {
        let mut out = Vec::new();
        let now = self.now_us;
        let node = self.nodes.get_mut(&id).unwrap();
        let clock = node.clock_us(now);
        let Some(raft) = node.raft.as_mut() else { return };
        raft.step(clock, input, &mut out);
        for output in out {
            self.trace.extend_from_slice(&now.to_le_bytes());
            self.trace.push(id as u8);
            self.trace.extend_from_slice(format!("{output:?}").as_bytes());
            self.obey(id, output);
        }
        if self.trace.len() > 1 << 16 {
            // Only its digest matters.
            let digest = crc(&self.trace);
            self.trace.clear();
            self.trace.extend_from_slice(&digest.to_le_bytes());
        }
    }

    pub fn obey(&mut self, id: NodeId, output: Output) {
        let node = self.nodes.get_mut(&id).unwrap();
        match output {
            Output::Send { to, bytes } => self.send(id, to, bytes),
            Output::Persist { seq, batch } => {
                node.cache.push_back((seq, batch));
                let life = node.life;
                let at = self.now_us + self.sync_us / 2 + self.rng.below(self.sync_us);
                self.push(at, Event::Synced { node: id, life, seq });
            }
            Output::Apply { group, index, term, data } => {
                let content = node.content.get_mut(&group).unwrap();
                let newest = content.keys().next_back().copied().unwrap_or(0);
                assert!(index > newest, "node {id} group {group}: {index} applied after {newest}");
                content.insert(index, (term, data.clone()));
                self.check_committed(group, index, (term, data));
                self.when_visible.entry((group, index)).or_default().push(self.now_us);
            }
            Output::InstallSnapshot { group, data, .. } => {
                let content = unpack(&data);
                node.content.insert(group, content.clone());
                for (index, entry) in content {
                    self.check_committed(group, index, entry);
                }
            }
            Output::WantSnapshot { group, index } => {
                let data = pack(&node.content[&group]);
                self.input(id, Input::Snapshot { group, index, data });
            }
            Output::Leader { group, leader: Some(leader), term } => {
                let known = *self.leaders.entry((group, term)).or_insert(leader);
                assert_eq!(known, leader, "two leaders of group {group} in term {term}");
            }
            Output::ReadReady { group, ticket, index, .. } => {
                let (asked, must_see, since) = self.reads.remove(&ticket).unwrap();
                let applied = node.raft.as_ref().unwrap().status(group).unwrap().applied;
                assert_eq!(asked, group);
                assert!(index >= must_see && applied >= index, "a read at {index} misses {must_see}");
                self.reads_ready += 1;
                self.reads_at_once += u64::from(since == self.now_us);
                self.read_took_us = self.now_us - since;
            }
            Output::ReadDropped { ticket, .. } => {
                self.reads.remove(&ticket).unwrap();
                self.reads_dropped += 1;
            }
            Output::Proposed { .. } => self.proposed += 1,
            Output::ProposalDropped { .. } => self.dropped += 1,
            Output::Repaired { .. } => node.repaired += 1,
            Output::MembersChanged { .. } => self.members_changed += 1,
            Output::Leader { .. } => {}
        }
    }

    fn check_committed(&mut self, group: GroupId, index: u64, entry: (u64, Vec<u8>)) {
        let known = self.committed.entry(group).or_default().entry(index).or_insert_with(|| entry.clone());
        assert_eq!(*known, entry, "group {group}: two entries applied at {index}");
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        assert!(from != to);
        if self.cut.contains(&(from, to)) || self.rng.chance(self.loss_percent) {
            return;
        }
        let one_way = Self::rtt_us(from, to) / 2;
        let at = self.now_us + one_way + self.rng.below(self.jitter_us);
        if self.rng.chance(self.loss_percent / 4) {
            let late = at + self.rng.below(2_000_000);
            self.push(late, Event::Arrive { from, to, bytes: bytes.clone() });
        }
        self.push(at, Event::Arrive { from, to, bytes });
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    pub fn propose(&mut self, node: NodeId, group: GroupId) {
        let ticket = self.ticket();
        let data = format!("group {group} ticket {ticket}").into_bytes();
        self.input(node, Input::Propose { group, ticket, data });
    }

    pub fn read(&mut self, node: NodeId, group: GroupId) {
        let found = &self.nodes[&node];
        if found.raft.is_none() || self.now_us < found.paused_until_us {
            return;
        }
        let ticket = self.ticket();
        let must_see = self.committed.get(&group).and_then(|content| content.keys().next_back().copied());
        self.reads.insert(ticket, (group, must_see.unwrap_or(0), self.now_us));
        self.input(node, Input::Read { group, ticket });
    }

    /// The node that leads the group in the newest term.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        let statuses = self.nodes.iter().filter_map(|(id, node)| {
            let status = node.raft.as_ref()?.status(group)?;
            (status.role == Role::Leader).then_some((status.term, *id))
        });
        statuses.max().map(|(_, id)| id)
    }

    pub fn status(&self, node: NodeId, group: GroupId) -> dwcp_consensus::GroupStatus {
        self.nodes[&node].raft.as_ref().unwrap().status(group).unwrap()
    }

    pub fn rtt_us(a: NodeId, b: NodeId) -> u64 {
        RTT_MS[a as usize - 1][b as usize - 1] * 1_000
    }

    pub fn isolate(&mut self, node: NodeId) {
        for other in 1..=5 {
            self.cut.insert((node, other));
            self.cut.insert((other, node));
        }
    }

    /// The nodes in `nodes` hold everything that was committed in `group`.
    pub fn all_hold(&self, group: GroupId, nodes: &[NodeId]) -> bool {
        let all = self.committed.get(&group).cloned().unwrap_or_default();
        nodes.iter().all(|id| self.nodes[id].content.get(&group) == Some(&all))
    }

    /// What two nodes hold as committed is the same, entries that the state machine never sees included.
    fn check_logs(&self, group: GroupId) {
        let mut terms: BTreeMap<u64, u64> = BTreeMap::new();
        for id in 1..=5 {
            let status = self.status(id, group);
            let raft = self.nodes[&id].raft.as_ref().unwrap();
            for index in status.first..=status.commit {
                let Some(term) = raft.term_at(group, index) else { continue };
                let known = *terms.entry(index).or_insert(term);
                assert_eq!(known, term, "group {group}: two entries committed at {index}");
            }
        }
    }

    /// Heals everything, starts whoever is down, and demands that all groups take and show a new entry everywhere.
    pub fn heal_and_check(&mut self) {
        self.cut.clear();
        self.loss_percent = 0;
        for id in 1..=5 {
            if self.nodes[&id].raft.is_none() {
                self.start(id);
            }
        }
        for group in self.groups.clone() {
            self.run_until(60_000_000, "a leader", |world| world.leader(group).is_some());
            self.run_for(5_000_000);
            let newest =
                self.committed.get(&group).and_then(|all| all.keys().next_back().copied()).unwrap_or(0);
            let known = (1..=5).map(|node| self.status(node, group).commit).max().unwrap_or(0);
            assert!(known >= newest, "group {group}: a committed entry is lost, {known} of {newest} left");
            self.check_logs(group);
            let before = self.committed.get(&group).map_or(0, BTreeMap::len);
            for _ in 0..200 {
                if self.committed.get(&group).map_or(0, BTreeMap::len) > before {
                    break;
                }
                if let Some(leader) = self.leader(group) {
                    self.propose(leader, group);
                }
                self.run_for(500_000);
            }
            assert!(
                self.committed.get(&group).map_or(0, BTreeMap::len) > before,
                "group {group} takes nothing"
            );
            self.run_until(60_000_000, "all caught up", |world| {
                let newest = world.committed[&group].keys().next_back().copied().unwrap_or(0);
                (1..=5).all(|node| world.status(node, group).applied >= newest)
            });
            assert!(self.all_hold(group, &[1, 2, 3, 4, 5]), "group {group}: a committed entry is lost");
        }
    }
}

pub fn crc(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

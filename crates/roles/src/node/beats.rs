//! The monitor's part: what every node tells every other four times a second, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwcp_decide::{HealthInputs, HealthScore, LossView, Measured, Timings};
use dwcp_state::{Command, Freeze, Phase};
use dwcp_types::{GroupId, Mono, NodeId, RegionId, Wall, wire_struct};

use super::{
    Class, ControllersBeat, HostWord, Level, Measures, MeshMessage, Node, NodeConfig, PoolHost, Program,
    SyncReading,
};
use crate::protocol::{RouterBeat, Usage};

/// What the transport measured on the link to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkReading {
    /// The other end.
    pub node: NodeId,
    /// The link is up.
    pub up: bool,
    /// Median round trip, µs; 0 before the first answer.
    pub rtt_p50_us: u64,
    /// 99th percentile of the round trip, µs.
    pub rtt_p99_us: u64,
    /// Loss, in hundredths of a percent.
    pub loss_basis_points: u64,
    /// Bits a second in both directions.
    pub throughput_bps: u64,
    /// Frames that wait.
    pub queued_frames: u64,
    /// Bytes that wait.
    pub queued_bytes: u64,
}
wire_struct!(LinkReading {
    1 node, 2 up, 3 rtt_p50_us, 4 rtt_p99_us, 5 loss_basis_points, 6 throughput_bps, 7 queued_frames, 8 queued_bytes
});

/// A group as the sender knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupBeat {
    /// The group.
    pub group: GroupId,
    /// The sender's term.
    pub term: u64,
    /// Whom it takes for the leader; 0: none.
    pub leader: NodeId,
    /// Newest index it knows to be committed.
    pub commit: u64,
    /// Newest index it has applied.
    pub applied: u64,
    /// How long ago it last answered another leader than that one, µs.
    pub older_leader_ack_age_us: u64,
    /// How far its applied facts are behind the leader's, ms; none: unknown.
    pub lag_ms: Option<u64>,
    /// The newest command that it has applied; 0: none since its start.
    pub shown_index: u64,
    /// How long before this beat it applied that, µs.
    pub shown_age_us: u64,
}
wire_struct!(GroupBeat {
    1 group, 2 term, 3 leader, 4 commit, 5 applied, 6 older_leader_ack_age_us, 7 lag_ms, 8 shown_index, 9 shown_age_us
});

/// What a node tells every other each beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Differs each time the sender's process starts.
    pub incarnation: u64,
    /// Counts the sender's beats.
    pub seq: u64,
    /// How long the sender's process has run, ms.
    pub uptime_ms: u64,
    /// The sender's wall clock.
    pub wall: Wall,
    /// The sender's version.
    pub version: String,
    /// Every group.
    pub groups: Vec<GroupBeat>,
    /// How long each other node has been silent to the sender, ms.
    pub silent_ms: BTreeMap<NodeId, u64>,
    /// How long each other node has been heard by the sender without a gap, ms.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// How many hosts of each region were heard by the sender just now.
    pub hosts_heard: BTreeMap<RegionId, u64>,
    /// The sender's links.
    pub links: Vec<LinkReading>,
    /// The sender's process.
    pub measures: Measures,
    /// VMs of the sender's region, and its traffic, as its leader sees them, are facts; this is the rest of its health:
    /// (points, cause) of deductions that only the sender can know.
    pub ailments: Vec<(u64, String)>,
    /// What the hosts of the regions whose groups the sender leads use.
    pub usage: BTreeMap<RegionId, Usage>,
    /// How long commands of the groups that the sender leads took until they were readable in each region.
    pub sync: Vec<SyncReading>,
    /// Some of the hosts of those regions, in turn.
    pub hosts: Vec<HostWord>,
    /// Hosts connected to the sender whose region is not there.
    pub pools: Vec<PoolHost>,
    /// The sender can issue certificates.
    pub issues: bool,
    /// What the sender runs.
    pub program: Program,
    /// The sender's controllers, and room for them.
    pub controllers: Option<Box<ControllersBeat>>,
    /// The routers that are linked to the sender.
    pub routers: Vec<RouterBeat>,
    /// Without soft state: the links, measures, usage and times of the beat that had them last still hold.
    pub thin: bool,
}
wire_struct!(Beat {
    1 incarnation, 2 seq, 3 uptime_ms, 4 wall, 5 version, 6 groups, 7 silent_ms, 8 heard_ms, 9 hosts_heard, 10 links,
    11 measures, 12 ailments, 13 usage, 14 sync, 15 hosts, 160 pools,
    161 issues, 180 program; 210 controllers, 220 thin, 230 routers
});

impl Beat {
    /// What must come with every beat: who is heard, and how far the groups are.
    fn without_soft_state(self) -> Beat {
        let (links, usage, sync, routers) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        let measures = Measures::default();
        Beat { links, measures, usage, sync, controllers: None, routers, thin: true, ..self }
    }

    /// With the soft state of an earlier beat of the same process.
    fn with_soft_state_of(self, last: Beat) -> Beat {
        let Beat { links, measures, usage, sync, controllers, routers, .. } = last;
        Beat { links, measures, usage, sync, controllers, routers, ..self }
    }
}

/// The last beat of a node.
#[derive(Clone, Debug, Default)]
pub struct PeerView {
    /// When it was heard; the start of this process before the first.
    pub heard: Mono,
    /// Since when it has been heard without a gap.
    pub heard_since: Mono,
    /// What it said; none before the first.
    pub beat: Option<Beat>,
    /// When its soft state was heard; the start of this process before the first.
    pub told: Mono,
}

/// The monitor's memory.
pub(super) struct Beats {
    peers: BTreeMap<NodeId, PeerView>,
    next: Mono,
    seq: u64,
    /// When this node told its soft state; none: it is to tell it now.
    told: Option<Mono>,
    pub(super) links: Vec<LinkReading>,
    pub(super) measures: Measures,
    /// When this node last knew each group's facts to be the leader's.
    fresh: BTreeMap<GroupId, Mono>,
    /// What was measured, as of the newest beat.
    summed_up: Option<(Mono, Arc<Measured>)>,
}

/// A gap of so many beats ends "without a gap".
pub(super) const GAP_BEATS: u64 = 4;
/// A host counts as heard when it spoke within so long, ms.
pub(super) const HOST_HEARD_MS: u64 = 1_500;

impl Beats {
    pub(super) fn new(config: &NodeConfig, now: Mono) -> Beats {
        let others = config.regions.keys().copied().filter(|node| *node != config.me);
        let view = PeerView { heard: now, heard_since: now, beat: None, told: now };
        Beats {
            peers: others.map(|node| (node, view.clone())).collect(),
            next: now,
            seq: 0,
            told: None,
            links: Vec::new(),
            measures: Measures::default(),
            fresh: BTreeMap::new(),
            summed_up: None,
        }
    }

    /// The others are these from now on.
    pub(super) fn follow(&mut self, others: impl Iterator<Item = NodeId>, now: Mono) {
        let view = PeerView { heard: now, heard_since: now, beat: None, told: now };
        let mut before = std::mem::take(&mut self.peers);
        self.peers =
            others.map(|node| (node, before.remove(&node).unwrap_or_else(|| view.clone()))).collect();
    }

    /// How long ago a voter last answered an older leader, if it follows `leader` in `term`. To know the term is not enough:
    /// a voter that voted, said so and died before the election was won would count, though its death is what an agent
    /// may rest its lease on (see `agent/lease.rs`).
    pub(super) fn older_leader_ack_age_us(
        &self,
        voter: NodeId,
        group: GroupId,
        (term, leader): (u64, NodeId),
        now: Mono,
    ) -> Option<u64> {
        let view = self.peers.get(&voter)?;
        let follows = |beat: &&GroupBeat| beat.group == group && (beat.term, beat.leader) == (term, leader);
        let of = view.beat.as_ref()?.groups.iter().find(follows)?;
        // The answer only grows older while the beat travels and waits here.
        Some(of.older_leader_ack_age_us.saturating_add(now.0.saturating_sub(view.heard.0)))
    }
}

impl Node {
    pub(super) fn beat(&mut self) {
        let now = self.now.mono;
        if now < self.beats.next {
            return;
        }
        self.beats.next = now.plus_ms(self.config.beat_ms);
        self.beats.seq += 1;
        self.refresh_freshness();
        self.tell_who_could_lead();
        let most = self.facts.core.policy.append_messages();
        self.inbox.push_back(dwcp_consensus::Input::AppendMessages { most });
        let hosts = self.next_host_words();
        let mut beat = Beat { hosts, ..self.own_beat() };
        if self.soft_state_is_due() {
            self.beats.told = Some(now);
        } else {
            beat = beat.without_soft_state();
        }
        let message = MeshMessage::Beat(Box::new(beat));
        let others: Vec<NodeId> = self.beats.peers.keys().copied().collect();
        for node in others {
            self.send(node, Class::Consensus, &message);
        }
    }

    /// Soft state goes with the beat that is nearest to its time.
    fn soft_state_is_due(&self) -> bool {
        let every_ms = self.facts.core.policy.soft_state_every_ms;
        let half_ms = self.config.beat_ms / 2;
        self.beats.told.is_none_or(|told| self.now.mono.ms_since(told).saturating_add(half_ms) >= every_ms)
    }

    /// What this node would tell the others now, without its words on single hosts.
    pub fn own_beat(&self) -> Beat {
        let now = self.now.mono;
        let heard_recently = Mono(now.0.saturating_sub(HOST_HEARD_MS * 1_000));
        let groups = std::iter::once(0).chain(self.regions.keys().copied());
        Beat {
            incarnation: self.config.seed,
            seq: self.beats.seq,
            uptime_ms: now.ms_since(self.started),
            wall: self.now.wall,
            version: self.config.version.clone(),
            groups: groups.filter_map(|group| self.group_beat(group)).collect(),
            silent_ms: self
                .beats
                .peers
                .iter()
                .map(|(node, view)| (*node, now.ms_since(view.heard)))
                .collect(),
            heard_ms: self
                .beats
                .peers
                .iter()
                .map(|(node, view)| (*node, view.heard.ms_since(view.heard_since)))
                .collect(),
            hosts_heard: self.agents.heard_since(heard_recently),
            links: self.beats.links.clone(),
            measures: self.beats.measures.clone(),
            controllers: Some(Box::new(self.own_controllers())),
            routers: self.routers_here().map(|word| word.beat.clone()).collect(),
            ailments: Vec::new(),
            usage: self.led_usages(),
            sync: self.sync.readings(),
            hosts: Vec::new(),
            pools: self.own_pools(),
            issues: self.config.issues,
            program: self.own_program(),
            thin: false,
        }
    }

    fn group_beat(&self, group: GroupId) -> Option<GroupBeat> {
        let status = self.raft.status(group)?;
        let (shown_index, shown_age_us) = self.sync.shown(group, self.now.mono);
        Some(GroupBeat {
            shown_index,
            shown_age_us,
            group,
            term: status.term,
            leader: status.leader.unwrap_or(0),
            commit: status.commit,
            applied: status.applied,
            older_leader_ack_age_us: self.raft.older_leader_ack_age_us(group, self.now.mono.0).unwrap_or(0),
            lag_ms: self.facts_age_ms(group),
        })
    }

    pub(super) fn hear_beat(&mut self, from: NodeId, mut beat: Beat) {
        let now = self.now.mono;
        let gap_ms = self.config.beat_ms * GAP_BEATS;
        self.check_level(beat.program.in_force);
        let Some(view) = self.beats.peers.get_mut(&from) else { return };
        let same_process = view.beat.as_ref().is_some_and(|last| last.incarnation == beat.incarnation);
        if same_process && view.beat.as_ref().is_some_and(|last| beat.seq <= last.seq) {
            return;
        }
        if now.ms_since(view.heard) > gap_ms || view.beat.is_none() {
            view.heard_since = now;
        }
        view.heard = now;
        for group in &beat.groups {
            if group.leader == from {
                let applied = self.raft.status(group.group).map_or(0, |status| status.applied);
                if applied >= group.commit {
                    self.beats.fresh.insert(group.group, now);
                }
            }
        }
        self.hear_leaders(from, &beat);
        for group in &beat.groups {
            self.note_shown_at(from, group);
        }
        let words = std::mem::take(&mut beat.hosts);
        self.hear_host_words(&words);
        if !same_process {
            // It knows nothing of this node's soft state.
            self.beats.told = None;
        }
        if let Some(view) = self.beats.peers.get_mut(&from) {
            let last = view.beat.take().filter(|_| same_process);
            view.beat = Some(match (beat.thin, last) {
                (true, Some(last)) => beat.with_soft_state_of(last),
                (true, None) => beat,
                (false, _) => {
                    view.told = now;
                    beat
                }
            });
        }
    }

    /// This node's facts of a group are fetched anew: how old they are is not known until then.
    pub(super) fn forget_freshness(&mut self, group: GroupId) {
        self.beats.fresh.remove(&group);
    }

    fn refresh_freshness(&mut self) {
        let led: Vec<GroupId> = std::iter::once(0)
            .chain(self.regions.keys().copied())
            .filter(|group| self.leads(*group))
            .collect();
        for group in led {
            self.beats.fresh.insert(group, self.now.mono);
        }
    }

    /// How old this node's facts of a group are at most, ms; none: it has never known them to be the leader's.
    pub fn facts_age_ms(&self, group: GroupId) -> Option<u64> {
        self.beats.fresh.get(&group).map(|fresh| self.now.mono.ms_since(*fresh))
    }

    /// What the other nodes said last.
    pub fn peers(&self) -> &BTreeMap<NodeId, PeerView> {
        &self.beats.peers
    }

    /// How long a node has been silent here, ms; 0 for this one.
    pub fn silent_ms(&self, node: NodeId) -> u64 {
        self.beats.peers.get(&node).map_or(0, |view| self.now.mono.ms_since(view.heard))
    }

    /// The name of a node's region.
    pub fn region_name(&self, node: NodeId) -> Option<&RegionId> {
        self.regions.get(&node)
    }

    /// Who hears whom: by observer, then subject, the silence in ms. An observer that is itself not heard is left out.
    fn hearing(&self) -> BTreeMap<RegionId, BTreeMap<RegionId, u64>> {
        let named = |silences: &BTreeMap<NodeId, u64>, more_ms: u64| {
            silences
                .iter()
                .filter_map(|(node, ms)| Some((self.region_name(*node)?.clone(), ms.saturating_add(more_ms))))
                .collect::<BTreeMap<_, _>>()
        };
        let mut hearing = BTreeMap::new();
        hearing.insert(self.config.region.clone(), named(&self.own_beat().silent_ms, 0));
        for (node, view) in &self.beats.peers {
            let age_ms = self.now.mono.ms_since(view.heard);
            if let (Some(beat), Some(name)) = (&view.beat, self.region_name(*node)) {
                if age_ms < self.config.beat_ms * GAP_BEATS {
                    // The observer may have heard the subject since; its word counts as it was given.
                    hearing.insert(name.clone(), named(&beat.silent_ms, 0));
                }
            }
        }
        hearing
    }

    fn loss_view(&self) -> LossView {
        let mut hosts_heard: BTreeMap<RegionId, u64> = self.own_beat().hosts_heard;
        for view in self.beats.peers.values() {
            if self.now.mono.ms_since(view.heard) < self.config.beat_ms * GAP_BEATS {
                for (region, count) in view.beat.iter().flat_map(|beat| &beat.hosts_heard) {
                    let most = hosts_heard.entry(region.clone()).or_insert(0);
                    *most = (*most).max(*count);
                }
            }
        }
        let voters =
            self.federation_voters().iter().filter_map(|node| self.region_name(*node).cloned()).collect();
        let populated = self.facts.regions.iter().filter(|(_, facts)| !facts.vms.is_empty());
        let populated = populated.map(|(region, _)| region.clone()).collect();
        LossView {
            proposer: self.config.region.clone(),
            now: self.now.wall,
            hearing: self.hearing(),
            heard_for: self.heard_for(),
            hosts_heard,
            populated,
            voters,
        }
    }

    fn heard_for(&self) -> BTreeMap<RegionId, BTreeMap<RegionId, u64>> {
        let mut all = BTreeMap::new();
        let own = self.own_beat();
        let beats = self.beats.peers.iter().filter_map(|(node, view)| Some((*node, view.beat.clone()?)));
        for (node, beat) in beats.chain([(self.config.me, own)]) {
            let Some(observer) = self.region_name(node) else { continue };
            let heard: BTreeMap<RegionId, u64> = beat
                .heard_ms
                .iter()
                .filter(|(subject, _)| {
                    beat.silent_ms.get(subject).is_some_and(|ms| *ms < self.config.beat_ms * GAP_BEATS)
                })
                .filter_map(|(subject, ms)| Some((self.region_name(*subject)?.clone(), *ms)))
                .collect();
            all.insert(observer.clone(), heard);
        }
        all
    }

    /// The leader of the federation's group declares regions lost, and returned.
    pub(super) fn watch_regions(&mut self) {
        if self.facts.core.regions.is_empty() {
            return;
        }
        let view = self.loss_view();
        for verdict in dwcp_decide::regions_to_declare_lost(&self.facts.core, &view) {
            if let Some(refusal) = verdict.refusal {
                if self.due(format!("not lost {}", verdict.region), 10_000) {
                    self.log(
                        "monitor",
                        Level::Warning,
                        format!("{} is silent, but: {refusal}", verdict.region),
                    );
                }
                continue;
            }
            if self.due(format!("declare {}", verdict.region), 1_500) {
                self.declare_lost(verdict.region, verdict.witnesses, verdict.silent_ms);
            }
        }
        for verdict in dwcp_decide::regions_to_return(&self.facts.core, &view) {
            if self.due(format!("return {}", verdict.region), 1_500) {
                self.conclude(0, Command::ReturnRegion((verdict.region, verdict.epoch)));
            }
        }
    }

    /// What was measured, at most a beat ago: one decision in thousands pays for summing it up.
    pub(super) fn measured_lately(&mut self) -> Arc<Measured> {
        let now = self.now.mono;
        if let Some((at, measured)) = &self.beats.summed_up {
            if now < at.plus_ms(self.config.beat_ms) {
                return measured.clone();
            }
        }
        let measured = Arc::new(self.measured());
        self.beats.summed_up = Some((now, measured.clone()));
        measured
    }

    /// What was measured, for decisions.
    pub fn measured(&self) -> Measured {
        let mut measured = Measured::default();
        let mut take = |from: &RegionId, links: &[LinkReading], name: &dyn Fn(NodeId) -> Option<RegionId>| {
            for link in links.iter().filter(|link| link.rtt_p50_us > 0) {
                if let Some(to) = name(link.node) {
                    measured.rtt_ms.insert((from.clone(), to), link.rtt_p50_us.div_ceil(1_000));
                }
            }
        };
        let name = |node: NodeId| self.region_name(node).cloned();
        take(&self.config.region, &self.beats.links, &name);
        for (node, view) in &self.beats.peers {
            if let (Some(beat), Some(from)) = (&view.beat, self.region_name(*node)) {
                take(from, &beat.links, &name);
            }
        }
        for region in self.regions.values() {
            measured.health.insert(region.clone(), self.region_health(region).score);
        }
        measured.shaky = self.shaky_regions();
        measured
    }

    /// The times that this node works with, and which voters it hears.
    pub fn timings(&self) -> Timings {
        let config = &self.config;
        let voters = self.federation_voters();
        let ranks = voters.len() as u64;
        let ticks =
            u64::from(config.consensus.election_ticks) + u64::from(config.consensus.stagger_ticks()) * ranks;
        let name = |node: &NodeId| self.regions.get(node).cloned();
        let limit_ms = self.facts.core.policy.loss_after_ms;
        let heard = |node: &&NodeId| {
            let seen = self.beats.peers.get(*node).is_some_and(|peer| peer.beat.is_some());
            **node == config.me || (seen && self.silent_ms(**node) < limit_ms)
        };
        Timings {
            beat_ms: config.beat_ms,
            look_ms: super::RECONCILE_MS,
            fence_ms: self.fence_ms(),
            election_ms: ticks * config.consensus.tick_us / 1_000,
            voters: voters.iter().filter_map(name).collect(),
            heard: voters.iter().filter(heard).filter_map(name).collect(),
            now: self.now.wall,
        }
    }

    /// A region's health as this node sees it.
    pub fn region_health(&self, region: &RegionId) -> HealthScore {
        dwcp_decide::health(&self.health_inputs(region))
    }

    /// A region's health as it is shown: with VMs that would not survive its loss, which say nothing about how well it is
    /// now and so don't count in placement.
    pub fn region_outlook(&self, region: &RegionId, would_not_survive: u32) -> HealthScore {
        dwcp_decide::health(&HealthInputs { would_not_survive, ..self.health_inputs(region) })
    }

    fn health_inputs(&self, region: &RegionId) -> HealthInputs {
        let Some(facts) = self.facts.regions.get(region) else { return HealthInputs::default() };
        let node = facts.number;
        let me = node == self.config.me;
        let beat =
            if me { Some(self.own_beat()) } else { self.beats.peers.get(&node).and_then(|v| v.beat.clone()) };
        let heard_ms = if me { Some(0) } else { beat.as_ref().map(|_| self.silent_ms(node)) };
        let up = facts.hosts.values().filter(|host| host.standing == dwcp_state::HostStanding::Up);
        let (cpu, memory) = facts.limits();
        let (mut used, mut room) = (dwcp_types::Amount::default(), dwcp_types::Amount::default());
        for host in up.clone() {
            used = used.plus(host.used);
            room = room.plus(host.room(cpu, memory));
        }
        let percent = |used: u64, room: u64| (room > 0).then(|| (used * 100 / room) as u32);
        let settled = |vm: &&dwcp_state::Vm| {
            self.now.wall.ms_since(vm.placed_at) > 60_000 || vm.observed.phase == Phase::Failed
        };
        let links: &[LinkReading] = beat.as_ref().map_or(&[], |beat| &beat.links);
        HealthInputs {
            heard_ms,
            control_plane_up: heard_ms.is_some_and(|ms| ms < self.config.beat_ms * GAP_BEATS),
            hosts_up: up.count() as u32,
            hosts_total: facts.hosts.len() as u32,
            cpu_used_percent: percent(u64::from(used.vcpus), u64::from(room.vcpus)),
            memory_used_percent: percent(used.memory_mib, room.memory_mib),
            links_down: links.iter().filter(|link| !link.up).count() as u32,
            links_total: links.len() as u32,
            worst_loss_percent: links
                .iter()
                .map(|link| (link.loss_basis_points / 100) as u32)
                .max()
                .unwrap_or(0),
            replication_lag_ms: beat.as_ref().and_then(|beat| {
                beat.groups.iter().filter(|group| group.leader != node).filter_map(|group| group.lag_ms).max()
            }),
            vms_unhealthy: facts.vms_not_serving().filter(settled).count() as u32,
            vms_total: facts.vms_to_run() as u32,
            ..HealthInputs::default()
        }
    }

    /// True when DWCP may act on VMs by itself.
    pub(super) fn may_move(&self) -> bool {
        self.facts.core.freeze == Freeze::Active
    }
}

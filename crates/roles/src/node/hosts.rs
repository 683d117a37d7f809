//! What the leader of a region's group knows of each host, and what it does when one falls silent.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Command, Freeze, HostStanding, Standing};
use dwcp_types::{Amount, GroupId, HostId, Mono, NodeId, VmId, decode, encode};

use super::beats::HOST_HEARD_MS;
use super::wire::{Opaque, Relayed};
use super::{Class, Level, MeshMessage, Node};
use crate::protocol::{
    AgentMessage, ControllerMessage, Hello, HelperKind, HelpersReport, HelpersWanted, HostingReport,
    ImageHere, Usage, VmReport, Welcome,
};

/// A host without room in its region waits so long for its region's own loss to be noticed before its VMs go elsewhere, ms.
const ELSEWHERE_AFTER_MS: u64 = 8_000;

/// After the region's node was heard again, or one of its lost hosts, the others have so long to come back as well before
/// their VMs go to its other hosts, ms.
const RETURNING_MS: u64 = 3_000;

/// A host as the leader of its group knows it.
#[derive(Clone, Debug)]
pub struct HostSession {
    /// The node that its agent is connected to.
    pub relay: NodeId,
    /// The connection there.
    pub session: u64,
    /// What the agent said of itself, once it did.
    pub hello: Option<Hello>,
    /// When it was last heard.
    pub heard: Mono,
    /// Every VM on it, as it said last.
    pub reports: BTreeMap<VmId, VmReport>,
    /// The newest intents it has acted on: term and revision.
    pub acted: (u64, u64),
    /// What it really uses, as it said last.
    pub usage: Option<Usage>,
    /// Every image on it; none: its agent has not said.
    pub images: Option<Vec<ImageHere>>,
    /// The images that it was told to have last, as a digest, and when.
    pub images_told: Option<(u64, Mono)>,
    /// What it runs of its region's node, as it said last.
    pub hosting: HostingReport,
    /// What it runs beside its region's node.
    pub helpers: BTreeMap<HelperKind, HelpersOfHost>,
    /// What it was told last to run of it and which nodes there are, as a digest, and when.
    pub hosting_told: Option<(u64, Mono)>,
}

/// What a host runs of one kind of helpers.
#[derive(Clone, Debug, Default)]
pub struct HelpersOfHost {
    /// As it said last.
    pub said: HelpersReport,
    /// What it was told last to run, and when.
    pub told: Option<(HelpersWanted, Mono)>,
}

impl Node {
    pub(super) fn hear_agent(&mut self, relay: NodeId, relayed: Relayed) {
        let Some(group) = self.facts.group_of(&relayed.region) else { return };
        if !self.leads(group) {
            return;
        }
        let Ok(message) = decode::<AgentMessage>(&relayed.bytes.0) else { return };
        let now = self.now.mono;
        let key = (group, relayed.host.clone());
        let host = self.leases.hosts.entry(key).or_insert_with(|| HostSession {
            relay,
            session: relayed.session,
            hello: None,
            heard: now,
            reports: BTreeMap::new(),
            acted: (0, 0),
            usage: None,
            images: None,
            images_told: None,
            hosting: HostingReport::default(),
            helpers: BTreeMap::new(),
            hosting_told: None,
        });
        host.relay = relay;
        host.session = relayed.session;
        host.heard = now;
        match message {
            AgentMessage::Hello(hello) => self.take_hello(group, &relayed.host, hello),
            AgentMessage::Renew(renew) => self.take_renew(group, &relayed.host, renew),
            AgentMessage::Probed(answer) => {
                self.pass_answer(answer.request, AgentMessage::Probed(answer));
            }
            AgentMessage::Console(answer) => self.pass_answer(answer.request, AgentMessage::Console(answer)),
            AgentMessage::Checked(answer) => self.pass_answer(answer.request, AgentMessage::Checked(answer)),
            AgentMessage::ImageRead(answer) => {
                self.pass_answer(answer.request, AgentMessage::ImageRead(answer));
            }
            AgentMessage::Inventory(inventory) => self.take_inventory(group, &relayed.host, &inventory),
            AgentMessage::Certify(asked) => self.certify_asked(group, &relayed.host, asked),
        }
    }

    fn take_hello(&mut self, group: GroupId, host: &HostId, hello: Hello) {
        let (term, voters) =
            self.raft.status(group).map_or_else(Default::default, |status| (status.term, status.voters));
        let told = hello.term;
        let joining = self.joining(group);
        let welcome = Welcome { node: self.config.me, term, lease_ms: self.config.lease_ms, voters, joining };
        if let Some(session) = self.leases.hosts.get_mut(&(group, host.clone())) {
            session.acted = (hello.term, hello.revision);
            session.reports = hello.vms.iter().map(|report| (report.vm, report.clone())).collect();
            session.hosting = hello.hosting.clone();
            session.hello = Some(hello);
            session.images_told = None;
            session.hosting_told = None;
            session.helpers.values_mut().for_each(|helpers| helpers.told = None);
        }
        self.note_later(group, host, told);
        self.register(group, host);
        self.tell_host(group, host, &ControllerMessage::Welcome(welcome));
        self.send_intents(group, host);
    }

    /// Registers a host that is new, changed, or was lost. A lost host gets leases again only from here on.
    pub(super) fn register(&mut self, group: GroupId, host: &HostId) {
        if !self.takes_hosts(group) {
            return;
        }
        let Some(session) = self.leases.hosts.get(&(group, host.clone())) else { return };
        let Some(hello) = &session.hello else { return };
        let facts = dwcp_state::HostFacts {
            id: host.clone(),
            zone: hello.zone.clone(),
            capacity: Amount { vcpus: hello.vcpus, memory_mib: hello.memory_mib, disk_gib: hello.disk_gib },
            labels: hello.labels.clone(),
            accelerator: hello.accelerator.name().to_string(),
            version: hello.version.clone(),
            incarnation: hello.incarnation,
            transfer: hello.transfer.clone(),
        };
        let known = self.facts.region_of(group).and_then(|region| self.facts.regions[region].hosts.get(host));
        let current = known.is_some_and(|known| known.facts == facts && known.standing == HostStanding::Up);
        if !current && self.due(format!("register {group} {host}"), 500) {
            self.conclude(group, Command::RegisterHost(facts));
        }
    }

    pub(super) fn tell_host(&mut self, group: GroupId, host: &HostId, message: &ControllerMessage) {
        let Some(session) = self.leases.hosts.get(&(group, host.clone())) else { return };
        let (relay, id) = (session.relay, session.session);
        let bytes = encode(message);
        if relay == self.config.me {
            self.pass_to_agent(id, bytes);
            return;
        }
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let relayed = Relayed { session: id, region, host: host.clone(), bytes: Opaque(bytes) };
        self.send(relay, Class::Consensus, &MeshMessage::ToAgent(relayed));
    }

    /// Declares silent hosts lost, takes their VMs over once fenced, and registers hosts that are back.
    pub(super) fn watch_hosts(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&region];
        let leader_since = self.raft.leader_since_us(group).map_or(self.now.mono, Mono);
        let mut silent = Vec::new();
        let mut lost = BTreeSet::new();
        for (id, host) in &facts.hosts {
            let heard = self.leases.hosts.get(&(group, id.clone())).map(|session| session.heard);
            let quiet_ms = self.now.mono.ms_since(heard.unwrap_or_default().max(leader_since));
            match host.standing {
                HostStanding::Up if quiet_ms >= self.config.host_loss_ms => {
                    silent.push((id.clone(), host.facts.incarnation))
                }
                HostStanding::Lost => {
                    lost.insert(id.clone());
                }
                HostStanding::Up => {}
            }
        }
        for (host, incarnation) in silent {
            if self.due(format!("lose {group} {host}"), 1_000) {
                self.log(
                    "federation-controller",
                    Level::Warning,
                    format!("host {host} of {region} is silent"),
                );
                self.conclude(group, Command::LoseHost((host, incarnation)));
            }
        }
        self.register_known(group);
        if !lost.is_empty() {
            self.take_over(group, &lost);
        }
    }

    /// Registers hosts that are heard and that the facts do not show so.
    pub(super) fn register_known(&mut self, group: GroupId) {
        let known: Vec<HostId> =
            self.leases.hosts.keys().filter(|(of, _)| *of == group).map(|(_, host)| host.clone()).collect();
        for host in known {
            let quiet_ms = self.now.mono.ms_since(self.leases.hosts[&(group, host.clone())].heard);
            if quiet_ms < self.config.host_loss_ms {
                self.register(group, &host);
            }
        }
    }

    /// Gives the VMs of lost hosts to other hosts of the region, or to other regions when there is no room.
    fn take_over(&mut self, group: GroupId, lost: &BTreeSet<HostId>) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&region];
        if self.facts.core.freeze != Freeze::Active || facts.evacuation.is_some() {
            return;
        }
        let fenced: BTreeSet<HostId> = lost
            .iter()
            .filter(|host| facts.vms_on(host).next().is_some())
            .filter(|host| self.is_fenced(group, Some(host)))
            .cloned()
            .collect();
        let returning_ms = self.returning_for_ms(group);
        let others_may_follow = returning_ms.is_some_and(|ms| ms < RETURNING_MS);
        if fenced.is_empty() || others_may_follow || !self.due(format!("takeover {group}"), 500) {
            return;
        }
        self.purge_deleted(group, &fenced);
        let mut plan = dwcp_decide::plan_host_loss(&self.facts, &self.measured(), &region, &fenced);
        // A host that has just fallen silent too is soon lost or heard again, and until then no place to go to.
        plan.moves.retain(|(.., to)| self.spoke_lately(group, to));
        if !plan.moves.is_empty() {
            let moves: Vec<dwcp_state::HostMove> = plan
                .moves
                .into_iter()
                .map(|(vm, generation, to)| dwcp_state::HostMove { vm, generation, to })
                .collect();
            for part in self.parts(moves) {
                self.conclude(group, Command::MoveVms(part));
            }
        }
        // A region whose node is silent too and that has no host left is lost as a whole: whether its VMs leave is for its
        // failover to decide, which people may have switched off or capped.
        let hosts = &self.facts.regions[&region].hosts;
        let node_heard = self.silent_ms(group) < self.facts.core.policy.loss_after_ms;
        let returning = returning_ms.is_some_and(|ms| ms < ELSEWHERE_AFTER_MS);
        let there = node_heard || hosts.values().any(|host| host.standing == HostStanding::Up);
        let present = there
            && !returning
            && self.facts.region(&region).is_some_and(|region| region.standing == Standing::Present);
        let departing: Vec<dwcp_state::Departing> = plan
            .elsewhere
            .into_iter()
            .filter(|step| present && self.lost_for_ms(group, &step.from_host) >= ELSEWHERE_AFTER_MS)
            .filter_map(|step| {
                let (to, host) = step.to?;
                Some(dwcp_state::Departing { vm: step.vm, generation: step.generation, to, host: Some(host) })
            })
            .collect();
        self.let_leave(group, None, departing);
    }

    /// True when a host spoke a moment ago.
    fn spoke_lately(&self, group: GroupId, host: &HostId) -> bool {
        let session = self.leases.hosts.get(&(group, host.clone()));
        session.is_some_and(|session| self.now.mono.ms_since(session.heard) < HOST_HEARD_MS)
    }

    /// How long ago the region's node was heard again, or the last of its lost hosts came back; none: neither has been away.
    /// When a link heals they come one after the other, and those that are still missing are likely to follow.
    fn returning_for_ms(&self, group: GroupId) -> Option<u64> {
        let region = self.facts.region_of(group)?;
        let up = self.facts.regions[region].hosts.values().filter(|host| host.standing == HostStanding::Up);
        let host_ms = up.map(|host| self.now.wall.ms_since(host.standing_since)).min();
        let view = self.peers().get(&group).filter(|view| view.beat.is_some());
        let node_ms = view.map(|view| self.now.mono.ms_since(view.heard_since));
        host_ms.into_iter().chain(node_ms).min()
    }

    fn lost_for_ms(&self, group: GroupId, host: &HostId) -> u64 {
        let Some(region) = self.facts.region_of(group) else { return 0 };
        self.facts.regions[region]
            .hosts
            .get(host)
            .map_or(0, |host| self.now.wall.ms_since(host.standing_since))
    }

    /// Deleted VMs of fenced hosts need no host to say that they are gone: what is left of them may never run again.
    pub(super) fn purge_deleted(&mut self, group: GroupId, hosts: &BTreeSet<HostId>) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let mut gone: BTreeMap<HostId, Vec<dwcp_state::Observation>> = BTreeMap::new();
        let there = hosts.iter().flat_map(|host| facts.vms_on(host));
        for vm in there.filter(|vm| vm.want == dwcp_state::Want::Deleted) {
            let seen = dwcp_state::Observation { vm: vm.id, gone: true, ..Default::default() };
            gone.entry(vm.host.clone()).or_default().push(seen);
        }
        for (host, observations) in gone {
            self.conclude_observed(group, &host, observations);
        }
    }

    /// Tells the group which overcommit limits it enforces, when the policy has others.
    pub(super) fn keep_limits(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let policy = &self.facts.core.policy;
        let wanted = (policy.cpu_overcommit_percent, policy.memory_overcommit_percent);
        if self.facts.regions[region].limits() != wanted && self.due(format!("limits {group}"), 2_000) {
            self.conclude(group, Command::SetOvercommit(wanted));
        }
    }
}

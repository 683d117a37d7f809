//! Hosts that run their region's node.
//!
//! Hosts whose region is not there yet are a pool: their agents stay connected to whichever node they reach, and every node tells
//! the others of them in its beats. Once the region is a fact, its group's leader tells the host that the fact names to run the
//! node, passes that host's key on to a node that can issue certificates, and passes the certificate back.

use std::collections::BTreeMap;

use dwcp_state::{Lifecycle, Region};
use dwcp_types::{Amount, GroupId, HostId, NodeId, RegionId, ZoneId, encode, wire_struct};

use super::intents::digest;
use super::members::endpoint;
use super::{Class, Effect, Level, MeshMessage, Node};
use crate::protocol::{
    CertificateAsked, Certified, ControlPlane, ControllerMessage, Endpoint, Hello, Hosting, HostingPhase,
    HostingReport,
};

/// Between two looks at the hosts of a group, ms.
const LOOK_MS: u64 = 500;
/// What a host was told is told again after, ms.
const TELL_AGAIN_MS: u64 = 10_000;
/// Between two looks at hosts to clean up, ms.
const CLEAN_MS: u64 = 2_000;
/// Hosts of pools in one beat. More wait until those in front of them have a region.
const POOL_MOST: usize = 64;

/// A host whose region is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolHost {
    /// The region that its certificate names.
    pub region: RegionId,
    /// The host.
    pub host: HostId,
    /// Its zone.
    pub zone: ZoneId,
    /// What it offers.
    pub capacity: Amount,
    /// `tcg` or `kvm`.
    pub accelerator: String,
    /// The agent's version.
    pub version: String,
    /// Where it would run its region's node, `ip:port`; empty: it would not.
    pub control: String,
    /// How far it is with one.
    pub phase: HostingPhase,
    /// Where its agent takes VMs that move here, `ip:port`; empty: it does not.
    pub transfer: String,
}
wire_struct!(PoolHost {
    1 region, 2 host, 3 zone, 4 capacity, 5 accelerator, 6 version, 7 control, 8 phase, 190 transfer
});

/// A certificate that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertifyFor {
    /// The node that leads the region's group and asks.
    pub asker: NodeId,
    /// The region whose node it is for.
    pub region: RegionId,
    /// The host that will run it.
    pub host: HostId,
    /// The node's address, `ip:port`; filled in by who issues.
    pub address: String,
    /// As the host gave it.
    pub public_key: Vec<u8>,
    /// The region's number; filled in by who issues.
    pub number: NodeId,
}
wire_struct!(CertifyFor { 1 asker, 2 region, 3 host, 4 address, 5 public_key, 6 number });

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertifiedFor {
    /// The node that asked.
    pub asker: NodeId,
    /// The region.
    pub region: RegionId,
    /// The host.
    pub host: HostId,
    /// For the host.
    pub answer: Certified,
}
wire_struct!(CertifiedFor { 1 asker, 2 region, 3 host, 4 answer });

impl Node {
    /// Hosts connected here whose region is not there, in order of their names.
    pub(super) fn own_pools(&self) -> Vec<PoolHost> {
        if self.facts.core.regions.is_empty() {
            return Vec::new();
        }
        let mut pools: Vec<PoolHost> =
            self.strangers().into_iter().map(|(_, hello)| pool_host(&hello)).collect();
        pools.sort_by(|a, b| (&a.region, &a.host).cmp(&(&b.region, &b.host)));
        pools.dedup_by(|a, b| (&a.region, &a.host) == (&b.region, &b.host));
        pools.truncate(POOL_MOST);
        pools
    }

    pub(super) fn strangers(&self) -> Vec<(u64, Hello)> {
        self.agents.strangers(|region| self.facts.group_of(region).is_some())
    }

    /// Every host of a pool that any node hears, by region and name.
    pub fn pools(&self) -> Vec<PoolHost> {
        let told = self.fresh_beats().flat_map(|(_, beat)| beat.pools.clone());
        let all: BTreeMap<(RegionId, HostId), PoolHost> = told
            .chain(self.own_pools())
            .filter(|host| self.facts.group_of(&host.region).is_none())
            .map(|host| ((host.region.clone(), host.host.clone()), host))
            .collect();
        all.into_values().collect()
    }

    /// The host of a region's pool that would run its node: the first that names an address for it.
    pub fn pool_host_for(&self, region: &RegionId) -> Option<PoolHost> {
        self.pools().into_iter().find(|host| host.region == *region && !host.control.is_empty())
    }

    /// What the host that runs a region's node says of it; none where this node does not hear that host.
    pub fn hosting(&self, region: &Region) -> Option<HostingReport> {
        let host = self.leases.hosts.get(&(region.number, region.control_host.clone()))?;
        Some(host.hosting.clone())
    }

    /// Tells the hosts of a group which nodes there are, and whether to run their region's, when that changed.
    pub(super) fn tell_hosting(&mut self, group: GroupId) {
        if !self.due(format!("hosting {group}"), LOOK_MS) {
            return;
        }
        let Some(region) = self.record_of(group).cloned() else { return };
        let of_group = self.leases.hosts.iter().filter(|((of, _), _)| *of == group);
        let hosts: Vec<HostId> = of_group
            .filter(|(_, session)| session.hello.as_ref().is_some_and(|hello| hello.follows_nodes))
            .map(|((_, host), _)| host.clone())
            .collect();
        let nodes = self.endpoints();
        let lost = self.lost_its_node(&region);
        let hosted = Hosting::Node(Box::new(self.control_plane(&region, nodes.clone(), lost)));
        // The same for every host but one, and most of the time what they have been told.
        let hash = |hosting: &Hosting| digest(&encode(&(hosting.clone(), nodes.clone())));
        let (hosts_it, hosts_none) = ((hash(&hosted), hosted), (hash(&Hosting::Nothing), Hosting::Nothing));
        for host in hosts {
            let (hash, hosting) = if region.control_host == host { &hosts_it } else { &hosts_none };
            let now = self.now.mono;
            let Some(session) = self.leases.hosts.get_mut(&(group, host.clone())) else { continue };
            if session.hosting_told.is_some_and(|(told, at)| told == *hash && now < at.plus_ms(TELL_AGAIN_MS))
            {
                continue;
            }
            session.hosting_told = Some((*hash, now));
            let runs = session.hello.as_ref().is_some_and(|hello| !hello.control.is_empty());
            self.tell_host(group, &host, &ControllerMessage::Nodes(nodes.clone()));
            if runs {
                self.tell_host(group, &host, &ControllerMessage::Hosting(hosting.clone()));
            }
        }
    }

    /// Tells hosts connected here whose region has left, and is to be cleaned up, to run its node no longer.
    pub(super) fn clean_up(&mut self) {
        if self.facts.core.cleaned.is_empty() || !self.due("clean up".to_string(), CLEAN_MS) {
            return;
        }
        let has_some =
            |hello: &Hello| !hello.control.is_empty() && hello.hosting.phase != HostingPhase::Nothing;
        for (session, hello) in self.strangers() {
            if has_some(&hello) && self.facts.core.cleaned.contains_key(&hello.region) {
                self.pass_to_agent(session, encode(&ControllerMessage::Hosting(Hosting::Nothing)));
            }
        }
    }

    /// Every region's node, as the facts name them; those that leave are left out.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let regions = self.facts.core.regions.values();
        let mut all: Vec<Endpoint> =
            regions.filter(|region| region.lifecycle != Lifecycle::Leaving).map(endpoint).collect();
        all.sort();
        all
    }

    /// The host that runs a region's node says that it has nothing of it, although that node has held replicas.
    fn lost_its_node(&self, region: &Region) -> bool {
        let says_nothing = |said: HostingReport| said.phase == HostingPhase::Nothing;
        !region.without_replicas && self.hosting(region).is_some_and(says_nothing)
    }

    fn control_plane(&self, region: &Region, peers: Vec<Endpoint>, lost: bool) -> ControlPlane {
        let tick_ms = self.config.consensus.tick_us / 1_000;
        ControlPlane {
            number: region.number,
            peers,
            lease_ms: self.config.lease_ms,
            beat_ms: self.config.beat_ms,
            tick_ms,
            election_ms: tick_ms * u64::from(self.config.consensus.election_ticks),
            commit_timeout_ms: self.config.commit_timeout_ms,
            lost,
        }
    }

    /// A host asks for the certificate of its region's node.
    pub(super) fn certify_asked(&mut self, group: GroupId, host: &HostId, asked: CertificateAsked) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let asked = CertifyFor {
            asker: self.config.me,
            region,
            host: host.clone(),
            public_key: asked.public_key,
            ..CertifyFor::default()
        };
        if self.config.issues {
            return self.issue(asked);
        }
        let issuer = self.fresh_beats().find(|(_, beat)| beat.issues).map(|(node, _)| node);
        match issuer {
            Some(node) => self.send(node, Class::Operations, &MeshMessage::Certify(Box::new(asked))),
            None => {
                let why = "no region that is heard can issue certificates (`pki.ca_key`)".to_string();
                let answer = Certified { public_key: asked.public_key, refused: why, ..Certified::default() };
                self.pass_certificate(CertifiedFor {
                    asker: asked.asker,
                    region: asked.region,
                    host: asked.host,
                    answer,
                });
            }
        }
    }

    /// Has a certificate issued if the facts say that this host runs that region's node.
    pub(super) fn issue(&mut self, asked: CertifyFor) {
        let record = self.facts.core.regions.get(&asked.region);
        let runs = record.filter(|region| {
            region.control_host == asked.host && region.lifecycle != Lifecycle::Leaving && self.config.issues
        });
        let Some((address, number)) = runs.map(|region| (region.mesh.clone(), region.number)) else { return };
        let text = format!("a certificate for the node of {} goes to {}", asked.region, asked.host);
        self.log("security", Level::Info, text);
        self.out.push(Effect::Issue(Box::new(CertifyFor { address, number, ..asked })));
    }

    pub(super) fn certificate_issued(&mut self, certified: CertifiedFor) {
        if certified.asker == self.config.me {
            return self.pass_certificate(certified);
        }
        let asker = certified.asker;
        self.send(asker, Class::Operations, &MeshMessage::Certified(Box::new(certified)));
    }

    /// Gives a host what came of its question.
    pub(super) fn pass_certificate(&mut self, certified: CertifiedFor) {
        let Some(group) = self.facts.group_of(&certified.region) else { return };
        if self.leads(group) {
            self.tell_host(group, &certified.host, &ControllerMessage::Certified(certified.answer));
        }
    }
}

/// How far a host is, in a word.
pub fn node_phase(phase: HostingPhase) -> &'static str {
    match phase {
        HostingPhase::Nothing => "nothing",
        HostingPhase::Certifying => "certifying",
        HostingPhase::Running => "running",
        HostingPhase::Waiting => "waiting",
        HostingPhase::Stopping => "stopping",
    }
}

fn pool_host(hello: &Hello) -> PoolHost {
    PoolHost {
        region: hello.region.clone(),
        host: hello.host.clone(),
        zone: hello.zone.clone(),
        capacity: Amount { vcpus: hello.vcpus, memory_mib: hello.memory_mib, disk_gib: hello.disk_gib },
        accelerator: hello.accelerator.name().to_string(),
        version: hello.version.clone(),
        control: hello.control.clone(),
        phase: hello.hosting.phase,
        transfer: hello.transfer.clone(),
    }
}

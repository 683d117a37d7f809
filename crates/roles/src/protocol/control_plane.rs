//! What leader and agent say about the region's own node, where a host runs it.
//!
//! A host whose settings name an address for it says so in its [`super::Hello`]. It runs the node once it is told to, watches it
//! and starts it again, until it is told that it is to run none: then it stops it and removes its keys and its state.

use std::collections::BTreeMap;

use dwcp_types::{NodeId, RegionId, wire_enum, wire_struct};

/// Where a region's node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its number.
    pub node: NodeId,
    /// Its region.
    pub region: RegionId,
    /// Its mesh, `ip:port`, UDP.
    pub mesh: String,
    /// Its API, `https://ip:port`.
    pub api: String,
}
wire_struct!(Endpoint { 1 node, 2 region, 3 mesh, 4 api });

/// The node that a host is to run for its region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its number.
    pub number: NodeId,
    /// Every region's node, this one's too.
    pub peers: Vec<Endpoint>,
    /// How long an agent may run VMs after it asked for its lease, ms.
    pub lease_ms: u64,
    /// How often a node tells every other that it lives, ms.
    pub beat_ms: u64,
    /// One step of the consensus clock, ms.
    pub tick_ms: u64,
    /// Shortest time without a leader before an election, ms.
    pub election_ms: u64,
    /// How long a write may wait for its majority, ms.
    pub commit_timeout_ms: u64,
    /// The node has held state, and the host has said that it has nothing of it: the node must begin as one that has lost its votes.
    pub lost: bool,
}
wire_struct!(ControlPlane {
    1 number, 2 peers, 3 lease_ms, 4 beat_ms, 5 tick_ms, 6 election_ms, 7 commit_timeout_ms, 8 lost
});

/// Whether a host is to run its region's node. Never sent to a host that names no address for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosting {
    /// Not; what it has of one is stopped, and its keys and state are removed.
    #[default]
    Nothing,
    /// This one.
    Node(Box<ControlPlane>),
}
wire_enum!(Hosting { 1 Nothing, 2 Node(node) });

/// Asks for a certificate of the region's node, for a key that never leaves the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateAsked {
    /// The public key: a point on P-256, uncompressed, 65 bytes (SEC 1, 2.3.3).
    pub public_key: Vec<u8>,
}
wire_struct!(CertificateAsked { 1 public_key });

/// The certificate, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certified {
    /// The key asked about.
    pub public_key: Vec<u8>,
    /// The certificate, PEM; empty: none was issued.
    pub certificate: String,
    /// Why none was issued.
    pub refused: String,
}
wire_struct!(Certified { 1 public_key, 2 certificate, 3 refused });

/// What a host runs of its region's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostingReport {
    /// How far it is.
    pub phase: HostingPhase,
    /// The process; 0: none.
    pub pid: u32,
    /// How often it ended by itself and was started again.
    pub restarts: u64,
    /// What was last wrong with it; empty: nothing.
    pub trouble: String,
}
wire_struct!(HostingReport { 1 phase, 2 pid, 3 restarts, 4 trouble });

/// What a host runs beside its region's node when it is told to. Both keep nothing that would be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HelperKind {
    /// Decides about placements.
    Controller,
    /// Serves users, at the addresses of the router that is always there.
    Router,
}

impl HelperKind {
    /// All of them.
    pub const ALL: [HelperKind; 2] = [HelperKind::Controller, HelperKind::Router];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            HelperKind::Controller => "controller",
            HelperKind::Router => "router",
        }
    }
}

impl super::Hello {
    /// The most helpers of a kind that it runs.
    pub fn most(&self, kind: HelperKind) -> u32 {
        match kind {
            HelperKind::Controller => self.controllers,
            HelperKind::Router => self.routers,
        }
    }
}

/// The helpers of one kind that a host is to run. Never sent to a host that says that it runs none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelpersWanted {
    /// So many.
    pub count: u32,
    /// The number of the region's node, for controllers; routers know where they belong.
    pub node: NodeId,
    /// Its mesh, `ip:port`.
    pub mesh: String,
}
wire_struct!(HelpersWanted { 1 count, 2 node, 3 mesh });

/// What a host runs of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelpersReport {
    /// Their processes, by their numbers on this host.
    pub running: BTreeMap<u8, u32>,
    /// How often one ended by itself and was started again.
    pub restarts: u64,
    /// What was last wrong with one; empty: nothing.
    pub trouble: String,
}
wire_struct!(HelpersReport { 1 running, 2 restarts, 3 trouble });

/// How far a host is with its region's node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostingPhase {
    /// It runs none, and has nothing of one.
    #[default]
    Nothing,
    /// It waits for the certificate.
    Certifying,
    /// The process runs.
    Running,
    /// The process ended by itself; it is started again in a moment.
    Waiting,
    /// The process is being stopped and its files removed.
    Stopping,
}
wire_enum!(HostingPhase { 1 Nothing, 2 Certifying, 3 Running, 4 Waiting, 5 Stopping });

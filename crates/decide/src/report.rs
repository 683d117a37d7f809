//! Why a VM goes where it goes, or nowhere.

use std::collections::BTreeMap;

use dwcp_types::{HostId, RegionId};

/// Which rule excluded a region or a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasonKind {
    /// The request asks for other regions, or excludes this one.
    #[default]
    NotAsked,
    /// Switched off, placement off, lost, or returned and not enabled.
    Closed,
    /// Its health score is under 60.
    Unhealthy,
    /// Not among the VM's allowed regions, or among its denied ones.
    RegionRule,
    /// It lacks a compliance tag.
    Compliance,
    /// Its jurisdiction is not among the VM's.
    Residency,
    /// Too far from users, or the distance is unknown.
    Latency,
    /// Dearer than the VM's limit.
    Cost,
    /// The VM must be together with VMs elsewhere.
    Affinity,
    /// The VM must be apart from VMs there.
    AntiAffinity,
    /// The host is lost.
    HostLost,
    /// Placement on the host is off, or the request excludes it.
    HostClosed,
    /// Not in one of the VM's zones.
    Zone,
    /// Not among the VM's hosts, or among its denied ones.
    HostRule,
    /// It lacks a label.
    HostLabel,
    /// Too little room.
    Capacity,
    /// No host of the region is left.
    NoHost,
}

impl ReasonKind {
    /// A few words, for counts: "no room", "not in an allowed zone".
    pub fn words(self) -> &'static str {
        match self {
            ReasonKind::NotAsked => "not asked for",
            ReasonKind::Closed => "closed for placement",
            ReasonKind::Unhealthy => "unhealthy",
            ReasonKind::RegionRule => "not an allowed region",
            ReasonKind::Compliance => "a compliance tag is missing",
            ReasonKind::Residency => "outside the VM's jurisdictions",
            ReasonKind::Latency => "too far from users",
            ReasonKind::Cost => "above the cost limit",
            ReasonKind::Affinity => "away from VMs it must be with",
            ReasonKind::AntiAffinity => "beside VMs it must be apart from",
            ReasonKind::HostLost => "lost",
            ReasonKind::HostClosed => "closed for placement",
            ReasonKind::Zone => "not in an allowed zone",
            ReasonKind::HostRule => "not an allowed host",
            ReasonKind::HostLabel => "a required label is missing",
            ReasonKind::Capacity => "too little room",
            ReasonKind::NoHost => "no host fits",
        }
    }
}

/// Why something was excluded, with numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// Which rule.
    pub kind: ReasonKind,
    /// One line for people.
    pub text: String,
}

impl Reason {
    pub(crate) fn new(kind: ReasonKind, text: impl Into<String>) -> Reason {
        Reason { kind, text: text.into() }
    }
}

/// The parts of a region's score, each 0 (worst) to 1000 (best).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreParts {
    /// Round trip to where users are; else the mean to the other regions. Unknown: 0.
    pub latency: u32,
    /// Price compared with the cheapest region.
    pub cost: u32,
    /// What stays free in the region; under `pack`, how full it is.
    pub capacity: u32,
    /// Health score. Unknown: 0.
    pub health: u32,
    /// The region's priority.
    pub priority: u32,
}

/// What was found about a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionVerdict {
    /// Which.
    pub region: RegionId,
    /// Why it is out; none when a VM could go there, or when its hosts were not looked at.
    pub excluded: Option<Reason>,
    /// Weighted score, 0 to 1000.
    pub score_milli: u32,
    /// What it is made of.
    pub parts: ScoreParts,
    /// Round trip that was scored, in milliseconds.
    pub rtt_ms: Option<u64>,
    /// Price of the VM there, in thousandths of a dollar a month.
    pub monthly_cost_millis: u64,
    /// Hosts looked at; 0 when a better region had room.
    pub hosts_considered: u32,
    /// How many hosts each rule excluded; counted when none was found, or when explained.
    pub hosts_excluded: BTreeMap<ReasonKind, u32>,
    /// Each host, best first; only when explained.
    pub hosts: Vec<HostVerdict>,
}

/// What was found about a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostVerdict {
    /// Which.
    pub host: HostId,
    /// Why it is out.
    pub excluded: Option<Reason>,
    /// 0 to 1000 by the room that stays; under `pack` by how full it gets, below 500 for a host that is empty now.
    pub score_milli: u32,
    /// Of its vCPUs, memory and disk: what would stay free, in percent; none when it is out.
    pub left_percent: Option<[u32; 3]>,
    /// Nothing is placed there yet.
    pub idle: bool,
}

/// The smallest single change that makes it fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// One line for people, with numbers.
    pub change: String,
    /// A command, or the flag to change, to type.
    pub command: String,
    /// Where it would go then.
    pub region: RegionId,
    /// And on which host.
    pub host: HostId,
}

/// Why a VM goes where it goes, or nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceReport {
    /// Every region: possible ones first, best first.
    pub regions: Vec<RegionVerdict>,
    /// When nothing fits: what would help. None when no single change does.
    pub smallest_change: Option<Suggestion>,
}

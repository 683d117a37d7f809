//! The federation's own facts.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{
    DrillId, FailoverId, HostId, NodeId, OperationId, RegionId, Revision, TokenId, Wall, WindowId,
};

use crate::{
    Backups, Decommission, Document, DocumentKey, Drill, Failover, FailoverState, Freeze, Image, Ledger,
    Operation, Policy, PublicEndpoint, Release, Restoration, Site, Token, Window,
};

/// Where a region is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Takes part.
    #[default]
    Active,
    /// Switched off by an operator: no placement, no traffic.
    Disabled,
    /// On its way in: known, and not enabled yet.
    Joining,
    /// On its way out: it gets nothing any more, and is forgotten when nothing of it is left.
    Leaving,
}

/// Whether the federation counts on the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Counted on.
    #[default]
    Present,
    /// Declared lost; its VMs are brought back elsewhere.
    Lost,
    /// Heard again after a loss; stays empty until somebody enables it.
    Returned,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Standing::Present => "present",
            Standing::Lost => "lost",
            Standing::Returned => "returned",
        })
    }
}

/// Prices, in millionths of a dollar an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// One virtual CPU.
    pub vcpu_micros: u64,
    /// One GiB of memory.
    pub memory_gib_micros: u64,
    /// One GiB of disk.
    pub disk_gib_micros: u64,
}

/// A region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub id: RegionId,
    /// Its number: also that of its group and its replica.
    pub number: NodeId,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Whether new VMs may be placed in it.
    pub placement: bool,
    /// Who last changed that.
    pub placement_by: String,
    /// When.
    pub placement_since: Wall,
    /// Why, in that one's words; empty when none was given.
    pub placement_reason: String,
    /// Share of users' traffic it takes of what it could, in percent.
    pub traffic_percent: u8,
    /// Preferred in placement, 0 to 100.
    pub priority: u8,
    /// Whether the federation counts on it.
    pub standing: Standing,
    /// Since when.
    pub standing_since: Wall,
    /// Raised by every loss.
    pub epoch: u64,
    /// What it costs.
    pub prices: Prices,
    /// Compliance tags it carries.
    pub compliance: BTreeSet<String>,
    /// Whose law it is under, such as `eu`.
    pub jurisdiction: String,
    /// Address of its API, `https://…`.
    pub api: String,
    /// Address of its mesh endpoint.
    pub mesh: String,
    /// The revision at which it last changed by intent; 0: an earlier version wrote it.
    pub revision: Revision,
    /// The node that founds its group, alone; 0: the group was founded with the federation.
    pub founder: NodeId,
    /// Its group is not known to be founded yet.
    pub unfounded: bool,
    /// No replica of any group is to be in it yet.
    pub without_replicas: bool,
    /// The host of the region whose agent runs its node; empty: its node is run otherwise.
    pub control_host: HostId,
    /// Where it is, and what it may hold.
    pub site: Site,
    /// Where its users reach it.
    pub endpoints: BTreeSet<PublicEndpoint>,
    /// When it is to end; none: nobody has announced it.
    pub decommission: Option<Decommission>,
    /// How many controllers are to decide about placements in it, its node's own among them; 0 and 1: its node alone.
    pub controllers: u64,
    /// How many routers are to serve users in it, the one of its own settings among them; 0 and 1: that one alone.
    pub routers: u64,
}

impl Region {
    /// The highest number that a region can have. Numbers are never used again.
    pub const MOST: NodeId = 1_000;

    /// The most controllers that a region can have, its node's own among them.
    pub const CONTROLLERS_MOST: u64 = 16;

    /// How many controllers are to decide about placements in it, its node's own among them: at least 1.
    pub fn controllers(&self) -> u64 {
        self.controllers.clamp(1, Region::CONTROLLERS_MOST)
    }

    /// The most routers that a region can have, the one of its own settings among them.
    pub const ROUTERS_MOST: u64 = 16;

    /// How many routers are to serve users in it, the one of its own settings among them: at least 1.
    pub fn routers(&self) -> u64 {
        self.routers.clamp(1, Region::ROUTERS_MOST)
    }

    /// True when replicas of every group are to be in it.
    pub fn holds_replicas(&self) -> bool {
        !self.without_replicas && self.lifecycle != Lifecycle::Leaving
    }

    /// True when its silence means that something is lost: it takes part, or did until an operator switched it off.
    pub fn takes_part(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Active | Lifecycle::Disabled)
    }

    /// Its switches in a few words, for events.
    pub(crate) fn switches(&self) -> String {
        let life = match (self.standing, self.lifecycle) {
            (Standing::Present, Lifecycle::Active) => "active".to_string(),
            (_, Lifecycle::Disabled) => "disabled".to_string(),
            (_, Lifecycle::Joining) => "joining".to_string(),
            (_, Lifecycle::Leaving) => "leaving".to_string(),
            (standing, Lifecycle::Active) => standing.to_string(),
        };
        let placement = if self.placement { "on" } else { "off" };
        format!("{life}, placement {placement}, traffic {} %", self.traffic_percent)
    }

    /// True when new VMs may be placed in it.
    pub fn takes_placements(&self) -> bool {
        self.lifecycle == Lifecycle::Active && self.placement && self.standing == Standing::Present
    }
}

/// The federation's own facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Core {
    /// Position in its log.
    pub revision: Revision,
    /// The federation's name.
    pub name: String,
    /// Every region.
    pub regions: BTreeMap<RegionId, Region>,
    /// How DWCP decides.
    pub policy: Policy,
    /// The switch that stops it.
    pub freeze: Freeze,
    /// API tokens.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Every failover, by number.
    pub failovers: BTreeMap<FailoverId, Failover>,
    /// Federation-wide operations.
    pub operations: BTreeMap<OperationId, Operation>,
    /// Events and remembered requests.
    pub ledger: Ledger,
    /// The revision at which the policy last changed; 0: an earlier version wrote it.
    pub policy_revision: Revision,
    /// The revision at which the freeze switch was last set; 0: never, or by an earlier version.
    pub freeze_revision: Revision,
    /// Maintenance windows, by number.
    pub windows: BTreeMap<WindowId, Window>,
    /// Windows numbered so far: a number is never used again.
    pub windows_numbered: u64,
    /// Drills, by number.
    pub drills: BTreeMap<DrillId, Drill>,
    /// The catalogue of images, by name.
    pub images: BTreeMap<String, Image>,
    /// Backups.
    pub backups: Backups,
    /// Regions numbered so far, those that are forgotten included; 0: an earlier version wrote it.
    pub regions_numbered: NodeId,
    /// The regions that idempotency keys are spread over, whoever has come and gone since; empty: every region.
    pub keepers: Vec<NodeId>,
    /// Regions that have left and whose hosts are to remove what they have of their nodes, since when.
    pub cleaned: BTreeMap<RegionId, Wall>,
    /// The level in force: what belongs to it may be written. 0: an earlier version founded the federation. Never lowered.
    pub level: u64,
    /// Programs that regions can be upgraded to, by version.
    pub releases: BTreeMap<String, Release>,
    /// The backup that the facts were last restored from; none: they never were.
    pub restoration: Option<Restoration>,
    /// What monitoring wrote down.
    pub documents: BTreeMap<DocumentKey, Document>,
}

impl Core {
    /// Failovers kept.
    pub const FAILOVERS_KEPT: usize = 200;
    /// VMs of failovers kept: of more, the oldest failovers are forgotten, an hour after they began at the earliest.
    pub const FAILOVER_VMS_KEPT: usize = 100_000;

    /// The failover of a region that is going on.
    pub fn running_failover(&self, region: &RegionId) -> Option<&Failover> {
        self.failovers.values().rev().find(|f| f.from == *region && f.state == FailoverState::Running)
    }

    /// Automatic failovers that began in the hour before `now`.
    pub fn automatic_failovers_in_hour(&self, now: Wall) -> usize {
        self.failovers
            .values()
            .filter(|f| f.trigger == crate::Trigger::Automatic && now.ms_since(f.first_missed_at) < 3_600_000)
            .count()
    }
}

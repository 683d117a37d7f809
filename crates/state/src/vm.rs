//! A virtual machine: what people want of it, what was chosen for it, what was seen of it.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{
    Amount, FailoverId, Generation, HostId, ImageDigest, Priority, RegionId, Revision, VmId, Wall,
};

use crate::{DrillMark, Protection};

/// What people want it to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// Running.
    #[default]
    Running,
    /// Stopped, keeping its place and disk.
    Stopped,
    /// Gone; the record goes when its host says that nothing is left.
    Deleted,
}

/// How it reaches the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// User-mode network with forwarded ports on an address of the host.
    #[default]
    User,
    /// A tap device on the host's bridge.
    Tap,
}

/// How to ask the VM whether it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// HTTP GET of this path on the guest's port 80; 2xx is healthy.
    Http(String),
    /// A TCP connection to this guest port.
    Tcp(u16),
    /// Never asked: running counts as healthy.
    #[default]
    None,
}

/// What is needed to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmSpec {
    /// Name of the image.
    pub image: String,
    /// What it takes of a host.
    pub size: Amount,
    /// How it reaches the network.
    pub network: Network,
    /// How to ask whether it serves.
    pub probe: Probe,
    /// What the catalogue had under the image's name when the VM was created; none: the image was not in the catalogue, and
    /// each host takes what it has under that name in its image folder.
    pub digest: ImageDigest,
}

/// How far "together" or "apart" reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The same host.
    #[default]
    Host,
    /// The same zone.
    Zone,
    /// The same region.
    Region,
}

/// Which VMs a relation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One VM.
    Vm(VmId),
    /// Every VM that carries this label with this value.
    Label((String, String)),
}

impl Default for Target {
    fn default() -> Self {
        Target::Vm(VmId(0))
    }
}

/// Together with, or apart from, other VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The others.
    pub target: Target,
    /// How far it reaches.
    pub scope: Scope,
}

/// Where it may live. Empty means anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Only these regions, when not empty.
    pub allowed_regions: BTreeSet<RegionId>,
    /// Never these regions.
    pub denied_regions: BTreeSet<RegionId>,
    /// Only zones of these names, when not empty.
    pub zones: BTreeSet<String>,
    /// Only these hosts, when not empty.
    pub hosts: BTreeSet<HostId>,
    /// Never these hosts.
    pub denied_hosts: BTreeSet<HostId>,
    /// Labels that the host must carry.
    pub host_labels: BTreeMap<String, String>,
    /// Compliance tags that the region must carry, such as `gdpr`.
    pub compliance: BTreeSet<String>,
    /// Jurisdictions that data may be in, such as `eu`; when not empty the region's must be among them.
    pub residency: BTreeSet<String>,
    /// Together with all of these.
    pub affinity: Vec<Relation>,
    /// Apart from all of these.
    pub anti_affinity: Vec<Relation>,
    /// Round trip to a region at most so many milliseconds, from where its users are.
    pub max_latency: Vec<(RegionId, u64)>,
    /// At most so much a month, in thousandths of a dollar.
    pub cost_limit_millis: Option<u64>,
    /// Stay when the region is lost instead of being restarted elsewhere.
    pub stay_on_loss: bool,
}

/// What its host says it is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nobody has said anything yet.
    #[default]
    Pending,
    /// Its process is starting or its guest is booting.
    Starting,
    /// Running.
    Running,
    /// Paused because the host's lease ran out.
    Paused,
    /// On its way down.
    Stopping,
    /// Not running.
    Stopped,
    /// It could not be started, or it died; the host tries again.
    Failed,
}

/// Whether it answers its probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not asked, or not heard of.
    #[default]
    Unknown,
    /// It answered.
    Healthy,
    /// It does not answer.
    Unhealthy,
}

/// What was seen of one generation; conclusions only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The generation that was seen.
    pub generation: Generation,
    /// What it is doing.
    pub phase: Phase,
    /// Whether it answers.
    pub health: Health,
    /// The guest kernel's boot id.
    pub boot_id: String,
    /// Where it answers, `ip:port`.
    pub address: String,
    /// Why it is not running, when it should be.
    pub reason: String,
    /// When this was concluded.
    pub at: Wall,
}

/// A virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    /// Its id, for ever.
    pub id: VmId,
    /// Its name, unique in the federation.
    pub name: String,
    /// Who pays.
    pub tenant: String,
    /// For what.
    pub project: String,
    /// Free labels, which relations may name.
    pub labels: BTreeMap<String, String>,
    /// What it needs.
    pub spec: VmSpec,
    /// Where it may live.
    pub rules: Rules,
    /// How much it matters.
    pub priority: Priority,
    /// What people want.
    pub want: Want,
    /// The region it was created in, or was brought home to.
    pub home: RegionId,
    /// The host chosen.
    pub host: HostId,
    /// The fence: only this generation may run.
    pub generation: Generation,
    /// What was seen.
    pub observed: Observed,
    /// When it was created.
    pub created_at: Wall,
    /// When it came to this host.
    pub placed_at: Wall,
    /// The failover that brought it here.
    pub failover: Option<FailoverId>,
    /// The revision at which it last changed by intent; only rises. 0: an earlier version wrote it.
    pub revision: Revision,
    /// The newest generation that was promised to a migration: no other start, move or takeover may use it.
    pub promised: Generation,
    /// How its disk is kept in another region.
    pub protection: Protection,
    /// Set on a copy that was made for a drill: it counts nowhere and goes when the drill is over.
    pub drill: Option<DrillMark>,
    /// It is deleted then by itself; 0: never.
    pub expires_at: Wall,
}

impl Vm {
    /// The generation of its next start, move or takeover.
    pub fn next_generation(&self) -> Generation {
        self.generation.max(self.promised).next()
    }

    /// True when the current generation runs and answers.
    pub fn serves(&self) -> bool {
        self.observed.generation == self.generation
            && self.observed.phase == Phase::Running
            && (self.observed.health == Health::Healthy || self.spec.probe == Probe::None)
    }

    /// True when `target` names this VM.
    pub fn is_named_by(&self, target: &Target) -> bool {
        match target {
            Target::Vm(id) => *id == self.id,
            Target::Label((key, value)) => self.labels.get(key) == Some(value),
        }
    }
}

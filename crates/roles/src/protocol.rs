//! What an agent and the node that leads its region's group say to each other.
//!
//! Rules both sides hold to:
//! * [`Intents`] is always the full set of VMs wanted on the host. Its place in time is the pair `(term, revision)`.
//! * A [`Grant`] names the pair of the newest intents its leader has for the host. The agent uses the grant only once it
//!   has acted on intents at least as new, so a lease that comes back after a gap can't revive what was moved meanwhile.
//! * A [`Grant`] answers exactly one [`Renew`]; the agent counts the lease from before it sent that one.
//! * Nothing is granted to an incarnation of an agent that has not introduced itself: what the facts say of its host, where it
//!   takes VMs among it, may be that of the one before. It introduces itself again until it is welcomed.

mod adoption;
mod control_plane;
mod figures;
mod guard;
mod image;
mod process;
mod question;
mod replica;
mod router;
mod switch;

use std::collections::BTreeMap;

use dwcp_types::{HostId, ImageDigest, NodeId, Priority, RegionId, VmId, ZoneId, wire_enum, wire_struct};

pub use adoption::{HeldVm, Hold, Inventory};
pub use control_plane::{
    CertificateAsked, Certified, ControlPlane, Endpoint, HelperKind, HelpersReport, HelpersWanted, Hosting,
    HostingPhase, HostingReport,
};
pub use figures::{
    AgentFigures, AgentLine, AgentLines, AgentSaid, CpuTimes, DiskFigures, DiskRoom, HostFigures,
    LONGEST_NAME, LineLevel, MOST_DEVICES, MOST_LINE_BYTES, MOST_LINES, MOST_VMS, MemoryFigures,
    NetworkFigures, Pressure, ProcessFigures, ProcessUse, Resource, ServerAsked, VmFigures, is_of_figures,
};
pub use guard::{GuardPhase, GuardReport, ProtectTo, ReplicaIntent};
pub use image::{ImageDamage, ImageHere, ImageRead, ImageSource, ImageWanted, Images, ReadImage};
pub use process::{Durability, ProcessReport};
pub use question::{
    CheckRequest, Checked, Console, Dialed, Finding, HostMeasures, ProbeRequest, ProbeResult, Probed,
    ReadConsole,
};
pub use replica::{
    AppliedEntry, DecideAsk, Decided, Placed, ReplicaHello, ReplicaSaid, ReplicaTold, Reserved,
    SNAPSHOT_PART, SnapshotPart,
};
pub use router::{
    FlowWord, LINE_BYTES_MOST, LINES_MOST, ROUTER_SLOTS, RouterAsk, RouterBeat, RouterFigures, RouterWord,
    RoutersTold, SHIELD_BYTES_MOST, TimesWord,
};
pub use switch::{least_downtime_ms, memory_downtime_ms};

/// From an agent to the leader of its region's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// First on every connection.
    Hello(Hello),
    /// Asks for the lease and reports every VM.
    Renew(Renew),
    /// Answers [`ControllerMessage::Probe`].
    Probed(Probed),
    /// Answers [`ControllerMessage::ReadConsole`].
    Console(Console),
    /// Answers [`ControllerMessage::Check`].
    Checked(Checked),
    /// Answers [`ControllerMessage::ReadImage`].
    ImageRead(ImageRead),
    /// Asks for a certificate of the region's node, which this host runs.
    Certify(CertificateAsked),
    /// Answers [`ControllerMessage::Hold`].
    Inventory(Inventory),
}
wire_enum!(AgentMessage {
    1 Hello(m), 2 Renew(m), 3 Probed(m), 4 Console(m), 5 Checked(m), 130 ImageRead(m), 160 Certify(m), 170 Inventory(m)
});

/// From the leader of a region's group to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerMessage {
    /// Answers [`AgentMessage::Hello`].
    Welcome(Welcome),
    /// Answers [`AgentMessage::Renew`] after a quorum round.
    Grant(Grant),
    /// The full set of VMs wanted on the host.
    Intents(Intents),
    /// Ask these VMs' own health probes now.
    Probe(ProbeRequest),
    /// Send what the VM wrote on its console from an offset on.
    ReadConsole(ReadConsole),
    /// Check the host: disks, clock, certificates, processes, ports.
    Check(CheckRequest),
    /// The full set of images that the host is to have. Only to agents that have said which they have.
    Images(Images),
    /// Say what an image of the image folder is made of.
    ReadImage(ReadImage),
    /// Whether to run the region's node. Only to agents that named an address for it.
    Hosting(Hosting),
    /// Answers [`AgentMessage::Certify`].
    Certified(Certified),
    /// Every region's node, this region's too. Only to agents that said that they take it.
    Nodes(Vec<Endpoint>),
    /// Answers [`AgentMessage::Renew`] while it is not decided yet what the host is to run.
    Hold(Hold),
    /// The controllers to run. Only to agents that said that they run some.
    Controllers(HelpersWanted),
    /// The routers to run beside the one that is always there. Only to agents that said that they run some.
    Routers(HelpersWanted),
}
wire_enum!(ControllerMessage {
    1 Welcome(m), 2 Grant(m), 3 Intents(m), 4 Probe(m), 5 ReadConsole(m), 6 Check(m), 130 Images(m), 131 ReadImage(m),
    160 Hosting(m), 161 Certified(m), 162 Nodes(m), 170 Hold(m), 210 Controllers(m),
    250 Routers(m)
});

/// Who an agent is and what its host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The host's name.
    pub host: HostId,
    /// Its region.
    pub region: RegionId,
    /// Its zone.
    pub zone: ZoneId,
    /// Virtual CPUs it offers.
    pub vcpus: u32,
    /// Memory it offers, MiB.
    pub memory_mib: u64,
    /// Disk it offers, GiB.
    pub disk_gib: u64,
    /// Free labels for placement rules.
    pub labels: BTreeMap<String, String>,
    /// The agent's version.
    pub version: String,
    /// Counts the agent's starts on this host, from 1; never goes back.
    pub incarnation: u64,
    /// How guests run.
    pub accelerator: Accelerator,
    /// Every VM on the host.
    pub vms: Vec<VmReport>,
    /// Term of the newest intents acted on; 0 before the first.
    pub term: u64,
    /// Revision of the newest intents acted on.
    pub revision: u64,
    /// Where its agent takes VMs that move here and disks of other hosts, `ip:port`; empty: it does not.
    pub transfer: String,
    /// Where it runs its region's node when it is told to, `ip:port`, TCP and UDP; empty: it does not.
    pub control: String,
    /// What it runs of its region's node.
    pub hosting: HostingReport,
    /// It takes [`ControllerMessage::Nodes`].
    pub follows_nodes: bool,
    /// The most controllers that it runs beside its region's node; 0: none.
    pub controllers: u32,
    /// The most routers that it runs beside the one that is always there; 0: none.
    pub routers: u32,
}

wire_struct!(Hello {
    1 host, 2 region, 3 zone, 4 vcpus, 5 memory_mib, 6 disk_gib, 7 labels, 8 version, 9 incarnation, 10 accelerator,
    11 vms, 12 term, 13 revision, 14 transfer, 160 control, 161 hosting, 162 follows_nodes, 210 controllers,
    250 routers
});

/// How guests run on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// Emulated: works everywhere, slowly.
    #[default]
    Tcg,
    /// By the kernel, proven by a guest that ran.
    Kvm,
}
wire_enum!(Accelerator { 1 Tcg, 2 Kvm });

impl Accelerator {
    /// `tcg` or `kvm`.
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Tcg => "tcg",
            Accelerator::Kvm => "kvm",
        }
    }
}

/// Asks for the lease, every 500 ms and at once when a VM changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renew {
    /// Names this request; the grant repeats it. Rises, also across restarts of the agent: its upper half is the incarnation.
    pub seq: u64,
    /// Every VM on the host.
    pub vms: Vec<VmReport>,
    /// Term of the newest intents acted on.
    pub term: u64,
    /// Revision of the newest intents acted on. When it is older than what the leader has, the leader sends them again.
    pub revision: u64,
    /// What the host really uses, when its agent could measure it.
    pub usage: Option<Usage>,
    /// Every image on the host, now and then and when that changed; none: as it was said last.
    pub images: Option<Vec<ImageHere>>,
    /// What was discarded of late.
    pub damages: Vec<ImageDamage>,
    /// What it runs of its region's node, when that changed and now and then; none: as it was said last.
    pub hosting: Option<HostingReport>,
    /// What it runs of its region's controllers, when that changed and now and then; none: as it was said last.
    pub controllers: Option<HelpersReport>,
    /// The same of its region's routers.
    pub routers: Option<HelpersReport>,
}
wire_struct!(Renew {
    1 seq, 2 vms, 3 term, 4 revision, 5 usage, 130 images, 131 damages, 160 hosting, 210 controllers, 250 routers
});

/// The number of an incarnation's `count`th renewal.
pub fn renewal_seq(incarnation: u64, count: u64) -> u64 {
    (incarnation << 32) + count
}

/// True when this incarnation of an agent asked with this number.
pub fn asked_by(incarnation: u64, seq: u64) -> bool {
    seq >> 32 == incarnation & u64::from(u32::MAX)
}

/// What a host really uses, whoever uses it; measured by its agent about once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its cores together, percent of all.
    pub cpu_percent: u32,
    /// Memory that is not available, MiB.
    pub memory_used_mib: u64,
    /// All of its memory, MiB.
    pub memory_total_mib: u64,
    /// Disk of the agent's data folder that is taken, GiB.
    pub disk_used_gib: u64,
    /// All of that disk, GiB.
    pub disk_total_gib: u64,
}
wire_struct!(Usage { 1 cpu_percent, 2 memory_used_mib, 3 memory_total_mib, 4 disk_used_gib, 5 disk_total_gib });

/// The leader takes the host in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The node that leads.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
    /// Length of a lease, ms.
    pub lease_ms: u64,
    /// The voters of the region's group. Fail-static operation asks each of them; empty keeps the list as it is.
    pub voters: Vec<NodeId>,
    /// Who may vote, and so lead, soon: they are asked as well, and don't count.
    pub joining: Vec<NodeId>,
}
wire_struct!(Welcome { 1 node, 2 term, 3 lease_ms, 4 voters, 160 joining });

/// The lease, counted from before the [`Renew`] it answers was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The request answered.
    pub seq: u64,
    /// Length, ms.
    pub lease_ms: u64,
    /// Term of the newest intents the leader has for this host.
    pub term: u64,
    /// Revision of those intents.
    pub revision: u64,
    /// The voters of the region's group now; empty: as they were told last.
    pub voters: Vec<NodeId>,
    /// Who may vote, and so lead, soon.
    pub joining: Vec<NodeId>,
}
wire_struct!(Grant { 1 seq, 2 lease_ms, 3 term, 4 revision, 160 voters, 161 joining });

/// Every VM wanted on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intents {
    /// The leader's term.
    pub term: u64,
    /// The group's revision these intents were read at.
    pub revision: u64,
    /// The full set.
    pub vms: Vec<VmIntent>,
    /// The full set of copies of other hosts' VMs that are to be kept here.
    pub replicas: Vec<ReplicaIntent>,
}
wire_struct!(Intents { 1 term, 2 revision, 3 vms, 20 replicas });

/// One VM wanted on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmIntent {
    /// The VM.
    pub vm: VmId,
    /// Its fence. A higher one on the same host means: stop the old process, start anew.
    pub generation: u64,
    /// Whether it shall run.
    pub run: Run,
    /// Higher ones boot first.
    pub priority: Priority,
    /// What it is.
    pub spec: VmSpec,
    /// It is to be copied to another host while it runs.
    pub transfer: Option<TransferTo>,
    /// It is expected from another host: with [`Run::Incoming`], and for a while after.
    pub arrival: Option<ArrivalFrom>,
    /// Where the copy of its disk is to be kept up to date.
    pub protect: Option<ProtectTo>,
    /// The epoch of the copy kept here that its disk is made from; 0: none.
    pub boot_replica: u64,
    /// With [`Run::Stopped`]: its process is killed at once, without a chance to power down.
    pub at_once: bool,
    /// It left for another region, and only its disk is kept until that has taken it.
    pub left: bool,
}
wire_struct!(VmIntent {
    1 vm, 2 generation, 3 run, 4 priority, 5 spec, 6 transfer, 7 arrival, 20 protect, 21 boot_replica, 30 at_once,
    170 left
});

/// Where a running VM is to be copied to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferTo {
    /// The migration's number.
    pub migration: u64,
    /// The region of the host that takes it.
    pub region: RegionId,
    /// That host.
    pub host: HostId,
    /// Where its agent listens, `ip:port`.
    pub endpoint: String,
    /// The generation it will have there.
    pub generation: u64,
    /// Longest time that the guest may stand still at the switch, ms.
    pub max_downtime_ms: u64,
    /// Most bytes a second that may be sent.
    pub rate_bytes_per_s: u64,
}
wire_struct!(TransferTo {
    1 migration, 2 region, 3 host, 4 endpoint, 5 generation, 6 max_downtime_ms, 7 rate_bytes_per_s
});

/// Where a VM is expected from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrivalFrom {
    /// The migration's number.
    pub migration: u64,
    /// The region of the host that it runs on until then.
    pub region: RegionId,
    /// That host.
    pub host: HostId,
    /// That host is lost: unless everything of the VM is here already, what waits for it ends.
    pub settling: bool,
}
wire_struct!(ArrivalFrom { 1 migration, 2 region, 3 host, 4 settling });

/// Whether a VM shall run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// It shall run.
    #[default]
    Running,
    /// It shall be off; its disk stays.
    Stopped,
    /// It shall be ready to take the memory of a VM that runs elsewhere, and not run by itself.
    Incoming,
}
wire_enum!(Run { 1 Running, 2 Stopped, 3 Incoming });

/// What a VM is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmSpec {
    /// Its name for people.
    pub name: String,
    /// The image it boots.
    pub image: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Disk, GiB; 0 for none.
    pub disk_gib: u64,
    /// How it reaches the network.
    pub network: Network,
    /// How its health is asked.
    pub probe: HealthProbe,
    /// Guest ports besides 80 that are forwarded from the VM's address, each under its own number.
    pub ports: Vec<u16>,
    /// What the image holds; none: what the host has under its name in its image folder.
    pub image_digest: ImageDigest,
    /// Its record but for where it is and what was seen of it, which only its region reads: a control plane that lost it finds it
    /// here.
    pub record: Vec<u8>,
}
wire_struct!(VmSpec {
    1 name, 2 image, 3 vcpus, 4 memory_mib, 5 disk_gib, 6 network, 7 probe, 8 ports, 130 image_digest, 170 record
});

/// The port of a VM's address that is forwarded to the guest's port 80 in user-mode networking.
pub const SERVICE_PORT: u16 = 8080;

impl VmSpec {
    /// The port on the VM's address behind which `guest_port` answers. On a bridge the address is the guest's own.
    pub fn outside_port(&self, guest_port: u16) -> u16 {
        if guest_port == 80 && self.network == Network::User { SERVICE_PORT } else { guest_port }
    }

    /// Every guest port that is forwarded: 80, the probe's and the extra ones, each once, in order.
    pub fn forwarded_ports(&self) -> Vec<u16> {
        let probed = match &self.probe {
            HealthProbe::Http(http) => Some(http.port),
            HealthProbe::Tcp(port) => Some(*port),
            HealthProbe::Process => None,
        };
        let all = [80].into_iter().chain(probed).chain(self.ports.iter().copied()).filter(|port| *port != 0);
        all.collect::<std::collections::BTreeSet<u16>>().into_iter().collect()
    }
}

/// How a VM reaches the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// User-mode: needs no rights; ports are forwarded from the VM's loopback address.
    #[default]
    User,
    /// A tap device on this bridge.
    Tap(String),
}
wire_enum!(Network { 1 User, 2 Tap(bridge) });

/// How a VM's health is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HealthProbe {
    /// A request over HTTP must be answered with 200 to 399.
    Http(HttpProbe),
    /// A connection to this guest port must be accepted by the guest and held open.
    Tcp(u16),
    /// None: the VM counts as healthy while its process runs.
    #[default]
    Process,
}
wire_enum!(HealthProbe { 1 Http(probe), 2 Tcp(port), 3 Process });

/// Where an HTTP probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The guest's port.
    pub port: u16,
    /// The path, with its leading slash.
    pub path: String,
}
wire_struct!(HttpProbe { 1 port, 2 path });

impl Default for HttpProbe {
    fn default() -> Self {
        HttpProbe { port: 80, path: "/health".to_string() }
    }
}

/// What an agent says about one VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmReport {
    /// The VM.
    pub vm: VmId,
    /// The generation this is about.
    pub generation: u64,
    /// Where in its life it is.
    pub phase: Phase,
    /// Why it is there, for people; empty when all is well.
    pub reason: String,
    /// Names this boot: the guest's own id once it told it, before that one made at launch.
    pub boot_id: String,
    /// `ip:port` of its service.
    pub address: String,
    /// What its own probe says.
    pub healthy: Health,
    /// How long ago it last answered its probe, ms; [`NEVER_MS`] when it never did.
    pub answered_age_ms: u64,
    /// How far its copy to another host is.
    pub transfer: Option<TransferReport>,
    /// Whether it has a disk here; none: not known yet.
    pub disk: Option<bool>,
    /// The copy of its disk in another region; none when it has none.
    pub guard: Option<GuardReport>,
    /// Everything of a VM that comes from another host is here, and that is noted for good.
    pub whole: bool,
}
wire_struct!(VmReport {
    1 vm, 2 generation, 3 phase, 4 reason, 5 boot_id, 6 address, 7 healthy, 8 answered_age_ms, 9 transfer, 10 disk,
    11 whole, 20 guard
});

/// What the copying of a VM is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The other host is being reached.
    #[default]
    Connecting,
    /// Its disk is being copied.
    Disk,
    /// Its memory is being copied.
    Memory,
    /// The guest stands still and the rest is on its way.
    Switching,
    /// All of it is there, and the VM is the other host's.
    Released,
    /// It failed; the VM goes on here.
    Failed,
}
wire_enum!(Stage { 1 Connecting, 2 Disk, 3 Memory, 4 Switching, 5 Released, 6 Failed });

impl Stage {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Connecting => "connecting",
            Stage::Disk => "disk",
            Stage::Memory => "memory",
            Stage::Switching => "switching",
            Stage::Released => "released",
            Stage::Failed => "failed",
        }
    }
}

/// How far the copy of a VM to another host is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// The migration's number.
    pub migration: u64,
    /// What it is doing.
    pub stage: Stage,
    /// Why it failed.
    pub reason: String,
    /// Bytes sent.
    pub bytes_done: u64,
    /// Bytes that are to be sent, as far as it is known.
    pub bytes_total: u64,
    /// Bytes a second, over the last moments.
    pub rate_bytes_per_s: u64,
    /// Bytes a second that the guest writes anew.
    pub dirty_bytes_per_s: u64,
    /// How much the guest is slowed down, percent.
    pub throttle_percent: u32,
    /// Since the copy began, ms.
    pub elapsed_ms: u64,
    /// How long the guest stood still at the switch, ms; 0 before.
    pub downtime_ms: u64,
}
wire_struct!(TransferReport {
    1 migration, 2 stage, 3 reason, 4 bytes_done, 5 bytes_total, 6 rate_bytes_per_s, 7 dirty_bytes_per_s,
    8 throttle_percent, 9 elapsed_ms, 10 downtime_ms
});

/// The age of an answer that was never given.
pub const NEVER_MS: u64 = u64::MAX;

/// Where in its life a VM is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Wanted, waits for its turn or for a lease.
    #[default]
    Pending,
    /// Its process runs, the guest has not answered yet.
    Starting,
    /// The guest answered.
    Running,
    /// Held still because the lease ran out.
    Paused,
    /// Asked to power down, or being killed.
    Stopping,
    /// Off by intent.
    Stopped,
    /// Its process died or could not be started; it is tried again.
    Failed,
    /// It was released to another host and will never run here again under this generation.
    Moved,
    /// Ready to take a VM that runs elsewhere, or taking it.
    Arriving,
}
wire_enum!(Phase {
    1 Pending, 2 Starting, 3 Running, 4 Paused, 5 Stopping, 6 Stopped, 7 Failed, 8 Moved, 9 Arriving
});

/// What a VM's own probe says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not asked yet, or it can't be.
    #[default]
    Unknown,
    /// It answered.
    Healthy,
    /// It failed several times in a row.
    Unhealthy,
}
wire_enum!(Health { 1 Unknown, 2 Healthy, 3 Unhealthy });

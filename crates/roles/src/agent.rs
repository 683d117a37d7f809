//! The agent of one host: holds the lease, and brings the VMs of its host to what its region's leader wants.
//!
//! [`Agent::step`] takes one input and the time and appends effects; the shell carries them out in order. The machine never
//! reads a clock: `now_us` is the host's monotonic clock, which also counts while the process is gone, so a deadline
//! survives a restart of the agent.
//!
//! What it never does: start or resume a VM without a valid lease; act on intents older than the newest it has acted on;
//! act on an older generation of a VM than the newest it has seen. Both memories are on disk ([`Effect::SaveSeen`], which
//! precedes every effect that rests on it).

use std::collections::BTreeMap;

use dwcp_types::{ImageDigest, NodeId, VmId};

use crate::protocol::{
    Accelerator, AgentMessage, CheckRequest, Checked, Console, ControllerMessage, Endpoint, GuardReport,
    Health, Hello, HelperKind, ImageHere, ImageRead, ImageSource, Intents, Phase, ProbeResult, Probed,
    ProtectTo, TransferReport, TransferTo, Usage, VmIntent, VmSpec, renewal_seq,
};

mod beside;
mod guard;
mod hold;
mod hosting;
mod images;
mod lease;
mod probes;
mod reconcile;
mod report;
#[cfg(test)]
mod tests;
mod transfer;
mod vm;

use beside::Helpers;
pub use beside::{HelpersEffect, HelpersEvent};
pub use guard::Kept;
use hosting::OwnNode;
pub use hosting::{CertificateLife, HostingEffect, HostingEvent, HostingFound};
pub use images::FetchFault;
use images::Images;
use lease::Lease;
pub use lease::VoterState;
use vm::LocalVm;

/// What does not change while an agent runs. Times in ms.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Who the host is and what it has; `vms`, `term` and `revision` are filled in by the machine.
    pub hello: Hello,
    /// The loopback or bridge addresses VMs get, one each.
    pub addresses: Vec<String>,
    /// How many VMs may boot at once.
    pub boot_concurrency: usize,
    /// Between two renewals.
    pub renew_interval_ms: u64,
    /// Between two probes of a VM that runs.
    pub probe_interval_ms: u64,
    /// Between two probes of a VM that boots.
    pub boot_probe_interval_ms: u64,
    /// After which a booting VM no longer holds a place in the boot queue.
    pub boot_grace_ms: u64,
    /// How long a VM may take to power down before it is killed.
    pub powerdown_ms: u64,
    /// From the end of the lease to the kill.
    pub kill_after_ms: u64,
    /// Shortest and longest wait before a VM whose process died is started again.
    pub restart_backoff_ms: (u64, u64),
    /// Probes that must fail in a row before a VM is called unhealthy.
    pub failures_to_unhealthy: u32,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig {
            hello: Hello::default(),
            addresses: Vec::new(),
            boot_concurrency: 2,
            renew_interval_ms: 500,
            probe_interval_ms: 1_000,
            boot_probe_interval_ms: 150,
            boot_grace_ms: 30_000,
            powerdown_ms: 10_000,
            kill_after_ms: 3_000,
            restart_backoff_ms: (500, 30_000),
            failures_to_unhealthy: 3,
        }
    }
}

/// What the agent must not forget when it restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `(term, revision)` of the newest intents acted on.
    pub newest: (u64, u64),
    /// The newest generation seen of every VM.
    pub generations: BTreeMap<VmId, u64>,
    /// The voters of the region's group as a leader named them last; empty before.
    pub voters: Vec<NodeId>,
    /// Who may vote there soon, as a leader named them last.
    pub joining: Vec<NodeId>,
    /// Length of a lease as a leader told it last, ms; 0 before.
    pub lease_ms: u64,
    /// VMs that were released to another host: the generation they ran under here, and the migration.
    pub released: BTreeMap<VmId, (u64, u64)>,
    /// The newest epoch of every VM under which the copy of its disk was whole.
    pub guarded: BTreeMap<VmId, u64>,
    /// VMs of which everything has come from another host: the generation they were expected under, and the migration.
    pub whole: BTreeMap<VmId, (u64, u64)>,
}
dwcp_types::wire_struct!(Seen { 1 newest, 2 generations, 3 voters, 4 lease_ms, 5 released, 6 whole, 20 guarded, 160 joining });

/// A VM that was already there when the agent started.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The VM.
    pub vm: VmId,
    /// The generation it was started with.
    pub generation: u64,
    /// What it was started as.
    pub spec: VmSpec,
    /// Index of its address in [`AgentConfig::addresses`].
    pub slot: usize,
    /// Names this boot.
    pub boot_id: String,
    /// Whether its process is there; without one only its disk and its address are.
    pub process: bool,
    /// Whether it is held still.
    pub paused: bool,
    /// The migration that its process was started for; 0: it was started to boot.
    pub incoming: u64,
    /// Its memory was copied to another host to the last byte, so the guest stands still until somebody lets it go on.
    pub copied: bool,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing but time.
    Tick,
    /// A connection to the region's leader is there.
    Connected,
    /// It is gone.
    Disconnected,
    /// The leader said something.
    Message(ControllerMessage),
    /// A VM's process started, or could not be.
    Launched { vm: VmId, generation: u64, result: Result<String, String> },
    /// A VM's process is gone.
    Exited { vm: VmId, generation: u64, reason: String },
    /// The watchdog holds a VM still.
    Held { vm: VmId },
    /// A VM answered its probe, or not. `boot_id` is what the guest calls this boot, when it says so.
    ProbeAnswer { vm: VmId, generation: u64, boot_id: Option<String>, failure: Option<String> },
    /// What [`Effect::AskVoters`] found; `asked_at_us` is the reading before the first was asked.
    VoterAnswers { asked_at_us: u64, answers: Vec<(NodeId, VoterState)> },
    /// Results for a request of the leader.
    Probed(Probed),
    /// A piece of console for a request of the leader.
    Console(Console),
    /// Findings for a request of the leader.
    Checked(Checked),
    /// What the host uses; told with the next renewals.
    Usage(Usage),
    /// A process is ready to take a VM's memory, or can't be.
    IncomingReady { vm: VmId, generation: u64, result: Result<(), String> },
    /// How far a copy is.
    TransferProgress { vm: VmId, generation: u64, report: TransferReport },
    /// The other host has all of it and has noted that, and the guest stands still here.
    TransferCompleted { vm: VmId, generation: u64, migration: u64 },
    /// Everything of a VM that comes from another host is here, its disk on the drive.
    ArrivedWhole { vm: VmId, generation: u64, migration: u64 },
    /// A copy failed, or was cancelled; the guest goes on here.
    TransferFailed { vm: VmId, generation: u64, migration: u64, reason: String },
    /// The host that a VM comes from says that it has released it. The transport vouches for who says so.
    Released { vm: VmId, generation: u64, migration: u64, from_region: String, from_host: String },
    /// Whether a VM has a disk here.
    Disk { vm: VmId, there: bool },
    /// A VM that arrived goes on, or can't.
    WentOn { vm: VmId, generation: u64, result: Result<(), String> },
    /// How far the copy of a VM's disk is.
    Guarded { vm: VmId, generation: u64, report: GuardReport },
    /// Every image on the host: told once at the start, and when that changed.
    Images(Vec<ImageHere>),
    /// How many of an image's bytes have come.
    ImageProgress { fetch: u64, done: u64, total: u64 },
    /// An image has come, and [`Input::Images`] has said so; or it has not.
    ImageFetched { fetch: u64, result: Result<(), FetchFault> },
    /// A copy of an image here is no longer what it was, and is taken away.
    ImageChanged { digest: ImageDigest, reason: String },
    /// What an image is made of, for a request of the leader.
    ImageRead(ImageRead),
    /// Something about the region's own node, where this host may run it.
    Hosting(HostingEvent),
    /// Something about a controller or router beside it.
    Helpers(HelpersEvent),
}

/// One thing to do. The shell does them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say this to the leader.
    Send(AgentMessage),
    /// Tell the watchdog how long VMs may run.
    SetLease { until_us: u64 },
    /// Remember this durably before going on.
    SaveSeen(Seen),
    /// Start a VM's process; `slot` is the index of its address.
    Launch { vm: VmId, generation: u64, spec: VmSpec, slot: usize },
    /// Press a VM's power button.
    PowerDown { vm: VmId, generation: u64 },
    /// End a VM's process.
    Kill { vm: VmId, generation: u64 },
    /// Whether a VM that is wanted here has a disk here already; answered by [`Input::Disk`]. One that is off says nothing of it.
    LookForDisk { vm: VmId },
    /// The process is gone and the VM is not wanted here: delete its disk.
    Remove { vm: VmId, generation: u64 },
    /// Let a VM go on that was held still.
    Resume { vm: VmId, generation: u64 },
    /// The lease ran out: hold every VM still, now.
    FenceNow,
    /// Ask a VM's own probe; no answer within `limit_ms` is a failure.
    Probe { vm: VmId, generation: u64, address: String, spec: VmSpec, limit_ms: u64 },
    /// Ask each of these nodes whether it leads the region's group; at most 400 ms.
    AskVoters { nodes: Vec<NodeId> },
    /// Ask these VMs' probes on the leader's behalf; answered by [`Input::Probed`].
    ProbeFor { request: u64, targets: Vec<(VmId, String, VmSpec)> },
    /// Read a console; answered by [`Input::Console`].
    ReadConsole { request: u64, vm: VmId, offset: u64 },
    /// Check the host; answered by [`Input::Checked`].
    Check(CheckRequest),
    /// Start a VM's process so that it takes the memory of one that runs elsewhere and does not run by itself; answered by
    /// [`Input::Launched`], then by [`Input::IncomingReady`].
    LaunchIncoming { vm: VmId, generation: u64, spec: VmSpec, slot: usize, migration: u64 },
    /// Copy a running VM to another host; ends with [`Input::TransferCompleted`] or [`Input::TransferFailed`].
    StartTransfer { vm: VmId, generation: u64, to: TransferTo },
    /// Stop copying.
    CancelTransfer { vm: VmId, generation: u64, migration: u64 },
    /// Tell the host that a VM comes from that everything of it is here.
    SayWhole { vm: VmId, generation: u64, migration: u64 },
    /// Tell the other host that the VM is its own now.
    Release { vm: VmId, generation: u64, to: TransferTo },
    /// Let a guest go on that stands still since it was copied, and was not released.
    KeepAfterAll { vm: VmId, generation: u64, migration: u64 },
    /// Let a VM go on here that has arrived; answered by [`Input::WentOn`].
    GoOn { vm: VmId, generation: u64, migration: u64 },
    /// Keep the copy of a VM's disk up to date there, or nowhere; answered by [`Input::Guarded`] whenever that changes.
    Guard { vm: VmId, generation: u64, to: Option<ProtectTo> },
    /// Keep these copies here, and no others.
    KeepReplicas(Kept),
    /// The VM's disk is the copy of this epoch that is kept here; said right before its launch.
    BootFrom { vm: VmId, epoch: u64 },
    /// Get an image, from the own image folder where no host is named; answered by [`Input::ImageFetched`]. One at a time.
    FetchImage { fetch: u64, digest: ImageDigest, from: Option<ImageSource> },
    /// Stop that; what has come is kept for the next time.
    StopFetch { fetch: u64 },
    /// Nobody wants this copy of an image any more.
    RemoveImage { digest: ImageDigest },
    /// VMs move, so that images are to take little of the links; or they no longer do.
    PaceImages { gentle: bool },
    /// Say what an image of the image folder is made of; answered by [`Input::ImageRead`].
    ReadImage { request: u64, name: String },
    /// Something about the region's own node; answered by [`Input::Hosting`] where it says so.
    Hosting(HostingEffect),
    /// Something about a controller or router beside it; answered by [`Input::Helpers`].
    Helpers(HelpersEffect),
    /// These are the regions' nodes from now on.
    FollowNodes(Vec<Endpoint>),
}

/// Deliberate faults, for testing that the checkers find them.
#[cfg(feature = "mutations")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Acts on intents and generations older than the newest seen.
    IgnoreGeneration,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Agent {
    config: AgentConfig,
    lease: Lease,
    connected: bool,
    /// A leader has answered an introduction on this connection.
    welcomed: bool,
    next_seq: u64,
    next_renew_us: u64,
    last_renew_us: u64,
    last_hello_us: u64,
    changed: bool,
    seen: Seen,
    /// `None` until the first intents of this incarnation: adopted VMs stay untouched until then.
    intents: Option<BTreeMap<VmId, VmIntent>>,
    vms: BTreeMap<VmId, LocalVm>,
    usage: Option<Usage>,
    /// The copies that the shell was told to keep; none until the first intents of this incarnation.
    kept: Option<Kept>,
    images: Images,
    node: OwnNode,
    controllers: Helpers,
    routers: Helpers,
    /// A leader that does not know yet what is to run here has said so: what moves stays.
    holding: bool,
    #[cfg(feature = "mutations")]
    mutation: Option<Mutation>,
}

impl Agent {
    /// The machine at its start. `lease_until_us` is the deadline the watchdog still enforces, 0 for none.
    pub fn new(
        config: AgentConfig,
        seen: Seen,
        adopted: Vec<Adopted>,
        lease_until_us: u64,
        now_us: u64,
    ) -> Agent {
        let incarnation = config.hello.incarnation;
        let vms = adopted.into_iter().map(|a| (a.vm, LocalVm::adopted(a, now_us))).collect();
        let mut agent = Agent {
            lease: Lease::new(lease_until_us),
            // Grants to an earlier incarnation must not be taken for answers to this one's renewals.
            next_seq: renewal_seq(incarnation, 1),
            config,
            connected: false,
            welcomed: false,
            next_renew_us: now_us,
            last_renew_us: 0,
            last_hello_us: 0,
            changed: false,
            seen,
            intents: None,
            vms,
            usage: None,
            kept: None,
            images: Images::default(),
            node: OwnNode::default(),
            controllers: Helpers::new(HelperKind::Controller),
            routers: Helpers::new(HelperKind::Router),
            holding: false,
            #[cfg(feature = "mutations")]
            mutation: None,
        };
        agent.recall_released();
        agent
    }

    /// Builds a fault in.
    #[cfg(feature = "mutations")]
    pub fn mutate(&mut self, mutation: Mutation) {
        self.mutation = Some(mutation);
    }

    fn ignores_generations(&self) -> bool {
        #[cfg(feature = "mutations")]
        return self.mutation == Some(Mutation::IgnoreGeneration);
        #[cfg(not(feature = "mutations"))]
        false
    }

    /// Takes one input.
    pub fn step(&mut self, now_us: u64, input: Input, out: &mut Vec<Effect>) {
        // Time first: an input that arrives after the lease ran out must not be acted on as if it had not.
        self.keep_lease(now_us, out);
        match input {
            Input::Tick => {}
            Input::Connected => {
                self.connected = true;
                self.welcomed = false;
                self.next_renew_us = now_us;
                self.images_not_current();
                self.introduce(now_us, out);
            }
            Input::Disconnected => {
                self.connected = false;
                self.images_not_current();
            }
            Input::Message(message) => self.hear(now_us, message, out),
            Input::Launched { vm, generation, result } => self.launched(now_us, vm, generation, result),
            Input::Exited { vm, generation, reason } => self.exited(now_us, vm, generation, reason, out),
            Input::Held { vm } => self.held(vm),
            Input::ProbeAnswer { vm, generation, boot_id, failure } => {
                self.probe_answer(now_us, vm, generation, boot_id, failure);
            }
            Input::VoterAnswers { asked_at_us, answers } => {
                self.voter_answers(now_us, asked_at_us, &answers, out)
            }
            Input::Probed(probed) => out.push(Effect::Send(AgentMessage::Probed(probed))),
            Input::Console(console) => out.push(Effect::Send(AgentMessage::Console(console))),
            Input::Checked(checked) => out.push(Effect::Send(AgentMessage::Checked(checked))),
            Input::Usage(usage) => self.usage = Some(usage),
            Input::IncomingReady { vm, generation, result } => {
                self.incoming_ready(now_us, vm, generation, result, out);
            }
            Input::TransferProgress { vm, generation, report } => {
                self.transfer_progress(vm, generation, report);
            }
            Input::TransferCompleted { vm, generation, migration } => {
                self.transfer_completed(vm, generation, migration, out);
            }
            Input::ArrivedWhole { vm, generation, migration } => {
                self.arrived_whole(vm, generation, migration, out);
            }
            Input::TransferFailed { vm, generation, migration, reason } => {
                self.transfer_failed(vm, generation, migration, reason);
            }
            Input::Released { vm, generation, migration, from_region, from_host } => {
                self.heard_released(vm, generation, migration, (&from_region, &from_host), out);
            }
            Input::Disk { vm, there } => {
                if let Some(local) = self.vms.get_mut(&vm) {
                    local.disk = Some(there);
                }
            }
            Input::WentOn { vm, generation, result } => self.went_on(now_us, vm, generation, result, out),
            Input::Guarded { vm, generation, report } => self.guarded(now_us, vm, generation, report, out),
            Input::Images(here) => self.images_here(here),
            Input::ImageProgress { fetch, done, total } => self.image_progress(fetch, done, total),
            Input::ImageFetched { fetch, result } => self.image_fetched(now_us, fetch, result),
            Input::ImageChanged { digest, reason } => self.image_changed(now_us, &digest, &reason),
            Input::ImageRead(read) => out.push(Effect::Send(AgentMessage::ImageRead(read))),
            Input::Hosting(event) => self.hear_of_node(now_us, event, out),
            Input::Helpers(event) => self.helpers(event.kind()).hear(now_us, event),
        }
        self.reconcile(now_us, out);
        self.guard(out);
        self.keep_images(now_us, out);
        self.keep_node(now_us, out);
        self.probe_due(now_us, out);
        self.renew_due(now_us, out);
    }

    fn hear(&mut self, now_us: u64, message: ControllerMessage, out: &mut Vec<Effect>) {
        match message {
            ControllerMessage::Welcome(welcome) => self.welcome(welcome, out),
            ControllerMessage::Grant(grant) => self.grant(now_us, grant, out),
            ControllerMessage::Intents(intents) => self.take_intents(now_us, intents, out),
            ControllerMessage::Probe(ask) => self.probe_for(ask, out),
            ControllerMessage::ReadConsole(read) => {
                out.push(Effect::ReadConsole { request: read.request, vm: read.vm, offset: read.offset });
            }
            ControllerMessage::Check(check) => out.push(Effect::Check(check)),
            ControllerMessage::Images(images) => self.take_images(images),
            ControllerMessage::ReadImage(read) => {
                out.push(Effect::ReadImage { request: read.request, name: read.name });
            }
            ControllerMessage::Hosting(hosting) => self.take_hosting(hosting, out),
            ControllerMessage::Certified(certified) => self.take_certificate(now_us, certified),
            ControllerMessage::Controllers(wanted) => self.controllers.take(wanted),
            ControllerMessage::Routers(wanted) => self.routers.take(wanted),
            ControllerMessage::Hold(hold) => self.hold(now_us, hold, out),
            ControllerMessage::Nodes(nodes) => out.push(Effect::FollowNodes(nodes)),
        }
    }

    fn take_intents(&mut self, now_us: u64, intents: Intents, out: &mut Vec<Effect>) {
        let pair = (intents.term, intents.revision);
        if pair < self.seen.newest && !self.ignores_generations() {
            return;
        }
        let before = self.seen.clone();
        self.seen.newest = self.seen.newest.max(pair);
        let mut wanted = BTreeMap::new();
        for intent in intents.vms {
            let newest = self.seen.generations.entry(intent.vm).or_default();
            *newest = intent.generation.max(*newest);
            wanted.insert(intent.vm, intent);
        }
        self.forget_released(&wanted);
        self.forget_whole(&wanted);
        self.intents = Some(wanted);
        self.holding = false;
        self.changed = true;
        if self.seen != before {
            out.push(Effect::SaveSeen(self.seen.clone()));
        }
        self.keep(intents.replicas, out);
        self.use_pending_grant(now_us, out);
    }

    /// When [`step`](Agent::step) must be called at the latest, µs on the same clock.
    pub fn wake_at_us(&self) -> Option<u64> {
        let any_process = self.vms.values().any(|vm| vm.process);
        let mut wake = self.lease.wake_at_us(&self.seen, self.config.kill_after_ms, any_process);
        let mut sooner = |at: Option<u64>| {
            wake = match (wake, at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        };
        if self.connected {
            sooner(Some(self.renew_at_us()));
        }
        let leased = self.lease.is_usable();
        for (id, vm) in &self.vms {
            sooner(vm.wake_at_us(leased && self.is_wanted_again(*id, vm.generation)));
        }
        wake
    }

    /// True while VMs may run.
    pub fn has_lease(&self, now_us: u64) -> bool {
        self.lease.holds(now_us)
    }

    /// The lease's end, µs on the host's monotonic clock.
    pub fn lease_until_us(&self) -> u64 {
        self.lease.until_us()
    }

    /// Phase and generation of a VM of this host.
    pub fn vm(&self, vm: VmId) -> Option<(Phase, u64)> {
        self.vms.get(&vm).map(|local| (local.phase, local.generation))
    }

    /// How guests run on this host.
    pub fn accelerator(&self) -> Accelerator {
        self.config.hello.accelerator
    }

    fn address_of(&self, slot: Option<usize>) -> String {
        slot.and_then(|slot| self.config.addresses.get(slot)).cloned().unwrap_or_default()
    }

    fn probe_for(&self, ask: crate::protocol::ProbeRequest, out: &mut Vec<Effect>) {
        let asked = |vm: &VmId| ask.vms.is_empty() || ask.vms.contains(vm);
        let mut missing: Vec<ProbeResult> = Vec::new();
        let mut targets = Vec::new();
        for (vm, local) in self.vms.iter().filter(|(vm, _)| asked(vm)) {
            if local.process && !local.paused {
                targets.push((*vm, self.address_of(local.slot), local.spec.clone()));
            } else {
                let detail = format!("not running: {}", local.reason);
                missing.push(ProbeResult { vm: *vm, healthy: Health::Unhealthy, detail, took_us: 0 });
            }
        }
        for vm in ask.vms.iter().filter(|vm| !self.vms.contains_key(vm)) {
            let detail = "not on this host".to_string();
            missing.push(ProbeResult { vm: *vm, healthy: Health::Unknown, detail, took_us: 0 });
        }
        if !missing.is_empty() || targets.is_empty() {
            let probed = Probed { request: ask.request, results: missing };
            out.push(Effect::Send(AgentMessage::Probed(probed)));
        }
        if !targets.is_empty() {
            out.push(Effect::ProbeFor { request: ask.request, targets });
        }
    }
}

//! Commands: everything that can change a fact.

use dwcp_types::{
    Amount, DrillId, FailoverId, Generation, GroupId, HostId, MigrationId, OperationId, Refusal, RegionId,
    Revision, TokenId, VmId, Wall, WindowId,
};

use crate::maintenance::{Notice, Window};
use crate::migration::{Aim, Arrival, NewMigration, Stopping, Took};
use crate::{
    Adopting, BackupEnd, BackupPlan, BackupRun, DocumentChanges, Drill, DrillNews, DrillState, Failover,
    FailoverState, FailoverVm, Freeze, GuardState, Held, HostFacts, Image, ImageFault, MissingChoice,
    Observed, OnReplicaLoss, Operation, OperationState, PhaseName, Policy, ProtectionMode, PublicEndpoint,
    RebuildStep, Region, RegionSettings, Release, Reminder, Replica, Token, Vm, Want,
};

/// A command with who, when and under which request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Idempotency key; a command with the same key is applied once. Empty: none.
    pub request: String,
    /// Digest of the client's request, to tell a repeated request from another one under the same key.
    pub digest: u64,
    /// Who asked; `dwcp` for the controllers themselves.
    pub by: String,
    /// The proposer's wall clock.
    pub at: Wall,
    /// What to change.
    pub command: Command,
    /// The id of the API request that asked, as its answer and the server's log carry it; empty for the controllers.
    pub request_id: String,
    /// The revision that the record to change must still have; none: whatever it has.
    pub expected: Option<Revision>,
    /// The facts of other regions that it was decided on: which region, at which revision of its group.
    pub looked_at: Vec<(RegionId, Revision)>,
    /// Why, in the words of who asked; for the event. Empty: none was given.
    pub reason: String,
    /// The region whose controller proposes it; from [`dwcp_types::PROPOSER_LEVEL`] on, empty before.
    pub proposer: RegionId,
}

/// A change of one region's switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionChange {
    /// Which region.
    pub region: RegionId,
    /// Switch it on or off as a whole.
    pub enabled: Option<bool>,
    /// Allow or stop placement.
    pub placement: Option<bool>,
    /// Its share of traffic.
    pub traffic_percent: Option<u8>,
    /// Why, in the words of who asked; for the event.
    pub reason: String,
}

/// A VM to create, with the host chosen for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewVm {
    /// The record; its generation is set when applied.
    pub vm: Vm,
}

/// What a host says of one of its VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Which VM.
    pub vm: VmId,
    /// What was seen.
    pub observed: Observed,
    /// True: the host says that nothing of it is left.
    pub gone: bool,
}

/// A VM that a host in the same region takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMove {
    /// Which VM.
    pub vm: VmId,
    /// The generation it must have now.
    pub generation: Generation,
    /// The host that takes it.
    pub to: HostId,
}

/// A VM that leaves for another region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departing {
    /// Which VM.
    pub vm: VmId,
    /// The generation it must have now.
    pub generation: Generation,
    /// The region that is to take it.
    pub to: RegionId,
    /// The host that was planned.
    pub host: Option<HostId>,
}

/// A VM that arrives from another region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    /// The record as it left, with its new generation.
    pub vm: Vm,
    /// The host chosen here.
    pub host: HostId,
    /// The region it comes from.
    pub from: RegionId,
    /// Under which failover.
    pub failover: Option<FailoverId>,
}

/// Binds an idempotency key to a group, so that a repeated request can't be carried out by two groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The client's key.
    pub key: String,
    /// The attempt before this one, which its group refused; 0 for the first.
    pub after_attempt: u64,
    /// The group that is to carry it out.
    pub group: GroupId,
}

/// How a VM's disk is to be protected from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectionChange {
    /// Which VM.
    pub vm: VmId,
    /// How.
    pub mode: ProtectionMode,
    /// What happens when the copy can't be written.
    pub on_loss: OnReplicaLoss,
    /// Only in this region.
    pub region: Option<RegionId>,
    /// A copy that is behind is given up, and one is made anew where a place is found.
    pub again: bool,
}

/// Where a copy of a VM's disk is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaChoice {
    /// Which VM.
    pub vm: VmId,
    /// The epoch before: what was decided on another one is refused.
    pub epoch: u64,
    /// The region.
    pub region: RegionId,
    /// The host that was planned; the region may choose another.
    pub host: HostId,
    /// Why there, for the event.
    pub reason: String,
}

/// Where a copy is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLocation {
    /// Which VM.
    pub vm: VmId,
    /// The epoch that the other region has taken.
    pub epoch: u64,
    /// The host that keeps it.
    pub host: HostId,
    /// Where its agent takes the writes, `ip:port`.
    pub endpoint: String,
}

/// What a host concluded of the copy of one of its VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardNews {
    /// Which VM.
    pub vm: VmId,
    /// The generation it is about.
    pub generation: Generation,
    /// The epoch of the copy.
    pub epoch: u64,
    /// How far it is.
    pub state: GuardState,
    /// The newest moment that the copy certainly holds.
    pub point: Wall,
    /// Why it is behind.
    pub reason: String,
}

/// Everything that can change a fact. The first part belongs to the federation's group, the second to a region's.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Command {
    /// Nothing.
    #[default]
    Nothing,
    /// Name, regions, first tokens: once.
    Found(Box<crate::core_facts::Core>),
    /// A region's switches.
    ChangeRegion(RegionChange),
    /// Replaces the policy.
    SetPolicy(Policy),
    /// Sets the freeze switch.
    SetFreeze(Freeze),
    /// A region is lost: its failover begins. Carries the record and the region's epoch as the proposer knew it.
    DeclareLost((Box<Failover>, u64)),
    /// A phase of a failover ended now.
    EndPhase((FailoverId, PhaseName)),
    /// The VMs of a failover have their places. Carries those that its record does not show so yet.
    PlanFailover((FailoverId, Vec<FailoverVm>)),
    /// A failover ended. Carries the VMs that its record does not show so yet; one that still waits has failed.
    EndFailover((FailoverId, (FailoverState, Vec<FailoverVm>))),
    /// A part of a failover's record that is too long for one command: what has become of these of its VMs.
    RecordVms((FailoverId, Vec<FailoverVm>)),
    /// A failover that no VM was given a place by is called off, and its region is as it was.
    CancelFailover(FailoverId),
    /// A lost region is heard again.
    ReturnRegion((RegionId, u64)),
    /// Adds a token.
    PutToken(Token),
    /// Revokes a token.
    RevokeToken(TokenId),
    /// Plans a maintenance window; its number is set when applied.
    ScheduleWindow(Box<Window>),
    /// Calls one off.
    CancelWindow(WindowId),
    /// Something of a window is told, once: (window, (what, whether its host was open for placement then)).
    NoteWindow((WindowId, (Notice, bool))),
    /// The host of a window that is over is open for placement again.
    SettleWindow(WindowId),

    /// A host registers.
    RegisterHost(HostFacts),
    /// A host is silent: no lease for it until it registers again.
    LoseHost((HostId, u64)),
    /// Allow or stop placement on a host.
    SetHostPlacement((HostId, bool)),
    /// Creates VMs, all or none, with the operation that stands for it.
    CreateVms((Vec<NewVm>, Operation)),
    /// What people want of a VM; restarts when `restart` and running.
    SetWant((VmId, (Want, Operation))),
    /// Stops and starts a VM: raises its generation.
    RestartVm((VmId, Operation)),
    /// What a host concluded about its VMs.
    Observe((HostId, Vec<Observation>)),
    /// Other hosts of the region take VMs over from a lost host.
    MoveVms(Vec<HostMove>),
    /// No more leases in this region: it is being evacuated (epoch of its loss).
    BeginEvacuation(u64),
    /// Leases may be granted again.
    EndEvacuation(u64),
    /// VMs leave a region under evacuation, or a lost host: (failover, VMs).
    Depart((Option<FailoverId>, Vec<Departing>)),
    /// A VM arrives.
    Admit(Box<Admission>),
    /// A VM of this generation will not be taken: (VM, (generation, reason)).
    Decline((VmId, (Generation, String))),
    /// The other region has it: (VM, generation).
    Forget((VmId, Generation)),
    /// The other region declined: it is ours again, with a further generation.
    Recall((VmId, Generation)),
    /// An operation ended: (operation, (state, result)).
    EndOperation((OperationId, (OperationState, String))),
    /// The overcommit limits that this group enforces.
    SetOvercommit((u32, u32)),
    /// Binds an idempotency key to the group that is to carry the request out.
    Claim(ClaimRequest),
    /// What is kept of VMs that are gone from here is dropped: those under which nothing is on its way here any more in
    /// the facts looked at, with the newest generation barred.
    Unbar(Vec<(VmId, Generation)>),
    /// VMs are to move. Those that can't are left out; refused when none can.
    BeginMigrations((Vec<NewMigration>, Operation)),
    /// The turn of these has come.
    StartMigrations(Vec<(VmId, MigrationId)>),
    /// The target of a migration has made room.
    AimMigration((VmId, (MigrationId, Aim))),
    /// These are to end without their VMs having moved.
    StopMigrations((Vec<(VmId, MigrationId)>, Stopping)),
    /// The host says that the VM stays, for good.
    EndMigration((VmId, MigrationId)),
    /// The VM is its target's: its host has released it, or is fenced.
    Switch(Switch),
    /// Room is made for a VM that moves to here.
    Expect(Box<Arrival>),
    /// A VM does not come.
    Withdraw((VmId, Generation)),
    /// Nothing of a VM that does not come is left on the host that was to take it.
    DropArrival((VmId, Generation)),
    /// Everything of a VM that is expected is on the host that is to take it.
    NoteWhole((VmId, Generation)),
    /// The host that a VM comes from is lost: it comes if everything of it is here, and otherwise not.
    SettleArrival((VmId, Generation)),
    /// A migration has ended because the VM's host was lost, and its target has given it up: its generation is used nowhere.
    LoseMigration((VmId, MigrationId)),
    /// How a VM's disk is to be protected.
    SetProtection(ProtectionChange),
    /// A copy of a VM's disk is to be made anew.
    ChooseReplica(ReplicaChoice),
    /// What a host concluded of the copies of its VMs.
    Guarded((HostId, Vec<GuardNews>)),
    /// The other region keeps the copy of this epoch.
    LocateReplica(ReplicaLocation),
    /// A copy of another region's VM is kept here.
    TakeReplica(Box<Replica>),
    /// A copy can't be kept here: (VM, (epoch, reason)).
    DeclineReplica((VmId, (u64, String))),
    /// A copy is not needed any more: (VM, epoch).
    DropReplica((VmId, u64)),

    /// A drill of a region begins, or the one that is not over is joined. For the federation's group, like the three after it.
    BeginDrill(Box<Drill>),
    /// What became of a drill's VMs, and when.
    NoteDrill(DrillNews),
    /// A drill is measured, or nothing of it is left: (drill, (state, result)).
    EndDrill((DrillId, (DrillState, String))),
    /// What a drill made is to go away.
    RestoreDrill(DrillId),
    /// Copies of a drill are lost. For a region's group, like the next.
    LoseCopies(Vec<VmId>),
    /// Copies of a drill are to be deleted.
    DropCopies(Vec<VmId>),

    /// An image comes into the catalogue, or what is under its name there is replaced. For the federation's group, like the
    /// next.
    PublishImage(Box<Image>),
    /// An image goes out of the catalogue.
    RemoveImage(String),
    /// A host was given something else than the image that it asked for. For a region's group.
    NoteImageFault(ImageFault),

    /// Nothing is changed: every replica of the group remembers the digests of its facts at this place of the log, under this
    /// number.
    TakeDigest(u64),
    /// Regions' replicas are to be rebuilt, or the rebuild that is going on is joined. For the federation's group, like the next
    /// two.
    BeginSync(Box<Operation>),
    /// What became of one step of a rebuild.
    NoteSync((OperationId, RebuildStep)),
    /// A rebuild ended: (operation, (state, result)).
    EndSync((OperationId, (OperationState, String))),

    /// How backups are made by themselves. For the federation's group, like the three after it.
    ConfigureBackups(Box<BackupPlan>),
    /// A backup is to be made or verified, or the run that does so already is joined.
    BeginBackup(Box<BackupRun>),
    /// A run of a backup has ended.
    EndBackup(Box<BackupEnd>),
    /// (The newest backup, the newest verified one) is older than it may be.
    NoteBackupsLate((bool, bool)),

    /// A region comes in; its number is given when applied. For the federation's group, like the four after it.
    AddRegion(Box<Region>),
    /// The group of a region that comes in is founded.
    FoundedRegion(RegionId),
    /// Replicas of every group are to be in a region that comes in.
    ReplicateRegion(RegionId),
    /// A region leaves.
    RemoveRegion(RegionId),
    /// Nothing of a region that leaves is left.
    ForgetRegion(RegionId),
    /// The hosts of a region that has left stop its node and remove what they have of it.
    CleanRegion(RegionId),
    /// The region leaves: nothing may come here any more. For a region's group.
    CloseRegion,

    /// What an operator says of a region. For the federation's group, like the four after it.
    ConfigureRegion(Box<RegionSettings>),
    /// A region's users reach it there, or no longer do.
    SetEndpoint((RegionId, (PublicEndpoint, bool))),
    /// A region is to end then.
    AnnounceDecommission((RegionId, Wall)),
    /// It is not.
    CancelDecommission(RegionId),
    /// Something of a region's end is told, once.
    NoteDecommission((RegionId, Reminder)),
    /// So many controllers are to decide about placements in a region, its node's own among them. For the federation's group.
    SetControllers((RegionId, u64)),
    /// So many routers are to serve users in a region, the one of its own settings among them. For the federation's group.
    SetRouters((RegionId, u64)),
    /// What monitoring writes down. For the federation's group.
    ChangeDocuments(Box<DocumentChanges>),

    /// A level comes into force. For the federation's group, like the four after it.
    RaiseLevel(u64),
    /// A program is there to upgrade regions to.
    PublishRelease(Box<Release>),
    /// A region is to get another program.
    BeginUpgrade(Box<Operation>),
    /// The region of an upgrade may go over.
    SwitchUpgrade(OperationId),
    /// An upgrade ended: (operation, (state, result)).
    EndUpgrade((OperationId, (OperationState, String))),

    /// What a host of a restored control plane has. For a region's group, like all that follow.
    NoteHeld((HostId, Vec<Held>)),
    /// Somebody vouches that a host is off: it is not waited for.
    WriteOffHost(HostId),
    /// Every host has said what it has, or is not waited for.
    CloseInventory,
    /// What is decided about VMs of the backup and of the hosts.
    Adopt(Vec<Adopting>),
    /// Everything is adopted.
    FinishAdoption,
    /// What these hosts had, which came late, is decided.
    SettleLate(Vec<HostId>),
    /// Every region has adopted.
    TidyAdoption,
    /// What is to become of a VM that no host has.
    DecideMissing(MissingChoice),
}

/// A VM changes hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// Which.
    pub vm: VmId,
    /// Under which migration.
    pub migration: MigrationId,
    /// Its host said that it has released it and will never run it again under its old generation; otherwise the host must be
    /// lost, or its region under evacuation, and its lease over.
    pub released: bool,
    /// Under which failover.
    pub failover: Option<FailoverId>,
    /// What the copying took.
    pub took: Took,
}

/// What an accepted command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Position in the group's log.
    pub revision: Revision,
    /// The operation that stands for it.
    pub operation: Option<OperationId>,
    /// VMs it made or changed, with their generation.
    pub vms: Vec<(VmId, Generation)>,
    /// The failover it began or joined.
    pub failover: Option<FailoverId>,
    /// The claim that holds: attempt and group.
    pub claim: Option<(u64, GroupId)>,
    /// The maintenance window it planned or changed.
    pub window: Option<WindowId>,
    /// The drill it began, joined or changed.
    pub drill: Option<DrillId>,
    /// The run of a backup that it began, joined or ended.
    pub backup: Option<u64>,
}

/// What became of a command. Every replica computes the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Facts are as asked.
    Accepted(Receipt),
    /// Facts are as before.
    Refused(Refusal),
}

impl Default for Outcome {
    fn default() -> Self {
        Outcome::Accepted(Receipt::default())
    }
}

impl Region {
    /// The price of a size for a month of 730 hours, in thousandths of a dollar.
    pub fn monthly_cost_millis(&self, size: Amount) -> u64 {
        let hourly = u64::from(size.vcpus) * self.prices.vcpu_micros
            + size.memory_mib * self.prices.memory_gib_micros / 1024
            + size.disk_gib * self.prices.disk_gib_micros;
        hourly * 730 / 1_000
    }
}

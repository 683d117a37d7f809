//! What people and programs ask a node to do. Reads need no request: they look at [`Node::facts`].

use dwcp_decide::{FailoverLimits, FailoverPlan, PlaceReport, PlaceRequest, Placement};
use dwcp_state::{
    BackupEnd, BackupPlan, BackupRun, Command, DocumentChanges, Drain, DrillMode, DrillNews, Failover,
    Freeze, NewMigration, Operation, OperationKind, Outcome, PhaseName, PhaseSpan, Policy, ProtectionChange,
    PublicEndpoint, Receipt, Region, RegionChange, RegionFacts, RegionSettings, Release, Standing, Token,
    Trigger, Upgrade, Vm, Want, Window,
};
use dwcp_types::{
    Code, DrillId, GroupId, HostId, OperationId, Priority, Refusal, RegionId, Revision, TokenId, VmId, Wall,
    WindowId,
};

use super::proposals::Purpose;
use super::{Effect, Node, PlannedStep, PoolCheck, RegionCheck, UpgradeRequest, VerifyReport};
use crate::protocol::ProbeResult;

/// Who asks, and under which key.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The principal.
    pub by: String,
    /// The idempotency key, unique to the principal; none: the request is not repeated.
    pub key: Option<String>,
    /// Digest of the request, to tell a repetition from another request under the same key.
    pub digest: u64,
    /// The id of the API request, for the events it causes; empty: none.
    pub request_id: String,
    /// The revision that what is changed must still have; none: whatever it has.
    pub expected: Option<Revision>,
    /// Why, in the words of who asks; for the events.
    pub reason: String,
}

/// A VM to create.
#[derive(Clone, Debug, Default)]
pub struct CreateVm {
    /// The record but for id, host and generation.
    pub template: Vm,
    /// Where its users are.
    pub users_in: Option<RegionId>,
    /// Only say where it would go.
    pub dry_run: bool,
    /// Say it of every candidate.
    pub explain: bool,
    /// Only in this region, now; its rules say where it may be later.
    pub only: Option<RegionId>,
}

/// What to do with a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Run it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Remove it.
    Delete,
}

/// A failover by hand.
#[derive(Clone, Debug, Default)]
pub struct FailoverRequest {
    /// The region to fail over.
    pub from: RegionId,
    /// Only to these, when not empty.
    pub to: Vec<RegionId>,
    /// Only VMs of at least this priority.
    pub min_priority: Option<Priority>,
    /// Highest time to wait.
    pub max_time_ms: Option<u64>,
    /// Move what fits even when not everything does.
    pub partial: bool,
    /// Only plan.
    pub dry_run: bool,
}

/// VMs of one region that are to move.
#[derive(Clone, Debug, Default)]
pub struct MigrateRequest {
    /// The region they live in.
    pub from: RegionId,
    /// Each with the region it is to run in, and the host there when it matters; their ids are drawn when it is carried out.
    pub vms: Vec<NewMigration>,
    /// For people: what is done, as in `migrate web to eu-west-1`.
    pub title: String,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// Create a VM, or say where it would go.
    CreateVm(Asked, Box<CreateVm>),
    /// Say where so many VMs like this one would go together; nothing is created.
    PreviewVms(Box<CreateVm>, u32),
    /// Change a VM.
    ChangeVm(Asked, VmId, Change),
    /// Say how a VM's disk is to be protected.
    Protect(Asked, ProtectionChange),
    /// Change a region's switches.
    ChangeRegion(Asked, RegionChange),
    /// Take a region in; its number is given then, and the node that is asked founds its group.
    AddRegion(Asked, Box<Region>),
    /// Let a region that comes in have replicas.
    ReplicateRegion(Asked, RegionId),
    /// Let an empty region that is switched off leave.
    RemoveRegion(Asked, RegionId),
    /// Have the hosts of a region that has left remove what they have of its node.
    CleanRegion(Asked, RegionId),
    /// Set what a region is like.
    ConfigureRegion(Asked, Box<RegionSettings>),
    /// A region's users reach it there, or no longer do.
    SetEndpoint(Asked, RegionId, PublicEndpoint, bool),
    /// So many controllers are to decide about placements in a region, its node's own among them.
    SetControllers(Asked, RegionId, u64),
    /// So many routers are to serve users in a region, the one of its own settings among them.
    SetRouters(Asked, RegionId, u64),
    /// Keep what monitoring writes down.
    ChangeDocuments(Asked, Box<DocumentChanges>),
    /// Announce a region's end.
    AnnounceDecommission(Asked, RegionId, Wall),
    /// Call it off.
    CancelDecommission(Asked, RegionId),
    /// Have a host that waits for its region measure itself.
    CheckPool(RegionId, HostId),
    /// Have a host of a region tell of its processes, counted for so long (ms); measured as well when that is asked for.
    CheckHost(RegionId, HostId, u64, bool),
    /// Replace the policy.
    SetPolicy(Asked, Policy),
    /// Set the freeze switch.
    SetFreeze(Asked, Freeze),
    /// Add a token.
    PutToken(Asked, Token),
    /// Revoke a token.
    RevokeToken(Asked, TokenId),
    /// Fail a region over.
    Failover(Asked, FailoverRequest),
    /// Plan a maintenance window.
    ScheduleWindow(Asked, Box<Window>),
    /// Call one off.
    CancelWindow(Asked, WindowId),
    /// Stop an operation.
    CancelOperation(Asked, OperationId),
    /// Put what a host has under a name in its image folder into the catalogue; without a host, what every host has that has
    /// anything under it.
    PublishImage(Asked, String, Option<(RegionId, HostId)>),
    /// Take an image out of the catalogue.
    RemoveImage(Asked, String),
    /// Read a VM's console.
    Console(VmId, u64),
    /// Ask a router of a region: where it would send somebody, what it sees; JSON.
    AskRouter(RegionId, String),
    /// Ask VMs' own probes; all when empty.
    Probe(Vec<VmId>),
    /// Move VMs of one region.
    Migrate(Asked, MigrateRequest),
    /// Empty a region, or one host of it.
    Drain(Asked, RegionId, Drain),
    /// Rehearse the failure of a region; it ends by itself after so many ms, 0: [`dwcp_state::Drill::UNATTENDED_MS`].
    BeginDrill(Asked, RegionId, DrillMode, u64),
    /// End a drill: what it made goes away.
    RestoreDrill(Asked, DrillId),
    /// What was counted of a drill's VMs.
    NoteDrill(Asked, DrillNews),
    /// Say how backups are made by themselves.
    ConfigureBackups(Asked, Box<BackupPlan>),
    /// Make or verify a backup.
    BeginBackup(Asked, Box<BackupRun>),
    /// A backup was made or verified, or was not.
    EndBackup(Asked, Box<BackupEnd>),
    /// After a restoration: somebody vouches that a host is off, and it is not waited for.
    WriteOffHost(Asked, RegionId, HostId),
    /// After a restoration: a VM that no host has starts again, or is forgotten.
    DecideMissing(Asked, VmId, bool),
    /// Call migrations of VMs off.
    CancelMigrations(Asked, Vec<VmId>),
    /// Look at a region from every other.
    CheckRegion(RegionId),
    /// Wait until the facts of a group here are as new as the request.
    Barrier(GroupId),
    /// Compare all replicas and read all stores back, or those of one region.
    /// What is not there within so many ms is reported as missing; 0: the usual time.
    VerifySync(Option<RegionId>, u64),
    /// Rebuild the replicas of regions, of all others when none is named, from those of the first; or only say what would be done.
    ForceSync(Asked, RegionId, Vec<RegionId>, bool),
    /// A program is there to upgrade regions to; its signature was verified.
    PublishRelease(Asked, Box<Release>),
    /// Give a region another program, or only say whether it could be.
    Upgrade(Asked, UpgradeRequest),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Facts are as asked.
    Done(GroupId, Receipt),
    /// Facts are as before.
    Refused(Refusal),
    /// Where a VM goes, or would go, and why. Without an outcome: nothing fits.
    Placed {
        /// The VM that was created; none in a dry run.
        created: Option<(VmId, GroupId, Box<Receipt>)>,
        /// Its place.
        placement: Option<Placement>,
        /// Why there.
        report: Box<PlaceReport>,
        /// Why nowhere.
        refusal: Option<Refusal>,
    },
    /// Where several VMs would go, one after the other; the report is of the first.
    Previewed(Vec<Result<Placement, Refusal>>, Box<PlaceReport>),
    /// What a failover would do.
    Plan(Box<FailoverPlan>),
    /// A piece of a console.
    Console {
        /// What was written.
        bytes: Vec<u8>,
        /// Where to go on.
        next_offset: u64,
    },
    /// What a router answered, JSON.
    RouterAnswered(String),
    /// Answers of VMs' own probes.
    Probed(Vec<ProbeResult>),
    /// A region as the others see it.
    Checked(RegionCheck),
    /// What a host says of itself; none when it did not answer.
    PoolChecked(Option<Box<PoolCheck>>),
    /// The facts are current.
    Current,
    /// What was found when replicas were compared and stores read back.
    Verified(Box<VerifyReport>),
    /// What a rebuild would do.
    SyncPlanned(Vec<PlannedStep>),
    /// The upgrade that would be begun.
    UpgradePlanned(Upgrade),
}

fn unheard_of() -> Refusal {
    Refusal::new(Code::NotReady, "this region has not heard of its federation yet")
        .then("it catches up as soon as a majority of regions is there")
}

impl Node {
    pub(super) fn take_request(&mut self, ticket: u64, request: Request) {
        if self.facts.core.regions.is_empty() {
            return self.refuse(ticket, unheard_of());
        }
        if let Some(refusal) = self.left_out().or_else(|| self.restoring(&request)) {
            self.refuse(ticket, refusal);
            return;
        }
        match request {
            Request::CreateVm(asked, create) => self.create_vm(ticket, asked, *create),
            Request::PreviewVms(create, count) => self.preview_vms(ticket, &create, count),
            Request::ChangeVm(asked, vm, change) => self.change_vm(ticket, &asked, vm, change),
            Request::Protect(asked, change) => self.protect_vm(ticket, &asked, change),
            Request::ChangeRegion(asked, change) => self.change_region(ticket, &asked, change),
            Request::AddRegion(..)
            | Request::ReplicateRegion(..)
            | Request::RemoveRegion(..)
            | Request::CleanRegion(..)
            | Request::ConfigureRegion(..)
            | Request::SetEndpoint(..)
            | Request::SetControllers(..)
            | Request::SetRouters(..)
            | Request::AnnounceDecommission(..)
            | Request::CancelDecommission(..) => self.take_region_request(ticket, request),
            Request::CheckPool(..) | Request::CheckHost(..) => self.take_check_request(ticket, request),
            Request::SetPolicy(asked, policy) => {
                self.ask_federation(ticket, &asked, Command::SetPolicy(policy))
            }
            Request::SetFreeze(asked, freeze) => {
                self.ask_federation(ticket, &asked, Command::SetFreeze(freeze))
            }
            Request::PutToken(asked, token) => self.ask_federation(ticket, &asked, Command::PutToken(token)),
            Request::RevokeToken(asked, id) => self.ask_federation(ticket, &asked, Command::RevokeToken(id)),
            Request::Failover(asked, request) => self.fail_over(ticket, &asked, request),
            Request::ScheduleWindow(asked, window) => self.schedule_window(ticket, &asked, *window),
            Request::CancelWindow(asked, id) => {
                self.ask_federation(ticket, &asked, Command::CancelWindow(id))
            }
            Request::CancelOperation(asked, id) => self.cancel(ticket, &asked, id),
            Request::PublishImage(asked, name, host) => {
                self.publish_image(ticket, asked, &name, host.as_ref())
            }
            Request::RemoveImage(asked, name) => self.remove_image(ticket, &asked, name),
            Request::Console(vm, offset) => self.ask_console(ticket, vm, offset),
            Request::AskRouter(region, text) => self.ask_router(ticket, &region, text),
            Request::Probe(vms) => self.ask_probes(ticket, &vms),
            Request::Migrate(asked, migrate) => self.migrate(ticket, &asked, migrate),
            Request::Drain(asked, region, drain) => self.begin_drain(ticket, &asked, &region, drain),
            Request::CancelMigrations(asked, vms) => self.cancel_migrations(ticket, &asked, &vms),
            Request::BeginDrill(asked, region, mode, ms) => {
                self.begin_drill(ticket, &asked, &region, (mode, ms))
            }
            Request::RestoreDrill(asked, id) => {
                self.ask_federation(ticket, &asked, Command::RestoreDrill(id))
            }
            Request::NoteDrill(asked, news) => self.ask_federation(ticket, &asked, Command::NoteDrill(news)),
            Request::WriteOffHost(asked, region, host) => self.write_off(ticket, &asked, &region, host),
            Request::DecideMissing(asked, vm, start) => self.decide_missing(ticket, &asked, vm, start),
            Request::CheckRegion(region) => self.check_region(ticket, &region),
            Request::Barrier(group) => self.ask_barrier(ticket, group),
            long @ (Request::VerifySync(..)
            | Request::ConfigureBackups(..)
            | Request::ChangeDocuments(..)
            | Request::BeginBackup(..)
            | Request::EndBackup(..)
            | Request::ForceSync(..)
            | Request::PublishRelease(..)
            | Request::Upgrade(..)) => self.take_long_work(ticket, long),
        }
    }

    /// What concerns the replicas, programs and backups of whole regions.
    fn take_long_work(&mut self, ticket: u64, request: Request) {
        match request {
            Request::VerifySync(region, within_ms) => self.verify_sync(ticket, region.as_ref(), within_ms),
            Request::ForceSync(asked, source, targets, dry_run) => {
                self.force_sync(ticket, asked, &source, &targets, dry_run)
            }
            Request::PublishRelease(asked, release) => self.publish_release(ticket, &asked, release),
            Request::Upgrade(asked, request) => self.upgrade(ticket, &asked, &request),
            Request::ConfigureBackups(asked, plan) => {
                self.ask_federation(ticket, &asked, Command::ConfigureBackups(plan))
            }
            Request::ChangeDocuments(asked, changes) => {
                self.ask_federation(ticket, &asked, Command::ChangeDocuments(changes))
            }
            Request::BeginBackup(asked, run) => self.ask_backup(ticket, &asked, *run),
            Request::EndBackup(asked, end) => self.ask_federation(ticket, &asked, Command::EndBackup(end)),
            // No other one is passed on.
            _ => {}
        }
    }

    /// What is asked about regions that come and go, and how they are.
    fn take_region_request(&mut self, ticket: u64, request: Request) {
        match request {
            Request::AddRegion(asked, region) => {
                let region = Region { founder: self.config.me, ..*region };
                self.ask_federation(ticket, &asked, Command::AddRegion(Box::new(region)));
            }
            Request::ReplicateRegion(asked, region) => {
                self.ask_federation(ticket, &asked, Command::ReplicateRegion(region))
            }
            Request::RemoveRegion(asked, region) => self.remove_region(ticket, &asked, region),
            Request::CleanRegion(asked, region) => {
                self.ask_federation(ticket, &asked, Command::CleanRegion(region))
            }
            Request::ConfigureRegion(asked, settings) => {
                self.ask_federation(ticket, &asked, Command::ConfigureRegion(settings))
            }
            Request::SetEndpoint(asked, region, endpoint, there) => {
                self.ask_federation(ticket, &asked, Command::SetEndpoint((region, (endpoint, there))))
            }
            Request::SetRouters(asked, region, count) => {
                self.ask_federation(ticket, &asked, Command::SetRouters((region, count)))
            }
            Request::SetControllers(asked, region, count) => {
                self.ask_federation(ticket, &asked, Command::SetControllers((region, count)))
            }
            Request::AnnounceDecommission(asked, region, at) => {
                self.ask_federation(ticket, &asked, Command::AnnounceDecommission((region, at)))
            }
            Request::CancelDecommission(asked, region) => {
                self.ask_federation(ticket, &asked, Command::CancelDecommission(region))
            }
            other => unreachable!("a request of another kind: {other:?}"),
        }
    }

    pub(super) fn reply(&mut self, ticket: u64, reply: Reply) {
        self.out.push(Effect::Reply { ticket, reply });
    }

    pub(super) fn refuse(&mut self, ticket: u64, refusal: Refusal) {
        self.reply(ticket, Reply::Refused(refusal));
    }

    pub(super) fn reply_outcome(&mut self, ticket: u64, outcome: Result<(GroupId, Outcome), Refusal>) {
        match outcome {
            Ok((group, Outcome::Accepted(receipt))) => self.reply(ticket, Reply::Done(group, receipt)),
            Ok((_, Outcome::Refused(refusal))) | Err(refusal) => self.refuse(ticket, refusal),
        }
    }

    pub(super) fn ask_federation(&mut self, ticket: u64, asked: &Asked, command: Command) {
        let envelope = self.envelope(asked, command);
        self.propose(0, envelope, Purpose::Answer(ticket));
    }

    fn change_region(&mut self, ticket: u64, asked: &Asked, change: RegionChange) {
        if self.facts.region(&change.region).is_none() {
            self.refuse(ticket, unknown_region(&change.region));
            return;
        }
        self.ask_federation(ticket, asked, Command::ChangeRegion(change));
    }

    fn remove_region(&mut self, ticket: u64, asked: &Asked, region: RegionId) {
        // What is not all here, after a replaced disk or behind a cut, looks as if nothing were left.
        if !self.all_current() {
            let what = format!("whether {region} is empty is not known here now");
            let refusal = Refusal::new(Code::NotReady, what)
                .because("the facts of some region are not all here, or not new")
                .then("nothing was changed");
            return self.refuse(ticket, refusal.try_this("dwcp-cli federation state lag-matrix"));
        }
        let left = self.facts.regions.get(&region).and_then(|facts| facts.left());
        let awaits = |(_, facts): &(&RegionId, &RegionFacts)| facts.waits_for(&region);
        let other = self.facts.regions.iter().filter(|(name, _)| **name != region).find(awaits);
        let left = left.or(other.map(|(other, _)| format!("VMs or disks move between it and {other}")));
        if let Some(left) = left {
            let refusal = Refusal::new(Code::WrongState, format!("{region} is not empty")).because(left);
            let drain = format!("dwcp-cli federation region drain --region {region} --timeout 5m");
            return self.refuse(ticket, refusal.then("nothing was changed").try_this(drain));
        }
        self.ask_federation(ticket, asked, Command::RemoveRegion(region));
    }

    /// An operation of this kind, begun now.
    pub(super) fn operation(
        &mut self,
        asked: &Asked,
        kind: OperationKind,
        title: String,
        region: &RegionId,
    ) -> Operation {
        Operation {
            id: OperationId(self.rng.next_u64()),
            kind,
            title,
            region: region.clone(),
            by: asked.by.clone(),
            started_at: self.now.wall,
            ..Operation::default()
        }
    }

    fn change_vm(&mut self, ticket: u64, asked: &Asked, id: VmId, change: Change) {
        if self.facts.core.freeze == Freeze::Frozen {
            let refusal = Refusal::new(Code::Frozen, "no VM is changed: the federation is frozen");
            self.refuse(ticket, refusal.try_this("dwcp-cli federation freeze active"));
            return;
        }
        let Some((region, vm)) = self.facts.vm(id) else {
            let refusal = Refusal::new(Code::UnknownVm, format!("no VM {id}")).try_this("dwcp-cli vm list");
            self.refuse(ticket, refusal);
            return;
        };
        let (region, name) = (region.clone(), vm.name.clone());
        let Some(group) = self.facts.group_of(&region) else { return };
        let (want, verb) = match change {
            Change::Start => (Want::Running, "start"),
            Change::Stop => (Want::Stopped, "stop"),
            Change::Delete => (Want::Deleted, "delete"),
            Change::Restart => (Want::Running, "restart"),
        };
        let operation =
            self.operation(asked, OperationKind::ChangeVms(vec![id]), format!("{verb} VM {name}"), &region);
        let command = match change {
            Change::Restart => Command::RestartVm((id, operation)),
            _ => Command::SetWant((id, (want, operation))),
        };
        let envelope = self.envelope(asked, command);
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    fn fail_over(&mut self, ticket: u64, asked: &Asked, request: FailoverRequest) {
        let Some(record) = self.facts.region(&request.from) else {
            self.refuse(ticket, unknown_region(&request.from));
            return;
        };
        if let Some(unknown) = request.to.iter().find(|region| self.facts.region(region).is_none()) {
            self.refuse(ticket, unknown_region(&unknown.clone()));
            return;
        }
        if request.to.contains(&request.from) {
            let refusal = Refusal::new(Code::BadValue, format!("{} can't fail over to itself", request.from));
            self.refuse(ticket, refusal);
            return;
        }
        let (epoch, lost) = (record.epoch, record.standing == Standing::Lost);
        let limits = FailoverLimits {
            to: request.to.clone(),
            min_priority: request.min_priority,
            partial: request.partial,
            ..FailoverLimits::default()
        };
        let plan = dwcp_decide::plan_failover(&self.facts, &self.measured(), &request.from, &limits);
        if request.dry_run {
            self.reply(ticket, Reply::Plan(Box::new(plan)));
            return;
        }
        let joins = self.facts.core.running_failover(&request.from).is_some();
        if plan.left > 0 && !request.partial && !joins && !lost {
            self.refuse(ticket, left_behind(&request.from, &plan));
            return;
        }
        let failover = Failover {
            operation: OperationId(self.rng.next_u64()),
            from: request.from,
            to: request.to,
            trigger: Trigger::Manual,
            min_priority: request.min_priority.unwrap_or(Priority(0)),
            max_time_ms: request.max_time_ms,
            partial: request.partial,
            by: asked.by.clone(),
            first_missed_at: self.now.wall,
            phases: vec![PhaseSpan {
                name: PhaseName::Detect,
                started_at: self.now.wall,
                ended_at: self.now.wall,
            }],
            ..Failover::default()
        };
        self.ask_federation(ticket, asked, Command::DeclareLost((Box::new(failover), epoch)));
    }

    fn cancel(&mut self, ticket: u64, asked: &Asked, id: OperationId) {
        // Its group decides: whether a VM was given a place by then is not known here for sure.
        if let Some(Operation { kind: OperationKind::Failover(failover), .. }) =
            self.facts.core.operations.get(&id)
        {
            self.ask_federation(ticket, asked, Command::CancelFailover(*failover));
            return;
        }
        let sync = self.facts.core.syncs().find(|(operation, _)| operation.id == id);
        if let Some(operation) = sync.map(|(operation, _)| operation.clone()) {
            self.cancel_sync(ticket, asked, &operation);
            return;
        }
        if self.facts.core.upgrades().any(|(operation, _)| operation.id == id) {
            self.cancel_upgrade(ticket, asked, id);
            return;
        }
        if let Some(Operation { kind: OperationKind::Backup(run), .. }) = self.facts.core.operations.get(&id)
        {
            let (run, state) = (*run, dwcp_state::OperationState::Cancelled);
            let result = format!("cancelled by {}; what was begun may still be made", asked.by);
            let end = BackupEnd { run, state, result, ..BackupEnd::default() };
            self.ask_federation(ticket, asked, Command::EndBackup(Box::new(end)));
            return;
        }
        let found = self.facts.regions.values().find(|facts| facts.operations.contains_key(&id));
        let Some(group) = found.map(|facts| facts.number) else {
            let refusal = Refusal::new(Code::UnknownOperation, format!("no operation {id}"));
            self.refuse(ticket, refusal.try_this("dwcp-cli operation list"));
            return;
        };
        let end = (dwcp_state::OperationState::Cancelled, format!("cancelled by {}", asked.by));
        let envelope = self.envelope(asked, Command::EndOperation((id, end)));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    /// Whether a VM would go anywhere now.
    pub(super) fn fits(&mut self, request: &PlaceRequest) -> bool {
        self.reserved.drop_settled(&self.facts);
        self.index.set_now(self.now.mono);
        let measured = self.measured_lately();
        dwcp_decide::fits(&self.facts, &mut self.index, &measured, &self.reserved, request)
    }

    /// Decides where a VM would go now.
    pub(super) fn place(
        &mut self,
        request: &PlaceRequest,
        explain: bool,
    ) -> (Result<Placement, Refusal>, PlaceReport) {
        self.reserved.drop_settled(&self.facts);
        self.index.set_now(self.now.mono);
        let measured = self.measured_lately();
        let (index, workers) = (&mut self.index, &*self.workers);
        dwcp_decide::place(&self.facts, index, &measured, &self.reserved, request, explain, workers)
    }
}

fn left_behind(from: &RegionId, plan: &FailoverPlan) -> Refusal {
    let mut refusal = Refusal::new(Code::FailoverRefused, format!("{from} can't be failed over completely"))
        .because(format!("{} of {} VMs have no place elsewhere", plan.left, plan.moves.len()));
    for step in plan.moves.iter().filter(|step| step.to.is_none()).take(3) {
        refusal = refusal.because(format!("{}: {}", step.name, step.reason));
    }
    refusal
        .try_this(format!("dwcp-cli federation failover --from-region {from} --relax partial"))
        .try_this(format!("dwcp-cli federation failover --from-region {from} --dry-run"))
}

pub(super) fn unknown_region(region: &RegionId) -> Refusal {
    Refusal::new(Code::UnknownRegion, format!("no region {region}"))
        .try_this("dwcp-cli federation status --global")
}

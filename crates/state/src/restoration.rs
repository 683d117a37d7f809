//! A control plane that was lost as a whole and came back from a backup: what its facts begin from, and what its hosts say
//! that they have. `docs/decisions/2026-11-28-restoring-a-lost-control-plane.md` is the argument.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{Generation, GroupId, HostId, NodeId, RegionId, Revision, VmId, Wall};

use crate::{
    Core, Departure, DrillState, Event, Facts, FailoverState, HostStanding, MigrationState, MoveState,
    Operation, OperationState, RegionFacts, Severity, Standing, Vm, Want,
};

/// Numbers of the log that are left free behind those of the backup, when its clock was ahead of the restoration's.
const GAP: u64 = 1 << 20;

/// Of what, and when, the facts were restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Names it: the moment of it, ms since 1970. The groups' terms begin here, and generations given out since are above: an
    /// earlier term counts elections, and an earlier generation starts, or each is an earlier such moment and what was
    /// counted since; and neither comes once a millisecond.
    pub id: u64,
    /// The backup's number in its chain.
    pub backup: u64,
    /// The digest of its records.
    pub digest: String,
    /// What was acknowledged after this is not in it.
    pub taken_at: Wall,
}

/// A VM as the host that has it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its settings as its host was last told them, and the generation that the host has.
    pub vm: Vm,
    /// What was last wanted of it; none: the host's agent has started anew since.
    pub want: Option<Want>,
    /// It runs, and has done so without a break: its host's lease has not run out.
    pub runs: bool,
    /// It had left for another region, and only its disk is kept.
    pub left: bool,
    /// It was coming from another host.
    pub arriving: Option<Arriving>,
}

/// Where a VM was coming from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arriving {
    /// The region.
    pub from: RegionId,
    /// The host.
    pub host: HostId,
    /// Everything of it is here, and that is noted for good.
    pub whole: bool,
}

/// What became of a VM when it was adopted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdoptedAs {
    /// It is where the backup has it, as the backup has it.
    #[default]
    Unchanged,
    /// It had changed since the backup: how.
    Changed(String),
    /// The backup does not have it.
    Unknown,
    /// Its host is not waited for: it is taken for lost with it.
    WithLostHost,
    /// No host had it, and an operator said that it is to start again.
    Restarted,
    /// No host had it, and an operator said that it is to be forgotten.
    Forgotten,
}

/// A VM that is adopted, with its record from now on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdoptedVm {
    /// Its record.
    pub vm: Vm,
    /// As what.
    pub how: AdoptedAs,
}

/// What is decided about one VM, in one region.
#[derive(Clone, Debug, PartialEq)]
pub enum Adopting {
    /// It is this region's.
    Place(Box<AdoptedVm>),
    /// It is another region's.
    Give((VmId, RegionId)),
    /// No host has it.
    Miss(VmId),
}

impl Default for Adopting {
    fn default() -> Self {
        Adopting::Miss(VmId(0))
    }
}

/// What an operator says about a VM that no host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingChoice {
    /// Which.
    pub vm: VmId,
    /// It starts there, with a new disk of its image; none: it is forgotten.
    pub start: Option<HostId>,
}

/// How far a region has adopted what its hosts have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adoption {
    /// The restoration.
    pub restoration: u64,
    /// What the hosts said that were heard in time. From `closed` on it never changes until every region is done.
    pub found: BTreeMap<HostId, Vec<Held>>,
    /// What hosts said that came later, until it is decided.
    pub late: BTreeMap<HostId, Vec<Held>>,
    /// Hosts that an operator has said are not to be waited for.
    pub written_off: BTreeSet<HostId>,
    /// Nothing is waited for any longer.
    pub closed: bool,
    /// When everything was adopted.
    pub done_at: Option<Wall>,
    /// VMs that were here in the backup and are another region's.
    pub given: BTreeMap<VmId, Vm>,
    /// VMs that no host has.
    pub missing: BTreeMap<VmId, Vm>,
    /// What became of each VM that was adopted here.
    pub adopted: BTreeMap<VmId, AdoptedAs>,
}

impl Adoption {
    /// True when intents and leases may be given to this host: what it has is decided.
    pub fn serves(&self, host: &HostId) -> bool {
        self.done_at.is_some() && self.found.contains_key(host)
    }
}

impl RegionFacts {
    /// True until what the region's hosts had is decided.
    pub fn is_adopting(&self) -> bool {
        self.adoption.as_ref().is_some_and(|adoption| adoption.done_at.is_none())
    }

    /// True when this host may be told what to run.
    pub fn serves(&self, host: &HostId) -> bool {
        self.adoption.as_ref().is_none_or(|adoption| adoption.serves(host))
    }

    /// Hosts that are waited for.
    pub fn awaited(&self) -> impl Iterator<Item = &HostId> {
        let adoption = self.adoption.as_ref().filter(|adoption| !adoption.closed);
        adoption.into_iter().flat_map(|adoption| {
            let heard =
                |host: &HostId| adoption.found.contains_key(host) || adoption.written_off.contains(host);
            self.hosts.keys().filter(move |host| !heard(host))
        })
    }
}

impl Restoration {
    /// Where the log of a group goes on that was at this revision in the backup.
    pub fn index(&self, revision: Revision) -> Revision {
        Revision(self.id.max(revision.0 + GAP))
    }

    fn event(&self, revision: Revision, kind: &str, subject: impl ToString, text: String) -> Event {
        Event {
            revision,
            at: Wall(self.id),
            severity: Severity::Critical,
            kind: kind.to_string(),
            subject: subject.to_string(),
            text,
            by: "dwcpd restore".to_string(),
            ..Event::default()
        }
    }

    fn end_operations<'a>(&self, operations: impl Iterator<Item = &'a mut Operation>, revision: Revision) {
        for operation in operations.filter(|of| of.state == OperationState::Running) {
            operation.state = OperationState::Failed;
            operation.result =
                "the control plane was lost while it ran, and restored from a backup".to_string();
            operation.ended_at = Some(Wall(self.id));
            operation.revision = revision;
        }
    }
}

/// The facts of a backup of all groups as a restored control plane begins from them: what was under way has ended, and of VMs
/// nothing is taken for granted.
pub fn restored(groups: BTreeMap<GroupId, Facts>, restoration: &Restoration) -> BTreeMap<GroupId, Facts> {
    let mut owned: BTreeMap<VmId, Generation> = BTreeMap::new();
    for facts in groups.values() {
        let Facts::Region(facts) = facts else { continue };
        for vm in facts.vms.values() {
            let newest = owned.entry(vm.id).or_default();
            *newest = vm.generation.max(*newest);
        }
    }
    let begin = |facts: Facts| match facts {
        Facts::Core(core) => Facts::Core(Box::new(core.restored(restoration))),
        Facts::Region(facts) => Facts::Region(Box::new(facts.restored(restoration, &owned))),
    };
    groups.into_iter().map(|(group, facts)| (group, begin(facts))).collect()
}

impl Facts {
    /// Position in the group's log.
    pub fn revision(&self) -> Revision {
        match self {
            Facts::Core(core) => core.revision,
            Facts::Region(facts) => facts.revision,
        }
    }
}

impl Core {
    /// Who votes in the groups of a restored control plane, and who learns: as many as a federation is founded with.
    pub fn founders(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let holding = self.regions.values().filter(|region| region.holds_replicas() && !region.unfounded);
        let mut nodes: Vec<NodeId> = holding.map(|region| region.number).collect();
        nodes.sort_unstable();
        let learners = nodes.split_off(nodes.len().min(5));
        (nodes, learners)
    }

    /// The groups that there are: the federation's own, and each region's.
    pub fn groups(&self) -> Vec<GroupId> {
        let regions = self.regions.values().filter(|region| !region.unfounded).map(|region| region.number);
        std::iter::once(crate::FEDERATION_GROUP).chain(regions).collect()
    }

    fn restored(mut self, restoration: &Restoration) -> Core {
        let at = Wall(restoration.id);
        self.revision = restoration.index(self.revision);
        restoration.end_operations(self.operations.values_mut(), self.revision);
        for failover in self.failovers.values_mut().filter(|of| of.state == FailoverState::Running) {
            failover.state = FailoverState::Partial;
            failover.ended_at = Some(at);
            for vm in failover.vms.iter_mut().filter(|vm| vm.state == MoveState::Waiting) {
                vm.state = MoveState::Failed;
                vm.reason = "the control plane was lost meanwhile".to_string();
            }
        }
        for drill in self.drills.values_mut().filter(|drill| drill.is_open()) {
            if drill.state == DrillState::Running {
                drill.state = DrillState::Done;
            }
            drill.restoring_since.get_or_insert(at);
        }
        for run in self.backups.runs.values_mut().filter(|run| run.state == OperationState::Running) {
            run.state = OperationState::Failed;
            run.result = "the control plane was lost while it ran".to_string();
            run.ended_at = Some(at);
        }
        // A region that was lost is heard or not heard anew; if it has VMs then, its loss is declared anew.
        for region in self.regions.values_mut().filter(|region| region.standing == Standing::Lost) {
            region.standing = Standing::Returned;
            region.standing_since = at;
            region.revision = self.revision;
        }
        let text = format!(
            "the control plane is restored from backup {} of {}: what was acknowledged after that is lost",
            restoration.backup,
            restoration.taken_at.utc()
        );
        self.ledger.note(restoration.event(self.revision, "federation.restored", &self.name, text));
        self.restoration = Some(restoration.clone());
        self
    }
}

impl RegionFacts {
    /// `owned`: the VMs that any region had, with their newest generation.
    fn restored(mut self, restoration: &Restoration, owned: &BTreeMap<VmId, Generation>) -> RegionFacts {
        let at = Wall(restoration.id);
        self.revision = restoration.index(self.revision);
        restoration.end_operations(self.operations.values_mut(), self.revision);
        for (_, mut migration) in std::mem::take(&mut self.migrations) {
            migration.state = MigrationState::Lost;
            migration.ended_at = Some(at);
            migration.reason = "the control plane was lost meanwhile".to_string();
            self.migrated.push_back(migration);
        }
        // What was on its way is where it was, unless it had come to another region, or a host says otherwise.
        for (id, Departure { vm, .. }) in std::mem::take(&mut self.departures) {
            match owned.get(&id) {
                Some(newest) if *newest >= vm.generation => self.bar(&vm, vm.generation),
                _ => {
                    self.vms.insert(id, vm);
                }
            }
        }
        self.arrivals.clear();
        self.declined.clear();
        self.evacuated = self.evacuated.max(self.evacuation.take().unwrap_or(0));
        for host in self.hosts.values_mut() {
            host.standing = HostStanding::Lost;
            host.standing_since = at;
            host.used = Default::default();
        }
        let placed = self.vms.values().map(|vm| (&vm.host, vm.spec.size));
        let copies = self.replicas.values().map(|replica| (&replica.host, replica.room()));
        for (host, size) in placed.chain(copies) {
            if let Some(host) = self.hosts.get_mut(host) {
                host.used = host.used.plus(size);
            }
        }
        self.adoption = Some(Box::new(Adoption { restoration: restoration.id, ..Adoption::default() }));
        self.reindex();
        self
    }
}

//! The federation's facts. Applying a committed command is the only way they change.
//!
//! One [`Federation`] holds what this replica knows of every group: the federation's own facts ([`Core`]) and each
//! region's ([`RegionFacts`]). Groups are independent logs that replicas apply at their own pace, so applying a command of
//! one group reads and writes that group's facts only; otherwise two replicas could disagree.
//!
//! What is durable: what people want (policy), what was chosen (intent, with generations), what agents concluded
//! (phases, addresses; never measurements). Time comes in with the command, as the proposer's wall clock.

mod adoption;
mod apply_adoption;
mod apply_backup;
mod apply_cancel;
mod apply_core;
mod apply_document;
mod apply_drill;
mod apply_handoff;
mod apply_image;
mod apply_maintenance;
mod apply_members;
mod apply_migration;
mod apply_protection;
mod apply_region;
mod apply_site;
mod apply_sync;
mod apply_upgrade;
mod backup;
mod check;
mod command;
mod core_facts;
mod crossing;
mod digest;
mod document;
mod drill;
mod encoding;
mod expected;
mod failover;
mod fate;
mod force_sync;
mod host;
mod image;
mod index;
mod ledger;
mod maintenance;
mod migration;
mod operation;
mod pieces;
mod policy;
mod protection;
mod reading;
mod region_facts;
mod restoration;
mod site;
mod token;
mod unbar;
mod upgrade;
mod vm;

use std::collections::BTreeMap;

pub use backup::{BackupEnd, BackupMark, BackupPlace, BackupPlan, BackupRun, BackupTask, Backups};
pub use check::Flaw;
pub use command::{
    Admission, ClaimRequest, Command, Departing, Envelope, GuardNews, HostMove, NewVm, Observation, Outcome,
    ProtectionChange, Receipt, RegionChange, ReplicaChoice, ReplicaLocation, Switch,
};
pub use core_facts::{Core, Lifecycle, Prices, Region, Standing};
pub use digest::{Children, Digest, Tree};
pub use document::{Document, DocumentChange, DocumentChanges, DocumentEvent, DocumentKey, DocumentKind};
pub use drill::{
    Drill, DrillLoss, DrillMark, DrillMode, DrillMoment, DrillNews, DrillState, DrillTime, DrillVm,
    DrillVmState,
};
pub use expected::expect_revision;
pub use failover::{Failover, FailoverState, FailoverVm, MoveState, PhaseName, PhaseSpan, Trigger};
pub use fate::Fate;
pub use force_sync::{ForceSync, RebuildState, RebuildStep};
pub use host::{Host, HostFacts, HostStanding};
pub use image::{Image, ImageFault};
pub use index::Index;
pub use ledger::{Event, Ledger, Severity};
pub use maintenance::{Notice, Window};
pub use migration::{Aim, Arrival, Migration, MigrationState, Mode, NewMigration, Stopping, Took};
pub use operation::{Drain, Operation, OperationKind, OperationState};
pub use pieces::{Facts, Piece};
pub use policy::{Freeze, Policy, Profile, Weights};
pub use protection::{DiskProof, Guard, GuardState, OnReplicaLoss, Protection, ProtectionMode, Replica};
pub use reading::{FieldChange, Reading};
pub use region_facts::{Departure, RegionFacts};
pub use restoration::{
    AdoptedAs, AdoptedVm, Adopting, Adoption, Arriving, Held, MissingChoice, Restoration, restored,
};
pub use site::{Coordinates, Decommission, PublicEndpoint, RegionSettings, Reminder, Site};
pub use token::{Role, Token};
pub use unbar::looked_at;
pub use upgrade::{Release, Upgrade, UpgradeStep};
pub use vm::{Health, Network, Observed, Phase, Probe, Relation, Rules, Scope, Target, Vm, VmSpec, Want};

use dwcp_types::{DecodeError, GroupId, HostId, RegionId, Revision, VmId};

/// The group of the federation's own facts.
pub const FEDERATION_GROUP: GroupId = 0;

/// What this replica knows of every group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Federation {
    /// The federation's own facts.
    pub core: Core,
    /// Each region's facts, by region; present from the moment its group is opened here.
    pub regions: BTreeMap<RegionId, RegionFacts>,
    names: BTreeMap<GroupId, RegionId>,
}

impl Federation {
    /// Makes room for the facts of a region's group.
    pub fn open_group(&mut self, group: GroupId, region: &RegionId) {
        self.names.insert(group, region.clone());
        self.regions.entry(region.clone()).or_insert_with(|| RegionFacts {
            name: region.clone(),
            number: group,
            ..RegionFacts::default()
        });
    }

    /// Forgets the facts of a region's group.
    pub fn close_group(&mut self, group: GroupId) {
        if let Some(region) = self.names.remove(&group) {
            self.regions.remove(&region);
        }
    }

    /// The region of a group; none for the federation's own.
    pub fn region_of(&self, group: GroupId) -> Option<&RegionId> {
        self.names.get(&group)
    }

    /// The group of a region.
    pub fn group_of(&self, region: &RegionId) -> Option<GroupId> {
        self.regions.get(region).map(|facts| facts.number)
    }

    /// Revision of a group's facts.
    pub fn revision(&self, group: GroupId) -> Revision {
        if group == FEDERATION_GROUP {
            return self.core.revision;
        }
        self.names
            .get(&group)
            .and_then(|name| self.regions.get(name))
            .map_or(Revision(0), |facts| facts.revision)
    }

    /// Applies a committed command. A command applied before (same request id) changes nothing and answers as then.
    pub fn apply(&mut self, group: GroupId, revision: Revision, envelope: &Envelope) -> Outcome {
        if group == FEDERATION_GROUP {
            return self.core.apply(revision, envelope);
        }
        let Some(facts) = self.names.get(&group).and_then(|name| self.regions.get_mut(name)) else {
            panic!("a command for group {group}, which was never opened");
        };
        facts.apply(revision, envelope)
    }

    /// The byte form of one group's facts.
    pub fn snapshot(&self, group: GroupId) -> Vec<u8> {
        match self.region_of(group) {
            Some(name) => encoding::encode_region(&self.regions[name]),
            None => encoding::encode_core(&self.core),
        }
    }

    /// The byte form of one group's facts for a process that may know no secret: without what tokens are compared with. Commands
    /// change it as they change the facts themselves.
    pub fn open_snapshot(&self, group: GroupId) -> Vec<u8> {
        match self.region_of(group) {
            Some(name) => encoding::encode_region(&self.regions[name]),
            None => {
                let mut core = self.core.clone();
                core.tokens.values_mut().for_each(Token::forget_secret);
                encoding::encode_core(&core)
            }
        }
    }

    /// Replaces one group's facts by those of a snapshot.
    pub fn restore(&mut self, group: GroupId, bytes: &[u8]) -> Result<(), DecodeError> {
        match self.names.get(&group) {
            Some(name) => {
                let facts = encoding::decode_region(bytes)?;
                self.regions.insert(name.clone(), facts);
            }
            None => self.core = encoding::decode_core(bytes)?,
        }
        Ok(())
    }

    /// A copy of what placement and failover read: policy, regions, hosts, VMs and those on their way. Without ledgers,
    /// tokens, operations, failovers and claims, so that it can be looked at elsewhere for as long as that takes.
    pub fn for_placement(&self) -> Federation {
        let core = Core {
            revision: self.core.revision,
            name: self.core.name.clone(),
            regions: self.core.regions.clone(),
            policy: self.core.policy.clone(),
            freeze: self.core.freeze,
            windows: self.core.windows.clone(),
            ..Core::default()
        };
        let regions =
            self.regions.iter().map(|(name, facts)| (name.clone(), facts.for_placement())).collect();
        Federation { core, regions, names: self.names.clone() }
    }

    /// Takes VMs out of a copy, with the room that they take: the facts as if they had never been created.
    pub fn leave_out(&mut self, vms: &[VmId]) {
        self.regions.values_mut().for_each(|facts| facts.leave_out(vms));
    }

    /// Puts a VM of a copy onto another host, with the room that it takes: the facts as if it lived there. Nothing happens when
    /// there is no such VM or region.
    pub fn relocate(&mut self, vm: VmId, region: &RegionId, host: &HostId) {
        let Some((_, found)) = self.vm(vm) else { return };
        let moved = Vm { host: host.clone(), ..found.clone() };
        if self.regions.contains_key(region) {
            self.leave_out(&[vm]);
            self.regions.entry(region.clone()).and_modify(|facts| facts.take_in(moved));
        }
    }

    /// Every VM with the region it lives in, by region, then id.
    pub fn vms(&self) -> impl Iterator<Item = (&RegionId, &Vm)> {
        self.regions.iter().flat_map(|(name, facts)| facts.vms.values().map(move |vm| (name, vm)))
    }

    /// Finds a VM and the region it lives in.
    pub fn vm(&self, id: VmId) -> Option<(&RegionId, &Vm)> {
        self.regions.iter().find_map(|(name, facts)| facts.vms.get(&id).map(|vm| (name, vm)))
    }

    /// The region's record in the federation's facts.
    pub fn region(&self, name: &RegionId) -> Option<&Region> {
        self.core.regions.get(name)
    }
}

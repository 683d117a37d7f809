//! One region's facts: its hosts, and the VMs that live in it.

use std::collections::{BTreeMap, VecDeque};

use dwcp_types::{FailoverId, Generation, GroupId, HostId, OperationId, RegionId, Revision, VmId, Wall};

use crate::migration::{Arrival, Migration};
use crate::{Adoption, Host, Index, Ledger, Operation, Policy, Replica, Vm};

/// A VM on its way to another region. Its record is kept here until the other region has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// The record as it left, with the generation it will have there.
    pub vm: Vm,
    /// The region that is to take it.
    pub to: RegionId,
    /// The host that was planned.
    pub host: Option<HostId>,
    /// Under which failover.
    pub failover: Option<FailoverId>,
    /// When it left.
    pub at: Wall,
}

/// One region's facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionFacts {
    /// Position in its log.
    pub revision: Revision,
    /// Its name.
    pub name: RegionId,
    /// Its number.
    pub number: GroupId,
    /// Its hosts.
    pub hosts: BTreeMap<HostId, Host>,
    /// The VMs that live here.
    pub vms: BTreeMap<VmId, Vm>,
    /// VMs on their way elsewhere.
    pub departures: BTreeMap<VmId, Departure>,
    /// Newest generation of a VM that this region has let go of: nothing up to it is ever admitted. Kept while anything can
    /// still refer to it; see `unbar`.
    pub tombstones: BTreeMap<VmId, Generation>,
    /// Generation of a VM that this region refused to take, and why: nothing up to it is ever admitted. Kept as long.
    pub declined: BTreeMap<VmId, (Generation, String)>,
    /// Idempotency keys bound to a group: (digest of the request, (attempt, group)).
    pub claims: BTreeMap<String, (u64, (u64, GroupId))>,
    /// Claimed keys, oldest first.
    pub claim_order: VecDeque<String>,
    /// Set while the region is being evacuated, to the epoch of its loss: no lease is granted.
    pub evacuation: Option<u64>,
    /// The newest evacuation epoch that has ended.
    pub evacuated: u64,
    /// The overcommit limits that this group enforces (percent of virtual CPUs, percent of memory).
    pub overcommit: (u32, u32),
    /// Operations on VMs of this region.
    pub operations: BTreeMap<OperationId, Operation>,
    /// Events and remembered requests.
    pub ledger: Ledger,
    /// When the VMs of the tombstones were created.
    pub born: BTreeMap<VmId, Wall>,
    /// The newest facts of each other region that an arrival, a refusal or a dropped bar here was decided on: what is decided
    /// on older ones does not count.
    pub horizons: BTreeMap<RegionId, Revision>,
    /// The newest creation of a VM whose tombstone was dropped: what was asked for until then is not created any more.
    pub unbarred_born: Wall,
    /// VMs of this region that are moving, or are to.
    pub migrations: BTreeMap<VmId, Migration>,
    /// Migrations that ended, newest last.
    pub migrated: VecDeque<Migration>,
    /// VMs that are moving to here.
    pub arrivals: BTreeMap<VmId, Arrival>,
    /// Copies of other regions' VMs that are kept here.
    pub replicas: BTreeMap<VmId, Replica>,
    /// Copies that were asked for and can't be kept here: (epoch, why).
    pub replicas_declined: BTreeMap<VmId, (u64, String)>,
    /// The region leaves the federation: nothing comes here any more.
    pub closed: bool,
    /// The control plane was restored from a backup: how far what the hosts have is adopted.
    pub adoption: Option<Box<Adoption>>,
    /// Look-ups derived from the above; kept by `apply`, never encoded.
    pub index: Index,
}

impl RegionFacts {
    /// Claims kept.
    pub const CLAIMS_KEPT: usize = 16_384;
    /// Ended operations kept.
    pub const OPERATIONS_KEPT: usize = 1_000;
    /// Refusals to keep a copy that are remembered.
    pub const REPLICAS_DECLINED_KEPT: usize = 10_000;

    /// Limits of overcommit; the policy's defaults until told otherwise.
    pub fn limits(&self) -> (u32, u32) {
        if self.overcommit == (0, 0) {
            let policy = Policy::default();
            return (policy.cpu_overcommit_percent, policy.memory_overcommit_percent);
        }
        self.overcommit
    }
}

//! VMs that move while they run, one by one or all of a region or a host.

use crate::operation::Operation;
use crate::{Freshness, Page};

endpoint! {
    #[doc = "Moves VMs to other hosts or regions while they run."]
    MigrateStart: Post "/v1/migrations", Operate, MigrateRequest => MovesStarted;
    #[doc = "Lists migrations: those that wait or run, then those that ended, newest first; and VMs that failovers moved."]
    MigrationList: Get "/v1/migrations", Read, MigrationListRequest => Page<Migration>, watch;
    #[doc = "Calls migrations off; a VM that has not moved yet stays where it is."]
    MigrationCancel: Post "/v1/migrations/cancel", Operate, MigrationCancelRequest => MigrationCancelled;
    #[doc = "Empties a region: moves every VM by its rules, until a time is over."]
    RegionDrain: Post "/v1/regions/{region}/drain", Operate, RegionDrainRequest => MovesStarted;
    #[doc = "Empties a host: within its region if there is room, else to others."]
    HostDrain: Post "/v1/hosts/{host}/drain", Operate, HostDrainRequest => MovesStarted;
    #[doc = "Brings the VMs home that were created in a region and live elsewhere."]
    RegionFailback: Post "/v1/regions/{region}/failback", Operate, FailbackRequest => MovesStarted;
    #[doc = "Moves VMs so that the hosts of a region, or the regions, are about equally full."]
    Rebalance: Post "/v1/rebalance", Operate, RebalanceRequest => MovesStarted;
}

request! {
    /// VMs to move: `vms`, or those that `label` names, or all of region `from`.
    pub struct MigrateRequest {
        /// Names or ids.
        #[serde(default)]
        pub vms: Vec<String>,
        /// `key=value`: every VM that carries the label.
        pub label: Option<String>,
        /// A region; alone: all of its VMs. With `label`: only those that live there.
        pub from: Option<String>,
        /// Regions to go to; empty: the best by the VM's rules. The VM's own region means another host there.
        #[serde(default)]
        pub to: Vec<String>,
        /// A host of the one region named in `to`.
        pub to_host: Option<String>,
        /// Stop them here and boot them there.
        #[serde(default)]
        pub cold: bool,
        /// Longest time that a guest may stand still at the switch, ms; without it 300.
        pub max_downtime_ms: Option<u64>,
        pub reason: Option<String>,
        /// Only plan.
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which migrations to list.
    pub struct MigrationListRequest {
        /// Only VMs that leave this region.
        pub source: Option<String>,
        /// Only VMs that go to this region.
        pub target: Option<String>,
        /// Only this VM, by name or id.
        pub vm: Option<String>,
        /// Only those that wait or run.
        #[serde(default)]
        pub open: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Whose migrations to call off.
    pub struct MigrationCancelRequest {
        /// Names or ids.
        pub vms: Vec<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region to empty.
    pub struct RegionDrainRequest {
        pub region: String,
        /// What has not moved by then stays, ms; without it 600000.
        pub timeout_ms: Option<u64>,
        /// Only to these regions, when not empty.
        #[serde(default)]
        pub to: Vec<String>,
        #[serde(default)]
        pub cold: bool,
        pub max_downtime_ms: Option<u64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A host to empty: by name, or `region/name`.
    pub struct HostDrainRequest {
        pub host: String,
        /// What has not moved by then stays, ms; without it 600000.
        pub timeout_ms: Option<u64>,
        #[serde(default)]
        pub cold: bool,
        pub max_downtime_ms: Option<u64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region whose VMs are to come home.
    pub struct FailbackRequest {
        pub region: String,
        /// How long the region must have been back without a fault, ms; without it 60000.
        pub stable_ms: Option<u64>,
        pub max_downtime_ms: Option<u64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// What to even out.
    pub struct RebalanceRequest {
        /// The hosts of this region; without it the regions.
        pub region: Option<String>,
        /// Most VMs to move, 1 to 10000; without it 10.
        pub max_moves: Option<u32>,
        /// Most memory and disk to move together, MiB; without it as much as those VMs have.
        pub max_mib: Option<u64>,
        /// VMs that have moved within this time stay, ms; without it 1800000.
        pub rest_ms: Option<u64>,
        pub max_downtime_ms: Option<u64>,
        pub reason: Option<String>,
        /// Only plan.
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// A VM of a plan.
    #[derive(Eq)]
    pub struct PlannedMigration {
        pub vm: String,
        pub name: String,
        pub from: String,
        pub from_host: String,
        /// The region it goes to; `null`: it stays.
        pub to: Option<String>,
        pub to_host: Option<String>,
        /// Why there, or why it stays.
        pub reason: String,
    }

    /// Moves begun, joined or planned.
    #[derive(Eq)]
    pub struct MovesStarted {
        /// One a region that VMs leave; none in a dry run.
        pub operations: Vec<Operation>,
        pub planned: Vec<PlannedMigration>,
        /// How many of them have no place.
        pub left: u64,
        /// What gets worse by it: VMs that would not survive the loss of a region once these have moved.
        #[serde(default)]
        pub warnings: Vec<String>,
        /// What else there is to know.
        #[serde(default)]
        pub notes: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// How a VM moves.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum MigrationKind { Live, Cold, Failover }

    /// How far a migration is, or how it ended.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum MigrationState {
        Queued,
        Running,
        Done,
        Failed,
        Cancelled,
        /// Its host was lost when everything had been copied: it goes on at its target.
        TakenOver,
        /// Its host was lost before everything had been copied: it was brought back like any other VM of a lost host.
        Lost,
        /// A failover left it where it was.
        Left,
    }

    /// A VM that moves, or has moved.
    #[derive(Eq)]
    pub struct Migration {
        /// `mig_…`, or the failover's id.
        pub migration: String,
        pub vm: String,
        pub name: String,
        pub kind: MigrationKind,
        pub from: String,
        pub from_host: String,
        pub to: String,
        pub to_host: Option<String>,
        pub state: MigrationState,
        /// `queued`, `connecting`, `disk`, `memory`, `switching`, …; `null` where the host is not heard here.
        pub stage: Option<String>,
        pub bytes_done: Option<u64>,
        pub bytes_total: Option<u64>,
        pub rate_bytes_per_s: Option<u64>,
        /// What the guest writes anew.
        pub dirty_bytes_per_s: Option<u64>,
        /// How much the guest is slowed down so that the copy gets ahead of it, percent.
        pub throttle_percent: Option<u32>,
        /// Until it is expected to end at the present rates; `null`: not known, or never at these rates.
        pub left_ms: Option<u64>,
        pub took_ms: Option<u64>,
        /// How long the guest stood still, as its hypervisor says; what users saw is longer by the way of the packets.
        pub downtime_ms: Option<u64>,
        pub max_downtime_ms: u64,
        pub operation: String,
        /// Why there; once ended: how it ended.
        pub reason: String,
        pub asked_at_ms: u64,
        pub started_at_ms: Option<u64>,
        pub ended_at_ms: Option<u64>,
    }

    /// Migrations that were called off.
    #[derive(Eq)]
    pub struct MigrationCancelled {
        /// VMs by name.
        pub cancelled: Vec<String>,
        /// VMs that were not moving.
        pub not_moving: Vec<String>,
    }
}

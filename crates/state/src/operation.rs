//! Long work as a record: its next step is always computed from facts, so any controller can go on with it.

use dwcp_types::{FailoverId, HostId, OperationId, RegionId, Revision, VmId, Wall};

use crate::force_sync::ForceSync;
use crate::migration::Mode;
use crate::upgrade::Upgrade;

/// What is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OperationKind {
    /// VMs are being created: done when each serves.
    CreateVms(Vec<VmId>),
    /// VMs are being started, stopped, restarted or deleted: done when each is as wanted.
    ChangeVms(Vec<VmId>),
    /// A region fails over: done when the failover has ended.
    Failover(FailoverId),
    /// VMs are being moved: done when each has moved or its migration has ended otherwise.
    MigrateVms(Vec<VmId>),
    /// A region, or one host of it, is being emptied: done when nothing that may leave is left.
    Drain(Drain),
    /// Regions' replicas are rebuilt: done when each is equal to the source's.
    ForceSync(Box<ForceSync>),
    /// A backup is made or verified: done when its run has ended.
    Backup(u64),
    /// A region's control plane gets another program: done when its node is well under it.
    Upgrade(Box<Upgrade>),
    /// Nothing known.
    #[default]
    Nothing,
}

/// What is being emptied, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Only this host; none: the whole region.
    pub host: Option<HostId>,
    /// Only to these regions, when not empty.
    pub to: Vec<RegionId>,
    /// What has not moved by then stays, ms.
    pub timeout_ms: u64,
    /// How.
    pub mode: Mode,
    /// Longest time that a guest may stand still, ms.
    pub max_downtime_ms: u64,
    /// Placement was on before: calling it off turns it on again.
    pub placement_before: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperationState {
    /// Going on.
    #[default]
    Running,
    /// Ended well.
    Done,
    /// Ended with something left.
    Partial,
    /// Ended badly.
    Failed,
    /// Ended because somebody said so.
    Cancelled,
}

/// Long work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What is being done.
    pub kind: OperationKind,
    /// One line for people.
    pub title: String,
    /// The region whose group keeps it.
    pub region: RegionId,
    /// Who asked.
    pub by: String,
    /// When it was asked for.
    pub started_at: Wall,
    /// When it ended.
    pub ended_at: Option<Wall>,
    /// How far it is.
    pub state: OperationState,
    /// Why it ended as it did.
    pub result: String,
    /// The revision at which it last changed by intent; 0: an earlier version wrote it.
    pub revision: Revision,
}

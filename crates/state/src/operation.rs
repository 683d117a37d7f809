//! Long work as a record: its next step is always computed from facts, so any controller can go on with it.

use dwcp_types::{FailoverId, OperationId, RegionId, Revision, VmId, Wall};

/// What is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OperationKind {
    /// VMs are being created: done when each serves.
    CreateVms(Vec<VmId>),
    /// VMs are being started, stopped, restarted or deleted: done when each is as wanted.
    ChangeVms(Vec<VmId>),
    /// A region fails over: done when the failover has ended.
    Failover(FailoverId),
    /// Nothing known.
    #[default]
    Nothing,
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

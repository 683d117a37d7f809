//! What a region's node and its controller replicas say to each other.
//!
//! A replica decides where VMs go, for the node that asks it; it votes in nothing and keeps nothing. It is told the facts of every
//! group, then every command that is applied, in order, on one stream: what it is asked after a command it decides with that
//! command applied. Nothing that it answers is a fact: `apply` checks each placement again.

use dwcp_decide::{Measured, PlaceReport, PlaceRequest, Placement};
use dwcp_state::Vm;
use dwcp_types::{GroupId, Refusal, RegionId, VmId, wire_enum, wire_struct};

use super::{RouterAsk, RouterWord, RoutersTold};
use crate::node::Opaque;

/// Bytes of a snapshot in one frame.
pub const SNAPSHOT_PART: usize = 1 << 20;

/// What a node tells a replica. The frames of one connection are counted, from 1; see [`ReplicaSaid::Taken`].
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaTold {
    /// A part of a snapshot of a group's facts.
    Snapshot(SnapshotPart),
    /// A command was applied.
    Applied(AppliedEntry),
    /// A group is no more.
    Closed(GroupId),
    /// What was measured; it replaces what was said before.
    Measured(Box<Measured>),
    /// Room is reserved for a VM that is on its way into a log. One that was reserved before moves there.
    Reserved(Box<Reserved>),
    /// It no longer is.
    Unreserved(VmId),
    /// Decide this.
    Decide(Box<DecideAsk>),
    /// To a router: what all routers say.
    Routers(Box<RoutersTold>),
    /// To a router: answer this.
    AskRouter(Box<RouterAsk>),
}
wire_enum!(ReplicaTold {
    1 Snapshot(part), 2 Applied(entry), 3 Closed(group), 4 Measured(measured), 5 Reserved(reserved), 6 Unreserved(vm),
    7 Decide(ask), 8 Routers(told), 9 AskRouter(ask)
});

/// A part of a snapshot; parts of one snapshot come one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The group.
    pub group: GroupId,
    /// Its region; empty: the federation's own group.
    pub region: RegionId,
    /// The next bytes of it.
    pub bytes: Opaque,
    /// It is whole with these.
    pub last: bool,
}
wire_struct!(SnapshotPart { 1 group, 2 region, 3 bytes, 4 last });

/// A command that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedEntry {
    /// To which group.
    pub group: GroupId,
    /// At which revision.
    pub revision: u64,
    /// The encoded envelope.
    pub envelope: Opaque,
}
wire_struct!(AppliedEntry { 1 group, 2 revision, 3 envelope });

/// Room for a VM that is on its way into a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reserved {
    /// In which region.
    pub region: RegionId,
    /// The VM, with its host.
    pub vm: Vm,
    /// It comes from elsewhere.
    pub coming: bool,
}
wire_struct!(Reserved { 1 region, 2 vm, 3 coming });

/// A decision to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecideAsk {
    /// Comes back in the answer.
    pub id: u64,
    /// What is to be placed.
    pub request: PlaceRequest,
    /// So many alike, each on what the ones before it leave; at least 1.
    pub count: u32,
    /// Judge every host for the first of them.
    pub explain: bool,
}
wire_struct!(DecideAsk { 1 id, 2 request, 3 count, 4 explain });

/// What a replica tells its node.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaSaid {
    /// First of all.
    Hello(ReplicaHello),
    /// So many frames of this connection were taken in.
    Taken(u64),
    /// What was decided.
    Decided(Box<Decided>),
    /// From a router: what it is doing.
    Router(Box<RouterWord>),
    /// From a router: what it was asked.
    RouterAnswer(Box<RouterAsk>),
}
wire_enum!(ReplicaSaid { 1 Hello(hello), 2 Taken(frames), 3 Decided(decided), 4 Router(word), 5 RouterAnswer(answer) });

/// Who a replica is. Its host is what its certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaHello {
    /// Its version.
    pub version: String,
    /// The highest level that it knows.
    pub level: u64,
    /// Its process.
    pub pid: u32,
}
wire_struct!(ReplicaHello { 1 version, 2 level, 3 pid });

/// A decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// As asked.
    pub id: u64,
    /// One a VM, in order.
    pub places: Vec<Placed>,
    /// Why, for the first of them.
    pub report: PlaceReport,
    /// The frame of this connection up to which the facts were known.
    pub at: u64,
    /// How long it took, µs.
    pub took_us: u64,
}
wire_struct!(Decided { 1 id, 2 places, 3 report, 4 at, 5 took_us });

/// Where a VM would go.
#[derive(Clone, Debug, PartialEq)]
pub enum Placed {
    /// There.
    At(Placement),
    /// Nowhere.
    Nowhere(Refusal),
}
wire_enum!(Placed { 1 At(placement), 2 Nowhere(refusal) });

impl From<Result<Placement, Refusal>> for Placed {
    fn from(result: Result<Placement, Refusal>) -> Placed {
        result.map_or_else(Placed::Nowhere, Placed::At)
    }
}

impl From<Placed> for Result<Placement, Refusal> {
    fn from(placed: Placed) -> Result<Placement, Refusal> {
        match placed {
            Placed::At(placement) => Ok(placement),
            Placed::Nowhere(refusal) => Err(refusal),
        }
    }
}

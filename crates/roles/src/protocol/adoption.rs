//! What leader and agent say when the control plane was lost as a whole and came back from a backup: it asks what each host has
//! before it tells any what to run.

use dwcp_types::{VmId, wire_struct};

use super::{ArrivalFrom, Grant, VmSpec};

/// The leader does not know yet what is to run on the host. Until its next [`super::Intents`] the agent gives no VM away, and goes
/// on with what it was last told. Its lease lasts as with a grant, unless it has run out: then nothing goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// The renewal that is answered, the length of a lease, the leader's term, and who votes.
    pub grant: Grant,
}
wire_struct!(Hold { 1 grant });

/// Everything that a host has, from when it has given nothing away any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The term of the leader that asked.
    pub term: u64,
    /// The VMs.
    pub vms: Vec<HeldVm>,
}
wire_struct!(Inventory { 1 term, 2 vms });

/// A VM that a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldVm {
    /// The VM.
    pub vm: VmId,
    /// The newest generation of it that was ever wanted here.
    pub generation: u64,
    /// What it is, with its record.
    pub spec: VmSpec,
    /// That is of the newest intents, and not of when its process started.
    pub current: bool,
    /// It runs, and has done so without a break: the lease has not run out.
    pub runs: bool,
    /// It had left, and only its disk is kept.
    pub left: bool,
    /// It was coming from another host. Without the host's name: which one is not known any more.
    pub arrival: Option<ArrivalFrom>,
    /// Everything of it has come, and that is noted for good.
    pub whole: bool,
}
wire_struct!(HeldVm { 1 vm, 2 generation, 3 spec, 4 current, 5 runs, 6 left, 7 arrival, 8 whole });

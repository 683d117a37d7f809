//! What a leader asks a host, and the answers. Each answer repeats its question's number.

use dwcp_types::{RegionId, VmId, wire_struct};

use super::{Endpoint, Health, ProcessReport};

/// What a VM's own probe said when asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The request's number.
    pub request: u64,
    /// One result a VM that was asked.
    pub results: Vec<ProbeResult>,
}
wire_struct!(Probed { 1 request, 2 results });

/// One VM's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeResult {
    /// The VM.
    pub vm: VmId,
    /// What it answered.
    pub healthy: Health,
    /// Status or error as text.
    pub detail: String,
    /// From asking to the answer, µs; 0 without one.
    pub took_us: u64,
}
wire_struct!(ProbeResult { 1 vm, 2 healthy, 3 detail, 4 took_us });

/// A piece of a VM's console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// The request's number.
    pub request: u64,
    /// What was written from the offset asked for on, at most 64 KiB.
    pub bytes: Vec<u8>,
    /// Where to go on reading.
    pub next_offset: u64,
}
wire_struct!(Console { 1 request, 2 bytes, 3 next_offset });

/// What a check of the host found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The request's number.
    pub request: u64,
    /// One line a thing checked.
    pub findings: Vec<Finding>,
    /// What was measured, when that was asked for.
    pub measures: Option<HostMeasures>,
    /// The agent's processes, its VMs' and that of the region's node, when that was asked for.
    pub processes: Vec<ProcessReport>,
}
wire_struct!(Checked { 1 request, 2 findings, 190 measures; 220 processes });

/// What a host measured of itself, before its region is deployed or afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMeasures {
    /// The host's wall clock when the question came, ms.
    pub asked_wall_ms: u64,
    /// The host's wall clock when the answer went, ms.
    pub answered_wall_ms: u64,
    /// How often a block was made durable where the node's store will be; 0: it could not be written.
    pub fsyncs: u64,
    /// Median time of that, µs.
    pub fsync_median_us: u64,
    /// Longest time of that, µs.
    pub fsync_worst_us: u64,
    /// Why it could not be written; empty: it could.
    pub fsync_error: String,
    /// Free disk of the agent's data folder, MiB; none: the system does not tell.
    pub disk_free_mib: Option<u64>,
    /// Memory that is available, MiB; none: the system does not tell.
    pub memory_available_mib: Option<u64>,
    /// How long the host's certificate holds, s.
    pub certificate_left_s: u64,
    /// Why nothing can listen where the node is to; empty: it listens there for a moment after this answer.
    pub control_error: String,
    /// How each node was reached, in the order asked.
    pub dialed: Vec<Dialed>,
}
wire_struct!(HostMeasures {
    1 asked_wall_ms, 2 answered_wall_ms, 3 fsyncs, 4 fsync_median_us, 5 fsync_worst_us, 6 fsync_error, 7 disk_free_mib,
    8 memory_available_mib, 9 certificate_left_s, 10 control_error, 11 dialed
});

/// How a host reached a region's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialed {
    /// The node's region.
    pub region: RegionId,
    /// The time that a TCP connection took to its API, µs; none: there was none.
    pub rtt_us: Option<u64>,
    /// Why not; empty: it was reached.
    pub error: String,
}
wire_struct!(Dialed { 1 region, 2 rtt_us, 3 error });

/// One thing that was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, such as `disk`.
    pub subject: String,
    /// Whether it is in order.
    pub passed: bool,
    /// What was seen, with numbers.
    pub detail: String,
}
wire_struct!(Finding { 1 subject, 2 passed, 3 detail });

/// Ask these VMs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Repeated in the answer.
    pub request: u64,
    /// Which; empty for all of the host.
    pub vms: Vec<VmId>,
}
wire_struct!(ProbeRequest { 1 request, 2 vms });

/// Read a VM's console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadConsole {
    /// Repeated in the answer.
    pub request: u64,
    /// The VM.
    pub vm: VmId,
    /// Where to start, in bytes since the VM's first boot here.
    pub offset: u64,
}
wire_struct!(ReadConsole { 1 request, 2 vm, 3 offset });

/// Check the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckRequest {
    /// Repeated in the answer.
    pub request: u64,
    /// Also measure it.
    pub measure: bool,
    /// And reach these nodes.
    pub dial: Vec<Endpoint>,
    /// Its region is there: nothing else is to listen where its node does.
    pub in_service: bool,
    /// Count its processes' processor time for so long, ms; 0: do not look at processes.
    pub processes_over_ms: u64,
}
wire_struct!(CheckRequest { 1 request, 190 measure, 191 dial; 220 in_service, 221 processes_over_ms });

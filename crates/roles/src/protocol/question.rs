//! What a leader asks a host, and the answers. Each answer repeats its question's number.

use dwcp_types::{VmId, wire_struct};

use super::Health;

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
}
wire_struct!(Checked { 1 request, 2 findings });

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckRequest {
    /// Repeated in the answer.
    pub request: u64,
}
wire_struct!(CheckRequest { 1 request });

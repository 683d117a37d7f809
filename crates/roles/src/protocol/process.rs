//! What processes and disks say of themselves when somebody looks.

use dwcp_types::{VmId, wire_struct};

/// What a process uses. Source: the kernel, asked now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessReport {
    /// What it is: `dwcpd`, `dwcp-agentd`, `watchdog`, `qemu`.
    pub kind: String,
    /// The VM that it runs.
    pub vm: Option<VmId>,
    /// Its number.
    pub pid: u32,
    /// How long its processor time was counted, ms.
    pub window_ms: u64,
    /// Processor time in that, in hundredths of a percent of one core; none: not known.
    pub cpu_basis_points: Option<u64>,
    /// Memory that is resident, KiB.
    pub resident_kib: Option<u64>,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Most descriptors that it may have open; none: not told, or no limit.
    pub fd_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// How long it runs, ms.
    pub uptime_ms: Option<u64>,
    /// Bytes that it had read from disks.
    pub read_bytes: Option<u64>,
    /// Bytes that it had written to disks.
    pub written_bytes: Option<u64>,
    /// Why nothing is known of it; empty: it was seen.
    pub trouble: String,
}
wire_struct!(ProcessReport {
    1 kind, 2 vm, 3 pid, 4 window_ms, 5 cpu_basis_points, 6 resident_kib, 7 fds, 8 fd_limit, 9 threads, 10 uptime_ms,
    11 read_bytes, 12 written_bytes, 13 trouble
});

/// How long blocks took to become durable in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Blocks that were written; 0: none could be.
    pub count: u64,
    /// Median time, µs.
    pub median_us: u64,
    /// Longest time, µs.
    pub worst_us: u64,
    /// Why nothing could be written; empty: it could.
    pub error: String,
}
wire_struct!(Durability { 1 count, 2 median_us, 3 worst_us, 4 error });

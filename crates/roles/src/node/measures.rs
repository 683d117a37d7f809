//! What the shell measures.

use dwcp_types::wire_struct;

/// What the shell measured of this process and machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Resident memory, MiB.
    pub rss_mib: u64,
    /// Processor time used, in percent of one core, over the last while.
    pub cpu_percent: u64,
    /// Median time to make a batch durable, µs.
    pub fsync_p50_us: u64,
    /// Placement decisions: median, 95th and 99th percentile, µs; 0 without any.
    pub placement_us: (u64, u64),
    /// 99th percentile of the same.
    pub placement_p99_us: u64,
    /// Append messages that may be under way to each replica; 0: an older version does not say.
    pub append_messages: u32,
    /// Its frames to other regions go uncompressed.
    pub plain_frames: bool,
    /// Bytes of frames to other regions since the process began, before they were compressed.
    pub framed_bytes: u64,
    /// The same as they were sent.
    pub sent_bytes: u64,
}
wire_struct!(Measures {
    1 rss_mib, 2 cpu_percent, 3 fsync_p50_us, 4 placement_us, 5 placement_p99_us;
    6 append_messages, 7 plain_frames, 8 framed_bytes, 9 sent_bytes
});

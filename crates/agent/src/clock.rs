//! The two clocks.

use std::time::{SystemTime, UNIX_EPOCH};

/// The host's monotonic clock, µs. The same for every process of the host, and it goes on while a process is gone, and
/// while the host sleeps: a lease must not outlive the night that its host slept through.
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to; CLOCK_BOOTTIME exists since Linux 2.6.39.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    assert_eq!(status, 0, "the kernel has no monotonic clock");
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// The wall clock, ms since the Unix epoch.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

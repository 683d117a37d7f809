//! What the host uses, as its kernel tells.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use dwcp_roles::protocol::Usage;

/// Remembers the processor times of the last look.
pub(super) struct Meter {
    data_dir: PathBuf,
    last: Option<(u64, u64)>,
}

impl Meter {
    pub(super) fn begin(data_dir: PathBuf) -> Meter {
        Meter { data_dir, last: processor(&read("/proc/stat")) }
    }

    /// What the host uses since the last look; none where the kernel does not tell.
    pub(super) fn measure(&mut self) -> Option<Usage> {
        let now = processor(&read("/proc/stat"))?;
        let before = self.last.replace(now)?;
        let all = now.1.saturating_sub(before.1);
        if all == 0 {
            return None;
        }
        let busy = now.0.saturating_sub(before.0);
        let (memory_used_mib, memory_total_mib) = memory(&read("/proc/meminfo"))?;
        let (disk_used_gib, disk_total_gib) = self.disk().unwrap_or_default();
        Some(Usage {
            cpu_percent: u32::try_from(busy * 100 / all).unwrap_or(100).min(100),
            memory_used_mib,
            memory_total_mib,
            disk_used_gib,
            disk_total_gib,
        })
    }

    fn disk(&self) -> Option<(u64, u64)> {
        let name = CString::new(self.data_dir.as_os_str().as_bytes()).ok()?;
        // SAFETY: `name` is a C string, `stat` is written by the call and read only when it succeeded.
        let stat = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(name.as_ptr(), &mut stat) == 0).then_some(stat)?
        };
        let gib = |blocks: u64| blocks.saturating_mul(stat.f_frsize) >> 30;
        Some((gib(stat.f_blocks.saturating_sub(stat.f_bavail)), gib(stat.f_blocks)))
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Busy and all processor time, in ticks: the first line of `/proc/stat`.
fn processor(text: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let all: u64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all.saturating_sub(idle), all))
}

/// Memory that is not available, and all of it, MiB.
fn memory(text: &str) -> Option<(u64, u64)> {
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    Some((total.saturating_sub(available) >> 10, total >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(processor("cpu  10 0 20 60 10 0 0 0 5 0\ncpu0 1 1"), Some((30, 100)));
        assert_eq!(processor("intr 5"), None);
    }

    #[test]
    fn memory_that_caches_hold_is_available() {
        let text = "MemTotal:        4096 kB\nMemFree: 10 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(memory(text), Some((3, 4)));
    }
}

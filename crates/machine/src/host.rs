//! What a machine has done since it began, as its kernel counts it (proc(5)).

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dwcp_roles::protocol::{
    CpuTimes, DiskFigures, DiskRoom, HostFigures, LONGEST_NAME, MOST_DEVICES, MemoryFigures, Pressure,
    Resource,
};

use crate::process::{machine_uptime_ms, ticks_per_s, value};

/// Bytes of a sector as `/proc/diskstats` counts them, whatever the disk's are.
const SECTOR: u64 = 512;

/// Everything but what is asked of networks and processes. `folder` says which disk's room counts.
pub fn figures(folder: &Path) -> HostFigures {
    let stat = read("/proc/stat");
    HostFigures {
        uptime_ms: machine_uptime_ms().unwrap_or_default(),
        cores: stat.lines().filter(|line| line.starts_with("cpu")).count().saturating_sub(1) as u64,
        cpu: cpu(&stat, ticks_per_s()),
        memory: memory(&read("/proc/meminfo")),
        load: load(&read("/proc/loadavg")),
        pressure: Resource::ALL
            .into_iter()
            .filter_map(|resource| pressure(resource, &read(&format!("/proc/pressure/{}", resource.name()))))
            .collect(),
        room: room(folder),
        disks: disks(&read("/proc/diskstats"), |name| Path::new("/sys/block").join(name).exists()),
        ..HostFigures::default()
    }
}

/// Empty where the kernel does not tell.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal; guest time is part of user time.
fn cpu(text: &str, ticks_per_s: u64) -> Option<CpuTimes> {
    let ticks: Vec<u64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let ms = |at: usize| ticks.get(at).map_or(0, |ticks: &u64| ticks.saturating_mul(1_000) / ticks_per_s);
    ticks.get(3)?;
    Some(CpuTimes {
        user: ms(0),
        nice: ms(1),
        system: ms(2),
        idle: ms(3),
        iowait: ms(4),
        irq: ms(5),
        softirq: ms(6),
        steal: ms(7),
    })
}

fn memory(text: &str) -> Option<MemoryFigures> {
    Some(MemoryFigures {
        total: value(text, "MemTotal")?,
        available: value(text, "MemAvailable")?,
        swap_total: value(text, "SwapTotal").unwrap_or_default(),
        swap_free: value(text, "SwapFree").unwrap_or_default(),
    })
}

/// In hundredths.
fn load(text: &str) -> Vec<u64> {
    let numbers = text.split_whitespace().take(3).map_while(|number| number.parse::<f64>().ok());
    numbers.map(|number| (number * 100.0).round() as u64).collect()
}

fn pressure(resource: Resource, text: &str) -> Option<Pressure> {
    let total = |kind: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
    };
    Some(Pressure { resource, some_us: total("some ")?, full_us: total("full ") })
}

/// Room on the disk of a folder; none: the system does not tell.
pub fn room(folder: &Path) -> Option<DiskRoom> {
    let name = CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: `name` is a C string, `stat` is written by the call and read only when it succeeded.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &mut stat) == 0).then_some(stat)?
    };
    let kib = |blocks: u64| blocks.saturating_mul(stat.f_frsize) >> 10;
    Some(DiskRoom { total: kib(stat.f_blocks), free: kib(stat.f_bavail) })
}

/// Whole disks that were used; not their partitions, nor what is none.
fn disks(text: &str, is_whole: impl Fn(&str) -> bool) -> Vec<DiskFigures> {
    let disk = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = *fields.get(2)?;
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let counted = !["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind));
        let figures = DiskFigures {
            name: name.to_owned(),
            reads: number(3)?,
            read_bytes: number(5)?.saturating_mul(SECTOR),
            writes: number(7)?,
            written_bytes: number(9)?.saturating_mul(SECTOR),
            busy_ms: number(12)?,
        };
        (counted && name.len() <= LONGEST_NAME && figures.reads + figures.writes > 0 && is_whole(name))
            .then_some(figures)
    };
    text.lines().filter_map(disk).take(MOST_DEVICES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read_and_what_is_none_is_nothing() {
        let times = cpu("cpu  1000 1 20 60 10 3 4 5 7 0\ncpu0 1 1", 100).expect("times");
        assert_eq!((times.user, times.idle, times.steal), (10_000, 600, 50));
        assert_eq!((cpu("cpu  1 2", 100), cpu("intr 5", 100)), (None, None));
        let text = "MemTotal:        4096 kB\nMemFree: 10 kB\nMemAvailable:    1024 kB\nSwapTotal: 7 kB\n";
        let found = memory(text).expect("memory");
        assert_eq!((found.total, found.available, found.swap_total, found.swap_free), (4_096, 1_024, 7, 0));
        assert_eq!(load("0.05 1.10 12.345 1/200 4711"), [5, 110, 1_235]);
        assert_eq!(load("-"), [0; 0]);
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 total=5\n";
        let found = pressure(Resource::Io, text).expect("pressure");
        assert_eq!((found.some_us, found.full_us), (12, Some(5)));
        assert_eq!(pressure(Resource::Cpu, ""), None);
    }

    #[test]
    fn whole_disks_that_were_used_are_counted() {
        let text = "   8       0 sda 10 0 20 5 30 0 40 6 0 77 11\n   8       1 sda1 1 0 2 0 3 0 4 0 0 5 6\n \
                    7 0 loop0 5 0 5 5 5 5 5 5 5 5 5\n 253 0 vda 0 0 0 0 0 0 0 0 0 0 0\n 9 9\n";
        let found = disks(text, |name| name != "sda1");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].read_bytes, found[0].written_bytes, found[0].busy_ms), (10_240, 20_480, 77));
    }

    #[test]
    fn this_machine_is_seen() {
        let found = figures(&std::env::temp_dir());
        assert!(found.cores >= 1 && found.cpu.is_some_and(|cpu| cpu.user > 0), "{found:?}");
        assert!(found.memory.is_some_and(|memory| memory.total > memory.available), "{found:?}");
        assert!(found.room.is_some_and(|room| room.total >= room.free && room.total > 0), "{found:?}");
        assert!(found.uptime_ms > 0 && found.load.len() == 3 && found.is_bounded(), "{found:?}");
        assert_eq!(room(Path::new("/no such folder")), None);
    }
}

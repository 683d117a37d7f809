//! What processes use, as the kernel counts it (proc(5)).

use std::fs;
use std::time::{Duration, Instant};

use dwcp_roles::protocol::{ProcessReport, ProcessUse};
use dwcp_types::VmId;

/// A process to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is: `dwcpd`, `dwcp-agentd`, `watchdog`, `qemu`.
    pub kind: &'static str,
    /// The VM that it runs.
    pub vm: Option<VmId>,
    pub pid: u32,
}

/// Times of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    state: char,
    /// Processor time, clock ticks.
    used: u64,
    threads: u64,
    /// When it began, clock ticks after the machine's start: with the number it names a process.
    started: u64,
}

/// Reads `/proc/PID/stat`. The name in it may hold anything.
fn times(line: &str) -> Option<Times> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Times {
        state: fields.first()?.chars().next()?,
        used: number(11)?.checked_add(number(12)?)?,
        threads: number(17)?,
        started: number(19)?,
    })
}

/// A line `Name: value …` of a file of `/proc`.
pub(crate) fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

/// The soft limit of open files in `/proc/PID/limits`; none: not told, or there is none.
fn fd_limit(text: &str) -> Option<u64> {
    value(text, "Max open files")
}

/// Clock ticks a second.
pub(crate) fn ticks_per_s() -> u64 {
    // SAFETY: reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

fn read(pid: u32, file: &str) -> Result<String, String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
}

fn times_of(pid: u32) -> Result<Times, String> {
    let line = read(pid, "stat")?;
    times(&line).ok_or_else(|| format!("/proc/{pid}/stat can't be read: {line}"))
}

/// How long the machine runs, ms.
pub(crate) fn machine_uptime_ms() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some((seconds * 1_000.0) as u64)
}

/// Looks at processes, counts their processor time for a while, and looks again. What one of them does not tell, or that it has
/// ended, is said.
pub fn watch(wanted: &[Wanted], window: Duration) -> Vec<ProcessReport> {
    let before: Vec<_> = wanted.iter().map(|one| times_of(one.pid)).collect();
    let began = Instant::now();
    std::thread::sleep(window);
    wanted.iter().zip(before).map(|(one, before)| report(one, before, began)).collect()
}

/// What a process has used since it began; none: it is not there any more.
pub fn used(pid: u32) -> Option<ProcessUse> {
    let times = times_of(pid).ok().filter(|times| times.state != 'Z')?;
    let status = read(pid, "status").unwrap_or_default();
    let io = read(pid, "io").unwrap_or_default();
    Some(ProcessUse {
        cpu_ms: times.used.saturating_mul(1_000) / ticks_per_s(),
        resident_kib: value(&status, "VmRSS"),
        threads: times.threads,
        fds: open_files(pid),
        read_bytes: value(&io, "read_bytes"),
        written_bytes: value(&io, "write_bytes"),
        stopped: matches!(times.state, 'T' | 't'),
    })
}

fn open_files(pid: u32) -> Option<u64> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|entries| entries.count() as u64)
}

fn report(of: &Wanted, before: Result<Times, String>, began: Instant) -> ProcessReport {
    let empty =
        ProcessReport { kind: of.kind.to_owned(), vm: of.vm, pid: of.pid, ..ProcessReport::default() };
    let after = times_of(of.pid);
    let window_ms = began.elapsed().as_millis() as u64;
    let (before, after) = match (before, after) {
        (Ok(before), Ok(after)) if before.started == after.started && after.state != 'Z' => (before, after),
        (Ok(_), Ok(_)) => return ProcessReport { trouble: "it has ended".to_owned(), ..empty },
        (Err(why), _) | (_, Err(why)) => return ProcessReport { trouble: why, ..empty },
    };
    let ticks = ticks_per_s();
    let used_ms = after.used.saturating_sub(before.used) * 1_000 / ticks;
    let status = read(of.pid, "status").unwrap_or_default();
    let io = read(of.pid, "io").unwrap_or_default();
    let limits = read(of.pid, "limits").unwrap_or_default();
    let uptime_ms = machine_uptime_ms().map(|ms| ms.saturating_sub(after.started * 1_000 / ticks));
    ProcessReport {
        window_ms,
        cpu_basis_points: (window_ms > 0).then(|| used_ms * 10_000 / window_ms),
        resident_kib: value(&status, "VmRSS"),
        fds: open_files(of.pid),
        fd_limit: fd_limit(&limits),
        threads: Some(after.threads),
        uptime_ms,
        read_bytes: value(&io, "read_bytes"),
        written_bytes: value(&io, "write_bytes"),
        ..empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read_whatever_a_process_is_called() {
        let line = "4711 (a) b (c) S 1 4711 4711 0 -1 4194304 1 0 0 0 700 50 9 9 20 0 12 0 987654 1 1";
        let found = times(line).unwrap();
        assert_eq!(found, Times { state: 'S', used: 750, threads: 12, started: 987_654 });
        for cut in 0..line.len() {
            let _ = times(&line[..cut]);
        }
        assert_eq!(value("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n", "VmRSS"), Some(1_234));
        assert_eq!(value("VmPeak: 9 kB", "VmRSS"), None);
        assert_eq!(
            fd_limit("Max processes 1 2 p\nMax open files            1024  524288  files\n"),
            Some(1_024)
        );
        assert_eq!(fd_limit("Max open files            unlimited  unlimited  files\n"), None);
    }

    #[test]
    fn this_process_is_seen_and_one_that_is_not_there_is_said() {
        let busy = std::thread::spawn(|| {
            let until = Instant::now() + Duration::from_millis(400);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        });
        let own = Wanted { kind: "own", vm: None, pid: std::process::id() };
        // Greater than any process number that the kernel gives.
        let none = Wanted { kind: "none", vm: None, pid: 1 << 30 };
        let found = watch(&[own, none], Duration::from_millis(300));
        busy.join().unwrap();
        let own = &found[0];
        assert!(own.trouble.is_empty() && own.window_ms >= 300, "{own:?}");
        assert!(own.cpu_basis_points.unwrap() > 100, "{own:?}");
        assert!(
            own.resident_kib.unwrap() > 100 && own.threads.unwrap() >= 2 && own.fds.unwrap() >= 3,
            "{own:?}"
        );
        assert!(own.fd_limit.unwrap() >= own.fds.unwrap() && own.uptime_ms.is_some(), "{own:?}");
        let now = used(std::process::id()).expect("this process");
        assert!(now.cpu_ms > 0 && now.threads >= 1 && !now.stopped && now.resident_kib.is_some(), "{now:?}");
        assert_eq!(used(1 << 30), None);
        assert!(found[1].trouble.contains("/proc/"), "{:?}", found[1]);
        assert_eq!(found[1].cpu_basis_points, None, "not known is not 0");
    }
}

//! What names a process, and a boot of the kernel, beyond doubt: process numbers are given again.

/// The kernel's id of this boot.
///
/// # Errors
/// The kernel does not tell it.
pub(crate) fn kernel_boot() -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map(|text| text.trim().to_string()).map_err(|e| format!("the kernel's boot id: {e}"))
}

/// A process as the kernel shows it (proc(5), `/proc/PID/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// `Z`: it has ended, and nobody has asked how.
    pub(crate) state: char,
    /// When it started, clock ticks after the boot.
    pub(crate) started: u64,
}

impl Stat {
    /// The process of this number; none when there is none.
    pub(crate) fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the line. The name in it may hold anything.
    pub(crate) fn parse(line: &str) -> Option<Stat> {
        let pid = line.split(' ').next()?.parse().ok()?;
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Stat { pid, state, started: fields.nth(18)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_line_whatever_it_is_called() {
        let line = "4711 (a) b (c) S 1 4711 4711 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        assert_eq!(Stat::parse(line), Some(Stat { pid: 4711, state: 'S', started: 987_654 }));
        assert_eq!(Stat::parse("4711 (a"), None);
        assert!(Stat::of(std::process::id()).is_some_and(|own| own.started > 0));
    }
}

//! Checks of the host itself.

use std::path::Path;

use dwcp_machine::disk;
use dwcp_roles::protocol::{Checked, Finding};

use crate::clock::{monotonic_us, wall_ms};
use crate::host_config::HostConfig;
use crate::image::Image;

/// Least free disk, percent.
const DISK_FREE_PERCENT: u64 = 10;
/// Least free memory, MiB.
const MEMORY_FREE_MIB: u64 = 256;
/// A certificate must hold at least this long, s.
const CERTIFICATE_LEFT_S: u64 = 2 * 3600;
/// Oldest QEMU whose mirrors can be told to make writes wait, and say when both disks are the same (`block-job-change`,
/// `actively-synced`; QEMU 8.2).
const OLDEST_EMULATOR: (u32, u32) = (8, 2);

/// Looks at disk, memory, certificate, lease, emulator and images. Blocks.
pub(super) fn check(config: &HostConfig, request: u64, not_after_unix: u64, lease_until_us: u64) -> Checked {
    let findings = vec![
        disk_room(&config.data_dir),
        memory(),
        certificate(not_after_unix),
        lease(lease_until_us),
        emulator(&config.qemu),
        images(&config.data_dir.join("images")),
    ];
    Checked { request, findings, ..Checked::default() }
}

fn finding(subject: &str, passed: bool, detail: String) -> Finding {
    Finding { subject: subject.to_string(), passed, detail }
}

fn disk_room(path: &Path) -> Finding {
    match disk::free(path) {
        Some((free, free_mib)) => finding(
            "disk",
            free >= DISK_FREE_PERCENT,
            format!("{free} % ({free_mib} MiB) free at {}", path.display()),
        ),
        None => finding("disk", false, format!("{}: the system does not tell", path.display())),
    }
}

fn memory() -> Finding {
    match dwcp_machine::memory::available_mib() {
        Some(mib) => finding("memory", mib >= MEMORY_FREE_MIB, format!("{mib} MiB available")),
        None => finding("memory", false, "the system does not tell".to_string()),
    }
}

fn certificate(not_after_unix: u64) -> Finding {
    let left_s = not_after_unix.saturating_sub(wall_ms() / 1_000);
    finding("certificate", left_s >= CERTIFICATE_LEFT_S, format!("valid for {} min more", left_s / 60))
}

fn lease(until_us: u64) -> Finding {
    let left_ms = until_us.saturating_sub(monotonic_us()) / 1_000;
    finding("lease", left_ms > 0, format!("{left_ms} ms left"))
}

fn emulator(program: &str) -> Finding {
    match std::process::Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => emulator_version(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => finding("emulator", false, format!("{program}: {}", output.status)),
        Err(error) => finding("emulator", false, format!("{program}: {error}")),
    }
}

/// Of what the emulator says of itself, as "QEMU emulator version 10.0.2 (Debian …)".
fn emulator_version(text: &str) -> Finding {
    let line = text.lines().next().unwrap_or_default();
    let version = line.split_once("version ").map_or("", |(_, version)| version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let version = (number(), number());
    let (major, minor) = OLDEST_EMULATOR;
    if version >= OLDEST_EMULATOR {
        finding("emulator", true, line.to_string())
    } else {
        let detail =
            format!("{line}: VMs run, but to move or protect them takes QEMU {major}.{minor} or later");
        finding("emulator", false, detail)
    }
}

fn images(dir: &Path) -> Finding {
    let entries =
        std::fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let broken: Vec<String> = names.iter().filter_map(|name| Image::load(dir, name).err()).collect();
    let passed = broken.is_empty() && !names.is_empty();
    let detail = if broken.is_empty() {
        format!("{} images: {}", names.len(), names.join(", "))
    } else {
        broken.join("; ")
    };
    finding("images", passed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_that_is_too_old_to_move_vms_does_not_pass_and_the_finding_says_so() {
        let new = emulator_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright");
        assert!(new.passed && new.detail == "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", "{new:?}");
        let old = emulator_version("QEMU emulator version 7.2.22 (Debian)");
        assert!(!old.passed && old.detail.contains("takes QEMU 8.2 or later"), "{old:?}");
        assert!(!emulator_version("").passed);
    }
}

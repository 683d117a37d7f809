//! The kernel and its drivers, out of Debian's package.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{lz4, run, told};

/// The series that was measured; a newer one is taken only where this one is not offered.
const SERIES: &str = "linux-image-6.1.0-";
const FLAVOUR: &str = "-cloud-amd64";
/// What ends a signed driver, after 12 bytes that end with the signature's length.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// Downloads and unpacks the package into `<work>/kernel`; returns its name.
pub(super) fn fetch(work: &Path) -> Result<String, String> {
    let listed =
        run(Command::new("apt-cache").args(["search", "--names-only", "^linux-image-[0-9].*-cloud-amd64$"]))?;
    let package = newest(&listed).ok_or(
        "no kernel package linux-image-…-cloud-amd64 is offered; run `sudo apt-get update` on a Debian machine first",
    )?;
    let mut command = Command::new("apt-get");
    // apt drops its rights for downloads where it can; into a private directory it can't, which it only warns of.
    run(command.args(["-q", "-o", "APT::Sandbox::User=root", "download", &package]).current_dir(work))?;
    let found = std::fs::read_dir(work).map_err(|e| told(work, &e))?.flatten().map(|entry| entry.path());
    let archive = found.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let archive = archive.ok_or_else(|| format!("apt-get download {package} left no .deb"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(work.join("kernel")))?;
    Ok(package)
}

/// The newest package of the measured series, else of any, by the numbers in the name.
fn newest(listed: &str) -> Option<String> {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.ends_with(FLAVOUR));
    names.max_by_key(|name| (name.starts_with(SERIES), numbers(name))).map(str::to_string)
}

/// Every file below a directory.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// A driver without its signature: checking it costs the guest time, and nothing in the guest asks for it.
pub(super) fn without_signature(driver: &[u8]) -> &[u8] {
    let Some(body) = driver.strip_suffix(SIGNED) else { return driver };
    let Some((_, length)) = body.split_last_chunk::<4>() else { return driver };
    let signature = u32::from_be_bytes(*length) as usize;
    match body.len().checked_sub(12 + signature) {
        Some(end) => &body[..end],
        None => driver,
    }
}

/// The kernel itself, as it is booted: unpacked where that is possible, because unpacking under emulation costs every boot
/// what it costs the builder once.
pub(super) fn image(files: &[PathBuf]) -> Result<Vec<u8>, String> {
    let named =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let path = files.iter().find(named).ok_or("the kernel's package has no vmlinuz")?;
    let packed = std::fs::read(path).map_err(|e| told(path, &e))?;
    Ok(unpacked(&packed).unwrap_or(packed))
}

/// The ELF file within a kernel packed with LZ4; `None` for any other.
fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(*packed.get(at..)?.first_chunk()?) as usize);
    // The boot protocol: sectors of set-up code, then where the payload lies behind them and how long it is. Its last four
    // bytes are the unpacked size.
    let setup_sectors = usize::from(*packed.get(0x1f1)?).max(1);
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    let payload = packed.get(start..start.checked_add(word(0x24c)?)?)?;
    let (stream, size) = payload.split_last_chunk::<4>()?;
    let elf = lz4::unpack(stream)?;
    (elf.len() == u32::from_le_bytes(*size) as usize && elf.starts_with(b"\x7fELF")).then_some(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_the_measured_series_is_taken() {
        let listed = "linux-image-6.12.9+deb12-cloud-amd64 - x\nlinux-image-6.1.0-9-cloud-amd64 - x\n\
                      linux-image-6.1.0-56-cloud-amd64 - x\nlinux-image-6.1.0-60-cloud-amd64-unsigned - x\n";
        assert_eq!(newest(listed).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(
            newest("linux-image-7.0.1-cloud-amd64 - x").as_deref(),
            Some("linux-image-7.0.1-cloud-amd64")
        );
        assert_eq!(newest(""), None);
    }

    #[test]
    fn a_signature_is_cut_off() {
        let mut driver = b"driver".to_vec();
        driver.extend(b"SIGNATURE");
        driver.extend([0; 8]);
        driver.extend(9u32.to_be_bytes());
        driver.extend(SIGNED);
        assert_eq!(without_signature(&driver), b"driver");
        assert_eq!(without_signature(b"plain"), b"plain");
    }
}

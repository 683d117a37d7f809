//! A VM's disk: an overlay over its image's, or an empty one.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::run;
use crate::qemu::{ARRIVING_FILE, DISK_FILE};
use crate::worker::replicas::{DISK_FILE as RAW_DISK_FILE, EPOCH_FILE};

const TOOL: &str = "qemu-img";
const PACKAGE: &str = "qemu-utils";
const GIB: u64 = 1 << 30;

/// The VM's disk, and what it was made from when it was not there yet. `disk_gib` is the size that was asked for, 0 for
/// the image's own, or for none when the image has none.
pub(super) fn ensure(
    dir: &Path,
    base: Option<&Path>,
    disk_gib: u64,
) -> Result<(Option<PathBuf>, Option<String>), String> {
    let path = dir.join(DISK_FILE);
    // What came of a disk whose VM did not arrive is of no use.
    remove(&dir.join(ARRIVING_FILE))?;
    if path.exists() {
        return Ok((Some(path), None));
    }
    let made = make(dir, base, disk_gib, &path)?;
    Ok((made.is_some().then_some(path), made))
}

/// A disk for a VM that comes from another host, as large as its own there and with nothing in it; none when it has none.
pub(super) fn for_arrival(dir: &Path, base: Option<&Path>, disk_gib: u64) -> Result<Option<PathBuf>, String> {
    // Of an earlier generation, or of an arrival that failed.
    for old in [EPOCH_FILE, RAW_DISK_FILE, DISK_FILE] {
        remove(&dir.join(old))?;
    }
    let path = dir.join(ARRIVING_FILE);
    remove(&path)?;
    Ok(make(dir, base, disk_gib, &path)?.map(|_| path))
}

fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes the disk at `path` and says what from; nothing is made when the VM has none.
fn make(dir: &Path, base: Option<&Path>, disk_gib: u64, path: &Path) -> Result<Option<String>, String> {
    if base.is_none() && disk_gib == 0 {
        return Ok(None);
    }
    // A half-made disk must not be taken for a whole one, so it gets its name last, when it is on the disk.
    let new = dir.join("disk.new");
    let name = new.to_string_lossy().into_owned();
    let size = format!("{disk_gib}G");
    let mut arguments = vec!["create", "-q", "-f", "qcow2"];
    let base = base.map(|base| base.to_string_lossy().into_owned());
    if let Some(base) = &base {
        fits(base, disk_gib)?;
        arguments.extend(["-F", "qcow2", "-b", base]);
    }
    arguments.push(&name);
    if disk_gib > 0 {
        arguments.push(&size);
    }
    run(TOOL, PACKAGE, &arguments)?;
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    File::open(&new).and_then(|file| file.sync_all()).map_err(fault)?;
    std::fs::rename(&new, path).map_err(fault)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault)?;
    Ok(Some(match base {
        Some(base) => format!("overlay over {base}"),
        None => format!("empty, {disk_gib} GiB"),
    }))
}

/// A disk smaller than the image's would show the guest a file system that is cut off.
fn fits(base: &str, disk_gib: u64) -> Result<(), String> {
    let told = run(TOOL, PACKAGE, &["info", "--output=json", base])?;
    let told: serde_json::Value = serde_json::from_slice(&told).map_err(|e| format!("{TOOL} info: {e}"))?;
    let size = told["virtual-size"].as_u64().ok_or_else(|| format!("{TOOL} tells no size of {base}"))?;
    if disk_gib > 0 && disk_gib.saturating_mul(GIB) < size {
        let least_gib = size.div_ceil(GIB);
        return Err(format!(
            "a disk of {disk_gib} GiB is smaller than the image's own ({} MiB); ask for {least_gib} GiB or leave the size out",
            size >> 20
        ));
    }
    Ok(())
}

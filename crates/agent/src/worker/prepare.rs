//! The files and devices a VM needs before its process can start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use dwcp_roles::protocol::{Accelerator, Network, VmSpec};
use dwcp_types::VmId;

use super::memory::{self, Note};
use crate::clock::monotonic_us;
use crate::host_config::HostConfig;
use crate::image::Image;
use crate::qemu::{self, Machine};

const DISK_FILE: &str = "disk.qcow2";

/// What is asked for.
pub(super) struct Wanted {
    pub vm: VmId,
    pub generation: u64,
    pub spec: VmSpec,
    pub slot: usize,
    pub address: String,
    pub accelerator: Accelerator,
}

/// Makes directory, disk and tap device; returns the command line and the directory. Blocks.
pub(super) fn prepare(
    config: &HostConfig,
    wanted: &Wanted,
) -> Result<(Vec<String>, PathBuf, String), String> {
    let image = Image::load(&config.data_dir.join("images"), &wanted.spec.image)?;
    let dir = memory::vm_dir(&config.data_dir, wanted.vm);
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let disk = disk(&dir, &image, wanted.spec.disk_gib)?;
    let tap = tap(&wanted.spec.network, wanted.slot, &wanted.address)?;
    let note = Note {
        vm: wanted.vm,
        generation: wanted.generation,
        slot: wanted.slot as u64,
        spec: wanted.spec.clone(),
    };
    memory::save_note(&dir, &note)?;
    let line = qemu::command_line(&Machine {
        program: &config.qemu,
        vm: wanted.vm,
        generation: wanted.generation,
        spec: &wanted.spec,
        image: &image,
        address: &wanted.address,
        disk: disk.as_deref(),
        accelerator: wanted.accelerator,
        tap: tap.as_deref(),
    });
    Ok((line, dir, note.text()))
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), complaint.trim()))
}

/// The VM's disk: kept when it is there, else an overlay over the image's or an empty one.
fn disk(dir: &Path, image: &Image, disk_gib: u64) -> Result<Option<PathBuf>, String> {
    let path = dir.join(DISK_FILE);
    if path.exists() {
        return Ok(Some(path));
    }
    // A half-made disk must not be taken for a whole one, so it gets its name last.
    let new = dir.join("disk.new");
    let name = new.to_string_lossy().into_owned();
    let size = format!("{disk_gib}G");
    match &image.disk {
        Some(base) => {
            let base = base.to_string_lossy().into_owned();
            let mut arguments = vec!["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &name];
            if disk_gib > 0 {
                arguments.push(&size);
            }
            run("qemu-img", &arguments)?;
        }
        None if image.blank_disk && disk_gib > 0 => {
            run("qemu-img", &["create", "-q", "-f", "qcow2", &name, &size])?
        }
        None => return Ok(None),
    }
    std::fs::rename(&new, &path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Some(path))
}

/// Name of the tap device of an address. Devices are named by the last two numbers of the address, within 15 letters.
pub(super) fn tap_name(address: &str) -> String {
    let mut numbers: Vec<&str> = address.rsplit('.').take(2).collect();
    numbers.reverse();
    format!("dwcp{}", numbers.join("x"))
}

fn tap(network: &Network, _slot: usize, address: &str) -> Result<Option<String>, String> {
    let Network::Tap(bridge) = network else { return Ok(None) };
    if !Path::new("/sys/class/net").join(bridge).join("bridge").is_dir() {
        return Err(format!(
            "network tap: this host has no bridge `{bridge}`; make it (ip link add {bridge} type bridge) or use network user"
        ));
    }
    let name = tap_name(address);
    if !Path::new("/sys/class/net").join(&name).exists() {
        run("ip", &["tuntap", "add", "dev", &name, "mode", "tap"])?;
    }
    run("ip", &["link", "set", "dev", &name, "master", bridge, "up"])?;
    Ok(Some(name))
}

/// Where directories of removed VMs wait for their deletion, in the data directory.
const REMOVED_DIR: &str = "removed";

/// Takes away what [`prepare`] made, at once, so that the same VM may come back right after; what takes long is left to
/// [`empty_removed`].
pub(super) fn remove(config: &HostConfig, vm: VmId) -> Result<(), String> {
    let dir = memory::vm_dir(&config.data_dir, vm);
    if let Some(Note { spec: VmSpec { network: Network::Tap(_), .. }, slot, .. }) = memory::load_note(&dir) {
        let address =
            usize::try_from(slot).ok().and_then(|slot| config.vm_addresses.all().get(slot).cloned());
        if let Some(address) = address {
            run("ip", &["link", "delete", "dev", &tap_name(&address)])?;
        }
    }
    let removed = config.data_dir.join(REMOVED_DIR);
    std::fs::create_dir_all(&removed).map_err(|e| format!("{}: {e}", removed.display()))?;
    match std::fs::rename(&dir, removed.join(format!("{vm}-{}", monotonic_us()))) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", dir.display())),
        _ => Ok(()),
    }
}

/// Deletes the directories of removed VMs. Blocks.
pub(super) fn empty_removed(config: &HostConfig) -> Result<(), String> {
    let removed = config.data_dir.join(REMOVED_DIR);
    match std::fs::remove_dir_all(&removed) {
        // Another one may have been moved in meanwhile; its own call deletes it.
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(format!("{}: {error}", removed.display()))
        }
        _ => Ok(()),
    }
}

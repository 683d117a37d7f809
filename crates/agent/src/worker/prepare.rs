//! The files and devices a VM needs before its process can start.

mod disk;
mod tap;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use dwcp_roles::protocol::{Accelerator, Network, VmSpec};
use dwcp_types::VmId;

use super::memory::{self, Note};
use super::replicas;
use crate::clock::monotonic_us;
use crate::host_config::HostConfig;
use crate::image::Image;
use crate::images::Store;
use crate::qemu::{self, Machine};

/// What is asked for.
pub(super) struct Wanted {
    pub vm: VmId,
    pub generation: u64,
    pub spec: VmSpec,
    pub slot: usize,
    pub address: String,
    pub accelerator: Accelerator,
    /// The migration that its memory comes by; 0: it boots.
    pub incoming: u64,
    /// The epoch of the copy kept here that its disk is made from; 0: none.
    pub boot_replica: u64,
}

/// What a process is started with.
#[derive(Default)]
pub(super) struct Prepared {
    /// The command line.
    pub line: Vec<String>,
    /// The VM's directory: where it is to be run.
    pub dir: PathBuf,
    /// The VM's note, as text.
    pub note: String,
    /// What a disk was made from that was not there before.
    pub new_disk: Option<String>,
}

/// A guest gets what was reserved for it, no more; an image that can't live on that is refused.
fn enough_memory(image: &Image, spec: &VmSpec) -> Result<(), String> {
    let (asked, least) = (spec.memory_mib, image.memory_min_mib);
    if asked >= least {
        return Ok(());
    }
    Err(format!("{asked} MiB of memory are less than image {} needs; ask for {least} MiB", spec.image))
}

/// Makes directory, disk and tap device. Blocks.
///
/// # Errors
/// The image, the disk or the network can't be had on this host; the message says what is missing.
pub(super) fn prepare(config: &HostConfig, images: &Store, wanted: &Wanted) -> Result<Prepared, String> {
    let spec = &wanted.spec;
    let image = if spec.image_digest.is_none() {
        Image::load(&config.data_dir.join("images"), &spec.image)?
    } else {
        Image::load_from(&images.dir(&spec.image_digest)?, &spec.image)?
    };
    enough_memory(&image, &wanted.spec)?;
    let dir = memory::vm_dir(&config.data_dir, wanted.vm);
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let note = Note {
        vm: wanted.vm,
        generation: wanted.generation,
        slot: wanted.slot as u64,
        spec: wanted.spec.clone(),
        incoming: wanted.incoming,
    };
    // Before the tap device: what is made must be known to whoever takes it away.
    memory::save_note(&dir, &note)?;
    let base = image.disk.as_deref();
    let (disk, new_disk) = match (wanted.incoming, wanted.boot_replica) {
        (0, 0) => disk::ensure(&dir, base, wanted.spec.disk_gib)?,
        (0, epoch) => (Some(replicas::promote(&config.data_dir, wanted.vm, epoch, &dir)?), None),
        _ => (disk::for_arrival(&dir, base, wanted.spec.disk_gib)?, None),
    };
    let tap = match &wanted.spec.network {
        Network::User => None,
        Network::Tap(bridge) => Some(tap::ensure(bridge, &wanted.address)?),
    };
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
        incoming: wanted.incoming != 0,
    });
    Ok(Prepared { line, dir, note: note.text(), new_disk })
}

/// Runs a tool; `needs` is the package that has it.
fn run(program: &str, needs: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => format!("this host has no `{program}` (Debian's package {needs})"),
        _ => format!("{program}: {e}"),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), complaint.trim()))
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
            tap::remove(&address)?;
        }
    }
    set_aside(&config.data_dir, &dir, &format!("{vm}-{}", monotonic_us()))
}

/// Held while something is put into the folder of what is removed, and while that folder itself goes: never for long.
static FOLDER: Mutex<()> = Mutex::new(());

/// Takes a directory of the data directory away at once, under a name of its own; what takes long is left to
/// [`empty_removed`]. One that is not there is as good as taken away.
pub(super) fn set_aside(data: &Path, dir: &Path, name: &str) -> Result<(), String> {
    let removed = data.join(REMOVED_DIR);
    let _folder = FOLDER.lock().unwrap_or_else(|e| e.into_inner());
    std::fs::create_dir_all(&removed).map_err(|e| format!("{}: {e}", removed.display()))?;
    unless_gone(dir, std::fs::rename(dir, removed.join(name)))
}

/// Deletes the directories that were taken away. Blocks.
pub(super) fn empty_removed(data: &Path) -> Result<(), String> {
    let removed = data.join(REMOVED_DIR);
    let entries = match std::fs::read_dir(&removed) {
        Ok(entries) => entries,
        Err(error) => return unless_gone(&removed, Err(error)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let done = if is_dir { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        unless_gone(&path, done)?;
    }
    let _folder = FOLDER.lock().unwrap_or_else(|e| e.into_inner());
    match std::fs::remove_dir(&removed) {
        // Another one was put in meanwhile; its own call deletes it.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        done => unless_gone(&removed, done),
    }
}

fn unless_gone(path: &Path, done: std::io::Result<()>) -> Result<(), String> {
    match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn what_is_removed_while_others_are_deleted_is_gone_too() {
        let data = std::env::temp_dir().join(format!("dwcp-agent-removed-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let stop = AtomicBool::new(false);
        let left: Vec<u64> = std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        empty_removed(&data).unwrap();
                    }
                });
            }
            let stays = |number: &u64| {
                let dir = data.join(format!("vm-{number}"));
                std::fs::create_dir_all(dir.join("inside")).unwrap();
                let set = set_aside(&data, &dir, &format!("vm-{number}"));
                set.is_err() || dir.exists()
            };
            let left = (0..4_000).filter(stays).collect();
            stop.store(true, Ordering::Relaxed);
            left
        });
        empty_removed(&data).unwrap();
        assert_eq!(left, [0_u64; 0]);
        std::fs::remove_dir(&data).expect("nothing is left in it");
    }

    #[test]
    fn an_image_that_needs_more_memory_than_was_reserved_is_refused_with_what_to_ask_for() {
        let image = Image {
            kernel: None,
            initrd: None,
            disk: None,
            kernel_arguments: String::new(),
            cpu: "max".into(),
            memory_min_mib: 96,
            hpet_timer: false,
        };
        let spec = |memory_mib| VmSpec { image: "small".into(), memory_mib, ..VmSpec::default() };
        assert_eq!(enough_memory(&image, &spec(96)), Ok(()));
        let refusal = enough_memory(&image, &spec(64)).unwrap_err();
        assert!(refusal.contains("64 MiB") && refusal.contains("ask for 96 MiB"), "{refusal}");
    }
}

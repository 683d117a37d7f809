//! The files of a copy: its content, and a note that says what it is.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use dwcp_roles::agent::Kept;
use dwcp_roles::protocol::ReplicaIntent;
use dwcp_types::{VmId, decode, encode, wire_struct};
use serde_json::json;

use super::super::memory;
use super::super::points::Point;
use super::super::prepare::set_aside;
use super::{DIR, DISK_FILE, EPOCH_FILE, GIB, NOTE_FILE, deltas};
use crate::clock::monotonic_us;
use crate::journal;
use crate::process_id::kernel_boot;

/// What is kept beside a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    pub vm: VmId,
    pub epoch: u64,
    /// The kernel's boot id: what was written before another boot may have been lost with the page cache.
    pub boot: String,
    pub disk_gib: u64,
    pub points: bool,
    /// Of points: the newest whole one.
    pub point: Point,
}
wire_struct!(Note { 1 vm, 2 epoch, 3 boot, 4 disk_gib, 5 points, 6 point });

pub(super) fn dir_of(data: &Path, vm: VmId) -> PathBuf {
    data.join(DIR).join(vm.to_string())
}

pub(super) fn note_of(dir: &Path) -> Option<Note> {
    decode(&std::fs::read(dir.join(NOTE_FILE)).ok()?).ok()
}

/// Makes the file of a copy, all of whose room is taken at once, and notes its epoch. Blocks.
pub(super) fn ready(dir: &Path, intent: &ReplicaIntent) -> Result<(), String> {
    let boot = kernel_boot()?;
    let mut note = Note {
        vm: intent.vm,
        epoch: intent.epoch,
        boot,
        disk_gib: intent.disk_gib,
        points: intent.points,
        point: Point::default(),
    };
    if let Some(known) = note_of(dir) {
        if known.epoch > note.epoch {
            return Err(format!("the copy here is of the newer epoch {}", known.epoch));
        }
        // A whole point stays one: it was on the drive before anybody heard of it, and later ones build on it.
        if known.points && note.points && known.disk_gib == note.disk_gib {
            note.point = known.point;
        }
        if known == note {
            return Ok(());
        }
        if known.epoch == note.epoch && known.boot != note.boot && !note.points {
            return Err(
                "the host was started anew since: what it had not put on its disk yet is lost".to_string()
            );
        }
    }
    let path = dir.join(DISK_FILE);
    let fault = |e: io::Error| format!("{}: {e}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault)?;
    let bytes = i64::try_from(intent.disk_gib.saturating_mul(GIB)).unwrap_or(i64::MAX);
    file.set_len(bytes as u64).map_err(fault)?;
    // SAFETY: plain numbers; the descriptor is open.
    let taken = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) };
    if taken != 0 {
        return Err(fault(io::Error::from_raw_os_error(taken)));
    }
    file.sync_all().map_err(fault)?;
    memory::replace(&dir.join(NOTE_FILE), &encode(&note))
}

/// Makes a VM's disk of its copy here, once: the file is moved into the VM's folder. Nothing may be serving it. Blocks.
///
/// # Errors
/// There is no such copy here; the VM must not start with another disk.
pub(in super::super) fn promote(data: &Path, vm: VmId, epoch: u64, vm_dir: &Path) -> Result<PathBuf, String> {
    let disk = vm_dir.join(DISK_FILE);
    let marker = vm_dir.join(EPOCH_FILE);
    let marked = std::fs::read_to_string(&marker).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let dir = dir_of(data, vm);
    // A point that an earlier epoch left here is one that later epochs build on.
    let fits = |note: &Note| note.epoch == epoch || (note.points && note.epoch < epoch);
    let note = note_of(&dir).filter(|note| fits(note) && dir.join(DISK_FILE).exists());
    let Some(note) = note else {
        if marked == Some(epoch) && disk.exists() {
            return Ok(disk);
        }
        return Err(format!(
            "the copy of {vm} of epoch {epoch} is not on this host: it does not start without it"
        ));
    };
    if note.boot != kernel_boot()? && !note.points {
        return Err(format!(
            "the copy of {vm} was on this host before it was started anew: what it holds is not certain"
        ));
    }
    if note.points {
        if note.point.number == 0 {
            return Err(format!("the copy of {vm} of epoch {epoch} is no whole point yet"));
        }
        deltas::settle(&dir)?;
    }
    let fault = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let from = dir.join(DISK_FILE);
    File::open(&from).and_then(|file| file.sync_all()).map_err(|e| fault(&from, e))?;
    // The marker first: a file without one is never taken for this epoch's.
    memory::replace(&marker, epoch.to_string().as_bytes())?;
    std::fs::rename(&from, &disk).map_err(|e| fault(&disk, e))?;
    File::open(vm_dir).and_then(|dir| dir.sync_all()).map_err(|e| fault(vm_dir, e))?;
    let _ = std::fs::remove_dir_all(&dir);
    let said = json!({"vm": vm, "epoch": epoch, "points": note.points, "point_at_ms": note.point.at_ms});
    journal::info("replica-promoted", said);
    Ok(disk)
}

/// Puts the copies away that are not wanted here any more; what takes long is left to `empty_removed`. Blocks.
pub(super) fn put_away(data: &Path, kept: &Kept) {
    let Ok(entries) = std::fs::read_dir(data.join(DIR)) else { return };
    let served = kept.serve.iter().map(|intent| intent.vm);
    let wanted: Vec<String> =
        served.chain(kept.hold.iter().map(|(vm, _)| *vm)).map(|vm| vm.to_string()).collect();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted.contains(&name) {
            continue;
        }
        match set_aside(data, &entry.path(), &format!("replica-{name}-{}", monotonic_us())) {
            Ok(()) => journal::info("replica-deleted", json!({"vm": name})),
            Err(error) => journal::warn("replica-not-deleted", json!({"vm": name, "error": error})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("dwcp-replica-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("vm")).expect("temp dir");
        dir
    }

    fn intent(epoch: u64) -> ReplicaIntent {
        ReplicaIntent { vm: VmId(7), epoch, disk_gib: 1, ..ReplicaIntent::default() }
    }

    #[test]
    fn a_copy_becomes_a_disk_once_and_only_under_its_epoch() {
        let data = folder("promote");
        let (dir, vm_dir) = (dir_of(&data, VmId(7)), data.join("vm"));
        std::fs::create_dir_all(&dir).expect("dir");
        ready(&dir, &intent(3)).expect("ready");
        assert_eq!(std::fs::metadata(dir.join(DISK_FILE)).expect("a file").len(), GIB);
        std::fs::write(dir.join(DISK_FILE), b"content").expect("write");
        ready(&dir, &intent(3)).expect("the same again changes nothing");
        assert!(promote(&data, VmId(7), 2, &vm_dir).is_err_and(|e| e.contains("epoch 2")));
        let disk = promote(&data, VmId(7), 3, &vm_dir).expect("a disk");
        assert_eq!(std::fs::read(&disk).expect("read"), b"content");
        assert_eq!(promote(&data, VmId(7), 3, &vm_dir), Ok(disk));
        assert!(promote(&data, VmId(7), 4, &vm_dir).is_err());
        std::fs::remove_dir_all(data).expect("remove");
    }

    #[test]
    fn a_copy_of_another_boot_of_the_host_is_not_used_and_an_older_epoch_not_taken() {
        let data = folder("boot");
        let dir = dir_of(&data, VmId(7));
        std::fs::create_dir_all(&dir).expect("dir");
        ready(&dir, &intent(3)).expect("ready");
        assert!(ready(&dir, &intent(2)).is_err_and(|e| e.contains("newer epoch 3")));
        let note = Note { boot: "another".into(), ..note_of(&dir).expect("a note") };
        memory::replace(&dir.join(NOTE_FILE), &encode(&note)).expect("note");
        assert!(ready(&dir, &intent(3)).is_err_and(|e| e.contains("started anew")));
        assert!(promote(&data, VmId(7), 3, &data.join("vm")).is_err_and(|e| e.contains("not certain")));
        ready(&dir, &intent(4)).expect("another epoch begins anew");
        std::fs::remove_dir_all(data).expect("remove");
    }

    #[test]
    fn only_copies_that_are_served_or_held_stay() {
        let data = folder("others");
        for vm in [7, 8, 9] {
            std::fs::create_dir_all(dir_of(&data, VmId(vm))).expect("dir");
        }
        put_away(&data, &Kept { serve: vec![intent(3)], hold: vec![(VmId(8), 2)] });
        let left = |vm| dir_of(&data, VmId(vm)).exists();
        assert_eq!((left(7), left(8), left(9)), (true, true, false));
        std::fs::remove_dir_all(data).expect("remove");
    }
}

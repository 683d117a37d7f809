//! What the agent keeps on its host's disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use dwcp_roles::agent::{Adopted, Seen};
use dwcp_roles::protocol::VmSpec;
use dwcp_types::{VmId, decode, encode, hex, wire_struct};

const SEEN_FILE: &str = "seen";
const INCARNATION_FILE: &str = "incarnation";
const NOTE_FILE: &str = "vm";

/// What is kept of a VM beside its disk, and given to the watchdog with its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    pub vm: VmId,
    pub generation: u64,
    pub slot: u64,
    pub spec: VmSpec,
    /// The migration that its process was started for; 0: it was started to boot.
    pub incoming: u64,
}
wire_struct!(Note { 1 vm, 2 generation, 3 slot, 4 spec, 5 incoming });

impl Note {
    /// As text: two hexadecimal digits a byte.
    pub(super) fn text(&self) -> String {
        hex(&encode(self))
    }

    pub(super) fn parse(text: &str) -> Option<Note> {
        let text = text.trim();
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
        decode(&bytes?).ok()
    }

    pub(super) fn adopted(self, pid: u32, process: bool, paused: bool) -> Adopted {
        let boot_id = if process { boot_id(self.generation, pid) } else { String::new() };
        let slot = usize::try_from(self.slot).unwrap_or(usize::MAX);
        let incoming = if process { self.incoming } else { 0 };
        Adopted {
            vm: self.vm,
            generation: self.generation,
            spec: self.spec,
            slot,
            boot_id,
            process,
            paused,
            incoming,
            copied: false,
        }
    }
}

/// What a boot is called until the guest tells its own id.
pub(super) fn boot_id(generation: u64, pid: u32) -> String {
    format!("generation-{generation}-process-{pid}")
}

/// A VM's directory.
pub(super) fn vm_dir(data: &Path, vm: VmId) -> PathBuf {
    data.join("vms").join(vm.to_string())
}

/// Writes a VM's note beside its disk.
pub(super) fn save_note(dir: &Path, note: &Note) -> Result<(), String> {
    replace(&dir.join(NOTE_FILE), note.text().as_bytes())
}

/// The note beside a VM's disk; `None` when there is none that can be read.
pub(super) fn load_note(dir: &Path) -> Option<Note> {
    Note::parse(&std::fs::read_to_string(dir.join(NOTE_FILE)).ok()?)
}

/// The notes of every VM that has a directory; those that can't be read are passed over.
pub(super) fn notes(data: &Path) -> Vec<Note> {
    let Ok(entries) = std::fs::read_dir(data.join("vms")) else { return Vec::new() };
    let mut notes: Vec<Note> = entries.flatten().filter_map(|entry| load_note(&entry.path())).collect();
    notes.sort_by_key(|note| note.vm);
    notes
}

/// The agent's fence memory. A file that is there but can't be read stops the agent: starting with an empty memory could
/// act on old intents.
pub(super) fn load_seen(data: &Path) -> Result<Seen, String> {
    let path = data.join(SEEN_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => decode(&bytes).map_err(|e| format!("{}: {e}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Seen::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Saves the fence memory, durably.
pub(super) fn save_seen(data: &Path, seen: &Seen) -> Result<(), String> {
    replace(&data.join(SEEN_FILE), &encode(seen))
}

/// Counts this start.
pub(super) fn next_incarnation(data: &Path) -> Result<u64, String> {
    let path = data.join(INCARNATION_FILE);
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|e| format!("{}: {e}", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    // The upper half of a renewal's number holds the incarnation.
    let next = (last + 1) & u64::from(u32::MAX);
    replace(&path, next.to_string().as_bytes())?;
    Ok(next)
}

/// Replaces a file, durably: whoever reads it finds the old content or the new.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    let new = path.with_extension("new");
    let mut file = File::create(&new).map_err(fault)?;
    file.write_all(bytes).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    std::fs::rename(&new, path).map_err(fault)?;
    match path.parent() {
        Some(dir) => File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back() {
        let note = Note {
            vm: VmId(9),
            generation: 4,
            slot: 2,
            spec: VmSpec { name: "web".into(), ..VmSpec::default() },
            incoming: 6,
        };
        assert_eq!(Note::parse(&note.text()), Some(note));
        assert_eq!(Note::parse("zz"), None);
        assert_eq!(Note::parse("é"), None);
    }

    #[test]
    fn a_damaged_fence_memory_stops_the_agent() {
        let dir = std::env::temp_dir().join(format!("dwcp-seen-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        assert_eq!(load_seen(&dir), Ok(Seen::default()));
        let seen = Seen { newest: (3, 9), ..Seen::default() };
        save_seen(&dir, &seen).expect("save");
        assert_eq!(load_seen(&dir), Ok(seen));
        std::fs::write(dir.join(SEEN_FILE), b"\x01").expect("write");
        assert!(load_seen(&dir).is_err());
        assert_eq!(next_incarnation(&dir), Ok(1));
        assert_eq!(next_incarnation(&dir), Ok(2));
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}

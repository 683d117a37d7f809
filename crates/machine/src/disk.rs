//! Disks: room, and how fast a block becomes durable.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dwcp_roles::protocol::Durability;

/// Blocks that are made durable, one after the other.
const FSYNCS: usize = 20;
/// Bytes of one: about what a small batch of the node's log takes.
const BLOCK: usize = 4_096;
/// No block is begun after so long: a slow disk has been seen by then.
const FSYNC_LIMIT: Duration = Duration::from_secs(2);

/// Free disk of a folder, in percent and in MiB; none: the system does not tell.
pub fn free(path: &Path) -> Option<(u64, u64)> {
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: `name` is a C string, `stat` is written by the call and read only when it succeeded.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &mut stat) == 0).then_some(stat)?
    };
    let percent = stat.f_bavail.saturating_mul(100).checked_div(stat.f_blocks)?;
    Some((percent, stat.f_bavail.saturating_mul(stat.f_frsize) >> 20))
}

/// How long a few blocks took to become durable on the disk of a folder.
pub fn durability(folder: &Path) -> Durability {
    match fsyncs(folder) {
        Ok(mut times_us) => {
            times_us.sort_unstable();
            Durability {
                count: times_us.len() as u64,
                median_us: times_us.get(times_us.len() / 2).copied().unwrap_or(0),
                worst_us: times_us.last().copied().unwrap_or(0),
                error: String::new(),
            }
        }
        Err(error) => Durability { error: format!("{}: {error}", folder.display()), ..Durability::default() },
    }
}

/// The time of each block, µs.
fn fsyncs(folder: &Path) -> std::io::Result<Vec<u64>> {
    // Two that measure at once do not take each other's file away.
    let path = folder.join(format!("fsync-check-{}", std::process::id()));
    let measured = written(&path);
    // What can't be removed is written over the next time.
    let _ = std::fs::remove_file(&path);
    measured
}

fn written(path: &Path) -> std::io::Result<Vec<u64>> {
    let mut file: File = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
    file.write_all(&[0; BLOCK])?;
    file.sync_all()?;
    let began = Instant::now();
    let mut times_us = Vec::new();
    while times_us.len() < FSYNCS && began.elapsed() < FSYNC_LIMIT {
        let start = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[times_us.len() as u8; BLOCK])?;
        file.sync_data()?;
        times_us.push(start.elapsed().as_micros() as u64);
    }
    Ok(times_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_timed_and_leave_nothing_and_what_can_not_be_written_is_said() {
        let folder = std::env::temp_dir().join(format!("dwcp-durability-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let found = durability(&folder);
        assert!((1..=FSYNCS as u64).contains(&found.count) && found.error.is_empty(), "{found:?}");
        assert!(found.median_us <= found.worst_us);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert!(free(&folder).is_some());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!durability(&folder).error.is_empty());
        assert_eq!(free(&folder), None);
    }
}

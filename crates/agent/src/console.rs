//! A VM's console on disk, held to a size.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::qemu::CONSOLE_FILE;

/// The file is emptied when it outgrows this, bytes; the one before is kept beside it.
pub const SIZE_MAX: u64 = 1 << 20;
/// Most that one reading returns, bytes.
pub const READ_MAX: u64 = 64 << 10;
const OLDER_FILE: &str = "console.1.log";
const BASE_FILE: &str = "console.base";

/// Offset of the current file's first byte, counted from the VM's first boot on this host.
fn base(dir: &Path) -> u64 {
    std::fs::read_to_string(dir.join(BASE_FILE)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Empties the console when it is too large. QEMU appends, so it goes on at the file's new end.
///
/// # Errors
/// When the system refuses.
pub fn rotate(dir: &Path) -> io::Result<bool> {
    let path = dir.join(CONSOLE_FILE);
    let size = match std::fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if size <= SIZE_MAX {
        return Ok(false);
    }
    std::fs::copy(&path, dir.join(OLDER_FILE))?;
    std::fs::write(dir.join(BASE_FILE), (base(dir) + size).to_string())?;
    OpenOptions::new().write(true).open(&path)?.set_len(0)?;
    Ok(true)
}

/// Reads from `offset` on; an offset before what is kept starts at the oldest byte of the current file. Returns the bytes
/// and the offset to go on with.
///
/// # Errors
/// When there is no console or the system refuses.
pub fn read(dir: &Path, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let base = base(dir);
    let mut file = std::fs::File::open(dir.join(CONSOLE_FILE))?;
    let end = base + file.metadata()?.len();
    let start = offset.clamp(base, end);
    file.seek(SeekFrom::Start(start - base))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    let next = start + bytes.len() as u64;
    Ok((bytes, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_on_across_a_rotation() {
        let dir = std::env::temp_dir().join(format!("dwcp-console-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        std::fs::write(dir.join(CONSOLE_FILE), vec![b'a'; SIZE_MAX as usize + 1]).expect("write");
        assert!(rotate(&dir).expect("rotate"));
        std::fs::write(dir.join(CONSOLE_FILE), b"new").expect("write");
        assert_eq!(read(&dir, 0).expect("read"), (b"new".to_vec(), SIZE_MAX + 4));
        assert_eq!(read(&dir, SIZE_MAX + 3).expect("read"), (b"w".to_vec(), SIZE_MAX + 4));
        assert!(!rotate(&dir).expect("rotate"));
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}

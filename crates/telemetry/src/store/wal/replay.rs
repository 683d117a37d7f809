//! Reading the log back: what was written wholly, whatever else is in the file.

use super::record::{BODY_MAX, HEAD, Record, read_body, read_head};
use crate::store::disk::DiskFile;
use crate::store::error::StoreError;

pub const MAGIC: &[u8; 8] = b"DWCPWAL1";

/// What was found in a file of the log beside its records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Damage in the middle: from, to (bytes of the file). What stood there is not known.
    pub damaged: Vec<(u64, u64)>,
    /// The records end here; what is behind was not written wholly.
    pub end: u64,
    pub length: u64,
}

/// Hands each whole record of a file to `record`.
///
/// # Errors
/// The disk's.
pub fn replay(file: &dyn DiskFile, name: &str, mut record: impl FnMut(Record)) -> Result<Found, StoreError> {
    let reading = StoreError::disk(name, "reading");
    let length = file.length().map_err(&reading)?;
    let mut found = Found { length, ..Found::default() };
    let mut at = MAGIC.len() as u64;
    let mut magic = [0; MAGIC.len()];
    if length < at {
        return Ok(found);
    }
    file.read_at(&mut magic, 0).map_err(&reading)?;
    if &magic != MAGIC {
        // Records may follow all the same.
        found.damaged.push((0, at));
    }
    found.end = at;
    while at < length {
        match read_record(file, at, length).map_err(&reading)? {
            Some((next, one)) => {
                record(one);
                at = next;
            }
            None => match next_record(file, at + 1, length).map_err(&reading)? {
                Some(next) => {
                    found.damaged.push((at, next));
                    at = next;
                }
                None => break,
            },
        }
        found.end = at;
    }
    Ok(found)
}

/// The record at `at` and where the next one begins, if there is a whole one.
fn read_record(file: &dyn DiskFile, at: u64, length: u64) -> std::io::Result<Option<(u64, Record)>> {
    if at + HEAD as u64 > length {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    file.read_at(&mut head, at)?;
    let Some((size, checksum)) = read_head(&head) else { return Ok(None) };
    let next = at + HEAD as u64 + u64::from(size);
    if next > length {
        return Ok(None);
    }
    let mut body = vec![0; size as usize];
    file.read_at(&mut body, at + HEAD as u64)?;
    if crc32fast::hash(&body) != checksum {
        return Ok(None);
    }
    Ok(read_body(&body).ok().map(|record| (next, record)))
}

/// Where the next whole record begins, from `at` on.
fn next_record(file: &dyn DiskFile, mut at: u64, length: u64) -> std::io::Result<Option<u64>> {
    let mut window = Vec::new();
    while at + HEAD as u64 <= length {
        window.resize((length - at).min(u64::from(BODY_MAX)) as usize, 0);
        file.read_at(&mut window, at)?;
        for (offset, head) in window.windows(HEAD).enumerate() {
            let start = at + offset as u64;
            if read_head(head).is_some() && read_record(file, start, length)?.is_some() {
                return Ok(Some(start));
            }
        }
        at += (window.len() - (HEAD - 1)) as u64;
    }
    Ok(None)
}

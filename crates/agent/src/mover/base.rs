//! Tells the bases of two disks apart, so that what lies above the one is never put over the other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Read at the beginning and at the end, bytes.
const EDGE: u64 = 256 << 10;
/// Pieces read in between, and how long each is, bytes.
const PIECES: u64 = 256;
const PIECE: u64 = 4 << 10;

/// A number by a file's length and by samples of what it holds, spread over all of it: the same for copies of one file,
/// and another for what differs in more than a few places. Blocks.
///
/// # Errors
/// The file can't be read.
pub(super) fn number(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut number = add(0xcbf2_9ce4_8422_2325, &length.to_le_bytes());
    let between = length.saturating_sub(2 * EDGE);
    let mut places = vec![(0, EDGE.min(length)), (length.saturating_sub(EDGE), EDGE.min(length))];
    places.extend((0..PIECES).map(|piece| (EDGE + between / PIECES * piece, PIECE)));
    let mut bytes = Vec::new();
    for (at, count) in places {
        bytes.clear();
        file.seek(SeekFrom::Start(at.min(length)))?;
        (&mut file).take(count).read_to_end(&mut bytes)?;
        number = add(number, &bytes);
    }
    Ok(number)
}

fn add(number: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(number, |number, byte| (number ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_the_same_number_and_others_another() {
        let dir = std::env::temp_dir().join(format!("dwcp-base-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        let content: Vec<u8> = (0..3u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).expect("written");
            number(&path).expect("read")
        };
        let one = write("one", &content);
        assert_eq!(write("copy", &content), one);
        let mut changed = content.clone();
        changed[100_000] ^= 1;
        assert_ne!(write("begin", &changed), one);
        changed = content.clone();
        // All of a cluster of a disk's.
        changed[1 << 20..(1 << 20) + (64 << 10)].fill(0);
        assert_ne!(write("cluster", &changed), one);
        assert_ne!(write("shorter", &content[..content.len() - 1]), one);
        assert_ne!(write("empty", &[]), write("byte", &[0]));
        assert!(number(&dir.join("none")).is_err());
        std::fs::remove_dir_all(dir).expect("remove");
    }
}

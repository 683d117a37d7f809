//! The last good table on disk: what a router starts with when nobody tells it anything.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_decide::route::Table;
use ring::digest::{SHA256, digest};

const FILE: &str = "table.json";
const BEFORE: &str = "table.before.json";
const LOCK: &str = "lock";
/// Between two looks whether the folder is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where it is kept: the table, and the one before it for when the newest can't be read.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    /// Held: no other router keeps its table there.
    _lock: Arc<File>,
}

/// What was found at a start.
#[derive(Debug, Default)]
pub struct Found {
    /// None: there is no table that may be used.
    pub table: Option<Table>,
    /// Files that were refused, and why.
    pub refused: Vec<String>,
}

impl Kept {
    /// # Errors
    /// The folder can't be made, or another router uses it for longer than `patience`: one that ends serves what it has begun.
    pub fn open(folder: &Path, patience: Duration) -> Result<Kept, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
        fs::create_dir_all(folder).map_err(wrong)?;
        let lock = File::create(folder.join(LOCK)).map_err(wrong)?;
        let begun = Instant::now();
        // SAFETY: the descriptor is open for the whole call; flock touches no memory of ours.
        while unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            if begun.elapsed() >= patience {
                return Err(format!("{}: another router keeps its table there", folder.display()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(Kept { folder: folder.to_owned(), _lock: Arc::new(lock) })
    }

    /// The newest table that can be read and makes sense. What can't is left where it is, and told.
    pub fn load(&self) -> Found {
        let mut found = Found::default();
        for name in [FILE, BEFORE] {
            let path = self.folder.join(name);
            match read(&path) {
                Ok(None) => {}
                Ok(Some(table)) => {
                    found.table = Some(table);
                    break;
                }
                Err(why) => found.refused.push(format!("{}: {why}", path.display())),
            }
        }
        found
    }

    /// Keeps a table; it is durable when this returns.
    ///
    /// # Errors
    /// It could not be written; what was there is still there.
    pub fn save(&self, table: &Table) -> Result<(), String> {
        let body = serde_json::to_vec(table).map_err(|e| e.to_string())?;
        let (path, new) = (self.folder.join(FILE), self.folder.join("table.new"));
        let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = File::create(&new).map_err(wrong)?;
        file.write_all(seal(&body).as_bytes()).and_then(|()| file.write_all(&body)).map_err(wrong)?;
        file.sync_all().map_err(wrong)?;
        match fs::rename(&path, self.folder.join(BEFORE)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(wrong(e)),
            _ => {}
        }
        fs::rename(&new, &path).map_err(wrong)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(wrong)
    }
}

/// The first line of the file: what its rest is told by.
fn seal(body: &[u8]) -> String {
    format!("{}\n", dwcp_types::hex(digest(&SHA256, body).as_ref()))
}

fn read(path: &Path) -> Result<Option<Table>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (line, body) = bytes.split_at(end);
    if line != seal(body).as_bytes() {
        return Err("its content is not what was written".to_owned());
    }
    let table: Table = serde_json::from_slice(body).map_err(|e| format!("not a table: {e}"))?;
    table.check()?;
    Ok(Some(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("dwcp-table-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn at(revision: u64) -> Table {
        Table { here: "us-east-1".into(), revisions: [(0, revision)].into(), ..Table::default() }
    }

    #[test]
    fn a_torn_or_changed_table_is_refused_and_the_one_before_is_used() {
        let folder = scratch("torn");
        let kept = Kept::open(&folder, Duration::ZERO).expect("a folder");
        assert!(Kept::open(&folder, Duration::ZERO).is_err_and(|why| why.contains("another router")));
        assert!(kept.load().table.is_none());
        kept.save(&at(1)).expect("saved");
        kept.save(&at(2)).expect("saved");
        assert_eq!(kept.load().table, Some(at(2)));
        let whole = fs::read(folder.join(FILE)).expect("there");
        for cut in [0, 1, 64, 65, whole.len() - 1] {
            fs::write(folder.join(FILE), &whole[..cut]).expect("written");
            let found = kept.load();
            assert_eq!((found.table, found.refused.len()), (Some(at(1)), 1), "cut at {cut}");
        }
        let mut flipped = whole.clone();
        flipped[70] ^= 1;
        fs::write(folder.join(FILE), flipped).expect("written");
        assert_eq!(kept.load().table, Some(at(1)));
        fs::remove_dir_all(&folder).expect("removed");
    }
}

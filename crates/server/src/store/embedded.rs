//! The store in a file of this machine.
//!
//! One file, written by one thread. Every opening reads the whole file and checks every page; a file that fails is set aside,
//! and the node starts as one that lost its state and gets it from its peers.

mod checkup;
mod medium;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dwcp_consensus::Batch;
use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

pub(super) use checkup::Checkup;
use medium::{Medium, Side};

use super::lock::Lock;
use super::mark::Mark;
use super::{COMMITS, LOST, Records, SetAside, StoreError, fault};

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
const FILE: &str = "store.redb";
/// A new file before it takes the place of the old one, and the old one after.
const NEW_FILE: &str = "store.new";
const OLD_FILE: &str = "store.replaced";
const CACHE_BYTES: usize = 32 << 20;

/// The file, open.
pub(super) struct Embedded {
    database: Database,
    /// None on a medium of a test, like the next.
    mark: Option<Mark>,
    side: Option<(PathBuf, Side)>,
    lost: bool,
    commits: u64,
    broken: bool,
    _lock: Option<Lock>,
}

impl Embedded {
    /// Opens the store of a folder, makes both when they are missing, and tells what was set aside.
    pub(super) fn open(folder: &Path) -> Result<(Embedded, Option<SetAside>), StoreError> {
        fs::create_dir_all(folder).map_err(|e| StoreError::io("cannot make the folder", folder, e))?;
        let lock = Lock::take(folder)?;
        let mark = Mark::open(folder)?;
        // Of a new file that did not come to be; one that can't be removed is in nobody's way.
        let _ = fs::remove_file(folder.join(NEW_FILE));
        let path = folder.join(FILE);
        let mut set_aside = None;
        let mut found = Embedded::open_file(&path, mark.commits())?;
        if let Err(why) = &found {
            let place = put_aside(&path)?.display().to_string();
            set_aside = Some(SetAside { place, why: why.clone() });
            found = Embedded::open_file(&path, 0)?;
        }
        let (database, side, commits) = found.map_err(StoreError::Damaged)?;
        let side = Some((folder.to_path_buf(), side));
        let (mark, lock) = (Some(mark), Some(lock));
        let mut store = Embedded { database, commits, mark, side, lost: false, broken: false, _lock: lock };
        if set_aside.is_some() {
            store.commits = store.mark.as_ref().map_or(0, Mark::commits);
            store.write(&[Batch { puts: vec![(LOST.to_vec(), vec![1])], ..Batch::default() }])?;
        }
        store.lost = !store.range(LOST, b"m").is_empty();
        Ok((store, set_aside))
    }

    /// A store on another medium.
    pub(super) fn on_medium(medium: impl StorageBackend) -> Result<Embedded, StoreError> {
        let database =
            builder().create_with_backend(medium).map_err(|e| StoreError::Damaged(e.to_string()))?;
        let mut store = Embedded {
            database,
            commits: 0,
            mark: None,
            side: None,
            lost: false,
            broken: false,
            _lock: None,
        };
        store.write(&[])?;
        Ok(store)
    }

    /// The outer error is of the disk; the inner one says why the content can't be trusted.
    fn open_file(path: &Path, commits_before: u64) -> Result<Result<Found, String>, StoreError> {
        if commits_before > 0 && !path.exists() {
            return Ok(Err(format!("{} is gone", path.display())));
        }
        // Reading a damaged file may panic inside the database's code.
        let opened = catch_unwind(AssertUnwindSafe(|| read_file(path)));
        let (database, side, commits) = match opened {
            Ok(Ok(found)) => found,
            Ok(Err(StoreError::Damaged(why))) => return Ok(Err(why)),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(Err("its pages contradict each other".to_owned())),
        };
        if commits < commits_before {
            return Ok(Err(format!("it holds {commits} commits, but {commits_before} were acknowledged")));
        }
        Ok(Ok((database, side, commits)))
    }

    /// See [`Store::write`](super::Store::write).
    pub(super) fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Write("an earlier write failed".to_owned()));
        }
        self.broken = true;
        let commits = self.commits + 1;
        commit(&self.database, batches, commits).map_err(|e| StoreError::Write(e.to_string()))?;
        self.commits = commits;
        if let Some(mark) = &self.mark {
            mark.set(commits)?;
        }
        self.broken = false;
        Ok(())
    }

    /// See [`Store::checkup`](super::Store::checkup). Takes no longer than opening a file; while the result lives, a commit also
    /// reads what it overwrites.
    pub(super) fn checkup(&self) -> Result<Checkup, StoreError> {
        let began = Instant::now();
        let Some((folder, side)) = &self.side else {
            return Err(StoreError::Write("there is no file to read back".to_owned()));
        };
        let moment = side.moment().map_err(|e| StoreError::io("cannot read back", folder, e))?;
        let held_us = began.elapsed().as_micros() as u64;
        Ok(Checkup { moment, side: side.clone(), commits: self.commits, held_us })
    }

    /// Writes a batch that holds everything into a new file, which then takes the place of the old one; that one is kept as
    /// `store.replaced` until the next time. A crash leaves one of the two in place, whole.
    pub(super) fn renew(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let Some((folder, _)) = &self.side else {
            return self.write(std::slice::from_ref(batch));
        };
        let folder = folder.clone();
        let [path, new, old] = [FILE, NEW_FILE, OLD_FILE].map(|name| folder.join(name));
        let failed = |tried: &'static str, of: &Path| {
            let of = of.to_path_buf();
            move |e| StoreError::io(tried, &of, e)
        };
        let gone = |file: &Path| match fs::remove_file(file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("cannot remove", file, e))
            }
            _ => Ok(()),
        };
        gone(&new)?;
        let medium = Medium::open(&new).map_err(|e| fault::on_open(&new, e))?;
        let side = medium.side().at(&path);
        let database = builder().create_with_backend(medium).map_err(|e| fault::on_open(&new, e))?;
        let lost = self.lost.then(|| Batch { puts: vec![(LOST.to_vec(), vec![1])], ..Batch::default() });
        let batches: Vec<Batch> = lost.into_iter().chain([batch.clone()]).collect();
        let commits = self.commits + 1;
        commit(&database, &batches, commits).map_err(|e| StoreError::Write(e.to_string()))?;
        gone(&old)?;
        fs::hard_link(&path, &old).map_err(failed("cannot keep", &path))?;
        fs::rename(&new, &path).map_err(failed("cannot put in place", &new))?;
        self.broken = true;
        let before = std::mem::replace(&mut self.database, database);
        // What is damaged may panic when it is closed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(before)));
        self.commits = commits;
        let synced = fs::File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("cannot sync", &folder))?;
        self.side = Some((folder, side));
        if let Some(mark) = &self.mark {
            mark.set(commits)?;
        }
        self.broken = false;
        Ok(())
    }

    /// How many commits were made.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// What this node once promised may be gone.
    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// Records with `from <= key < to`.
    pub(super) fn range(&self, from: &[u8], to: &[u8]) -> Records {
        read_range(&self.database, from, to).unwrap_or_else(|error| {
            panic!("the store was whole when it was opened and can't be read now: {error}")
        })
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// A database, the other way to its file, and its commits.
type Found = (Database, Side, u64);

fn read_file(path: &Path) -> Result<Found, StoreError> {
    let medium = Medium::open(path).map_err(|error| fault::on_open(path, error))?;
    let side = medium.side();
    let database = builder().create_with_backend(medium).map_err(|error| fault::on_open(path, error))?;
    let damaged = |error: redb::Error| StoreError::Damaged(error.to_string());
    commit_nothing(&database).map_err(damaged)?;
    let commits = committed(&database).map_err(damaged)?;
    Ok((database, side, commits))
}

fn committed(database: &Database) -> Result<u64, redb::Error> {
    let commits = read_range(database, COMMITS, b"d")?;
    let newest = commits.first().and_then(|(_, value)| value.as_slice().try_into().ok());
    Ok(newest.map_or(0, u64::from_be_bytes))
}

/// Makes the table, so that it can be read.
fn commit_nothing(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(RECORDS)?;
    write.commit()?;
    Ok(())
}

fn commit(database: &Database, batches: &[Batch], commits: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(RECORDS)?;
        for batch in batches {
            for (from, to) in &batch.delete_ranges {
                if from < to {
                    table.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
                }
            }
            for key in &batch.deletes {
                table.remove(key.as_slice())?;
            }
            for (key, value) in &batch.puts {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        table.insert(COMMITS, commits.to_be_bytes().as_slice())?;
    }
    write.commit()?;
    Ok(())
}

fn read_range(database: &Database, from: &[u8], to: &[u8]) -> Result<Records, redb::Error> {
    let read = database.begin_read()?;
    let table = read.open_table(RECORDS)?;
    let mut records = Vec::new();
    for record in table.range(from..to)? {
        let (key, value) = record?;
        records.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(records)
}

/// Moves the damaged file to `store.corrupt-<seconds since 1970>`, for whoever wants to look at it.
fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut aside = path.with_file_name(format!("store.corrupt-{seconds}"));
    for number in 2.. {
        if !aside.exists() {
            break;
        }
        aside = path.with_file_name(format!("store.corrupt-{seconds}-{number}"));
    }
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("cannot set aside", path, error))
        }
        _ => Ok(aside),
    }
}

//! The local durable store: ordered keys, atomic batches, ranges.
//!
//! One file, written by one thread. [`Store::write`] makes any number of batches durable with one commit, and returns only
//! when the disk has them. Every opening reads the whole file and checks every page; a file that fails is set aside, and
//! the node starts as one that lost its state and gets it from its peers.

mod fault;
mod lock;
mod mark;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_consensus::{Batch, Disk};
use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

pub use fault::StoreError;
use lock::Lock;
use mark::Mark;

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// How many commits the store has seen. Keys of the consensus begin with `r`.
const COMMITS: &[u8] = b"c";
/// There once was a store here that could not be read; see [`Opened::lost`].
const LOST: &[u8] = b"l";
const FILE: &str = "store.redb";
const CACHE_BYTES: usize = 32 << 20;

/// The store of one node.
pub struct Store {
    database: Database,
    /// None on a medium of a test.
    mark: Option<Mark>,
    commits: u64,
    broken: bool,
    _lock: Option<Lock>,
}

/// A store and what was found.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What this node once promised may be gone: groups without records must not be founded anew.
    pub lost: bool,
    /// Where the unreadable file was put, and why it was unreadable.
    pub set_aside: Option<(PathBuf, String)>,
}

impl Store {
    /// Opens the store of a folder; makes both when they are missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Io`] when the folder can't be used. A damaged file
    /// is no error: it is set aside.
    pub fn open(folder: &Path) -> Result<Opened, StoreError> {
        fs::create_dir_all(folder).map_err(|e| StoreError::io("cannot make the folder", folder, e))?;
        let lock = Lock::take(folder)?;
        let mark = Mark::open(folder)?;
        let path = folder.join(FILE);
        let mut set_aside = None;
        let mut found = Store::open_file(&path, mark.commits())?;
        if let Err(why) = &found {
            set_aside = Some((put_aside(&path)?, why.clone()));
            found = Store::open_file(&path, 0)?;
        }
        let (database, commits) = found.map_err(StoreError::Damaged)?;
        let mut store = Store { database, commits, mark: Some(mark), broken: false, _lock: Some(lock) };
        if set_aside.is_some() {
            store.commits = store.mark.as_ref().map_or(0, Mark::commits);
            store.write(&[Batch { puts: vec![(LOST.to_vec(), vec![1])], ..Batch::default() }])?;
        }
        let lost = store.range(LOST, b"m").next().is_some();
        Ok(Opened { store, lost, set_aside })
    }

    /// A store on another medium, such as one that fails on purpose.
    ///
    /// # Errors
    /// The medium's.
    pub fn on_medium(medium: impl StorageBackend) -> Result<Store, StoreError> {
        let database =
            builder().create_with_backend(medium).map_err(|e| StoreError::Damaged(e.to_string()))?;
        let mut store = Store { database, commits: 0, mark: None, broken: false, _lock: None };
        store.write(&[])?;
        Ok(store)
    }

    /// The outer error is of the disk; the inner one says why the content can't be trusted.
    fn open_file(path: &Path, commits_before: u64) -> Result<Result<(Database, u64), String>, StoreError> {
        if commits_before > 0 && !path.exists() {
            return Ok(Err(format!("{} is gone", path.display())));
        }
        // Reading a damaged file may panic inside the database's code.
        let opened = catch_unwind(AssertUnwindSafe(|| read_file(path)));
        let (database, commits) = match opened {
            Ok(Ok(found)) => found,
            Ok(Err(StoreError::Damaged(why))) => return Ok(Err(why)),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(Err("its pages contradict each other".to_owned())),
        };
        if commits < commits_before {
            return Ok(Err(format!("it holds {commits} commits, but {commits_before} were acknowledged")));
        }
        Ok(Ok((database, commits)))
    }

    /// Makes all batches durable, in this order, with one commit.
    ///
    /// # Errors
    /// Nothing of the batches can be relied on, and every later call fails too.
    pub fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
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

    /// How many commits were made.
    pub fn commits(&self) -> u64 {
        self.commits
    }
}

impl Disk for Store {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let records = read_range(&self.database, from, to).unwrap_or_else(|error| {
            panic!("the store was whole when it was opened and can't be read now: {error}")
        });
        Box::new(records.into_iter())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn read_file(path: &Path) -> Result<(Database, u64), StoreError> {
    let database = builder().create(path).map_err(|error| fault::on_open(path, error))?;
    let damaged = |error: redb::Error| StoreError::Damaged(error.to_string());
    commit_nothing(&database).map_err(damaged)?;
    let commits = read_range(&database, COMMITS, b"d").map_err(damaged)?;
    let commits =
        commits.first().and_then(|(_, value)| value.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes);
    Ok((database, commits))
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

type Records = Vec<(Vec<u8>, Vec<u8>)>;

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

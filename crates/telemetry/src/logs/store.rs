//! A folder of logs: one of its own, and copies of others.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::log::Log;
use super::segment::Segment;
use super::{
    Entry, Fault, Limits, Order, Origin, Page, Query, QueryError, Record, Shipment, TraceId, search,
};

/// The file that names the store's own log.
const OWN: &str = "own";

/// Why a store did not do something.
#[derive(Debug)]
pub enum StoreError {
    Io(io::Error),
    /// What was given can't be taken.
    Refused(String),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::Io(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io(error) => error.fmt(f),
            StoreError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

/// The logs of a folder, which only one store may have open. All of its methods may be called from several threads;
/// reading does not keep others from writing.
pub struct Store {
    folder: PathBuf,
    limits: Limits,
    own: Origin,
    inner: Mutex<Inner>,
}

struct Inner {
    logs: BTreeMap<Origin, Log>,
    faults: Vec<Fault>,
}

/// A log's files at one moment.
pub(super) type View = (Origin, Vec<Arc<Segment>>);

impl Store {
    /// Opens a folder, which is made when it is missing. `new` names the store's own log when it has none yet: it
    /// must be a name that no earlier log of the region had, because the numbers of its records begin anew. After
    /// every opening 2^20 numbers are left out, so that what a crash took does not share its numbers with what is
    /// written later.
    ///
    /// # Errors
    /// The folder can't be read or written, or is that of another region.
    pub fn open(folder: &Path, new: &Origin, limits: Limits) -> Result<Store, StoreError> {
        fs::create_dir_all(folder)?;
        let own = read_own(folder, new)?;
        let (mut logs, mut faults) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let origin = entry.file_name().to_str().and_then(Origin::parse);
            let Some(origin) = origin.filter(|_| entry.path().is_dir()) else { continue };
            let log = Log::open(&entry.path(), origin.clone(), origin == own, &mut faults)?;
            logs.insert(origin, log);
        }
        if !logs.contains_key(&own) {
            let log = Log::open(&folder.join(own.as_str()), own.clone(), true, &mut faults)?;
            logs.insert(own.clone(), log);
        }
        let inner = Mutex::new(Inner { logs, faults });
        Ok(Store { folder: folder.to_owned(), limits, own, inner })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The name of the store's own log.
    pub fn origin(&self) -> &Origin {
        &self.own
    }

    /// What was found damaged since this was last asked.
    pub fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut self.inner().faults)
    }

    /// Writes entries to the store's own log, in this order, and gives the number of the first. They survive a crash
    /// of the process; that of the machine only from the next [`Store::sync`] on. Secrets are replaced and what is
    /// too long is cut before.
    ///
    /// # Errors
    /// They can't be written: none of them was.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>) -> Result<u64, StoreError> {
        let entries: Vec<Entry> = entries.into_iter().map(Entry::admitted).collect();
        let mut inner = self.inner();
        let Inner { logs, faults } = &mut *inner;
        let log = logs.get_mut(&self.own).ok_or_else(|| StoreError::Refused("it has no log".into()))?;
        Ok(log.append(&entries, &self.limits, faults)?)
    }

    /// Writes what is missing of another log's records here, and says how many records that were. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// It is no shipment, or of this store's own log, or it can't be written.
    pub fn append_copy(&self, shipment: Shipment) -> Result<u64, StoreError> {
        shipment.check().map_err(StoreError::Refused)?;
        if shipment.origin == self.own {
            return Err(StoreError::Refused(format!("{} is written here, and not copied", self.own)));
        }
        let records = shipment.records.into_iter();
        let entries: Vec<(u64, Entry)> =
            records.map(|record| (record.seq, record.entry.admitted())).collect();
        let mut inner = self.inner();
        let Inner { logs, faults } = &mut *inner;
        if !logs.contains_key(&shipment.origin) {
            let folder = self.folder.join(shipment.origin.as_str());
            let log = Log::open(&folder, shipment.origin.clone(), false, faults)?;
            logs.insert(shipment.origin.clone(), log);
        }
        let log =
            logs.get_mut(&shipment.origin).ok_or_else(|| StoreError::Refused("it has no log".into()))?;
        Ok(log.append_copy(shipment.from, shipment.through, &entries, &self.limits, faults)?)
    }

    /// Has everything written so far on the disk when it returns; to be called every second or so.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.inner().logs.values_mut().try_for_each(Log::sync)
    }

    /// Lets go of what is too old or too much; to be called every minute or so.
    ///
    /// # Errors
    /// A file can't be removed or written anew.
    pub fn retain(&self, now_ms: i64) -> io::Result<()> {
        let mut inner = self.inner();
        let Inner { logs, faults } = &mut *inner;
        for log in logs.values_mut() {
            log.expire(now_ms.saturating_sub(self.limits.age_ms), faults)?;
            log.bound(&self.limits, faults)?;
        }
        Ok(())
    }

    /// What follows the record `after` of a log, for another region: at most `limit` records, up to where it is known
    /// without a gap. Of its own log only what was synced. None when nothing follows.
    pub fn after(&self, origin: &Origin, after: u64, limit: usize) -> Option<Shipment> {
        let following = self.inner().logs.get(origin)?.following(after)?;
        let mut faults = Vec::new();
        let shipment = following.read(limit.max(1), &mut faults);
        self.inner().faults.append(&mut faults);
        Some(shipment)
    }

    /// The logs that are here, with the last number of each.
    pub fn logs(&self) -> Vec<(Origin, u64)> {
        self.inner().logs.iter().map(|(origin, log)| (origin.clone(), log.last_seq())).collect()
    }

    /// Which records of a log are missing below the last that is known: first and last of each run.
    pub fn gaps(&self, origin: &Origin) -> Vec<(u64, u64)> {
        self.inner().logs.get(origin).map(Log::gaps).unwrap_or_default()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.inner().logs.values().map(Log::bytes).sum()
    }

    fn views(&self, query: &Query) -> Vec<View> {
        let inner = self.inner();
        let wanted = inner.logs.values().filter(|log| {
            let region = query.region.as_deref();
            (query.copies || log.origin == self.own)
                && region.is_none_or(|region| log.origin.region() == region)
        });
        wanted.map(|log| (log.origin.clone(), log.segments())).collect()
    }

    /// The records that fulfil a query, of all logs that are here, merged.
    ///
    /// # Errors
    /// It would read too much.
    pub fn query(&self, query: &Query) -> Result<Page, QueryError> {
        search::search(&self.views(query), query)
    }

    /// Everything of one trace that began at `since_ms` or later, lines and spans, by time; at most 10,000 records.
    ///
    /// # Errors
    /// It would read too much.
    pub fn trace(&self, trace: TraceId, since_ms: Option<i64>) -> Result<Vec<Record>, QueryError> {
        let query = Query {
            trace: Some(trace),
            kinds: super::Kinds::Both,
            since_ms,
            limit: 10_000,
            order: Order::OldestFirst,
            refuse: true,
            ..Query::default()
        };
        Ok(self.query(&query)?.records)
    }
}

fn read_own(folder: &Path, new: &Origin) -> Result<Origin, StoreError> {
    let path = folder.join(OWN);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let own = Origin::parse(text.trim_end())
                .ok_or_else(|| StoreError::Refused(format!("{} names no log", path.display())))?;
            if own.region() != new.region() {
                let why =
                    format!("{} has the log of {}, not of {}", folder.display(), own.region(), new.region());
                return Err(StoreError::Refused(why));
            }
            Ok(own)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let unfinished = folder.join("own.tmp");
            let mut file = File::create(&unfinished)?;
            file.write_all(format!("{new}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(unfinished, path)?;
            File::open(folder)?.sync_all()?;
            Ok(new.clone())
        }
        Err(error) => Err(error.into()),
    }
}

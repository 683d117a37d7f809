//! The file read back from its disk while it is in use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use dwcp_consensus::{Disk, examine};
use dwcp_roles::node::StoreCheck;
use dwcp_types::GroupId;
use redb::Database;

use super::medium::{Moment, Side, TOO_MUCH_WRITTEN};
use super::{builder, committed, read_range};

/// Cache of the database that is opened to look, bytes: what it holds is not read twice.
const CACHE_BYTES: usize = 4 << 20;
/// What is said when the code that reads a database panics over it.
const CONTRADICTION: &str = "its pages contradict each other";

/// The store between two commits, to be read when there is time.
pub(in crate::store) struct Checkup {
    pub(super) moment: Moment,
    pub(super) side: Side,
    /// Commits that must be in it.
    pub(super) commits: u64,
    /// How long the writer was held up, µs.
    pub(super) held_us: u64,
}

/// A database to look at. Reading a damaged one may panic inside its code.
struct Looked<'a>(&'a Database);

impl Disk for Looked<'_> {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let records = read_range(self.0, from, to).unwrap_or_else(|error| panic!("{error}"));
        Box::new(records.into_iter())
    }
}

impl Checkup {
    /// Reads all of it: every page of the database against the checksum that leads to it, every record of the groups against its
    /// own. Takes long; the store goes on meanwhile.
    pub(in crate::store) fn run(self, groups: &[GroupId]) -> StoreCheck {
        let began = Instant::now();
        let Checkup { moment, side, commits, held_us } = self;
        let counter = moment.counter();
        let mut found = StoreCheck { file_bytes: moment.length(), held_us, ..StoreCheck::default() };
        let looked = catch_unwind(AssertUnwindSafe(|| look(moment, commits, groups, &mut found)));
        let looked = looked.unwrap_or_else(|_| Err(CONTRADICTION.to_owned()));
        found.flaws.extend(looked.err().map(|why| (None, why)));
        if side.forget_moment() {
            // What could not be read says nothing about what is there.
            (found.unread, found.flaws) = (TOO_MUCH_WRITTEN.to_owned(), Vec::new());
        }
        found.bytes = counter.load(Ordering::Relaxed);
        found.took_ms = began.elapsed().as_millis() as u64;
        found
    }
}

fn look(moment: Moment, commits: u64, groups: &[GroupId], found: &mut StoreCheck) -> Result<(), String> {
    // Opening reads every page that is in use.
    let mut builder = builder();
    let database =
        builder.set_cache_size(CACHE_BYTES).create_with_backend(moment).map_err(|e| e.to_string())?;
    let read = catch_unwind(AssertUnwindSafe(|| read(&database, commits, groups, found)));
    // Closing a damaged one may panic as well, which must not happen while another panic unwinds.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    read.unwrap_or_else(|_| Err(CONTRADICTION.to_owned()))
}

fn read(database: &Database, commits: u64, groups: &[GroupId], found: &mut StoreCheck) -> Result<(), String> {
    let newest = committed(database).map_err(|e| e.to_string())?;
    if newest != commits {
        // Its two newest states are there, each with checksums: the older one is read when the newest one can't be.
        return Err(format!(
            "a part of its newest commit is damaged: {newest} of {commits} commits can be read"
        ));
    }
    let looked = Looked(database);
    for group in groups {
        let examined = examine(*group, &looked);
        found.records += examined.records;
        found.flaws.extend(examined.flaws.into_iter().map(|flaw| (Some(*group), flaw)));
    }
    Ok(())
}

//! The durable store: ordered keys, atomic batches, ranges.
//!
//! One thread writes. [`Store::write`] makes any number of batches durable, and returns only when they are. Two engines keep
//! them: a file of this machine ([`Store::open`]), and the region's etcd cluster ([`Store::open_etcd`]), which survives the
//! machine. Both count their commits and notice a content that is older than what was acknowledged: the node then starts as
//! one that lost its state, and gets it from its peers.

mod embedded;
pub mod etcd;
mod fault;
mod lock;
mod mark;

use std::path::Path;

use dwcp_consensus::{Batch, Disk};
use dwcp_roles::node::StoreCheck;
use dwcp_types::GroupId;
use redb::StorageBackend;

use crate::log::Log;
use embedded::Embedded;
use etcd::{Etcd, Place};
pub use fault::StoreError;

/// How many commits the store has seen. Keys of the consensus begin with `r`.
const COMMITS: &[u8] = b"c";
/// There once was a store here that could not be read; see [`Opened::lost`].
const LOST: &[u8] = b"l";

/// Keys and values.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// The store of one node.
pub struct Store(Engine);

/// What keeps the records.
enum Engine {
    Embedded(Box<Embedded>),
    Etcd(Box<Etcd>),
}

/// A store and what was found.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What this node once promised may be gone: groups without records must not be founded anew.
    pub lost: bool,
    /// What could not be trusted, if anything.
    pub set_aside: Option<SetAside>,
}

/// A content that can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it can still be looked at.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// The store between two commits, to be read when there is time.
pub struct Checkup(Moment);

enum Moment {
    Embedded(Box<embedded::Checkup>),
    Etcd(Box<etcd::Checkup>),
}

impl Store {
    /// Opens the embedded store of a folder; makes both when they are missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Io`] when the folder can't be used. A damaged file
    /// is no error: it is set aside.
    pub fn open(folder: &Path) -> Result<Opened, StoreError> {
        let (store, set_aside) = Embedded::open(folder)?;
        Ok(Opened { lost: store.lost(), store: Store(Engine::Embedded(Box::new(store))), set_aside })
    }

    /// Opens a store in an etcd cluster; `folder` keeps what this machine must know of it. Blocks.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Etcd`] when the cluster does not answer or refuses. A
    /// damaged content is no error: the store begins anew.
    pub fn open_etcd(folder: &Path, place: &Place, log: &Log) -> Result<Opened, StoreError> {
        let (store, set_aside) = Etcd::open(folder, place, log)?;
        Ok(Opened { lost: store.lost(), store: Store(Engine::Etcd(Box::new(store))), set_aside })
    }

    /// An embedded store on another medium, such as one that fails on purpose.
    ///
    /// # Errors
    /// The medium's.
    pub fn on_medium(medium: impl StorageBackend) -> Result<Store, StoreError> {
        Ok(Store(Engine::Embedded(Box::new(Embedded::on_medium(medium)?))))
    }

    /// Makes all batches durable, in this order. A crash leaves a whole number of them.
    ///
    /// # Errors
    /// Nothing of the batches can be relied on, and every later call fails too.
    pub fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        match &mut self.0 {
            Engine::Embedded(store) => store.write(batches),
            Engine::Etcd(store) => store.write(batches),
        }
    }

    /// The store as it is between two commits, to be read back.
    ///
    /// # Errors
    /// It can't be read a second time.
    pub fn checkup(&self) -> Result<Checkup, StoreError> {
        match &self.0 {
            Engine::Embedded(store) => Ok(Checkup(Moment::Embedded(Box::new(store.checkup()?)))),
            Engine::Etcd(store) => Ok(Checkup(Moment::Etcd(Box::new(store.checkup())))),
        }
    }

    /// Writes a batch that holds everything so that nothing of what was there before is used any more.
    ///
    /// # Errors
    /// What was there stays in use, without the batch; when it can't be relied on, every later call fails, as after
    /// [`Store::write`].
    pub fn renew(&mut self, batch: &Batch) -> Result<(), StoreError> {
        match &mut self.0 {
            Engine::Embedded(store) => store.renew(batch),
            Engine::Etcd(store) => store.renew(batch),
        }
    }

    /// How many commits were made.
    pub fn commits(&self) -> u64 {
        match &self.0 {
            Engine::Embedded(store) => store.commits(),
            Engine::Etcd(store) => store.commits(),
        }
    }
}

impl Disk for Store {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let records = match &self.0 {
            Engine::Embedded(store) => store.range(from, to),
            Engine::Etcd(store) => store.range(from, to),
        };
        Box::new(records.into_iter())
    }
}

impl Checkup {
    /// Reads all of it: every record against the checksum that the store has of it, every record of the groups against its own.
    /// Takes long; the store goes on meanwhile.
    pub fn run(self, groups: &[GroupId]) -> StoreCheck {
        match self.0 {
            Moment::Embedded(checkup) => checkup.run(groups),
            Moment::Etcd(checkup) => checkup.run(groups),
        }
    }
}

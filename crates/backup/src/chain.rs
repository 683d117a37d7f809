//! The chain of a repository: every entry names the digest of the one before, so that none can be lost, put back or put in
//! another's place unseen; what retention removed, a later entry says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use dwcp_types::{GroupId, Wall, hex};

use crate::error::{Error, Fault};
use crate::format::{
    Body, Entry, EntryHead, KEYS, Kind, LARGEST_ENTRY, LOG, Manifest, NewKey, leading_number, log_name,
    read_entry, read_entry_head, wrap_name,
};
use crate::repository::{Repository, keys_at};
use crate::seal::{Bytes32, Sealer, sha256, unhex};

/// The newest entry of a chain. Kept apart from the destination, it shows whether the destination went back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number, from 1; 0 for a chain without entries.
    pub sequence: u64,
    /// SHA-256 of its object.
    pub digest: [u8; 32],
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, hex(&self.digest))
    }
}

impl FromStr for Head {
    type Err = String;
    fn from_str(text: &str) -> Result<Head, String> {
        let parts =
            text.split_once('-').and_then(|(number, digest)| Some((number.parse().ok()?, unhex(digest)?)));
        let (sequence, digest) =
            parts.ok_or_else(|| format!("{text:?} is no head such as `7-<64 digits>`"))?;
        Ok(Head { sequence, digest })
    }
}

/// A backup of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its number in the chain: by it, it is restored.
    pub sequence: u64,
    /// When it was made.
    pub at: Wall,
    /// Whether it shares chunks.
    pub kind: Kind,
    /// With which backup.
    pub parent: Option<u64>,
    /// What its maker wrote down about it.
    pub metadata: BTreeMap<String, String>,
    /// How many records it has, in all and by group.
    pub records: u64,
    /// By group.
    pub groups: BTreeMap<GroupId, u64>,
    /// Size of the records, bytes.
    pub raw_bytes: u64,
    /// What it added to the destination, bytes.
    pub written_bytes: u64,
    /// Its chunks, and how many of them were new.
    pub chunks: (u64, u64),
}

impl Backup {
    pub(crate) fn of(sequence: u64, at: Wall, manifest: &Manifest) -> Backup {
        Backup {
            sequence,
            at,
            kind: manifest.kind,
            parent: manifest.parent,
            metadata: manifest.metadata.clone(),
            records: manifest.records,
            groups: manifest.groups.clone(),
            raw_bytes: manifest.raw_bytes,
            written_bytes: manifest.written_bytes,
            chunks: (manifest.chunks, manifest.new_chunks),
        }
    }
}

/// What a repository holds, as far as its chain tells; [`Repository::verify`] reads the rest.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its backups, oldest first.
    pub backups: Vec<Backup>,
    /// What is not as it must be.
    pub faults: Vec<Fault>,
    /// The newest entry.
    pub head: Head,
    /// Why there is nothing before the oldest, when something was removed.
    pub removed: Option<String>,
}

pub(crate) struct Known {
    pub entry: Entry,
    pub head: EntryHead,
    pub data_key: Bytes32,
}

/// The chain as it was read.
pub(crate) struct Chain {
    pub known: BTreeMap<u64, Known>,
    pub faults: Vec<Fault>,
    /// Entries that are not what the chain says.
    suspect: BTreeSet<u64>,
    /// What a removal that was not finished left, and names that are none of ours.
    pub leftovers: Vec<String>,
    pub floor: u64,
    pub head: Head,
    pub removed: Option<String>,
    /// The head that was expected is not in it.
    rolled_back: bool,
}

impl Chain {
    /// Reads every entry and compares each with the next.
    ///
    /// # Errors
    /// The destination's. Damage is no error here: it is noted.
    pub fn read(repository: &Repository) -> Result<Chain, Error> {
        let mut chain = Chain {
            known: BTreeMap::new(),
            faults: Vec::new(),
            suspect: BTreeSet::new(),
            leftovers: Vec::new(),
            floor: 1,
            head: Head { sequence: 0, digest: repository.title_digest.0 },
            removed: None,
            rolled_back: false,
        };
        let mut digests = BTreeMap::new();
        let mut faults = BTreeMap::new();
        for listed in repository.destination.list(LOG)? {
            let number = listed.name.strip_prefix(LOG).and_then(leading_number);
            let Some(sequence) = number.filter(|number| log_name(*number) == listed.name) else {
                chain.leftovers.push(listed.name);
                continue;
            };
            let (known, digest) = read_one(repository, sequence)?;
            digests.insert(sequence, digest);
            match known {
                Ok(known) => drop(chain.known.insert(sequence, known)),
                Err(found) => drop(faults.insert(sequence, found)),
            }
        }
        let mut before = repository.title_digest;
        for known in chain.known.values() {
            if let Body::Removal(removal) = &known.entry.body {
                if removal.floor >= chain.floor {
                    (chain.floor, before) = (removal.floor, removal.before);
                    let backups = removal.removed.len();
                    chain.removed = Some(format!(
                        "{backups} backups before entry {} were removed on {}: {}",
                        removal.floor,
                        known.entry.at.utc(),
                        removal.reason
                    ));
                }
            }
        }
        // What retention removed need not be whole any more.
        for sequence in digests.keys().filter(|sequence| **sequence < chain.floor) {
            chain.known.remove(sequence);
            chain.leftovers.push(log_name(*sequence));
        }
        digests = digests.split_off(&chain.floor);
        for (sequence, found) in faults.split_off(&chain.floor) {
            found.into_iter().for_each(|fault| chain.suspect(sequence, fault));
        }
        chain.link(before, &digests);
        chain.compare(repository, before, &digests);
        chain.faults.sort();
        chain.faults.dedup();
        Ok(chain)
    }

    fn suspect(&mut self, sequence: u64, fault: Fault) {
        self.suspect.insert(sequence);
        self.faults.push(fault);
    }

    /// Follows the digests from the floor to the newest entry.
    fn link(&mut self, before: Bytes32, digests: &BTreeMap<u64, Bytes32>) {
        let Some((newest, digest)) = digests.last_key_value() else { return };
        self.head = Head { sequence: *newest, digest: digest.0 };
        let mut previous = Some(before);
        for sequence in self.floor..=*newest {
            let name = log_name(sequence);
            if !digests.contains_key(&sequence) {
                self.suspect(sequence, Fault::new(name, "is missing, and no entry says that it was removed"));
                previous = None;
                continue;
            }
            let says = self.known.get(&sequence).map(|known| known.entry.previous);
            if let (Some(says), Some(previous)) = (says, previous) {
                if says != previous {
                    let wrong = if sequence > self.floor { sequence - 1 } else { sequence };
                    let what =
                        format!("altered or replaced: it is not what entry {sequence} was written behind");
                    self.suspect(wrong, Fault::new(log_name(wrong), what));
                }
            }
            previous = digests.get(&sequence).copied();
        }
    }

    /// Compares with the head that is known from elsewhere.
    fn compare(&mut self, repository: &Repository, before: Bytes32, digests: &BTreeMap<u64, Bytes32>) {
        let Some(expected) = repository.expected else { return };
        let name = log_name(expected.sequence);
        let found = match expected.sequence {
            sequence if sequence + 1 == self.floor => Some(&before),
            sequence if sequence < self.floor => return,
            sequence => digests.get(&sequence),
        };
        let what = match found {
            Some(digest) if digest.0 == expected.digest => return,
            Some(_) => "another entry than the one that was written: the destination replaced it".to_owned(),
            None => format!(
                "is missing: the destination went back to entry {} of {}",
                self.head.sequence, expected.sequence
            ),
        };
        self.rolled_back = true;
        self.suspect(expected.sequence, Fault::new(name, what));
    }

    /// Whether an entry may be added: the newest one is whole, the expected one is there, and our key is the one to write with.
    pub fn writable(&self, repository: &Repository) -> Result<(), Error> {
        if self.rolled_back || self.suspect.contains(&self.head.sequence) {
            // Nothing opens any more when the key was replaced meanwhile.
            let keys = keys_at(&*repository.destination)?;
            if !keys.is_empty() && !keys.contains(repository.key.id()) {
                let given = format!("{} (replaced)", repository.key.id());
                return Err(Error::WrongKey { given, sealed_under: keys.into_iter().collect() });
            }
            return Err(Error::Damaged(self.faults.clone()));
        }
        match self.replaced() {
            Some(new) if new.to != repository.key.id() => Err(Error::WrongKey {
                given: format!("{} (replaced)", repository.key.id()),
                sealed_under: vec![new.to.clone()],
            }),
            _ => Ok(()),
        }
    }

    /// The newest change of keys.
    pub fn replaced(&self) -> Option<&NewKey> {
        self.known.values().rev().find_map(|known| match &known.entry.body {
            Body::NewKey(new) => Some(new),
            _ => None,
        })
    }

    /// The backups that are whole as far as the chain tells, oldest first.
    pub fn manifests(&self) -> impl DoubleEndedIterator<Item = (u64, Wall, &Manifest)> {
        self.known.iter().filter(|(sequence, _)| !self.suspect.contains(sequence)).filter_map(
            |(sequence, known)| match &known.entry.body {
                Body::Backup(manifest) => Some((*sequence, known.entry.at, &**manifest)),
                _ => None,
            },
        )
    }

    /// One backup by its number; without one the newest, of a chain without a fault.
    pub fn backup(&self, wanted: Option<u64>) -> Result<(u64, Wall, &Manifest), Error> {
        let Some(sequence) = wanted else {
            if !self.faults.is_empty() {
                return Err(Error::Damaged(self.faults.clone()));
            }
            let newest = self.manifests().next_back();
            return newest.ok_or_else(|| Error::NoBackup("there is no backup yet".to_owned()));
        };
        if let Some(found) = self.manifests().find(|(number, _, _)| *number == sequence) {
            return Ok(found);
        }
        if self.suspect.contains(&sequence) {
            return Err(Error::Damaged(self.faults.clone()));
        }
        let why = match &self.removed {
            Some(removed) if sequence < self.floor => {
                format!("there is no backup {sequence} any more: {removed}")
            }
            _ => format!("there is no backup {sequence}"),
        };
        Err(Error::NoBackup(why))
    }
}

type Read = (Result<Known, Vec<Fault>>, Bytes32);

/// Reads one entry: the inner error says what is wrong with it.
fn read_one(repository: &Repository, sequence: u64) -> Result<Read, Error> {
    let name = log_name(sequence);
    let bytes = match repository.fetch(&name, LARGEST_ENTRY) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let fault = Fault::new(name, "is listed and can't be read");
            return Ok((Err(vec![fault]), Bytes32::default()));
        }
        Err(Error::Damaged(faults)) => return Ok((Err(faults), Bytes32::default())),
        Err(error) => return Err(error),
    };
    let digest = sha256(&bytes);
    let fault = |what: String| Ok((Err(vec![Fault::new(name.clone(), what)]), digest));
    let (head, sealed) = match read_entry_head(&bytes) {
        Ok(Ok(found)) => found,
        Ok(Err(version)) => {
            return fault(format!(
                "altered, or written by a later version: format {version} is not known here"
            ));
        }
        Err(what) => return fault(what.to_owned()),
    };
    if head.sequence != sequence {
        return fault(format!("entry {} lies in its place, or it was altered", head.sequence));
    }
    let data_key = match repository.unwrap(&head) {
        Ok(key) => key,
        Err(Error::Damaged(mut faults)) => {
            // The head names the data key, so an altered head looks like a lost key where another is there for its number.
            let others = repository.destination.list(&format!("{KEYS}{}/", repository.key.id()))?;
            let number = format!("/{sequence:010}-");
            let wanted = wrap_name(repository.key.id(), sequence, &head.entry);
            if others.iter().any(|one| one.name.contains(&number) && one.name != wanted) {
                faults.push(Fault::new(name, format!("altered, if not its data key {wanted} was")));
            }
            return Ok((Err(faults), digest));
        }
        Err(error) => return Err(error),
    };
    let opened = Sealer::new(&data_key.0).open(0, &repository.entry_context(&head), sealed);
    let Some(opened) = opened else {
        return fault("altered: it does not open with its data key".to_owned());
    };
    match read_entry(&opened) {
        Ok(entry) => Ok((Ok(Known { entry, head, data_key }), digest)),
        Err(error) => fault(format!("it opens, and can't be read: {error}")),
    }
}

impl Repository {
    /// What the chain tells: every backup, and what is wrong.
    ///
    /// # Errors
    /// The destination's.
    pub fn list(&self) -> Result<Listing, Error> {
        let chain = Chain::read(self)?;
        let backups = chain.manifests().map(|(n, at, manifest)| Backup::of(n, at, manifest)).collect();
        Ok(Listing { backups, faults: chain.faults, head: chain.head, removed: chain.removed })
    }
}

//! A repository at a destination: how it is made, opened, and how an entry is added to its chain.

use std::collections::BTreeSet;
use std::sync::Arc;

use dwcp_types::encode;
use ring::hmac;

use crate::chain::{Chain, Head};
use crate::destination::{Destination, DestinationError, Trouble};
use crate::error::{Error, Fault};
use crate::format::{
    Entry, EntryHead, KEYS, LARGEST_ENTRY, LARGEST_SMALL, PASSPHRASE, TITLE, Title, VERSION, log_name,
    read_title, secret_name, wrap_name,
};
use crate::key::FederationKey;
use crate::seal::{Bytes32, Sealer, derive, open_alone, random, seal_alone, sha256};

/// How often an entry is tried when other writers come first.
const TRIES: usize = 16;

/// The backups of one federation at one destination, opened with its key.
pub struct Repository {
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) title: Title,
    pub(crate) title_digest: Bytes32,
    pub(crate) key: FederationKey,
    secret: Bytes32,
    id_key: hmac::Key,
    pub(crate) cut_key: [u8; 32],
    pub(crate) expected: Option<Head>,
}

/// The ids of the keys that a repository is sealed under.
pub(crate) fn keys_at(destination: &dyn Destination) -> Result<BTreeSet<String>, Error> {
    let listed = destination.list(KEYS)?;
    let ids = listed.iter().filter_map(|one| one.name.strip_prefix(KEYS)?.strip_suffix("/secret"));
    Ok(ids.map(str::to_owned).collect())
}

impl Repository {
    /// Makes a repository where there is nothing but, at most, the salt of a passphrase.
    ///
    /// # Errors
    /// [`Error::Occupied`] when there is something; the destination's.
    pub fn create(
        destination: Arc<dyn Destination>,
        federation: &str,
        key: FederationKey,
    ) -> Result<Repository, Error> {
        let place = destination.place();
        if federation.is_empty() || federation.contains(['\n', '\r']) {
            return Err(Error::Occupied(format!("{federation:?} is no name of a federation")));
        }
        let there = destination.list("")?;
        if let Some(other) = there.iter().find(|one| !one.name.starts_with(PASSPHRASE)) {
            return Err(Error::Occupied(format!(
                "{place} is not empty (it has {}): open the repository that is there, or name an empty place",
                other.name
            )));
        }
        let title = Title { federation: federation.to_owned(), id: random() };
        let text = title.text();
        if !destination.put_new(TITLE, text.as_bytes())? {
            return Err(Error::Occupied(format!("another writer has just made a repository at {place}")));
        }
        if destination.put_new(TITLE, text.as_bytes())? {
            return Err(Error::Occupied(format!(
                "{place} writes over what is there although it is told not to: two writers would spoil each other's backups"
            )));
        }
        let repository =
            Repository::with(destination, title, sha256(text.as_bytes()), key, Bytes32(random()));
        repository.put_secret(&repository.key)?;
        Ok(repository)
    }

    /// Opens the repository of `federation` at a destination.
    ///
    /// # Errors
    /// What is not as it must be: [`Error::NoRepository`], [`Error::OtherFederation`], [`Error::WrongKey`],
    /// [`Error::Newer`], [`Error::Damaged`]; the destination's.
    pub fn open(
        destination: Arc<dyn Destination>,
        federation: &str,
        key: FederationKey,
    ) -> Result<Repository, Error> {
        let Some(text) = fetch(&*destination, TITLE, LARGEST_SMALL)? else {
            if destination.list("")?.is_empty() {
                return Err(Error::NoRepository(destination.place()));
            }
            return Err(Fault::new(TITLE, "is missing").into());
        };
        let title = match read_title(&text) {
            Ok(Ok(title)) => title,
            Ok(Err(version)) => return Err(Error::Newer { object: TITLE.to_owned(), version }),
            Err(what) => return Err(Fault::new(TITLE, what).into()),
        };
        let other =
            || Error::OtherFederation { found: title.federation.clone(), expected: federation.to_owned() };
        let name = secret_name(key.id());
        let Some(sealed) = fetch(&*destination, &name, LARGEST_SMALL)? else {
            let keys = keys_at(&*destination)?;
            if keys.is_empty() {
                return Err(Fault::new(name, "no key's secret is there: it was lost").into());
            }
            if title.federation != federation {
                return Err(other());
            }
            return Err(Error::WrongKey {
                given: key.id().to_owned(),
                sealed_under: keys.into_iter().collect(),
            });
        };
        let opened = match sealed.split_first() {
            Some((version, sealed)) if u64::from(*version) == VERSION => {
                open_alone(&key.key.0, &secret_context(key.id()), sealed)
            }
            _ => None,
        };
        let Some(opened) = opened.filter(|opened| opened.len() == 64) else {
            return Err(Fault::new(name, "altered: it does not open with the key that it names").into());
        };
        let (secret, title_digest) = opened.split_at(32);
        if title_digest != sha256(&text).0 {
            return Err(Fault::new(TITLE, "altered, or from another repository").into());
        }
        if title.federation != federation {
            return Err(other());
        }
        let secret = Bytes32(secret.try_into().expect("32 bytes"));
        Ok(Repository::with(destination, title, sha256(&text), key, secret))
    }

    /// Also demands that the chain has this entry, or says that retention removed it: the one thing that a destination could
    /// do unseen is to put everything back to how it once was.
    #[must_use]
    pub fn expecting(mut self, head: Head) -> Repository {
        self.expected = Some(head);
        self
    }

    fn with(
        destination: Arc<dyn Destination>,
        title: Title,
        title_digest: Bytes32,
        key: FederationKey,
        secret: Bytes32,
    ) -> Repository {
        let id_key = hmac::Key::new(hmac::HMAC_SHA256, &derive(&secret.0, &title.id, "dwcp-backup ids"));
        let cut_key = derive(&secret.0, &title.id, "dwcp-backup boundaries");
        Repository { destination, title, title_digest, key, secret, id_key, cut_key, expected: None }
    }

    /// The id of a chunk: whoever lacks the secret can't tell from it what is inside.
    pub(crate) fn chunk_id(&self, raw: &[u8]) -> Bytes32 {
        let mut id = Bytes32::default();
        id.0.copy_from_slice(hmac::sign(&self.id_key, raw).as_ref());
        id
    }

    /// An object that can't be longer than `limit`.
    pub(crate) fn fetch(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        fetch(&*self.destination, name, limit)
    }

    /// Puts the repository's secret under a key, if it is not there.
    pub(crate) fn put_secret(&self, key: &FederationKey) -> Result<(), Error> {
        let content = [self.secret.0, self.title_digest.0].concat();
        let mut bytes = vec![VERSION as u8];
        bytes.extend(seal_alone(&key.key.0, &secret_context(key.id()), &content));
        self.destination.put_new(&secret_name(key.id()), &bytes)?;
        Ok(())
    }

    /// Puts the data key of an entry under a key.
    pub(crate) fn put_wrap(
        &self,
        key: &FederationKey,
        head: &EntryHead,
        data_key: &Bytes32,
    ) -> Result<(), Error> {
        let mut bytes = vec![VERSION as u8];
        bytes.extend(seal_alone(&key.key.0, &self.wrap_context(key.id(), head), &data_key.0));
        self.destination.put_new(&wrap_name(key.id(), head.sequence, &head.entry), &bytes)?;
        Ok(())
    }

    /// The data key of an entry.
    pub(crate) fn unwrap(&self, head: &EntryHead) -> Result<Bytes32, Error> {
        let name = wrap_name(self.key.id(), head.sequence, &head.entry);
        let Some(bytes) = self.fetch(&name, LARGEST_SMALL)? else {
            return Err(Fault::new(name, "is missing: the data key of an entry").into());
        };
        let key = bytes
            .split_first()
            .filter(|(version, _)| u64::from(**version) == VERSION)
            .and_then(|(_, sealed)| {
                open_alone(&self.key.key.0, &self.wrap_context(self.key.id(), head), sealed)
            })
            .and_then(|key| key.try_into().ok());
        key.map(Bytes32)
            .ok_or_else(|| Fault::new(name, "altered, or another's: the data key of an entry").into())
    }

    fn wrap_context(&self, key: &str, head: &EntryHead) -> Vec<u8> {
        [b"dwcp-backup data key".as_slice(), &self.title.id, key.as_bytes(), &head.bytes()].concat()
    }

    pub(crate) fn entry_context(&self, head: &EntryHead) -> Vec<u8> {
        [b"dwcp-backup entry".as_slice(), &self.title.id, &head.bytes()].concat()
    }

    /// Adds an entry behind the chain's newest. When another writer came first, `judge` sees the chain as it is then and says
    /// whether the entry may still be added; `ready` is called before each try with its head and data key.
    ///
    /// # Errors
    /// [`Unadded`]: what was said, and whether the entry can be there all the same.
    pub(crate) fn append(
        &self,
        chain: &mut Chain,
        entry: &mut Entry,
        judge: impl Fn(&Chain) -> Result<(), Error>,
        ready: impl Fn(&EntryHead, &Bytes32) -> Result<(), Error>,
    ) -> Result<Added, Unadded> {
        for _ in 0..TRIES {
            chain.writable(self)?;
            judge(chain)?;
            let head = EntryHead { sequence: chain.head.sequence + 1, entry: random() };
            let data_key = Bytes32(random());
            entry.previous = Bytes32(chain.head.digest);
            let mut sealed = encode(entry);
            Sealer::new(&data_key.0).seal(0, &self.entry_context(&head), &mut sealed);
            let mut bytes = head.bytes();
            bytes.append(&mut sealed);
            if bytes.len() as u64 > LARGEST_ENTRY {
                return Err(Error::Records(format!("{} bytes of metadata are too much", bytes.len())).into());
            }
            let wrap = wrap_name(self.key.id(), head.sequence, &head.entry);
            self.put_wrap(&self.key, &head, &data_key)?;
            ready(&head, &data_key)?;
            let name = log_name(head.sequence);
            let put = self.destination.put_new(&name, &bytes);
            let added = match put {
                Ok(true) => true,
                // A request that was sent twice finds its own object.
                Ok(false) => self.fetch(&name, LARGEST_ENTRY)?.is_some_and(|there| there == bytes),
                Err(error) => {
                    let refused = matches!(error.trouble, Trouble::NoSpace | Trouble::NotPermitted);
                    if refused {
                        let _ = self.destination.delete(&wrap);
                    }
                    return Err(Unadded { error: error.into(), can_be_there: !refused });
                }
            };
            if added {
                let head = Head { sequence: head.sequence, digest: sha256(&bytes).0 };
                return Ok(Added { head, wrap });
            }
            self.destination.delete(&wrap)?;
            *chain = Chain::read(self)?;
        }
        Err(Error::Overtaken(format!("other writers came first {TRIES} times; it can be tried again")).into())
    }
}

/// An entry that was added.
pub(crate) struct Added {
    /// The chain's newest entry now.
    pub head: Head,
    /// The object of its data key.
    pub wrap: String,
}

/// An entry that was not added, as far as is known.
pub(crate) struct Unadded {
    pub error: Error,
    /// The destination gave no clear answer.
    pub can_be_there: bool,
}

impl From<Error> for Unadded {
    fn from(error: Error) -> Unadded {
        Unadded { error, can_be_there: false }
    }
}

impl From<DestinationError> for Unadded {
    fn from(error: DestinationError) -> Unadded {
        Error::from(error).into()
    }
}

/// An object; one that is longer than it can be is damaged.
pub(crate) fn fetch(destination: &dyn Destination, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match destination.get(name, limit) {
        Err(error) if error.trouble == Trouble::TooLong => {
            Err(Fault::new(name, format!("longer than the {limit} bytes that it can have")).into())
        }
        got => Ok(got?),
    }
}

fn secret_context(key: &str) -> Vec<u8> {
    [b"dwcp-backup secret".as_slice(), key.as_bytes()].concat()
}

//! The federation's key for backups: a file, or a passphrase. It seals nothing but the keys that backups are sealed under.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Destination;
use crate::error::{Error, Fault};
use crate::format::{LARGEST_SMALL, PASSPHRASE};
use crate::repository::{fetch, keys_at};
use crate::seal::{Bytes32, random, sha256, unhex};
use dwcp_types::hex;

/// A key of 256 bits, with an id that may be known.
#[derive(Clone)]
pub struct FederationKey {
    pub(crate) key: Bytes32,
    id: String,
}

impl std::fmt::Debug for FederationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FederationKey({})", self.id)
    }
}

const FIRST_LINE: &str = "dwcp-backup-key 1";

impl FederationKey {
    fn from_bytes(key: [u8; 32]) -> FederationKey {
        // Of 256 random bits a digest tells nothing. For a passphrase it allows guesses, as any sealed object does, and each
        // costs one Argon2.
        let id = hex(&sha256(&[b"dwcp-backup key id".as_slice(), &key].concat()).0[..8]);
        FederationKey { key: Bytes32(key), id }
    }

    /// A key of random bytes.
    pub fn random() -> FederationKey {
        FederationKey::from_bytes(random())
    }

    /// Its id: it names the key and gives nothing away.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    /// When there is a file already, or it can't be written.
    pub fn write_file(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{FIRST_LINE}\n{}\n{}\n", self.id, hex(&self.key.0));
        let fail = |error: std::io::Error| {
            Error::Key(format!("the key file {} can't be written: {error}", path.display()))
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When others may read the file, or it is not a whole key file.
    pub fn read_file(path: &Path) -> Result<FederationKey, Error> {
        let shown = path.display();
        let fail = |error: std::io::Error| Error::Key(format!("the key file {shown} can't be read: {error}"));
        let mode = fs::metadata(path).map_err(fail)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Key(format!(
                "the key file {shown} has mode {mode:03o}: others may read it, so it is not used; chmod 600 {shown}"
            )));
        }
        let bytes = fs::read(path).map_err(fail)?;
        read_key_text(&bytes).ok_or_else(|| {
            Error::Key(format!(
                "{shown} is no whole key file: a line `{FIRST_LINE}`, its id, 64 hexadecimal digits"
            ))
        })
    }
}

/// The key in the text of a key file whose id belongs to it.
pub fn read_key_text(bytes: &[u8]) -> Option<FederationKey> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let (first, id, key) = (lines.next()?, lines.next()?, lines.next()?);
    let key = FederationKey::from_bytes(unhex(key.trim())?);
    (first == FIRST_LINE && id == key.id).then_some(key)
}

/// What a guess at a passphrase costs. It is stored with the salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Rounds over it.
    pub rounds: u32,
}

impl Cost {
    /// About a tenth of a second of one core and 64 MiB.
    pub const USUAL: Cost = Cost { memory_kib: 64 << 10, rounds: 3 };
    /// The most that is taken at the word of a destination.
    const MOST: Cost = Cost { memory_kib: 1 << 20, rounds: 32 };
}

/// Salt and cost of a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salt {
    salt: [u8; 32],
    cost: Cost,
}

impl Salt {
    fn text(&self) -> String {
        let Cost { memory_kib, rounds } = self.cost;
        format!("argon2id 1\nmemory-kib {memory_kib}\nrounds {rounds}\nsalt {}\n", hex(&self.salt))
    }

    fn name(text: &str) -> String {
        format!("{PASSPHRASE}{}", hex(&sha256(text.as_bytes()).0[..16]))
    }

    fn key(&self, passphrase: &str) -> Result<FederationKey, Error> {
        let bad = |error: argon2::Error| Error::Key(format!("the passphrase can't be used: {error}"));
        let params = Params::new(self.cost.memory_kib, self.cost.rounds, 1, Some(32)).map_err(bad)?;
        let mut key = [0; 32];
        let mut memory = vec![Block::new(); params.block_count()];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), &self.salt, &mut key, &mut memory)
            .map_err(bad)?;
        Ok(FederationKey::from_bytes(key))
    }
}

/// The salt in an object.
pub fn read_salt(bytes: &[u8]) -> Option<Salt> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let mut line = |word: &str| lines.next()?.strip_prefix(word);
    line("argon2id 1")?;
    let memory_kib = line("memory-kib ")?.parse().ok()?;
    let rounds = line("rounds ")?.parse().ok()?;
    let salt = Salt { salt: unhex(line("salt ")?)?, cost: Cost { memory_kib, rounds } };
    let within = memory_kib <= Cost::MOST.memory_kib && rounds <= Cost::MOST.rounds;
    (within && salt.text() == text).then_some(salt)
}

/// The salt in an object whose name is its digest.
pub(crate) fn whole_salt(name: &str, bytes: &[u8]) -> Result<Salt, Fault> {
    let whole = std::str::from_utf8(bytes).is_ok_and(|text| Salt::name(text) == name);
    read_salt(bytes).filter(|_| whole).ok_or_else(|| Fault::new(name, "the salt of a passphrase, altered"))
}

/// A new key out of a passphrase: its salt is put at the destination, where [`from_passphrase`] finds it.
///
/// # Errors
/// The destination's; an empty passphrase.
pub fn new_passphrase(
    destination: &dyn Destination,
    passphrase: &str,
    cost: Cost,
) -> Result<FederationKey, Error> {
    if passphrase.is_empty() {
        return Err(Error::Key("the passphrase is empty".to_owned()));
    }
    let salt = Salt { salt: random(), cost };
    let key = salt.key(passphrase)?;
    let text = salt.text();
    destination.put_new(&Salt::name(&text), text.as_bytes())?;
    Ok(key)
}

/// The key that a passphrase opens this repository with.
///
/// # Errors
/// When the passphrase is wrong, the repository takes none, or the salts were altered.
pub fn from_passphrase(destination: &dyn Destination, passphrase: &str) -> Result<FederationKey, Error> {
    let keys = keys_at(destination)?;
    let mut faults = Vec::new();
    let mut last = None;
    for listed in destination.list(PASSPHRASE)? {
        let bytes = fetch(destination, &listed.name, LARGEST_SMALL)?.unwrap_or_default();
        let salt = match whole_salt(&listed.name, &bytes) {
            Ok(salt) => salt,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let key = salt.key(passphrase)?;
        if keys.contains(key.id()) {
            return Ok(key);
        }
        last = Some(key);
    }
    if !faults.is_empty() {
        return Err(Error::Damaged(faults));
    }
    match last {
        Some(key) => Err(Error::WrongKey {
            given: format!("{} (from the passphrase)", key.id()),
            sealed_under: keys.into_iter().collect(),
        }),
        None => Err(Fault::new(
            PASSPHRASE,
            "no salt of a passphrase is there: it was lost, or the repository was made with a key file",
        )
        .into()),
    }
}

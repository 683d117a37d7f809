//! What can go wrong, told apart: the destination, the key, the federation, damage.

use std::fmt;

use crate::destination::DestinationError;

/// An object of a repository that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Its name at the destination.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(object: impl Into<String>, what: impl Into<String>) -> Fault {
        Fault { object: object.into(), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// Why something was not done. Nothing that was there before has changed.
#[derive(Clone, Debug)]
pub enum Error {
    /// The destination can't be used: no room, no permission, no answer.
    Destination(DestinationError),
    /// There is no repository at the destination.
    NoRepository(String),
    /// There is a repository already, or something else.
    Occupied(String),
    /// The key is none of this repository's: the id of the key that was given, and of those that it is sealed under.
    WrongKey {
        /// What was given.
        given: String,
        /// What would open it.
        sealed_under: Vec<String>,
    },
    /// The key's own file can't be used.
    Key(String),
    /// It is the repository of another federation.
    OtherFederation {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// A later version wrote it.
    Newer {
        /// The object that says so.
        object: String,
        /// Its version.
        version: u64,
    },
    /// Objects are not what they must be.
    Damaged(Vec<Fault>),
    /// There is no such backup, and why.
    NoBackup(String),
    /// The records that were handed in can't be backed up.
    Records(String),
    /// Another writer came first: what was begun was taken back.
    Overtaken(String),
}

impl From<DestinationError> for Error {
    fn from(error: DestinationError) -> Error {
        Error::Destination(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::Damaged(vec![fault])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Destination(error) => error.fmt(f),
            Error::NoRepository(place) => write!(f, "there is no backup repository at {place}"),
            Error::Occupied(why) => f.write_str(why),
            Error::WrongKey { given, sealed_under } => write!(
                f,
                "wrong key: the repository is sealed under {}, the key given is {given}",
                if sealed_under.is_empty() { "none".to_owned() } else { sealed_under.join(" and ") }
            ),
            Error::Key(why) => f.write_str(why),
            Error::OtherFederation { found, expected } => {
                write!(f, "these are backups of the federation {found:?}, not of {expected:?}")
            }
            Error::Newer { object, version } => {
                write!(f, "{object}: written in format {version}, which is newer than this program reads")
            }
            Error::Damaged(faults) => {
                write!(f, "damaged")?;
                for fault in faults.iter().take(8) {
                    write!(f, "; {fault}")?;
                }
                if faults.len() > 8 {
                    write!(f, "; and {} more", faults.len() - 8)?;
                }
                Ok(())
            }
            Error::NoBackup(why) | Error::Records(why) | Error::Overtaken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

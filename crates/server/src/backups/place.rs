//! Destinations and keys of backups, as this server reaches them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dwcp_backup::destination::s3::{Credentials, Place, S3};
use dwcp_backup::key::{Cost, from_passphrase, new_passphrase};
use dwcp_backup::{Destination, Error, FederationKey, Folder, Head, Repository};
use dwcp_config::region::{Backup, RegionConfig};
use dwcp_types::{Code, Refusal};

/// The object that every repository begins with, and the most that is read to see whether it is there, bytes.
const TITLE: (&str, u64) = ("repository", 64 << 10);
/// The first word of a key file; any other file is a passphrase.
const KEY_FILE: &str = "dwcp-backup-key";

/// What this server's own settings say of backups.
#[derive(Clone, Debug, Default)]
pub struct Places {
    federation: String,
    settings: Backup,
}

/// What to open.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// As [`canonical`] writes it.
    pub destination: String,
    /// File of the key; empty: that of this server's settings.
    pub key_file: String,
    /// The id that the key must have; empty: any.
    pub key: String,
    /// The entry that the chain must have; empty: none is known.
    pub head: String,
    /// Make a repository where there is none.
    pub create: bool,
}

enum Kind {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

/// What a key file has.
enum Secret {
    Key(FederationKey),
    Passphrase(String),
}

fn kind(destination: &str) -> Result<Kind, String> {
    if let Some(rest) = destination.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("'{destination}' names no bucket"));
        }
        let prefix = prefix.trim_matches('/').to_owned();
        return Ok(Kind::Bucket { bucket: bucket.to_owned(), prefix });
    }
    let path = destination.strip_prefix("file://").unwrap_or(destination);
    if !path.starts_with('/') || path.trim_matches('/').is_empty() || path.split('/').any(|part| part == "..")
    {
        return Err(format!("'{destination}' is not s3://BUCKET/PREFIX or file:///FOLDER"));
    }
    Ok(Kind::Folder(PathBuf::from(format!("/{}", path.trim_matches('/')))))
}

/// A destination as the facts name it, whatever way it was typed.
///
/// # Errors
/// It is neither a bucket nor a folder by its whole path.
pub fn canonical(destination: &str) -> Result<String, String> {
    Ok(match kind(destination)? {
        Kind::Folder(path) => format!("file://{}", path.display()),
        Kind::Bucket { bucket, prefix } if prefix.is_empty() => format!("s3://{bucket}"),
        Kind::Bucket { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
    })
}

impl Places {
    /// As `dwcpd.yaml` says.
    pub fn new(config: &RegionConfig) -> Places {
        Places { federation: config.federation.clone(), settings: config.backup.clone() }
    }

    /// Whether opening a destination would make a folder.
    pub fn is_missing_folder(destination: &str) -> bool {
        matches!(kind(destination), Ok(Kind::Folder(path)) if !path.exists())
    }

    fn destination(&self, destination: &str) -> Result<Arc<dyn Destination>, Refusal> {
        let unusable = |why: String| {
            Refusal::new(Code::BackupDestination, format!("{destination} can't be used")).because(why)
        };
        match kind(destination).map_err(unusable)? {
            Kind::Folder(path) => {
                let folder = Folder::open(&path).map_err(|error| unusable(error.to_string()))?;
                Ok(Arc::new(folder))
            }
            Kind::Bucket { bucket, prefix } => {
                let s3 = &self.settings.s3;
                let region = s3.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
                let usual = || format!("https://s3.{region}.amazonaws.com");
                let endpoint = s3.endpoint.clone().unwrap_or_else(usual);
                let ca = s3.ca.as_ref().map(PathBuf::from);
                let place = Place { endpoint, region, bucket, prefix, ca };
                let who = credentials(s3.credentials_file.as_deref()).map_err(unusable)?;
                Ok(Arc::new(S3::new(place, who).map_err(unusable)?))
            }
        }
    }

    /// What a key file says. It is read before the destination is touched: without a key nothing is made there.
    fn secret(&self, key_file: &str) -> Result<Secret, Refusal> {
        let path = match (key_file, &self.settings.key_file) {
            ("", Some(path)) => Path::new(path),
            ("", None) => {
                return Err(Refusal::new(Code::BackupKey, "this server has no key for backups")
                    .because("neither `backup.key_file` of its dwcpd.yaml nor --key-file names one")
                    .try_this("dwcpd backup-key --out /etc/dwcp/backup.key"));
            }
            (path, _) => Path::new(path),
        };
        let shown = path.display();
        let unusable = |why: String| {
            Refusal::new(Code::BackupKey, format!("the key file {shown} can't be used")).because(why)
        };
        let mode = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let why = format!("it has mode {mode:03o}: others may read it");
            return Err(unusable(why).try_this(format!("chmod 600 {shown}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        if text.starts_with(KEY_FILE) {
            return FederationKey::read_file(path)
                .map(Secret::Key)
                .map_err(|error| unusable(error.to_string()));
        }
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(unusable("it is empty".to_owned())),
            passphrase => Ok(Secret::Passphrase(passphrase.to_owned())),
        }
    }

    /// Opens what is there, or makes it when it may; also says the id of the key.
    ///
    /// # Errors
    /// The destination, the key, or what lies there can't be used.
    pub fn open(&self, opening: &Opening) -> Result<(Repository, String), Refusal> {
        let place = opening.destination.as_str();
        let secret = self.secret(&opening.key_file)?;
        if !opening.create && opening.head.is_empty() && Places::is_missing_folder(place) {
            return Err(refusal(&Error::NoRepository(place.to_owned()), place));
        }
        let destination = self.destination(place)?;
        let wrong = |error: Error| refusal(&error, place);
        let (name, most) = TITLE;
        let there = destination.get(name, most).map_err(|error| wrong(error.into()))?.is_some();
        if !there && !opening.head.is_empty() {
            return Err(Refusal::new(Code::BackupDamaged, format!("the backups at {place} are gone"))
                .because(format!("{name}: is missing, and the chain had entry {}", opening.head))
                .then("an empty destination elsewhere begins a new chain"));
        }
        if !there && !opening.create {
            return Err(wrong(Error::NoRepository(place.to_owned())));
        }
        let key = match (secret, there) {
            (Secret::Key(key), _) => key,
            (Secret::Passphrase(text), true) => from_passphrase(&*destination, &text).map_err(wrong)?,
            (Secret::Passphrase(text), false) => {
                new_passphrase(&*destination, &text, Cost::USUAL).map_err(wrong)?
            }
        };
        let id = key.id().to_owned();
        if !opening.key.is_empty() && opening.key != id {
            return Err(Refusal::new(
                Code::BackupKey,
                "this server has another key than the plan of backups",
            )
            .because(format!("its key is {id}, that of the plan is {}", opening.key)));
        }
        let repository = match there {
            true => Repository::open(destination, &self.federation, key),
            false => Repository::create(destination, &self.federation, key),
        };
        let repository = repository.map_err(wrong)?;
        match opening.head.as_str() {
            "" => Ok((repository, id)),
            head => {
                let head: Head =
                    head.parse().map_err(|why| Refusal::new(Code::BackupDamaged, "no head").because(why))?;
                Ok((repository.expecting(head), id))
            }
        }
    }
}

/// An access key from a file in Amazon's form, or from the process's environment.
fn credentials(file: Option<&str>) -> Result<Credentials, String> {
    let Some(path) = file else {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let pair = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        let (access_key, secret_key) = pair.ok_or(
            "no access key: neither `backup.s3.credentials_file` of dwcpd.yaml nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set",
        )?;
        return Ok(Credentials { access_key, secret_key, session_token: variable("AWS_SESSION_TOKEN") });
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    match value("aws_access_key_id").zip(value("aws_secret_access_key")) {
        Some((access_key, secret_key)) => {
            Ok(Credentials { access_key, secret_key, session_token: value("aws_session_token") })
        }
        None => Err(format!("{path} has no aws_access_key_id and aws_secret_access_key")),
    }
}

/// What the backups' own error means to who asked.
pub fn refusal(error: &Error, place: &str) -> Refusal {
    let (code, what) = match error {
        Error::Key(_) | Error::WrongKey { .. } => {
            (Code::BackupKey, format!("the backups at {place} don't open"))
        }
        Error::Damaged(_) => (Code::BackupDamaged, format!("the backups at {place} are damaged")),
        Error::NoBackup(_) | Error::NoRepository(_) => {
            (Code::UnknownBackup, format!("no such backup at {place}"))
        }
        Error::Overtaken(_) => (Code::Overloaded, format!("another writer came first at {place}")),
        Error::Destination(_)
        | Error::Occupied(_)
        | Error::OtherFederation { .. }
        | Error::Newer { .. }
        | Error::Records(_) => (Code::BackupDestination, format!("{place} can't be used")),
    };
    let refusal = Refusal::new(code, what);
    match error {
        Error::Damaged(faults) => {
            faults.iter().take(20).fold(refusal, |refusal, fault| refusal.because(fault.to_string()))
        }
        _ => refusal.because(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_destination_has_one_name_however_it_is_typed() {
        for (typed, name) in [
            ("s3://backups.example.com/state/", "s3://backups.example.com/state"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("file:///backups/state/", "file:///backups/state"),
            ("/backups/state.db", "file:///backups/state.db"),
        ] {
            assert_eq!(canonical(typed).as_deref(), Ok(name));
            assert_eq!(canonical(name).as_deref(), Ok(name));
        }
        for wrong in ["", "/", "file://", "file:///", "s3://", "backups", "ftp://x/y", "/a/../etc", "s3:///x"]
        {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}

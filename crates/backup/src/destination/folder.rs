//! A folder as a destination.
//!
//! An object is written beside its place, synced, and then linked to its name, which fails when there is one. Readers see it
//! whole or not at all, and a crash leaves at most a file in `.new`, which is swept after a day.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Destination, DestinationError, Listed, Trouble, plain};
use crate::seal::random;
use dwcp_types::hex;

const UNFINISHED: &str = ".new";
const SWEPT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A folder of this machine, or of one that is mounted; it must be able to link files.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder `root`, made when it is missing, for its owner only.
    ///
    /// # Errors
    /// When it can't be made or read.
    pub fn open(root: &Path) -> Result<Folder, DestinationError> {
        let folder = Folder { root: root.to_owned() };
        folder.make(&folder.root).map_err(|error| folder.error("", &error))?;
        folder.sweep().map_err(|error| folder.error(UNFINISHED, &error))?;
        Ok(folder)
    }

    fn make(&self, path: &Path) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Removes what was begun a day ago and never linked.
    fn sweep(&self) -> std::io::Result<()> {
        let entries = match fs::read_dir(self.root.join(UNFINISHED)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > SWEPT_AFTER {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn error(&self, object: &str, error: &std::io::Error) -> DestinationError {
        let trouble = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Trouble::NoSpace,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Trouble::NotPermitted,
            _ => Trouble::Failed,
        };
        DestinationError { trouble, place: self.place(), object: object.to_owned(), why: error.to_string() }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<bool> {
        let place = self.root.join(name);
        if place.exists() {
            return Ok(false);
        }
        let beside = self.root.join(UNFINISHED);
        self.make(&beside)?;
        let folder = place.parent().unwrap_or(&self.root);
        let is_new = !folder.exists();
        self.make(folder)?;
        let beside = beside.join(hex(&random::<16>()));
        let linked = write_synced(&beside, bytes).and_then(|()| fs::hard_link(&beside, &place));
        let removed = fs::remove_file(&beside);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            linked => linked?,
        }
        removed?;
        File::open(folder)?.sync_all()?;
        if is_new {
            for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
                File::open(above)?.sync_all()?;
            }
        }
        Ok(true)
    }

    fn walk(&self, folder: &Path, found: &mut Vec<Listed>) -> std::io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if path == self.root.join(UNFINISHED) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&path, found)?;
                continue;
            }
            let bytes = match entry.metadata() {
                // Deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?.len(),
            };
            let name = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Listed { name, bytes });
        }
        Ok(())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Destination for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, DestinationError> {
        debug_assert!(plain(name), "{name}");
        self.put(name, bytes).map_err(|error| self.error(name, &error))
    }

    fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError> {
        if !plain(name) {
            return Ok(None);
        }
        let file = match File::open(self.root.join(name)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            file => file.map_err(|error| self.error(name, &error))?,
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| self.error(name, &error))?;
        if bytes.len() as u64 > limit {
            let why = format!("more than {limit} bytes");
            return Err(DestinationError {
                trouble: Trouble::TooLong,
                place: self.place(),
                object: name.to_owned(),
                why,
            });
        }
        Ok(Some(bytes))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, DestinationError> {
        let mut found = Vec::new();
        self.walk(&self.root.join(prefix), &mut found).map_err(|error| self.error(prefix, &error))?;
        found.sort();
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), DestinationError> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => {
                removed.map_err(|error| self.error(name, &error))?;
                // Only when it is empty; a writer that needs it makes it again.
                if let Some(folder) = path.parent().filter(|folder| *folder != self.root) {
                    let _ = fs::remove_dir(folder);
                }
                Ok(())
            }
        }
    }
}

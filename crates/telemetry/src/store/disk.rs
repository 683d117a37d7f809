//! The door to the disk: a folder of files without folders in it. Tests put one behind it that fails, tears and forgets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder.
pub trait Disk: Send + Sync {
    /// The names of its files.
    ///
    /// # Errors
    /// The disk's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file that is empty; one of that name is replaced.
    ///
    /// # Errors
    /// The disk's.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// # Errors
    /// The disk's.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing the file of that name, at once and wholly.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// # Errors
    /// The disk's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when the names given and removed so far outlast a power failure.
    ///
    /// # Errors
    /// The disk's.
    fn sync(&self) -> io::Result<()>;
}

/// A file.
pub trait DiskFile: Send + Sync {
    /// Writes at the end. After an error some of it may be there.
    ///
    /// # Errors
    /// The disk's.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The disk's, or there are not as many.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Bytes.
    ///
    /// # Errors
    /// The disk's.
    fn length(&self) -> io::Result<u64>;

    /// Takes away what is behind `length`.
    ///
    /// # Errors
    /// The disk's.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Returns when what was written outlasts a power failure.
    ///
    /// # Errors
    /// The disk's.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder `path`, made when it is missing, for its owner only.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(path: &Path) -> io::Result<Folder> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Folder(path.to_owned()))
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(options.read(true).append(true).mode(0o600).open(self.0.join(name))?))
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.open_with(name, OpenOptions::new().create(true))?;
        file.cut(0)?;
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, &mut OpenOptions::new())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

//! Images on a host by what they hold: which there are, copies that nobody changes, giving them to other hosts and getting
//! them from there.
//!
//! `<data>/image-copies/<digest>/` holds whole copies only: each came together in `<data>/image-fetches/<digest>/`, was
//! compared with its digest, made durable and then renamed. The image folder is only read.

mod fetch;
mod give;
mod look;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dwcp_types::{ImageDigest, ImagePart, decode, encode, hex, wire_struct};
use ring::digest::{Context, SHA256};

pub use fetch::{Fetcher, RANGE_BYTES};
pub use give::{GIVEN_AT_ONCE, Giver};
pub use look::Looked;

const COPIES_DIR: &str = "image-copies";
const FETCHES_DIR: &str = "image-fetches";
/// Digests of files by their size, time and inode: what is not changed is not read again.
const DIGESTS_FILE: &str = "image-digests";
/// An image is doubted once in so long.
const DOUBT_AGAIN: Duration = Duration::from_secs(600);
/// Read at once, bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The folder of a copy.
pub fn copy_dir(data: &Path, digest: &ImageDigest) -> PathBuf {
    data.join(COPIES_DIR).join(digest.as_str())
}

/// What tells that a file is the one that was read, without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified_s: u64,
    modified_ns: u64,
    inode: u64,
    device: u64,
}
wire_struct!(Stamp { 1 bytes, 2 modified_s, 3 modified_ns, 4 inode, 5 device });

impl Stamp {
    fn of(path: &Path) -> io::Result<Stamp> {
        let meta = std::fs::metadata(path)?;
        if !meta.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(Stamp {
            bytes: meta.len(),
            modified_s: meta.mtime() as u64,
            modified_ns: meta.mtime_nsec() as u64,
            inode: meta.ino(),
            device: meta.dev(),
        })
    }
}

/// A file whose content is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    stamp: Stamp,
    sha256: String,
}
wire_struct!(Known { 1 stamp, 2 sha256 });

/// An image on this host.
#[derive(Clone, Debug)]
struct Held {
    /// Empty: a copy.
    name: String,
    digest: ImageDigest,
    dir: PathBuf,
    parts: Vec<ImagePart>,
    /// Of each part.
    stamps: Vec<Stamp>,
}

impl Held {
    fn is_copy(&self) -> bool {
        self.name.is_empty()
    }
}

/// The images of a host.
pub struct Store {
    data: PathBuf,
    /// By path.
    known: Mutex<BTreeMap<String, Known>>,
    held: Mutex<Vec<Held>>,
    /// One look at a time.
    looking: Mutex<()>,
    /// When an image was doubted last.
    doubted: Mutex<BTreeMap<ImageDigest, Instant>>,
}

impl Store {
    /// The images under a data folder: before the first look the copies that are known.
    pub fn open(data: &Path) -> Store {
        let known = std::fs::read(data.join(DIGESTS_FILE)).ok().and_then(|bytes| decode(&bytes).ok());
        let store = Store {
            data: data.to_path_buf(),
            known: Mutex::new(known.unwrap_or_default()),
            held: Mutex::default(),
            looking: Mutex::default(),
            doubted: Mutex::default(),
        };
        store.hold_known();
        store
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What an image of the image folder is made of, as it was seen last.
    pub fn parts(&self, name: &str) -> Option<(ImageDigest, Vec<ImagePart>)> {
        let held = self.held();
        let image = held.iter().find(|held| held.name == name && !name.is_empty())?;
        Some((image.digest.clone(), image.parts.clone()))
    }

    /// An image by what it holds; a copy before one of the image folder.
    fn by_digest(&self, digest: &ImageDigest) -> Option<Held> {
        let held = self.held();
        let mut all = held.iter().filter(|held| held.digest == *digest);
        all.clone().find(|held| held.is_copy()).or_else(|| all.next()).cloned()
    }

    /// The folder that a VM created with an image starts from: its copy, else what the image folder has of it.
    ///
    /// # Errors
    /// It is not here, or has just changed.
    pub fn dir(&self, digest: &ImageDigest) -> Result<PathBuf, String> {
        let held = self.by_digest(digest).ok_or_else(|| format!("image {} is not here", digest.short()))?;
        let same = |(part, stamp): (&ImagePart, &Stamp)| {
            Stamp::of(&held.dir.join(&part.file)).is_ok_and(|now| now == *stamp)
        };
        if held.parts.iter().zip(&held.stamps).all(same) {
            return Ok(held.dir);
        }
        Err(format!("image {} in {} has just changed", digest.short(), held.dir.display()))
    }

    /// The SHA-256 of a file; it is read only when it is not the one that was read before. Blocks.
    fn sha256(&self, path: &Path) -> io::Result<(Stamp, String)> {
        let stamp = Stamp::of(path)?;
        let key = path.to_string_lossy().into_owned();
        if let Some(known) = self.known().get(&key).filter(|known| known.stamp == stamp) {
            return Ok((stamp, known.sha256.clone()));
        }
        let sha256 = read_sha256(path)?;
        if Stamp::of(path)? != stamp {
            return Err(io::Error::other("it changes while it is read"));
        }
        self.known().insert(key, Known { stamp, sha256: sha256.clone() });
        Ok((stamp, sha256))
    }

    /// Somebody got something else than this image from here: its files are read again at the next look. Whoever says so for
    /// nothing makes this host read no more than once in a while.
    fn doubt(&self, digest: &ImageDigest) {
        let mut doubted = self.doubted.lock().unwrap_or_else(|e| e.into_inner());
        doubted.retain(|_, at| at.elapsed() < DOUBT_AGAIN);
        if doubted.contains_key(digest) {
            return;
        }
        doubted.insert(digest.clone(), Instant::now());
        if let Some(held) = self.by_digest(digest) {
            let dir = held.dir.to_string_lossy().into_owned();
            self.known().retain(|path, _| Path::new(path).parent() != Some(Path::new(&dir)));
        }
    }

    /// Writes down what is known. A lost file only costs reading once more.
    fn save_known(&self) {
        let path = self.data.join(DIGESTS_FILE);
        let new = path.with_extension("new");
        // Held to the end: two that write at once would spoil it.
        let known = self.known();
        let bytes = encode(&*known);
        if std::fs::read(&path).is_ok_and(|before| before == bytes) {
            return;
        }
        let _ = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path));
    }

    /// Takes a copy away; what is being used by an emulator stays readable for it. Blocks.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, digest: &ImageDigest) -> Result<(), String> {
        let going = self.data.join(FETCHES_DIR).join(format!("going-{digest}"));
        let dir = copy_dir(&self.data, digest);
        let fault = |e: io::Error| format!("{}: {e}", dir.display());
        std::fs::create_dir_all(self.data.join(FETCHES_DIR)).map_err(fault)?;
        let _ = std::fs::remove_dir_all(&going);
        std::fs::rename(&dir, &going).map_err(fault)?;
        self.held().retain(|held| !held.is_copy() || held.digest != *digest);
        std::fs::remove_dir_all(&going).map_err(fault)
    }
}

/// The SHA-256 of a file's content, as text. Blocks.
fn read_sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(context.finish().as_ref())),
            count => context.update(&piece[..count]),
        }
    }
}

/// The digest of an image with this list of parts.
pub fn digest_of(list: &str) -> ImageDigest {
    ImageDigest::from(hex(ring::digest::digest(&SHA256, list.as_bytes()).as_ref()).as_str())
}

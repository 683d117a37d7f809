//! Gets an image from another host, or makes a copy of one of the image folder.
//!
//! The list of its parts comes first and must have the digest asked for. Each part then comes in ranges behind what is there
//! of it, also from an earlier attempt or another host, and must have the SHA-256 that the list says; one that has not is
//! deleted. When all is there it is made durable and renamed, and only then anybody sees it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Kind, Link, Opening, Pace, TransferHandle};
use dwcp_roles::agent::FetchFault;
use dwcp_roles::protocol::ImageSource;
use dwcp_types::{IMAGE_LIST_BYTES, ImageDigest, ImagePart, image_bytes, image_list, read_image_list};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::give::{BUSY, DOUBTED};
use super::{COPIES_DIR, FETCHES_DIR, Known, Stamp, Store, copy_dir, digest_of, read_sha256};

/// Most that is asked for at once, bytes.
pub const RANGE_BYTES: u64 = 4 << 20;
/// A range must be there by then: longer than it takes of a host that gives little while VMs move.
const RANGE_LIMIT: Duration = Duration::from_secs(30);
/// A host that gives to others is asked again after this, and so often.
const BUSY_WAIT: Duration = Duration::from_millis(300);
const BUSY_TRIES: u32 = 30;
/// Between two ranges while VMs move: 2 MB/s at most.
const GENTLE_WAIT: Duration = Duration::from_secs(2);
/// Room that an image must leave on the data folder's disk, bytes.
const LEFT_FREE: u64 = 512 << 20;

/// Gets images. Clones are the same fetcher.
#[derive(Clone)]
pub struct Fetcher {
    store: Arc<Store>,
    link: TransferHandle,
    gentle: Arc<AtomicBool>,
    /// Whoever writes has it until that is written: what a fetch that was dropped still writes is there before the next begins.
    writing: Arc<tokio::sync::Mutex<()>>,
}

fn failed(why: impl ToString) -> FetchFault {
    FetchFault::Failed(why.to_string())
}

/// Work that blocks, aside.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FetchFault> {
    tokio::task::spawn_blocking(work).await.map_err(failed)?.map_err(failed)
}

/// Where an image comes from.
enum Origin {
    Host(Link),
    /// A folder of this host.
    Folder(PathBuf),
}

impl Fetcher {
    /// Gets what is missing in the store over the link.
    pub fn new(store: Arc<Store>, link: TransferHandle) -> Fetcher {
        Fetcher { store, link, gentle: Arc::default(), writing: Arc::default() }
    }

    /// Leaves room for VMs that move, or no longer does.
    pub fn set_gentle(&self, gentle: bool) {
        self.gentle.store(gentle, Ordering::Relaxed);
    }

    /// Gets an image from a host, or from the own image folder. `progress` is told bytes that are here and bytes in all. When
    /// it breaks off, or is dropped, what has come is kept for the next time.
    ///
    /// # Errors
    /// Why it did not come, or that what came was something else.
    pub async fn fetch(
        &self,
        digest: &ImageDigest,
        from: Option<&ImageSource>,
        progress: impl Fn(u64, u64),
    ) -> Result<(), FetchFault> {
        let Some(source) = from else {
            let (origin, list) = self.own(digest)?;
            let taken = self.take(digest, &origin, &list, progress).await;
            // Whoever changes an image in the image folder may do so.
            return taken.map_err(|fault| match fault {
                FetchFault::Wrong(why) => failed(format!("the image in the image folder has changed: {why}")),
                fault => fault,
            });
        };
        let link = self.dial(source).await?;
        let list = self.list(&link, digest).await?;
        let taken = self.take(digest, &Origin::Host(link.clone()), &list, progress).await;
        if matches!(taken, Err(FetchFault::Wrong(_))) {
            // It may not know. Whether it hears of it changes nothing here.
            let doubted =
                Opening { kind: Kind::Image, number: DOUBTED, image: digest.clone(), ..Opening::default() };
            let _ = link.say(&doubted).await;
        }
        taken
    }

    /// Takes the parts of a list that must be the image's.
    async fn take(
        &self,
        digest: &ImageDigest,
        origin: &Origin,
        list: &str,
        progress: impl Fn(u64, u64),
    ) -> Result<(), FetchFault> {
        let wrong = |why: String| FetchFault::Wrong(format!("the list of its parts: {why}"));
        if digest_of(list) != *digest {
            return Err(wrong("it is another image's".to_string()));
        }
        let parts = read_image_list(list).map_err(wrong)?;
        let dir = self.store.data.join(FETCHES_DIR).join(digest.as_str());
        self.begin(&dir, &parts).await?;
        let total = image_bytes(&parts);
        let mut done = 0;
        for (number, part) in (1..).zip(&parts) {
            let opening = Opening { kind: Kind::Image, number, image: digest.clone(), ..Opening::default() };
            self.part(origin, &dir, part, &opening, |here| progress(done + here, total)).await?;
            done += part.bytes;
            progress(done, total);
        }
        self.finish(digest, dir, parts).await
    }

    fn own(&self, digest: &ImageDigest) -> Result<(Origin, String), FetchFault> {
        let held =
            self.store.by_digest(digest).ok_or_else(|| failed("it is not in the image folder any more"))?;
        Ok((Origin::Folder(held.dir), image_list(&held.parts)))
    }

    async fn dial(&self, source: &ImageSource) -> Result<Link, FetchFault> {
        let address =
            source.endpoint.parse().map_err(|_| failed(format!("`{}` is no address", source.endpoint)))?;
        let host = PeerId::Host { region: source.region.to_string(), host: source.host.to_string() };
        self.link.link(&host, address).await.map_err(FetchFault::Failed)
    }

    async fn list(&self, link: &Link, digest: &ImageDigest) -> Result<String, FetchFault> {
        let opening = Opening { kind: Kind::Image, image: digest.clone(), ..Opening::default() };
        let bytes = self.range(link, &opening, IMAGE_LIST_BYTES as u64).await?;
        String::from_utf8(bytes)
            .map_err(|_| FetchFault::Wrong("the list of its parts is no text".to_string()))
    }

    /// Makes the folder, and room in it: what is there and is no part goes.
    async fn begin(&self, dir: &Path, parts: &[ImagePart]) -> Result<(), FetchFault> {
        let (dir, parts) = (dir.to_path_buf(), parts.to_vec());
        let writing = self.writing.clone().lock_owned().await;
        aside(move || {
            let _writing = writing;
            std::fs::create_dir_all(&dir)?;
            let mut missing = image_bytes(&parts);
            for entry in std::fs::read_dir(&dir)?.flatten() {
                let part = parts.iter().find(|part| entry.file_name() == *part.file);
                let there = entry.metadata().map_or(0, |meta| meta.len());
                match part {
                    Some(part) if there <= part.bytes => missing -= there,
                    _ => std::fs::remove_file(entry.path())?,
                }
            }
            let free = free_bytes(&dir)?;
            if free < missing.saturating_add(LEFT_FREE) {
                let (missing, free) = (missing.div_ceil(1 << 20), free >> 20);
                return Err(io::Error::other(format!(
                    "{missing} MiB are missing and {free} MiB are free here, of which {} MiB are to stay so",
                    LEFT_FREE >> 20
                )));
            }
            Ok(())
        })
        .await
    }

    /// Gets what is missing of a part, and compares all of it.
    async fn part(
        &self,
        origin: &Origin,
        dir: &Path,
        part: &ImagePart,
        opening: &Opening,
        progress: impl Fn(u64),
    ) -> Result<(), FetchFault> {
        let path = dir.join(&part.file);
        loop {
            let begun = path.metadata().map_or(0, |meta| meta.len());
            progress(begun);
            let mut here = begun;
            while here < part.bytes {
                let bytes = (part.bytes - here).min(RANGE_BYTES);
                let opening = Opening { offset: here, bytes, ..opening.clone() };
                self.piece(origin, &path, part, &opening).await?;
                here += bytes;
                progress(here);
            }
            if compare(&path, part).await? {
                return Ok(());
            }
            // Who gave what is wrong in it is known only of what came as a whole.
            if begun == 0 {
                return Err(FetchFault::Wrong(format!("{} has not the SHA-256 of the list", part.file)));
            }
        }
    }

    /// Gets one range of a part and writes it.
    async fn piece(
        &self,
        origin: &Origin,
        to: &Path,
        part: &ImagePart,
        opening: &Opening,
    ) -> Result<(), FetchFault> {
        let (offset, bytes) = (opening.offset, opening.bytes);
        let came = match origin {
            Origin::Host(link) => self.range(link, opening, bytes).await?,
            Origin::Folder(folder) => {
                let from = folder.join(&part.file);
                aside(move || read_range(&from, offset, bytes)).await?
            }
        };
        if came.len() as u64 != bytes {
            return Err(failed(format!("{} of {bytes} bytes of {} came", came.len(), part.file)));
        }
        let to = to.to_path_buf();
        let writing = self.writing.clone().lock_owned().await;
        aside(move || {
            let _writing = writing;
            let file = File::options().create(true).truncate(false).write(true).open(to)?;
            file.write_all_at(&came, offset)
        })
        .await
    }

    /// Makes it durable and visible.
    async fn finish(
        &self,
        digest: &ImageDigest,
        dir: PathBuf,
        parts: Vec<ImagePart>,
    ) -> Result<(), FetchFault> {
        let (store, digest) = (self.store.clone(), digest.clone());
        aside(move || {
            let copies = store.data.join(COPIES_DIR);
            std::fs::create_dir_all(&copies)?;
            let to = copy_dir(&store.data, &digest);
            File::open(&dir)?.sync_all()?;
            std::fs::rename(&dir, &to)?;
            File::open(&copies)?.sync_all()?;
            for part in parts {
                let path = to.join(&part.file);
                let known = Known { stamp: Stamp::of(&path)?, sha256: part.sha256 };
                store.known().insert(path.to_string_lossy().into_owned(), known);
            }
            store.save_known();
            store.hold(&digest);
            Ok(())
        })
        .await
    }

    /// One range; a host that gives to others now is asked again for a while.
    async fn range(&self, link: &Link, opening: &Opening, most: u64) -> Result<Vec<u8>, FetchFault> {
        if self.gentle.load(Ordering::Relaxed) {
            tokio::time::sleep(GENTLE_WAIT).await;
        }
        for _ in 0..BUSY_TRIES {
            match tokio::time::timeout(RANGE_LIMIT, receive(link, opening, most)).await {
                Ok(Err(why)) if why.starts_with(BUSY) => tokio::time::sleep(BUSY_WAIT).await,
                Ok(came) => return came.map_err(FetchFault::Failed),
                Err(_) => return Err(failed(format!("no range within {} s", RANGE_LIMIT.as_secs()))),
            }
        }
        Err(failed(BUSY))
    }
}

/// Makes a part durable and compares it; one that is not what it should be is deleted.
async fn compare(path: &Path, part: &ImagePart) -> Result<bool, FetchFault> {
    let (path, part) = (path.to_path_buf(), part.clone());
    aside(move || {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.sync_all()?;
        let same = path.metadata()?.len() == part.bytes && read_sha256(&path)? == part.sha256;
        if !same {
            std::fs::remove_file(&path)?;
        }
        Ok(same)
    })
    .await
}

fn read_range(path: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut range = vec![0; bytes as usize];
    File::open(path)?.read_exact_at(&mut range, offset)?;
    Ok(range)
}

async fn receive(link: &Link, opening: &Opening, most: u64) -> Result<Vec<u8>, String> {
    let opened = link.open(opening).await?.accepted().await?;
    let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
    let (from, mut to) = ours.into_split();
    let read = async {
        // Nothing is said after the opening.
        to.shutdown().await.map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        from.take(most + 1).read_to_end(&mut bytes).await.map_err(|e| e.to_string())?;
        if bytes.len() as u64 > most { Err(format!("more than {most} bytes came")) } else { Ok(bytes) }
    };
    let pace = Pace::new(0);
    tokio::try_join!(read, opened.join(theirs, &pace)).map(|(bytes, ())| bytes)
}

/// Bytes free on the disk of a folder.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let name = CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: `name` is a C string, `stat` is written by the call and read only when it succeeded.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        match libc::statvfs(name.as_ptr(), &mut stat) {
            0 => Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

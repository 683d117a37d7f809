//! Gives images to other hosts, in ranges.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Admission, Kind, Opening, Pace, TransferHandle};
use dwcp_types::image_list;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::{RANGE_BYTES, Stamp, Store};

/// Ranges that are given at once.
pub const GIVEN_AT_ONCE: usize = 2;
/// Bytes a second that a host gives of images.
const RATE: u64 = 25_000_000;
/// The same while VMs move to or from it.
const GENTLE_RATE: u64 = 2_000_000;
/// Read at once, bytes.
const PIECE_BYTES: u64 = 128 << 10;

/// How the refusal begins of a host that gives to others already.
pub(super) const BUSY: &str = "it gives images to others now";

/// As the number of a part: the image came wrong from here.
pub(super) const DOUBTED: u64 = u64::MAX;

/// Gives what the store has. Clones are the same giver.
#[derive(Clone)]
pub struct Giver {
    store: Arc<Store>,
    pace: Arc<Pace>,
    giving: Arc<AtomicUsize>,
    given: Arc<AtomicU64>,
}

/// A range to send.
enum Range {
    Text(String),
    File { path: PathBuf, stamp: Stamp, offset: u64, bytes: u64 },
}

/// One of the places of [`GIVEN_AT_ONCE`].
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Giver {
    /// Begins to give.
    pub fn start(store: Arc<Store>, link: &TransferHandle) -> Giver {
        let pace = Arc::new(Pace::new(RATE));
        let giver = Giver { store, pace, giving: Arc::default(), given: Arc::default() };
        let asked = giver.clone();
        link.register(Kind::Image, None, Arc::new(move |from, opening| asked.admit(from, opening)));
        giver
    }

    /// Leaves room for VMs that move, or no longer does.
    pub fn set_gentle(&self, gentle: bool) {
        self.pace.set_rate(if gentle { GENTLE_RATE } else { RATE });
    }

    /// Bytes given so far.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Every host of the federation may have every image.
    fn admit(&self, _from: &PeerId, opening: &Opening) -> Result<Admission, String> {
        let held = self.store.by_digest(&opening.image);
        let held = held.ok_or_else(|| format!("image {} is not here", opening.image.short()))?;
        if opening.number == DOUBTED {
            self.store.doubt(&opening.image);
            return Ok(Admission::Noted);
        }
        let range = if opening.number == 0 {
            Range::Text(image_list(&held.parts))
        } else {
            let at = usize::try_from(opening.number - 1).unwrap_or(usize::MAX);
            let part = held.parts.get(at).ok_or("the image has no such part")?;
            let end = opening.offset.saturating_add(opening.bytes);
            if opening.bytes > RANGE_BYTES || end > part.bytes {
                return Err(format!("{} has no such range", part.file));
            }
            let (path, stamp) = (held.dir.join(&part.file), held.stamps[at]);
            Range::File { path, stamp, offset: opening.offset, bytes: opening.bytes }
        };
        if self.giving.fetch_add(1, Ordering::Relaxed) >= GIVEN_AT_ONCE {
            self.giving.fetch_sub(1, Ordering::Relaxed);
            return Err(BUSY.to_string());
        }
        let place = Place(self.giving.clone());
        let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
        let (pace, given) = (self.pace.clone(), self.given.clone());
        tokio::spawn(async move {
            let _place = place;
            // What breaks off is noticed at the other end: it counts.
            let _ = send(range, ours, &pace, &given).await;
        });
        Ok(Admission::Stream(theirs))
    }
}

async fn send(range: Range, mut to: UnixStream, pace: &Pace, given: &AtomicU64) -> std::io::Result<()> {
    let (path, stamp, mut offset, bytes) = match range {
        Range::Text(text) => return to.write_all(text.as_bytes()).await,
        Range::File { path, stamp, offset, bytes } => (path, stamp, offset, bytes),
    };
    let open = move || {
        let file = File::open(&path)?;
        // What changed since it was read last is not what it is taken for.
        if Stamp::of(&path)? != stamp {
            return Err(std::io::Error::other("it has changed"));
        }
        Ok(Arc::new(file))
    };
    let file = tokio::task::spawn_blocking(open).await.map_err(std::io::Error::other)??;
    let end = offset + bytes;
    while offset < end {
        let count = (end - offset).min(PIECE_BYTES) as usize;
        pace.take(count).await;
        let (file, at) = (file.clone(), offset);
        let read = move || {
            let mut piece = vec![0; count];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        };
        let piece = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
        to.write_all(&piece).await?;
        given.fetch_add(count as u64, Ordering::Relaxed);
        offset += count as u64;
    }
    Ok(())
}

//! A disk in memory that fills up, stops in the middle of a write, and forgets what was not synced.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use dwcp_telemetry::store::disk::{Disk, DiskFile};
use dwcp_types::Rng;

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// What outlasts a power failure.
    synced: Vec<u8>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The names that outlast a power failure.
    synced: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Bytes that can still be written.
    room: Option<u64>,
    /// Bytes that can still be written before everything stops.
    life: Option<u64>,
}

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

struct Opened {
    disk: Memory,
    content: Arc<Mutex<Content>>,
}

fn stopped() -> io::Error {
    io::Error::other("the disk has stopped")
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it was held")
    }

    /// How much can be written from now on.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// Everything fails when so many bytes were written.
    pub fn stop_after(&self, bytes: u64) {
        self.state().life = Some(bytes);
    }

    /// What a killed process leaves: all that was written.
    pub fn start_again(&self) {
        self.state().life = None;
    }

    /// What a power failure leaves: what was synced, and of the rest as much as chance wants.
    pub fn lose_power(&self, rng: &mut Rng) {
        let mut state = self.state();
        state.life = None;
        state.files = state.synced.clone();
        for content in state.files.values() {
            let mut content = content.lock().expect("no panic while it was held");
            let written = content.bytes.clone();
            let mut left = content.synced.clone();
            if written.len() > left.len() && written.starts_with(&left) {
                let more = rng.below((written.len() - left.len()) as u64 + 1) as usize;
                left.extend_from_slice(&written[left.len()..][..more]);
                // A page that was not written reads as zeros.
                if more > 0 && rng.chance(1, 4) {
                    let at = left.len() - 1 - rng.below(more as u64) as usize;
                    left[at] = 0;
                }
            }
            content.synced = left.clone();
            content.bytes = left;
        }
    }

    /// The files and their lengths.
    pub fn files(&self) -> Vec<(String, usize)> {
        let length = |content: &Arc<Mutex<Content>>| content.lock().expect("no panic").bytes.len();
        self.state().files.iter().map(|(name, content)| (name.clone(), length(content))).collect()
    }

    /// A copy that has nothing to do with this one.
    pub fn copy(&self) -> Memory {
        let copy = Memory::default();
        for (name, content) in &self.state().files {
            let bytes = content.lock().expect("no panic").bytes.clone();
            let content = Arc::new(Mutex::new(Content { synced: bytes.clone(), bytes }));
            copy.state().files.insert(name.clone(), Arc::clone(&content));
            copy.state().synced.insert(name.clone(), content);
        }
        copy
    }

    pub fn flip(&self, name: &str, at: usize, bit: u32) {
        self.state().files[name].lock().expect("no panic").bytes[at] ^= 1 << bit;
    }

    pub fn cut(&self, name: &str, length: usize) {
        self.state().files[name].lock().expect("no panic").bytes.truncate(length);
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.life == Some(0) { Err(stopped()) } else { Ok(state) }
    }

    fn opened(&self, content: Arc<Mutex<Content>>) -> Box<dyn DiskFile> {
        Box::new(Opened { disk: self.clone(), content })
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.alive()?.files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = Arc::new(Mutex::new(Content::default()));
        self.alive()?.files.insert(name.to_owned(), Arc::clone(&content));
        Ok(self.opened(content))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = self.alive()?.files.get(name).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(self.opened(content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let content = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.alive()?.files.remove(name).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.synced = state.files.clone();
        Ok(())
    }
}

impl DiskFile for Opened {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        let length = bytes.len() as u64;
        let fits = length.min(state.room.unwrap_or(u64::MAX)).min(state.life.unwrap_or(u64::MAX));
        state.room = state.room.map(|room| room - fits);
        state.life = state.life.map(|life| life - fits);
        self.content.lock().expect("no panic").bytes.extend_from_slice(&bytes[..fits as usize]);
        if fits == length {
            Ok(())
        } else if state.life == Some(0) {
            Err(stopped())
        } else {
            Err(ErrorKind::StorageFull.into())
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        drop(self.disk.alive()?);
        let content = self.content.lock().expect("no panic");
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = content.bytes.get(from..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().expect("no panic").bytes.len() as u64)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        let mut content = self.content.lock().expect("no panic");
        let freed = content.bytes.len() as u64 - length;
        state.room = state.room.map(|room| room + freed);
        content.bytes.truncate(length as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.disk.alive()?);
        let mut content = self.content.lock().expect("no panic");
        content.synced = content.bytes.clone();
        Ok(())
    }
}

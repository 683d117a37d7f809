//! A medium that runs full.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// Keeps content in memory until it is full; then every write fails.
#[derive(Debug)]
pub struct Medium {
    memory: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl Medium {
    /// The medium and the switch that makes it full.
    pub fn new() -> (Medium, Arc<AtomicBool>) {
        let full = Arc::new(AtomicBool::new(false));
        (Medium { memory: InMemoryBackend::new(), full: full.clone() }, full)
    }

    fn room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.memory.write(offset, data)
    }
}

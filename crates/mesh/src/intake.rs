//! Room for frames that were received and not yet taken by the owner, counted in bytes: who sends more has to wait. A
//! compressed frame counts by its length when unpacked.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room a received frame takes; given back when the last clone is dropped. So hold it as long as the frame.
///
/// It is no part of what an event says: all rooms are equal.
#[derive(Debug, Clone, Default)]
pub struct Room(Vec<Arc<OwnedSemaphorePermit>>);

impl PartialEq for Room {
    fn eq(&self, _other: &Room) -> bool {
        true
    }
}

impl Eq for Room {}

impl Room {
    pub(crate) fn add(&mut self, other: Room) {
        self.0.extend(other.0);
    }
}

/// A bounded number of bytes. Clones are the same bytes.
#[derive(Clone)]
pub(crate) struct Bytes {
    free: Arc<Semaphore>,
    all: u32,
}

impl Bytes {
    pub(crate) fn new(bytes: usize) -> Bytes {
        let all = u32::try_from(bytes).unwrap_or(u32::MAX);
        Bytes { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until there is room. A single frame longer than all of it may pass alone, else it could never be taken.
    pub(crate) async fn take(&self, bytes: usize) -> Room {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.all);
        let permit = self.free.clone().acquire_many_owned(wanted).await;
        // It is never closed; without a permit nothing is counted.
        Room(permit.ok().map(Arc::new).into_iter().collect())
    }
}

/// What frames of one stream need.
#[derive(Clone, Default)]
pub(crate) struct Intake {
    /// Room of the sender's own, taken before memory is.
    pub(crate) own: Option<Bytes>,
    /// Room shared with other senders, taken when the frame is there, so that a slow sender holds none of it.
    pub(crate) shared: Option<Bytes>,
}

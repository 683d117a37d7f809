//! Queues bounded in bytes, one per peer and class: what does not fit is refused at once and counted.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::stats::QueueStats;

/// What became of a frame handed over for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Queued; it is delivered in order unless the link falls first.
    Queued,
    /// Not taken; the reason says why.
    Dropped(DropReason),
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// No such peer or session.
    Unknown,
    /// The link is down now.
    Down,
    /// The queue of this peer and class holds its limit of bytes.
    Full,
    /// The frame is longer than a frame may be.
    TooLarge,
}

/// One bounded queue. Closed queues (link down) refuse and hold nothing.
pub(crate) struct ByteQueue {
    inner: Mutex<Inner>,
    wake: Notify,
    limit_bytes: usize,
    frame_limit_bytes: usize,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Inner {
    open: bool,
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl ByteQueue {
    pub(crate) fn new(limit_bytes: usize, frame_limit_bytes: usize) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Notify::new(),
            limit_bytes,
            frame_limit_bytes,
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn open(&self) {
        self.lock().open = true;
    }

    /// Refuses from now on and forgets what waits; returns how many frames were lost.
    pub(crate) fn close(&self) -> usize {
        let mut inner = self.lock();
        let lost = inner.frames.len();
        *inner = Inner::default();
        self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
        lost
    }

    pub(crate) fn push(&self, frame: Vec<u8>) -> Sent {
        let sent = self.try_push(frame);
        match sent {
            Sent::Queued => self.wake.notify_one(),
            Sent::Dropped(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        sent
    }

    fn try_push(&self, frame: Vec<u8>) -> Sent {
        if frame.len() > self.frame_limit_bytes {
            return Sent::Dropped(DropReason::TooLarge);
        }
        let mut inner = self.lock();
        if !inner.open {
            return Sent::Dropped(DropReason::Down);
        }
        // A single frame longer than the whole limit may pass alone, else it could never be sent.
        if inner.bytes + frame.len() > self.limit_bytes && !inner.frames.is_empty() {
            return Sent::Dropped(DropReason::Full);
        }
        inner.bytes += frame.len();
        inner.frames.push_back(frame);
        Sent::Queued
    }

    /// The next frame, as soon as there is one. Only one task may wait.
    pub(crate) async fn pop(&self) -> Vec<u8> {
        loop {
            if let Some(frame) = self.take() {
                return frame;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        let frame = inner.frames.pop_front()?;
        inner.bytes -= frame.len();
        Some(frame)
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let inner = self.lock();
        QueueStats {
            frames: inner.frames.len() as u64,
            bytes: inner.bytes as u64,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

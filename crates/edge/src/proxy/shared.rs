//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use hyper::header::HeaderValue;
use ring::hmac;
use tokio::sync::{Semaphore, watch};

use crate::guard::Guard;
use crate::routes::Current;

use super::access_log::LogTo;
use super::admission::Admission;
use super::budget::Budgets;
use super::cidr::Cidr;
use super::failures::Failures;
use super::limits::Limits;
use super::upstream::Upstreams;
use super::{Placing, Told};

/// What the proxy counts beside [`crate::figures::Figures`].
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections closed at once: there were enough in all, or of this client.
    pub refused_full: AtomicU64,
    pub refused_client: AtomicU64,
    /// Connections and requests that the guard denied, limited, challenged, kept waiting.
    pub denied: AtomicU64,
    pub limited: AtomicU64,
    pub challenged: AtomicU64,
    pub tarpitted: AtomicU64,
    /// Requests that could be read in more than one way, or not at all.
    pub malformed: AtomicU64,
    /// Connections that were cut off because the client was too slow.
    pub slow: AtomicU64,
    /// Connections of HTTP/2 that were cut off because the client took back too many requests, or asked too much in another way.
    pub abused: AtomicU64,
    /// How often a connection of HTTP/1 that was quiet gave its parser away.
    pub rested: AtomicU64,
    /// TLS handshakes that came to nothing.
    pub handshakes_failed: AtomicU64,
    /// Requests for names that no service has.
    pub unknown_names: AtomicU64,
    /// Connections to endpoints that were opened, and requests that went over one that was there.
    pub upstream_opened: AtomicU64,
    pub upstream_reused: AtomicU64,
    /// Retries that were not made: the budget was used up.
    pub retries_refused: AtomicU64,
    /// Answers of endpoints that could be read in more than one way, or not at all.
    pub malformed_answers: AtomicU64,
    /// Entries of the access log for which there was no room.
    pub log_dropped: AtomicU64,
    /// Checks of endpoints that were made.
    pub checks: AtomicU64,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// What is under way goes on, and nothing new begins.
    Drain,
    Now,
}

pub(super) struct Shared {
    pub current: Arc<Current>,
    pub guard: Arc<dyn Guard>,
    pub placing: Arc<dyn Placing>,
    pub limits: Limits,
    pub trusted: Vec<Cidr>,
    pub cookie_key: hmac::Key,
    pub log: Option<LogTo>,
    pub told: Told,
    pub counts: Counts,
    pub admission: Admission,
    pub upstreams: Arc<Upstreams>,
    pub budgets: Budgets,
    pub failures: Failures,
    pub tarpit: Arc<Semaphore>,
    /// Requests under way.
    pub requests: AtomicUsize,
    pub closing: watch::Receiver<Closing>,
    /// `Via` of requests and answers of HTTP/1 and HTTP/2.
    pub via: [HeaderValue; 2],
    pub begun: Instant,
    pub seed: u64,
    pub counter: AtomicU64,
}

impl Shared {
    /// Another number each time, spread over all 64 bits, that nobody outside can foretell.
    pub fn fresh(&self) -> u64 {
        mix(self.counter.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed) ^ self.seed)
    }

    /// Comes back when nothing new is to begin.
    pub async fn leaving(&self) {
        let mut closing = self.closing.clone();
        let _ = closing.wait_for(|closing| *closing != Closing::No).await;
    }

    /// Comes back when everything is to be closed at once.
    pub async fn closed(&self) {
        let mut closing = self.closing.clone();
        // Without a sender nobody is there any more.
        let _ = closing.wait_for(|closing| *closing == Closing::Now).await;
    }

    /// Ms since the proxy began, from 1.
    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + 1
    }
}

/// The last steps of splitmix64.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

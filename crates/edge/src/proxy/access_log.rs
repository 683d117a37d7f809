//! A sample of what was served, for a log: one of so many requests and each that failed. Whoever reads too slowly loses
//! entries, and requests don't wait.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::shared::Shared;

/// A request that ended.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: SystemTime,
    pub client: IpAddr,
    /// Empty: no service.
    pub service: String,
    /// The endpoint's id; empty: it was not forwarded.
    pub endpoint: String,
    pub method: String,
    pub host: String,
    pub path: String,
    /// 0: no answer was sent.
    pub status: u16,
    pub retries: u8,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub took_us: u64,
    /// Until the endpoint's answer began; 0: none did.
    pub upstream_us: u64,
    /// The answer did not come to its end.
    pub broken: bool,
}

/// Where entries go.
#[derive(Clone, Debug)]
pub struct LogTo {
    /// One of so many; 0: only those that failed.
    pub one_of: u64,
    pub to: mpsc::Sender<Entry>,
}

impl LogTo {
    /// Whether this one is logged.
    pub(super) fn wants(&self, status: u16, fresh: u64) -> bool {
        status >= 500 || (self.one_of > 0 && fresh.is_multiple_of(self.one_of))
    }

    pub(super) fn put(&self, shared: &Shared, entry: Entry) {
        if self.to.try_send(entry).is_err() {
            shared.counts.log_dropped.fetch_add(1, Relaxed);
        }
    }
}

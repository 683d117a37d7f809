//! The lease that says that the process which owns a store lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::json;

use super::client::{Asked, Client, number};
use crate::store::StoreError;

/// Keeps a lease alive until it is dropped.
pub(super) struct Keeper {
    lease: Arc<AtomicU64>,
    _ends: Sender<()>,
}

impl Keeper {
    /// Takes a lease and keeps it.
    pub fn start(client: &Arc<Client>, lease: Duration, patience: Duration) -> Result<Keeper, StoreError> {
        let id = Arc::new(AtomicU64::new(grant(client, lease, patience)?));
        let (ends, ended) = channel::<()>();
        let (client, held) = (client.clone(), id.clone());
        let keep = move || {
            while ended.recv_timeout(lease / 3) == Err(RecvTimeoutError::Timeout) {
                let body = json!({"ID": held.load(Ordering::Relaxed).to_string()});
                // One that has run out is noticed by the next write.
                let _ = client.ask(&Asked::new("lease/keepalive", &body));
            }
        };
        let thread = std::thread::Builder::new().name("dwcpd-lease".into()).spawn(keep);
        thread.map_err(|error| StoreError::Etcd(format!("the system starts no thread: {error}")))?;
        Ok(Keeper { lease: id, _ends: ends })
    }

    pub fn lease(&self) -> u64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// Takes another lease in the place of one that ran out.
    pub fn renew(&self, client: &Client, lease: Duration, patience: Duration) -> Result<(), StoreError> {
        self.lease.store(grant(client, lease, patience)?, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the lease up; asked once, as it runs out by itself.
    pub fn end(&self, client: &Client) {
        let body = json!({"ID": self.lease().to_string()});
        let _ = client.ask(&Asked::new("lease/revoke", &body));
    }
}

fn grant(client: &Client, lease: Duration, patience: Duration) -> Result<u64, StoreError> {
    let body = json!({"TTL": lease.as_secs().max(1).to_string()});
    let answer = client.insist(&Asked::new("lease/grant", &body), patience)?;
    match number(&answer, "ID") {
        0 => Err(StoreError::Etcd("etcd granted a lease without a number".to_owned())),
        id => Ok(id),
    }
}

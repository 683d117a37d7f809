//! Who is let in: so many connections in all, so many of one client, and nobody whom the guard denies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::guard::{Ended, Verdict};

use super::shared::Shared;

/// How many locks the counts of clients are spread over.
const SHARDS: usize = 32;

/// Connections that are open, by client.
pub(super) struct Admission {
    open: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

impl Default for Admission {
    fn default() -> Self {
        Admission { open: AtomicUsize::new(0), clients: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Admission {
    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// One of the connections that there may be in all.
pub(super) struct Slot(Arc<Shared>);

impl Slot {
    /// None: there are enough.
    pub fn take(shared: &Arc<Shared>) -> Option<Slot> {
        let before = shared.admission.open.fetch_add(1, Relaxed);
        shared.current.figures.connections.fetch_add(1, Relaxed);
        let slot = Slot(Arc::clone(shared));
        if before >= shared.limits.connections {
            shared.counts.refused_full.fetch_add(1, Relaxed);
            return None;
        }
        Some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.admission.open.fetch_sub(1, Relaxed);
        self.0.current.figures.connections.fetch_sub(1, Relaxed);
    }
}

/// A connection that was let in; the end of it tells the guard.
pub(super) struct Admitted {
    slot: Slot,
    client: IpAddr,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub resets: AtomicU32,
    /// Cut off because it was too slow.
    pub slow: AtomicU32,
}

/// What becomes of a connection.
pub(super) enum Entry {
    In(Admitted),
    Closed,
    /// Kept waiting, as long as the slot is held.
    Tarpit(Slot),
}

/// Decides about a connection.
pub(super) fn enter(slot: Slot, client: IpAddr) -> Entry {
    let shared = Arc::clone(&slot.0);
    let key = network(client);
    let refused = {
        let mut clients = shard(&shared, &key).lock().unwrap_or_else(PoisonError::into_inner);
        let open = clients.entry(key).or_insert(0);
        let refused = *open >= shared.limits.connections_per_client;
        if !refused {
            *open += 1;
        }
        refused
    };
    if refused {
        shared.counts.refused_client.fetch_add(1, Relaxed);
        return Entry::Closed;
    }
    match shared.guard.connection(client) {
        Verdict::Pass | Verdict::Challenge { .. } => Entry::In(Admitted {
            slot,
            client,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            resets: AtomicU32::new(0),
            slow: AtomicU32::new(0),
        }),
        Verdict::Deny { .. } | Verdict::Limit { .. } => {
            shared.counts.denied.fetch_add(1, Relaxed);
            leave(&shared, client);
            Entry::Closed
        }
        Verdict::Tarpit => {
            leave(&shared, client);
            Entry::Tarpit(slot)
        }
    }
}

fn leave(shared: &Shared, client: IpAddr) {
    let key = network(client);
    let mut clients = shard(shared, &key).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(open) = clients.get_mut(&key) {
        *open = open.saturating_sub(1);
        if *open == 0 {
            clients.remove(&key);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shared = &self.slot.0;
        leave(shared, self.client);
        let slow = self.slow.load(Relaxed) > 0;
        if slow {
            shared.counts.slow.fetch_add(1, Relaxed);
        }
        shared.guard.connection_ended(
            self.client,
            Ended {
                status: 0,
                bytes_in: self.bytes_in.load(Relaxed),
                bytes_out: self.bytes_out.load(Relaxed),
                slow,
                resets: self.resets.load(Relaxed),
            },
        );
    }
}

/// Who counts as one client.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

fn shard<'a>(shared: &'a Shared, key: &IpAddr) -> &'a Mutex<HashMap<IpAddr, u32>> {
    let bits = match key {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    };
    &shared.admission.clients[(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59) as usize % SHARDS]
}

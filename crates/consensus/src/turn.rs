//! What one call gathers: writes of all groups, mail to all nodes, and what the caller must do.

use crate::wire::{Frame, Packet, encode_body};
use crate::{Batch, Config, GroupId, NodeId, Output};
use std::collections::{BTreeMap, BTreeSet};

/// A packet is closed when it is longer than this, bytes.
const PACKET_LIMIT: usize = 64 << 10;

/// Writes to become one batch. Later calls win over earlier ones.
#[derive(Default)]
pub(crate) struct Stage {
    puts: BTreeMap<Vec<u8>, Vec<u8>>,
    deletes: BTreeSet<Vec<u8>>,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stage {
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.deletes.remove(&key);
        self.puts.insert(key, value);
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.puts.remove(&key);
        self.deletes.insert(key);
    }

    pub fn delete_range(&mut self, (from, to): (Vec<u8>, Vec<u8>)) {
        let doomed: Vec<_> = self.puts.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
        for key in doomed {
            self.puts.remove(&key);
        }
        self.ranges.push((from, to));
    }

    pub fn take(&mut self) -> Batch {
        Batch {
            puts: std::mem::take(&mut self.puts).into_iter().collect(),
            deletes: std::mem::take(&mut self.deletes).into_iter().collect(),
            delete_ranges: std::mem::take(&mut self.ranges),
        }
    }
}

/// Mail that waits for the end of the call, so that all groups share packets.
#[derive(Default)]
pub(crate) struct Mail {
    packets: BTreeMap<NodeId, Packet>,
}

impl Mail {
    pub fn post(&mut self, to: NodeId, group: GroupId, frame: &Frame, out: &mut Vec<Output>) {
        let packet = self.packets.entry(to).or_insert_with(Packet::new);
        packet.push(&encode_body(group, frame));
        if packet.len() > PACKET_LIMIT
            && let Some(packet) = self.packets.remove(&to)
        {
            out.push(Output::Send { to, bytes: packet.into_bytes() });
        }
    }

    pub fn deliver(&mut self, out: &mut Vec<Output>) {
        for (to, packet) in std::mem::take(&mut self.packets) {
            out.push(Output::Send { to, bytes: packet.into_bytes() });
        }
    }
}

/// The surroundings of a group during one call.
pub(crate) struct Turn<'a> {
    pub now_us: u64,
    pub config: &'a Config,
    /// As the caller said last; see [`Input::CouldLead`](crate::Input::CouldLead).
    pub could_lead: Option<&'a BTreeSet<NodeId>>,
    pub stage: &'a mut Stage,
    pub mail: &'a mut Mail,
    pub out: &'a mut Vec<Output>,
    /// The number that what is staged now will get.
    pub next_seq: u64,
    pub persisted_seq: u64,
}

impl Turn<'_> {
    pub fn durable(&self, seq: u64) -> bool {
        seq <= self.persisted_seq || self.config.acks_before_fsync()
    }

    pub fn post(&mut self, to: NodeId, group: GroupId, frame: &Frame) {
        self.mail.post(to, group, frame, self.out);
    }
}

//! The network between regions: delays of the real matrix, jitter, loss, cuts by direction.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{NodeId, Rng};

/// Round trips between the five regions in tenths of a millisecond (AWS averages; see the specification).
const RTT_TENTHS_MS: [[u64; 5]; 5] = [
    [3, 705, 1818, 1130, 1980],
    [705, 1, 1183, 1836, 2537],
    [1818, 1182, 1, 2994, 1433],
    [1130, 1836, 2994, 2, 3088],
    [1980, 2537, 1433, 3088, 1],
];

/// The network.
#[derive(Clone, Debug, Default)]
pub struct Net {
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// One-way delays of a configuration that was read, µs; empty: those of the matrix.
    pub delays_us: BTreeMap<(NodeId, NodeId), u64>,
    last_due: BTreeMap<(NodeId, NodeId), u64>,
    /// Frames lost, per thousand.
    pub loss_permille: u64,
}

impl Net {
    /// One-way delay without jitter, µs.
    pub fn delay_us(&self, from: NodeId, to: NodeId) -> u64 {
        const WITHIN_US: u64 = 50;
        if !self.delays_us.is_empty() {
            return self.delays_us.get(&(from, to)).copied().unwrap_or(WITHIN_US);
        }
        let row = ((from - 1) % 5) as usize;
        let column = ((to - 1) % 5) as usize;
        RTT_TENTHS_MS[row][column] * 50
    }

    /// When a frame sent now arrives; none: never. Frames of one direction keep their order.
    pub fn arrival_us(&mut self, now_us: u64, from: NodeId, to: NodeId, rng: &mut Rng) -> Option<u64> {
        if self.is_cut(from, to) || rng.chance(self.loss_permille, 1_000) {
            return None;
        }
        let delay_us = self.delay_us(from, to);
        let due = now_us + delay_us + rng.below(delay_us / 20 + 200);
        let last = self.last_due.entry((from, to)).or_insert(0);
        *last = due.max(*last);
        Some(*last)
    }

    /// True when nothing passes in this direction.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        from != to && self.cuts.contains(&(from, to))
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&mut self, node: NodeId, others: impl Iterator<Item = NodeId>) {
        for other in others.filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Heals every direction that touches a node.
    pub fn rejoin(&mut self, node: NodeId) {
        self.cuts.retain(|(from, to)| *from != node && *to != node);
    }

    /// Heals one direction.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.cuts.remove(&(from, to));
    }

    /// Heals everything.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.loss_permille = 0;
    }
}

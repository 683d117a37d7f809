//! Partitions: which links between regions break, how, and for how long; each drawn from a seed.

pub mod table;

use std::collections::BTreeSet;

use dwcp_types::{NodeId, Rng};

use crate::faults::Fault;
use crate::options::{Options, SNAPSHOT_EVERY};

/// How links break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing passes between the sides.
    Full,
    /// Nothing passes in one direction.
    OneWay,
    /// Some of the links between the sides break, others do not.
    Partial,
    /// The links between the sides break and heal again and again.
    Flapping,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Full, Kind::OneWay, Kind::Partial, Kind::Flapping];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::OneWay => "one-way",
            Kind::Partial => "partial",
            Kind::Flapping => "flapping",
        }
    }
}

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Two regions from three.
    TwoThree,
    /// One region from four.
    OneFour,
    /// Two single regions from three, and from each other.
    OneOneThree,
    /// Some pairs of regions.
    Pairs,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [Shape::TwoThree, Shape::OneFour, Shape::OneOneThree, Shape::Pairs];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Shape::TwoThree => "2|3",
            Shape::OneFour => "1|4",
            Shape::OneOneThree => "1|1|3",
            Shape::Pairs => "pairs",
        }
    }

    /// True when such a partition is drawn: with every pair cut, `full` would leave nobody with anybody.
    pub fn goes_with(self, kind: Kind) -> bool {
        self != Shape::Pairs || kind != Kind::Full
    }
}

/// What goes wrong beside the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The nodes' clocks run at rates that differ by up to 5 %.
    Drift,
    /// A node's process dies, and comes back.
    NodeCrash,
    /// A host loses power, and comes back.
    HostCrash,
}

/// A partition, as it was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// How links break.
    pub kind: Kind,
    /// Between whom.
    pub shape: Shape,
    /// The directions that break.
    pub cut: Vec<(NodeId, NodeId)>,
    /// From the first break until everything heals, ms.
    pub length_ms: u64,
    /// When the links heal and break again, ms after the first break; empty unless they flap.
    pub turns_ms: Vec<u64>,
    /// What goes wrong beside it.
    pub beside: Beside,
}

/// The shortest and the longest partition, ms.
const LENGTH_MS: (u64, u64) = (3_000, 90_000);
/// Flapping links turn after at least and at most, ms.
const TURN_MS: (u64, u64) = (500, 8_000);
/// Everything must be as it should so long after healing, ms.
pub const CONVERGE_MS: u64 = 60_000;

/// Every kind with every shape that goes with it, in the order of the table.
pub fn cells() -> Vec<(Kind, Shape)> {
    let shapes = |kind| Shape::ALL.into_iter().filter(move |shape| shape.goes_with(kind));
    Kind::ALL.into_iter().flat_map(|kind| shapes(kind).map(move |shape| (kind, shape))).collect()
}

impl Partition {
    /// The partition of a seed among `regions` regions (at least 3).
    pub fn draw(seed: u64, regions: usize) -> Partition {
        let mut rng = Rng::new(seed ^ 0x9a27_1710);
        let cells = cells();
        let (kind, shape) = cells[rng.below(cells.len() as u64) as usize];
        let cut = directions(&mut rng, kind, shape, regions as u64);
        let length_ms = LENGTH_MS.0 + rng.below(LENGTH_MS.1 - LENGTH_MS.0 + 1);
        let mut turns_ms = Vec::new();
        if kind == Kind::Flapping {
            let mut turn = || TURN_MS.0 + rng.below(TURN_MS.1 - TURN_MS.0 + 1);
            let mut at = turn();
            while at < length_ms {
                turns_ms.push(at);
                at += turn();
            }
        }
        let all = [Beside::Nothing, Beside::Nothing, Beside::Drift, Beside::NodeCrash, Beside::HostCrash];
        let beside = all[rng.below(all.len() as u64) as usize];
        Partition { kind, shape, cut, length_ms, turns_ms, beside }
    }

    /// What strikes when, µs after the first break, healing at the end not included.
    pub fn faults(&self) -> Vec<(u64, Fault)> {
        let mut all = vec![(0, Fault::CutLinks(self.cut.clone()))];
        for (index, ms) in self.turns_ms.iter().enumerate() {
            let heals = index % 2 == 0;
            let cut = self.cut.clone();
            all.push((ms * 1_000, if heals { Fault::HealLinks(cut) } else { Fault::CutLinks(cut) }));
        }
        all
    }

    /// Moves that one VM may make because of it: one for the partition, one more when a host or a node dies as well.
    pub fn moves_allowed(&self) -> usize {
        1 + usize::from(matches!(self.beside, Beside::NodeCrash | Beside::HostCrash))
    }
}

/// The directions that break.
fn directions(rng: &mut Rng, kind: Kind, shape: Shape, regions: u64) -> Vec<(NodeId, NodeId)> {
    let mut order: Vec<NodeId> = (1..=regions).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let sides: Vec<&[NodeId]> = match shape {
        Shape::TwoThree => vec![&order[..2], &order[2..]],
        Shape::OneFour => vec![&order[..1], &order[1..]],
        Shape::OneOneThree => vec![&order[..1], &order[1..2], &order[2..]],
        Shape::Pairs => order.chunks(1).collect(),
    };
    // Pairs of regions on different sides, the earlier side first.
    let mut pairs = Vec::new();
    for (index, side) in sides.iter().enumerate() {
        for other in &sides[index + 1..] {
            pairs.extend(side.iter().flat_map(|from| other.iter().map(move |to| (*from, *to))));
        }
    }
    if shape == Shape::Pairs || kind == Kind::Partial {
        pairs = some(rng, pairs);
    }
    let turned = rng.chance(1, 2);
    let both: BTreeSet<(NodeId, NodeId)> = pairs
        .into_iter()
        .flat_map(|(from, to)| {
            // A one-way break between sides goes one way for all; between single pairs each has its own.
            let turned = if shape == Shape::Pairs { rng.chance(1, 2) } else { turned };
            match (kind, turned) {
                (Kind::OneWay, false) => vec![(from, to)],
                (Kind::OneWay, true) => vec![(to, from)],
                _ => vec![(from, to), (to, from)],
            }
        })
        .collect();
    both.into_iter().collect()
}

/// At least one of them, and not all.
fn some(rng: &mut Rng, mut pairs: Vec<(NodeId, NodeId)>) -> Vec<(NodeId, NodeId)> {
    let keep = 1 + rng.below(pairs.len().max(2) as u64 - 1) as usize;
    while pairs.len() > keep {
        pairs.remove(rng.below(pairs.len() as u64) as usize);
    }
    pairs
}

impl Options {
    /// A run with the partition of a seed.
    pub fn partition(seed: u64) -> Options {
        let regions = 5;
        let partition = Partition::draw(seed, regions);
        let mut rng = Rng::new(seed ^ 0x0b5e_55ed);
        Options {
            regions,
            vms: 8 + rng.below(9) as usize,
            faults_ms: partition.length_ms,
            settle_ms: CONVERGE_MS,
            ruled: rng.chance(1, 2),
            snapshot_every: [SNAPSHOT_EVERY, 300, 60][rng.below(3) as usize],
            revocations: rng.chance(1, 2),
            drifting: partition.beside == Beside::Drift,
            partition: Some(partition),
            ..Options::quiet(seed)
        }
    }
}

//! What many partitions did, a line for each kind and shape.

use std::collections::BTreeMap;

use super::{Kind, Partition, Shape, cells};
use crate::run::Ended;

/// One line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    seeds: u64,
    moved: usize,
    longest_ms: u64,
    violations: u64,
}

/// All lines.
#[derive(Clone, Debug, Default)]
pub struct Table {
    lines: BTreeMap<(Kind, Shape), Line>,
}

impl Table {
    /// Counts a run.
    pub fn count(&mut self, partition: &Partition, ended: &Ended) {
        let line = self.lines.entry((partition.kind, partition.shape)).or_default();
        line.seeds += 1;
        line.moved += ended.moved;
        line.longest_ms = line.longest_ms.max(ended.settled_ms);
        line.violations += u64::from(ended.violation.is_some());
    }

    /// Runs in which something did not hold.
    pub fn violations(&self) -> u64 {
        self.lines.values().map(|line| line.violations).sum()
    }

    /// The table as text: a heading, a line for each kind and shape that was drawn, and the sum.
    pub fn lines(&self) -> Vec<String> {
        let tell = |kind: &str, shape: &str, line: &Line| {
            let seconds = line.longest_ms as f64 / 1_000.0;
            format!(
                "{kind:<9} {shape:<6} {:>6} {:>9} {seconds:>19.1} s {:>11}",
                line.seeds, line.moved, line.violations
            )
        };
        let mut told = vec![format!(
            "{:<9} {:<6} {:>6} {:>9} {:>21} {:>11}",
            "partition", "shape", "seeds", "VMs moved", "longest to converge", "violations"
        )];
        let mut sum = Line::default();
        for (kind, shape) in cells() {
            let Some(line) = self.lines.get(&(kind, shape)) else { continue };
            told.push(tell(kind.name(), shape.name(), line));
            sum.seeds += line.seeds;
            sum.moved += line.moved;
            sum.longest_ms = sum.longest_ms.max(line.longest_ms);
            sum.violations += line.violations;
        }
        told.push(tell("all", "", &sum));
        told
    }
}

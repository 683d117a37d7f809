//! Sets of moments.

use dwcp_types::Wall;

/// Moments, as intervals that begin with their first and end before their last, ascending, none touching another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(Vec<(Wall, Wall)>);

impl Times {
    /// All moments of intervals in any order, which may overlap. One that ends before it begins has none.
    pub fn new(intervals: impl IntoIterator<Item = (Wall, Wall)>) -> Times {
        let mut sorted: Vec<(Wall, Wall)> =
            intervals.into_iter().filter(|(from, until)| from < until).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(Wall, Wall)> = Vec::with_capacity(sorted.len());
        for (from, until) in sorted {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        Times(merged)
    }

    /// Begin and end of each interval.
    pub fn iter(&self) -> impl Iterator<Item = (Wall, Wall)> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long they are together, ms.
    pub fn total_ms(&self) -> u64 {
        self.0.iter().map(|(from, until)| until.0 - from.0).sum()
    }

    /// What is in both.
    pub fn and(&self, other: &Times) -> Times {
        let (mut found, mut at) = (Vec::new(), 0);
        for (from, until) in self.iter() {
            while other.0.get(at).is_some_and(|(_, end)| *end <= from) {
                at += 1;
            }
            let beside = other.0[at..].iter().take_while(|(start, _)| *start < until);
            found.extend(beside.map(|(start, end)| (from.max(*start), until.min(*end))));
        }
        Times(found)
    }

    /// What is in either.
    pub fn or(&self, other: &Times) -> Times {
        Times::new(self.iter().chain(other.iter()))
    }

    /// What is in this one and not in the other.
    pub fn minus(&self, other: &Times) -> Times {
        let (mut found, mut at) = (Vec::new(), 0);
        for (from, until) in self.iter() {
            while other.0.get(at).is_some_and(|(_, end)| *end <= from) {
                at += 1;
            }
            let mut rest = from;
            for (start, end) in other.0[at..].iter().take_while(|(start, _)| *start < until) {
                if rest < *start {
                    found.push((rest, *start));
                }
                rest = rest.max(*end);
            }
            if rest < until {
                found.push((rest, until));
            }
        }
        Times(found)
    }
}

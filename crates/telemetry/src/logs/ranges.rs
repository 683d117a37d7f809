//! Sets of sequence numbers, as ranges.

/// Ranges of numbers, both ends included, ascending, none next to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds all numbers from `first` to `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        let begin = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let joined = match self.0.get(begin..end) {
            Some([one, .., other]) => (one.0.min(first), other.1.max(last)),
            Some([one]) => (one.0.min(first), one.1.max(last)),
            _ => (first, last),
        };
        self.0.splice(begin..end.max(begin), [joined]);
    }

    /// The numbers from `first` to `last` that are not in it.
    pub fn missing(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let (mut missing, mut from) = (Vec::new(), first);
        for (start, end) in self.0.iter().skip_while(|(_, end)| *end < first) {
            if *start > last {
                break;
            }
            if *start > from {
                missing.push((from, start - 1));
            }
            from = end.saturating_add(1);
        }
        if from <= last {
            missing.push((from, last));
        }
        missing
    }

    /// The first range with a number above `after`, of which only what is above it.
    pub fn next(&self, after: u64) -> Option<(u64, u64)> {
        let range = self.0.iter().find(|(_, end)| *end > after)?;
        Some((range.0.max(after + 1), range.1))
    }

    /// The largest number; 0 when there is none.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_hold_what_a_set_holds(inserts in proptest::collection::vec((1u64..60, 0u64..9), 0..20)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, more) in inserts {
                ranges.insert(first, first + more);
                set.extend(first..=first + more);
            }
            let all: Vec<u64> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(&all, &set.iter().copied().collect::<Vec<_>>());
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert_eq!(ranges.last(), set.last().copied().unwrap_or(0));
            for after in [0, 1, 17, 70] {
                prop_assert_eq!(ranges.next(after).map(|range| range.0), set.range(after + 1..).next().copied());
            }
            let missing: Vec<u64> = ranges.missing(5, 40).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(missing, (5..=40).filter(|n| !set.contains(n)).collect::<Vec<_>>());
        }
    }
}

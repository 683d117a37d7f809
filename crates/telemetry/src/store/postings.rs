//! Sets of series by their numbers, as runs: series are numbered in the order of their labels, so what shares a label lies together.

use dwcp_types::DecodeError;

use super::bytes::{Bytes, put_varint};

/// Numbers in ascending order, as runs `start..end` that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<(u32, u32)>);

impl Runs {
    /// All below `end`.
    pub fn below(end: u32) -> Runs {
        Runs(if end == 0 { Vec::new() } else { vec![(0, end)] })
    }

    /// Adds a number that is above all others.
    pub fn push(&mut self, number: u32) {
        match self.0.last_mut() {
            Some((_, end)) if *end == number => *end += 1,
            _ => self.0.push((number, number + 1)),
        }
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(start, end)| *start..*end)
    }

    pub fn intersect(&self, other: &Runs) -> Runs {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&&(a, b)), Some(&&(c, d))) = (left.peek(), right.peek()) {
            let (start, end) = (a.max(c), b.min(d));
            if start < end {
                both.push((start, end));
            }
            if b < d {
                left.next();
            } else {
                right.next();
            }
        }
        Runs(both)
    }

    /// What is in any of them.
    pub fn union(all: impl IntoIterator<Item = Runs>) -> Runs {
        let mut runs: Vec<(u32, u32)> = all.into_iter().flat_map(|runs| runs.0).collect();
        runs.sort_unstable();
        let mut any: Vec<(u32, u32)> = Vec::new();
        for (start, end) in runs {
            match any.last_mut() {
                Some((_, last)) if *last >= start => *last = end.max(*last),
                _ => any.push((start, end)),
            }
        }
        Runs(any)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut last = 0;
        for (start, end) in &self.0 {
            put_varint(out, u64::from(start - last));
            put_varint(out, u64::from(end - start));
            last = *end;
        }
    }

    /// Reads runs that fill `bytes`, of numbers below `limit`.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(mut bytes: Bytes<'_>, limit: u32) -> Result<Runs, DecodeError> {
        let (mut runs, mut last) = (Vec::new(), 0u32);
        while !bytes.is_empty() {
            let start = last.checked_add(bytes.u32()?);
            let end = start.zip(Some(bytes.u32()?)).and_then(|(start, length)| start.checked_add(length));
            match start.zip(end) {
                Some((start, end)) if start < end && end <= limit && (start > last || runs.is_empty()) => {
                    runs.push((start, end));
                    last = end;
                }
                _ => return Err(DecodeError::Invalid("runs of series out of order")),
            }
        }
        Ok(Runs(runs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dwcp_types::Rng;

    use super::*;

    fn runs(numbers: &BTreeSet<u32>) -> Runs {
        let mut runs = Runs::default();
        numbers.iter().for_each(|number| runs.push(*number));
        runs
    }

    #[test]
    fn runs_are_sets() {
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            let mut set = || (0..rng.below(60)).map(|_| rng.below(100) as u32).collect::<BTreeSet<u32>>();
            let (left, right) = (set(), set());
            let both: BTreeSet<u32> = left.intersection(&right).copied().collect();
            let any: BTreeSet<u32> = left.union(&right).copied().collect();
            assert_eq!(runs(&left).intersect(&runs(&right)), runs(&both));
            assert_eq!(Runs::union([runs(&left), runs(&right)]), runs(&any));
            assert_eq!(runs(&left).iter().collect::<BTreeSet<u32>>(), left);
            assert_eq!(runs(&left).count(), left.len() as u64);
            let mut out = Vec::new();
            runs(&left).encode(&mut out);
            assert_eq!(Runs::decode(Bytes(&out), 100), Ok(runs(&left)));
        }
        assert_eq!(Runs::below(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}

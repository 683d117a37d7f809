//! How many different, by HyperLogLog (Flajolet et al., 2007) with linear counting of few.

/// Estimates how many different hashes it has seen, in `N` bytes (a power of two, 16 or more): to about 104 / sqrt(N) percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct<const N: usize> {
    ranks: [u8; N],
}

impl<const N: usize> Default for Distinct<N> {
    fn default() -> Self {
        const { assert!(N.is_power_of_two() && N >= 16) };
        Distinct { ranks: [0; N] }
    }
}

impl<const N: usize> Distinct<N> {
    /// One was seen.
    pub fn add(&mut self, hash: u64) {
        let rank = &mut self.ranks[hash as usize & (N - 1)];
        let seen = (hash >> N.trailing_zeros()).trailing_zeros().min(63 - N.trailing_zeros()) as u8 + 1;
        *rank = (*rank).max(seen);
    }

    /// How many different ones it were.
    pub fn estimate(&self) -> u64 {
        let count = N as f64;
        let sum: f64 = self.ranks.iter().map(|rank| 1.0 / (1_u64 << rank) as f64).sum();
        let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        let empty = self.ranks.iter().filter(|rank| **rank == 0).count();
        let few = raw <= 2.5 * count && empty > 0;
        let estimate = if few { count * (count / empty as f64).ln() } else { raw };
        estimate.round() as u64
    }

    /// What either has seen.
    pub fn join(&mut self, other: &Distinct<N>) {
        for (rank, other) in self.ranks.iter_mut().zip(&other.ranks) {
            *rank = (*rank).max(*other);
        }
    }

    /// Nothing was seen.
    pub fn clear(&mut self) {
        self.ranks.fill(0);
    }
}

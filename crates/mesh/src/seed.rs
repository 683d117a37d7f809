//! A small deterministic generator (SplitMix64) for back-off and emulated loss; never for secrets.

/// Generator of evenly spread numbers from one seed.
#[derive(Debug, Clone)]
pub(crate) struct Seed(u64);

impl Seed {
    /// The generator of one `lane` of a seed, so that tasks don't share one.
    pub(crate) fn lane(seed: u64, lane: u64) -> Self {
        let mut s = Self(seed ^ lane.wrapping_mul(0xd134_2543_de82_ef95));
        s.next();
        s
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

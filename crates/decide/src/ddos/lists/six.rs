//! IPv6: sorted numbers with every 32nd of them above, and every 32nd of those above that, so that a search touches few lines
//! of memory.

const FAN: usize = 32;

/// Sorted numbers.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// The numbers, then every 32nd of the level before, down to 32 or fewer.
    levels: Vec<Vec<u128>>,
}

impl Sorted {
    /// Of sorted numbers.
    pub fn new(numbers: Vec<u128>) -> Sorted {
        let mut levels = vec![numbers];
        while let Some(above) = levels.last().filter(|level| level.len() > FAN) {
            levels.push(above.iter().step_by(FAN).copied().collect());
        }
        Sorted { levels }
    }

    /// How many are not above a number.
    pub fn until(&self, number: u128) -> usize {
        self.levels.iter().rev().fold(0, |above, level| {
            // `above` numbers of the level before are not greater: the last of them begins the 32 to look through.
            let from = above.saturating_sub(1) * FAN;
            let chunk = level.get(from..level.len().min(from + FAN)).unwrap_or(&[]);
            from + chunk.partition_point(|one| *one <= number)
        })
    }

    pub fn has(&self, number: u128) -> bool {
        let last = self.until(number).checked_sub(1);
        last.and_then(|at| self.levels.first()?.get(at)) == Some(&number)
    }

    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.len() * 16).sum()
    }
}

/// Networks, as edges.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    edges: Sorted,
    bits: Vec<Option<u8>>,
}

impl Ranges {
    /// Of sorted edges.
    pub fn new(edges: Vec<(u128, Option<u8>)>) -> Ranges {
        let bits = edges.iter().map(|(_, bits)| *bits).collect();
        Ranges { edges: Sorted::new(edges.into_iter().map(|(at, _)| at).collect()), bits }
    }

    /// Bits of the smallest network around an address.
    pub fn of(&self, ip: u128) -> Option<u8> {
        let last = self.edges.until(ip).checked_sub(1)?;
        self.bits.get(last).copied().flatten()
    }

    pub fn bytes(&self) -> usize {
        self.edges.bytes() + self.bits.len() * 2
    }
}

//! How often, by count-min with conservative update (Estan, Varghese, SIGCOMM 2002).

/// Rows: a count is too high only when a key meets another in each.
const ROWS: usize = 4;

/// Counts of `N` things for each of any number of keys. Never too low.
#[derive(Clone, Debug)]
pub struct Counts<const N: usize> {
    cells: Vec<[u32; N]>,
    mask: usize,
}

impl<const N: usize> Counts<N> {
    /// With `width` cells a row, taken up to a power of two. A count is too high by about all counts / `width` at most.
    pub fn new(width: usize) -> Counts<N> {
        let width = width.clamp(2, 1 << 24).next_power_of_two();
        Counts { cells: vec![[0; N]; width * ROWS], mask: width - 1 }
    }

    /// Counts `amount` more of `what` (below `N`; above: nothing) for a key, and says how much it has now.
    pub fn add(&mut self, hash: u64, what: usize, amount: u32) -> u32 {
        if what >= N {
            return 0;
        }
        let places = self.places(hash);
        let least = places.iter().map(|place| self.cells[*place][what]).min().unwrap_or(0);
        let next = least.saturating_add(amount);
        for place in places {
            let cell = &mut self.cells[place][what];
            *cell = (*cell).max(next);
        }
        next
    }

    /// All that a key has.
    pub fn of(&self, hash: u64) -> [u32; N] {
        let mut least = [u32::MAX; N];
        for place in self.places(hash) {
            for (least, count) in least.iter_mut().zip(&self.cells[place]) {
                *least = (*least).min(*count);
            }
        }
        least
    }

    /// All counts are 0 again.
    pub fn clear(&mut self) {
        self.cells.fill([0; N]);
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.cells.len() * size_of::<[u32; N]>()
    }

    /// One cell a row.
    fn places(&self, hash: u64) -> [usize; ROWS] {
        let step = (hash >> 32) as usize | 1;
        let mut at = hash as usize;
        let mut row = 0;
        [(); ROWS].map(|()| {
            let place = (at & self.mask) + row;
            at = at.wrapping_add(step);
            row += self.mask + 1;
            place
        })
    }
}

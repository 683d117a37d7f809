//! Who most, by Space-Saving (Metwally et al., ICDT 2005): who is more than 1 / capacity of everything is always in it.

/// No entry.
const FREE: u32 = u32::MAX;

/// The heaviest of any number of keys, each with something that is kept beside it as long as it is among them.
#[derive(Clone, Debug)]
pub struct Heavy<K, V> {
    entries: Vec<Entry<K, V>>,
    /// Entries, the lightest first: a heap.
    heap: Vec<u32>,
    /// Entries by hash, with linear probing; at most half full.
    index: Vec<u32>,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    hash: u64,
    count: u64,
    /// Of the count, what may be others'.
    others: u64,
    /// Its place in the heap.
    place: u32,
    kept: V,
}

/// One of the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heaviest<'a, K, V> {
    pub key: K,
    /// The hash that it was counted by.
    pub hash: u64,
    /// At most this.
    pub count: u64,
    /// At least this.
    pub least: u64,
    /// What is kept beside it.
    pub kept: &'a V,
}

impl<K: Copy + Ord, V: Default> Heavy<K, V> {
    /// For so many keys, 1 at least.
    pub fn new(capacity: usize) -> Heavy<K, V> {
        let capacity = capacity.clamp(1, 1 << 24);
        let index = vec![FREE; (capacity * 2).next_power_of_two()];
        Heavy { entries: Vec::with_capacity(capacity), heap: Vec::with_capacity(capacity), index, capacity }
    }

    /// Counts `amount` more for a key, and hands out what is kept beside it: fresh when it was not there.
    pub fn add(&mut self, key: K, hash: u64, amount: u64) -> &mut V {
        let at = match self.find(key, hash) {
            Some(at) => {
                self.entries[at].count = self.entries[at].count.saturating_add(amount);
                at
            }
            None if self.entries.len() < self.capacity => self.append(key, hash, amount),
            None => self.replace(key, hash, amount),
        };
        self.sink(self.entries[at].place as usize);
        &mut self.entries[at].kept
    }

    /// What is kept beside a key, if it is among the heaviest.
    pub fn get(&self, key: K, hash: u64) -> Option<&V> {
        self.find(key, hash).map(|at| &self.entries[at].kept)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: K, hash: u64) -> Option<&mut V> {
        self.find(key, hash).map(|at| &mut self.entries[at].kept)
    }

    /// All that it has, in no order that means anything.
    pub fn all(&self) -> impl Iterator<Item = Heaviest<'_, K, V>> {
        self.entries.iter().map(|entry| Heaviest {
            key: entry.key,
            hash: entry.hash,
            count: entry.count,
            least: entry.count - entry.others,
            kept: &entry.kept,
        })
    }

    /// The heaviest first; equal ones by key.
    pub fn top(&self, most: usize) -> Vec<Heaviest<'_, K, V>> {
        let mut all: Vec<_> = self.all().collect();
        all.sort_unstable_by_key(|one| (std::cmp::Reverse(one.count), one.key));
        all.truncate(most);
        all
    }

    /// Nobody is in it.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.heap.clear();
        self.index.fill(FREE);
    }

    fn find(&self, key: K, hash: u64) -> Option<usize> {
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.index[at];
            if entry == FREE {
                return None;
            }
            let found = &self.entries[entry as usize];
            if found.hash == hash && found.key == key {
                return Some(entry as usize);
            }
            at = (at + 1) & mask;
        }
    }

    fn append(&mut self, key: K, hash: u64, amount: u64) -> usize {
        let at = self.entries.len();
        let place = self.heap.len() as u32;
        self.entries.push(Entry { key, hash, count: amount, others: 0, place, kept: V::default() });
        self.heap.push(at as u32);
        self.enter(at);
        self.rise(place as usize);
        at
    }

    /// The lightest gives its place, and its count: nobody knows how often the new one was there before.
    fn replace(&mut self, key: K, hash: u64, amount: u64) -> usize {
        let at = self.heap[0] as usize;
        self.leave(at);
        let entry = &mut self.entries[at];
        entry.others = entry.count;
        entry.count = entry.count.saturating_add(amount);
        (entry.key, entry.hash, entry.kept) = (key, hash, V::default());
        self.enter(at);
        at
    }

    fn enter(&mut self, entry: usize) {
        let mask = self.index.len() - 1;
        let mut at = self.entries[entry].hash as usize & mask;
        while self.index[at] != FREE {
            at = (at + 1) & mask;
        }
        self.index[at] = entry as u32;
    }

    /// Takes an entry out of the index; those behind it move up, so that none is cut off from its place.
    fn leave(&mut self, entry: usize) {
        let mask = self.index.len() - 1;
        let mut hole = self.entries[entry].hash as usize & mask;
        while self.index[hole] != entry as u32 {
            hole = (hole + 1) & mask;
        }
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let mover = self.index[next];
            if mover == FREE {
                break;
            }
            let wants = self.entries[mover as usize].hash as usize & mask;
            let distance = next.wrapping_sub(wants) & mask;
            if distance >= (next.wrapping_sub(hole) & mask) {
                self.index[hole] = mover;
                hole = next;
            }
        }
        self.index[hole] = FREE;
    }

    fn count_at(&self, place: usize) -> u64 {
        self.entries[self.heap[place] as usize].count
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            self.entries[self.heap[place] as usize].place = place as u32;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(child) = [left, left + 1]
                .into_iter()
                .filter(|c| *c < self.heap.len())
                .min_by_key(|c| self.count_at(*c))
            else {
                return;
            };
            if self.count_at(child) >= self.count_at(place) {
                return;
            }
            self.swap(child, place);
            place = child;
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.count_at((place - 1) / 2) > self.count_at(place) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }
}

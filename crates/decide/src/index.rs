//! Tables of candidate hosts, one a region, kept from one decision to the next.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, Host, HostStanding, RegionFacts};
use dwcp_types::{Amount, HostId, Mono, RegionId, Revision, ZoneId};

use crate::Measured;

/// Hosts a block: small enough to be read at once, large enough to skip many.
pub(crate) const BLOCK: usize = 64;

/// One part of a whole, in the tables' fixed point.
pub(crate) const WHOLE: u32 = 1 << 31;

/// The three dimensions of an amount, clamped to 32 bits so that a host fits into half a cache line.
pub(crate) type Dims = [u32; 3];

pub(crate) fn dims(amount: Amount) -> Dims {
    let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    [amount.vcpus, clamp(amount.memory_mib), clamp(amount.disk_gib)]
}

/// How much a share of each dimension counts when hosts are to be filled: memory, which is not shared, before the others.
const FILL: [u64; 3] = [1, 4, 1];

/// What a scan reads of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub free: Dims,
    /// `WHOLE / room`; 0 for a dimension the host does not have.
    pub scale: Dims,
    pub state: RowState,
    /// Nothing is placed there.
    pub idle: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RowState {
    #[default]
    Open = 0,
    Closed = 1,
    Lost = 2,
}

impl Row {
    /// The smallest share that stays free after placing `need`; none when it doesn't fit.
    pub fn left(&self, need: Dims) -> Option<u32> {
        let mut least = WHOLE;
        for ((free, need), scale) in self.free.iter().zip(need).zip(self.scale) {
            let left = free.checked_sub(need)?;
            if scale != 0 {
                // `left` is at most the room, so the product is at most the whole.
                least = least.min(left.wrapping_mul(scale));
            }
        }
        Some(least)
    }

    /// What stays free of each dimension after placing `need`, in percent; 0 of one that the host does not have.
    pub fn left_percent(&self, need: Dims) -> [u32; 3] {
        std::array::from_fn(|at| {
            let left = self.free[at].saturating_sub(need[at]).wrapping_mul(self.scale[at]);
            ((u64::from(left) * 100 + u64::from(WHOLE / 2)) / u64::from(WHOLE)) as u32
        })
    }

    /// How good a host is for filling hosts up, 0 to `WHOLE`: the share of it that is full after placing `need`, memory
    /// counting four times, in the lower half for a host on which nothing is placed yet; none when it doesn't fit.
    pub fn filled(&self, need: Dims) -> Option<u32> {
        let mut left = 0;
        for at in 0..3 {
            let free = self.free[at].checked_sub(need[at])?;
            // At most the whole; 0 for a dimension that the host lacks: none of it stays unused.
            left += FILL[at] * u64::from(free.wrapping_mul(self.scale[at]));
        }
        let full = WHOLE - (left / FILL.iter().sum::<u64>()) as u32;
        Some(if self.idle { full / 2 } else { WHOLE / 2 + full / 2 })
    }
}

/// What is known of a block's open hosts without reading them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// The most that is free in each dimension.
    pub most: Dims,
    /// The largest scale in each dimension; `u32::MAX` where a host lacks the dimension.
    scale: Dims,
}

impl Block {
    fn add(&mut self, row: &Row) {
        for at in 0..3 {
            self.most[at] = self.most[at].max(row.free[at]);
            let scale = if row.scale[at] == 0 { u32::MAX } else { row.scale[at] };
            self.scale[at] = self.scale[at].max(scale);
        }
    }

    /// No host of the block keeps a larger share free than this; none when none fits.
    pub fn bound(&self, need: Dims) -> Option<u32> {
        let mut bound = WHOLE;
        for ((most, scale), need) in self.most.iter().zip(self.scale).zip(need) {
            let left = u64::from(most.checked_sub(need)?);
            bound = bound.min((left * u64::from(scale)).min(u64::from(WHOLE)) as u32);
        }
        Some(bound)
    }
}

/// A region's hosts as a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegionTable {
    pub revision: Revision,
    /// When it was made.
    made: Mono,
    pub limits: (u32, u32),
    /// By host id.
    pub rows: Vec<Row>,
    pub hosts: Vec<(HostId, ZoneId)>,
    rooms: Vec<Dims>,
    pub blocks: Vec<Block>,
    /// The most that any host has in all in each dimension, and the host with the most memory.
    top: (Dims, usize),
    /// Hosts that are open, closed and lost.
    pub counts: [u32; 3],
    /// Sums over open hosts.
    pub free: Sums,
    pub room: Sums,
}

/// Sums of the three dimensions over many hosts.
pub(crate) type Sums = [u64; 3];

fn shift(sums: &mut Sums, less: Dims, more: Dims) {
    for ((sum, less), more) in sums.iter_mut().zip(less).zip(more) {
        *sum = *sum + u64::from(more) - u64::from(less);
    }
}

impl RegionTable {
    pub fn build(facts: &RegionFacts, made: Mono) -> RegionTable {
        let limits = facts.limits();
        let mut table = RegionTable { revision: facts.revision, made, limits, ..RegionTable::default() };
        for (id, host) in &facts.hosts {
            let (row, room) = table.row_for(host);
            table.rows.push(row);
            table.rooms.push(room);
            table.hosts.push((id.clone(), host.facts.zone.clone()));
        }
        table.summarize();
        table
    }

    /// Follows the facts by reading only the hosts that were touched; says whether any differs from what the table had.
    /// None when the table must be built anew.
    fn follow(&mut self, facts: &RegionFacts) -> Option<bool> {
        if self.limits != facts.limits() || self.rows.len() != facts.hosts.len() {
            return None;
        }
        let mut differs = false;
        for id in facts.hosts_touched_since(self.revision)?.collect::<BTreeSet<_>>() {
            // A VM may be recorded on a host that never registered: nothing to follow.
            let Some(host) = facts.hosts.get(id) else { continue };
            let at = self.row_of(id)?;
            let (row, room) = self.row_for(host);
            if self.rows[at] != row || self.rooms[at] != room || self.hosts[at].1 != host.facts.zone {
                self.put(at, row, room);
                self.hosts[at].1 = host.facts.zone.clone();
                differs = true;
            }
        }
        self.revision = facts.revision;
        Some(differs)
    }

    fn row_for(&self, host: &Host) -> (Row, Dims) {
        let (cpu, memory) = self.limits;
        let room = host.room(cpu, memory);
        let state = match (host.standing, host.placement) {
            (HostStanding::Lost, _) => RowState::Lost,
            (HostStanding::Up, false) => RowState::Closed,
            (HostStanding::Up, true) => RowState::Open,
        };
        let scale = dims(room).map(|whole| WHOLE.checked_div(whole).unwrap_or(0));
        let idle = host.used == Amount::default();
        (Row { free: dims(room.minus(host.used)), scale, state, idle }, dims(room))
    }

    /// Replaces a row, keeping sums and the block's summary.
    fn put(&mut self, at: usize, row: Row, room: Dims) {
        let open = |row: &Row, dims: Dims| if row.state == RowState::Open { dims } else { Dims::default() };
        let old = self.rows[at];
        self.counts[old.state as usize] -= 1;
        self.counts[row.state as usize] += 1;
        shift(&mut self.free, open(&old, old.free), open(&row, row.free));
        shift(&mut self.room, open(&old, self.rooms[at]), open(&row, room));
        self.rows[at] = row;
        if self.rooms[at] != room {
            self.rooms[at] = room;
            self.measure_rooms();
        }
        self.summarize_block(at / BLOCK);
    }

    fn summarize(&mut self) {
        (self.free, self.room, self.counts) = (Sums::default(), Sums::default(), [0; 3]);
        for row in &self.rows {
            self.counts[row.state as usize] += 1;
        }
        self.measure_rooms();
        for (row, room) in self.rows.iter().zip(&self.rooms).filter(|(row, _)| row.state == RowState::Open) {
            shift(&mut self.free, Dims::default(), row.free);
            shift(&mut self.room, Dims::default(), *room);
        }
        self.blocks = vec![Block::default(); self.rows.len().div_ceil(BLOCK)];
        for block in 0..self.blocks.len() {
            self.summarize_block(block);
        }
    }

    fn summarize_block(&mut self, block: usize) {
        let end = self.rows.len().min((block + 1) * BLOCK);
        let mut sum = Block::default();
        for row in self.rows[block * BLOCK..end].iter().filter(|row| row.state == RowState::Open) {
            sum.add(row);
        }
        self.blocks[block] = sum;
    }

    /// Takes room on a host while planning.
    pub fn take(&mut self, row: usize, need: Amount) {
        let mut less = Row { idle: false, ..self.rows[row] };
        for (free, need) in less.free.iter_mut().zip(dims(need)) {
            *free = free.saturating_sub(need);
        }
        self.put(row, less, self.rooms[row]);
    }

    /// The largest host in all, by memory, when `need` fits into none even if it were empty.
    pub fn largest_if_none_holds(&self, need: Dims) -> Option<(usize, Dims)> {
        let (top, largest) = self.top;
        let fits = |room: &Dims| need.iter().zip(room).all(|(need, room)| need <= room);
        if fits(&top) && self.rooms.iter().any(fits) {
            return None;
        }
        self.rooms.get(largest).map(|room| (largest, *room))
    }

    fn measure_rooms(&mut self) {
        let mut top = Dims::default();
        for room in &self.rooms {
            for (top, room) in top.iter_mut().zip(room) {
                *top = (*top).max(*room);
            }
        }
        let by_memory = |at: &usize| (self.rooms[*at][1], self.rooms[*at][0], std::cmp::Reverse(*at));
        self.top = (top, (0..self.rooms.len()).max_by_key(by_memory).unwrap_or(0));
    }

    /// Takes hosts out of the table.
    pub fn close(&mut self, which: impl Fn(&HostId) -> bool, state: RowState) {
        for (row, _) in self.rows.iter_mut().zip(&self.hosts).filter(|(_, (host, _))| which(host)) {
            row.state = state;
        }
        self.summarize();
    }

    pub fn row_of(&self, host: &HostId) -> Option<usize> {
        self.hosts.binary_search_by(|(id, _)| id.cmp(host)).ok()
    }
}

/// How well the index served.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// Region tables that were used as they were kept.
    pub hits: u64,
    /// Region tables that had to be made, or to follow hosts that had changed.
    pub misses: u64,
    /// Hosts held.
    pub entries: u64,
    /// Misses because hosts of the region, or their room, had changed since.
    pub invalidations: u64,
    /// Misses because the table had grown too old: older than the time to live, or one a decision in its last half.
    pub expirations: u64,
    /// `hits / (hits + misses)`; 0 before the first.
    pub hit_rate: f64,
}

/// Candidate tables of every region, kept from one decision to the next.
///
/// A kept table follows what changes of its hosts, and is made anew before it is older than the policy's
/// `placement_cache_ttl_ms`, whether or not anything says that it changed: what it was not told of is wrong no longer than
/// that. With a time to live of 0 no table is kept.
#[derive(Clone, Debug, Default)]
pub struct PlaceIndex {
    tables: BTreeMap<RegionId, RegionTable>,
    now: Mono,
    stats: CacheStats,
    means: BTreeMap<RegionId, u64>,
    means_of: Option<u64>,
}

impl PlaceIndex {
    /// Says what time it is: the age of tables is told by it. Decisions until the next call are of this moment.
    pub fn set_now(&mut self, now: Mono) {
        self.now = now;
    }

    /// Brings every region's table up to date, once a decision.
    pub(crate) fn refresh(&mut self, view: &Federation) {
        let ttl_ms = view.core.policy.placement_cache_ttl_ms;
        if ttl_ms == 0 {
            self.forget();
        }
        let made = self.make_missing(view);
        // Tables that were made together would all expire in one decision: each makes one anew in the last half of its life.
        let mut may_be_early = true;
        for (table, facts) in self.tables.values_mut().zip(view.regions.values()) {
            let age_ms = self.now.ms_since(table.made);
            let early = may_be_early && age_ms > ttl_ms / 2;
            if ttl_ms > 0 && (early || age_ms >= ttl_ms) {
                may_be_early = false;
                self.stats.expirations += 1;
                self.stats.misses += 1;
                *table = RegionTable::build(facts, self.now);
                continue;
            }
            match if table.revision == facts.revision { Some(false) } else { table.follow(facts) } {
                Some(false) => self.stats.hits += 1,
                followed => {
                    self.stats.invalidations += 1;
                    self.stats.misses += 1;
                    if followed.is_none() {
                        *table = RegionTable::build(facts, self.now);
                    }
                }
            }
        }
        // Those just made were found current by the loop above.
        self.stats.hits -= made;
        self.stats.misses += made;
    }

    /// Makes tables for regions without one, and says how many; drops those of regions that are gone.
    fn make_missing(&mut self, view: &Federation) -> u64 {
        let mut made = 0;
        if self.tables.len() != view.regions.len() || !self.tables.keys().eq(view.regions.keys()) {
            self.tables.retain(|region, _| view.regions.contains_key(region));
            for (region, facts) in &view.regions {
                self.tables.entry(region.clone()).or_insert_with(|| {
                    made += 1;
                    RegionTable::build(facts, self.now)
                });
            }
        }
        made
    }

    /// Forgets every table; the next decision makes them anew.
    pub fn forget(&mut self) {
        self.tables.clear();
        self.means_of = None;
    }

    /// How well it served so far.
    pub fn stats(&self) -> CacheStats {
        let asked = self.stats.hits + self.stats.misses;
        CacheStats {
            entries: self.tables.values().map(|table| table.rows.len() as u64).sum(),
            hit_rate: if asked == 0 { 0.0 } else { self.stats.hits as f64 / asked as f64 },
            ..self.stats
        }
    }

    pub(crate) fn table(&self, region: &RegionId) -> Option<&RegionTable> {
        self.tables.get(region)
    }

    /// Keeps the mean round trips until a round trip changes.
    pub(crate) fn refresh_means(&mut self, measured: &Measured) {
        let fingerprint = measured.fingerprint();
        if self.means_of != Some(fingerprint) {
            self.means = measured.means();
            self.means_of = Some(fingerprint);
        }
    }

    pub(crate) fn tables(&self) -> &BTreeMap<RegionId, RegionTable> {
        &self.tables
    }

    pub(crate) fn means(&self) -> &BTreeMap<RegionId, u64> {
        &self.means
    }
}

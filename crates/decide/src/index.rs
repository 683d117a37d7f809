//! Tables of candidate hosts, one a region, kept from one decision to the next.

use std::collections::BTreeMap;

use dwcp_state::{Federation, Host, HostStanding, RegionFacts};
use dwcp_types::{Amount, HostId, RegionId, Revision, ZoneId};

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

/// What a scan reads of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    pub free: Dims,
    /// `WHOLE / room`; 0 for a dimension the host does not have.
    pub scale: Dims,
    pub state: RowState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RowState {
    #[default]
    Open,
    Closed,
    Lost,
}

impl Row {
    /// The smallest share that stays free after placing `need`; none when it doesn't fit.
    pub fn left(&self, need: Dims) -> Option<u32> {
        let mut least = WHOLE;
        for ((free, need), scale) in self.free.iter().zip(need).zip(self.scale) {
            let left = free.checked_sub(need)?;
            if scale != 0 {
                least = least.min(left.wrapping_mul(scale).min(WHOLE));
            }
        }
        Some(least)
    }
}

/// A region's hosts as a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegionTable {
    pub revision: Revision,
    pub limits: (u32, u32),
    /// By host id.
    pub rows: Vec<Row>,
    pub hosts: Vec<(HostId, ZoneId)>,
    /// The most that is free in each dimension on any open host of each block.
    pub most: Vec<Dims>,
    /// Sums over open hosts.
    pub free: Amount,
    pub room: Amount,
}

impl RegionTable {
    pub fn build(facts: &RegionFacts) -> RegionTable {
        let mut table =
            RegionTable { revision: facts.revision, limits: facts.limits(), ..RegionTable::default() };
        for host in facts.hosts.values() {
            table.rows.push(Row::default());
            table.hosts.push((host.facts.id.clone(), host.facts.zone.clone()));
            table.put(table.rows.len() - 1, host);
        }
        table.summarize();
        table
    }

    /// Writes one host's row. Blocks and sums are left to `summarize`.
    fn put(&mut self, row: usize, host: &Host) {
        let (cpu, memory) = self.limits;
        let room = host.room(cpu, memory);
        let state = match (host.standing, host.placement) {
            (HostStanding::Lost, _) => RowState::Lost,
            (HostStanding::Up, false) => RowState::Closed,
            (HostStanding::Up, true) => RowState::Open,
        };
        let scale = dims(room).map(|whole| WHOLE.checked_div(whole).unwrap_or(0));
        self.rows[row] = Row { free: dims(room.minus(host.used)), scale, state };
        if state == RowState::Open {
            self.room = self.room.plus(room);
        }
    }

    fn summarize(&mut self) {
        self.free = Amount::default();
        self.most = vec![Dims::default(); self.rows.len().div_ceil(BLOCK)];
        for block in 0..self.most.len() {
            self.summarize_block(block);
        }
        for row in self.rows.iter().filter(|row| row.state == RowState::Open) {
            self.free = self.free.plus(amount(row.free));
        }
    }

    fn summarize_block(&mut self, block: usize) {
        let end = self.rows.len().min((block + 1) * BLOCK);
        let mut most = Dims::default();
        for row in self.rows[block * BLOCK..end].iter().filter(|row| row.state == RowState::Open) {
            for (most, free) in most.iter_mut().zip(row.free) {
                *most = free.max(*most);
            }
        }
        self.most[block] = most;
    }

    /// Takes room on a host while planning.
    pub fn take(&mut self, row: usize, need: Amount) {
        let wanted = dims(need);
        for (free, need) in self.rows[row].free.iter_mut().zip(wanted) {
            *free = free.saturating_sub(need);
        }
        self.free = self.free.minus(need);
        self.summarize_block(row / BLOCK);
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

fn amount(dims: Dims) -> Amount {
    Amount { vcpus: dims[0], memory_mib: u64::from(dims[1]), disk_gib: u64::from(dims[2]) }
}

/// How well the index served.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// Region tables that were current when asked for.
    pub hits: u64,
    /// Region tables that had to be made or renewed.
    pub misses: u64,
    /// Hosts held.
    pub entries: u64,
    /// Region tables dropped because their region's facts had changed.
    pub invalidations: u64,
    /// `hits / (hits + misses)`; 0 before the first.
    pub hit_rate: f64,
}

/// Candidate tables of every region, renewed when a region's revision has changed.
#[derive(Clone, Debug, Default)]
pub struct PlaceIndex {
    tables: BTreeMap<RegionId, RegionTable>,
    hits: u64,
    misses: u64,
    invalidations: u64,
    means: BTreeMap<RegionId, u64>,
    means_of: Option<u64>,
}

impl PlaceIndex {
    /// Brings every region's table up to date; `place` does it by itself.
    pub fn refresh(&mut self, view: &Federation) {
        self.tables.retain(|region, _| view.regions.contains_key(region));
        for (region, facts) in &view.regions {
            self.refresh_region(region, facts);
        }
    }

    fn refresh_region(&mut self, region: &RegionId, facts: &RegionFacts) {
        match self.tables.get_mut(region) {
            Some(table) if table.revision == facts.revision => {
                self.hits += 1;
                return;
            }
            Some(_) => self.invalidations += 1,
            None => {}
        }
        self.misses += 1;
        self.tables.insert(region.clone(), RegionTable::build(facts));
    }

    /// Drops every table; the next decision makes them anew.
    pub fn clear(&mut self) {
        self.invalidations += self.tables.len() as u64;
        self.tables.clear();
    }

    /// How well it served so far.
    pub fn stats(&self) -> CacheStats {
        let asked = self.hits + self.misses;
        CacheStats {
            hits: self.hits,
            misses: self.misses,
            entries: self.tables.values().map(|table| table.rows.len() as u64).sum(),
            invalidations: self.invalidations,
            hit_rate: if asked == 0 { 0.0 } else { self.hits as f64 / asked as f64 },
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

    pub(crate) fn mean_rtt(&self, region: &RegionId) -> Option<u64> {
        self.means.get(region).copied()
    }
}

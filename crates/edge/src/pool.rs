//! A service's endpoints as this router sees them, with what they come to by region.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use dwcp_decide::route::{Live, ServiceRow, Sums, Table};

use crate::figures::{Figures, Flow};

/// What is seen of one endpoint. Kept when the table changes, as long as the endpoint stays.
#[derive(Debug)]
struct Seen {
    open: AtomicU32,
    /// Where it is counted. Whoever changes whether it is up holds this, so that a change and a new table don't miss each other.
    seat: Mutex<Seat>,
}

/// Where an endpoint is counted: in the newest table's counts.
#[derive(Debug, Default)]
struct Seat {
    counts: Arc<Counts>,
    at: u32,
    region: u16,
    /// It serves by the facts and takes new clients.
    counted: bool,
    /// Requests found it dead, and not checks alone.
    dead: bool,
}

/// What endpoints are up, and how many by region.
#[derive(Debug, Default)]
struct Counts {
    /// A bit for each endpoint.
    up: Vec<AtomicU64>,
    /// By region: ready, up.
    regions: Vec<[AtomicU32; 2]>,
    ready: AtomicU32,
    /// Those that count and that requests found dead.
    dead: AtomicU32,
}

impl Counts {
    fn new(endpoints: usize, regions: usize) -> Counts {
        Counts {
            up: (0..endpoints.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            regions: (0..regions).map(|_| Default::default()).collect(),
            ready: AtomicU32::new(0),
            dead: AtomicU32::new(0),
        }
    }

    fn is_up(&self, at: u32) -> bool {
        self.up.get(at as usize / 64).is_some_and(|bits| bits.load(Relaxed) >> (at % 64) & 1 == 1)
    }
}

/// One more, or one less.
fn count(of: &AtomicU32, more: bool) {
    if more {
        of.fetch_add(1, Relaxed)
    } else {
        of.fetch_sub(1, Relaxed)
    };
}

impl Seat {
    fn is_up(&self) -> bool {
        self.counts.is_up(self.at)
    }

    /// Called with the seat held, so that nothing is counted twice.
    fn set_dead(&mut self, dead: bool) {
        if std::mem::replace(&mut self.dead, dead) == dead || !self.counted {
            return;
        }
        count(&self.counts.dead, dead);
    }

    /// As [`Seat::set_dead`].
    fn set_up(&mut self, up: bool) {
        if up {
            self.set_dead(false);
        }
        let Some(bits) = self.counts.up.get(self.at as usize / 64) else { return };
        let bit = 1 << (self.at % 64);
        let was = if up { bits.fetch_or(bit, Relaxed) } else { bits.fetch_and(!bit, Relaxed) };
        if (was & bit != 0) == up {
            return;
        }
        let region = self.counts.regions.get(self.region as usize);
        if let Some([ready, all]) = region {
            count(all, up);
            if self.counted {
                count(ready, up);
                count(&self.counts.ready, up);
            }
        }
    }
}

/// A service's endpoints as they are seen, in the order of its row.
pub struct Pool {
    seen: Vec<Arc<Seen>>,
    counts: Arc<Counts>,
    /// Requests and connections under way, by region index. Kept when the table changes.
    open: Vec<Arc<AtomicU32>>,
    /// The region index of each endpoint.
    region: Vec<u16>,
    /// Counts, by region index.
    pub flows: Vec<Arc<Flow>>,
}

/// What was seen before a table came: of endpoints, and of regions.
#[derive(Default)]
pub(crate) struct Before<'a> {
    endpoints: HashMap<(&'a str, &'a str, &'a str, SocketAddr), &'a Arc<Seen>>,
    open: HashMap<(&'a str, &'a str), &'a Arc<AtomicU32>>,
}

impl<'a> Before<'a> {
    pub fn of(table: &'a Table, pools: &'a [Pool]) -> Before<'a> {
        let mut before = Before::default();
        for (service, pool) in table.services.iter().zip(pools) {
            for (row, seen) in service.endpoints.iter().zip(&pool.seen) {
                if let Some(region) = table.regions.get(row.region as usize) {
                    before.endpoints.insert((&service.name, &region.region, &row.id, row.address), seen);
                }
            }
            let open = table.regions.iter().zip(&pool.open);
            before.open.extend(open.map(|(row, open)| ((&*service.name, &*row.region), open)));
        }
        before
    }
}

impl Pool {
    /// Of a service of a table. From now on what is kept is counted here.
    pub(crate) fn new(table: &Table, service: &ServiceRow, before: &Before<'_>, figures: &Figures) -> Pool {
        let counts = Arc::new(Counts::new(service.endpoints.len(), table.regions.len()));
        let seen = service.endpoints.iter().zip(0..).map(|(row, at)| {
            let region = table.regions.get(row.region as usize).map_or("", |region| &region.region);
            let key = (&*service.name, region, &*row.id, row.address);
            let counted = row.serves && !row.draining;
            let mut seat = Seat { counts: counts.clone(), at, region: row.region, counted, dead: false };
            match before.endpoints.get(&key) {
                Some(seen) => {
                    let mut held = seen.seat.lock().unwrap_or_else(PoisonError::into_inner);
                    seat.set_up(held.is_up());
                    seat.set_dead(held.dead);
                    *held = seat;
                    Arc::clone(seen)
                }
                None => {
                    seat.set_up(true);
                    Arc::new(Seen { open: AtomicU32::new(0), seat: Mutex::new(seat) })
                }
            }
        });
        let open = |region: &str| before.open.get(&(&*service.name, region)).map(|open| Arc::clone(open));
        Pool {
            seen: seen.collect(),
            counts,
            open: table.regions.iter().map(|row| open(&row.region).unwrap_or_default()).collect(),
            region: service.endpoints.iter().map(|row| row.region).collect(),
            flows: table.regions.iter().map(|row| figures.flow(&service.name, &row.region)).collect(),
        }
    }

    /// Endpoints that are up.
    pub fn up(&self) -> u32 {
        self.counts.regions.iter().map(|[_, up]| up.load(Relaxed)).sum()
    }

    /// A request or a connection to an endpoint begins; it ends when what is returned goes. None: no such endpoint.
    pub fn begin(&self, endpoint: u32) -> Option<UnderWay> {
        let seen = self.seen.get(endpoint as usize)?.clone();
        let region = self.open.get(*self.region.get(endpoint as usize)? as usize)?.clone();
        seen.open.fetch_add(1, Relaxed);
        region.fetch_add(1, Relaxed);
        Some(UnderWay { seen, region })
    }

    /// A check found an endpoint well or not. Counts in the newest table, whichever this pool is of.
    pub fn set_up(&self, endpoint: u32, up: bool) {
        self.with_seat(endpoint, |seat| seat.set_up(up));
    }

    /// Requests found an endpoint dead. Counts as [`Pool::set_up`].
    pub fn set_dead(&self, endpoint: u32) {
        self.with_seat(endpoint, |seat| {
            seat.set_up(false);
            seat.set_dead(true);
        });
    }

    fn with_seat(&self, endpoint: u32, change: impl FnOnce(&mut Seat)) {
        if let Some(seen) = self.seen.get(endpoint as usize) {
            change(&mut seen.seat.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Live for Pool {
    fn is_up(&self, endpoint: u32) -> bool {
        self.counts.is_up(endpoint)
    }

    fn open(&self, endpoint: u32) -> u32 {
        self.seen.get(endpoint as usize).map_or(0, |seen| seen.open.load(Relaxed))
    }

    fn region(&self, region: u16) -> Sums {
        let at = region as usize;
        let of = |which: usize| self.counts.regions.get(at).map_or(0, |counts| counts[which].load(Relaxed));
        Sums { ready: of(0), up: of(1), open: self.open.get(at).map_or(0, |open| open.load(Relaxed)) }
    }

    fn undoubted(&self) -> u32 {
        self.counts.ready.load(Relaxed) + self.counts.dead.load(Relaxed)
    }
}

/// A pool as if nothing were up in one region.
pub(crate) struct Without<'a> {
    pub pool: &'a Pool,
    pub region: u16,
}

impl Live for Without<'_> {
    fn is_up(&self, endpoint: u32) -> bool {
        self.pool.region.get(endpoint as usize).is_some_and(|region| *region != self.region)
            && self.pool.is_up(endpoint)
    }

    fn open(&self, endpoint: u32) -> u32 {
        self.pool.open(endpoint)
    }

    fn region(&self, region: u16) -> Sums {
        let sums = self.pool.region(region);
        if region == self.region { Sums { open: sums.open, ..Sums::default() } } else { sums }
    }

    /// The region is no matter of doubt.
    fn undoubted(&self) -> u32 {
        u32::MAX
    }
}

/// A request or a connection under way; it counts until this goes, also when the table changes meanwhile.
#[derive(Debug)]
pub struct UnderWay {
    seen: Arc<Seen>,
    region: Arc<AtomicU32>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Relaxed);
        self.region.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Current;
    use dwcp_decide::route::{Client, EndpointRow, RegionRow};

    fn table(endpoints: &[&str]) -> Table {
        let row = |id: &&str| EndpointRow {
            id: id.to_string(),
            name: id.to_string(),
            region: 0,
            zone: String::new(),
            address: ([10, 0, 0, id.as_bytes()[0]], 80).into(),
            serves: true,
            draining: false,
        };
        let service = ServiceRow {
            name: "web".into(),
            endpoints: endpoints.iter().map(row).collect(),
            ..ServiceRow::default()
        };
        let region = RegionRow { region: "here".into(), ..RegionRow::default() };
        Table { regions: vec![region], services: vec![service], ..Table::default() }
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_ends_whatever_the_table_is() {
        let current = Current::new(table(&["a", "b"]));
        let old = current.routes();
        let requests = [old.pools[0].begin(0), old.pools[0].begin(1)];
        assert!(old.pools[0].begin(2).is_none());
        current.replace(table(&["b", "c"]));
        let new = current.routes();
        assert_eq!((new.pools[0].open(0), new.pools[0].open(1)), (1, 0));
        assert_eq!(new.pools[0].region(0).open, 2, "also what goes to endpoints that are gone");
        drop(requests);
        assert_eq!((new.pools[0].open(0), new.pools[0].region(0).open), (0, 0));
    }

    #[test]
    fn what_is_found_through_an_old_table_counts_in_the_new_one() {
        let current = Current::new(table(&["a", "b"]));
        let old = current.routes();
        old.pools[0].set_up(0, false);
        old.pools[0].set_up(0, false);
        assert_eq!(old.pools[0].region(0), Sums { ready: 1, up: 1, open: 0 });
        let mut next = table(&["a", "b", "c"]);
        next.services[0].endpoints[2].draining = true;
        current.replace(next);
        let pool = &current.routes().pools[0];
        assert_eq!(
            (pool.is_up(0), pool.region(0), pool.undoubted()),
            (false, Sums { ready: 1, up: 2, open: 0 }, 1)
        );
        old.pools[0].set_up(1, false);
        old.pools[0].set_up(0, true);
        assert_eq!((pool.is_up(0), pool.is_up(1), pool.undoubted()), (true, false, 1));
        assert_eq!(pool.region(0), Sums { ready: 1, up: 2, open: 0 });
    }

    #[test]
    fn who_requests_found_dead_is_not_doubted_until_it_is_well_again() {
        let current = Current::new(table(&["a", "b", "c"]));
        let old = current.routes();
        old.pools[0].set_up(0, false);
        assert_eq!(old.pools[0].undoubted(), 2, "checks alone");
        old.pools[0].set_dead(0);
        old.pools[0].set_dead(1);
        assert_eq!((old.pools[0].undoubted(), old.pools[0].region(0).ready), (3, 1));
        current.replace(table(&["b", "c"]));
        let pool = &current.routes().pools[0];
        assert_eq!((pool.is_up(0), pool.undoubted()), (false, 2), "also in the next table");
        pool.set_up(0, false);
        assert_eq!(pool.undoubted(), 2, "a check that says so too");
        pool.set_up(0, true);
        pool.set_up(0, false);
        assert_eq!(pool.undoubted(), 1, "it was well meanwhile");
    }

    #[test]
    fn the_last_try_leaves_the_region_where_the_others_failed_when_another_one_is_well() {
        let mut all = table(&["a", "b", "c", "d"]);
        let region = |name: &str, rtt_ms| RegionRow {
            region: name.into(),
            takes_part: true,
            traffic_percent: 100,
            health: Some(100),
            rtt_ms: Some(rtt_ms),
            ..RegionRow::default()
        };
        all.regions = vec![region("here", 0), region("there", 90)];
        all.services[0].endpoints[3].region = 1;
        let current = Current::new(all);
        let routes = current.routes();
        let last = |key, tried: &[u32]| {
            let client = Client { key, place: None, pinned: None };
            current.choose_next(&routes, 0, &client, tried).map(|choice| choice.endpoint)
        };
        for key in 0..50 {
            assert_eq!(last(key, &[0, 1]), Some(3));
            assert!(last(key, &[0, 3]).is_some_and(|at| at == 1 || at == 2), "it is not of one region only");
        }
        routes.pools[0].set_up(3, false);
        assert_eq!(last(0, &[0, 1]), Some(2), "nothing is well elsewhere");
    }
}

//! The table in force, with what this router sees of the endpoints itself.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use dwcp_decide::route::{Choice, Client, Explained, Live as _, Plan, Table, Why};

use crate::figures::Figures;
use crate::names::{Names, Reach};
use crate::pool::{Before, Without};
pub use crate::pool::{Pool, UnderWay};
use crate::remembered::Remembered;

/// A table ready for use.
pub struct Routes {
    pub table: Table,
    plan: Plan,
    /// In the order of the table's services.
    pub pools: Vec<Pool>,
    by_host: HashMap<String, usize>,
    any_host: Option<usize>,
    names: Names,
}

impl Routes {
    /// Of a table, with what was seen of its endpoints before. From now on what is seen counts in these routes.
    pub fn new(table: Table, before: Option<&Routes>, figures: &Figures) -> Routes {
        let before = before.map(|before| Before::of(&before.table, &before.pools)).unwrap_or_default();
        let pools = table.services.iter().map(|row| Pool::new(&table, row, &before, figures)).collect();
        let named = table.services.iter().enumerate();
        let by_host: HashMap<String, usize> =
            named.flat_map(|(i, service)| service.hosts.iter().map(move |host| (host.clone(), i))).collect();
        let any_host = by_host.get("*").copied();
        let names = Names::of(&table);
        Routes { plan: Plan::of(&table), pools, by_host, any_host, names, table }
    }

    /// What [`Current::choose`] would answer, and why.
    pub fn explain(&self, service: usize, client: &Client) -> Option<Explained> {
        Some(self.plan.explain(service, client, self.pools.get(service)?, &[]))
    }

    /// A region that was chosen before, if it takes new clients and has an endpoint of the service that is well.
    fn still(&self, service: usize, region: u16) -> Option<Choice> {
        let row = self.table.regions.get(usize::from(region))?;
        let healthy = row.health.is_none_or(|health| health >= self.table.policy.least_health);
        if !row.takes_part || row.traffic_percent == 0 || !healthy {
            return None;
        }
        let (pool, endpoints) = (self.pools.get(service)?, &self.table.services.get(service)?.endpoints);
        let first = endpoints.partition_point(|endpoint| endpoint.region < region);
        let there = endpoints[first..].iter().zip(first as u32..).take_while(|(row, _)| row.region == region);
        let mut well = there.filter(|(row, at)| row.serves && !row.draining && pool.is_up(*at));
        well.next().map(|(_, endpoint)| Choice { endpoint, region, why: Why::Pinned })
    }

    /// How far away a region is; none: it was not measured.
    pub(crate) fn rtt_ms(&self, region: u16) -> Option<u32> {
        self.table.regions.get(usize::from(region))?.rtt_ms
    }

    /// The service of a name (lower case, without port or final dot).
    pub fn service(&self, host: &str) -> Option<usize> {
        self.by_host.get(host).copied().or(self.any_host)
    }

    /// The service that has a name itself: what DNS tells of.
    pub fn named(&self, host: &str) -> Option<usize> {
        self.by_host.get(host).copied().filter(|_| host != "*")
    }

    /// Whether a service has a name that ends with this one.
    pub fn is_above_a_host(&self, name: &str) -> bool {
        self.names.is_above_a_host(name)
    }

    /// Which kinds of addresses clients of a service can be sent to.
    pub fn reach(&self, service: usize) -> Reach {
        self.names.reach(service)
    }
}

/// How many endpoints a request or a connection is tried at, at most.
pub const TRIES: usize = 3;

/// The routes in force. Everybody reads them; who keeps the table replaces them.
pub struct Current {
    routes: RwLock<Arc<Routes>>,
    /// Held while others are made: what is seen counts in those that were made last.
    replacing: Mutex<()>,
    pub figures: Figures,
    pub remembered: Remembered,
    begun: Instant,
}

impl Current {
    pub fn new(table: Table) -> Current {
        let figures = Figures::default();
        let routes = RwLock::new(Arc::new(Routes::new(table, None, &figures)));
        Current {
            routes,
            replacing: Mutex::new(()),
            figures,
            remembered: Remembered::default(),
            begun: Instant::now(),
        }
    }

    /// The routes now.
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others from now on.
    pub fn replace(&self, table: Table) {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(Routes::new(table, Some(&self.routes()), &self.figures));
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Where a client goes that comes again under the same key: to the region that it was told before, as long as the policy
    /// remembers it and it is well.
    pub fn choose_again(&self, routes: &Routes, service: usize, client: &Client) -> Option<Choice> {
        let policy = &routes.table.policy;
        if !policy.cache {
            return self.choose(routes, service, client, &[]);
        }
        let key = client.key ^ (service as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let now_s = self.begun.elapsed().as_secs() + 1;
        let before = self.remembered.recall(key, now_s);
        if let Some(choice) = before.and_then(|region| routes.still(service, region)) {
            self.remembered.used.fetch_add(1, Relaxed);
            return Some(choice);
        }
        let choice = self.choose(routes, service, client, &[])?;
        self.remembered.note(key, choice.region, (now_s, policy.cache_ttl_ms.div_ceil(1_000)));
        Some(choice)
    }

    /// Where a request or a connection is tried next, [`TRIES`] times at most, after those in `tried` failed; none: nothing is left.
    /// The last try is not for the region in which all others failed, while another one has an endpoint that is up.
    pub fn choose_next(
        &self,
        routes: &Routes,
        service: usize,
        client: &Client,
        tried: &[u32],
    ) -> Option<Choice> {
        let (pool, row) = (routes.pools.get(service)?, routes.table.services.get(service)?);
        let mut regions = tried.iter().filter_map(|at| Some(row.endpoints.get(*at as usize)?.region));
        let is_last = tried.len() + 1 == TRIES;
        let failed = regions.next().filter(|first| is_last && regions.all(|region| region == *first));
        let elsewhere = || {
            let region = failed?;
            let choice = routes.plan.choose(service, client, &Without { pool, region }, tried)?;
            (choice.region != region && pool.is_up(choice.endpoint)).then_some(choice)
        };
        let choice =
            self.counted(|| elsewhere().or_else(|| routes.plan.choose(service, client, pool, tried)));
        choice.filter(|choice| !tried.contains(&choice.endpoint))
    }

    /// Where a client goes, as [`Plan::choose`].
    pub fn choose(&self, routes: &Routes, service: usize, client: &Client, not: &[u32]) -> Option<Choice> {
        let pool = routes.pools.get(service)?;
        self.counted(|| routes.plan.choose(service, client, pool, not))
    }

    /// How long a decision took is counted.
    fn counted(&self, decide: impl FnOnce() -> Option<Choice>) -> Option<Choice> {
        let begun = Instant::now();
        let choice = decide();
        self.figures.decisions.took(begun.elapsed());
        if choice.is_some_and(|choice| choice.why == Why::Spilled) {
            self.figures.spilled.fetch_add(1, Relaxed);
        }
        choice
    }
}

//! What one second counts.

use std::collections::BTreeMap;

use super::super::sketch::{Counts, Distinct, Heavy};
use super::super::{Country, Net, Sample};
use super::Event;

/// The weight of a source at a threshold.
pub const FULL: u64 = 1 << 40;
/// Cells a row of the counts of sources.
const WIDTH: usize = 16_384;
const MOST_SOURCES: usize = 1_024;
const MOST_GROUPS: usize = 256;
const MOST_PATHS: usize = 64;

/// What is counted of each.
pub mod field {
    use super::super::Kind;

    pub const REQUESTS: usize = 0;
    pub const CONNECTIONS: usize = 1;
    pub const BYTES: usize = 2;
    pub const ERRORS: usize = 3;
    pub const SLOW: usize = 4;
    pub const RESETS: usize = 5;
    /// Of the connections, those of which only the begin is known.
    pub const SYNS: usize = 6;
    pub const COUNT: usize = 8;

    /// What an event counts as.
    pub fn of(kind: Kind) -> Option<usize> {
        match kind {
            Kind::Request => Some(REQUESTS),
            Kind::Connection | Kind::Syn => Some(CONNECTIONS),
            Kind::SlowClient => Some(SLOW),
            Kind::Reset => Some(RESETS),
            Kind::Error => Some(ERRORS),
            Kind::Bytes => None,
        }
    }
}

/// Counts of a second.
pub type Rates = [u64; field::COUNT];

/// Hashes of where an event comes from.
pub struct Origin {
    pub source: u64,
    pub neighbours: u64,
    pub asn: u64,
    pub country: u64,
}

/// What is kept of a source that is among the heaviest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    pub country: Country,
    pub asn: u32,
    pub service: u16,
    pub path: u64,
    pub agent: u64,
    /// Requests since it is kept, and of them those for the same path as the one before.
    pub requests: u32,
    pub same_path: u32,
}

/// What is kept of a network, a country or a path.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Of its last event; the service of its last one that had any.
    pub country: Country,
    pub asn: u32,
    pub service: u16,
    pub counts: Rates,
    pub sources: Distinct<64>,
}

/// What is counted of a service.
#[derive(Clone, Debug)]
pub struct ServicePane {
    pub counts: Rates,
    pub sources: Distinct<1024>,
    pub paths: Heavy<u64, Group>,
    pub agents: Heavy<u64, u64>,
}

/// All of it.
#[derive(Clone)]
pub struct Pane {
    pub counts: Counts<{ field::COUNT }>,
    pub sources: Heavy<Net, Trace>,
    pub neighbours: Heavy<Net, Group>,
    pub asns: Heavy<u32, Group>,
    pub countries: Heavy<Country, Group>,
    pub services: Vec<ServicePane>,
}

impl Pane {
    pub fn new() -> Pane {
        Pane {
            counts: Counts::new(WIDTH),
            sources: Heavy::new(MOST_SOURCES),
            neighbours: Heavy::new(MOST_GROUPS),
            asns: Heavy::new(MOST_GROUPS),
            countries: Heavy::new(MOST_GROUPS),
            services: Vec::new(),
        }
    }

    pub fn clear(&mut self) {
        self.counts.clear();
        self.sources.clear();
        self.neighbours.clear();
        self.asns.clear();
        self.countries.clear();
        self.services.iter_mut().for_each(ServicePane::clear);
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event, source: Net, hashes: &Origin, what: Option<usize>, weight: u64) {
        if let Some(what) = what {
            self.counts.add(hashes.source, what, event.times);
        }
        if event.kind == super::Kind::Syn {
            self.counts.add(hashes.source, field::SYNS, event.times);
        }
        if event.bytes > 0 {
            self.counts.add(hashes.source, field::BYTES, event.bytes);
        }
        if weight > 0 {
            self.sources.add(source, hashes.source, weight).follow(event);
        }
        let amounts = Amounts { event, what, source: hashes.source };
        amounts.put(&mut self.neighbours, Net::neighbours(event.ip), hashes.neighbours, weight);
        if event.asn != 0 {
            amounts.put(&mut self.asns, event.asn, hashes.asn, weight);
        }
        if event.country != Country::UNKNOWN {
            amounts.put(&mut self.countries, event.country, hashes.country, weight);
        }
        let known = usize::from(event.service) < super::MOST_SERVICES;
        let number = if known { usize::from(event.service) } else { 0 };
        while self.services.len() <= number {
            self.services.push(ServicePane::new());
        }
        self.services[number].add(&amounts);
    }

    /// Counts of a source.
    pub fn of_source(&self, hash: u64) -> Rates {
        self.counts.of(hash).map(u64::from)
    }

    /// Counts of a service.
    pub fn service(&self, number: usize) -> Option<&ServicePane> {
        self.services.get(number)
    }

    /// Requests of all services.
    pub fn requests(&self) -> u64 {
        self.services.iter().map(|service| service.counts[field::REQUESTS]).sum()
    }

    /// Paths and user agents that are among the most frequent.
    pub fn names(&self) -> impl Iterator<Item = u64> {
        let paths = self.services.iter().flat_map(|service| service.paths.all().map(|path| path.key));
        paths.chain(self.services.iter().flat_map(|service| service.agents.all().map(|agent| agent.key)))
    }

    /// Each country's part of all requests, percent.
    pub fn country_shares(&self) -> BTreeMap<u64, f64> {
        shares(&self.countries, |country| country.key() as u64, self.requests())
    }

    /// Each autonomous system's part of all requests, percent.
    pub fn asn_shares(&self) -> BTreeMap<u64, f64> {
        shares(&self.asns, u64::from, self.requests())
    }
}

fn shares<K: Copy + Ord>(
    groups: &Heavy<K, Group>,
    key: impl Fn(K) -> u64,
    requests: u64,
) -> BTreeMap<u64, f64> {
    let percent = |group: &Group| percent_of(group.counts[field::REQUESTS], requests);
    groups.all().map(|group| (key(group.key), percent(group.kept))).collect()
}

/// A part of a whole, percent.
pub fn percent_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl Trace {
    fn follow(&mut self, event: &Event) {
        (self.country, self.asn) = (event.country, event.asn);
        self.service = later(self.service, event);
        if event.kind == super::Kind::Request {
            self.requests = self.requests.saturating_add(event.times);
            if event.path == self.path {
                self.same_path = self.same_path.saturating_add(event.times);
            }
            (self.path, self.agent) = (event.path, event.agent);
        }
    }
}

/// The service that somebody is known to come for: what comes before a request, such as a connection, is of none.
fn later(known: u16, event: &Event) -> u16 {
    if event.service == 0 { known } else { event.service }
}

/// What an event adds to a group.
struct Amounts<'a> {
    event: &'a Event,
    what: Option<usize>,
    source: u64,
}

impl Amounts<'_> {
    fn put<K: Copy + Ord>(&self, groups: &mut Heavy<K, Group>, key: K, hash: u64, weight: u64) {
        if weight > 0 {
            self.count(groups.add(key, hash, weight));
        } else if let Some(group) = groups.get_mut(key, hash) {
            self.count(group);
        }
    }

    fn count(&self, group: &mut Group) {
        (group.country, group.asn) = (self.event.country, self.event.asn);
        group.service = later(group.service, self.event);
        self.rates(&mut group.counts);
        group.sources.add(self.source);
    }

    fn rates(&self, counts: &mut Rates) {
        let times = u64::from(self.event.times);
        if let Some(what) = self.what {
            counts[what] += times;
        }
        if self.event.kind == super::Kind::Syn {
            counts[field::SYNS] += times;
        }
        counts[field::BYTES] += u64::from(self.event.bytes);
    }
}

impl ServicePane {
    fn new() -> ServicePane {
        ServicePane {
            counts: Rates::default(),
            sources: Distinct::default(),
            paths: Heavy::new(MOST_PATHS),
            agents: Heavy::new(MOST_PATHS),
        }
    }

    fn clear(&mut self) {
        self.counts = Rates::default();
        self.sources.clear();
        self.paths.clear();
        self.agents.clear();
    }

    fn add(&mut self, amounts: &Amounts<'_>) {
        let event = amounts.event;
        amounts.rates(&mut self.counts);
        self.sources.add(amounts.source);
        let is_request = event.kind == super::Kind::Request;
        amounts.put(&mut self.paths, event.path, event.path, u64::from(is_request) * u64::from(event.times));
        if is_request {
            *self.agents.add(event.agent, event.agent, event.times.into()) += u64::from(event.times);
        }
    }

    /// The most frequent of the paths, and how often it surely was there.
    pub fn top_path(&self) -> (u64, u64) {
        let all = self.paths.all().map(|path| (path.least, path.key));
        all.max().map_or((0, 0), |(count, key)| (key, count))
    }

    /// The same of user agents.
    pub fn top_agent(&self) -> (u64, u64) {
        let all = self.agents.all().map(|agent| (agent.least, agent.key));
        all.max().map_or((0, 0), |(count, key)| (key, count))
    }

    /// What is learned of it.
    pub fn sample(&self) -> Sample {
        let requests = self.counts[field::REQUESTS];
        let percent = |part| percent_of(part, requests).min(100.0) as u32;
        Sample {
            rate: requests,
            sources: self.sources.estimate(),
            error_percent: percent(self.counts[field::ERRORS]),
            top_path_percent: percent(self.top_path().1),
            top_agent_percent: percent(self.top_agent().1),
        }
    }
}

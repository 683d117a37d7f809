//! Who sends how much, for people.

use serde::{Deserialize, Serialize};

use super::super::sketch::Heavy;
use super::Detector;
use super::pane::{Group, Rates, field, percent_of};

/// The most of each that are listed.
const MOST: usize = 20;

/// What came in the last second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    pub services: Vec<ServiceTraffic>,
    /// The heaviest sources, networks, autonomous systems and countries.
    pub sources: Vec<Talker>,
    pub networks: Vec<Talker>,
    pub asns: Vec<Talker>,
    pub countries: Vec<Talker>,
}

/// One of the heaviest, with what it has in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Talker {
    pub who: String,
    pub requests: u64,
    pub connections: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Of all requests.
    pub share_percent: u32,
}

/// A service, with what it has in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceTraffic {
    pub service: String,
    pub requests: u64,
    pub errors: u64,
    pub bytes: u64,
    pub sources: u64,
    /// What it usually has at this hour; none: not learned yet.
    pub usual: Option<u64>,
    pub top_path: String,
    pub top_path_percent: u32,
}

impl Detector {
    /// What came in the second that ends now.
    pub fn traffic(&self, now_ms: u64) -> Traffic {
        let numbers = 0..self.services.len() as u16;
        let services: Vec<ServiceTraffic> =
            numbers.filter_map(|number| self.service_traffic(now_ms, number)).collect();
        let all = services.iter().map(|service| service.requests).sum();
        let sources =
            self.sources(now_ms).map(|(net, _, rates)| talker(net.to_string(), &rates, all)).collect();
        let (now, before) = (&self.now, &self.before);
        Traffic {
            services,
            sources: heaviest(sources),
            networks: self.talkers(now_ms, &now.neighbours, &before.neighbours, all, |net| net.to_string()),
            asns: self.talkers(now_ms, &now.asns, &before.asns, all, |asn| format!("AS{asn}")),
            countries: self.talkers(now_ms, &now.countries, &before.countries, all, |one| one.to_string()),
        }
    }

    fn service_traffic(&self, now_ms: u64, number: u16) -> Option<ServiceTraffic> {
        let rates = self.service_sum(now_ms, number)?;
        if rates == Rates::default() {
            return None;
        }
        let at = usize::from(number);
        let panes = [self.before.service(at), self.now.service(at)];
        let pane = panes.into_iter().flatten().max_by_key(|pane| pane.counts[field::REQUESTS])?;
        let (path, count) = pane.top_path();
        let typical = self.typical(now_ms, number);
        Some(ServiceTraffic {
            service: self.services.get(at)?.clone(),
            requests: rates[field::REQUESTS],
            errors: rates[field::ERRORS],
            bytes: rates[field::BYTES],
            sources: pane.sources.estimate(),
            usual: typical.learned.then_some(typical.rate),
            top_path: self.name(path),
            top_path_percent: percent_of(count, pane.counts[field::REQUESTS]) as u32,
        })
    }

    fn talkers<K: Copy + Ord>(
        &self,
        now_ms: u64,
        now: &Heavy<K, Group>,
        before: &Heavy<K, Group>,
        all: u64,
        name: impl Fn(K) -> String,
    ) -> Vec<Talker> {
        let sums = self.sums(now_ms, now, before);
        heaviest(sums.into_iter().map(|(key, sum)| talker(name(key), &sum.rates, all)).collect())
    }
}

fn talker(who: String, rates: &Rates, all: u64) -> Talker {
    Talker {
        who,
        requests: rates[field::REQUESTS],
        connections: rates[field::CONNECTIONS],
        bytes: rates[field::BYTES],
        errors: rates[field::ERRORS],
        share_percent: percent_of(rates[field::REQUESTS], all).min(100.0) as u32,
    }
}

fn heaviest(mut all: Vec<Talker>) -> Vec<Talker> {
    all.retain(|one| one.requests + one.connections + one.bytes + one.errors > 0);
    all.sort_unstable_by(|a, b| {
        (b.requests, b.connections, b.bytes, &a.who).cmp(&(a.requests, a.connections, a.bytes, &b.who))
    });
    all.truncate(MOST);
    all
}

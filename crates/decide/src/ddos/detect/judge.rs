//! What is out of bounds, the narrow before the wide: what sources explain does not count against their network, what a
//! network explains does not count against its country.

use std::collections::BTreeMap;

use super::super::sketch::{Distinct, Heavy};
use super::super::{AttackKind, Country, Evidence, Net, Shares, Typical};
use super::Detector;
use super::pane::{Group, Rates, Trace, field, percent_of};

/// Whom a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each of some sources by itself.
    Sources,
    Neighbours(Net),
    Asn(u32),
    Country(Country),
    Path(u64),
    Service,
}

/// A source that is out of bounds.
#[derive(Clone, Copy, Debug)]
pub struct Hot {
    pub net: Net,
    pub trace: Trace,
    pub rates: Rates,
    pub over: Over,
}

/// What is too much.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    pub kind: AttackKind,
    pub rate: u64,
    pub threshold: u64,
}

/// Something out of bounds.
pub struct Finding {
    pub over: Over,
    pub scope: Scope,
    pub service: u16,
    pub evidence: Evidence,
    pub typical: Typical,
    /// Of [`Scope::Sources`].
    pub sources: Vec<Hot>,
}

/// Traffic that a finding explains, with what is known of where it comes from and goes to.
struct Explained {
    net: Option<Net>,
    asn: u32,
    country: Country,
    service: u16,
    path: Option<u64>,
    rates: Rates,
}

impl Explained {
    /// It is part of an autonomous system, or a country.
    fn is_of(&self, scope: Scope) -> bool {
        match scope {
            Scope::Asn(asn) => self.asn == asn,
            Scope::Country(country) => self.country == country,
            _ => false,
        }
    }
}

/// A group in both panes together.
pub(super) struct Sum<'a> {
    group: &'a Group,
    pub(super) rates: Rates,
    sources: u64,
}

impl Detector {
    /// Everything out of bounds at a moment.
    pub(super) fn findings(&self, now_ms: u64) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut explained = Vec::new();
        self.find_sources(now_ms, &mut found, &mut explained);
        self.find_neighbours(now_ms, &mut found, &mut explained);
        let policy = &self.policy;
        let asns = (&self.now.asns, &self.before.asns, &self.learned.asns);
        self.find_wide(now_ms, asns, policy.asn_factor, &mut found, &mut explained, Scope::Asn);
        let countries = (&self.now.countries, &self.before.countries, &self.learned.countries);
        let factor = policy.country_factor;
        self.find_wide(now_ms, countries, factor, &mut found, &mut explained, Scope::Country);
        self.find_in_services(now_ms, &mut found, &mut explained);
        found
    }

    /// Counts of a second that ends now, of those of both panes.
    pub(super) fn sum(&self, now_ms: u64, now: &Rates, before: &Rates) -> Rates {
        let rest = self.rest(now_ms);
        std::array::from_fn(|i| now[i] + before[i] * rest / super::PANE_MS)
    }

    /// The sources that are counted by name, with their rates.
    pub(super) fn sources(&self, now_ms: u64) -> impl Iterator<Item = (Net, Trace, Rates)> {
        let (now, before) = (&self.now, &self.before);
        let older = before.sources.all().filter(|one| now.sources.get(one.key, one.hash).is_none());
        now.sources.all().chain(older).map(move |one| {
            let rates = self.sum(now_ms, &now.of_source(one.hash), &before.of_source(one.hash));
            let mut trace = *one.kept;
            if trace.service == 0 {
                // A pane that has just begun knows its connections only.
                trace.service = before.sources.get(one.key, one.hash).map_or(0, |trace| trace.service);
            }
            (one.key, trace, rates)
        })
    }

    fn find_sources(&self, now_ms: u64, found: &mut Vec<Finding>, explained: &mut Vec<Explained>) {
        let mut hot: BTreeMap<(AttackKind, u16), Vec<Hot>> = BTreeMap::new();
        for (net, trace, rates) in self.sources(now_ms) {
            if let Some(over) = self.over(&rates, 1, trace.service, true) {
                let Trace { asn, country, service, path, .. } = trace;
                explained.push(Explained { net: Some(net), asn, country, service, path: Some(path), rates });
                hot.entry((over.kind, service)).or_default().push(Hot { net, trace, rates, over });
            }
        }
        for ((kind, service), mut sources) in hot {
            sources.sort_unstable_by_key(|one| (std::cmp::Reverse(one.over.rate), one.net));
            let rates = sources.iter().fold(Rates::default(), |sum, one| added(&sum, &one.rates));
            let rate = sources.iter().map(|one| one.over.rate).sum();
            let over = Over { kind, rate, threshold: sources.first().map_or(0, |one| one.over.threshold) };
            let (mut evidence, typical) = self.evidence(now_ms, over, service, &rates, sources.len() as u64);
            // What its own requests were for says more than what the service's were for.
            let first = sources.first().map(|one| one.trace).unwrap_or_default();
            evidence.top_path_percent =
                percent_of(first.same_path.into(), first.requests.saturating_sub(1).max(1).into()) as u32;
            evidence.top_path = self.name(first.path);
            found.push(Finding { over, scope: Scope::Sources, service, evidence, typical, sources });
        }
    }

    fn find_neighbours(&self, now_ms: u64, found: &mut Vec<Finding>, explained: &mut Vec<Explained>) {
        let mut new = Vec::new();
        for (net, sum) in self.sums(now_ms, &self.now.neighbours, &self.before.neighbours) {
            let inside = explained.iter().filter(|one| one.net.is_some_and(|source| net.covers(&source)));
            let rates = without(&sum.rates, inside);
            let Group { service, asn, country, .. } = *sum.group;
            let Some(over) = self.over(&rates, self.policy.prefix_factor, service, false) else { continue };
            let (evidence, typical) = self.evidence(now_ms, over, service, &rates, sum.sources);
            let scope = Scope::Neighbours(net);
            found.push(Finding { over, scope, service, evidence, typical, sources: Vec::new() });
            new.push(Explained { net: Some(net), asn, country, service, path: None, rates });
        }
        explained.append(&mut new);
    }

    /// Autonomous systems, or countries: only those that have far more of the traffic than usual.
    fn find_wide<K: Copy + Ord + Into<WideKey>>(
        &self,
        now_ms: u64,
        (now, before, shares): (&Heavy<K, Group>, &Heavy<K, Group>, &Shares),
        factor: u32,
        found: &mut Vec<Finding>,
        explained: &mut Vec<Explained>,
        scope: impl Fn(K) -> Scope,
    ) {
        let all = self.sum_requests(now_ms);
        let mut new = Vec::new();
        for (key, sum) in self.sums(now_ms, now, before) {
            let scope = scope(key);
            let inside = explained.iter().filter(|one| one.is_of(scope));
            let rates = without(&sum.rates, inside);
            let Group { service, asn, country, .. } = *sum.group;
            let Some(over) = self.over(&rates, factor, service, false) else { continue };
            let share = percent_of(sum.rates[field::REQUESTS], all);
            if all > 0 && !shares.is_unusual(key.into().0, share) {
                continue;
            }
            let (evidence, typical) = self.evidence(now_ms, over, service, &rates, sum.sources);
            found.push(Finding { over, scope, service, evidence, typical, sources: Vec::new() });
            new.push(Explained { net: None, asn, country, service, path: None, rates });
        }
        explained.append(&mut new);
    }

    /// Paths, and services as a whole, against what is usual.
    fn find_in_services(&self, now_ms: u64, found: &mut Vec<Finding>, explained: &mut Vec<Explained>) {
        for number in 1..self.services.len() as u16 {
            let Some(total) = self.service_sum(now_ms, number) else { continue };
            let typical = self.typical(now_ms, number);
            let one_source = u64::from(self.policy.threshold_requests);
            let bound = |factor: u32| match typical.bound() {
                Some(bound) => bound.max(one_source),
                None => one_source * u64::from(factor),
            };
            let kind = |kind| if self.is_dns(number) { AttackKind::DnsFlood } else { kind };
            let here = |one: &&Explained| one.service == number;
            let (now, before) = (self.now.service(number.into()), self.before.service(number.into()));
            let empty = Heavy::new(1);
            let paths = self.sums(
                now_ms,
                now.map_or(&empty, |pane| &pane.paths),
                before.map_or(&empty, |pane| &pane.paths),
            );
            for (path, sum) in paths {
                let inside = explained.iter().filter(here).filter(|one| one.path == Some(path));
                let rates = without(&sum.rates, inside);
                let rate = rates[field::REQUESTS];
                let share = percent_of(rate, total[field::REQUESTS]) as u32;
                let alike = share >= 50 && share >= typical.top_path_percent + 30;
                let threshold = bound(self.policy.path_factor);
                if rate <= threshold || !alike {
                    continue;
                }
                let over = Over { kind: kind(AttackKind::HttpFlood), rate, threshold };
                let (mut evidence, typical) = self.evidence(now_ms, over, number, &rates, sum.sources);
                evidence.top_path = self.name(path);
                // Of what has come since it began it may be more.
                evidence.top_path_percent = evidence.top_path_percent.max(share);
                let scope = Scope::Path(path);
                found.push(Finding { over, scope, service: number, evidence, typical, sources: Vec::new() });
                let (asn, country) = (0, Country::UNKNOWN);
                explained.push(Explained {
                    net: None,
                    asn,
                    country,
                    service: number,
                    path: Some(path),
                    rates,
                });
            }
            let rates = without(&total, explained.iter().filter(here));
            let (rate, threshold) = (rates[field::REQUESTS], bound(self.policy.service_factor));
            if rate > threshold {
                let over = Over { kind: kind(AttackKind::Surge), rate, threshold };
                let sources = distinct([now, before].map(|pane| pane.map(|pane| &pane.sources)));
                let (evidence, typical) = self.evidence(now_ms, over, number, &rates, sources);
                let scope = Scope::Service;
                found.push(Finding { over, scope, service: number, evidence, typical, sources: Vec::new() });
            }
        }
    }

    /// What of some rates is too much, most of all; thresholds times `factor`.
    fn over(&self, rates: &Rates, factor: u32, service: u16, scans: bool) -> Option<Over> {
        let policy = &self.policy;
        let half_open = rates[field::SYNS] * 2 > rates[field::CONNECTIONS];
        let connections = if half_open { AttackKind::SynFlood } else { AttackKind::ConnectionFlood };
        let requests = if self.is_dns(service) { AttackKind::DnsFlood } else { AttackKind::HttpFlood };
        let bounds = [
            (requests, field::REQUESTS, policy.threshold_requests),
            (connections, field::CONNECTIONS, policy.threshold_connections),
            (AttackKind::Bandwidth, field::BYTES, policy.threshold_bytes),
            (AttackKind::SlowClients, field::SLOW, policy.slow_clients),
            (AttackKind::RapidReset, field::RESETS, policy.resets),
        ];
        let over = bounds.into_iter().filter_map(|(kind, what, threshold)| {
            let threshold = u64::from(threshold) * u64::from(factor);
            let rate = rates[what];
            (rate >= threshold).then_some(Over { kind, rate, threshold })
        });
        let worst = over.max_by_key(|over| (over.rate * 1_000 / over.threshold.max(1), over.kind));
        let (errors, requests) = (rates[field::ERRORS], rates[field::REQUESTS]);
        let threshold = u64::from(policy.threshold_requests / 20).max(10);
        let scan = scans && errors >= threshold && errors * 100 >= requests * u64::from(policy.error_percent);
        worst.or(scan.then_some(Over { kind: AttackKind::Scan, rate: errors, threshold }))
    }

    fn evidence(
        &self,
        now_ms: u64,
        over: Over,
        service: u16,
        rates: &Rates,
        sources: u64,
    ) -> (Evidence, Typical) {
        let typical = self.typical(now_ms, service);
        let total = self.service_sum(now_ms, service).unwrap_or(*rates);
        let pane = self.now.service(service.into()).filter(|pane| pane.counts[field::REQUESTS] >= 50);
        let pane = pane.or(self.before.service(service.into()));
        let of_pane = |top: (u64, u64)| {
            let requests = pane.map_or(0, |pane| pane.counts[field::REQUESTS]);
            (self.name(top.0), percent_of(top.1, requests).min(100.0) as u32)
        };
        let (top_path, top_path_percent) = of_pane(pane.map_or((0, 0), |pane| pane.top_path()));
        let (top_agent, top_agent_percent) = of_pane(pane.map_or((0, 0), |pane| pane.top_agent()));
        let percent = |part: u64, whole: u64| percent_of(part, whole).min(1_000.0) as u32;
        let requests = rates[field::REQUESTS];
        let evidence = Evidence {
            rate: over.rate,
            threshold: over.threshold,
            baseline: typical.learned.then_some(typical.rate),
            deviation: typical.learned.then_some(typical.deviation),
            share_percent: percent(requests, total[field::REQUESTS]).min(100),
            sources,
            error_percent: percent(rates[field::ERRORS], requests).min(100),
            reset_percent: percent(rates[field::RESETS], requests),
            slow_percent: percent(rates[field::SLOW], rates[field::CONNECTIONS]).min(100),
            top_path_percent,
            top_path,
            top_agent_percent,
            top_agent,
        };
        (evidence, typical)
    }

    /// What a path or user agent is called; empty: not known.
    pub(super) fn name(&self, hash: u64) -> String {
        self.names.get(&hash).cloned().unwrap_or_default()
    }

    /// What a service usually has now.
    pub(super) fn typical(&self, now_ms: u64, service: u16) -> Typical {
        let name = self.services.get(usize::from(service)).filter(|name| !name.is_empty());
        let baseline = name.and_then(|name| self.learned.services.get(name));
        baseline.map_or(Typical::default(), |baseline| baseline.typical(now_ms))
    }

    /// Rates of a service.
    pub(super) fn service_sum(&self, now_ms: u64, service: u16) -> Option<Rates> {
        let at = usize::from(service);
        let (now, before) = (self.now.service(at), self.before.service(at));
        let counts =
            |pane: Option<&super::pane::ServicePane>| pane.map_or(Rates::default(), |pane| pane.counts);
        (now.is_some() || before.is_some()).then(|| self.sum(now_ms, &counts(now), &counts(before)))
    }

    fn sum_requests(&self, now_ms: u64) -> u64 {
        self.now.requests() + self.before.requests() * self.rest(now_ms) / super::PANE_MS
    }

    fn is_dns(&self, service: u16) -> bool {
        self.services.get(usize::from(service)).is_some_and(|name| name == "dns")
    }

    /// Groups of both panes.
    pub(super) fn sums<'a, K: Copy + Ord>(
        &'a self,
        now_ms: u64,
        now: &'a Heavy<K, Group>,
        before: &'a Heavy<K, Group>,
    ) -> Vec<(K, Sum<'a>)> {
        let nothing = Rates::default();
        let sum = |group: &'a Group, one: Option<&Group>, other: Option<&Group>| Sum {
            group,
            rates: self.sum(
                now_ms,
                one.map_or(&nothing, |group| &group.counts),
                other.map_or(&nothing, |group| &group.counts),
            ),
            sources: distinct([one, other].map(|group| group.map(|group| &group.sources))),
        };
        let newer = now.all().map(|one| {
            let other = before.get(one.key, one.hash);
            (one.key, sum(one.kept, Some(one.kept), other))
        });
        let older = before.all().filter(|one| now.get(one.key, one.hash).is_none());
        let mut all: Vec<_> =
            newer.chain(older.map(|one| (one.key, sum(one.kept, None, Some(one.kept))))).collect();
        all.sort_unstable_by_key(|(key, sum)| (std::cmp::Reverse(sum.rates[field::REQUESTS]), *key));
        all
    }
}

/// A key as shares have it.
pub struct WideKey(u64);

impl From<u32> for WideKey {
    fn from(asn: u32) -> WideKey {
        WideKey(asn.into())
    }
}

impl From<Country> for WideKey {
    fn from(country: Country) -> WideKey {
        WideKey(country.key() as u64)
    }
}

fn added(a: &Rates, b: &Rates) -> Rates {
    std::array::from_fn(|i| a[i] + b[i])
}

fn without<'a>(rates: &Rates, explained: impl Iterator<Item = &'a Explained>) -> Rates {
    explained.fold(*rates, |left, one| std::array::from_fn(|i| left[i].saturating_sub(one.rates[i])))
}

fn distinct<const N: usize>(panes: [Option<&Distinct<N>>; 2]) -> u64 {
    let mut all = Distinct::<N>::default();
    panes.into_iter().flatten().for_each(|sources| all.join(sources));
    all.estimate()
}

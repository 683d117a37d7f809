//! What becomes of a scrape, apart from the network: labels of the target, relabelling, the ends of series, and what is told of the
//! scrape itself.
//!
//! Source: prometheus.io, *Configuration* (`honor_labels`, `relabel_configs`), *Jobs and instances* and *Staleness*.

mod endpoint;
mod md5;
mod relabel;

use std::collections::HashMap;
use std::sync::Arc;

use crate::exposition::Exposition;
use crate::model::{Labels, NAME, Sample, Value};

pub use endpoint::Endpoint;
pub use relabel::{Relabel, RelabelSpec, relabel};

/// Something that is scraped, and how its series are called.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Attached to all of its series: `job` and `instance` at least.
    pub labels: Labels,
    /// A label that the exposition has too stays as it is there. Otherwise the target's counts, and the other one is called
    /// `exported_…`.
    pub honor_labels: bool,
    /// Moments that the exposition names count instead of that of the scrape. Such series get no end, as their exporter may come back
    /// to them.
    pub honor_timestamps: bool,
    /// Applied to every series, the target's labels included; it may drop it.
    pub metric_relabel: Vec<Relabel>,
}

/// What a scrape brought: samples to store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scraped {
    /// A sample of a series; the ends of series and what is told of the scrape stand last.
    pub samples: Vec<(Labels, Sample)>,
    /// Series that were there more than once; the first one counts.
    pub duplicates: u64,
}

/// When a scrape began, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since 1970, ms: the time of its samples.
    pub at_ms: i64,
    pub seconds: f64,
}

/// What is remembered of a target from one scrape to the next.
pub struct ScrapeCache {
    target: Target,
    scrapes: u64,
    /// By how a series is written, what it is called here; none for one that relabelling dropped.
    names: HashMap<Written, Known>,
    /// The series that are there.
    alive: HashMap<Labels, Alive>,
}

#[derive(PartialEq, Eq, Hash)]
struct Written {
    labels: Labels,
    blank: Vec<Arc<str>>,
}

struct Known {
    stored: Option<Labels>,
    scrape: u64,
}

struct Alive {
    scrape: u64,
    /// Whether it has an end when it is not there any more.
    ends: bool,
}

/// Figures of one scrape.
#[derive(Default)]
struct Report {
    up: bool,
    scraped: usize,
    kept: usize,
    added: usize,
}

impl ScrapeCache {
    pub fn new(target: Target) -> ScrapeCache {
        ScrapeCache { target, scrapes: 0, names: HashMap::new(), alive: HashMap::new() }
    }

    /// The target answered.
    pub fn up(&mut self, exposition: Exposition, moment: Moment) -> Scraped {
        self.scrapes += 1;
        let mut report = Report { up: true, scraped: exposition.samples.len(), ..Report::default() };
        let mut found = Scraped::default();
        for exposed in exposition.samples {
            let own_ms = exposed.at_ms.filter(|_| self.target.honor_timestamps);
            let Some(stored) = self.stored(Written { labels: exposed.labels, blank: exposed.blank }) else {
                continue;
            };
            let alive = Alive { scrape: self.scrapes, ends: own_ms.is_none() };
            match self.alive.insert(stored.clone(), alive) {
                None => report.added += 1,
                // With moments of their own, several samples of one series may well be there.
                Some(before) if before.scrape == self.scrapes && own_ms.is_none() => {
                    found.duplicates += 1;
                    continue;
                }
                Some(_) => {}
            }
            report.kept += 1;
            let at_ms = own_ms.unwrap_or(moment.at_ms);
            found.samples.push((stored, Sample { at_ms, value: exposed.value }));
        }
        let scrapes = self.scrapes;
        self.names.retain(|_, known| known.scrape == scrapes);
        self.end(scrapes, moment.at_ms, &mut found);
        self.report(&report, moment, &mut found);
        found
    }

    /// The target did not answer, or with what can't be read: all of its series end.
    pub fn down(&mut self, moment: Moment) -> Scraped {
        self.scrapes += 1;
        let mut found = Scraped::default();
        self.end(self.scrapes, moment.at_ms, &mut found);
        self.report(&Report::default(), moment, &mut found);
        found
    }

    /// The target is not scraped any more: its series end, and what is told of its scrapes too.
    pub fn gone(&mut self, at_ms: i64) -> Scraped {
        let mut found = Scraped::default();
        self.end(self.scrapes + 1, at_ms, &mut found);
        if self.scrapes > 0 {
            for name in REPORT {
                found.samples.push((self.about(name), Sample { at_ms, value: Value::stale() }));
            }
        }
        found
    }

    /// What a series is called here; none when it is dropped.
    fn stored(&mut self, written: Written) -> Option<Labels> {
        let scrape = self.scrapes;
        if let Some(known) = self.names.get_mut(&written) {
            known.scrape = scrape;
            return known.stored.clone();
        }
        let merged = attach(&written.labels, &written.blank, &self.target);
        let stored = relabel(&merged, &self.target.metric_relabel).filter(|labels| !labels.name().is_empty());
        self.names.insert(written, Known { stored: stored.clone(), scrape });
        stored
    }

    /// Ends the series that this scrape did not bring.
    fn end(&mut self, scrape: u64, at_ms: i64, into: &mut Scraped) {
        let ended = self.alive.extract_if(|_, alive| alive.scrape != scrape);
        let mut ended: Vec<Labels> =
            ended.filter(|(_, alive)| alive.ends).map(|(labels, _)| labels).collect();
        ended.sort();
        into.samples
            .extend(ended.into_iter().map(|labels| (labels, Sample { at_ms, value: Value::stale() })));
    }

    fn report(&self, report: &Report, moment: Moment, into: &mut Scraped) {
        let up = if report.up { 1.0 } else { 0.0 };
        let values = [up, moment.seconds, report.scraped as f64, report.kept as f64, report.added as f64];
        for (name, value) in REPORT.into_iter().zip(values) {
            let sample = Sample { at_ms: moment.at_ms, value: Value::Float(value) };
            into.samples.push((self.about(name), sample));
        }
    }

    fn about(&self, name: &str) -> Labels {
        Labels::new(self.target.labels.iter().chain([(NAME, name)]))
    }
}

/// What is told of every scrape.
const REPORT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// A series' labels and its target's.
fn attach(exposed: &Labels, blank: &[Arc<str>], target: &Target) -> Labels {
    let mut pairs: Vec<(String, &str)> =
        exposed.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in target.labels.iter() {
        let there = pairs.iter().position(|(known, _)| known == name);
        match there {
            None if target.honor_labels && blank.iter().any(|known| **known == *name) => {}
            None => pairs.push((name.to_owned(), value)),
            Some(_) if target.honor_labels => {}
            Some(place) => {
                let exported = std::mem::replace(&mut pairs[place].1, value);
                let mut other = format!("exported_{name}");
                while pairs.iter().any(|(known, _)| *known == other) || !target.labels.get(&other).is_empty()
                {
                    other.insert_str(0, "exported_");
                }
                pairs.push((other, exported));
            }
        }
    }
    Labels::new(pairs)
}

#[cfg(test)]
#[path = "scrape/tests.rs"]
mod tests;

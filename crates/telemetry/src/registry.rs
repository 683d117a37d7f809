//! Metrics of our own process. What is counted as it happens has a handle that is cheap to move; what follows from the state is
//! built by a collector at the moment of the scrape.

mod distribution;
mod instruments;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::exposition::{Family, Kind, Observed, Points, check_label, check_name};
use crate::model::Labels;

pub use distribution::{Distribution, ZERO_THRESHOLD};
pub use instruments::{Counter, Gauge, Metrics, Observer};

/// The metrics of a process, or of one of its parts.
pub struct Registry {
    created_ms: Option<i64>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    instruments: BTreeMap<String, Instrument>,
    collectors: Vec<Arc<Collector>>,
}

struct Instrument {
    help: String,
    read: Arc<dyn Fn() -> Points + Send + Sync>,
}

type Collector = dyn Fn() -> Vec<Family> + Send + Sync;

/// What all of it is at one moment.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In ascending order of names, the metrics of each in that of labels.
    pub families: Vec<Family>,
    /// What was left out and why: names that can't be shown, one name used for two things, one metric given twice.
    pub refused: Vec<String>,
}

impl Registry {
    /// An empty one. `created_ms`: since when its counters count, ms since 1970; shown to those who ask for that.
    pub fn new(created_ms: Option<i64>) -> Registry {
        Registry { created_ms, inner: Mutex::default() }
    }

    /// What only goes up. The name ends in `_total`.
    ///
    /// # Errors
    /// The name, or that of a label, can't be shown, or there is a metric of that name.
    pub fn counter<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Metrics<Counter, N>, String> {
        let metrics = Metrics::new(labels, Counter::default);
        let shown = metrics.clone();
        self.register(name, help, Kind::Counter, &labels, move || Points::Counter(shown.read(Counter::get)))?;
        Ok(metrics)
    }

    /// What goes up and down.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn gauge<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Metrics<Gauge, N>, String> {
        let metrics = Metrics::new(labels, Gauge::default);
        let shown = metrics.clone();
        self.register(name, help, Kind::Gauge, &labels, move || Points::Gauge(shown.read(Gauge::get)))?;
        Ok(metrics)
    }

    /// How observations are distributed: natively, and in classic buckets with these upper bounds for those who only read text.
    ///
    /// # Errors
    /// As [`Registry::counter`].
    pub fn histogram<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        bounds: &[f64],
    ) -> Result<Metrics<Observer, N>, String> {
        let empty = Distribution::new(bounds);
        let metrics = Metrics::new(labels, move || Observer::new(empty.clone()));
        let shown = metrics.clone();
        let read = move || Points::Histogram(shown.read(Observer::get));
        self.register(name, help, Kind::Histogram, &labels, read)?;
        Ok(metrics)
    }

    /// Families that are built anew at every scrape, from what is known then.
    pub fn collect(&self, collector: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.inner().collectors.push(Arc::new(collector));
    }

    fn register(
        &self,
        name: &str,
        help: &str,
        kind: Kind,
        labels: &[&str],
        read: impl Fn() -> Points + Send + Sync + 'static,
    ) -> Result<(), String> {
        check_name(name, kind)?;
        let reserved: &[&str] = if kind == Kind::Histogram { &["le"] } else { &[] };
        labels.iter().try_for_each(|label| check_label(label, reserved))?;
        match self.inner().instruments.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(format!("{name} is there already")),
            Entry::Vacant(place) => {
                place.insert(Instrument { help: help.to_owned(), read: Arc::new(read) });
                Ok(())
            }
        }
    }

    /// Everything as it is now. Collectors run on the caller's thread, and may use the registry.
    pub fn gather(&self) -> Gathered {
        let mut found = Vec::new();
        let mut collectors = Vec::new();
        {
            let inner = self.inner();
            for (name, Instrument { help, read }) in &inner.instruments {
                let family = Family {
                    name: name.clone(),
                    help: help.clone(),
                    points: read(),
                    created_ms: self.created_ms,
                };
                found.push(family);
            }
            collectors.extend(inner.collectors.iter().cloned());
        }
        found.extend(collectors.iter().flat_map(|collector| collector()));
        merge(found)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Families of one name become one.
fn merge(found: Vec<Family>) -> Gathered {
    let (mut families, mut refused) = (BTreeMap::<String, Family>::new(), Vec::new());
    for family in found {
        if let Err(why) = family.check() {
            refused.push(why);
            continue;
        }
        match families.entry(family.name.clone()) {
            Entry::Vacant(place) => {
                place.insert(family);
            }
            Entry::Occupied(mut known) => {
                let (name, kind) = (family.name, known.get().kind());
                match (&mut known.get_mut().points, family.points) {
                    (Points::Counter(points), Points::Counter(more))
                    | (Points::Gauge(points), Points::Gauge(more)) => {
                        points.extend(more);
                    }
                    (Points::Histogram(points), Points::Histogram(more)) => points.extend(more),
                    _ => refused.push(format!("{name}: it is a {} elsewhere", kind.name())),
                }
            }
        }
    }
    let mut families: Vec<Family> = families.into_values().collect();
    for Family { name, points, .. } in &mut families {
        match points {
            Points::Counter(points) | Points::Gauge(points) => in_order::<f64>(name, points, &mut refused),
            Points::Histogram(points) => in_order::<Observed>(name, points, &mut refused),
        }
    }
    families.retain(|family| !family.is_empty());
    let mut taken = BTreeSet::new();
    families.retain(|family| {
        let names = family.series_names();
        let free = names.iter().all(|name| !taken.contains(name));
        if !free {
            refused.push(format!("{}: another family has a series of that name", family.name));
        }
        taken.extend(names);
        free
    });
    Gathered { families, refused }
}

fn in_order<T>(name: &str, points: &mut Vec<(Labels, T)>, refused: &mut Vec<String>) {
    points.sort_by(|a, b| a.0.cmp(&b.0));
    points.dedup_by(|again, first| {
        let twice = again.0 == first.0;
        if twice {
            refused.push(format!("{name}{} is there twice", first.0));
        }
        twice
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};

    #[test]
    fn what_was_counted_is_shown_in_order_beside_what_collectors_build() {
        let registry = Registry::new(None);
        let requests = registry.counter("requests_total", "Requests.", ["method"]).expect("a name");
        let depth = registry.gauge("queue_depth", "Waiting.", []).expect("a name");
        requests.with(["PUT"]).inc();
        requests.with(["GET"]).add(2.5);
        requests.with(["GET"]).inc();
        depth.with([]).set(7.0);
        registry.collect(|| vec![Family::gauge("a_ratio", "Built.", vec![(Labels::new([("x", "1")]), 0.5)])]);
        let gathered = registry.gather();
        assert!(gathered.refused.is_empty(), "{:?}", gathered.refused);
        let wanted = "# HELP a_ratio Built.\n# TYPE a_ratio gauge\na_ratio{x=\"1\"} 0.5\n\
            # HELP queue_depth Waiting.\n# TYPE queue_depth gauge\nqueue_depth 7\n\
            # HELP requests_total Requests.\n# TYPE requests_total counter\n\
            requests_total{method=\"GET\"} 3.5\nrequests_total{method=\"PUT\"} 1\n";
        assert_eq!(String::from_utf8(encode(Format::Text, &gathered.families)).expect("text"), wanted);
        requests.remove(["PUT"]);
        let text = String::from_utf8(encode(Format::Text, &registry.gather().families)).expect("text");
        assert!(!text.contains("PUT"), "{text}");
    }

    #[test]
    fn what_can_not_be_shown_is_left_out_and_said() {
        let registry = Registry::new(None);
        assert!(registry.counter("requests", "No `_total`.", []).is_err());
        assert!(registry.gauge("a-b", "", []).is_err());
        assert!(registry.histogram("a_seconds", "", ["le"], &[]).is_err());
        registry.gauge("a", "", []).expect("a name").with([]).set(1.0);
        assert!(registry.gauge("a", "", []).is_err(), "twice");
        registry.collect(|| {
            let twice = vec![(Labels::default(), 1.0), (Labels::default(), 2.0)];
            vec![
                Family::gauge("b", "", twice),
                Family::gauge("c d", "", vec![]),
                Family::histogram("a", "", vec![]),
                Family::gauge("d_seconds_count", "", vec![(Labels::default(), 1.0)]),
                Family::histogram("d_seconds", "", vec![(Labels::default(), Observed::default())]),
            ]
        });
        let gathered = registry.gather();
        assert_eq!(
            gathered.families.iter().map(|family| &*family.name).collect::<Vec<_>>(),
            ["a", "b", "d_seconds"]
        );
        let wanted = [
            "\"c d\" can't name a metric",
            "a: it is a gauge elsewhere",
            "b{} is there twice",
            "d_seconds_count: another family has a series of that name",
        ];
        assert_eq!(gathered.refused, wanted);
    }

    #[test]
    fn counts_of_many_threads_add_up() {
        let registry = Registry::new(None);
        let total = registry.counter("a_total", "", []).expect("a name");
        let waits = registry.histogram("wait_seconds", "", [], &[1.0]).expect("a name");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (total, waits) = (total.with([]), waits.with([]));
                    for _ in 0..1000 {
                        total.inc();
                        total.add(0.5);
                        waits.observe(0.25);
                    }
                });
            }
        });
        assert_eq!(total.with([]).get(), 6000.0);
        let seen = waits.with([]).get();
        assert_eq!((seen.count, seen.sum, &*seen.classic), (4000.0, 1000.0, &[(1.0, 4000.0)][..]));
    }
}

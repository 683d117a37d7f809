//! Handles on what is counted as it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Distribution;
use crate::exposition::Observed;
use crate::model::Labels;

/// The metrics of one name, told apart by the values of N labels. Whoever updates one often keeps its handle.
pub struct Metrics<T, const N: usize>(Arc<Shared<T, N>>);

struct Shared<T, const N: usize> {
    names: [Arc<str>; N],
    fresh: Box<dyn Fn() -> T + Send + Sync>,
    /// In ascending order of the values.
    known: RwLock<Vec<Known<T, N>>>,
}

type Known<T, const N: usize> = ([Arc<str>; N], Arc<T>);

impl<T, const N: usize> Clone for Metrics<T, N> {
    fn clone(&self) -> Metrics<T, N> {
        Metrics(Arc::clone(&self.0))
    }
}

impl<T, const N: usize> Metrics<T, N> {
    pub(super) fn new(names: [&str; N], fresh: impl Fn() -> T + Send + Sync + 'static) -> Metrics<T, N> {
        let (names, fresh) = (names.map(Arc::from), Box::new(fresh));
        let shared = Shared { names, fresh, known: RwLock::default() };
        // Without labels there is one metric, and it is there from the beginning.
        if N == 0 {
            let only = Arc::new((shared.fresh)());
            shared
                .known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(([(); N].map(|()| Arc::from("")), only));
        }
        Metrics(Arc::new(shared))
    }

    /// The metric with these values of the labels; from now on it is shown.
    pub fn with(&self, values: [&str; N]) -> Arc<T> {
        {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Ok(at) = find(&known, values) {
                return Arc::clone(&known[at].1);
            }
        }
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        match find(&known, values) {
            Ok(at) => Arc::clone(&known[at].1),
            Err(at) => {
                let new = Arc::new((self.0.fresh)());
                known.insert(at, (values.map(Arc::from), Arc::clone(&new)));
                new
            }
        }
    }

    /// From now on it is not shown; a handle on it moves nothing any more.
    pub fn remove(&self, values: [&str; N]) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = find(&known, values) {
            known.remove(at);
        }
    }

    pub(super) fn read<V>(&self, value: impl Fn(&T) -> V) -> Vec<(Labels, V)> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let labels =
            |values: &[Arc<str>; N]| Labels::new(self.0.names.iter().cloned().zip(values.iter().cloned()));
        known.iter().map(|(values, metric)| (labels(values), value(metric))).collect()
    }
}

fn find<T, const N: usize>(known: &[Known<T, N>], wanted: [&str; N]) -> Result<usize, usize> {
    known.binary_search_by(|(values, _)| values.iter().map(|value| &**value).cmp(wanted))
}

/// What only goes up.
#[derive(Default)]
pub struct Counter {
    whole: AtomicU64,
    /// What was added in parts, as the bits of a float.
    parts: AtomicU64,
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    pub fn inc_by(&self, more: u64) {
        self.whole.fetch_add(more, Ordering::Relaxed);
    }

    /// For what is no whole number, such as seconds. What is below 0, or no number, is not added.
    pub fn add(&self, more: f64) {
        if more > 0.0 {
            add(&self.parts, more);
        }
    }

    pub fn get(&self) -> f64 {
        self.whole.load(Ordering::Relaxed) as f64 + f64::from_bits(self.parts.load(Ordering::Relaxed))
    }
}

/// What goes up and down.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds; what is below 0 is taken away.
    pub fn add(&self, more: f64) {
        add(&self.0, more);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

fn add(bits: &AtomicU64, more: f64) {
    let sum = |before| Some((f64::from_bits(before) + more).to_bits());
    // The closure always has an answer.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

/// A distribution that many threads observe into. Its lock is held for a search among at most 160 buckets.
pub struct Observer(Mutex<Distribution>);

impl Observer {
    pub(super) fn new(empty: Distribution) -> Observer {
        Observer(Mutex::new(empty))
    }

    pub fn observe(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).observe(value);
    }

    pub fn get(&self) -> Observed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).observed()
    }
}

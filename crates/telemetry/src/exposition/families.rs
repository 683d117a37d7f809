//! Families of metrics, as they are shown.

use super::{Kind, is_label_name, is_metric_name};
use crate::model::{Histogram, Labels};

/// Units that a name may end in (prometheus.io, *Metric and label naming*: base units, in the plural).
const UNITS: &[&str] = &[
    "seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams", "watts", "hertz",
];

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As the series are called; that of a counter ends in `_total`.
    pub name: String,
    /// What it is, in a sentence.
    pub help: String,
    pub points: Points,
    /// Since when it counts, ms since 1970.
    pub created_ms: Option<i64>,
}

/// The metrics of a family: labels without the name, and what is there now.
#[derive(Clone, Debug, PartialEq)]
pub enum Points {
    /// Only goes up, until the process begins anew.
    Counter(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    Histogram(Vec<(Labels, Observed)>),
}

/// What a histogram observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub count: f64,
    pub sum: f64,
    /// Exponential buckets, for those who ask for protobuf.
    pub native: Option<Histogram>,
    /// Upper bounds, ascending and without +Inf, and how many observations are at most that.
    pub classic: Vec<(f64, f64)>,
}

impl Family {
    /// What only goes up; the name ends in `_total`.
    pub fn counter(name: &str, help: &str, points: Vec<(Labels, f64)>) -> Family {
        Family::new(name, help, Points::Counter(points))
    }

    /// What is now.
    pub fn gauge(name: &str, help: &str, points: Vec<(Labels, f64)>) -> Family {
        Family::new(name, help, Points::Gauge(points))
    }

    /// How observations are distributed.
    pub fn histogram(name: &str, help: &str, points: Vec<(Labels, Observed)>) -> Family {
        Family::new(name, help, Points::Histogram(points))
    }

    fn new(name: &str, help: &str, points: Points) -> Family {
        Family { name: name.to_owned(), help: help.to_owned(), points, created_ms: None }
    }

    pub fn kind(&self) -> Kind {
        match self.points {
            Points::Counter(_) => Kind::Counter,
            Points::Gauge(_) => Kind::Gauge,
            Points::Histogram(_) => Kind::Histogram,
        }
    }

    /// What its series are called, in one form or another.
    pub fn series_names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.points {
            Points::Counter(_) => &["", "_total", "_created"],
            Points::Gauge(_) => &[""],
            Points::Histogram(_) => &["", "_bucket", "_sum", "_count", "_created"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.stem())).collect()
    }

    /// Whether it has no metric.
    pub fn is_empty(&self) -> bool {
        match &self.points {
            Points::Counter(points) | Points::Gauge(points) => points.is_empty(),
            Points::Histogram(points) => points.is_empty(),
        }
    }

    /// What OpenMetrics calls the family: a counter without its `_total`.
    pub fn stem(&self) -> &str {
        match self.points {
            Points::Counter(_) => self.name.strip_suffix("_total").unwrap_or(&self.name),
            _ => &self.name,
        }
    }

    /// The unit that its name ends in; empty when it ends in none.
    pub fn unit(&self) -> &'static str {
        let last = self.stem().rsplit_once('_').map_or("", |(_, last)| last);
        UNITS.iter().find(|unit| **unit == last).copied().unwrap_or("")
    }

    /// Whether it can be shown.
    ///
    /// # Errors
    /// What is wrong with its name or a label.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name, self.kind())?;
        let reserved: &[&str] = if self.kind() == Kind::Histogram { &["le"] } else { &[] };
        let each = |labels: &Labels| {
            labels.iter().try_for_each(|(name, _)| {
                check_label(name, reserved).map_err(|why| format!("{}: {why}", self.name))
            })
        };
        match &self.points {
            Points::Counter(points) | Points::Gauge(points) => {
                points.iter().try_for_each(|(labels, _)| each(labels))
            }
            Points::Histogram(points) => points.iter().try_for_each(|(labels, _)| each(labels)),
        }
    }
}

/// Whether a family of this kind may be called so.
///
/// # Errors
/// Why not.
pub fn check_name(name: &str, kind: Kind) -> Result<(), String> {
    if !is_metric_name(name) {
        return Err(format!("{name:?} can't name a metric"));
    }
    if (kind == Kind::Counter) != name.ends_with("_total") {
        return Err(format!("{name}: counters, and only they, end in `_total`"));
    }
    Ok(())
}

/// Whether a label of ours may be called so.
///
/// # Errors
/// Why not.
pub fn check_label(name: &str, reserved: &[&str]) -> Result<(), String> {
    if !is_label_name(name) || name.starts_with("__") || reserved.contains(&name) {
        return Err(format!("{name:?} can't name a label"));
    }
    Ok(())
}

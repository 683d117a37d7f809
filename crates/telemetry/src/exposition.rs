//! What a process shows of itself when it is scraped: families of metrics, written and read in the three forms of Prometheus.
//!
//! Sources: prometheus.io, *Exposition formats* (text 0.0.4 and protobuf), and OpenMetrics 1.0. Text knows no native histograms:
//! there a family shows its classic buckets instead.

mod families;
mod messages;
mod names;
mod negotiate;
mod number;
mod open_metrics;
mod parse;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::{Labels, Value};

pub use families::{Family, Observed, Points};
pub(crate) use families::{check_label, check_name};
pub(crate) use names::{Names, check_label as check_read_label};
pub use negotiate::{ACCEPT, Format};

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl Kind {
    /// As OpenMetrics and the metadata API of Prometheus write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Unknown => "unknown",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Summary => "summary",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
        }
    }
}

/// What is known of a family apart from its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub kind: Kind,
    pub help: String,
    /// In the plural, as at the end of the name (`seconds`); empty when not said.
    pub unit: String,
}

/// A sample as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    pub labels: Labels,
    pub value: Value,
    /// When it was taken, ms since 1970; when not said, the moment of the scrape counts.
    pub at_ms: Option<i64>,
    /// Labels that were written with an empty value. They are none of the series, but with `honor_labels` they keep a label of the
    /// target away.
    pub blank: Vec<Arc<str>>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// In the order in which they were written.
    pub samples: Vec<Exposed>,
    /// By the family's name; of OpenMetrics without `_total`, as there.
    pub metadata: BTreeMap<String, Metadata>,
}

/// How much is read at most, of an exposition or of a write request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Length of all of it, bytes.
    pub bytes: usize,
    /// A native histogram counts as one and one more for each of its buckets. Also how many families are remembered.
    pub samples: usize,
    /// Labels a sample, the name counts as one.
    pub labels: usize,
    pub label_name_bytes: usize,
    pub label_value_bytes: usize,
}

impl Default for Limits {
    /// 16 MiB, 200,000 samples with 64 labels, names of 256 bytes, values of 4 KiB.
    fn default() -> Limits {
        Limits {
            bytes: 16 << 20,
            samples: 200_000,
            labels: 64,
            label_name_bytes: 256,
            label_value_bytes: 4 << 10,
        }
    }
}

/// Which buckets are read of a histogram that has native and classic ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    Native,
    Both,
}

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first is 1.
    Line(usize),
    /// Bytes from the beginning.
    Byte(usize),
    /// The whole.
    Whole,
}

/// Why an exposition can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpositionError {
    pub at: Place,
    pub why: String,
}

impl ExpositionError {
    /// What is wrong may quote a line of any length: it is cut.
    fn new(at: Place, why: String) -> ExpositionError {
        ExpositionError { at, why: cut(why) }
    }
}

/// A message, no longer than people read.
pub(crate) fn cut(mut message: String) -> String {
    const CHARACTERS: usize = 300;
    if let Some((end, _)) = message.char_indices().nth(CHARACTERS) {
        message.truncate(end);
        message.push('…');
    }
    message
}

impl fmt::Display for ExpositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Place::Line(line) => write!(f, "line {line}: {}", self.why),
            Place::Byte(byte) => write!(f, "byte {byte}: {}", self.why),
            Place::Whole => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for ExpositionError {}

/// Families in one of the three forms, as the body of an answer.
pub fn encode(format: Format, families: &[Family]) -> Vec<u8> {
    match format {
        Format::Text => text::encode(families).into_bytes(),
        Format::OpenMetrics => open_metrics::encode(families).into_bytes(),
        Format::Protobuf => messages::encode(families),
    }
}

/// What the body of an answer says.
///
/// # Errors
/// It is none in this form, or goes beyond a limit.
pub fn decode(
    format: Format,
    body: &[u8],
    buckets: Buckets,
    limits: &Limits,
) -> Result<Exposition, ExpositionError> {
    if body.len() > limits.bytes {
        let why = format!("{} bytes, and at most {} are read", body.len(), limits.bytes);
        return Err(ExpositionError::new(Place::Whole, why));
    }
    match format {
        Format::Text | Format::OpenMetrics => parse::decode(body, format == Format::OpenMetrics, limits),
        Format::Protobuf => messages::decode(body, buckets, limits),
    }
}

/// Whether it may name a metric: letters, digits, `_` and `:`, no digit in front.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |byte| byte == b':')
}

/// Whether it may name a label: letters, digits and `_`, no digit in front.
pub fn is_label_name(name: &str) -> bool {
    is_name(name, |_| false)
}

fn is_name(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || also(byte))
}

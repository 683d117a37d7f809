//! Reads messages of `io.prometheus.client.MetricFamily`.

use std::sync::Arc;

use super::{NEGATIVE, POSITIVE};
use crate::exposition::names::{Names, check_label};
use crate::exposition::{
    Buckets, Exposed, Exposition, ExpositionError, Kind, Limits, Metadata, Place, is_label_name,
    is_metric_name, number,
};
use crate::model::{CounterReset, Histogram, Labels, NAME, Value};
use crate::protobuf::spans::{self, Side};
use crate::protobuf::{Field, Fields, WireError};

/// Reads all families.
///
/// # Errors
/// Bytes that are no such message, or beyond a limit.
pub fn decode(body: &[u8], buckets: Buckets, limits: &Limits) -> Result<Exposition, ExpositionError> {
    let mut reader =
        Reader { buckets, limits, found: Exposition::default(), names: Names::default(), heavier: 0 };
    let mut stream = Fields::new(body);
    while let Some(family) = stream.next_delimited()? {
        reader.family(family)?;
    }
    Ok(reader.found)
}

impl From<WireError> for ExpositionError {
    fn from(error: WireError) -> ExpositionError {
        ExpositionError::new(Place::Byte(error.at), error.why.to_owned())
    }
}

type Pairs = Vec<(Arc<str>, Arc<str>)>;

struct Reader<'a> {
    buckets: Buckets,
    limits: &'a Limits,
    found: Exposition,
    names: Names,
    /// What the native histograms take of the limit beyond one sample each.
    heavier: usize,
}

/// What all samples of a metric share.
struct Metric {
    pairs: Pairs,
    blank: Vec<Arc<str>>,
    at_ms: Option<i64>,
}

impl Reader<'_> {
    fn family(&mut self, fields: Fields<'_>) -> Result<(), ExpositionError> {
        let (mut name, mut metadata, mut kind) = ("", Metadata::default(), 0);
        let mut all = fields.clone();
        while let Some(field) = all.next()? {
            match field.number {
                1 => name = field.text()?,
                2 => field.text()?.clone_into(&mut metadata.help),
                3 => kind = field.uint()?,
                5 => field.text()?.clone_into(&mut metadata.unit),
                _ => {}
            }
        }
        if !is_metric_name(name) {
            return Err(wrong(format!("{name:?} can't name a metric")));
        }
        check_label(NAME, name, 0, self.limits).map_err(wrong)?;
        metadata.kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Summary,
            3 => Kind::Unknown,
            4 => Kind::Histogram,
            5 => Kind::GaugeHistogram,
            _ => return Err(wrong(format!("{name}: {kind} is no type of metrics"))),
        };
        if self.found.metadata.len() >= self.limits.samples {
            return Err(wrong(format!("more than {} families", self.limits.samples)));
        }
        let gauge = metadata.kind == Kind::GaugeHistogram;
        self.found.metadata.insert(name.to_owned(), metadata);
        // The name may stand behind the metrics: they are read in a second round.
        let mut all = fields;
        while let Some(field) = all.next()? {
            if field.number == 4 {
                self.metric(name, gauge, field.message()?)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, name: &str, gauge: bool, fields: Fields<'_>) -> Result<(), ExpositionError> {
        let mut metric = Metric { pairs: Vec::new(), blank: Vec::new(), at_ms: None };
        let mut value = None;
        let mut all = fields;
        while let Some(field) = all.next()? {
            match field.number {
                1 => self.label(name, field, &mut metric)?,
                6 => metric.at_ms = Some(field.int()?).filter(|at_ms| *at_ms != 0),
                2..=5 | 7 => value = Some(field),
                _ => {}
            }
        }
        let Some(field) = value else { return Ok(()) };
        match field.number {
            4 => self.summary(name, &metric, field.message()?),
            7 => self.histogram(name, gauge, &metric, field.message()?),
            // Gauge, counter, untyped: the value is field 1 of each.
            _ => {
                let (mut number, mut inner) = (0.0, field.message()?);
                while let Some(field) = inner.next()? {
                    if field.number == 1 {
                        number = field.double()?;
                    }
                }
                self.push(&metric, name, "", None, Value::Float(number))
            }
        }
    }

    fn label(&mut self, metric: &str, field: Field<'_>, into: &mut Metric) -> Result<(), ExpositionError> {
        let (mut name, mut value, mut pair) = ("", "", field.message()?);
        while let Some(field) = pair.next()? {
            match field.number {
                1 => name = field.text()?,
                2 => value = field.text()?,
                _ => {}
            }
        }
        let refused = |why: String| Err(wrong(format!("{metric}: {why}")));
        if !is_label_name(name) || name == NAME {
            return refused(format!("{name:?} can't name a label"));
        }
        // One is the name.
        if let Err(why) = check_label(name, value, 1 + into.pairs.len() + into.blank.len(), self.limits) {
            return refused(why);
        }
        if value.is_empty() {
            into.blank.push(self.names.get(name));
        } else if into.pairs.iter().any(|(known, _)| **known == *name) {
            return refused(format!("the label {name} is there twice"));
        } else {
            into.pairs.push((self.names.get(name), self.names.get(value)));
        }
        Ok(())
    }

    fn push(
        &mut self,
        metric: &Metric,
        name: &str,
        suffix: &str,
        more: Option<(&str, f64)>,
        value: Value,
    ) -> Result<(), ExpositionError> {
        if self.found.samples.len() + self.heavier >= self.limits.samples {
            return Err(wrong(format!("more than {} samples", self.limits.samples)));
        }
        let name =
            if suffix.is_empty() { self.names.get(name) } else { self.names.get(&format!("{name}{suffix}")) };
        let mut pairs = metric.pairs.clone();
        pairs.push((self.names.get(NAME), name));
        if let Some((label, bound)) = more {
            pairs.push((self.names.get(label), self.names.get(&number::canonical(bound))));
        }
        let value = match value {
            Value::Float(value) => Value::Float(unmarked(value)),
            histogram => histogram,
        };
        let (at_ms, blank) = (metric.at_ms, metric.blank.clone());
        self.found.samples.push(Exposed { labels: Labels::new(pairs), value, at_ms, blank });
        Ok(())
    }

    fn summary(
        &mut self,
        name: &str,
        metric: &Metric,
        mut fields: Fields<'_>,
    ) -> Result<(), ExpositionError> {
        let (mut count, mut sum) = (0, 0.0);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => count = field.uint()?,
                2 => sum = field.double()?,
                3 => {
                    let (mut quantile, mut value, mut inner) = (0.0, 0.0, field.message()?);
                    while let Some(field) = inner.next()? {
                        match field.number {
                            1 => quantile = field.double()?,
                            2 => value = field.double()?,
                            _ => {}
                        }
                    }
                    self.push(metric, name, "", Some(("quantile", quantile)), Value::Float(value))?;
                }
                _ => {}
            }
        }
        self.push(metric, name, "_sum", None, Value::Float(sum))?;
        self.push(metric, name, "_count", None, Value::Float(count as f64))
    }

    fn histogram(
        &mut self,
        name: &str,
        gauge: bool,
        metric: &Metric,
        fields: Fields<'_>,
    ) -> Result<(), ExpositionError> {
        let read = read_histogram(fields)?;
        if read.native {
            let mut histogram = read.histogram;
            histogram.reset = if gauge { CounterReset::Gauge } else { CounterReset::Unknown };
            histogram.negative =
                read.negative.buckets(read.float).map_err(|why| wrong(format!("{name}: {why}")))?;
            histogram.positive =
                read.positive.buckets(read.float).map_err(|why| wrong(format!("{name}: {why}")))?;
            spans::check(&histogram, !read.float).map_err(|why| wrong(format!("{name}: {why}")))?;
            let (count, sum) = (histogram.count, histogram.sum);
            self.heavier += spans::weight(&histogram) - 1;
            self.push(metric, name, "", None, Value::Histogram(Arc::new(histogram)))?;
            if self.buckets == Buckets::Both && !read.classic.is_empty() {
                self.classic(name, metric, &read.classic, count, sum)?;
            }
            return Ok(());
        }
        self.classic(name, metric, &read.classic, read.histogram.count, read.histogram.sum)
    }

    fn classic(
        &mut self,
        name: &str,
        metric: &Metric,
        buckets: &[(f64, f64)],
        count: f64,
        sum: f64,
    ) -> Result<(), ExpositionError> {
        let infinite =
            buckets.iter().all(|(bound, _)| *bound != f64::INFINITY).then_some((f64::INFINITY, count));
        for (bound, below) in buckets.iter().copied().chain(infinite) {
            self.push(metric, name, "_bucket", Some(("le", bound)), Value::Float(below))?;
        }
        self.push(metric, name, "_sum", None, Value::Float(sum))?;
        self.push(metric, name, "_count", None, Value::Float(count))
    }
}

/// A histogram as it lies in its message.
#[derive(Default)]
struct Read {
    histogram: Histogram,
    classic: Vec<(f64, f64)>,
    negative: Side,
    positive: Side,
    float: bool,
    native: bool,
}

fn read_histogram(mut fields: Fields<'_>) -> Result<Read, WireError> {
    let mut read = Read::default();
    while let Some(field) = fields.next()? {
        let histogram = &mut read.histogram;
        match field.number {
            1 if !read.float => histogram.count = field.uint()? as f64,
            2 => histogram.sum = unmarked(field.double()?),
            3 => read.classic.push(read_bucket(field.message()?)?),
            // As floats when there is something to count, as Prometheus takes it.
            4 => {
                let count = field.double()?;
                if count > 0.0 {
                    (histogram.count, read.float) = (count, true);
                }
            }
            5 => {
                let schema = field.sint32()?;
                histogram.schema = match i8::try_from(schema) {
                    Ok(schema) => schema,
                    Err(_) => return field.refuse("a histogram of an unknown schema"),
                };
            }
            6 => histogram.zero_threshold = field.double()?,
            7 if !read.float => histogram.zero_count = field.uint()? as f64,
            8 => {
                let count = field.double()?;
                if count > 0.0 {
                    (histogram.zero_count, read.float) = (count, true);
                }
            }
            _ => {
                read.negative.read(NEGATIVE, &field)?;
                read.positive.read(POSITIVE, &field)?;
            }
        }
    }
    let histogram = &read.histogram;
    let spans = read.negative.has_spans() || read.positive.has_spans();
    read.native = spans || histogram.zero_threshold > 0.0 || histogram.zero_count > 0.0;
    Ok(read)
}

/// Upper bound and how many are at most that.
fn read_bucket(mut fields: Fields<'_>) -> Result<(f64, f64), WireError> {
    let (mut bound, mut count) = (0.0, 0.0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 if count == 0.0 => count = field.uint()? as f64,
            2 => bound = field.double()?,
            4 => {
                let float = field.double()?;
                if float > 0.0 {
                    count = float;
                }
            }
            _ => {}
        }
    }
    Ok((bound, count))
}

/// A NaN without what it may carry: that a series ends is not for its exporter to say.
fn unmarked(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn wrong(why: String) -> ExpositionError {
    ExpositionError::new(Place::Whole, why)
}

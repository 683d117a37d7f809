//! `prometheus.WriteRequest`, the message of remote write 1.0.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Budget, WriteError, WriteRequest, histograms, in_order};
use crate::exposition::{Kind, Limits, Metadata, Names, check_read_label, cut};
use crate::model::{Labels, Sample, Series, Value};
use crate::protobuf::spans;
use crate::protobuf::{Fields, Writer};

/// The types of metrics, by their numbers in 1.0 and 2.0.
const KINDS: [Kind; 8] = [
    Kind::Unknown,
    Kind::Counter,
    Kind::Gauge,
    Kind::Histogram,
    Kind::GaugeHistogram,
    Kind::Summary,
    Kind::Info,
    Kind::StateSet,
];

pub fn decode(message: &[u8], limits: &Limits) -> Result<WriteRequest, WriteError> {
    let mut found = WriteRequest::default();
    let (mut names, mut budget) = (Names::default(), Budget::new(limits));
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => found.series.push(read_series(field.message()?, limits, &mut names, &mut budget)?),
            3 => {
                budget.take(1)?;
                let (name, metadata) = read_metadata(field.message()?)?;
                found.metadata.insert(name, metadata);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn read_series(
    mut fields: Fields<'_>,
    limits: &Limits,
    names: &mut Names,
    budget: &mut Budget,
) -> Result<Series, WriteError> {
    // An empty series takes memory too.
    budget.take(1)?;
    let (mut pairs, mut samples) = (Vec::new(), Vec::new());
    while let Some(field) = fields.next()? {
        match field.number {
            1 => {
                let (name, value) = read_label(field.message()?)?;
                check_label(name, value, &pairs, limits)?;
                pairs.push((names.get(name), names.get(value)));
            }
            2 => {
                budget.take(usize::from(!samples.is_empty()))?;
                samples.push(read_sample(field.message()?)?);
            }
            4 => samples.push(read_histogram(field.message()?, budget)?),
            _ => {}
        }
    }
    series(pairs, samples)
}

/// A histogram, taken from the budget with its buckets.
pub fn read_histogram(fields: Fields<'_>, budget: &mut Budget) -> Result<Sample, WriteError> {
    let sample = histograms::read(fields)?;
    if let Value::Histogram(histogram) = &sample.value {
        budget.take(spans::weight(histogram))?;
    }
    Ok(sample)
}

pub type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// Whether a label may stand behind these.
///
/// # Errors
/// It has no name, goes beyond a limit, or is there already.
pub fn check_label(name: &str, value: &str, before: &Pairs, limits: &Limits) -> Result<(), WriteError> {
    if name.is_empty() {
        return Err(WriteError::Malformed("a label without a name".to_owned()));
    }
    check_read_label(name, value, before.len(), limits).map_err(WriteError::Malformed)?;
    if before.iter().any(|(known, _)| **known == *name) {
        return Err(WriteError::Malformed(format!("the label {name} is there twice")));
    }
    Ok(())
}

/// # Errors
/// It has no name.
pub fn series(pairs: Pairs, mut samples: Vec<Sample>) -> Result<Series, WriteError> {
    let labels = Labels::new(pairs);
    if labels.name().is_empty() {
        return Err(WriteError::Malformed(cut(format!("a series without a name: {labels}"))));
    }
    in_order(&mut samples);
    Ok(Series { labels, samples })
}

fn read_label<'a>(mut fields: Fields<'a>) -> Result<(&'a str, &'a str), WriteError> {
    let (mut name, mut value) = ("", "");
    while let Some(field) = fields.next()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

pub fn read_sample(mut fields: Fields<'_>) -> Result<Sample, WriteError> {
    let (mut value, mut at_ms) = (0.0, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => value = field.double()?,
            2 => at_ms = field.int()?,
            _ => {}
        }
    }
    Ok(Sample { at_ms, value: Value::Float(value) })
}

pub fn kind(number: u64) -> Kind {
    let place = usize::try_from(number).ok();
    place.and_then(|place| KINDS.get(place)).copied().unwrap_or_default()
}

fn read_metadata(mut fields: Fields<'_>) -> Result<(String, Metadata), WriteError> {
    let (mut name, mut metadata) = ("", Metadata::default());
    while let Some(field) = fields.next()? {
        match field.number {
            1 => metadata.kind = kind(field.uint()?),
            2 => name = field.text()?,
            4 => field.text()?.clone_into(&mut metadata.help),
            5 => field.text()?.clone_into(&mut metadata.unit),
            _ => {}
        }
    }
    Ok((name.to_owned(), metadata))
}

pub fn write(writer: &mut Writer, series: &[Series], metadata: &BTreeMap<String, Metadata>) {
    for Series { labels, samples } in series {
        writer.message(1, |writer| {
            for (name, value) in labels.iter() {
                writer.message(1, |label| {
                    label.text(1, name);
                    label.text(2, value);
                });
            }
            for Sample { at_ms, value } in samples {
                match value {
                    Value::Float(value) => writer.message(2, |sample| {
                        sample.double(1, *value);
                        sample.int(2, *at_ms);
                    }),
                    Value::Histogram(histogram) => {
                        writer.message(4, |message| histograms::write(message, histogram, *at_ms));
                    }
                }
            }
        });
    }
    for (name, Metadata { kind, help, unit }) in metadata {
        writer.message(3, |writer| {
            let number = KINDS.iter().position(|known| known == kind).unwrap_or(0);
            writer.uint(1, number as u64);
            writer.text(2, name);
            writer.text(4, help);
            writer.text(5, unit);
        });
    }
}

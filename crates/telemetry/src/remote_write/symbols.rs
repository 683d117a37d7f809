//! `io.prometheus.write.v2.Request`, the message of remote write 2.0: every text is there once, and is named by its number.

use std::sync::Arc;

use super::request::{Pairs, check_label, kind, read_histogram, read_sample, series};
use super::{Budget, WriteError, WriteRequest};
use crate::exposition::{Limits, Metadata};
use crate::model::NAME;
use crate::protobuf::Fields;

pub fn decode(message: &[u8], limits: &Limits) -> Result<WriteRequest, WriteError> {
    // The symbols may stand behind what names them: they are read in a first round.
    let mut symbols: Vec<Arc<str>> = Vec::new();
    let mut fields = Fields::new(message);
    let mut budget = Budget::new(limits);
    while let Some(field) = fields.next()? {
        if field.number == 4 {
            budget.take(1)?;
            symbols.push(field.text()?.into());
        }
    }
    if symbols.first().is_some_and(|first| !first.is_empty()) {
        return Err(WriteError::Malformed("the first symbol is not the empty one".to_owned()));
    }
    let (mut found, mut budget) = (WriteRequest::default(), Budget::new(limits));
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if field.number == 5 {
            read_series(field.message()?, &symbols, limits, &mut budget, &mut found)?;
        }
    }
    Ok(found)
}

fn symbol(symbols: &[Arc<str>], number: u32) -> Result<&Arc<str>, WriteError> {
    symbols.get(number as usize).ok_or_else(|| WriteError::Malformed(format!("there is no symbol {number}")))
}

fn read_series(
    mut fields: Fields<'_>,
    symbols: &[Arc<str>],
    limits: &Limits,
    budget: &mut Budget,
    into: &mut WriteRequest,
) -> Result<(), WriteError> {
    // An empty series takes memory too.
    budget.take(1)?;
    let (mut references, mut samples, mut metadata) = (Vec::new(), Vec::new(), None);
    while let Some(field) = fields.next()? {
        match field.number {
            // A number takes a byte at least and 5 at most.
            1 if field.length() > 10 * limits.labels => field.refuse("more labels than are read")?,
            1 => field.uints32(&mut references)?,
            2 => {
                budget.take(usize::from(!samples.is_empty()))?;
                samples.push(read_sample(field.message()?)?);
            }
            3 => samples.push(read_histogram(field.message()?, budget)?),
            5 => metadata = Some(read_metadata(field.message()?, symbols)?),
            _ => {}
        }
    }
    let (whole, rest) = references.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(WriteError::Malformed("a label without a value".to_owned()));
    }
    let mut pairs: Pairs = Vec::with_capacity(whole.len());
    for [name, value] in whole {
        let (name, value) = (symbol(symbols, *name)?, symbol(symbols, *value)?);
        check_label(name, value, &pairs, limits)?;
        pairs.push((Arc::clone(name), Arc::clone(value)));
    }
    let series = series(pairs, samples)?;
    if let Some(metadata) = metadata.filter(|metadata| *metadata != Metadata::default()) {
        into.metadata.insert(series.labels.get(NAME).to_owned(), metadata);
    }
    into.series.push(series);
    Ok(())
}

fn read_metadata(mut fields: Fields<'_>, symbols: &[Arc<str>]) -> Result<Metadata, WriteError> {
    let mut metadata = Metadata::default();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => metadata.kind = kind(field.uint()?),
            3 => metadata.help = symbol(symbols, field.uint32()?)?.to_string(),
            4 => metadata.unit = symbol(symbols, field.uint32()?)?.to_string(),
            _ => {}
        }
    }
    Ok(metadata)
}

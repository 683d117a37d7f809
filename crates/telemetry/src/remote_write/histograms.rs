//! Native histograms of remote write; 1.0 and 2.0 number their fields alike.

use std::sync::Arc;

use super::WriteError;
use crate::model::{CounterReset, Histogram, Sample, Value};
use crate::protobuf::spans::{self, Side, SideFields};
use crate::protobuf::{Fields, Writer};

const NEGATIVE: SideFields = SideFields { spans: 8, deltas: 9, counts: 10 };
const POSITIVE: SideFields = SideFields { spans: 11, deltas: 12, counts: 13 };

/// A histogram and its moment.
pub fn read(mut fields: Fields<'_>) -> Result<Sample, WriteError> {
    let (mut histogram, mut at_ms, mut float) = (Histogram::default(), 0, false);
    let (mut negative, mut positive) = (Side::default(), Side::default());
    while let Some(field) = fields.next()? {
        match field.number {
            1 => (histogram.count, float) = (field.uint()? as f64, false),
            2 => (histogram.count, float) = (field.double()?, true),
            3 => histogram.sum = field.double()?,
            4 => match i8::try_from(field.sint32()?) {
                Ok(schema) => histogram.schema = schema,
                Err(_) => field.refuse("a histogram of an unknown schema")?,
            },
            5 => histogram.zero_threshold = field.double()?,
            6 => histogram.zero_count = field.uint()? as f64,
            7 => histogram.zero_count = field.double()?,
            14 => {
                histogram.reset = match field.uint()? {
                    1 => CounterReset::Reset,
                    2 => CounterReset::NotReset,
                    3 => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }
            }
            15 => at_ms = field.int()?,
            16 => field.doubles(&mut histogram.custom)?,
            _ => {
                negative.read(NEGATIVE, &field)?;
                positive.read(POSITIVE, &field)?;
            }
        }
    }
    let broken = |why: &'static str| WriteError::Malformed(why.to_owned());
    histogram.negative = negative.buckets(float).map_err(broken)?;
    histogram.positive = positive.buckets(float).map_err(broken)?;
    spans::check(&histogram, !float).map_err(broken)?;
    Ok(Sample { at_ms, value: Value::Histogram(Arc::new(histogram)) })
}

pub fn write(writer: &mut Writer, histogram: &Histogram, at_ms: i64) {
    let integer = spans::is_integer(histogram);
    if integer {
        writer.uint(1, histogram.count as u64)
    } else {
        writer.double(2, histogram.count)
    }
    writer.double(3, histogram.sum);
    writer.sint(4, i64::from(histogram.schema));
    writer.double(5, histogram.zero_threshold);
    if integer {
        writer.uint(6, histogram.zero_count as u64)
    } else {
        writer.double(7, histogram.zero_count)
    }
    spans::write_side(writer, NEGATIVE, &histogram.negative, integer);
    spans::write_side(writer, POSITIVE, &histogram.positive, integer);
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    writer.uint(14, reset);
    writer.int(15, at_ms);
    writer.packed_doubles(16, &histogram.custom);
}

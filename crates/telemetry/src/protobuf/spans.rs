//! Buckets of native histograms as the messages of Prometheus hold them: spans of neighbours, and the counts in a row, either as
//! floats or as differences to the bucket before. The exposition and remote write number these fields differently.

use super::{Field, Fields, WireError, Writer};
use crate::model::{Bucket, Histogram};

/// Buckets of one side at most: one that has more is no honest histogram.
const BUCKETS: usize = 1 << 16;

const TOO_MANY: &str = "a histogram of too many buckets";

/// One side of a histogram, as it lies in a message.
#[derive(Default)]
pub struct Side {
    /// Distance from the end of the span before (of the first one: from bucket 0), and how many buckets.
    spans: Vec<(i32, u32)>,
    /// Of an integer histogram: how much more than the bucket before.
    deltas: Vec<i64>,
    /// Of a float histogram.
    counts: Vec<f64>,
}

/// The numbers that the fields of one side have in a message.
#[derive(Clone, Copy)]
pub struct SideFields {
    pub spans: u64,
    pub deltas: u64,
    pub counts: u64,
}

impl Side {
    /// Takes a field in, if it is one of this side's.
    pub fn read(&mut self, numbers: SideFields, field: &Field<'_>) -> Result<(), WireError> {
        if field.number == numbers.spans {
            self.spans.push(read_span(field.message()?)?);
        } else if field.length() > 10 * BUCKETS {
            return field.refuse(TOO_MANY);
        } else if field.number == numbers.deltas {
            field.sints(&mut self.deltas)?;
        } else if field.number == numbers.counts {
            field.doubles(&mut self.counts)?;
        }
        let most = self.spans.len().max(self.deltas.len()).max(self.counts.len());
        if most > BUCKETS { field.refuse(TOO_MANY) } else { Ok(()) }
    }

    /// Whether there is a span, be it an empty one: that is how a histogram without observations says that it is native.
    pub fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// The buckets with their counts.
    ///
    /// # Errors
    /// Spans and counts do not fit together, or a count is below 0 or none.
    pub fn buckets(&self, float: bool) -> Result<Vec<Bucket>, &'static str> {
        let wanted: u64 = self.spans.iter().map(|(_, length)| u64::from(*length)).sum();
        let there = if float { self.counts.len() } else { self.deltas.len() };
        if wanted != there as u64 {
            return Err("the spans of a histogram do not cover its buckets");
        }
        let (mut buckets, mut index, mut integer) = (Vec::with_capacity(there), 0i32, 0i64);
        for (number, (offset, length)) in self.spans.iter().enumerate() {
            if number > 0 && *offset < 0 {
                return Err("spans of a histogram overlap");
            }
            index = index.checked_add(*offset).ok_or("a bucket of a histogram is out of range")?;
            for _ in 0..*length {
                let count = if float {
                    self.counts[buckets.len()]
                } else {
                    integer = integer
                        .checked_add(self.deltas[buckets.len()])
                        .ok_or("a bucket of a histogram counts too much")?;
                    integer as f64
                };
                if count.is_nan() || count < 0.0 {
                    return Err("a bucket of a histogram counts less than nothing");
                }
                buckets.push(Bucket { index, count });
                index = index.checked_add(1).ok_or("a bucket of a histogram is out of range")?;
            }
        }
        Ok(buckets)
    }
}

fn read_span(mut fields: Fields<'_>) -> Result<(i32, u32), WireError> {
    let (mut offset, mut length) = (0, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => offset = field.sint32()?,
            2 => length = field.uint32()?,
            _ => {}
        }
    }
    Ok((offset, length))
}

/// Writes one side; `integer`: as differences.
pub fn write_side(writer: &mut Writer, numbers: SideFields, buckets: &[Bucket], integer: bool) {
    for (offset, length) in spans(buckets) {
        writer.message(numbers.spans, |span| {
            span.sint(1, i64::from(offset));
            span.uint(2, u64::from(length));
        });
    }
    if integer {
        let mut before = 0;
        let deltas = buckets.iter().map(|bucket| {
            let count = bucket.count as i64;
            count - std::mem::replace(&mut before, count)
        });
        writer.packed_sints(numbers.deltas, &deltas.collect::<Vec<_>>());
    } else {
        writer.packed_doubles(numbers.counts, &buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>());
    }
}

fn spans(buckets: &[Bucket]) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    // The index behind the last bucket.
    let mut behind = 0i32;
    for bucket in buckets {
        let gap = bucket.index.wrapping_sub(behind);
        match spans.last_mut() {
            Some((_, length)) if gap == 0 => *length += 1,
            _ => spans.push((gap, 1)),
        }
        behind = bucket.index.wrapping_add(1);
    }
    spans
}

/// Whether all of its counts are whole numbers.
pub fn is_integer(histogram: &Histogram) -> bool {
    let buckets = histogram.positive.iter().chain(&histogram.negative).map(|bucket| bucket.count);
    buckets.chain([histogram.count, histogram.zero_count]).all(is_whole)
}

/// Whether a count is a whole number that an `i64` and an `f64` hold exactly.
pub fn is_whole(count: f64) -> bool {
    (0.0..=9_007_199_254_740_992.0).contains(&count) && count.fract() == 0.0
}

/// How much of a limit on samples it takes.
pub fn weight(histogram: &Histogram) -> usize {
    1 + histogram.positive.len() + histogram.negative.len() + histogram.custom.len()
}

/// What Prometheus refuses to store.
///
/// # Errors
/// What is wrong with it.
pub fn check(histogram: &Histogram, integer: bool) -> Result<(), &'static str> {
    let custom = histogram.schema == Histogram::CUSTOM;
    if !custom && !(-4..=8).contains(&histogram.schema) {
        return Err("a histogram of an unknown schema");
    }
    if custom && !histogram.custom.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err("the bounds of a histogram do not ascend");
    }
    let below = |count: f64| count.is_nan() || count < 0.0;
    if below(histogram.count) || below(histogram.zero_count) || below(histogram.zero_threshold) {
        return Err("a histogram counts less than nothing");
    }
    let buckets = histogram.positive.iter().chain(&histogram.negative);
    let total = histogram.zero_count + buckets.map(|bucket| bucket.count).sum::<f64>();
    // NaN is counted and is in no bucket; it makes the sum NaN.
    let apart = total > histogram.count || (total < histogram.count && !histogram.sum.is_nan());
    if integer && apart {
        return Err("the count of a histogram is not that of its buckets");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: SideFields = SideFields { spans: 1, deltas: 2, counts: 3 };

    fn through(buckets: &[Bucket], integer: bool) -> Vec<Bucket> {
        let mut writer = Writer::default();
        write_side(&mut writer, FIELDS, buckets, integer);
        let bytes = writer.finish();
        let (mut fields, mut side) = (Fields::new(&bytes), Side::default());
        while let Some(field) = fields.next().expect("readable") {
            side.read(FIELDS, &field).expect("readable");
        }
        side.buckets(!integer).expect("they fit")
    }

    #[test]
    fn buckets_with_gaps_come_back_in_both_forms() {
        let of = |pairs: &[(i32, f64)]| -> Vec<Bucket> {
            pairs.iter().map(|(index, count)| Bucket { index: *index, count: *count }).collect()
        };
        let whole = of(&[(-7, 3.0), (-6, 1.0), (0, 5.0), (2, 0.0), (1000, 9.0)]);
        assert_eq!(through(&whole, true), whole);
        assert_eq!(through(&whole, false), whole);
        let parts = of(&[(0, 0.5), (1, 1e300)]);
        assert_eq!(through(&parts, false), parts);
        assert_eq!(spans(&whole), [(-7, 2), (5, 1), (1, 1), (997, 1)]);
    }

    #[test]
    fn spans_that_promise_more_than_there_is_are_refused() {
        let side = Side { spans: vec![(0, u32::MAX)], deltas: vec![1], counts: vec![] };
        assert!(side.buckets(false).is_err());
        let overlapping = Side { spans: vec![(0, 2), (-1, 1)], deltas: vec![1, 1, 1], counts: vec![] };
        assert!(overlapping.buckets(false).is_err());
        let far = Side { spans: vec![(i32::MAX, 1)], deltas: vec![1], counts: vec![] };
        assert!(far.buckets(false).is_err());
    }
}

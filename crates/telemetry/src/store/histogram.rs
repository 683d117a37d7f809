//! A native histogram as bytes: after one of the same layout only the differences of the counts.
//!
//! A byte of flags, the layout unless it is that of the histogram before (schema, zero threshold, bucket numbers, bounds of its
//! own), the counts (zero bucket, all, positive, negative) as varints when all are whole numbers, else as floats, then the sum.

use dwcp_types::DecodeError;

use super::bytes::{Bytes, put_f64, put_signed, put_varint};
use crate::model::{Bucket, CounterReset, Histogram, Value};

const SAME_LAYOUT: u8 = 1;
const WHOLE: u8 = 2;
/// The counts are differences to those before.
const DIFFERENCES: u8 = 4;
const RESET_SHIFT: u8 = 4;
const KNOWN_FLAGS: u8 = 0b0011_0111;

const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// Whether two values are the same, bit for bit: NaN is itself, and 0 is not -0.
pub fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        (Value::Histogram(left), Value::Histogram(right)) => {
            left.reset == right.reset
                && left.sum.to_bits() == right.sum.to_bits()
                && same_layout(left, right)
                && counts(left).map(f64::to_bits).eq(counts(right).map(f64::to_bits))
        }
        _ => false,
    }
}

fn same_layout(left: &Histogram, right: &Histogram) -> bool {
    fn same_buckets(left: &[Bucket], right: &[Bucket]) -> bool {
        left.iter().map(|bucket| bucket.index).eq(right.iter().map(|bucket| bucket.index))
    }
    left.schema == right.schema
        && left.zero_threshold.to_bits() == right.zero_threshold.to_bits()
        && same_buckets(&left.positive, &right.positive)
        && same_buckets(&left.negative, &right.negative)
        && left
            .custom
            .iter()
            .map(|bound| bound.to_bits())
            .eq(right.custom.iter().map(|bound| bound.to_bits()))
}

/// Zero bucket, all observations, then the buckets.
fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive.iter().chain(&histogram.negative).map(|bucket| bucket.count);
    [histogram.zero_count, histogram.count].into_iter().chain(buckets)
}

fn all_whole(histogram: &Histogram) -> bool {
    counts(histogram)
        .all(|count| count.abs() <= WHOLE_MAX && (count as i64 as f64).to_bits() == count.to_bits())
}

/// Appends `histogram`; whoever reads it must know `before` too.
pub fn encode(before: Option<&Histogram>, histogram: &Histogram, out: &mut Vec<u8>) {
    let before = before.filter(|before| same_layout(before, histogram));
    let whole = all_whole(histogram);
    let differences = before.filter(|before| whole && all_whole(before));
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    out.push(
        flag(before.is_some(), SAME_LAYOUT)
            | flag(whole, WHOLE)
            | flag(differences.is_some(), DIFFERENCES)
            | reset << RESET_SHIFT,
    );
    if before.is_none() {
        put_layout(histogram, out);
    }
    match differences {
        Some(before) => counts(histogram)
            .zip(counts(before))
            .for_each(|(count, before)| put_signed(out, count as i64 - before as i64)),
        None if whole => counts(histogram).for_each(|count| put_signed(out, count as i64)),
        None => counts(histogram).for_each(|count| put_f64(out, count)),
    }
    put_f64(out, histogram.sum);
}

fn put_layout(histogram: &Histogram, out: &mut Vec<u8>) {
    out.push(histogram.schema as u8);
    put_f64(out, histogram.zero_threshold);
    for buckets in [&histogram.positive, &histogram.negative] {
        put_varint(out, buckets.len() as u64);
        let mut last = 0;
        for bucket in buckets {
            put_signed(out, i64::from(bucket.index) - last);
            last = i64::from(bucket.index);
        }
    }
    put_varint(out, histogram.custom.len() as u64);
    histogram.custom.iter().for_each(|&bound| put_f64(out, bound));
}

/// Reads what [`encode`] wrote after the same `before`.
///
/// # Errors
/// The bytes are none of these.
pub fn decode(before: Option<&Histogram>, bytes: &mut Bytes<'_>) -> Result<Histogram, DecodeError> {
    let flags = bytes.byte()?;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(DecodeError::Invalid("a histogram with unknown flags"));
    }
    let no_before = DecodeError::Invalid("a histogram that continues none");
    let before = if flags & SAME_LAYOUT != 0 { Some(before.ok_or(no_before.clone())?) } else { None };
    let mut histogram = match before {
        Some(before) => before.clone(),
        None => get_layout(bytes)?,
    };
    histogram.reset = match flags >> RESET_SHIFT {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        _ => CounterReset::Gauge,
    };
    let Histogram { zero_count, count, positive, negative, .. } = &mut histogram;
    let buckets = positive.iter_mut().chain(negative.iter_mut()).map(|bucket| &mut bucket.count);
    let all = [zero_count, count].into_iter().chain(buckets);
    if flags & DIFFERENCES != 0 {
        if before.is_none() {
            return Err(no_before);
        }
        for count in all {
            *count = (*count as i64).wrapping_add(bytes.signed()?) as f64;
        }
    } else if flags & WHOLE != 0 {
        for count in all {
            *count = bytes.signed()? as f64;
        }
    } else {
        for count in all {
            *count = bytes.f64()?;
        }
    }
    histogram.sum = bytes.f64()?;
    Ok(histogram)
}

fn get_layout(bytes: &mut Bytes<'_>) -> Result<Histogram, DecodeError> {
    let mut histogram =
        Histogram { schema: bytes.byte()? as i8, zero_threshold: bytes.f64()?, ..Histogram::default() };
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let length = bytes.count()?;
        buckets.reserve_exact(length);
        let mut last = 0i64;
        for _ in 0..length {
            last = last.wrapping_add(bytes.signed()?);
            let index = i32::try_from(last).map_err(|_| DecodeError::Invalid("a bucket over 32 bits"))?;
            buckets.push(Bucket { index, count: 0.0 });
        }
    }
    let length = bytes.count()?;
    for _ in 0..length {
        histogram.custom.push(bytes.f64()?);
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::STALE_BITS;

    fn bucket(index: i32, count: f64) -> Bucket {
        Bucket { index, count }
    }

    #[test]
    fn histograms_are_read_as_written_whatever_came_before() {
        let first = Histogram {
            schema: 3,
            zero_threshold: 1e-128,
            zero_count: 1.0,
            count: 12.0,
            sum: -0.0,
            positive: vec![bucket(i32::MIN, 1.0), bucket(0, 4.0), bucket(i32::MAX, 6.0)],
            negative: vec![bucket(-4, 0.0)],
            ..Histogram::default()
        };
        let more =
            Histogram { count: 13.0, sum: f64::INFINITY, reset: CounterReset::NotReset, ..first.clone() };
        let parts = Histogram { count: 0.1, reset: CounterReset::Gauge, ..first.clone() };
        let stale = Histogram { sum: f64::from_bits(STALE_BITS), ..Histogram::default() };
        let custom = Histogram {
            schema: Histogram::CUSTOM,
            custom: vec![0.1, f64::NAN],
            count: f64::NAN,
            reset: CounterReset::Reset,
            ..Histogram::default()
        };
        let all = [&first, &more, &first, &parts, &more, &stale, &custom, &custom, &first];
        let mut out = Vec::new();
        let mut before = None;
        for histogram in all {
            encode(before, histogram, &mut out);
            before = Some(histogram);
        }
        let mut bytes = Bytes(&out);
        let mut before: Option<Histogram> = None;
        for histogram in all {
            let read = decode(before.as_ref(), &mut bytes).expect("what was written");
            let value = |histogram: &Histogram| Value::Histogram(Arc::new(histogram.clone()));
            assert!(same_value(&value(&read), &value(histogram)), "{read:?} is not {histogram:?}");
            before = Some(read);
        }
        assert_eq!(bytes.end(), Ok(()));
    }
}

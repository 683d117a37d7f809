//! Arithmetic of native histograms.
//!
//! What belongs together is brought to the coarser of two resolutions and the wider of two zero buckets first, as the
//! specification of native histograms has it (prometheus.io/docs/specs/native_histograms).

pub mod quantile;

use std::cmp::Ordering;

use crate::model::{Bucket, CounterReset, Histogram};

/// The upper bound of the bucket `index`, by absolute value.
pub fn upper_bound(schema: i8, index: i32) -> f64 {
    let exponent = f64::from(index) * (-f64::from(schema)).exp2();
    // The last bucket before infinity holds what is still finite.
    if exponent == 1024.0 { f64::MAX } else { exponent.exp2() }
}

/// The sum of two. `None`: their bounds can't be brought together.
pub fn add(left: &Histogram, right: &Histogram) -> Option<Histogram> {
    combine(left, right, 1.0)
}

/// `left - right`. `None`: their bounds can't be brought together.
pub fn subtract(left: &Histogram, right: &Histogram) -> Option<Histogram> {
    let mut result = combine(left, right, -1.0)?;
    result.reset = CounterReset::Gauge;
    Some(result)
}

/// Every count and the sum, times a factor.
pub fn scale(histogram: &Histogram, factor: f64) -> Histogram {
    let mut result = histogram.clone();
    rescale(&mut result, |number| number * factor);
    if factor < 0.0 {
        result.reset = CounterReset::Gauge;
    }
    result
}

/// Every count and the sum, divided. Of a division by zero no bucket is left, as there is none that could be told from others.
pub fn divide(histogram: &Histogram, divisor: f64) -> Histogram {
    let mut result = histogram.clone();
    rescale(&mut result, |number| number / divisor);
    if divisor == 0.0 {
        result.positive.clear();
        result.negative.clear();
    }
    result
}

fn rescale(histogram: &mut Histogram, with: impl Fn(f64) -> f64) {
    for number in [&mut histogram.count, &mut histogram.sum, &mut histogram.zero_count] {
        *number = with(*number);
    }
    for bucket in histogram.positive.iter_mut().chain(&mut histogram.negative) {
        bucket.count = with(bucket.count);
    }
}

fn combine(left: &Histogram, right: &Histogram, sign: f64) -> Option<Histogram> {
    let custom = (left.schema == Histogram::CUSTOM, right.schema == Histogram::CUSTOM);
    if custom.0 != custom.1 || left.custom != right.custom {
        return None;
    }
    let (mut result, mut other) = (left.clone(), right.clone());
    if !custom.0 {
        reconcile_zero(&mut result, &mut other);
        let schema = result.schema.min(other.schema);
        reduce(&mut result, schema);
        reduce(&mut other, schema);
    }
    result.zero_count += sign * other.zero_count;
    result.count += sign * other.count;
    result.sum += sign * other.sum;
    result.positive = merge(&result.positive, &other.positive, sign);
    result.negative = merge(&result.negative, &other.negative, sign);
    result.reset = match (left.reset, right.reset) {
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge) => CounterReset::Gauge,
        (one, two) if one == two => one,
        _ => CounterReset::Unknown,
    };
    Some(result)
}

fn merge(left: &[Bucket], right: &[Bucket], sign: f64) -> Vec<Bucket> {
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return merged,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.index.cmp(&right.index),
        };
        let from_left = if order.is_le() { left.next() } else { None };
        let from_right = if order.is_ge() { right.next() } else { None };
        let Some(index) = from_left.or(from_right).map(|bucket| bucket.index) else { return merged };
        let count = |bucket: Option<&Bucket>| bucket.map_or(0.0, |bucket| bucket.count);
        let count = count(from_left) + sign * count(from_right);
        if count != 0.0 {
            merged.push(Bucket { index, count });
        }
    }
}

/// Brings a histogram to a coarser resolution: two buckets become one with each step.
pub fn reduce(histogram: &mut Histogram, schema: i8) {
    if histogram.schema <= schema || histogram.schema == Histogram::CUSTOM {
        return;
    }
    let steps = u32::from(histogram.schema.abs_diff(schema));
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let mut reduced: Vec<Bucket> = Vec::with_capacity(buckets.len());
        for bucket in &*buckets {
            let index = (((i64::from(bucket.index) - 1) >> steps) + 1) as i32;
            match reduced.last_mut() {
                Some(last) if last.index == index => last.count += bucket.count,
                _ => reduced.push(Bucket { index, count: bucket.count }),
            }
        }
        *buckets = reduced;
    }
    histogram.schema = schema;
}

/// Widens the zero bucket to `threshold`, or further when that would cut a bucket that is not empty.
fn widen_zero(histogram: &mut Histogram, threshold: f64) {
    let schema = histogram.schema;
    let mut threshold = threshold.max(histogram.zero_threshold);
    let cut = |buckets: &[Bucket], threshold: f64| {
        let bounds =
            |bucket: &Bucket| (upper_bound(schema, bucket.index - 1), upper_bound(schema, bucket.index));
        let full = buckets.iter().filter(|bucket| bucket.count != 0.0).map(bounds);
        full.clone().find(|(lower, upper)| *lower < threshold && threshold < *upper).map(|(_, upper)| upper)
    };
    if threshold > histogram.zero_threshold {
        while let Some(upper) =
            cut(&histogram.positive, threshold).or_else(|| cut(&histogram.negative, threshold))
        {
            threshold = upper;
        }
    }
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let inside =
            buckets.iter().take_while(|bucket| upper_bound(schema, bucket.index) <= threshold).count();
        histogram.zero_count += buckets.drain(..inside).map(|bucket| bucket.count).sum::<f64>();
    }
    histogram.zero_threshold = threshold;
}

fn reconcile_zero(left: &mut Histogram, right: &mut Histogram) {
    while left.zero_threshold != right.zero_threshold {
        let (narrow, wide) = if left.zero_threshold < right.zero_threshold {
            (&mut *left, right.zero_threshold)
        } else {
            (&mut *right, left.zero_threshold)
        };
        // NaN compares with nothing, and would never end.
        if wide.is_nan() || narrow.zero_threshold.is_nan() {
            return;
        }
        widen_zero(narrow, wide);
    }
}

/// Whether `now` counts from anew since `before`: something in it is less than it was, or finer.
pub fn is_reset(now: &Histogram, before: &Histogram) -> bool {
    match now.reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if now.count < before.count || now.custom != before.custom {
        return true;
    }
    if now.schema == Histogram::CUSTOM {
        return less(&now.positive, &before.positive);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let mut before = before.clone();
    widen_zero(&mut before, now.zero_threshold);
    if before.zero_threshold != now.zero_threshold || now.zero_count < before.zero_count {
        return true;
    }
    reduce(&mut before, now.schema);
    less(&now.positive, &before.positive) || less(&now.negative, &before.negative)
}

/// Whether a bucket holds less than it did.
fn less(now: &[Bucket], before: &[Bucket]) -> bool {
    let count =
        |index| now.binary_search_by_key(&index, |bucket| bucket.index).map_or(0.0, |at| now[at].count);
    before.iter().any(|bucket| count(bucket.index) < bucket.count)
}

/// Whether two hold the same, empty buckets aside.
pub fn is_equal(left: &Histogram, right: &Histogram) -> bool {
    let same = |one: &[Bucket], two: &[Bucket]| {
        let full = |bucket: &&Bucket| bucket.count != 0.0;
        one.iter().filter(full).eq(two.iter().filter(full))
    };
    let numbers = |h: &Histogram| [h.zero_threshold, h.zero_count, h.count, h.sum].map(f64::to_bits);
    left.schema == right.schema
        && numbers(left) == numbers(right)
        && left.custom == right.custom
        && same(&left.positive, &right.positive)
        && same(&left.negative, &right.negative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets(counts: &[(i32, f64)]) -> Vec<Bucket> {
        counts.iter().map(|&(index, count)| Bucket { index, count }).collect()
    }

    fn histogram(schema: i8, positive: &[(i32, f64)]) -> Histogram {
        let count = positive.iter().map(|(_, count)| count).sum();
        Histogram { schema, count, sum: count, positive: buckets(positive), ..Histogram::default() }
    }

    #[test]
    fn bounds_are_powers_of_the_schema() {
        for (schema, index, bound) in
            [(0, 3, 8.0), (-1, 1, 4.0), (1, 2, 2.0), (3, 8, 2.0), (0, 0, 1.0), (0, -1, 0.5)]
        {
            assert_eq!(upper_bound(schema, index), bound, "{schema} {index}");
        }
        assert_eq!(upper_bound(0, 1024), f64::MAX);
    }

    #[test]
    fn of_two_resolutions_the_coarser_is_the_sum() {
        let fine = histogram(1, &[(1, 1.0), (2, 2.0), (3, 4.0)]);
        let coarse = histogram(0, &[(1, 10.0), (5, 1.0)]);
        let sum = add(&fine, &coarse).expect("a sum");
        assert_eq!(sum.schema, 0);
        assert_eq!(sum.positive, buckets(&[(1, 13.0), (2, 4.0), (5, 1.0)]));
        assert_eq!((sum.count, sum.sum), (18.0, 18.0));
        let back = subtract(&sum, &coarse).expect("a difference");
        assert_eq!(back.positive, buckets(&[(1, 3.0), (2, 4.0)]));
    }

    #[test]
    fn the_zero_bucket_widens_past_a_bucket_it_would_cut() {
        let mut wide = histogram(0, &[(3, 1.0)]);
        wide.zero_threshold = 0.75;
        let narrow = histogram(0, &[(-1, 1.0), (0, 2.0), (1, 4.0)]);
        let sum = add(&wide, &narrow).expect("a sum");
        assert_eq!((sum.zero_threshold, sum.zero_count), (1.0, 3.0));
        assert_eq!(sum.positive, buckets(&[(1, 4.0), (3, 1.0)]));
    }

    #[test]
    fn own_bounds_only_go_with_the_same_ones() {
        let own = |bounds: &[f64]| Histogram {
            schema: Histogram::CUSTOM,
            custom: bounds.to_vec(),
            ..histogram(0, &[(0, 1.0)])
        };
        assert!(add(&own(&[1.0]), &own(&[1.0])).is_some());
        assert!(add(&own(&[1.0]), &own(&[2.0])).is_none());
        assert!(add(&own(&[1.0]), &histogram(0, &[])).is_none());
    }

    #[test]
    fn a_reset_shows_in_any_bucket_and_in_a_finer_resolution() {
        let before = histogram(0, &[(1, 1.0), (2, 2.0)]);
        assert!(!is_reset(&histogram(0, &[(1, 1.0), (2, 3.0)]), &before));
        assert!(is_reset(&histogram(0, &[(1, 0.0), (2, 9.0)]), &before));
        assert!(is_reset(&histogram(1, &[(1, 9.0), (3, 9.0)]), &before));
        assert!(!is_reset(&histogram(-1, &[(1, 3.0)]), &before));
        let told = Histogram { reset: CounterReset::Reset, ..histogram(0, &[(1, 9.0), (2, 9.0)]) };
        assert!(is_reset(&told, &before));
    }

    fn any_histogram() -> impl Strategy<Value = Histogram> {
        let buckets = prop::collection::btree_map(-20..20i32, 1..100u8, 0..8);
        (-2..4i8, buckets.clone(), buckets, 0..3usize).prop_map(|(schema, positive, negative, zero)| {
            let list = |map: std::collections::BTreeMap<i32, u8>| -> Vec<Bucket> {
                map.into_iter().map(|(index, count)| Bucket { index, count: f64::from(count) }).collect()
            };
            let mut made = Histogram {
                schema,
                positive: list(positive),
                negative: list(negative),
                ..Histogram::default()
            };
            // Nothing may lie in the zero bucket and in another one.
            widen_zero(&mut made, [0.0, 0.001, 0.1][zero]);
            made.count =
                made.zero_count + made.positive.iter().chain(&made.negative).map(|b| b.count).sum::<f64>();
            made
        })
    }

    proptest! {
        #[test]
        fn a_sum_holds_every_observation_and_does_not_depend_on_the_order(one in any_histogram(), two in any_histogram()) {
            let sum = add(&one, &two).expect("a sum");
            let held = sum.zero_count + sum.positive.iter().chain(&sum.negative).map(|b| b.count).sum::<f64>();
            prop_assert_eq!(held, one.count + two.count);
            prop_assert!(is_equal(&sum, &add(&two, &one).expect("a sum")));
            prop_assert!(!is_reset(&sum, &one) && !is_reset(&sum, &two));
        }
    }
}

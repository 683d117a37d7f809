//! What a histogram says of the values observed: quantiles, shares, deviation.

use crate::model::Histogram;
use crate::promql::Dialect;

use super::upper_bound;

/// A bucket by its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

/// All buckets that are not empty, in ascending order of their bounds.
pub fn ranges(histogram: &Histogram) -> Vec<Range> {
    if histogram.schema == Histogram::CUSTOM {
        let bound = |index: i64| match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(index) => histogram.custom.get(index).copied().unwrap_or(f64::INFINITY),
        };
        let range = |bucket: &crate::model::Bucket| Range {
            lower: bound(i64::from(bucket.index) - 1),
            upper: bound(i64::from(bucket.index)),
            count: bucket.count,
        };
        return histogram.positive.iter().map(range).filter(|range| range.count != 0.0).collect();
    }
    let range = |bucket: &crate::model::Bucket| Range {
        // What is near zero lies in the zero bucket, even in the middle of another one.
        lower: upper_bound(histogram.schema, bucket.index.saturating_sub(1)).max(histogram.zero_threshold),
        upper: upper_bound(histogram.schema, bucket.index),
        count: bucket.count,
    };
    let below = histogram.negative.iter().rev().map(range);
    let below = below.map(|r| Range { lower: -r.upper, upper: -r.lower, count: r.count });
    let zero = Range {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        count: histogram.zero_count,
    };
    let all = below.chain([zero]).chain(histogram.positive.iter().map(range));
    all.filter(|range| range.count != 0.0).collect()
}

/// The zero bucket reaches only to that side of 0 on which there is anything else; and the lowest of own bounds begins at 0.
fn clipped(histogram: &Histogram, mut range: Range) -> Range {
    if histogram.schema == Histogram::CUSTOM {
        if range.lower == f64::NEG_INFINITY {
            range.lower = if range.upper > 0.0 { 0.0 } else { range.upper };
        }
        if range.upper == f64::INFINITY {
            range.upper = range.lower;
        }
    } else if range.lower < 0.0 && range.upper > 0.0 {
        if histogram.negative.is_empty() && !histogram.positive.is_empty() {
            range.lower = 0.0;
        } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
            range.upper = 0.0;
        }
    }
    range
}

/// Whether values are taken to lie evenly in a bucket, instead of evenly in their logarithm.
fn is_linear(histogram: &Histogram, range: Range, dialect: Dialect) -> bool {
    let across_zero = range.lower <= 0.0 && range.upper >= 0.0;
    dialect == Dialect::Prometheus2 || histogram.schema == Histogram::CUSTOM || across_zero
}

/// The quantile `q`: -Inf for `q < 0`, +Inf for `q > 1`, NaN when nothing was observed.
pub fn quantile(q: f64, histogram: &Histogram, dialect: Dialect) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    let ranges = ranges(histogram);
    // From the end that is nearer, as version 3 does: where a rank falls between two buckets, that decides which is taken.
    let from_above = dialect == Dialect::Prometheus3 && q >= 0.5 && !histogram.sum.is_nan();
    let rank = if from_above { 1.0 - q } else { q } * histogram.count;
    let (mut passed, mut found) = (0.0, None);
    let mut ordered: Box<dyn Iterator<Item = &Range>> = Box::new(ranges.iter());
    if from_above {
        ordered = Box::new(ranges.iter().rev());
    }
    for range in ordered {
        found = Some(*range);
        passed += range.count;
        if passed >= rank {
            break;
        }
    }
    let Some(range) = found else { return f64::NAN };
    let range = clipped(histogram, range);
    let passed = f64::min(passed, histogram.count);
    if passed < rank {
        // What is in no bucket is NaN.
        return if dialect == Dialect::Prometheus3 && histogram.sum.is_nan() {
            f64::NAN
        } else {
            range.upper
        };
    }
    let share = (rank - (passed - range.count)) / range.count;
    let share = if from_above { 1.0 - share } else { share };
    if is_linear(histogram, range, dialect) {
        return range.lower + (range.upper - range.lower) * share;
    }
    let (lower, upper) = (range.lower.abs().log2(), range.upper.abs().log2());
    if range.lower > 0.0 {
        return (lower + (upper - lower) * share).exp2();
    }
    -(upper + (lower - upper) * (1.0 - share)).exp2()
}

/// Which share of the observations lies between two values. NaN when nothing was observed or a bound is NaN.
pub fn fraction(lower: f64, upper: f64, histogram: &Histogram, dialect: Dialect) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank(upper, histogram, dialect) - rank(lower, histogram, dialect)) / histogram.count
}

/// How many observations lie below a value.
fn rank(value: f64, histogram: &Histogram, dialect: Dialect) -> f64 {
    let mut below = 0.0;
    for range in ranges(histogram) {
        let clip = clipped(histogram, range);
        if value >= range.upper || value >= clip.upper && clip.upper > clip.lower {
            below += range.count;
            continue;
        }
        if value <= clip.lower {
            break;
        }
        let share = if is_linear(histogram, clip, dialect) {
            (value - clip.lower) / (clip.upper - clip.lower)
        } else {
            let log = |number: f64| number.abs().log2();
            (log(value) - log(clip.lower)) / (log(clip.upper) - log(clip.lower))
        };
        below += range.count * share.clamp(0.0, 1.0);
        break;
    }
    below.min(histogram.count)
}

/// The variance of the observations, each taken to be in the middle of its bucket. NaN when nothing was observed.
pub fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = super::super::sum::Sum::default();
    for range in ranges(histogram) {
        let range = if histogram.schema == Histogram::CUSTOM { clipped(histogram, range) } else { range };
        let middle = if range.lower <= 0.0 && range.upper >= 0.0 && histogram.schema != Histogram::CUSTOM {
            0.0
        } else if histogram.schema == Histogram::CUSTOM {
            (range.lower + range.upper) / 2.0
        } else {
            (range.lower * range.upper).sqrt().copysign(range.upper)
        };
        squares.add(range.count * (middle - mean).powi(2));
    }
    squares.value() / histogram.count
}

/// The quantile `q` of classic buckets: upper bounds with the count of everything up to there. NaN without a bucket up to +Inf,
/// with that one alone, or when nothing was observed.
pub fn classic(q: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    tidy(buckets);
    let last = buckets.len().saturating_sub(1);
    if buckets.len() < 2 || buckets[last].0 != f64::INFINITY || buckets[last].1 == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * buckets[last].1;
    let found = buckets[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
    let (upper, mut count) = buckets[found];
    if found == last {
        return buckets[last - 1].0;
    }
    if found == 0 && upper <= 0.0 {
        return upper;
    }
    let mut lower = 0.0;
    if found > 0 {
        lower = buckets[found - 1].0;
        count -= buckets[found - 1].1;
        rank -= buckets[found - 1].1;
    }
    lower + (upper - lower) * (rank / count)
}

/// Which share of the observations of classic buckets lies between two values.
pub fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    tidy(buckets);
    let count = match buckets.last() {
        Some((bound, count)) if *bound == f64::INFINITY => *count,
        _ => return f64::NAN,
    };
    if count == 0.0 || buckets.len() < 2 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| {
        let mut before = (if buckets[0].0 > 0.0 { 0.0 } else { f64::NEG_INFINITY }, 0.0);
        for &(bound, count) in buckets.iter() {
            if value < bound {
                let share = (value - before.0) / (bound - before.0);
                let share =
                    if before.0.is_finite() && bound.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
                return before.1 + (count - before.1) * share;
            }
            before = (bound, count);
        }
        count
    };
    (rank(upper) - rank(lower)) / count
}

/// Sorted by bounds, each once, and never falling: scrapes that see half of an update make them fall.
fn tidy(buckets: &mut Vec<(f64, f64)>) {
    buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
    buckets.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 += later.1;
        }
        same
    });
    let mut most = f64::NEG_INFINITY;
    for (_, count) in buckets {
        most = most.max(*count);
        *count = most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bucket;

    fn histogram(positive: &[(i32, f64)]) -> Histogram {
        let positive: Vec<_> = positive.iter().map(|&(index, count)| Bucket { index, count }).collect();
        let count = positive.iter().map(|bucket| bucket.count).sum();
        Histogram { count, sum: count, positive, ..Histogram::default() }
    }

    #[test]
    fn a_quantile_lies_evenly_in_the_logarithm_of_its_bucket() {
        let one = histogram(&[(1, 2.0), (2, 2.0)]);
        let root = 2f64.sqrt();
        assert!((quantile(0.25, &one, Dialect::Prometheus3) - root).abs() < 1e-12);
        assert!((quantile(0.75, &one, Dialect::Prometheus3) - 2.0 * root).abs() < 1e-12);
        assert_eq!(quantile(0.25, &one, Dialect::Prometheus2), 1.5);
        assert_eq!(quantile(1.0, &one, Dialect::Prometheus3), 4.0);
        assert!(quantile(0.5, &Histogram::default(), Dialect::Prometheus3).is_nan());
    }

    #[test]
    fn a_share_is_what_a_quantile_is_the_inverse_of() {
        let one = histogram(&[(1, 2.0), (2, 2.0), (5, 4.0)]);
        for dialect in [Dialect::Prometheus2, Dialect::Prometheus3] {
            for q in [0.1, 0.25, 0.4, 0.6, 0.9] {
                let value = quantile(q, &one, dialect);
                assert!((fraction(0.0, value, &one, dialect) - q).abs() < 1e-12, "{q}");
            }
        }
        assert_eq!(fraction(2.0, 1.0, &one, Dialect::Prometheus3), 0.0);
    }

    #[test]
    fn the_deviation_of_one_bucket_is_that_of_its_middle_from_the_mean() {
        let mut one = histogram(&[(1, 4.0)]);
        one.sum = 4.0 * 2f64.sqrt();
        assert!(variance(&one).abs() < 1e-12);
    }

    #[test]
    fn classic_buckets_need_one_up_to_infinity() {
        let quantile = |q, buckets: &[(f64, f64)]| classic(q, &mut buckets.to_vec());
        assert_eq!(quantile(0.5, &[(1.0, 2.0), (2.0, 4.0), (f64::INFINITY, 4.0)]), 1.0);
        assert_eq!(quantile(0.75, &[(f64::INFINITY, 4.0), (2.0, 4.0), (1.0, 2.0)]), 1.5);
        assert_eq!(quantile(0.9, &[(1.0, 2.0), (f64::INFINITY, 4.0)]), 1.0);
        assert!(quantile(0.5, &[(1.0, 2.0), (2.0, 4.0)]).is_nan());
        assert!(quantile(0.5, &[(f64::INFINITY, 4.0)]).is_nan());
    }

    #[test]
    fn a_bucket_that_counts_less_than_the_one_below_counts_as_much() {
        let mut fallen = vec![(1.0, 3.0), (2.0, 1.0), (f64::INFINITY, 4.0)];
        assert_eq!(classic(0.75, &mut fallen), 1.0);
    }
}

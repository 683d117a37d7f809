//! A native histogram as it grows: exponential buckets that are only there where something was observed.
//!
//! Buckets are those of Prometheus (*Native histograms*, specification): with schema s, bucket i ends at `2^(i * 2^-s)`. When there
//! would be too many of them, pairs of neighbours become one, which halves the resolution and loses nothing else.

use std::sync::{Arc, LazyLock};

use crate::exposition::Observed;
use crate::model::{Bucket, CounterReset, Histogram};

/// The resolution in the beginning: a bucket ends 9 % above the one before.
const SCHEMA: i8 = 3;
/// The coarsest one: a bucket ends at 65,536 times the one before.
const COARSEST: i8 = -4;
/// Buckets at most, of both signs together.
const BUCKETS: usize = 160;
/// What is at most so far from 0 counts as 0: 2^-128, as the client libraries of Prometheus have it. Prometheus 2.42
/// takes a histogram without it for a classic one until something was observed.
pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Where the buckets of [`SCHEMA`] end between 0.5 and 1.
static BOUNDS: LazyLock<[f64; 1 << SCHEMA]> =
    LazyLock::new(|| std::array::from_fn(|place| (place as f64 / f64::from(1 << SCHEMA) - 1.0).exp2()));

/// Observations of one kind, in exponential buckets and in classic ones.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// How often the resolution was halved.
    halved: u8,
    count: u64,
    zero_count: u64,
    sum: f64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
    /// Upper bounds of the classic buckets.
    bounds: Arc<[f64]>,
    /// Observations in each of them, and above all.
    classic: Box<[u64]>,
}

impl Distribution {
    /// An empty one. `bounds`: upper bounds of classic buckets, in any order; none if there is no old scraper to care for.
    pub fn new(bounds: &[f64]) -> Distribution {
        let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        Distribution {
            halved: 0,
            count: 0,
            zero_count: 0,
            sum: 0.0,
            positive: Vec::new(),
            negative: Vec::new(),
            classic: vec![0; bounds.len() + 1].into(),
            bounds: bounds.into(),
        }
    }

    /// One more observation. One that is no number is counted, makes the sum none either, and is in no bucket.
    pub fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if value.is_nan() {
            return;
        }
        self.classic[self.bounds.partition_point(|bound| *bound < value)] += 1;
        if value.abs() <= ZERO_THRESHOLD {
            self.zero_count += 1;
            return;
        }
        let (index, halved) = (index(value.abs()), self.halved);
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        let index = coarser(index, halved);
        match side.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => side[at].1 += 1,
            Err(at) => {
                side.insert(at, (index, 1));
                self.keep_within(BUCKETS);
            }
        }
    }

    fn keep_within(&mut self, buckets: usize) {
        while self.positive.len() + self.negative.len() > buckets && self.schema() > COARSEST {
            halve(&mut self.positive);
            halve(&mut self.negative);
            self.halved += 1;
        }
    }

    fn schema(&self) -> i8 {
        SCHEMA - self.halved as i8
    }

    /// What was observed so far.
    pub fn observed(&self) -> Observed {
        let mut below = 0;
        let classic = self.bounds.iter().zip(&self.classic).map(|(bound, count)| {
            below += count;
            (*bound, below as f64)
        });
        Observed {
            count: self.count as f64,
            sum: self.sum,
            classic: classic.collect(),
            native: Some(Histogram {
                reset: CounterReset::Unknown,
                schema: self.schema(),
                zero_threshold: ZERO_THRESHOLD,
                zero_count: self.zero_count as f64,
                count: self.count as f64,
                sum: self.sum,
                positive: buckets(&self.positive),
                negative: buckets(&self.negative),
                custom: Vec::new(),
            }),
        }
    }
}

fn buckets(side: &[(i32, u64)]) -> Vec<Bucket> {
    side.iter().map(|(index, count)| Bucket { index: *index, count: *count as f64 }).collect()
}

/// The bucket of a value above 0 in [`SCHEMA`].
fn index(value: f64) -> i32 {
    if value.is_infinite() {
        // Behind that of the largest number.
        return index(f64::MAX) + 1;
    }
    let (fraction, exponent) = split(value);
    let within = BOUNDS.partition_point(|bound| *bound < fraction) as i32;
    ((exponent - 1) << SCHEMA) + within
}

/// A value above 0 as a fraction of at least 0.5 and below 1, times a power of 2.
fn split(value: f64) -> (f64, i32) {
    // Subnormal numbers have no leading 1 of their own.
    let (value, shift) = if value < f64::MIN_POSITIVE { (value * 2f64.powi(64), 64) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1022 - shift;
    (f64::from_bits(bits & ((1 << 52) - 1) | 1022 << 52), exponent)
}

/// The bucket that holds this one after so many halvings.
fn coarser(index: i32, halvings: u8) -> i32 {
    (index + (1 << halvings) - 1) >> halvings
}

fn halve(side: &mut Vec<(i32, u64)>) {
    for bucket in side.iter_mut() {
        bucket.0 = coarser(bucket.0, 1);
    }
    side.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(distribution: &Distribution) -> Histogram {
        distribution.observed().native.expect("it is native")
    }

    #[test]
    fn a_bucket_ends_where_its_power_says_and_holds_that_too() {
        // (value, bucket of schema 3)
        let cases = [
            (1.0, 0),
            (1.000_001, 1),
            (2.0, 8),
            (2.000_001, 9),
            (0.5, -8),
            (1.9, 8),
            (1.05, 1),
            (4096.0, 96),
            (f64::MAX, 8192),
            (f64::INFINITY, 8193),
            (f64::MIN_POSITIVE, -8176),
            (f64::from_bits(1), -8592),
        ];
        for (value, wanted) in cases {
            assert_eq!(index(value), wanted, "{value}");
        }
        for bucket in -2000..2000 {
            let end = (f64::from(bucket) / 8.0).exp2();
            assert_eq!(index(end * (1.0 + 1e-12)), bucket + 1, "above the end of {bucket}");
            assert_eq!(index(end * (1.0 - 1e-12)), bucket, "below the end of {bucket}");
        }
    }

    #[test]
    fn every_observation_is_in_its_place() {
        let mut waits = Distribution::new(&[1.0, 0.1]);
        for value in [0.0, 1e-50, 0.1, 0.5, 1.0, 3.0, -2.0, f64::NAN] {
            waits.observe(value);
        }
        let seen = waits.observed();
        assert_eq!((seen.count, &*seen.classic), (8.0, &[(0.1, 4.0), (1.0, 6.0)][..]));
        assert!(seen.sum.is_nan());
        let native = native(&waits);
        assert_eq!((native.schema, native.zero_count, native.count), (3, 2.0, 8.0));
        let indexes = |side: &[Bucket]| side.iter().map(|bucket| bucket.index).collect::<Vec<_>>();
        assert_eq!(indexes(&native.positive), [-26, -8, 0, 13]);
        assert_eq!(indexes(&native.negative), [8]);
    }

    #[test]
    fn resolution_is_halved_when_there_are_too_many_buckets_and_no_observation_is_lost() {
        let (mut waits, mut number) = (Distribution::new(&[]), 0);
        for place in 0..4000 {
            let value = (f64::from(place) / 100.0 - 20.0).exp2();
            waits.observe(value);
            waits.observe(-value * 3.0);
            number += 2;
            let native = native(&waits);
            assert!(native.positive.len() + native.negative.len() <= BUCKETS);
        }
        let native = native(&waits);
        assert_eq!(native.schema, 0, "2 * 41 powers of 2");
        let sides = native.positive.iter().chain(&native.negative);
        assert_eq!(sides.map(|bucket| bucket.count).sum::<f64>(), f64::from(number));
        // As if it had been observed with that resolution from the beginning.
        assert_eq!(native.positive[0].index, -20);
        assert_eq!(native.positive[1], Bucket { index: -19, count: 100.0 });
    }

    #[test]
    fn the_coarsest_resolution_holds_every_number() {
        let mut waits = Distribution::new(&[]);
        for exponent in -1022..1024 {
            waits.observe(f64::from(exponent).exp2());
            waits.observe(-f64::from(exponent).exp2());
        }
        let native = native(&waits);
        assert!(native.schema >= COARSEST, "{}", native.schema);
        let total: f64 = native.positive.iter().chain(&native.negative).map(|bucket| bucket.count).sum();
        assert_eq!(total + native.zero_count, 2.0 * 2046.0);
    }
}

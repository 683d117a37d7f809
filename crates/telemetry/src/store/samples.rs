//! Samples that codecs are tested with.

use std::sync::Arc;

use super::histogram::same_value;
use crate::model::{Bucket, Histogram, STALE_BITS, Sample, Value};

/// Whether both are the same, bit for bit.
pub fn same_samples(left: &[Sample], right: &[Sample]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.at_ms == right.at_ms && same_value(&left.value, &right.value))
}

/// Every kind of value beside every other, from the first moment there is to the last.
pub fn edge_samples() -> Vec<Sample> {
    let histogram = |count: f64, sum: f64| {
        let positive = vec![Bucket { index: -2, count }, Bucket { index: 7, count: 1.0 }];
        Value::Histogram(Arc::new(Histogram {
            schema: 1,
            count: count + 1.0,
            sum,
            positive,
            ..Histogram::default()
        }))
    };
    let floats = [
        0.0,
        -0.0,
        1.0,
        1.0,
        1e15,
        0.1,
        0.12,
        1e15,
        f64::NAN,
        f64::from_bits(STALE_BITS),
        5.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1.0 / 3.0,
        9.1e15,
        -9.1e15,
        100.0,
        3.0,
    ];
    let mut values: Vec<Value> = floats.into_iter().map(Value::Float).collect();
    values.extend([
        histogram(3.0, 1.5),
        histogram(4.0, 2.5),
        Value::Float(2.5),
        histogram(4.5, f64::from_bits(STALE_BITS)),
    ]);
    values.extend([Value::Float(0.0), Value::Float(0.0), histogram(1.0, 0.0), Value::stale()]);
    let mut times = vec![i64::MIN, i64::MIN + 1, -1, 0];
    times.extend((1..values.len() as i64 - 4).map(|n| n * 15_000 + (n % 3) * 40_000));
    times.push(i64::MAX);
    assert_eq!(times.len(), values.len());
    times.into_iter().zip(values).map(|(at_ms, value)| Sample { at_ms, value }).collect()
}

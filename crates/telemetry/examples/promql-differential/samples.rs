//! The samples that are compared: two hours of what a federation measures, with everything that goes wrong.

use std::sync::Arc;

use dwcp_telemetry::model::{Bucket, CounterReset, Histogram, Labels, Sample, Series, Value};
use dwcp_types::Rng;

/// 2023-11-14 22:13:20 UTC.
pub const START_MS: i64 = 1_700_000_000_000;
pub const END_MS: i64 = START_MS + 7_200_000;
const STEP_MS: i64 = 15_000;
const REGIONS: [&str; 3] = ["ap-south-1", "eu-west-1", "us-east-1"];
const HOSTS: [&str; 3] = ["host1", "host2", "host10"];
const BOUNDS: [(&str, f64); 6] =
    [("0.01", 0.01), ("0.1", 0.1), ("0.5", 0.5), ("1", 1.0), ("5", 5.0), ("+Inf", f64::INFINITY)];

/// What a series is called, and its values by the number of their step.
type Special = (&'static str, fn(i64) -> f64);

/// All series, in no order.
pub fn series(rng: &mut Rng) -> Vec<Series> {
    let mut all = Vec::new();
    for region in REGIONS {
        for host in HOSTS {
            let of = |name: &str, more: &[(&str, &str)]| {
                let pairs = [("__name__", name), ("region", region), ("host", host)];
                Labels::new(pairs.iter().chain(more).map(|(name, value)| (*name, *value)))
            };
            all.push(gauge(rng, of("temperature", &[]), 20.0, 2.0));
            all.push(gauge(rng, of("load", &[]), 0.0, 0.3));
            for code in ["200", "404", "500"] {
                all.push(counter(rng, of("requests_total", &[("code", code)])));
            }
            all.push(steps(rng, of("queue_length", &[])));
            let version = ["1.0", "1.1", "2.0"][rng.below(3) as usize];
            let version = of("build_info", &[("version", version), ("arch", "x86")]);
            all.push(Series { samples: every(|_| Some(1.0)), labels: version });
            all.extend(buckets(rng, &of("latency_seconds", &[])));
        }
        let of = |name: &str| Labels::new([("__name__", name), ("region", region)]);
        all.push(Series { samples: every(|at| (at % 20 == 3).then_some(at as f64)), labels: of("sparse") });
        all.push(Series { samples: every(|at| Some(1.6e9 + at as f64 * 1e6)), labels: of("moment_seconds") });
        all.push(native(rng, of("native_seconds"), true));
        all.push(native(rng, of("native_gauge"), false));
    }
    let special: [Special; 7] = [
        ("nan", |_| f64::NAN),
        ("sometimes_nan", |at| if at % 3 == 0 { f64::NAN } else { at as f64 }),
        ("infinite", |at| if at % 5 == 0 { f64::INFINITY } else { 1.0 }),
        ("negative_infinite", |_| f64::NEG_INFINITY),
        ("zero", |_| 0.0),
        ("large", |at| 1e18 + at as f64),
        ("tiny", |at| 1e-9 * at as f64),
    ];
    for (kind, value) in special {
        let labels = Labels::new([("__name__", "special"), ("kind", kind)]);
        all.push(Series { labels, samples: every(|at| Some(value(at))) });
    }
    all
}

/// A sample for each step that has one; never at a full second, so that no range begins just there.
fn every(mut value: impl FnMut(i64) -> Option<f64>) -> Vec<Sample> {
    every_value(|at| value(at).map(Value::Float))
}

fn every_value(mut value: impl FnMut(i64) -> Option<Value>) -> Vec<Sample> {
    let sample = |at: i64| Some(Sample { at_ms: START_MS + at * STEP_MS + 7, value: value(at)? });
    (0..(END_MS - START_MS) / STEP_MS).filter_map(sample).collect()
}

fn unit(rng: &mut Rng) -> f64 {
    rng.below(1 << 52) as f64 / (1u64 << 52) as f64
}

/// Samples that are missing now and then, and a series that ends and comes again.
fn with_holes(rng: &mut Rng, mut samples: Vec<Sample>) -> Vec<Sample> {
    for sample in &mut samples {
        sample.at_ms += rng.below(2000) as i64;
    }
    if rng.chance(1, 3) {
        let from = rng.below(samples.len() as u64 / 2) as usize;
        let to = from + 10 + rng.below(60) as usize;
        samples[from].value = Value::stale();
        samples.drain(from + 1..to);
    }
    if rng.chance(1, 4) {
        samples.drain(..rng.below(200) as usize);
    }
    samples.retain(|sample| sample.value.is_stale() || !rng.chance(1, 20));
    samples
}

fn gauge(rng: &mut Rng, labels: Labels, from: f64, by: f64) -> Series {
    let mut now = from + unit(rng);
    let samples = every(|_| {
        now += (unit(rng) - 0.5) * by;
        Some(now)
    });
    Series { labels, samples: with_holes(rng, samples) }
}

fn counter(rng: &mut Rng, labels: Labels) -> Series {
    let (mut now, speed) = (rng.below(1000) as f64, 1 + rng.below(50));
    let samples = every(|_| {
        now += rng.below(speed) as f64;
        if rng.chance(1, 100) {
            now = rng.below(10) as f64;
        }
        Some(now)
    });
    Series { labels, samples: with_holes(rng, samples) }
}

fn steps(rng: &mut Rng, labels: Labels) -> Series {
    let mut now = 3.0;
    let samples = every(|_| {
        if rng.chance(1, 4) {
            now = rng.below(8) as f64;
        }
        Some(now)
    });
    Series { labels, samples: with_holes(rng, samples) }
}

/// A classic histogram: buckets, count and sum.
fn buckets(rng: &mut Rng, labels: &Labels) -> Vec<Series> {
    let named = |suffix: &str| labels.with("__name__", &format!("latency_seconds{suffix}"));
    let mut all: Vec<Series> = BOUNDS
        .iter()
        .map(|(text, _)| Series { labels: named("_bucket").with("le", text), samples: Vec::new() })
        .collect();
    let (mut counts, mut sum, mut sums) = ([0.0; 6], 0.0, Vec::new());
    let samples = every(|_| {
        for _ in 0..rng.below(6) {
            let value = unit(rng).powi(3) * 8.0;
            sum += value;
            for (count, (_, bound)) in counts.iter_mut().zip(BOUNDS) {
                *count += f64::from(u8::from(value <= bound));
            }
        }
        sums.push((counts, sum));
        Some(sum)
    });
    for (number, series) in all.iter_mut().enumerate() {
        let count = |(sample, (counts, _)): (&Sample, &([f64; 6], f64))| Sample {
            at_ms: sample.at_ms,
            value: Value::Float(counts[number]),
        };
        series.samples = samples.iter().zip(&sums).map(count).collect();
    }
    let counts = all[5].samples.clone();
    all.push(Series { labels: named("_sum"), samples });
    all.push(Series { labels: named("_count"), samples: counts });
    all
}

fn native(rng: &mut Rng, labels: Labels, counter: bool) -> Series {
    let schema = rng.below(4) as i8;
    let empty = Histogram { schema, zero_threshold: 0.001, ..Histogram::default() };
    let mut now = empty.clone();
    if !counter {
        now.reset = CounterReset::Gauge;
    }
    let samples = every_value(|_| {
        if counter && rng.chance(1, 120) {
            now = empty.clone();
        }
        for _ in 0..1 + rng.below(6) {
            observe(&mut now, unit(rng).powi(2) * 12.0 - 1.0);
        }
        Some(Value::Histogram(Arc::new(now.clone())))
    });
    Series { labels, samples }
}

fn observe(histogram: &mut Histogram, value: f64) {
    histogram.count += 1.0;
    histogram.sum += value;
    if value.abs() <= histogram.zero_threshold {
        histogram.zero_count += 1.0;
        return;
    }
    let index = (value.abs().log2() * f64::from(histogram.schema).exp2()).ceil() as i32;
    let side = if value > 0.0 { &mut histogram.positive } else { &mut histogram.negative };
    match side.binary_search_by_key(&index, |bucket| bucket.index) {
        Ok(at) => side[at].count += 1.0,
        Err(at) => side.insert(at, Bucket { index, count: 1.0 }),
    }
}

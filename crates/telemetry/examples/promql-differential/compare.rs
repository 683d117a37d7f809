//! Whether two answers are the same but for rounding.

use std::collections::BTreeMap;

use dwcp_telemetry::model::{Labels, Sample, Series, Value};
use serde_json::Value as Json;

use crate::Answer;

/// What a comparison found.
pub enum Outcome {
    Equal {
        empty: bool,
    },
    /// Neither gives an answer.
    Refused,
    Different(String),
}

/// Whether 2.42 is asked for each step by itself: over a range it moves what `@` holds in place when the function depends on the
/// step's own moment, but has read the samples of the first step only, and answers the first steps (later versions hold it).
pub fn is_asked_by_step(text: &str) -> bool {
    text.contains("predict_linear(") && text.contains(" @ ")
}

/// One answer of those of the steps.
pub fn joined(steps: Vec<Answer>) -> Answer {
    let mut all: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for step in steps {
        for series in step? {
            all.entry(series.labels).or_default().extend(series.samples);
        }
    }
    Ok(all.into_iter().map(|(labels, samples)| Series { labels, samples }).collect())
}

/// Numbers may differ by so much of the larger one, or so much at all where differences of large numbers are small.
const RELATIVE: f64 = 1e-9;
const ABSOLUTE: f64 = 1e-9;

pub fn single(at_ms: i64, number: f64) -> Series {
    one(Labels::default(), at_ms, Value::Float(number))
}

pub fn one(labels: Labels, at_ms: i64, value: Value) -> Series {
    Series { labels, samples: vec![Sample { at_ms, value }] }
}

/// What is compared of a sample.
#[derive(Debug, PartialEq)]
enum Shown {
    Number(f64),
    /// Count, sum, and the bounds and counts of the buckets that are not empty.
    Histogram(Vec<f64>),
}

/// An answer of the API, in our model; a histogram is kept as its numbers.
pub fn read(json: &Json) -> Answer {
    if json["status"] != "success" {
        return Err(json["error"].as_str().unwrap_or("no reason").to_owned());
    }
    let result = &json["data"]["result"];
    match json["data"]["resultType"].as_str() {
        Some("scalar") => Ok(read_sample(result, false)
            .into_iter()
            .map(|s| Series { samples: vec![s], ..Series::default() })
            .collect()),
        Some("string") => Ok(Vec::new()),
        _ => Ok(result.as_array().into_iter().flatten().map(read_series).collect()),
    }
}

fn read_series(json: &Json) -> Series {
    let pairs = json["metric"].as_object().into_iter().flatten();
    let labels = Labels::new(pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))));
    let many = |name: &str| json[name].as_array().into_iter().flatten();
    let mut samples: Vec<Sample> = many("values").filter_map(|pair| read_sample(pair, false)).collect();
    samples.extend(many("histograms").filter_map(|pair| read_sample(pair, true)));
    samples.extend(read_sample(&json["value"], false));
    samples.extend(read_sample(&json["histogram"], true));
    samples.sort_by_key(|sample| sample.at_ms);
    Series { labels, samples }
}

fn read_number(json: &Json) -> Option<f64> {
    json.as_str()?.parse().ok()
}

fn read_sample(pair: &Json, histogram: bool) -> Option<Sample> {
    let at_ms = (pair[0].as_f64()? * 1000.0).round() as i64;
    let value = if histogram { read_histogram(&pair[1])? } else { Value::Float(read_number(&pair[1])?) };
    Some(Sample { at_ms, value })
}

/// A histogram with own bounds that has the numbers of the answer: its bounds are both of each bucket.
fn read_histogram(json: &Json) -> Option<Value> {
    let mut made = dwcp_telemetry::Histogram {
        count: read_number(&json["count"])?,
        sum: read_number(&json["sum"])?,
        schema: dwcp_telemetry::Histogram::CUSTOM,
        ..dwcp_telemetry::Histogram::default()
    };
    for bucket in json["buckets"].as_array().into_iter().flatten() {
        made.custom.extend([read_number(&bucket[1])?, read_number(&bucket[2])?, read_number(&bucket[3])?]);
    }
    Some(Value::Histogram(made.into()))
}

fn shown(value: &Value, theirs: bool) -> Shown {
    let histogram = match value {
        Value::Float(number) => return Shown::Number(*number),
        Value::Histogram(histogram) => histogram,
    };
    let mut numbers = vec![histogram.count, histogram.sum];
    if theirs {
        let full = histogram.custom.chunks_exact(3).filter(|bucket| bucket[2] != 0.0);
        numbers.extend(full.flatten());
        return Shown::Histogram(numbers);
    }
    let bound = |index: i32| (f64::from(index) * (-f64::from(histogram.schema)).exp2()).exp2();
    let lower = |index: i32| bound(index - 1).max(histogram.zero_threshold);
    for bucket in histogram.negative.iter().rev() {
        numbers.extend([-bound(bucket.index), -lower(bucket.index), bucket.count]);
    }
    if histogram.zero_count != 0.0 {
        numbers.extend([-histogram.zero_threshold, histogram.zero_threshold, histogram.zero_count]);
    }
    for bucket in &histogram.positive {
        numbers.extend([lower(bucket.index), bound(bucket.index), bucket.count]);
    }
    Shown::Histogram(numbers)
}

fn is_near(ours: f64, theirs: f64) -> bool {
    ours == theirs
        || ours.is_nan() && theirs.is_nan()
        || (ours - theirs).abs() <= RELATIVE * ours.abs().max(theirs.abs()) + ABSOLUTE
}

fn is_same(ours: &Shown, theirs: &Shown) -> bool {
    match (ours, theirs) {
        (Shown::Number(ours), Shown::Number(theirs)) => is_near(*ours, *theirs),
        (Shown::Histogram(ours), Shown::Histogram(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| is_near(*ours, *theirs))
        }
        _ => false,
    }
}

pub fn compare(text: &str, ours: &Answer, theirs: &Answer) -> Outcome {
    let found = match (ours, theirs) {
        (Err(_), Err(_)) => return Outcome::Refused,
        (Err(ours), Ok(_)) => Some(format!("we refuse: {ours}")),
        (Ok(_), Err(theirs)) => Some(format!("Prometheus refuses: {theirs}")),
        (Ok(ours), Ok(theirs)) => difference(text, ours, theirs),
    };
    match found {
        None => Outcome::Equal { empty: ours.as_ref().is_ok_and(Vec::is_empty) },
        Some(why) => Outcome::Different(why),
    }
}

fn difference(text: &str, ours: &[Series], theirs: &[Series]) -> Option<String> {
    let by_labels = |series: &[Series]| -> BTreeMap<Labels, Vec<Sample>> {
        series.iter().map(|series| (series.labels.clone(), series.samples.clone())).collect()
    };
    let (ours_by, theirs_by) = (by_labels(ours), by_labels(theirs));
    if let Some(labels) = ours_by.keys().find(|labels| !theirs_by.contains_key(labels)) {
        return Some(format!("Prometheus has no {labels}; {} series against {}", ours.len(), theirs.len()));
    }
    for (labels, theirs) in &theirs_by {
        let Some(ours) = ours_by.get(labels) else { return Some(format!("we have no {labels}")) };
        let times = |samples: &[Sample]| samples.iter().map(|sample| sample.at_ms).collect::<Vec<_>>();
        if times(ours) != times(theirs) {
            let differing =
                times(ours).iter().zip(times(theirs)).filter(|(ours, theirs)| **ours != *theirs).count();
            return Some(format!(
                "{labels}: {} samples against {}, {differing} at other times",
                ours.len(),
                theirs.len()
            ));
        }
        for (one, other) in ours.iter().zip(theirs) {
            let (ours, theirs) = (shown(&one.value, false), shown(&other.value, true));
            if !is_same(&ours, &theirs) {
                return Some(format!("{labels} at {}: {ours:?} against {theirs:?}", one.at_ms));
            }
        }
    }
    let sorted = ["sort(", "sort_desc(", "topk(", "bottomk("].iter().any(|name| text.starts_with(name));
    let labels = |series: &[Series]| series.iter().map(|series| series.labels.clone()).collect::<Vec<_>>();
    (sorted && labels(ours) != labels(theirs)).then(|| "the order differs".to_owned())
}

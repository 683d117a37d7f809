//! Answers as Prometheus writes them.

use dwcp_telemetry::model::{Histogram, Labels, Sample, Series, Value as Measured};
use dwcp_telemetry::promql::{AnswerValue, ranges};
use serde_json::{Value, json};

use super::super::metrics::number;

/// What an expression came to, at a moment in ms.
pub fn answer(value: &AnswerValue, at_ms: i64) -> Value {
    match value {
        AnswerValue::Scalar(value) => {
            json!({ "resultType": "scalar", "result": [seconds(at_ms), number(*value)] })
        }
        AnswerValue::String(text) => json!({ "resultType": "string", "result": [seconds(at_ms), text] }),
        AnswerValue::Vector(rows) => {
            let row = |(of, value): &(Labels, Measured)| {
                let (key, point) = point(at_ms, value);
                json!({ "metric": labels(of), key: point })
            };
            json!({ "resultType": "vector", "result": rows.iter().map(row).collect::<Vec<_>>() })
        }
        AnswerValue::Matrix(all) => {
            json!({ "resultType": "matrix", "result": all.iter().map(series).collect::<Vec<_>>() })
        }
    }
}

fn series(of: &Series) -> Value {
    let mut row = serde_json::Map::new();
    row.insert("metric".to_owned(), labels(&of.labels));
    let is_float = |sample: &&Sample| matches!(sample.value, Measured::Float(_));
    let (floats, histograms): (Vec<&Sample>, Vec<&Sample>) = of.samples.iter().partition(is_float);
    for (key, samples) in [("values", floats), ("histograms", histograms)] {
        if !samples.is_empty() {
            let points = samples.iter().map(|sample| point(sample.at_ms, &sample.value).1);
            row.insert(key.to_owned(), points.collect());
        }
    }
    Value::Object(row)
}

/// Names and values.
pub fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

fn seconds(at_ms: i64) -> Value {
    json!(at_ms as f64 / 1e3)
}

fn point(at_ms: i64, value: &Measured) -> (&'static str, Value) {
    match value {
        Measured::Float(value) => ("value", json!([seconds(at_ms), number(*value)])),
        Measured::Histogram(of) => ("histogram", json!([seconds(at_ms), histogram(of)])),
    }
}

fn histogram(of: &Histogram) -> Value {
    let bucket = |range: &dwcp_telemetry::promql::Range| {
        // Which ends belong to the bucket: 0 the upper one, 1 the lower one, 3 both.
        let rule = match (range.lower < 0.0, range.upper > 0.0) {
            (true, true) => 3,
            (true, false) => 1,
            _ => 0,
        };
        json!([rule, number(range.lower), number(range.upper), number(range.count)])
    };
    let buckets: Vec<Value> = ranges(of).iter().map(bucket).collect();
    let mut all = json!({ "count": number(of.count), "sum": number(of.sum) });
    if !buckets.is_empty() {
        all["buckets"] = Value::Array(buckets);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dwcp_telemetry::model::Bucket;

    use super::*;

    #[test]
    fn vectors_and_histograms_have_prometheus_form() {
        let of = Labels::new([("__name__", "up"), ("region", "a")]);
        let histogram = Measured::Histogram(Arc::new(Histogram {
            count: 3.0,
            sum: 2.5,
            zero_threshold: 0.25,
            zero_count: 1.0,
            positive: vec![Bucket { index: 1, count: 2.0 }],
            ..Histogram::default()
        }));
        let rows = vec![(of.clone(), Measured::Float(f64::INFINITY)), (of, histogram)];
        let shown = answer(&AnswerValue::Vector(rows), 1_500);
        let metric = json!({ "__name__": "up", "region": "a" });
        let buckets = json!([[3, "-0.25", "0.25", "1"], [0, "1", "2", "2"]]);
        let wanted = json!({ "resultType": "vector", "result": [
            { "metric": metric, "value": [1.5, "+Inf"] },
            { "metric": metric, "histogram": [1.5, { "count": "3", "sum": "2.5", "buckets": buckets }] },
        ]});
        assert_eq!(shown, wanted);
    }
}

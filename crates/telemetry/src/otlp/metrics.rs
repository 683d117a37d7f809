//! Series as metrics of OpenTelemetry.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Body, SCOPE, attribute, nanos_of_ms};
use crate::model::{Bucket, Histogram, Sample, Series, Value};

/// AGGREGATION_TEMPORALITY_CUMULATIVE.
const CUMULATIVE: u8 = 2;
/// DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK: the series ends here.
const NO_VALUE: u8 = 1;
/// Most buckets of a histogram on one side of 0; with more, neighbours are joined.
const BUCKETS: i64 = 320;

/// The body of a request to `/v1/metrics`, with the metrics of one region.
///
/// A series whose name ends with `_total`, `_count`, `_sum` or `_bucket` is a sum that only grows, as Prometheus
/// names them; other numbers are gauges. Native histograms are exponential histograms of the same resolution, and
/// those with bounds of their own are histograms with these.
pub fn metrics(series: &[Series], region: &str) -> Body {
    let mut found: BTreeMap<(&str, Kind), Vec<Json>> = BTreeMap::new();
    for one in series {
        let labels = one.labels.iter().filter(|(name, _)| *name != crate::model::NAME);
        let attributes: Vec<Json> = labels.map(|(name, value)| attribute(name, value)).collect();
        for sample in &one.samples {
            // The end of a series of histograms may be a number: it belongs to them all the same.
            let kind =
                if sample.value.is_stale() { kind(one) } else { Kind::of(one.labels.name(), &sample.value) };
            let point = point(sample, &attributes);
            found.entry((one.labels.name(), kind)).or_default().push(point);
        }
    }
    let metrics: Vec<Json> =
        found.into_iter().map(|((name, kind), points)| kind.metric(name, points)).collect();
    let resource = [attribute("service.namespace", SCOPE), attribute("cloud.region", region)];
    Body(json!({ "resourceMetrics": [{
        "resource": { "attributes": resource },
        "scopeMetrics": [{ "scope": { "name": SCOPE }, "metrics": metrics }],
    }] }))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gauge,
    Sum,
    Exponential,
    Bounds,
}

impl Kind {
    fn of(name: &str, value: &Value) -> Kind {
        match value {
            Value::Float(_)
                if ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)) =>
            {
                Kind::Sum
            }
            Value::Float(_) => Kind::Gauge,
            Value::Histogram(histogram) if histogram.schema == Histogram::CUSTOM => Kind::Bounds,
            Value::Histogram(_) => Kind::Exponential,
        }
    }

    fn metric(self, name: &str, points: Vec<Json>) -> Json {
        match self {
            Kind::Gauge => json!({ "name": name, "gauge": { "dataPoints": points } }),
            Kind::Sum => json!({ "name": name, "sum": {
                "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true,
            } }),
            Kind::Exponential => json!({ "name": name, "exponentialHistogram": {
                "dataPoints": points, "aggregationTemporality": CUMULATIVE,
            } }),
            Kind::Bounds => json!({ "name": name, "histogram": {
                "dataPoints": points, "aggregationTemporality": CUMULATIVE,
            } }),
        }
    }
}

/// What a series is, apart from its end.
fn kind(series: &Series) -> Kind {
    let name = series.labels.name();
    let values = series.samples.iter().map(|sample| &sample.value);
    values
        .filter(|value| !value.is_stale())
        .map(|value| Kind::of(name, value))
        .next()
        .unwrap_or(Kind::of(name, &Value::stale()))
}

fn point(sample: &Sample, attributes: &[Json]) -> Json {
    let mut point = json!({ "timeUnixNano": nanos_of_ms(sample.at_ms), "attributes": attributes });
    match &sample.value {
        _ if sample.value.is_stale() => point["flags"] = NO_VALUE.into(),
        Value::Float(number) => point["asDouble"] = double(*number),
        Value::Histogram(histogram) => write_histogram(&mut point, histogram),
    }
    point
}

/// A number as the JSON mapping of Protocol Buffers has it: what is no number is text.
fn double(number: f64) -> Json {
    match number {
        number if number.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        number => number.into(),
    }
}

/// A whole number of 64 bits; what is below 0 is 0.
fn count(number: f64) -> String {
    (number.round() as u64).to_string()
}

fn write_histogram(point: &mut Json, histogram: &Histogram) {
    point["count"] = count(histogram.count).into();
    point["sum"] = double(histogram.sum);
    if histogram.schema == Histogram::CUSTOM {
        let mut counts = vec![0.0; histogram.custom.len() + 1];
        for bucket in &histogram.positive {
            if let Some(place) = usize::try_from(bucket.index).ok().and_then(|index| counts.get_mut(index)) {
                *place += bucket.count;
            }
        }
        point["bucketCounts"] = counts.into_iter().map(count).collect();
        point["explicitBounds"] = histogram.custom.iter().map(|bound| double(*bound)).collect();
        return;
    }
    let (mut scale, mut sides) =
        (i64::from(histogram.schema), [wide(&histogram.positive), wide(&histogram.negative)]);
    while sides.iter().any(|side| length(side) > BUCKETS) {
        // Two neighbours become one: the bucket i of Prometheus ends at base^i.
        scale -= 1;
        sides.iter_mut().flatten().for_each(|(index, _)| *index = (*index + 1) >> 1);
    }
    point["scale"] = scale.into();
    point["zeroCount"] = count(histogram.zero_count).into();
    point["zeroThreshold"] = double(histogram.zero_threshold);
    for (name, side) in ["positive", "negative"].into_iter().zip(sides) {
        let Some((first, _)) = side.first() else { continue };
        let mut counts = vec![0.0; length(&side) as usize];
        for (index, number) in &side {
            if let Some(place) = usize::try_from(index - first).ok().and_then(|at| counts.get_mut(at)) {
                *place += number;
            }
        }
        let counts: Vec<String> = counts.into_iter().map(count).collect();
        // The bucket i of OpenTelemetry begins at base^i, where that of Prometheus ends.
        point[name] = json!({ "offset": first - 1, "bucketCounts": counts });
    }
}

fn wide(buckets: &[Bucket]) -> Vec<(i64, f64)> {
    buckets.iter().map(|bucket| (i64::from(bucket.index), bucket.count)).collect()
}

/// How many buckets there are from the first to the last.
fn length(side: &[(i64, f64)]) -> i64 {
    side.first().zip(side.last()).map_or(0, |(first, last)| last.0 - first.0 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, NAME};
    use std::sync::Arc;

    fn written(name: &str, values: Vec<Value>) -> Json {
        let samples = (1..).zip(values).map(|(at_ms, value)| Sample { at_ms, value }).collect();
        let labels = Labels::new([(NAME, name), ("host", "a")]);
        let body = metrics(&[Series { labels, samples }], "eu-west-1");
        body.json()["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].clone()
    }

    #[test]
    fn counters_are_sums_others_are_gauges_and_what_is_no_number_is_text() {
        let sum = written("requests_total", vec![Value::Float(3.0), Value::stale()]);
        assert_eq!(
            (&sum["sum"]["isMonotonic"], &sum["sum"]["aggregationTemporality"]),
            (&json!(true), &json!(2))
        );
        let points = &sum["sum"]["dataPoints"];
        assert_eq!(points[0]["asDouble"], json!(3.0));
        assert_eq!(points[0]["attributes"], json!([attribute("host", "a")]));
        assert_eq!((&points[1]["flags"], &points[1]["asDouble"]), (&json!(1), &Json::Null));
        let gauge =
            written("load", [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5].map(Value::Float).into());
        let values: Vec<&Json> =
            gauge["gauge"]["dataPoints"].as_array().expect("a list").iter().map(|p| &p["asDouble"]).collect();
        assert_eq!(values, [&json!("NaN"), &json!("Infinity"), &json!("-Infinity"), &json!(-0.5)]);
    }

    fn bucket(index: i32, count: f64) -> Bucket {
        Bucket { index, count }
    }

    #[test]
    fn a_native_histogram_keeps_its_resolution_and_its_buckets_are_numbered_from_their_lower_end() {
        let histogram = Histogram {
            schema: 3,
            count: 6.0,
            sum: 12.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive: vec![bucket(2, 1.0), bucket(5, 3.0)],
            negative: vec![bucket(-1, 1.0)],
            ..Histogram::default()
        };
        let metric = written("took", vec![Value::Histogram(Arc::new(histogram))]);
        let point = &metric["exponentialHistogram"]["dataPoints"][0];
        assert_eq!(
            (&point["scale"], &point["count"], &point["zeroCount"]),
            (&json!(3), &json!("6"), &json!("1"))
        );
        assert_eq!(point["positive"], json!({ "offset": 1, "bucketCounts": ["1", "0", "0", "3"] }));
        assert_eq!(point["negative"], json!({ "offset": -2, "bucketCounts": ["1"] }));
    }

    #[test]
    fn far_apart_buckets_are_joined_until_they_are_few() {
        let positive = vec![bucket(i32::MIN, 1.0), bucket(0, 2.0), bucket(i32::MAX, 4.0)];
        let histogram = Histogram { positive, count: 7.0, ..Histogram::default() };
        let metric = written("took", vec![Value::Histogram(Arc::new(histogram))]);
        let point = &metric["exponentialHistogram"]["dataPoints"][0];
        let counts = point["positive"]["bucketCounts"].as_array().expect("a list");
        assert!(counts.len() <= BUCKETS as usize);
        assert_eq!(counts.iter().filter(|count| **count != json!("0")).count(), 3);
        assert_eq!(point["scale"], json!(-24));
    }

    #[test]
    fn bounds_of_its_own_are_kept() {
        let positive = vec![bucket(0, 1.0), bucket(2, 4.0), bucket(9, 1.0)];
        let custom = vec![0.5, 1.0];
        let histogram = Histogram { schema: Histogram::CUSTOM, positive, custom, ..Histogram::default() };
        let metric = written("took", vec![Value::Histogram(Arc::new(histogram))]);
        let point = &metric["histogram"]["dataPoints"][0];
        assert_eq!(
            (&point["bucketCounts"], &point["explicitBounds"]),
            (&json!(["1", "0", "4"]), &json!([0.5, 1.0]))
        );
    }
}

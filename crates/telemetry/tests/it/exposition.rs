//! Families that are written and read back, in all three forms.

use std::sync::Arc;

use dwcp_telemetry::exposition::{
    Buckets, Exposition, Family, Format, Kind, Limits, Observed, Points, decode, encode,
};
use dwcp_telemetry::registry::{Distribution, Registry};
use dwcp_telemetry::{Histogram, Labels, Value};

/// A bit of everything, with labels that need escapes.
pub fn families() -> Vec<Family> {
    let registry = Registry::new(Some(1_700_000_000_500));
    let requests = registry.counter("requests_total", "Requests by \"method\".", ["method", "path"]);
    let requests = requests.expect("a name");
    requests.with(["GET", "C:\\new\n\"x\""]).inc_by(7);
    requests.with(["PUT", "/ümlaut"]).add(0.25);
    let waits = registry.histogram(
        "wait_seconds",
        "How long\nit took: \\o/.",
        ["queue"],
        &[0.01, 0.1, 1.0, 10.0, 1e6],
    );
    let waits = waits.expect("a name");
    for number in 1..=1000 {
        waits.with(["deep"]).observe(f64::from(number * number) / 10_000.0);
        waits.with(["deep"]).observe(-f64::from(number % 7));
    }
    waits.with(["idle"]);
    registry.collect(|| {
        let free = [("/", 0.125), ("/var", f64::INFINITY), ("/tmp", 1e300)];
        let free = free.map(|(mount, ratio)| (Labels::new([("mount", mount)]), ratio));
        let mut sizes = Distribution::new(&[]);
        sizes.observe(4096.0);
        vec![
            Family::gauge("filesystem_free_ratio", "What is free.", free.into()),
            Family::histogram("size_bytes", "Sizes.", vec![(Labels::default(), sizes.observed())]),
        ]
    });
    let gathered = registry.gather();
    assert_eq!(gathered.refused, Vec::<String>::new());
    gathered.families
}

/// Series and values, in order.
pub fn lines(exposition: &Exposition) -> Vec<String> {
    let line = |(labels, value): (&Labels, &Value)| match value {
        Value::Float(value) => format!("{labels} {value}"),
        Value::Histogram(histogram) => format!("{labels} {histogram:?}"),
    };
    let mut lines: Vec<String> =
        exposition.samples.iter().map(|sample| line((&sample.labels, &sample.value))).collect();
    lines.sort();
    lines
}

fn through(format: Format, buckets: Buckets, families: &[Family]) -> Exposition {
    decode(format, &encode(format, families), buckets, &Limits::default()).expect("what we write is readable")
}

#[test]
fn the_three_forms_say_the_same() {
    let families = families();
    let text = lines(&through(Format::Text, Buckets::Native, &families));
    assert!(text.contains(&"wait_seconds_bucket{le=\"1e+06\", queue=\"deep\"} 2000".to_owned()), "{text:#?}");
    assert!(
        text.contains(&"requests_total{method=\"GET\", path=\"C:\\\\new\\n\\\"x\\\"\"} 7".to_owned()),
        "{text:#?}"
    );
    let mut open = lines(&through(Format::OpenMetrics, Buckets::Native, &families));
    let before = open.len();
    open.retain(|line| !line.contains("_created"));
    // Of what collectors build, it is not known since when it counts.
    assert_eq!((before - open.len(), &open), (2 + 2, &text));
    let mut messages = lines(&through(Format::Protobuf, Buckets::Both, &families));
    messages.retain(|line| !line.contains("Histogram"));
    // Without classic buckets, a histogram is only native there.
    let text: Vec<String> = text.into_iter().filter(|line| !line.starts_with("size_bytes")).collect();
    assert_eq!(messages, text);
}

#[test]
fn native_histograms_come_through_protobuf_as_they_are() {
    let families = families();
    let found = through(Format::Protobuf, Buckets::Native, &families);
    let native = |name: &str, queue: &str| {
        let mut all = found.samples.iter();
        let sample = all.find(|sample| sample.labels.name() == name && sample.labels.get("queue") == queue);
        match &sample.expect("it is there").value {
            Value::Histogram(histogram) => Arc::clone(histogram),
            Value::Float(value) => panic!("{name} is {value}"),
        }
    };
    assert_eq!(
        Some(&*native("wait_seconds", "deep")),
        shown(&families, "wait_seconds", "deep").native.as_ref()
    );
    assert_eq!(
        Some(&*native("wait_seconds", "idle")),
        shown(&families, "wait_seconds", "idle").native.as_ref()
    );
    assert_eq!(Some(&*native("size_bytes", "")), shown(&families, "size_bytes", "").native.as_ref());
    let fractions = Histogram { count: 2.5, zero_count: 2.5, ..Histogram::default() };
    let observed = Observed { count: 2.5, native: Some(fractions.clone()), ..Observed::default() };
    let family = [Family::histogram("parts", "Of parts.", vec![(Labels::default(), observed)])];
    let found = through(Format::Protobuf, Buckets::Native, &family);
    assert_eq!(found.samples[0].value, Value::Histogram(Arc::new(fractions)));
}

/// What a family shows of one queue.
pub fn shown(families: &[Family], name: &str, queue: &str) -> Observed {
    let family = families.iter().find(|family| family.name == name).expect("the family");
    let Points::Histogram(points) = &family.points else { panic!("{name} is no histogram") };
    points.iter().find(|(labels, _)| labels.get("queue") == queue).expect("the queue").1.clone()
}

#[test]
fn types_helps_and_units_are_kept() {
    let families = families();
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let metadata = through(format, Buckets::Native, &families).metadata;
        let requests = if format == Format::OpenMetrics { "requests" } else { "requests_total" };
        assert_eq!(
            (metadata[requests].kind, &*metadata[requests].help),
            (Kind::Counter, "Requests by \"method\".")
        );
        let wait = &metadata["wait_seconds"];
        assert_eq!((wait.kind, &*wait.help), (Kind::Histogram, "How long\nit took: \\o/."));
        // Text has no units.
        assert_eq!(wait.unit, if format == Format::Text { "" } else { "seconds" });
        assert_eq!(metadata["filesystem_free_ratio"].kind, Kind::Gauge);
    }
}

#[test]
fn a_body_beyond_the_limit_is_not_looked_at() {
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let body = encode(format, &families());
        let read = |bytes, samples| {
            let limits = Limits { bytes, samples, ..Limits::default() };
            decode(format, &body, Buckets::Both, &limits).map_err(|error| error.to_string())
        };
        let why = format!("{} bytes, and at most {} are read", body.len(), body.len() - 1);
        assert_eq!(read(body.len() - 1, 10_000), Err(why));
        assert!(read(body.len(), 10_000).is_ok());
        assert!(read(body.len(), 10).expect_err("too many").ends_with("more than 10 samples"));
        for length in (0..body.len()).step_by(3) {
            // Whatever it is, it is no panic.
            let _ = decode(format, &body[..length], Buckets::Both, &Limits::default());
        }
    }
}

#[test]
fn an_exporter_can_not_say_that_a_series_ends() {
    let Value::Float(end) = Value::stale() else { panic!("the end is a number") };
    let mut waits = Distribution::new(&[]);
    waits.observe(end);
    let native = Family::histogram("wait_seconds", "Waits.", vec![(Labels::default(), waits.observed())]);
    let body = [Family::gauge("load_ratio", "Load.", vec![(Labels::default(), end)]), native];
    for format in [Format::Text, Format::Protobuf] {
        let found = through(format, Buckets::Both, &body);
        assert!(
            !found.samples.is_empty() && found.samples.iter().all(|sample| !sample.value.is_stale()),
            "{format:?}"
        );
    }
}

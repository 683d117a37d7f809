use std::sync::Arc;

use super::*;
use crate::exposition::Kind;
use crate::model::{Bucket, CounterReset, Histogram, Labels, Value};

fn histogram() -> Histogram {
    let bucket = |index, count| Bucket { index, count };
    Histogram {
        reset: CounterReset::NotReset,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 10.0,
        sum: 4.5,
        positive: vec![bucket(-3, 4.0), bucket(7, 3.0)],
        negative: vec![bucket(0, 1.0)],
        custom: Vec::new(),
    }
}

fn samples(values: Vec<Value>) -> Vec<Sample> {
    values
        .into_iter()
        .enumerate()
        .map(|(at, value)| Sample { at_ms: at as i64 * 1000 - 1000, value })
        .collect()
}

fn request() -> WriteRequest {
    let fractions = Histogram { count: 10.5, zero_count: 2.5, ..histogram() };
    let bounds = Histogram {
        schema: Histogram::CUSTOM,
        custom: vec![0.5, 1.0],
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 7.0,
        negative: Vec::new(),
        positive: vec![Bucket { index: 0, count: 4.0 }, Bucket { index: 2, count: 3.0 }],
        ..histogram()
    };
    let series = vec![
        Series {
            labels: Labels::new([("__name__", "up"), ("job", "vm")]),
            samples: samples(vec![Value::Float(1.0), Value::Float(0.0), Value::stale()]),
        },
        Series {
            labels: Labels::new([("__name__", "wait_seconds")]),
            samples: samples(
                [histogram(), fractions, bounds].map(|one| Value::Histogram(Arc::new(one))).into(),
            ),
        },
        Series { labels: Labels::new([("__name__", "empty")]), samples: Vec::new() },
    ];
    let wait = Metadata { kind: Kind::Histogram, help: "How long.".to_owned(), unit: "seconds".to_owned() };
    WriteRequest { series, metadata: BTreeMap::from([("wait_seconds".to_owned(), wait)]) }
}

/// NaN is not equal to itself: its bits are compared.
fn assert_same(found: &WriteRequest, wanted: &WriteRequest) {
    assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
    let stale = |request: &WriteRequest| request.series[0].samples[2].value.is_stale();
    assert!(stale(found) && stale(wanted));
}

#[test]
fn what_is_encoded_is_decoded() {
    let wanted = request();
    let body = encode(&wanted.series, &wanted.metadata).expect("small enough");
    assert_same(&decode(Version::One, &body, &Limits::default()).expect("readable"), &wanted);
}

#[test]
fn a_request_of_2_0_says_the_same_with_symbols() {
    let wanted = request();
    let texts = ["", "__name__", "up", "job", "vm", "wait_seconds", "How long.", "seconds", "empty"];
    let mut writer = Writer::default();
    // Behind what names them.
    for (refs, Series { samples, .. }) in [&[1, 2, 3, 4][..], &[1, 5], &[1, 8]].iter().zip(&wanted.series) {
        writer.message(5, |series| {
            series.packed_uints(1, refs);
            for Sample { at_ms, value } in samples {
                match value {
                    Value::Float(value) => series.message(2, |sample| {
                        sample.double(1, *value);
                        sample.int(2, *at_ms);
                    }),
                    Value::Histogram(one) => {
                        series.message(3, |message| histograms::write(message, one, *at_ms))
                    }
                }
            }
            series.message(5, |metadata| {
                if refs[1] == 5 {
                    metadata.uint(1, 3);
                    metadata.uint(3, 6);
                    metadata.uint(4, 7);
                }
            });
        });
    }
    texts.iter().for_each(|text| writer.text_or_empty(4, text));
    let body = snap::raw::Encoder::new().compress_vec(&writer.finish()).expect("small enough");
    assert_same(&decode(Version::Two, &body, &Limits::default()).expect("readable"), &wanted);
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    // The length in front, as a varint: 100 MiB; then as much as that takes of elements at least.
    let mut bomb = vec![0x80, 0x80, 0x80, 0x32];
    bomb.resize(6 << 20, 0);
    let refused = decode(Version::One, &bomb, &Limits::default());
    assert_eq!(refused, Err(WriteError::TooLarge { bytes: 100 << 20, limit: 16 << 20 }));
    // 16 MiB that no 4 bytes can become.
    let promise = decode(Version::One, &[0x80, 0x80, 0x80, 0x08], &Limits::default());
    assert_eq!(
        promise.map_err(|error| error.to_string()).unwrap_err(),
        "not a block of Snappy: 4 bytes can't become 16777216"
    );
}

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    snap::raw::Encoder::new().compress_vec(&writer.finish()).expect("small enough")
}

fn label(series: &mut Writer, name: &str, value: &str) {
    series.message(1, |label| {
        label.text(1, name);
        label.text(2, value);
    });
}

#[test]
fn what_no_sender_may_send_is_refused() {
    let why = |body: &[u8]| decode(Version::One, body, &Limits::default()).expect_err("refused").to_string();
    assert_eq!(
        why(&message(|all| all.message(1, |series| label(series, "job", "a")))),
        "a series without a name: {job=\"a\"}"
    );
    let twice = message(|all| {
        all.message(1, |series| {
            label(series, "__name__", "up");
            label(series, "__name__", "down");
        });
    });
    assert_eq!(why(&twice), "the label __name__ is there twice");
    assert!(why(b"").contains("Snappy"), "{}", why(b""));
    assert!(why(b"hello").contains("Snappy"));
    let wrong = Series {
        labels: Labels::new([("__name__", "wait")]),
        samples: samples(vec![Value::Histogram(Arc::new(Histogram { count: 11.0, ..histogram() }))]),
    };
    let body = encode(&[wrong], &BTreeMap::new()).expect("small enough");
    assert_eq!(why(&body), "the count of a histogram is not that of its buckets");
}

#[test]
fn samples_are_put_in_order_and_counted() {
    let series = Series {
        labels: Labels::new([("__name__", "up")]),
        samples: [3, 1, 2, 1].map(|at_ms| Sample { at_ms, value: Value::Float(at_ms as f64) }).into(),
    };
    let body = encode(&[series], &BTreeMap::new()).expect("small enough");
    let found = decode(Version::One, &body, &Limits::default()).expect("readable");
    assert_eq!(found.series[0].samples.iter().map(|sample| sample.at_ms).collect::<Vec<_>>(), [1, 2, 3]);
    let few = Limits { samples: 3, ..Limits::default() };
    assert_eq!(
        decode(Version::One, &body, &few),
        Err(WriteError::Malformed("more than 3 samples".to_owned()))
    );
}

#[test]
fn the_message_is_known_by_its_content_type() {
    for version in [Version::One, Version::Two] {
        assert_eq!(Version::of_content_type(version.content_type()), Some(version));
    }
    assert_eq!(
        Version::of_content_type("application/x-protobuf; proto=prometheus.WriteRequest"),
        Some(Version::One)
    );
    assert_eq!(Version::of_content_type("application/json"), None);
    assert_eq!(Version::of_content_type("application/x-protobuf;proto=other.Request"), None);
}

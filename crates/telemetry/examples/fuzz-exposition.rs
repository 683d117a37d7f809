//! Feeds damaged expositions and write requests to their decoders: no panic, no memory without limit.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example fuzz-exposition -- [--seconds N] [--seed N]`. A failure prints the input.

use std::collections::BTreeMap;

use dwcp_telemetry::exposition::{Buckets, Exposition, Family, Format, Limits, decode, encode};
use dwcp_telemetry::query_api;
use dwcp_telemetry::registry::Distribution;
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::scrape::{Moment, Relabel, RelabelSpec, ScrapeCache, Target};
use dwcp_telemetry::{Labels, Sample, Series};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

/// What shows more of the decoder than what we write ourselves.
const TEXT: &str = "# HELP a Some \\n help.\n# TYPE a summary\n \ta {quantile=\"0.5\", b=\"\\\"\\\\\\n\",} 1e3 17\n\nb{c=\"\"} -Inf\n";
const OPEN: &str = "# TYPE a_seconds gaugehistogram\n# UNIT a_seconds seconds\n\
    a_seconds_bucket{le=\"1\"} 2 1.5 # {id=\"x\"} 0.5 1\n# EOF\n";

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let families = families();
    let limits = Limits { samples: 5_000, ..Limits::default() };
    for (name, format, more) in [
        ("text", Format::Text, Some(TEXT)),
        ("open-metrics", Format::OpenMetrics, Some(OPEN)),
        ("messages", Format::Protobuf, None),
    ] {
        let mut real = vec![encode(format, &families)];
        real.extend(more.map(|text| text.as_bytes().to_vec()));
        let mut cache = ScrapeCache::new(target());
        run(name, &real, limit, seed, |input| {
            let read = decode(format, input, Buckets::Both, &limits);
            read.is_ok_and(|exposition| is_kept(exposition, &mut cache))
        });
    }
    // The mutator is to change the messages, not their compression.
    let plain = snappy(&[series()], false);
    for (name, version, real) in
        [("remote-write-1", Version::One, plain), ("remote-write-2", Version::Two, second_message())]
    {
        run(name, &[real], limit, seed, |input| {
            let body = snap::raw::Encoder::new().compress_vec(input).expect("it is small");
            remote_write::decode(version, &body, &limits).is_ok()
        });
    }
    let body = snappy(&[series()], true);
    run("query-api", &ANSWERS.map(|text| text.as_bytes().to_vec()), limit, seed, |input| {
        query_api::answer(input).is_ok() | query_api::texts(input).is_ok()
    });
    run("remote-write-snappy", &[body], limit, seed, |input| {
        remote_write::decode(Version::One, input, &limits).is_ok()
    });
}

/// What was read can be stored and written again.
fn is_kept(exposition: Exposition, cache: &mut ScrapeCache) -> bool {
    let metadata = exposition.metadata.clone();
    let scraped = cache.up(exposition, Moment { at_ms: 1000, seconds: 0.1 });
    let series = scraped.samples.into_iter().map(|(labels, sample)| Series { labels, samples: vec![sample] });
    let limits = Limits {
        labels: 100,
        samples: 1 << 20,
        label_value_bytes: 1 << 20,
        label_name_bytes: 1 << 10,
        ..Limits::default()
    };
    let body = remote_write::encode(&series.collect::<Vec<_>>(), &metadata).expect("it is small");
    remote_write::decode(Version::One, &body, &limits).expect("what we write is readable");
    true
}

fn target() -> Target {
    let spec = RelabelSpec {
        source_labels: vec!["le".to_owned()],
        target_label: "le_$1".to_owned(),
        ..RelabelSpec::default()
    };
    Target {
        labels: Labels::new([("job", "fuzz")]),
        honor_timestamps: true,
        metric_relabel: vec![Relabel::new(spec).expect("a rule")],
        ..Target::default()
    }
}

/// What Prometheus' HTTP API answers.
const ANSWERS: [&str; 3] = [
    r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"2"]}]}}"#,
    r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{"count":"3","sum":"4"}]]}]}}"#,
    r#"{"status":"success","data":["a","b"],"warnings":["slow"]}"#,
];

fn families() -> Vec<Family> {
    let mut waits = Distribution::new(&[0.1, 1.0]);
    (0..40).for_each(|number| waits.observe(f64::from(number * number) / 100.0 - 1.0));
    let labels = || Labels::new([("queue", "a\\b\n\"c\"")]);
    vec![
        Family::counter("requests_total", "Requests.", vec![(labels(), 7.0), (Labels::default(), 0.5)]),
        Family::gauge("free_ratio", "Free.", vec![(labels(), f64::NAN)]),
        Family::histogram("wait_seconds", "Waits.", vec![(labels(), waits.observed())]),
    ]
}

fn series() -> Series {
    let body = encode(Format::Protobuf, &families());
    let found = decode(Format::Protobuf, &body, Buckets::Native, &Limits::default()).expect("readable");
    let samples =
        found.samples.into_iter().zip(0..).map(|(sample, at_ms)| Sample { at_ms, value: sample.value });
    Series { labels: Labels::new([("__name__", "all"), ("job", "a")]), samples: samples.collect() }
}

fn snappy(series: &[Series], compressed: bool) -> Vec<u8> {
    let body = remote_write::encode(series, &BTreeMap::new()).expect("it is small");
    if compressed {
        body
    } else {
        snap::raw::Decoder::new().decompress_vec(&body).expect("it was just compressed")
    }
}

/// `io.prometheus.write.v2.Request`: symbols, and one series with a sample, a histogram and metadata.
fn second_message() -> Vec<u8> {
    let mut message = Vec::new();
    for symbol in ["", "__name__", "up", "seconds"] {
        message.extend([0x22, symbol.len() as u8]);
        message.extend(symbol.bytes());
    }
    let labels = [0x0a, 2, 1, 2];
    let sample = [0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 5];
    // Count 3, spans (0, 2), differences 1 and 1, moment 7.
    let histogram = [0x1a, 14, 0x08, 3, 0x5a, 4, 0x08, 0, 0x10, 2, 0x62, 2, 2, 2, 0x78, 7];
    let metadata = [0x2a, 6, 0x08, 2, 0x18, 3, 0x20, 3];
    let series = [&labels[..], &sample, &histogram, &metadata].concat();
    message.extend([0x2a, series.len() as u8]);
    message.extend(series);
    message
}

//! What metrics cost: counting, showing, reading and keeping them. Each figure stands beside what its user can afford.
//!
//! `cargo run -p dwcp-telemetry --release --example bench-exposition`

use std::hint::black_box;
use std::time::Instant;

use dwcp_telemetry::exposition::{Buckets, Family, Format, Limits, decode, encode};
use dwcp_telemetry::registry::{Distribution, Registry};
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::scrape::{Moment, ScrapeCache, Target};
use dwcp_telemetry::{Labels, Series};

const SERIES: u32 = 20_000;

fn main() {
    counting();
    let gauges = (0..SERIES).map(|number| {
        let labels = [("host", format!("host-{}", number / 20)), ("device", format!("disk-{}", number % 20))];
        (Labels::new(labels), f64::from(number) * 0.37)
    });
    let families = [Family::gauge("disk_free_bytes", "Free.", gauges.collect())];
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let mut body = Vec::new();
        rate(&format!("{format:?}: written"), SERIES, || body = encode(format, &families));
        rate(&format!("{format:?}: read, {} bytes a sample", body.len() / SERIES as usize), SERIES, || {
            black_box(decode(format, &body, Buckets::Native, &Limits::default()).expect("readable"));
        });
    }
    let body = encode(Format::Protobuf, &families);
    let exposition = decode(Format::Protobuf, &body, Buckets::Native, &Limits::default()).expect("readable");
    let labels = Labels::new([("job", "vm"), ("instance", "vm-1:9100")]);
    let mut cache = ScrapeCache::new(Target { labels, ..Target::default() });
    let (mut scrapes, mut scraped) = (vec![exposition; ROUNDS as usize], None);
    rate("scraped again", SERIES, || {
        scraped = scrapes.pop().map(|one| cache.up(one, Moment { at_ms: 1000, seconds: 0.1 }));
    });
    let series = scraped.into_iter().flat_map(|scraped| scraped.samples);
    let series: Vec<Series> =
        series.map(|(labels, sample)| Series { labels, samples: vec![sample] }).collect();
    let mut body = Vec::new();
    rate("remote write: written", SERIES, || {
        body = remote_write::encode(&series, &Default::default()).expect("it is small");
    });
    rate(&format!("remote write: read, {} bytes a sample", body.len() / SERIES as usize), SERIES, || {
        black_box(remote_write::decode(Version::One, &body, &Limits::default()).expect("readable"));
    });
}

fn counting() {
    const TIMES: u32 = 1_000_000;
    let registry = Registry::new(None);
    let total = registry.counter("a_total", "", ["method"]).expect("a name");
    let waits =
        registry.histogram("wait_seconds", "", [], &[0.001, 0.01, 0.1, 1.0, 10.0]).expect("a name").with([]);
    let kept = total.with(["GET"]);
    rate("a counter, by its handle", TIMES, || (0..TIMES).for_each(|_| kept.inc()));
    rate("a counter, by its label", TIMES, || (0..TIMES).for_each(|_| total.with(["GET"]).inc()));
    let value = |number: u32| f64::from(number % 10_000) / 1000.0;
    rate("a histogram of many threads", TIMES, || (0..TIMES).for_each(|number| waits.observe(value(number))));
    let mut alone = Distribution::new(&[]);
    rate("a histogram of one thread", TIMES, || (0..TIMES).for_each(|number| alone.observe(value(number))));
}

const ROUNDS: u32 = 15;

/// The best of a few rounds.
fn rate(what: &str, number: u32, mut work: impl FnMut()) {
    let seconds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    });
    let best = seconds.fold(f64::INFINITY, f64::min);
    println!(
        "{what:<50} {:>10.0} a second, {:>8.0} ns each",
        f64::from(number) / best,
        best / f64::from(number) * 1e9
    );
}

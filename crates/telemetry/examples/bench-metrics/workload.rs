//! What is measured with: series of a fleet of hosts, counters and gauges as hosts have them.

use dwcp_telemetry::model::Labels;
use dwcp_telemetry::store::SeriesRef;
use dwcp_types::Rng;

/// Series of one host: what one scrape brings.
pub const SERIES_A_HOST: u64 = 100;

/// How a series moves.
#[derive(Clone, Copy)]
enum Kind {
    /// Some events a scrape.
    Events(u64),
    /// Bytes: thousands to millions a scrape.
    Bytes(u64),
    /// Seconds of CPU, two decimals.
    Seconds,
    /// A share in percent, two decimals, wandering.
    Share,
    /// Bytes of memory in pages, wandering.
    Pages,
    /// Something that does not move.
    Constant,
    /// A mean with all its digits.
    Digits,
}

/// A series and where it is.
pub struct Moving {
    pub series: SeriesRef,
    kind: Kind,
    value: f64,
}

impl Moving {
    /// Its value a scrape later.
    pub fn step(&mut self, rng: &mut Rng) -> f64 {
        let wander = |rng: &mut Rng, by: u64| rng.below(2 * by + 1) as f64 - by as f64;
        self.value = match self.kind {
            Kind::Events(most) => self.value + rng.below(most) as f64,
            Kind::Bytes(most) => self.value + rng.below(most) as f64,
            Kind::Seconds => ((self.value + rng.below(1500) as f64 / 100.0) * 100.0).round() / 100.0,
            Kind::Share => ((self.value * 100.0 + wander(rng, 150)).clamp(0.0, 10_000.0)).round() / 100.0,
            Kind::Pages => (self.value + 4096.0 * wander(rng, 500)).max(0.0),
            Kind::Constant => self.value,
            Kind::Digits => rng.below(1 << 52) as f64 / (1u64 << 52) as f64,
        };
        self.value
    }
}

/// So many series, host by host.
pub fn fleet(series: u64) -> Vec<Moving> {
    let mut rng = Rng::new(1);
    (0..series)
        .map(|number| {
            let (host, of_host) = (number / SERIES_A_HOST, number % SERIES_A_HOST);
            // Of a hundred: 30 counters of events, 20 of bytes, 10 of seconds, 15 shares, 10 pages, 10 constants, 5 with digits.
            let kind = match of_host {
                0..30 => Kind::Events([2, 10, 100, 1_000][of_host as usize % 4]),
                30..50 => Kind::Bytes([20_000, 1_000_000][of_host as usize % 2]),
                50..60 => Kind::Seconds,
                60..75 => Kind::Share,
                75..85 => Kind::Pages,
                85..95 => Kind::Constant,
                _ => Kind::Digits,
            };
            let (family, device) = (of_host / 5, of_host % 5);
            let labels = Labels::new([
                ("__name__", format!("node_family_{family:02}_total")),
                ("device", format!("dev{device}")),
                ("instance", format!("host-{host:05}.example:9100")),
                ("job", "node".to_owned()),
                ("region", format!("region-{}", host % 5)),
                ("zone", format!("zone-{}", host % 15)),
            ]);
            Moving { series: SeriesRef::new(labels), kind, value: rng.below(1_000_000) as f64 }
        })
        .collect()
}

/// The lines of one scrape in Prometheus' text form; the time in ms, or in seconds as OpenMetrics has it.
pub fn write_text(moving: &Moving, value: f64, at_ms: i64, openmetrics: bool, out: &mut String) {
    use std::fmt::Write;
    let labels = moving.series.labels();
    let pairs = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}=\"{value}\""));
    let pairs = pairs.collect::<Vec<_>>().join(",");
    let time = if openmetrics { format!("{}.{:03}", at_ms / 1000, at_ms % 1000) } else { at_ms.to_string() };
    let _ = writeln!(out, "{}{{{pairs}}} {value} {time}", labels.name());
}

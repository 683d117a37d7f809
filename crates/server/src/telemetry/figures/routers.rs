//! What routers say of themselves, shown by the node that each is linked to.

use dwcp_roles::protocol::{RouterWord, TimesWord};
use dwcp_telemetry::exposition::Observed;
use dwcp_telemetry::model::{Bucket, CounterReset, Histogram, Labels};
use dwcp_telemetry::registry::ZERO_THRESHOLD;

use super::Figures;

/// Buckets to a doubling, as the power of two: routers count so.
const SCHEMA: i8 = 3;
/// 10^6 ns are 1 ms, which is 159.45 eighths of a doubling: buckets are moved by the whole ones.
const NS_TO_MS: i32 = 159;
/// Upper bounds of the classic buckets, ms.
const BOUNDS_MS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 5.0, 25.0, 50.0, 100.0, 1_000.0, 10_000.0];

type Labelled = Vec<(&'static str, String)>;

fn labels(word: &RouterWord, more: &[(&'static str, &str)]) -> Labelled {
    let beat = &word.beat;
    let mut labels =
        vec![("region", beat.region.to_string()), ("router", format!("{}/{}", beat.host, beat.number))];
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

/// As a native histogram in ms. Its buckets end 4 % above where the router's do, so that no time is told shorter than it was.
fn observed(times: &TimesWord) -> Observed {
    let all: u64 = times.buckets.iter().map(|(_, count)| count).sum();
    let bucket =
        |(index, count): &(u64, u64)| Bucket { index: *index as i32 - NS_TO_MS, count: *count as f64 };
    let (count, sum) = (all as f64, times.sum_ns as f64 / 1e6);
    let end_ms = |index: u64| (index as f64 / 8.0).exp2() / 1e6;
    let below = |bound: f64| times.buckets.iter().filter(move |(index, _)| end_ms(*index) <= bound * 1.003);
    Observed {
        count,
        sum,
        native: Some(Histogram {
            reset: CounterReset::Unknown,
            schema: SCHEMA,
            zero_threshold: ZERO_THRESHOLD,
            count,
            sum,
            positive: times.buckets.iter().map(bucket).collect(),
            ..Histogram::default()
        }),
        classic: BOUNDS_MS.map(|bound| (bound, below(bound).map(|(_, count)| *count as f64).sum())).to_vec(),
    }
}

pub fn families(out: &mut Figures, routers: &[RouterWord]) {
    decisions(out, routers);
    requests(out, routers);
    shield(out, routers);
    let gauge = |value: fn(&RouterWord) -> f64| {
        routers.iter().map(move |word| (labels(word, &[]), Some(value(word)))).collect::<Vec<_>>()
    };
    out.gauge(
        "dwcp_federation_router_up",
        "Whether a router serves: 1, or 0 when it has no table to serve by.",
        gauge(|word| f64::from(u8::from(word.beat.table_made_at_ms > 0))),
    );
    out.gauge(
        "dwcp_federation_router_troubled",
        "1 while a router says that something is wrong with it, such as a table that it refused; otherwise 0.",
        gauge(|word| f64::from(u8::from(!word.beat.trouble.is_empty()))),
    );
    out.gauge(
        "dwcp_federation_router_table_timestamp_seconds",
        "When the table was made that a router serves by.",
        gauge(|word| word.beat.table_made_at_ms as f64 / 1e3),
    );
    out.gauge(
        "dwcp_federation_router_connections",
        "Connections of users that are open at a router.",
        gauge(|word| word.beat.connections as f64),
    );
    out.gauge(
        "dwcp_federation_router_endpoints",
        "Endpoints of services in a router's table.",
        gauge(|word| word.beat.endpoints as f64),
    );
    out.gauge(
        "dwcp_federation_router_endpoints_up",
        "Endpoints of services that a router finds well.",
        gauge(|word| word.beat.endpoints_up as f64),
    );
}

fn decisions(out: &mut Figures, routers: &[RouterWord]) {
    let points =
        routers.iter().map(|word| (Labels::new(labels(word, &[])), observed(&word.figures.decisions)));
    out.histogram(
        "dwcp_federation_routing_decision_latency_ms",
        "Time of a decision where to send a request, in milliseconds.",
        points.collect(),
    );
    out.counter(
        "dwcp_federation_qos_violations_total",
        "Requests that went on to a further region because the better ones were as full as their class allows.",
        routers.iter().map(|word| (labels(word, &[]), word.figures.spilled as f64)),
    );
}

fn requests(out: &mut Figures, routers: &[RouterWord]) {
    let flows = || routers.iter().flat_map(|word| word.figures.flows.iter().map(move |flow| (word, flow)));
    let of = |word: &RouterWord, flow: &dwcp_roles::protocol::FlowWord| {
        labels(word, &[("service", &flow.service), ("to", flow.region.as_str())])
    };
    let sum = |classes: &[u64]| classes.iter().sum::<u64>() as f64;
    out.counter(
        "dwcp_federation_requests_total",
        "Requests of users, by service and by the region that they were sent to.",
        flows().map(|(word, flow)| (of(word, flow), sum(&flow.answers))),
    );
    out.counter(
        "dwcp_federation_request_errors_total",
        "Requests of users that were answered 5xx, or not at all.",
        flows().map(|(word, flow)| {
            let failed = [0, 5].iter().filter_map(|class| flow.answers.get(*class)).sum::<u64>();
            (of(word, flow), failed as f64)
        }),
    );
    out.counter(
        "dwcp_federation_request_retries_total",
        "Requests that were tried again at another endpoint.",
        flows().map(|(word, flow)| (of(word, flow), flow.retries as f64)),
    );
    out.counter(
        "dwcp_federation_request_bytes_total",
        "Bytes of requests and answers, by direction as users see it.",
        flows().flat_map(|(word, flow)| {
            [("up", flow.bytes_in), ("down", flow.bytes_out)].map(|(direction, bytes)| {
                let mut labels = of(word, flow);
                labels.push(("direction", direction.to_owned()));
                (labels, bytes as f64)
            })
        }),
    );
    out.histogram(
        "dwcp_federation_request_latency_ms",
        "From sending a request to an endpoint until its answer began, in milliseconds.",
        flows().map(|(word, flow)| (Labels::new(of(word, flow)), observed(&flow.upstream))).collect(),
    );
    out.counter(
        "dwcp_federation_router_dns_questions_total",
        "Questions to a router's DNS, by what became of them.",
        routers.iter().flat_map(|word| {
            word.figures.dns.iter().map(|(name, count)| (labels(word, &[("outcome", name)]), *count as f64))
        }),
    );
}

fn shield(out: &mut Figures, routers: &[RouterWord]) {
    out.gauge(
        "dwcp_federation_ddos_attacks_active",
        "Attacks that a router sees now.",
        routers.iter().map(|word| (labels(word, &[]), Some(word.figures.attacks.0 as f64))),
    );
    out.counter(
        "dwcp_federation_ddos_detections_total",
        "Attacks that a router has detected.",
        routers.iter().map(|word| (labels(word, &[]), word.figures.attacks.1 as f64)),
    );
    out.counter(
        "dwcp_federation_ddos_early_dropped_packets_total",
        "Packets of blocked sources that a router's kernel dropped before anybody read them.",
        routers.iter().map(|word| (labels(word, &[]), word.figures.early_packets as f64)),
    );
    out.counter(
        "dwcp_federation_ddos_verdicts_total",
        "What a router did with requests and connections: let them pass, or kept them out.",
        routers.iter().flat_map(|word| {
            let all = word.figures.kept_out.iter();
            all.map(|(name, count)| (labels(word, &[("verdict", name)]), *count as f64))
        }),
    );
}

/// A router with everything that it may say.
#[cfg(test)]
pub fn one() -> RouterWord {
    use dwcp_roles::protocol::{FlowWord, RouterBeat, RouterFigures};
    let times = TimesWord { buckets: vec![(80, 3), (160, 1)], sum_ns: 1_100_000 };
    let flow = FlowWord {
        service: "demo".to_owned(),
        region: "us".into(),
        answers: vec![1, 0, 9, 0, 0, 2],
        upstream: times.clone(),
        ..FlowWord::default()
    };
    let figures = RouterFigures {
        decisions: times,
        flows: vec![flow],
        dns: vec![("answered".to_owned(), 1)],
        kept_out: vec![("passed".to_owned(), 1)],
        ..RouterFigures::default()
    };
    RouterWord {
        beat: RouterBeat { region: "us".into(), host: "h1".into(), ..RouterBeat::default() },
        figures,
        lines: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_native_before_anything_was_observed() {
        let empty = observed(&TimesWord::default()).native.expect("a native one");
        assert_eq!((empty.count, empty.zero_threshold), (0.0, ZERO_THRESHOLD));
    }

    #[test]
    fn a_routers_buckets_are_those_of_prometheus_in_milliseconds() {
        let observed = observed(&one().figures.decisions);
        let native = observed.native.expect("a native one");
        // 2^(160/8) ns are 1.0486 ms: in the bucket that ends at 2^(1/8) ms.
        assert_eq!(native.positive.last().map(|bucket| (bucket.index, bucket.count)), Some((1, 1.0)));
        assert_eq!((observed.count, observed.sum), (4.0, 1.1));
        let at = |bound: f64| observed.classic.iter().find(|(of, _)| *of == bound).map(|(_, count)| *count);
        // 2^10 ns are 1.02 µs.
        assert_eq!((at(0.001), at(0.0025), at(1.0), at(5.0)), (Some(0.0), Some(3.0), Some(3.0), Some(4.0)));
    }
}

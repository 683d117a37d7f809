//! Against the real thing: what Prometheus scrapes of us, and what it writes to us.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use dwcp_telemetry::exposition::{ACCEPT, Buckets, Exposition, Family, Format, Kind, Limits, decode, encode};
use dwcp_telemetry::model::{Bucket, NAME};
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::scrape::{Moment, Relabel, RelabelSpec, ScrapeCache, Target};
use dwcp_telemetry::{Histogram, Labels, Sample, Series, Value};

use crate::exposition::{families, shown};
use crate::http::{self, Message, Server};
use crate::prometheus_process::{Prometheus, installed, number};

/// How we are scraped.
struct Job {
    name: &'static str,
    format: Format,
    honor_labels: bool,
    rules: Vec<RelabelSpec>,
}

fn jobs() -> Vec<Job> {
    let job = |name, format| Job { name, format, honor_labels: false, rules: Vec::new() };
    vec![
        job("text", Format::Text),
        job("open", Format::OpenMetrics),
        job("messages", Format::Protobuf),
        Job { honor_labels: true, ..job("honoured", Format::Protobuf) },
        Job { rules: rules(), ..job("relabelled", Format::Text) },
    ]
}

/// One rule of each action, nearly.
fn rules() -> Vec<RelabelSpec> {
    let rule = |action: &str, sources: &[&str], regex: &str, target: &str, replacement: &str| RelabelSpec {
        source_labels: sources.iter().map(|name| (*name).to_owned()).collect(),
        regex: regex.to_owned(),
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        modulus: if action == "hashmod" { 1_000_003 } else { 0 },
        action: action.to_owned(),
        ..RelabelSpec::default()
    };
    vec![
        rule("drop", &["__name__", "le"], "wait_seconds_bucket;(0.01|1e.06|1000000)", "", "$1"),
        rule("replace", &["__name__", "mount"], "filesystem_(.*)_ratio;/(.+)", "is_$1", "${2}-$2"),
        // Of a line's end in a value, `.` is only since Prometheus 3.
        rule("replace", &["path"], "(?s)C:.*", "path", ""),
        rule("hashmod", &["__name__", "method", "mount"], "(.*)", "shard", "$1"),
        rule("labelmap", &[], "exported_(.*)", "", "was_$1"),
        rule("uppercase", &["method", "mount"], "(.*)", "upper", "$1"),
        rule("lowercase", &["method"], "(.*)", "method", "$1"),
        rule("labeldrop", &[], "exported_.*", "", "$1"),
        rule("keepequal", &["queue"], "(.*)", "queue", "$1"),
        rule("dropequal", &["was_queue"], "(.*)", "job", "$1"),
        rule("keep", &["__name__"], ".*_(total|ratio|seconds_.*)", "", "$1"),
    ]
}

/// A rule in a configuration, with what of it differs from the default.
fn yaml(rule: &RelabelSpec) -> String {
    let RelabelSpec { source_labels, regex, target_label, replacement, modulus, action, .. } = rule;
    let mut fields = vec![format!("action: {action}")];
    let default = RelabelSpec::default();
    if !source_labels.is_empty() {
        fields.push(format!("source_labels: [{}]", source_labels.join(", ")));
    }
    if *regex != default.regex {
        fields.push(format!("regex: '{regex}'"));
    }
    if !target_label.is_empty() {
        fields.push(format!("target_label: '{target_label}'"));
    }
    if *replacement != default.replacement {
        fields.push(format!("replacement: '{replacement}'"));
    }
    if *modulus > 0 {
        fields.push(format!("modulus: {modulus}"));
    }
    format!("  - {{{}}}\n", fields.join(", "))
}

/// What was written to us, by series.
#[derive(Default)]
struct Written {
    samples: BTreeMap<Labels, Vec<Sample>>,
    kinds: BTreeMap<String, Kind>,
}

/// What we show: everything, or everything but the requests.
fn shown_now(fewer: &AtomicBool) -> Vec<Family> {
    let mut families = families();
    families.retain(|family| family.name != "requests_total" || !fewer.load(Ordering::Relaxed));
    families
}

/// An exporter with a path for each form, and a receiver of remote write.
fn serve(
    written: Arc<Mutex<Written>>,
    fewer: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeSet<String>>>,
) -> Server {
    Server::start(move |request: &Message| {
        let path = request.first.split(' ').nth(1).unwrap_or("");
        if path == "/write" {
            let mut written = written.lock().expect("no panic before");
            receive(request, &mut written);
            return Some(("text/plain", Vec::new()));
        }
        accepted.lock().expect("no panic before").insert(request.header("accept").to_owned());
        let format = jobs().iter().find(|job| path.strip_prefix('/') == Some(job.name))?.format;
        Some((format.content_type(), encode(format, &shown_now(&fewer))))
    })
}

fn receive(request: &Message, written: &mut Written) {
    assert_eq!(request.header("content-encoding"), "snappy");
    let version =
        Version::of_content_type(request.header("content-type")).expect("a message of remote write");
    let found = remote_write::decode(version, &request.body, &Limits::default()).expect("readable");
    for series in found.series {
        written.samples.entry(series.labels).or_default().extend(series.samples);
    }
    written.kinds.extend(found.metadata.into_iter().map(|(name, metadata)| (name, metadata.kind)));
}

fn configuration(address: &str) -> String {
    let job = |Job { name, honor_labels, rules, .. }: &Job| {
        let rules: String = rules.iter().map(yaml).collect();
        let rules = if rules.is_empty() { rules } else { format!("  metric_relabel_configs:\n{rules}") };
        format!(
            "- job_name: {name}\n  metrics_path: /{name}\n  honor_labels: {honor_labels}\n  static_configs:\n  \
             - targets: ['{address}']\n    labels: {{queue: of-target}}\n{rules}"
        )
    };
    let jobs: String = jobs().iter().map(job).collect();
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 200ms\n\
         rule_files: [rules.yml]\n\
         remote_write:\n- url: http://{address}/write\n  send_native_histograms: true\n  \
         queue_config: {{batch_send_deadline: 200ms}}\n  metadata_config: {{send_interval: 500ms}}\n\
         scrape_configs:\n{jobs}"
    )
}

const RULES: &str = "groups:\n- name: floats\n  rules:\n  - record: wait:sum\n    \
    expr: sum(wait_seconds{exported_queue=\"deep\", job=\"messages\"})\n";

#[test]
fn a_real_prometheus_reads_what_we_show_and_we_read_what_it_writes() {
    if !installed("prometheus") {
        return;
    }
    let (written, fewer, accepted) =
        (Arc::<Mutex<Written>>::default(), Arc::<AtomicBool>::default(), Arc::default());
    let server = serve(Arc::clone(&written), Arc::clone(&fewer), Arc::clone(&accepted));
    let address = server.address.to_string();
    let prometheus = Prometheus::start(&configuration(&address), RULES);
    prometheus.query("up == 1", jobs().len());
    let accepted: BTreeSet<String> = accepted.lock().expect("no panic before").clone();
    for accept in &accepted {
        assert_eq!(Format::accepted(accept), Format::Protobuf, "{accept}");
    }
    numbers_are_ours(&prometheus);
    histograms_are_ours(&prometheus);
    metadata_is_ours(&prometheus);
    wait_until("every series was written", || {
        all_is_written(&written.lock().expect("no panic before"), &address)
    });
    histograms_are_written(&written.lock().expect("no panic before"));
    fewer.store(true, Ordering::Relaxed);
    wait_until("the requests ended", || {
        let written = written.lock().expect("no panic before");
        let mut requests = written.samples.iter().filter(|(labels, _)| labels.name() == "requests_total");
        requests.clone().count() == 2 * jobs().len() && requests.all(|(_, samples)| has_ended(samples))
    });
    own_metrics_are_readable(&prometheus);
    what_we_write_comes_back(&prometheus, &written);
}

fn has_ended(samples: &[Sample]) -> bool {
    samples.iter().max_by_key(|sample| sample.at_ms).is_some_and(|sample| sample.value.is_stale())
}

fn numbers_are_ours(prometheus: &Prometheus) {
    for job in ["text", "open", "messages"] {
        let ask = |promql: &str| prometheus.number(&promql.replace("JOB", &format!("job=\"{job}\"")));
        assert_eq!(ask("requests_total{JOB, method=\"GET\", path=\"C:\\\\new\\n\\\"x\\\"\"}"), 7.0);
        assert_eq!(ask("requests_total{JOB, method=\"PUT\", path=\"/ümlaut\"}"), 0.25);
        assert_eq!(ask("filesystem_free_ratio{JOB, mount=\"/var\"}"), f64::INFINITY);
        assert_eq!(ask("filesystem_free_ratio{JOB, mount=\"/tmp\"}"), 1e300);
    }
    let observed = shown(&families(), "wait_seconds", "deep");
    for job in ["text", "open"] {
        let ask = |suffix: &str, more: &str| {
            prometheus
                .number(&format!("wait_seconds_{suffix}{{job=\"{job}\", exported_queue=\"deep\"{more}}}"))
        };
        assert_eq!((ask("count", ""), ask("sum", "")), (observed.count, observed.sum));
        assert_eq!(ask("bucket", ", le=\"+Inf\""), observed.count);
        for (bound, count) in &observed.classic[..4] {
            assert_eq!(ask("bucket", &format!(", le=~\"{bound}([.]0)?\"")), *count);
        }
    }
}

fn histograms_are_ours(prometheus: &Prometheus) {
    let series = "wait_seconds{job=\"messages\", exported_queue=\"deep\"}";
    let native = shown(&families(), "wait_seconds", "deep").native.expect("it is native");
    let found = &prometheus.query(series, 1)[0]["histogram"][1];
    assert_eq!((number(&found["count"]), number(&found["sum"])), (native.count, native.sum));
    // Upper bound (of the absolute value) and count.
    let mut wanted: Vec<(f64, f64)> = Vec::new();
    let end = |index: i32| (f64::from(index) / f64::from(1 << native.schema)).exp2();
    wanted.extend(native.negative.iter().rev().map(|bucket| (-end(bucket.index), bucket.count)));
    wanted.push((native.zero_threshold, native.zero_count));
    wanted.extend(native.positive.iter().map(|bucket| (end(bucket.index), bucket.count)));
    let found: Vec<(f64, f64)> = found["buckets"]
        .as_array()
        .expect("buckets")
        .iter()
        .map(|bucket| {
            let (lower, upper) = (number(&bucket[1]), number(&bucket[2]));
            (if upper < 0.0 { lower } else { upper }, number(&bucket[3]))
        })
        .collect();
    assert_eq!(found.len(), wanted.len());
    for ((found, wanted), place) in found.iter().zip(&wanted).zip(0..) {
        assert!((found.0 / wanted.0 - 1.0).abs() < 1e-12, "bound {place}: {found:?}, {wanted:?}");
        assert_eq!(found.1, wanted.1, "count {place}");
    }
    // The 950th of 1000 values above 0 is 90.25; so many are below that, and 1000 are at most 0.
    let quantile = prometheus.number(&format!("histogram_quantile(0.975, {series})"));
    assert!((quantile / 90.25 - 1.0).abs() < 0.05, "{quantile}");
}

fn metadata_is_ours(prometheus: &Prometheus) {
    let found = prometheus.ask("/api/v1/metadata", |data| data["requests"].is_array());
    let of = |name: &str| (found[name][0]["type"].as_str(), found[name][0]["help"].as_str());
    assert_eq!(of("requests"), (Some("counter"), Some("Requests by \"method\".")));
    assert_eq!(of("requests_total"), (Some("counter"), Some("Requests by \"method\".")));
    assert_eq!(of("wait_seconds"), (Some("histogram"), Some("How long\nit took: \\o/.")));
}

/// Series as our own scrape of the same exporter would store them.
fn own_scrapes(address: &str) -> BTreeSet<Labels> {
    let mut all = BTreeSet::new();
    for Job { name, format, honor_labels, rules } in jobs() {
        let body = encode(format, &families());
        let exposition = decode(format, &body, Buckets::Native, &Limits::default()).expect("readable");
        let labels = Labels::new([("job", name), ("instance", address), ("queue", "of-target")]);
        let metric_relabel = rules.into_iter().map(|rule| Relabel::new(rule).expect("a rule")).collect();
        let target = Target { labels, honor_labels, honor_timestamps: true, metric_relabel };
        let mut cache = ScrapeCache::new(target);
        let scraped = cache.up(exposition, Moment { at_ms: 0, seconds: 0.0 });
        all.extend(scraped.samples.into_iter().map(|(labels, _)| labels));
    }
    all
}

/// Bounds in one form: Prometheus 2 keeps those of text as they are written.
fn canonical(labels: &Labels) -> Labels {
    let pairs = labels.iter().map(|(name, value)| match value.parse::<f64>() {
        Ok(bound) if name == "le" => (name, format!("{bound:?}")),
        _ => (name, value.to_owned()),
    });
    Labels::new(pairs)
}

fn all_is_written(written: &Written, address: &str) -> bool {
    let wanted: BTreeSet<Labels> = own_scrapes(address).iter().map(canonical).collect();
    let mut found: BTreeSet<Labels> = written.samples.keys().map(canonical).collect();
    let rule = Labels::new([("__name__", "wait:sum")]);
    let more: Vec<&Labels> =
        found.iter().filter(|labels| **labels != rule && !wanted.contains(labels)).collect();
    assert!(more.is_empty(), "we would not store {more:#?}");
    let kinds = written.kinds.get("wait_seconds") == Some(&Kind::Histogram);
    found.remove(&rule) && found == wanted && kinds
}

fn histograms_are_written(written: &Written) {
    let of = |wanted: &dyn Fn(&Labels) -> bool| -> Vec<Arc<Histogram>> {
        let series = written.samples.iter().filter(|(labels, _)| wanted(labels));
        let histogram = |sample: &Sample| match &sample.value {
            // On a busy machine a scrape may fail, and the series end.
            Value::Histogram(histogram) if !sample.value.is_stale() => Some(Arc::clone(histogram)),
            _ => None,
        };
        series.flat_map(|(_, samples)| samples).filter_map(histogram).collect()
    };
    let native = shown(&families(), "wait_seconds", "deep").native.expect("it is native");
    let scraped = of(&|labels| labels.name() == "wait_seconds" && labels.get("exported_queue") == "deep");
    assert!(!scraped.is_empty());
    for histogram in scraped {
        assert_eq!(Histogram { reset: native.reset, ..(*histogram).clone() }, native);
    }
    // A rule's histograms are written as floats.
    let sums = of(&|labels| labels.name() == "wait:sum");
    let last = sums.last().expect("the rule was evaluated");
    assert_eq!(Histogram { reset: native.reset, ..(**last).clone() }, native);
}

/// A foreign exporter: Prometheus itself, once as text and once as messages.
fn own_metrics_are_readable(prometheus: &Prometheus) {
    let read = |accept: &str| -> Exposition {
        let answer = http::get(prometheus.address, "/metrics", accept).expect("an answer");
        let format = Format::of_content_type(answer.header("content-type"));
        assert_eq!(format == Format::Protobuf, accept == ACCEPT);
        decode(format, &answer.body, Buckets::Both, &Limits::default()).expect("readable")
    };
    let names = |exposition: &Exposition| -> BTreeSet<String> {
        exposition.samples.iter().map(|sample| sample.labels.to_string()).collect()
    };
    // The first scrape makes new series.
    read(ACCEPT);
    let (text, messages) = (read("text/plain"), read(ACCEPT));
    assert!(text.samples.len() > 300);
    let apart: Vec<String> = names(&text).symmetric_difference(&names(&messages)).cloned().collect();
    assert_eq!(apart, Vec::<String>::new());
    let kinds =
        |exposition: &Exposition| -> Vec<Kind> { exposition.metadata.values().map(|one| one.kind).collect() };
    assert_eq!(kinds(&text), kinds(&messages));
}

/// What we write to it, it has, and writes to us again.
fn what_we_write_comes_back(prometheus: &Prometheus, written: &Mutex<Written>) {
    let whole = shown(&families(), "wait_seconds", "deep").native.expect("it is native");
    let halved = |buckets: &[Bucket]| -> Vec<Bucket> {
        buckets.iter().map(|bucket| Bucket { count: bucket.count / 2.0, ..*bucket }).collect()
    };
    let parts = Histogram {
        zero_count: whole.zero_count / 2.0,
        count: whole.count / 2.0,
        positive: halved(&whole.positive),
        negative: halved(&whole.negative),
        ..whole.clone()
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let at_ms = i64::try_from(since.as_millis()).expect("a moment");
    let series = |name: &str, value: Value| Series {
        labels: Labels::new([(NAME, name), ("text", "a\nb\"c")]),
        samples: vec![Sample { at_ms, value }],
    };
    let pushed = [
        series("pushed_number", Value::Float(-0.1)),
        series("pushed_whole", Value::Histogram(Arc::new(whole))),
        series("pushed_parts", Value::Histogram(Arc::new(parts.clone()))),
        series("pushed_end", Value::stale()),
    ];
    let body = remote_write::encode(&pushed, &BTreeMap::new()).expect("it is small");
    let answer = http::push(prometheus.address, "/api/v1/write", &body).expect("an answer");
    assert!(answer.first.contains(" 204 "), "{}: {}", answer.first, String::from_utf8_lossy(&answer.body));
    assert_eq!(prometheus.number("pushed_number"), -0.1);
    assert_eq!(prometheus.number("histogram_count(pushed_parts)"), parts.count);
    assert_eq!(
        prometheus.number("histogram_quantile(0.9, pushed_parts) == histogram_quantile(0.9, pushed_whole)"),
        { prometheus.number("histogram_quantile(0.9, pushed_whole)") }
    );
    wait_until("what we pushed came back", || {
        let written = written.lock().expect("no panic before");
        pushed.iter().all(|series| {
            let back = written.samples.get(&series.labels).and_then(|samples| samples.first());
            // The end of a series is a NaN: equal by its bits only.
            let wanted = &series.samples[0];
            back.is_some_and(|back| back == wanted || (back.value.is_stale() && wanted.value.is_stale()))
        })
    });
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn promtool_finds_nothing_to_say_about_our_text() {
    if !installed("promtool") {
        return;
    }
    let mut process = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let text = encode(Format::Text, &families());
    process.stdin.take().expect("its input").write_all(&text).expect("promtool reads");
    let output = process.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

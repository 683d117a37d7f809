//! Remote write: what other programs write here, and what is sent to them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_config::region::Remote;
use dwcp_server::clock;
use dwcp_server::log::Log;
use dwcp_server::telemetry::intake::Intake;
use dwcp_server::telemetry::keeper;
use dwcp_server::telemetry::sender::Receiver;
use dwcp_telemetry::exposition::Limits;
use dwcp_telemetry::model::{Labels, NAME, Sample, Series, Value};
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::store::{Config, SeriesRef, Store};

use crate::http_node::{ADMIN, Answer, REGION, Served, VIEWER};
use crate::prometheus_process::{Prometheus, installed};
use crate::scratch::Scratch;

const PROTOBUF: &str = "application/x-protobuf";

fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
    let sample = |(at_ms, value): &(i64, f64)| Sample { at_ms: *at_ms, value: Value::Float(*value) };
    Series { labels: Labels::new(pairs.iter().copied()), samples: samples.iter().map(sample).collect() }
}

fn body(series: &[Series]) -> Vec<u8> {
    remote_write::encode(series, &BTreeMap::new()).expect("a body")
}

fn write_as(served: &Served, token: &str, media: &str, encoding: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer), ("content-type", media), ("content-encoding", encoding)];
    served.send("POST", "/api/v1/write", &headers, body)
}

fn written(served: &Served, series: &[Series]) -> (u16, String) {
    let answer = write_as(served, ADMIN, PROTOBUF, "snappy", &body(series));
    (answer.status, String::from_utf8(answer.body).expect("text"))
}

/// The value of the one row of a query.
fn value(served: &Served, query: &str) -> Option<String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let found = served.get(&format!("/api/v1/query?query={encoded}"), ADMIN).json();
    found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(90), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_written_is_kept_and_who_may_not_write_changes_nothing() {
    let scratch = Scratch::new("written");
    let served = Served::start_measuring("written", &scratch.path().join("metrics"));
    let now = clock::wall_ms();
    let temperature =
        series(&[(NAME, "temperature"), ("room", "a")], &[(now - 2_000, 20.5), (now - 1_000, 21.5)]);
    let good = body(std::slice::from_ref(&temperature));
    assert_eq!(write_as(&served, VIEWER, PROTOBUF, "snappy", &good).status, 403);
    assert_eq!(served.send("POST", "/api/v1/write", &[], &good).status, 401);
    assert_eq!(served.get("/api/v1/write", ADMIN).status, 405);
    for (media, encoding, body, status) in [
        ("application/json", "snappy", &good[..], 415),
        (PROTOBUF, "gzip", &good, 415),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", &good, 415),
        (PROTOBUF, "snappy", b"no snappy", 400),
        (PROTOBUF, "snappy", &snappy(b"\xff\xff\xff"), 400),
        // 4 GiB, it says.
        (PROTOBUF, "snappy", b"\xff\xff\xff\xff\x0f\x00", 413),
    ] {
        let answer = write_as(&served, ADMIN, media, encoding, body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{media} {encoding}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(value(&served, "temperature"), None, "nothing of it was kept");
    assert_eq!(written(&served, std::slice::from_ref(&temperature)), (204, String::new()));
    assert_eq!(value(&served, "temperature{room=\"a\"}").as_deref(), Some("21.5"));
    // The same again is no mistake.
    assert_eq!(written(&served, &[temperature]).0, 204);
    until("it is counted", || {
        value(&served, "dwcp_remote_write_received_samples_total").as_deref() == Some("4")
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_held() {
    let scratch = Scratch::new("large");
    let served = Served::start_measuring("large", &scratch.path().join("metrics"));
    let answer = write_as(&served, ADMIN, PROTOBUF, "snappy", &vec![0; 9 << 20]);
    assert_eq!(answer.status, 413);
    // 100 MB by somebody who asks first: told no before a byte of it is sent.
    let mut stream = served.connect();
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: {PROTOBUF}\r\n\
         content-encoding: snappy\r\ncontent-length: 100000000\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("at most 8388608 bytes"), "{answer}");
}

#[test]
fn what_is_dwcps_own_and_what_goes_beyond_a_limit_is_refused_and_all_else_is_kept() {
    let scratch = Scratch::new("reserved");
    let served = Served::start_measuring("reserved", &scratch.path().join("metrics"));
    until("it measures itself", || value(&served, "dwcp_federation_active_vms").is_some());
    let now = clock::wall_ms();
    let (status, why) = written(
        &served,
        &[
            series(&[(NAME, "dwcp_federation_active_vms"), ("region", REGION)], &[(now, 9_999.0)]),
            series(&[(NAME, "up"), ("job", "dwcpd"), ("instance", REGION)], &[(now, 0.0)]),
            series(&[(NAME, "up"), ("job", "node")], &[(now, 1.0)]),
            series(&[(NAME, "old")], &[(now - 3_600_000, 1.0)]),
            series(&[(NAME, "ahead")], &[(now + 3_600_000, 1.0)]),
        ],
    );
    assert_eq!(status, 400);
    for part in ["2 reserved", "1 too_old", "1 too_far_ahead", "kept: 1"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert_eq!(value(&served, "sum(dwcp_federation_active_vms)").as_deref(), Some("0"));
    assert_eq!(value(&served, "up{job=\"dwcpd\"}").as_deref(), Some("1"));
    assert_eq!(value(&served, "up{job=\"node\"}").as_deref(), Some("1"));
    let long = "x".repeat(5_000);
    assert_eq!(written(&served, &[series(&[(NAME, "a"), ("b", &long)], &[(now, 1.0)])]).0, 400);
    let names: Vec<String> = (0..100).map(|number| format!("label_{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).chain([(NAME, "a")]).collect();
    assert_eq!(written(&served, &[series(&many, &[(now, 1.0)])]).0, 400);
    // A value of a label for everything there is.
    let bomb: Vec<Series> = (0..20_100)
        .map(|number| series(&[(NAME, "bomb"), ("id", &number.to_string())], &[(now, 1.0)]))
        .collect();
    let (status, why) = written(&served, &bomb);
    assert_eq!(status, 400);
    assert!(why.contains("100 too_many_series") && why.contains("20000 new in a request"), "{why}");
    assert_eq!(value(&served, "count(bomb)").as_deref(), Some("20000"));
    until("it still measures itself", || value(&served, "dwcp_metric_store_series").is_some());
}

#[test]
fn version_2_is_told_how_much_was_written() {
    let scratch = Scratch::new("second");
    let served = Served::start_measuring("second", &scratch.path().join("metrics"));
    let now = clock::wall_ms();
    let media = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let message = second(&["", NAME, "humidity", "dwcp_made_up"], &[&[1, 2], &[1, 3]], (now, 40.0));
    let answer = write_as(&served, ADMIN, media, "snappy", &snappy(&message));
    assert_eq!(answer.status, 400, "one of them is reserved");
    let header = |name: &str| answer.header(&format!("x-prometheus-remote-write-{name}-written"));
    assert_eq!(
        (header("samples"), header("histograms"), header("exemplars")),
        (Some("1"), Some("0"), Some("0"))
    );
    assert_eq!(value(&served, "humidity").as_deref(), Some("40"));
}

/// A message of remote write 2.0: symbols, and series of their numbers with one sample each.
fn second(symbols: &[&str], series: &[&[u8]], (at_ms, value): (i64, f64)) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend_from_slice(bytes);
        out
    };
    let mut sample = vec![1 << 3 | 1];
    sample.extend_from_slice(&value.to_le_bytes());
    sample.push(2 << 3);
    let mut rest = at_ms as u64;
    while rest >= 0x80 {
        sample.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    sample.push(rest as u8);
    let mut message: Vec<u8> = symbols.iter().flat_map(|symbol| field(4, symbol.as_bytes())).collect();
    for numbers in series {
        message.extend(field(5, &[field(1, numbers), field(2, &sample)].concat()));
    }
    message
}

/// A block of Snappy that copies nothing.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    let mut out = vec![bytes.len() as u8];
    for piece in bytes.chunks(60) {
        out.push((piece.len() as u8 - 1) << 2);
        out.extend_from_slice(piece);
    }
    out
}

#[test]
fn a_query_that_would_read_too_much_is_refused_with_what_it_costs() {
    let scratch = Scratch::new("costly");
    let served = Served::start_measuring("costly", &scratch.path().join("metrics"));
    until("it is kept", || value(&served, "up").is_some());
    let answer = served.get("/api/v1/query?query=count_over_time(up%5B10d:10ms%5D)", ADMIN);
    let json = answer.json();
    assert_eq!((answer.status, &json["errorType"]), (422, &"execution".into()), "{json}");
    let why = json["error"].as_str().expect("a reason");
    assert!(why.contains("samples at once and may hold 5000000"), "{why}");
}

#[test]
fn a_real_prometheus_writes_into_a_region_and_is_read_back() {
    if !installed() {
        return;
    }
    let scratch = Scratch::new("foreign");
    let served = Served::start_measuring("foreign", &scratch.path().join("metrics"));
    let settings = format!(
        "global: {{scrape_interval: 1s, external_labels: {{site: lab}}}}\n\
         scrape_configs:\n\
         - {{job_name: prometheus, static_configs: [{{targets: ['{{address}}']}}]}}\n\
         - {{job_name: region, authorization: {{credentials: {ADMIN}}}, static_configs: [{{targets: ['{address}']}}]}}\n\
         remote_write:\n\
         - url: http://{address}/api/v1/write\n  authorization: {{credentials: {ADMIN}}}\n  send_native_histograms: true\n\
        \x20 write_relabel_configs: [{{source_labels: [__name__], regex: 'dwcp_.*', action: drop}}]\n",
        address = served.address
    );
    let prometheus = Prometheus::start("writes", &settings);
    until("its target is there", || {
        value(&served, "up{job=\"prometheus\",site=\"lab\"}").as_deref() == Some("1")
    });
    until("and the region as its target", || {
        value(&served, "up{job=\"region\",site=\"lab\"}").as_deref() == Some("1")
    });
    // Both tell the same of one moment that both have.
    let query = "count by (job) (count_over_time(go_goroutines[1h]))";
    let theirs = prometheus.rows("prometheus_build_info");
    let version = theirs[0]["metric"]["version"].as_str().expect("a version").to_owned();
    let ours = value(&served, &format!("prometheus_build_info{{version={version:?},site=\"lab\"}}"));
    assert_eq!(ours.as_deref(), Some("1"));
    assert_eq!(value(&served, query).as_deref(), Some("1"));
    let failed = prometheus.rows("sum(prometheus_remote_storage_samples_failed_total) or vector(0)");
    assert_eq!(failed[0]["value"][1], "0");
}

/// Somebody who takes what is written, or answers as told; what it took by the order of arrival.
struct Taker {
    address: SocketAddr,
    /// Status lines and headers of the answers to come; then all is taken.
    answers: Arc<Mutex<Vec<&'static str>>>,
    taken: Arc<Mutex<Vec<(String, i64)>>>,
}

impl Taker {
    fn start(answers: &[&'static str]) -> Taker {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let taken: Arc<Mutex<Vec<(String, i64)>>> = Arc::default();
        let (told, kept) = (answers.clone(), taken.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = take(stream, &told, &kept);
            }
        });
        Taker { address, answers, taken }
    }

    fn remote(&self) -> Remote {
        Remote { url: format!("http://{}/write", self.address), ..Remote::default() }
    }

    fn moments(&self) -> Vec<i64> {
        self.taken.lock().expect("kept").iter().map(|(_, at_ms)| *at_ms).collect()
    }
}

fn take(
    mut stream: std::net::TcpStream,
    answers: &Mutex<Vec<&'static str>>,
    taken: &Mutex<Vec<(String, i64)>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(
        text.contains("content-encoding: snappy") && text.contains("content-type: application/x-protobuf")
    );
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let mut answers = answers.lock().expect("answers");
    let answer = if answers.is_empty() { "204 No Content\r\n" } else { answers.remove(0) };
    if answer.starts_with("204") {
        let request = remote_write::decode(Version::One, &body, &Limits::default()).expect("a request");
        let mut taken = taken.lock().expect("kept");
        for series in request.series {
            taken.extend(series.samples.iter().map(|sample| (series.labels.to_string(), sample.at_ms)));
        }
    }
    write!(stream, "HTTP/1.1 {answer}content-length: 0\r\nconnection: close\r\n\r\n")
}

fn open(scratch: &Scratch) -> Arc<Store> {
    keeper::open(&scratch.path().join("metrics"), Config::default(), &Log::silent(REGION)).expect("a store")
}

fn put(intake: &Intake, moments: impl Iterator<Item = i64>) {
    for at_ms in moments {
        let series = SeriesRef::new(Labels::new([(NAME, "beat")]));
        let sample = Sample { at_ms, value: Value::Float(1.0) };
        assert_eq!(intake.take(&[(series, sample)], clock::wall_ms(), None).expect("kept").added, 1);
    }
}

fn intake(store: &Arc<Store>, taker: &Taker, scratch: &Scratch) -> Intake {
    let receiver = Receiver::new(&taker.remote(), &scratch.path().join("sent"), true).expect("a receiver");
    Intake { store: Some(store.clone()), receivers: Arc::new(vec![Arc::new(receiver)]) }
}

fn send(runtime: &tokio::runtime::Runtime, intake: &Intake) {
    let receiver = intake.receivers[0].clone();
    runtime.spawn(receiver.keep(intake.store.clone(), 86_400_000, Log::silent(REGION)));
}

#[test]
fn what_is_kept_is_sent_once_in_order_through_refusals_breaks_and_restarts() {
    let scratch = Scratch::new("sent");
    let store = open(&scratch);
    let taker = Taker::start(&[
        "503 Service Unavailable\r\nretry-after: 1\r\n",
        "429 Too Many Requests\r\nretry-after: 1\r\n",
        "401 Unauthorized\r\n",
    ]);
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let now = clock::wall_ms() - 60_000;
    let first = intake(&store, &taker, &scratch);
    let running = runtime();
    let began = Instant::now();
    send(&running, &first);
    put(&first, now..now + 10);
    until("all is there", || taker.moments().len() == 10);
    assert!(began.elapsed() >= Duration::from_secs(3), "it was asked to wait, and then was not let in");
    assert!(taker.answers.lock().expect("answers").is_empty());
    until("it is written down", || {
        let note = std::fs::read_dir(scratch.path().join("sent")).ok().and_then(|mut files| files.next());
        let text = note.and_then(|file| std::fs::read_to_string(file.ok()?.path()).ok()).unwrap_or_default();
        text.contains(&format!("{}", now + 9))
    });
    running.shutdown_timeout(Duration::from_secs(5));
    // Nobody sends, and more is kept; the next process goes on there.
    let between = Intake { store: Some(store.clone()), ..Intake::default() };
    put(&between, now + 10..now + 20);
    let second = intake(&store, &taker, &scratch);
    let running = runtime();
    put(&second, now + 20..now + 25);
    send(&running, &second);
    until("all of it is there", || taker.moments().len() >= 25);
    assert_eq!(taker.moments(), (now..now + 25).collect::<Vec<_>>());
    running.shutdown_timeout(Duration::from_secs(5));
}

#[test]
fn a_sample_that_is_refused_costs_few_others() {
    let scratch = Scratch::new("bad");
    let store = open(&scratch);
    // Refused as a whole and as its first half; the quarters are taken but one, which is too small to be cut again.
    let taker = Taker::start(&["400 Bad Request\r\n", "400 Bad Request\r\n", "400 Bad Request\r\n"]);
    let all = intake(&store, &taker, &scratch);
    let now = clock::wall_ms() - 60_000;
    put(&all, now..now + 160);
    let running = tokio::runtime::Runtime::new().expect("a runtime");
    send(&running, &all);
    until("the others are there", || taker.moments().len() == 120);
    assert_eq!(taker.moments(), (now + 40..now + 160).collect::<Vec<_>>());
    running.shutdown_timeout(Duration::from_secs(5));
}

//! What is handed on to a collector: one in this process that reads the binary form by itself, and does not always answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_config::region::Otlp;
use dwcp_server::clock;
use dwcp_server::log::Log;
use dwcp_server::telemetry::export::{self, Exporter, Sources};
use dwcp_server::telemetry::{Instruments, Traces, keeper, logs, traces::Answered};
use dwcp_telemetry::exposition::{Format, encode};
use dwcp_telemetry::model::{Labels, NAME, Value};
use dwcp_telemetry::store::{Row, SeriesRef};
use dwcp_types::Mono;

use crate::scratch::Scratch;

const REGION: &str = "eu-west-1";
const REQUEST: &str = "req_4bf92f3577b34da6a3ce929d0e0e4736";
const LONGEST: Duration = Duration::from_secs(60);

/// A message of Protocol Buffers: its fields by number, each as it came.
type Message = BTreeMap<u64, Vec<Field>>;

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return value;
        }
    }
    panic!("a number without an end");
}

fn message(mut bytes: &[u8]) -> Message {
    let mut found = Message::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(number.try_into().expect("8 bytes")))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (inside, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(inside.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        found.entry(tag >> 3).or_default().push(field);
    }
    found
}

fn bytes(message: &Message, number: u64) -> &[u8] {
    match &message[&number][0] {
        Field::Bytes(bytes) => bytes,
        Field::Number(number) => panic!("{number} instead of bytes"),
    }
}

fn text(message: &Message, number: u64) -> String {
    String::from_utf8(bytes(message, number).to_vec()).expect("text")
}

fn number(message: &Message, number: u64) -> u64 {
    match message[&number][0] {
        Field::Number(number) => number,
        Field::Bytes(_) => panic!("bytes instead of a number"),
    }
}

/// The messages under a path of numbers.
fn all(of: &[u8], path: &[u64]) -> Vec<Message> {
    let here = message(of);
    let Some((first, rest)) = path.split_first() else { return vec![here] };
    let inside = here.get(first).into_iter().flatten();
    let inside = inside.flat_map(|field| match field {
        Field::Bytes(bytes) => all(bytes, rest),
        Field::Number(number) => panic!("{number} instead of a message"),
    });
    inside.collect()
}

/// A request as it arrived.
struct Arrived {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    at: Instant,
}

/// What the collector answers to the requests of one path, in turn; then 200.
type Answers = Arc<Mutex<Vec<&'static str>>>;

const HANG: &str = "";

fn arrived(stream: &TcpStream) -> Option<Arrived> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Arrived { path, headers, body, at: Instant::now() })
}

fn collect(listener: TcpListener, answers: Answers) -> Receiver<Arrived> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut hanging = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some(request) = arrived(&stream) else { continue };
            let mut answers = answers.lock().expect("answers");
            let answer = if answers.is_empty() { "HTTP/1.1 200 OK\r\n" } else { answers.remove(0) };
            if sender.send(request).is_err() {
                return;
            }
            if answer == HANG {
                hanging.push(stream);
                continue;
            }
            let whole = format!("{answer}connection: close\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(whole.as_bytes());
        }
    });
    receiver
}

/// A region's stores, and what is handed on of them.
struct Exporting {
    log: Log,
    instruments: Instruments,
    sources: Sources,
}

impl Exporting {
    fn new(folder: &Path) -> Exporting {
        let log = Log::silent(REGION);
        let instruments = Instruments::new(REGION);
        let (kept, lines) = logs::open(&folder.join("logs"), REGION, &log).expect("a log");
        log.keep_for_queries(lines);
        let metrics = keeper::open(&folder.join("metrics"), dwcp_telemetry::store::Config::default(), &log);
        let sources = Sources { metrics: Some(metrics.expect("a store")), logs: Some(kept) };
        Exporting { log, instruments, sources }
    }

    fn start(&self, config: &Otlp) -> Exporter {
        export::start(config, REGION, self.sources.clone(), &self.instruments, &self.log).expect("started")
    }

    fn counted(&self, signal: &str, outcome: &str) -> f64 {
        let families = self.instruments.gather(vec![]).families;
        let shown = String::from_utf8(encode(Format::Text, &families)).expect("text");
        let name = format!("dwcp_otlp_items_total{{outcome=\"{outcome}\",signal=\"{signal}\"}} ");
        let line = shown.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn until_counted(&self, signal: &str, outcome: &str, least: f64) {
        let began = Instant::now();
        while self.counted(signal, outcome) < least {
            assert!(began.elapsed() < LONGEST, "{signal} {outcome}: {}", self.counted(signal, outcome));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn config(address: SocketAddr, signals: (bool, bool, bool)) -> Otlp {
    let (logs, metrics, traces) = signals;
    let endpoint = format!("http://{address}/");
    Otlp { endpoint, logs, metrics, traces, interval_ms: 100, ..Otlp::default() }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

#[test]
fn lines_spans_and_values_arrive_as_opentelemetry_has_them() {
    let scratch = Scratch::new("export-all");
    let (listener, address) = listen();
    let received = collect(listener, Answers::default());
    let headers = scratch.path().join("headers");
    std::fs::write(&headers, "# ours\nAuthorization: Bearer secret\n").expect("written");
    let ours = Exporting::new(scratch.path());
    ours.log.info("monitor", "said before anything was handed on");
    std::thread::sleep(Duration::from_millis(1_500));
    let headers_file = Some(headers.display().to_string());
    let _exporter = ours.start(&Otlp { headers_file, ..config(address, (true, true, true)) });

    ours.log.error("security", "turned away");
    let traces = Traces::new(REGION, ours.log.clone(), ours.instruments.clone());
    let began = Mono(clock::mono().0 - 5_000);
    let (method, path, caller) = ("POST", "/v1/vms", None);
    traces.answered(&Answered {
        request_id: REQUEST,
        caller,
        method,
        path,
        status: 500,
        began,
        writes: true,
    });
    std::thread::sleep(Duration::from_millis(5));
    let at_ms = clock::wall_ms();
    let series = SeriesRef::new(Labels::new([(NAME, "vms"), ("region", REGION)]));
    let row = Row { series: &series, at_ms, value: Value::Float(2.5) };
    let store = ours.sources.metrics.as_ref().expect("a store");
    assert_eq!(store.append(&[row], at_ms).expect("kept").added, 1);

    let mut bodies = BTreeMap::new();
    while bodies.len() < 3 {
        let request = received.recv_timeout(LONGEST).expect("a request");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.headers["authorization"], "Bearer secret");
        bodies.insert(request.path, request.body);
    }
    let lines = all(&bodies["/v1/logs"], &[1, 2, 2]);
    let shown: Vec<(u64, String)> =
        lines.iter().map(|line| (number(line, 2), text(&message(bytes(line, 5)), 1))).collect();
    assert_eq!(shown, [(17, "turned away".to_owned())]);
    let attributes = all(&bodies["/v1/logs"], &[1, 1, 1]);
    let region = attributes.iter().find(|one| text(one, 1) == "cloud.region").expect("its region");
    assert_eq!(text(&message(bytes(region, 2)), 1), REGION);

    let spans = all(&bodies["/v1/traces"], &[1, 2, 2]);
    assert_eq!(spans.len(), 1);
    let id: String = bytes(&spans[0], 1).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((id.as_str(), bytes(&spans[0], 2).len()), (&REQUEST[4..], 8));
    assert_eq!((text(&spans[0], 5), spans[0].get(&4)), ("POST /v1/vms".to_owned(), None));
    assert!(number(&spans[0], 8) - number(&spans[0], 7) >= 5_000_000);
    assert_eq!(number(&message(bytes(&spans[0], 15)), 3), 2, "it failed");

    let metric = &all(&bodies["/v1/metrics"], &[1, 2, 2])[0];
    assert_eq!(text(metric, 1), "vms");
    let point = &all(bytes(metric, 5), &[1])[0];
    assert_eq!((f64::from_bits(number(point, 4)), number(point, 3)), (2.5, at_ms as u64 * 1_000_000));
    ours.until_counted("traces", "sent", 1.0);
}

#[test]
fn a_collector_that_asks_for_time_hangs_or_refuses_gets_each_line_once() {
    let scratch = Scratch::new("export-slow");
    let (listener, address) = listen();
    let answers = Answers::default();
    *answers.lock().expect("answers") = vec![
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\n",
        HANG,
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    ];
    let received = collect(listener, answers);
    let ours = Exporting::new(scratch.path());
    let _exporter = ours.start(&config(address, (true, false, false)));
    ours.log.info("security", "first");
    let next = || received.recv_timeout(LONGEST).expect("a request");
    let (asked, hung, taken) = (next(), next(), next());
    assert!(hung.at - asked.at >= Duration::from_secs(3), "sooner than it was asked for");
    assert!(taken.at - hung.at >= Duration::from_secs(10), "while the other was still waited for");
    assert!(asked.body == hung.body && asked.body == taken.body);
    ours.until_counted("logs", "sent", 1.0);
    // That something waits is said once, and is a line itself: it is refused, and not sent again.
    let refused = next();
    assert_ne!(refused.body, asked.body);
    ours.until_counted("logs", "refused", 1.0);
    ours.log.info("security", "last");
    let is_last = |line: &Message| text(&message(bytes(line, 5)), 1) == "last";
    while !all(&next().body, &[1, 2, 2]).iter().any(is_last) {}
}

#[test]
fn while_the_collector_is_dead_what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let scratch = Scratch::new("export-dead");
    let (listener, address) = listen();
    drop(listener);
    let ours = Exporting::new(scratch.path());
    let exporter = ours.start(&config(address, (true, false, false)));
    // Three times as much as may wait.
    for _ in 0..3 {
        for _ in 0..512 {
            ours.log.info("security", "x".repeat(16 << 10));
        }
        std::thread::sleep(Duration::from_millis(1_200));
    }
    ours.until_counted("logs", "dropped", 512.0);
    ours.log.info("security", "the newest");
    let received = collect(TcpListener::bind(address).expect("bound again"), Answers::default());
    let (mut got, mut found) = (0, false);
    while !found {
        let lines = all(&received.recv_timeout(LONGEST).expect("a request").body, &[1, 2, 2]);
        got += lines.len();
        found = lines.iter().any(|line| text(&message(bytes(line, 5)), 1) == "the newest");
    }
    assert!(got < 1_100, "{got} lines waited");
    let began = Instant::now();
    drop(exporter);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn what_can_not_be_used_is_said_before_anything_begins() {
    let scratch = Scratch::new("export-bad");
    let ours = Exporting::new(scratch.path());
    let good = config("127.0.0.1:9".parse().expect("an address"), (true, true, true));
    let begin = |config: &Otlp| {
        export::start(config, REGION, ours.sources.clone(), &ours.instruments, &ours.log).map(drop)
    };
    let missing = Otlp { headers_file: Some("/nowhere/headers".into()), ..good.clone() };
    assert!(begin(&missing).expect_err("no such file").contains("/nowhere/headers"));
    let file = scratch.path().join("headers");
    std::fs::write(&file, "Authorization Bearer secret\n").expect("written");
    let path = Some(file.display().to_string());
    let error = begin(&Otlp { headers_file: path.clone(), ..good.clone() }).expect_err("no header");
    assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
    let error =
        begin(&Otlp { endpoint: "https://127.0.0.1:9".into(), ca: path, ..good }).expect_err("no roots");
    assert!(error.contains("no certificate"), "{error}");
}

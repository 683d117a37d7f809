//! Hands lines of the log, metrics and spans on to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Each kind has a thread and a queue of its own: what a collector takes slowly or not at all waits up to a bound, then the
//! oldest is dropped and counted. Nothing else waits for it. What a process before this one did not send is not sent.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dwcp_config::region::Otlp;
use dwcp_telemetry::logs::{self, Record};
use dwcp_telemetry::model::{Select, Series, Source as _, SourceError};
use dwcp_telemetry::otlp::{self, Body, Queue, Verdict, Waiting};
use dwcp_telemetry::store;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, http};

use super::Instruments;
use crate::clock;
use crate::log::Log;

/// Where Linux systems keep the roots they trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer that is read, bytes.
const LARGEST_ANSWER: u64 = 64 << 10;
/// What may wait of one kind, bytes.
const QUEUE_BYTES: usize = 8 << 20;
/// Records of one request, and their bytes but for one that is longer; and records of one look at the log.
const RECORDS: usize = 1_000;
const RECORDS_BYTES: usize = 1 << 20;
const RECORDS_AT_ONCE: usize = 20_000;
/// Values of one request, and of one look at the metrics.
const VALUES: usize = 5_000;
const VALUES_AT_ONCE: u64 = 500_000;
/// What was measured at a moment is kept after this, ms.
const KEPT_AFTER_MS: i64 = 5_000;
/// Longest file of headers, bytes.
const HEADERS_BYTES: u64 = 64 << 10;

/// Where what is handed on comes from.
#[derive(Clone, Default)]
pub struct Sources {
    pub metrics: Option<Arc<store::Store>>,
    pub logs: Option<Arc<logs::Store>>,
}

/// What is handed on. It ends when this is dropped.
pub struct Exporter {
    stopping: Arc<Stopping>,
}

#[derive(Default)]
struct Stopping {
    told: Mutex<bool>,
    bell: Condvar,
}

impl Stopping {
    /// Waits so long; true when it is over before.
    fn within(&self, wait: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(told, wait, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        *self.stopping.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopping.bell.notify_all();
    }
}

/// Begins to hand on what is wanted, from what is measured and said from now on.
///
/// # Errors
/// The headers or the roots can't be read, or the system starts no thread.
pub fn start(
    config: &Otlp,
    region: &str,
    sources: Sources,
    instruments: &Instruments,
    log: &Log,
) -> Result<Exporter, String> {
    let client = Client::new(config)?;
    let exporter = Exporter { stopping: Arc::default() };
    let begin = |signal: &'static str, source: Source| {
        let work = Work {
            signal,
            source,
            queue: Queue::new(QUEUE_BYTES),
            uri: format!("{}/v1/{signal}", config.endpoint.trim_end_matches('/')),
            client: client.clone(),
            interval: Duration::from_millis(config.interval_ms),
            instruments: instruments.clone(),
            log: log.clone(),
            failing: false,
        };
        let stopping = exporter.stopping.clone();
        let spawned = std::thread::Builder::new().name(format!("dwcpd-{signal}"));
        spawned.spawn(move || work.run(&stopping)).map(drop).map_err(|e| e.to_string())
    };
    if let Some(store) = sources.logs {
        let source = |spans| Source::Log { store: store.clone(), after: last(&store), spans };
        if config.logs {
            begin("logs", source(false))?;
        }
        if config.traces {
            begin("traces", source(true))?;
        }
    }
    if let (true, Some(store)) = (config.metrics, sources.metrics) {
        begin("metrics", Source::Metrics { store, until_ms: clock::wall_ms(), region: region.to_owned() })?;
    }
    Ok(exporter)
}

/// The number of the last record of the store's own log.
fn last(store: &logs::Store) -> u64 {
    let own = store.origin();
    store.logs().into_iter().find(|(origin, _)| origin == own).map_or(0, |(_, last)| last)
}

/// What is looked at.
enum Source {
    /// A region's own log behind this number: its spans, or its lines.
    Log { store: Arc<logs::Store>, after: u64, spans: bool },
    /// A region's metrics after this moment, ms.
    Metrics { store: Arc<store::Store>, until_ms: i64, region: String },
}

impl Source {
    /// What is new, as requests.
    ///
    /// # Errors
    /// Why it can't be read; it is left out.
    fn look(&mut self) -> Result<Vec<Waiting>, SourceError> {
        match self {
            Source::Log { store, after, spans } => Ok(records(store, after, *spans)),
            Source::Metrics { store, until_ms, region } => {
                let (start_ms, end_ms) =
                    (until_ms.saturating_add(1), clock::wall_ms().saturating_sub(KEPT_AFTER_MS));
                *until_ms = end_ms.max(*until_ms);
                let (step_ms, max_samples) = (0, VALUES_AT_ONCE);
                let wanted = Select { matchers: vec![], start_ms, end_ms, step_ms, max_samples };
                Ok(values(store.select(&wanted)?.series, region))
            }
        }
    }
}

fn records(store: &logs::Store, after: &mut u64, spans: bool) -> Vec<Waiting> {
    let (mut requests, own) = (Vec::new(), store.origin().clone());
    for _ in 0..RECORDS_AT_ONCE / RECORDS {
        let Some(shipment) = store.after(&own, *after, RECORDS) else { break };
        *after = shipment.through.max(*after + 1);
        let of_kind = |record: &Record| record.entry.span.is_some() == spans;
        let wanted: Vec<Record> = shipment.records.into_iter().filter(of_kind).collect();
        let write = if spans { otlp::spans } else { otlp::logs };
        let parts = parts(&wanted).into_iter();
        requests.extend(parts.filter_map(|part| request(part.len() as u64, || write(part))));
    }
    requests
}

/// Records in runs of bounded length.
fn parts(mut rest: &[Record]) -> Vec<&[Record]> {
    let bytes = |record: &Record| {
        let fields = record.entry.fields.iter().map(|(name, value)| name.len() + value.len());
        record.entry.message.len() + fields.sum::<usize>()
    };
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let mut total = 0;
        let fit = rest.iter().take_while(|record| {
            total += bytes(record);
            total <= RECORDS_BYTES
        });
        let (part, behind) = rest.split_at(fit.count().max(1));
        parts.push(part);
        rest = behind;
    }
    parts
}

/// Series of at most so many values each time, one series at least.
fn values(series: Vec<Series>, region: &str) -> Vec<Waiting> {
    let (mut requests, mut part, mut count) = (Vec::new(), Vec::new(), 0);
    for one in series {
        count += one.samples.len();
        part.push(one);
        if count >= VALUES {
            requests.extend(request(count as u64, || otlp::metrics(&part, region)));
            (part, count) = (Vec::new(), 0);
        }
    }
    requests.extend(request(count as u64, || otlp::metrics(&part, region)));
    requests
}

fn request(items: u64, body: impl FnOnce() -> Body) -> Option<Waiting> {
    (items > 0).then(|| Waiting { items, bytes: body().protobuf() })
}

/// What one thread does.
struct Work {
    signal: &'static str,
    source: Source,
    queue: Queue,
    uri: String,
    client: Client,
    interval: Duration,
    instruments: Instruments,
    log: Log,
    failing: bool,
}

impl Work {
    fn run(mut self, stopping: &Stopping) {
        let (mut look_at, mut send_at) = (Instant::now() + self.interval, Instant::now());
        loop {
            let next = if self.queue.first().is_some() { look_at.min(send_at) } else { look_at };
            if stopping.within(next.saturating_duration_since(Instant::now())) {
                return;
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + self.interval;
                self.look();
            }
            while Instant::now() >= send_at && !stopping.within(Duration::ZERO) {
                let Some(first) = self.queue.first() else { break };
                let answer = self.client.send(&self.uri, &first.bytes);
                send_at = Instant::now() + self.settle(answer);
            }
        }
    }

    fn look(&mut self) {
        match self.source.look() {
            Ok(requests) => {
                for request in requests {
                    let dropped = self.queue.push(request);
                    self.instruments.exported(self.signal, "dropped", dropped);
                }
            }
            Err(why) => {
                if let SourceError::TooMuch { samples, .. } = why {
                    self.instruments.exported(self.signal, "dropped", samples);
                }
                self.tell(format!("can't be read: {why}"));
            }
        }
    }

    /// What an answer, or none, makes of the first request: how long to wait before the next try.
    fn settle(&mut self, answer: Result<(Verdict, u16), String>) -> Duration {
        match answer {
            Ok((Verdict::Taken { rejected }, _)) => {
                let items = self.queue.pop().map_or(0, |taken| taken.items);
                let rejected = rejected.min(items);
                self.instruments.exported(self.signal, "sent", items - rejected);
                self.instruments.exported(self.signal, "refused", rejected);
                if std::mem::take(&mut self.failing) {
                    self.log.info("monitor", format!("{} are handed on again", self.signal));
                }
                Duration::ZERO
            }
            Ok((Verdict::Refused, status)) => {
                let items = self.queue.pop().map_or(0, |refused| refused.items);
                self.instruments.exported(self.signal, "refused", items);
                self.tell(format!("were refused with status {status}"));
                Duration::ZERO
            }
            Ok((Verdict::Again(after), status)) => {
                self.tell(format!("wait: the collector answered with status {status}"));
                self.queue.wait().max(after.unwrap_or_default())
            }
            Err(why) => {
                self.tell(format!("wait: {why}"));
                self.queue.wait()
            }
        }
    }

    /// Once, and not every time: the log is for people, and is handed on itself.
    fn tell(&mut self, what: String) {
        if !std::mem::replace(&mut self.failing, true) {
            self.log.warning("monitor", format!("{} for {} {what}", self.signal, self.uri));
        }
    }
}

/// Sends requests to a collector.
#[derive(Clone)]
struct Client {
    agent: Agent,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl Client {
    fn new(config: &Otlp) -> Result<Client, String> {
        let headers = match &config.headers_file {
            Some(path) => headers(&read(Path::new(path), HEADERS_BYTES)?)
                .map_err(|(line, why)| format!("{path}, line {line}: {why}"))?,
            None => vec![],
        };
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_global(Some(ANSWER_WITHIN))
            .user_agent(concat!("dwcpd/", env!("CARGO_PKG_VERSION")));
        if config.endpoint.starts_with("https://") {
            agent = agent.tls_config(tls(config.ca.as_deref().unwrap_or(SYSTEM_ROOTS))?);
        }
        Ok(Client { agent: agent.build().into(), headers })
    }

    fn send(&self, uri: &str, body: &[u8]) -> Result<(Verdict, u16), String> {
        let mut request =
            http::Request::builder().method("POST").uri(uri).header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|e| e.to_string())?;
        let mut answer = self.agent.run(request).map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("retry-after").map(str::to_owned);
        let is_protobuf =
            header("content-type").is_some_and(|media| media.starts_with("application/x-protobuf"));
        // An answer that is cut off or too long says no more than its status.
        let said = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec().unwrap_or_default();
        let said = if is_protobuf { &said[..] } else { &[] };
        let now_s = clock::wall_ms() / 1_000;
        Ok((otlp::verdict(status, retry_after.as_deref(), said, now_s), status))
    }
}

type Headers = Vec<(http::HeaderName, http::HeaderValue)>;

/// `Name: value` a line; empty lines and those that begin with `#` say nothing. An error names the line, from 1, and nothing
/// of what is in it.
fn headers(text: &[u8]) -> Result<Headers, (usize, &'static str)> {
    let text = std::str::from_utf8(text).map_err(|_| (1, "the file is no UTF-8"))?;
    let mut found = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or((number, "not of the form 'Name: value'"))?;
        let name =
            name.trim().parse::<http::HeaderName>().map_err(|_| (number, "not the name of a header"))?;
        let mut value =
            value.trim().parse::<http::HeaderValue>().map_err(|_| (number, "not the value of a header"))?;
        value.set_sensitive(true);
        found.push((name, value));
    }
    Ok(found)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    match bytes.len() as u64 > limit {
        true => Err(format!("{} is longer than {limit} bytes", path.display())),
        false => Ok(bytes),
    }
}

fn tls(path: &str) -> Result<TlsConfig, String> {
    let pem = read(Path::new(path), 16 << 20)?;
    let roots: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        return Err(format!("{path} holds no certificate"));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_line_by_line_and_an_error_tells_no_secret() {
        let found =
            headers(b"# for the collector\nAuthorization: Bearer a:b \r\n\nx-tenant:7").expect("good");
        let shown: Vec<(&str, &[u8])> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(shown, [("authorization", &b"Bearer a:b"[..]), ("x-tenant", &b"7"[..])]);
        let bad: [(&[u8], usize); 5] =
            [(b"a: b\nsecret", 2), (b"se cret: x", 1), (b": x", 1), (b"a: x\x01y", 1), (b"\xff: x", 1)];
        for (bad, line) in bad {
            assert_eq!(headers(bad).map_err(|(line, _)| line), Err(line));
        }
    }
}

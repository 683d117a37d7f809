//! Sends what is kept here to other programs, by remote write 1.0 (prometheus.io, *Remote-Write 1.0 specification*).

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dwcp_config::region::Remote;
use dwcp_telemetry::exposition::Family;
use dwcp_telemetry::model::{Labels, Matcher, NAME, Sample, Select, Series, Source, SourceError};
use dwcp_telemetry::remote_write::outbox::{Next, Outbox, Verdict, verdict, wait_ms};
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::store::Store;
use dwcp_types::{VERSION, hex};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::log::Log;
use crate::outbound::{Caller, Said};

/// Most samples of a request, as Prometheus has it.
const MOST_SAMPLES: usize = 2_000;
/// A request that is refused is cut in two as long as it has more than this: one sample that a receiver does not like must not cost
/// it all others.
const NOT_CUT: usize = 50;
/// What may wait in memory for one receiver, bytes.
const WAITS_BYTES: usize = 32 << 20;
/// What is read of the store at once: a span, ms, and samples.
const SPAN_MS: i64 = 3_600_000;
const LEAST_SPAN_MS: i64 = 1_000;
const READ_SAMPLES: u64 = 500_000;
/// How long an answer may take, and be.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: u64 = 64 << 10;
/// How often is written down what was sent, at most.
const NOTED_EVERY: Duration = Duration::from_secs(1);
/// Between two lines of the log about what is refused.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A program that gets what is kept here.
pub struct Receiver {
    caller: Caller,
    outbox: Mutex<Outbox>,
    more: Notify,
    /// Where is written down what was sent.
    note: PathBuf,
    noted: Mutex<(Option<i64>, Option<Instant>)>,
    sent: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
}

impl Receiver {
    /// One of the settings; `folder`: where is written down what it got. `is_kept`: there is a store to read again.
    ///
    /// # Errors
    /// The file of its authority can't be used.
    pub fn new(remote: &Remote, folder: &Path, is_kept: bool) -> Result<Receiver, String> {
        let caller = Caller::new(remote, ANSWERS_WITHIN, LONGEST_ANSWER)?;
        let name = hex(&digest(&SHA256, remote.place().as_bytes()).as_ref()[..8]);
        let note = folder.join(format!("{name}.json"));
        let sent_to_ms = read_note(&note);
        Ok(Receiver {
            caller,
            outbox: Mutex::new(Outbox::new(WAITS_BYTES, is_kept, sent_to_ms, clock::wall_ms())),
            more: Notify::new(),
            note,
            noted: Mutex::new((sent_to_ms, None)),
            sent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples in that were kept a moment ago.
    pub fn put(&self, samples: impl Iterator<Item = (Labels, Sample)>) {
        let mut outbox = self.outbox();
        samples.for_each(|(labels, sample)| outbox.put(labels, sample));
        drop(outbox);
        self.more.notify_one();
    }

    /// Sends for as long as the process lives; what it misses is read from `store`, which keeps it for so long.
    pub async fn keep(self: Arc<Receiver>, store: Option<Arc<Store>>, keep_ms: i64, log: Log) {
        let mut told = Told { log, failing: false, refused_at: None };
        let mut span_ms = SPAN_MS;
        loop {
            let next = {
                let mut outbox = self.outbox();
                outbox.forget_before(clock::wall_ms().saturating_sub(keep_ms));
                outbox.next(MOST_SAMPLES, span_ms)
            };
            match (next, &store) {
                (Next::Send(batch), _) => {
                    let newest = batch.iter().map(|(_, sample)| sample.at_ms).max().unwrap_or(i64::MIN);
                    self.deliver(by_series(batch), &mut told).await;
                    self.outbox().sent(newest);
                }
                (Next::Read(from, to), Some(store)) => match read(store.clone(), from, to).await {
                    Ok(series) => {
                        for request in requests(series) {
                            self.deliver(request, &mut told).await;
                        }
                        self.outbox().read(to);
                        span_ms = (2 * span_ms).min(SPAN_MS);
                    }
                    Err(SourceError::TooMuch { .. }) => span_ms = (to - from).max(2 * LEAST_SPAN_MS) / 2,
                    Err(SourceError::Failed(why)) => {
                        told.log.warning(
                            "monitor",
                            format!("what {} missed can't be read: {why}", self.caller.place()),
                        );
                        sleep(Duration::from_millis(wait_ms(u32::MAX, None))).await;
                    }
                },
                (Next::Read(_, to), None) => self.outbox().read(to),
                (Next::Wait, _) => {
                    let _ = timeout(NOTED_EVERY, self.more.notified()).await;
                }
            }
            self.write_down().await;
        }
    }

    /// Sends series until they are taken, or refused for good.
    async fn deliver(self: &Arc<Receiver>, series: Vec<Series>, told: &mut Told) {
        let mut open = VecDeque::from([series]);
        let mut failures = 0;
        while let Some(series) = open.front() {
            let count = samples(series);
            let said = self.clone().post(series.clone()).await;
            let status = said.as_ref().ok().map(|said| said.status);
            match verdict(status) {
                Verdict::Taken => {
                    self.sent.fetch_add(count as u64, Ordering::Relaxed);
                    told.well(self.caller.place());
                    failures = 0;
                    open.pop_front();
                }
                Verdict::Refused if count > NOT_CUT => {
                    let (front, back) = halves(open.pop_front().unwrap_or_default());
                    open.push_front(back);
                    open.push_front(front);
                }
                Verdict::Refused => {
                    self.refused.fetch_add(count as u64, Ordering::Relaxed);
                    told.refused(self.caller.place(), count, &word(&said));
                    failures = 0;
                    open.pop_front();
                }
                Verdict::Later => {
                    failures += 1;
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    told.failing(self.caller.place(), &word(&said));
                    self.write_down().await;
                    let asked_ms = said.ok().and_then(|said| said.retry_after_ms);
                    sleep(Duration::from_millis(wait_ms(failures, asked_ms))).await;
                }
            }
        }
    }

    /// One request, on a thread that may block.
    async fn post(self: Arc<Receiver>, series: Vec<Series>) -> Result<Said, String> {
        let send = move || {
            let body = remote_write::encode(&series, &BTreeMap::new()).map_err(|e| e.to_string())?;
            let headers = [
                ("content-type", Version::One.content_type()),
                ("content-encoding", "snappy"),
                ("x-prometheus-remote-write-version", "0.1.0"),
                ("user-agent", &*format!("dwcpd/{VERSION}")),
            ];
            self.caller.post("", &headers, &body)
        };
        tokio::task::spawn_blocking(send).await.unwrap_or_else(|e| Err(e.to_string()))
    }

    /// Writes down what was sent, now and then. What is not written down when the process ends is sent twice.
    async fn write_down(self: &Arc<Receiver>) {
        let sent_to_ms = self.outbox().sent_to_ms();
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = noted.1.is_none_or(|at| at.elapsed() >= NOTED_EVERY);
            if !is_due || sent_to_ms == noted.0 {
                return;
            }
            *noted = (sent_to_ms, Some(Instant::now()));
        }
        let receiver = self.clone();
        let text = json!({ "to": self.caller.place(), "sent_to_ms": sent_to_ms }).to_string();
        let write = move || {
            let fresh = receiver.note.with_extension("new");
            std::fs::create_dir_all(receiver.note.parent().unwrap_or(Path::new(".")))?;
            std::fs::write(&fresh, text)?;
            std::fs::rename(&fresh, &receiver.note)
        };
        // One that can't be written has the next process begin with what is new then.
        let _ = tokio::task::spawn_blocking(write).await;
    }

    /// What is sent to all of them, as metrics of a region.
    pub fn families(all: &[Arc<Receiver>], region: &str) -> Vec<Family> {
        let labels = |of: &Receiver| Labels::new([("region", region), ("to", of.caller.place())]);
        let each =
            |value: fn(&Receiver) -> f64| all.iter().map(|of| (labels(of), value(of))).collect::<Vec<_>>();
        vec![
            Family::counter(
                "dwcp_remote_write_sent_samples_total",
                "Samples that another program took.",
                each(|of| of.sent.load(Ordering::Relaxed) as f64),
            ),
            Family::counter(
                "dwcp_remote_write_refused_samples_total",
                "Samples that another program refused for good.",
                each(|of| of.refused.load(Ordering::Relaxed) as f64),
            ),
            Family::counter(
                "dwcp_remote_write_dropped_samples_total",
                "Samples for another program that were given up for want of memory, there being no store.",
                each(|of| of.outbox().dropped() as f64),
            ),
            Family::counter(
                "dwcp_remote_write_retries_total",
                "Requests to another program that are sent again.",
                each(|of| of.retries.load(Ordering::Relaxed) as f64),
            ),
            Family::gauge(
                "dwcp_remote_write_waiting_samples",
                "Samples for another program that wait in memory.",
                each(|of| of.outbox().len() as f64),
            ),
            Family::gauge(
                "dwcp_remote_write_behind_seconds",
                "How old the oldest sample is that another program is to get.",
                each(|of| of.outbox().behind_ms(clock::wall_ms()) as f64 / 1e3),
            ),
        ]
    }
}

/// What the log was told.
struct Told {
    log: Log,
    failing: bool,
    refused_at: Option<Instant>,
}

impl Told {
    fn well(&mut self, place: &str) {
        if std::mem::take(&mut self.failing) {
            self.log.info("monitor", format!("metrics go to {place} again"));
        }
    }

    fn failing(&mut self, place: &str, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            self.log
                .warning("monitor", format!("metrics can't be sent to {place}, and are sent later: {why}"));
        }
    }

    fn refused(&mut self, place: &str, count: usize, why: &str) {
        if self.refused_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            self.refused_at = Some(Instant::now());
            self.log
                .warning("monitor", format!("{place} refuses {count} samples, and does not get them: {why}"));
        }
    }
}

fn word(said: &Result<Said, String>) -> String {
    said.as_ref().map_or_else(Clone::clone, Said::word)
}

fn read_note(path: &Path) -> Option<i64> {
    let text = std::fs::read(path).ok()?;
    serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("sent_to_ms")?.as_i64()
}

/// What is kept of a span of time; more than may be read at once is refused unless the span is short.
async fn read(store: Arc<Store>, from: i64, to: i64) -> Result<Vec<Series>, SourceError> {
    let max_samples = if to - from <= LEAST_SPAN_MS { u64::MAX } else { READ_SAMPLES };
    let matchers = vec![Matcher::not_equal(NAME, "")];
    let wanted = Select { matchers, start_ms: from, end_ms: to, step_ms: 0, max_samples };
    let read = tokio::task::spawn_blocking(move || store.select(&wanted)).await;
    read.unwrap_or_else(|e| Err(SourceError::Failed(e.to_string()))).map(|found| found.series)
}

fn samples(series: &[Series]) -> usize {
    series.iter().map(|of| of.samples.len()).sum()
}

/// Samples in the order in which they came, as series.
fn by_series(batch: Vec<(Labels, Sample)>) -> Vec<Series> {
    let mut all: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for (labels, sample) in batch {
        all.entry(labels).or_default().push(sample);
    }
    let mut series: Vec<Series> =
        all.into_iter().map(|(labels, samples)| Series { labels, samples }).collect();
    series.iter_mut().for_each(|of| of.samples.sort_by_key(|sample| sample.at_ms));
    series
}

/// Series in requests of a bounded size; the samples of a series stay in order.
fn requests(all: Vec<Series>) -> Vec<Vec<Series>> {
    let mut requests = vec![Vec::new()];
    let mut room = MOST_SAMPLES;
    for Series { labels, samples } in all {
        let mut rest = &samples[..];
        while !rest.is_empty() {
            if room == 0 {
                requests.push(Vec::new());
                room = MOST_SAMPLES;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            let request = requests.last_mut().expect("there is one from the beginning");
            request.push(Series { labels: labels.clone(), samples: now.to_vec() });
            (room, rest) = (room - now.len(), later);
        }
    }
    requests.retain(|request| !request.is_empty());
    requests
}

/// A request in two; the samples of each series stay in order.
fn halves(all: Vec<Series>) -> (Vec<Series>, Vec<Series>) {
    let (mut front, mut back, mut room) = (Vec::new(), Vec::new(), samples(&all) / 2);
    for Series { labels, mut samples } in all {
        let later = samples.split_off(samples.len().min(room));
        room -= samples.len();
        for (part, samples) in [(&mut front, samples), (&mut back, later)] {
            if !samples.is_empty() {
                part.push(Series { labels: labels.clone(), samples });
            }
        }
    }
    (front, back)
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::model::Value;

    use super::*;

    fn series(name: &str, moments: std::ops::Range<i64>) -> Series {
        let sample = |at_ms| Sample { at_ms, value: Value::Float(1.0) };
        Series { labels: Labels::new([(NAME, name)]), samples: moments.map(sample).collect() }
    }

    #[test]
    fn requests_are_bounded_and_keep_the_order_of_a_series() {
        let all = vec![series("a", 0..3_000), series("b", 0..1_500)];
        let cut = requests(all);
        assert_eq!(cut.iter().map(|request| samples(request)).collect::<Vec<_>>(), [2_000, 2_000, 500]);
        assert_eq!(cut[1][0], series("a", 2_000..3_000));
        assert!(requests(vec![]).is_empty());
    }

    #[test]
    fn a_request_is_cut_in_two_without_a_loss() {
        let (front, back) = halves(vec![series("a", 0..3), series("b", 0..4)]);
        assert_eq!(front, [series("a", 0..3)]);
        assert_eq!(back, [series("b", 0..4)]);
        let (front, back) = halves(vec![series("a", 0..9)]);
        assert_eq!((front, back), (vec![series("a", 0..4)], vec![series("a", 4..9)]));
    }

    #[test]
    fn what_came_together_is_grouped() {
        let at = |of: &Series, n: usize| (of.labels.clone(), of.samples[n].clone());
        let (a, b) = (series("a", 0..2), series("b", 0..1));
        assert_eq!(by_series(vec![at(&a, 1), at(&b, 0), at(&a, 0)]), [a, b]);
    }
}

//! What every region measured, as one source: each answers for itself over the mesh, and who does not is named.
//!
//! Nothing of it goes by way of the node, so that no decision waits for a query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dwcp_mesh::{Class, MeshHandle, Sent};
use dwcp_roles::node::Opaque;
use dwcp_telemetry::exposition::Limits;
use dwcp_telemetry::logs::{self, TraceId};
use dwcp_telemetry::model::{Labels, Matcher, Select, Selected, Series, Source, SourceError};
use dwcp_telemetry::remote_write::{self, Version};
use dwcp_telemetry::store::Store;
use dwcp_types::{NodeId, decode, encode};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::intake::Intake;
use super::prometheus::Prometheus;
use super::reader::Reader;
use super::sender::Receiver;
use super::wire::{Ask, Condition, Frame, Tell, What, decode_texts, encode_texts};
use crate::asked::Asked;
use crate::clock::ms;
use crate::handle::NodeHandle;
use crate::program::fetch::Incoming;

/// A region that has not answered by then is missing.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Questions of other regions that are answered at once; more wait.
const AT_ONCE: usize = 4;
/// The same of copies of logs, which must not wait for queries.
const COPIES_AT_ONCE: usize = 2;
/// Questions that may wait, and for how long; what is more is refused.
const MAY_WAIT: usize = 64;
const WAITS: Duration = Duration::from_secs(5);
/// Samples in one piece of an answer.
const PIECE_SAMPLES: usize = 50_000;
/// Longest piece when it is unpacked, bytes.
const PIECE_BYTES: usize = 64 << 20;

/// Asks and answers. Clones share everything.
#[derive(Clone)]
pub struct Regions {
    me: NodeId,
    intake: Intake,
    /// Whoever is asked in place of the regions.
    prometheus: Option<Arc<Prometheus>>,
    logs: Option<Arc<logs::Store>>,
    mesh: Option<MeshHandle>,
    asked: Asked<Tell>,
    /// For questions that are answered, for copies, and for all that wait.
    room: Arc<(Semaphore, Semaphore, Semaphore)>,
}

/// Regions to ask: their node's number, name, and whether their node is heard.
pub type Others = Vec<(NodeId, String, bool)>;

/// Every region as one source, for one query.
pub struct Federated {
    regions: Regions,
    others: Others,
    runtime: Handle,
    /// Who did not answer, and why.
    missing: Mutex<BTreeMap<String, String>>,
}

impl Regions {
    /// Those that are reached over `mesh`; without it only this one.
    pub fn new(me: NodeId, store: Option<Arc<Store>>, mesh: Option<MeshHandle>) -> Regions {
        Regions {
            me,
            intake: Intake { store, ..Intake::default() },
            prometheus: None,
            logs: None,
            mesh,
            asked: Asked::new(),
            room: Arc::new((
                Semaphore::new(AT_ONCE),
                Semaphore::new(COPIES_AT_ONCE),
                Semaphore::new(MAY_WAIT),
            )),
        }
    }

    /// The same, with the logs that are kept here.
    pub fn with_logs(self, logs: Option<Arc<logs::Store>>) -> Regions {
        Regions { logs, ..self }
    }

    /// The same, with who else gets what is kept here.
    pub fn with_receivers(self, receivers: Arc<Vec<Arc<Receiver>>>) -> Regions {
        Regions { intake: Intake { receivers, ..self.intake }, ..self }
    }

    /// The same, where another program is asked in place of the regions.
    pub fn asking(self, prometheus: Option<Arc<Prometheus>>) -> Regions {
        Regions { prometheus, ..self }
    }

    /// What this region measured; none: its store can't be used, or another program keeps it.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.intake.store.as_ref()
    }

    /// Where samples go that are to be kept.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Whom to ask, for one query. `others`: all regions, which are asked on `runtime`.
    pub fn reader(&self, others: Others, runtime: Handle) -> Reader {
        match &self.prometheus {
            Some(prometheus) => Reader::Prometheus(prometheus.clone()),
            None => Reader::Regions(Federated::new(self.clone(), others, runtime)),
        }
    }

    /// The logs that are kept here; none: they can't be used.
    pub fn logs(&self) -> Option<&Arc<logs::Store>> {
        self.logs.as_ref()
    }

    fn own(&self) -> Result<&Store, SourceError> {
        self.intake.store.as_deref().ok_or_else(|| SourceError::Failed("it keeps no metrics".to_owned()))
    }

    /// Answers others, takes their answers and copies their logs, until the mesh ends.
    pub async fn keep(self, mut incoming: UnboundedReceiver<Incoming>, node: NodeHandle) {
        if let Some(logs) = self.logs.clone() {
            tokio::spawn(super::logs::copy(self.clone(), logs, node));
        }
        while let Some((from, bytes)) = incoming.recv().await {
            match decode::<Frame>(&bytes) {
                Ok(Frame::Ask(ask)) => self.answer(from, *ask),
                Ok(Frame::Tell(tell)) => self.asked.answered(from, tell.id, *tell),
                Err(_) => {}
            }
        }
    }

    /// Answers on a thread of its own: it reads the disk.
    fn answer(&self, from: NodeId, ask: Ask) {
        let Some(mesh) = self.mesh.clone() else { return };
        let id = ask.id;
        let send = move |tell: Tell| mesh.send(from, Class::Bulk, encode(&Frame::Tell(Box::new(tell))));
        let refuse = move |error: String| Tell { id, last: true, error, ..Tell::default() };
        let regions = self.clone();
        tokio::spawn(async move {
            let room = regions.room.clone();
            let queries = if matches!(ask.what, What::Logs | What::LogAfter) { &room.1 } else { &room.0 };
            let Ok(_waits) = room.2.try_acquire() else {
                let _ = send(refuse("too many questions wait there".to_owned()));
                return;
            };
            let Ok(Ok(_permit)) = timeout(WAITS, queries.acquire()).await else {
                let _ = send(refuse(format!("it was busy for {} s", WAITS.as_secs())));
                return;
            };
            let answered = tokio::task::spawn_blocking(move || pieces(&regions, &ask));
            for tell in answered.await.unwrap_or_default() {
                // What does not fit into the queue now would be missed in the middle of the answer: it is said instead.
                if let Sent::Dropped(reason) = send(tell) {
                    let _ = send(refuse(format!("its answer does not fit on the link: {reason:?}")));
                    return;
                }
            }
        });
    }

    /// Asks a region; all pieces of its answer.
    ///
    /// # Errors
    /// It does not answer in time, or has no answer.
    pub(super) async fn ask(&self, node: NodeId, ask: &Ask) -> Result<Vec<Tell>, SourceError> {
        let failed = |why: &str| SourceError::Failed(why.to_owned());
        let mut question = self.asked.begin(node);
        let frame = Frame::Ask(Box::new(Ask { id: question.id, ..ask.clone() }));
        let mesh = self.mesh.as_ref().ok_or_else(|| failed("it has no links"))?;
        if let Sent::Dropped(reason) = mesh.send(node, Class::Bulk, encode(&frame)) {
            return Err(SourceError::Failed(format!("it can't be asked: {reason:?}")));
        }
        let (deadline, mut pieces) = (Instant::now() + ANSWERED_WITHIN, Vec::new());
        loop {
            let Ok(Some(tell)) = timeout_at(deadline, question.answers.recv()).await else {
                return Err(SourceError::Failed(format!("no answer within {} s", ANSWERED_WITHIN.as_secs())));
            };
            if tell.too_much > 0 {
                return Err(SourceError::TooMuch { samples: tell.too_much, limit: ask.max_samples });
            }
            if !tell.error.is_empty() {
                return Err(SourceError::Failed(tell.error));
            }
            // Each class of a link keeps its order: a piece that is missing was dropped.
            if tell.number != pieces.len() as u64 {
                return Err(failed("a piece of its answer was lost"));
            }
            let last = tell.last;
            pieces.push(tell);
            if last {
                return Ok(pieces);
            }
        }
    }
}

/// The answer to a question, in pieces.
fn pieces(regions: &Regions, ask: &Ask) -> Vec<Tell> {
    let refused = |error: SourceError| {
        let too_much = match &error {
            SourceError::TooMuch { samples, .. } => (*samples).max(1),
            SourceError::Failed(_) => 0,
        };
        vec![Tell { id: ask.id, last: true, error: error.to_string(), too_much, ..Tell::default() }]
    };
    let matchers: Result<Vec<Matcher>, String> = ask.conditions.iter().map(Condition::matcher).collect();
    let matchers = match matchers {
        Ok(matchers) => matchers,
        Err(why) => return refused(SourceError::Failed(why)),
    };
    let span = (ms(ask.start_ms), ms(ask.end_ms));
    let texts = |texts: Vec<String>| (vec![encode_texts(&texts)], vec![]);
    let found = match ask.what {
        What::Samples | What::Series => regions.own().and_then(|store| found(store, ask, matchers)),
        What::Names => {
            regions.own().and_then(|store| store.label_names(&matchers, span.0, span.1)).map(texts)
        }
        What::Values => regions
            .own()
            .and_then(|store| store.label_values(&ask.label, &matchers, span.0, span.1))
            .map(texts),
        What::Lines | What::LogAfter | What::Logs | What::Spans => match &regions.logs {
            Some(logs) => super::logs::answer(logs, ask).map(|bodies| (bodies, vec![])),
            None => Err("no log is kept there".to_owned()),
        }
        .map_err(SourceError::Failed),
    };
    let (bodies, warnings) = match found {
        Ok(found) => found,
        Err(error) => return refused(error),
    };
    let count = bodies.len();
    let piece = |(number, bytes): (usize, Vec<u8>)| {
        let warnings = if number == 0 { warnings.clone() } else { vec![] };
        let (number, last) = (number as u64, number + 1 == count);
        Tell { id: ask.id, number, last, bytes: Opaque(bytes), warnings, ..Tell::default() }
    };
    bodies.into_iter().enumerate().map(piece).collect()
}

/// Series as remote-write requests of a bounded size, one at least.
fn found(
    store: &Store,
    ask: &Ask,
    matchers: Vec<Matcher>,
) -> Result<(Vec<Vec<u8>>, Vec<String>), SourceError> {
    let (start_ms, end_ms) = (ms(ask.start_ms), ms(ask.end_ms));
    let selected = match ask.what {
        What::Series => {
            let labels = store.series(&matchers, start_ms, end_ms)?;
            let series = labels.into_iter().map(|labels| Series { labels, samples: vec![] }).collect();
            Selected { series, warnings: vec![] }
        }
        _ => {
            let (step_ms, max_samples) = (ms(ask.step_ms), ask.max_samples);
            store.select(&Select { matchers, start_ms, end_ms, step_ms, max_samples })?
        }
    };
    let mut bodies = Vec::new();
    let mut rest = &selected.series[..];
    loop {
        let mut samples = 0;
        let fits = rest.iter().take_while(|series| {
            let fits = samples < PIECE_SAMPLES;
            // A series without samples costs its labels.
            samples += series.samples.len().max(10);
            fits
        });
        let (now, later) = rest.split_at(fits.count());
        let body = remote_write::encode(now, &BTreeMap::new());
        bodies.push(body.map_err(|error| SourceError::Failed(error.to_string()))?);
        rest = later;
        if rest.is_empty() {
            return Ok((bodies, selected.warnings));
        }
    }
}

/// The series of an answer.
fn series(pieces: Vec<Tell>) -> Result<Selected, SourceError> {
    let limits = Limits { bytes: PIECE_BYTES, samples: usize::MAX, labels: 256, ..Limits::default() };
    let mut all = Selected::default();
    for piece in pieces {
        let request = remote_write::decode(Version::One, &piece.bytes.0, &limits);
        let request = request.map_err(|e| SourceError::Failed(format!("its answer can't be read: {e}")))?;
        all.series.extend(request.series);
        all.warnings.extend(piece.warnings);
    }
    Ok(all)
}

impl Federated {
    /// This region and the others, asked on `runtime`, from a thread that may block.
    pub fn new(regions: Regions, others: Others, runtime: Handle) -> Federated {
        Federated { regions, others, runtime, missing: Mutex::default() }
    }

    /// The names of all regions.
    pub fn regions(&self) -> Vec<String> {
        self.others.iter().map(|(_, region, _)| region.clone()).collect()
    }

    /// Who did not answer, and why.
    pub fn missing(&self) -> BTreeMap<String, String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every other region's answer to a question, and the names of the regions.
    fn ask_all(&self, ask: &Ask) -> Vec<(String, Result<Vec<Tell>, SourceError>)> {
        // Whoever did not answer one question of this query is not waited for again.
        let missing = self.missing();
        let ask_one = |(node, region, heard): &(NodeId, String, bool)| {
            let (regions, ask, node) = (self.regions.clone(), ask.clone(), *node);
            let answers = *heard && !missing.contains_key(region);
            let task = answers.then(|| self.runtime.spawn(async move { regions.ask(node, &ask).await }));
            (region.clone(), task)
        };
        // All at once, and then each is waited for.
        let others = self.others.iter().filter(|(node, ..)| *node != self.regions.me);
        let asked: Vec<_> = others.map(ask_one).collect();
        let answer = |(region, task): (String, Option<JoinHandle<_>>)| {
            let answer = match task {
                None => Err(SourceError::Failed("it is not heard".to_owned())),
                Some(task) => {
                    self.runtime.block_on(task).unwrap_or_else(|e| Err(SourceError::Failed(e.to_string())))
                }
            };
            (region, answer)
        };
        asked.into_iter().map(answer).collect()
    }

    fn note(&self, region: &str, error: &SourceError) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.entry(region.to_owned()).or_insert_with(|| error.to_string());
    }

    fn question(what: What, matchers: &[Matcher], (start_ms, end_ms): (i64, i64)) -> Ask {
        Ask {
            what,
            conditions: matchers.iter().map(Condition::of).collect(),
            start_ms: start_ms.max(0) as u64,
            end_ms: end_ms.max(0) as u64,
            ..Ask::default()
        }
    }

    /// Texts of every region, each once, in order.
    fn texts(&self, ask: &Ask, own: Vec<String>) -> Vec<String> {
        let mut all: BTreeSet<String> = own.into_iter().collect();
        for (region, answer) in self.ask_all(ask) {
            let texts = answer.and_then(|pieces| {
                let read = |piece: &Tell| decode_texts(&piece.bytes.0).map_err(SourceError::Failed);
                pieces.iter().map(read).collect::<Result<Vec<_>, _>>()
            });
            match texts {
                Ok(texts) => all.extend(texts.into_iter().flatten()),
                Err(error) => self.note(&region, &error),
            }
        }
        all.into_iter().collect()
    }

    /// Names of labels, in every region.
    ///
    /// # Errors
    /// What is kept here can't be read.
    pub fn label_names(&self, matchers: &[Matcher], span: (i64, i64)) -> Result<Vec<String>, SourceError> {
        let own = self.regions.own()?.label_names(matchers, span.0, span.1)?;
        Ok(self.texts(&Self::question(What::Names, matchers, span), own))
    }

    /// Values of a label, in every region.
    ///
    /// # Errors
    /// What is kept here can't be read.
    pub fn label_values(
        &self,
        label: &str,
        matchers: &[Matcher],
        span: (i64, i64),
    ) -> Result<Vec<String>, SourceError> {
        let own = self.regions.own()?.label_values(label, matchers, span.0, span.1)?;
        let ask = Ask { label: label.to_owned(), ..Self::question(What::Values, matchers, span) };
        Ok(self.texts(&ask, own))
    }

    /// Pages of lines of this region and of every other, and what could not be read there.
    ///
    /// # Errors
    /// Why nothing is known here.
    pub fn lines(
        &self,
        query: &logs::Query,
        asked: String,
        now_ms: u64,
    ) -> Result<(Vec<logs::Page>, Vec<String>), String> {
        self.pages(query, &Ask { what: What::Lines, text: asked, end_ms: now_ms, ..Ask::default() })
    }

    /// Pages of spans of a trace, of this region and of every other, and what could not be read there.
    ///
    /// # Errors
    /// Why nothing is known here.
    pub fn spans(&self, trace: TraceId) -> Result<(Vec<logs::Page>, Vec<String>), String> {
        let ask = Ask { what: What::Spans, text: trace.to_string(), ..Ask::default() };
        self.pages(&super::traces::query(trace), &ask)
    }

    fn pages(&self, query: &logs::Query, ask: &Ask) -> Result<(Vec<logs::Page>, Vec<String>), String> {
        let own = self.regions.logs.as_ref().ok_or("this process keeps no log")?;
        let mut pages = vec![own.query(query).map_err(|e| e.to_string())?];
        let mut warnings = Vec::new();
        for (region, answer) in self.ask_all(ask) {
            let read =
                |pieces: Vec<Tell>| super::logs::page(&pieces, query.order).map_err(SourceError::Failed);
            match answer.and_then(read) {
                Ok((page, faults)) => {
                    pages.push(page);
                    warnings.extend(faults.into_iter().map(|fault| format!("{region}: {fault}")));
                }
                Err(error) => self.note(&region, &error),
            }
        }
        Ok((pages, warnings))
    }

    /// Series, in every region.
    ///
    /// # Errors
    /// What is kept here can't be read.
    pub fn series(&self, matchers: &[Matcher], span: (i64, i64)) -> Result<Vec<Labels>, SourceError> {
        let own = self.regions.own()?.series(matchers, span.0, span.1)?;
        let mut all: BTreeSet<Labels> = own.into_iter().collect();
        for (region, answer) in self.ask_all(&Self::question(What::Series, matchers, span)) {
            match answer.and_then(series) {
                Ok(found) => all.extend(found.series.into_iter().map(|series| series.labels)),
                Err(error) => self.note(&region, &error),
            }
        }
        Ok(all.into_iter().collect())
    }
}

impl Source for Federated {
    fn select(&self, wanted: &Select) -> Result<Selected, SourceError> {
        let mut all = self.regions.own()?.select(wanted)?;
        let mut samples: u64 = all.series.iter().map(|series| series.samples.len() as u64).sum();
        let ask = Ask {
            step_ms: wanted.step_ms.max(0) as u64,
            max_samples: wanted.max_samples,
            ..Self::question(What::Samples, &wanted.matchers, (wanted.start_ms, wanted.end_ms))
        };
        for (region, answer) in self.ask_all(&ask) {
            match answer.and_then(series) {
                Ok(found) => {
                    samples += found.series.iter().map(|series| series.samples.len() as u64).sum::<u64>();
                    if samples > wanted.max_samples {
                        return Err(SourceError::TooMuch { samples, limit: wanted.max_samples });
                    }
                    all.series.extend(found.series);
                    all.warnings.extend(found.warnings);
                }
                // Reading less would not be the answer to this query.
                Err(error @ SourceError::TooMuch { .. }) => return Err(error),
                Err(error) => self.note(&region, &error),
            }
        }
        merge(&mut all.series);
        Ok(all)
    }
}

/// Each series once, in order of labels; of two samples of one moment the first counts.
fn merge(all: &mut Vec<Series>) {
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all.dedup_by(|again, first| {
        let same = again.labels == first.labels;
        if same {
            first.samples.append(&mut again.samples);
            first.samples.sort_by_key(|sample| sample.at_ms);
            first.samples.dedup_by_key(|sample| sample.at_ms);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::model::{Sample, Value};

    use super::*;

    fn series(name: &str, samples: &[(i64, f64)]) -> Series {
        let sample = |(at_ms, value): &(i64, f64)| Sample { at_ms: *at_ms, value: Value::Float(*value) };
        Series { labels: Labels::new([("__name__", name)]), samples: samples.iter().map(sample).collect() }
    }

    #[test]
    fn a_series_of_two_regions_is_one() {
        let mut all =
            vec![series("b", &[(5, 1.0)]), series("a", &[(2, 1.0)]), series("b", &[(1, 2.0), (5, 9.0)])];
        merge(&mut all);
        assert_eq!(all, [series("a", &[(2, 1.0)]), series("b", &[(1, 2.0), (5, 1.0)])]);
    }
}

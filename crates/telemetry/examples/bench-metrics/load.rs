//! Queries while samples come in: a sample of each series every 15 s, which of 250,000 series is a million a minute. The same samples and
//! the same queries go to Prometheus, one after the other, so that neither takes the other's processors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dwcp_telemetry::model::{Sample, Series, Value};
use dwcp_telemetry::promql::{AnswerValue, Engine, Query};
use dwcp_telemetry::remote_write;
use dwcp_telemetry::store::disk::Folder;
use dwcp_telemetry::store::{Config, Row, Store};
use dwcp_types::Rng;

use super::peers::{self, Prometheus, Queries};
use super::workload::{Moving, SERIES_A_HOST, fleet};
use super::{BEGIN_MS, Outcome, memory_mib};

const EVERY_MS: i64 = 15_000;
/// Scrapes before the queries begin, and while they are asked.
const BEFORE: i64 = 40;
const DURING: i64 = 4;
/// Series of a request.
const AT_ONCE: usize = 20 * SERIES_A_HOST as usize;
const ROUNDS: usize = 15;
/// What the store may take: of each series, of each sample in memory, and beside them.
const SERIES_BYTES: u64 = 1_024;
const SAMPLE_BYTES: u64 = 9;
const BESIDE_BYTES: u64 = 128 << 20;

/// Expressions, and whether they are asked for each 15 s of the last ten minutes.
const ASKED: [(&str, bool); 6] = [
    ("rate(node_family_03_total{instance=\"host-00007.example:9100\"}[5m])", false),
    ("sum(rate(node_family_03_total[5m]))", false),
    ("avg by (region) (node_family_13_total)", false),
    ("topk(10, node_family_06_total)", false),
    ("rate(node_family_03_total{instance=\"host-00007.example:9100\"}[5m])", true),
    ("sum by (region) (rate(node_family_03_total[5m]))", true),
];

/// Somewhere samples go and queries are asked.
trait Peer: Sync {
    fn take(&self, some: &[Moving], values: &[f64], at_ms: i64) -> Outcome<()>;
    /// How many rows an answer has.
    fn ask(&self, text: &str, at_ms: i64, is_range: bool) -> Outcome<usize>;
}

impl Peer for Store {
    fn take(&self, some: &[Moving], values: &[f64], at_ms: i64) -> Outcome<()> {
        let rows: Vec<Row<'_>> = some
            .iter()
            .zip(values)
            .map(|(moving, value)| Row { series: &moving.series, at_ms, value: Value::Float(*value) })
            .collect();
        let appended = self.append(&rows, at_ms)?;
        if appended.added == rows.len() as u64 { Ok(()) } else { Err(format!("{appended:?}").into()) }
    }

    fn ask(&self, text: &str, at_ms: i64, is_range: bool) -> Outcome<usize> {
        let (engine, query) = (Engine::default(), Query::parse(text)?);
        let answer = match is_range {
            true => engine.range(self, &query, at_ms - 600_000, at_ms, EVERY_MS)?,
            false => engine.instant(self, &query, at_ms)?,
        };
        Ok(match answer.value {
            AnswerValue::Vector(rows) => rows.len(),
            AnswerValue::Matrix(rows) => rows.len(),
            _ => 1,
        })
    }
}

impl Peer for Prometheus {
    fn take(&self, some: &[Moving], values: &[f64], at_ms: i64) -> Outcome<()> {
        let series = |(moving, value): (&Moving, &f64)| Series {
            labels: moving.series.labels().clone(),
            samples: vec![Sample { at_ms, value: Value::Float(*value) }],
        };
        let all: Vec<Series> = some.iter().zip(values).map(series).collect();
        Ok(self.write(&remote_write::encode(&all, &BTreeMap::new())?)?)
    }

    fn ask(&self, text: &str, at_ms: i64, is_range: bool) -> Outcome<usize> {
        let s = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let path = match is_range {
            true => format!("query_range?start={}&end={}&step=15", s(at_ms - 600_000), s(at_ms)),
            false => format!("query?time={}", s(at_ms)),
        };
        Ok(Prometheus::ask(self, &path, text)?.matches("\"metric\":").count())
    }
}

/// One scrape of all; `pause` between requests.
fn scrape(peer: &dyn Peer, all: &mut [Moving], rng: &mut Rng, at_ms: i64, pause: Duration) -> Outcome<()> {
    for some in all.chunks_mut(AT_ONCE) {
        let began = Instant::now();
        let values: Vec<f64> = some.iter_mut().map(|moving| moving.step(rng)).collect();
        peer.take(some, &values, at_ms)?;
        std::thread::sleep(pause.saturating_sub(began.elapsed()));
    }
    Ok(())
}

/// What a peer did.
struct Found {
    filled_s: f64,
    /// Rows of the answer and times, of each query.
    answers: Vec<(usize, Queries)>,
    /// Samples that came in while queries were asked.
    during: u64,
    lasted_s: f64,
}

fn run(peer: &dyn Peer, series: u64) -> Outcome<Found> {
    let (mut all, mut rng) = (fleet(series), Rng::new(2));
    let at_ms = |number: i64| BEGIN_MS + number * EVERY_MS;
    let began = Instant::now();
    for number in 0..BEFORE {
        scrape(peer, &mut all, &mut rng, at_ms(number), Duration::ZERO)?;
    }
    let filled_s = began.elapsed().as_secs_f64();
    let pieces = (series as usize).div_ceil(AT_ONCE) as u32;
    let pause = Duration::from_millis(EVERY_MS as u64) / pieces;
    let done = AtomicBool::new(false);
    let began = Instant::now();
    let (taken, answers) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut taken = 0;
            for number in BEFORE..BEFORE + DURING {
                scrape(peer, &mut all, &mut rng, at_ms(number), pause).map_err(|error| error.to_string())?;
                taken += series;
            }
            done.store(true, Ordering::Relaxed);
            Ok::<u64, String>(taken)
        });
        let mut times: Vec<(usize, Vec<f64>)> = ASKED.iter().map(|_| (0, Vec::new())).collect();
        // As long as samples come in, and often enough.
        while !done.load(Ordering::Relaxed) && !writing.is_finished() || times[0].1.len() < ROUNDS {
            for ((text, is_range), (rows, times)) in ASKED.iter().zip(&mut times) {
                let began = Instant::now();
                *rows = peer.ask(text, at_ms(BEFORE - 1), *is_range).map_err(|error| error.to_string())?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let taken = writing.join().map_err(|_| "the writer panicked".to_owned())??;
        Ok::<_, String>((taken, times))
    })?;
    let answers = answers.into_iter().map(|(rows, times)| (rows, Queries::new(times, 0.0))).collect();
    Ok(Found { filled_s, answers, during: taken, lasted_s: began.elapsed().as_secs_f64() })
}

fn store(folder: &Path) -> Outcome<Store> {
    Ok(Store::open(Arc::new(Folder::new(&folder.join("load"))?), Config::default(), BEGIN_MS)?.0)
}

/// Measures both, and fails when the store takes more memory than is stated, or the answers are of different length.
pub fn measure(folder: &Path, series: u64) -> Outcome<()> {
    // The benchmark's own series are there before and after.
    let own = fleet(series);
    let before_mib = memory_mib().0;
    let store = store(folder)?;
    let ours = run(&store, series)?;
    let stats = store.stats();
    // That of the fleet which the run made is freed by now; what it took at most is no more than what the store may.
    let taken_mib = memory_mib().0.saturating_sub(before_mib);
    let bound_mib = (series * SERIES_BYTES + stats.head_samples * SAMPLE_BYTES + BESIDE_BYTES) >> 20;
    println!("{series} series, a sample each 15 s, {} before the queries:", BEFORE as u64 * series);
    println!(
        "  while they are asked {:.2} M samples a minute come in; filled in {:.0} s",
        ours.during as f64 / ours.lasted_s * 60.0 / 1e6,
        ours.filled_s
    );
    println!("  memory {taken_mib} MiB, and at most {bound_mib} MiB are stated");
    let theirs = match peers::find("prometheus") {
        None => {
            println!("  Prometheus is not in the search path (apt install prometheus)");
            None
        }
        Some(program) => {
            let peer = Prometheus::start(&program, folder)?;
            let found = run(&peer, series)?;
            println!("  Prometheus: filled in {:.0} s, memory {} MiB", found.filled_s, peer.memory_mib());
            Some(found)
        }
    };
    for (at, (text, is_range)) in ASKED.iter().enumerate() {
        let (rows, times) = &ours.answers[at];
        let what = if *is_range { "every 15 s of 10 min" } else { "now" };
        let show = |times: &Queries| {
            format!("P50 {:.1} ms, P95 {:.1} ms", times.percentile_ms(50), times.percentile_ms(95))
        };
        println!("  {text} {what}: {rows} rows, {}", show(times));
        let Some((their_rows, their_times)) = theirs.as_ref().map(|found| &found.answers[at]) else {
            continue;
        };
        let ratio = |percent| times.percentile_ms(percent) / their_times.percentile_ms(percent);
        println!("    Prometheus {}; ours x{:.2} and x{:.2}", show(their_times), ratio(50), ratio(95));
        if rows != their_rows {
            return Err(format!("{text}: {rows} rows here and {their_rows} there").into());
        }
    }
    drop(own);
    if taken_mib > bound_mib {
        return Err(format!("{taken_mib} MiB are more than the {bound_mib} MiB that are stated").into());
    }
    Ok(())
}

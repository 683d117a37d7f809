//! Keeps what this process measures: gathered every so often, appended to the region's own store.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_telemetry::exposition::{self, Buckets, Exposition, Family, Format, Limits};
use dwcp_telemetry::model::{Labels, Sample};
use dwcp_telemetry::scrape::{Moment, ScrapeCache, Scraped, Target};
use dwcp_telemetry::store::disk::Folder;
use dwcp_telemetry::store::{Config, SeriesRef, Store};
use tokio::time::{MissedTickBehavior, interval};

use super::intake::Intake;
use crate::clock;
use crate::http::Api;
use crate::log::Log;

/// Between two looks at what the store has to do.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
/// The label that says which program a series is of.
pub const JOB: &str = "dwcpd";

/// Opens the metric store of a region, and says what was damaged.
///
/// # Errors
/// The folder can't be used.
pub fn open(folder: &Path, config: Config, log: &Log) -> Result<Arc<Store>, String> {
    let disk = Folder::new(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let opened = Store::open(Arc::new(disk), config, clock::wall_ms());
    let (store, opened) = opened.map_err(|e| format!("{}: {e}", folder.display()))?;
    for found in opened.found {
        log.warning("monitor", format!("metrics: {found}"));
    }
    Ok(Arc::new(store))
}

/// Gathers and keeps, every `every`, for as long as the process lives.
pub async fn keep(api: Arc<Api>, intake: Intake, every: Duration, log: Log) {
    let instance = api.region().to_owned();
    let labels = Labels::new([("job", JOB), ("instance", &*instance)]);
    let fresh =
        || ScrapeCache::new(Target { labels: labels.clone(), honor_labels: true, ..Target::default() });
    // None while it is in use, and after a failure: what it knew of the series may not be what is kept.
    let mut known = None;
    if let Some(store) = &intake.store {
        tokio::spawn(maintain(store.clone(), log.clone()));
    }
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let at_ms = clock::wall_ms();
        // It is stopping.
        let Some(gathered) = api.gather().await else { return };
        let (intake, mut cache) = (intake.clone(), known.take().unwrap_or_else(fresh));
        let kept = tokio::task::spawn_blocking(move || {
            let exposition = read(&gathered.families)?;
            let moment = Moment { at_ms, seconds: began.elapsed().as_secs_f64() };
            let scraped = cache.up(exposition, moment);
            append(&intake, scraped, at_ms)?;
            Ok::<_, String>(cache)
        });
        match kept.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(cache) => {
                known = Some(cache);
                failing = false;
            }
            Err(why) => {
                // Once, and not every time: the log is for people.
                if !failing {
                    log.error("monitor", format!("metrics are not kept: {why}"));
                }
                failing = true;
            }
        }
    }
}

/// What was gathered, as whoever scrapes this process reads it.
///
/// # Errors
/// A family that can't be shown.
pub fn read(families: &[Family]) -> Result<Exposition, String> {
    let bytes = exposition::encode(Format::Protobuf, families);
    // Its own: as much as a region of many hosts has.
    let limits = Limits { bytes: usize::MAX, samples: usize::MAX, ..Limits::default() };
    exposition::decode(Format::Protobuf, &bytes, Buckets::Native, &limits).map_err(|e| e.to_string())
}

/// Appends what a scrape brought.
///
/// # Errors
/// None of it is kept.
pub fn append(intake: &Intake, scraped: Scraped, now_ms: i64) -> Result<(), String> {
    let named: Vec<(SeriesRef, Sample)> =
        scraped.samples.into_iter().map(|(labels, sample)| (SeriesRef::new(labels), sample)).collect();
    let appended = intake.take(&named, now_ms, None).map_err(|e| e.to_string())?;
    match appended.refused.first() {
        // Some may be odd; all of them are a clock that was set back, or a store that is full.
        Some((_, why)) if appended.added == 0 => Err(why.to_string()),
        _ => Ok(()),
    }
}

/// What a region's metric store says of itself.
pub fn families(store: &Store, region: &str) -> Vec<Family> {
    let stats = store.stats();
    let one = |value: u64| vec![(Labels::new([("region", region)]), value as f64)];
    let disk = stats.fine_bytes + stats.coarse_bytes + stats.wal_bytes;
    let refused = stats
        .refused
        .iter()
        .map(|(reason, count)| (Labels::new([("region", region), ("reason", reason.name())]), *count as f64));
    vec![
        Family::gauge(
            "dwcp_metric_store_series",
            "Series of a region's metric store that have samples in memory.",
            one(stats.series),
        ),
        Family::gauge(
            "dwcp_metric_store_memory_bytes",
            "Samples of a region's metric store that are in memory, without their labels.",
            one(stats.head_bytes),
        ),
        Family::gauge(
            "dwcp_metric_store_disk_bytes",
            "Blocks and log of a region's metric store.",
            one(disk),
        ),
        Family::counter(
            "dwcp_metric_store_refused_samples_total",
            "Samples that a region's metric store did not take, by why.",
            refused.collect(),
        ),
    ]
}

/// Writes blocks, puts them together and removes what is too old.
async fn maintain(store: Arc<Store>, log: Log) {
    let mut ticks = interval(MAINTAIN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Vec::new();
    loop {
        ticks.tick().await;
        let maintained = store.clone();
        let done = tokio::task::spawn_blocking(move || maintained.maintain(clock::wall_ms())).await;
        let Ok(done) = done else { return };
        let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !said.contains(*problem)) {
            log.warning("monitor", format!("metrics: {problem}"));
        }
        said = problems;
    }
}

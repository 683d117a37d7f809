//! The metric store: samples a CPU second, bytes a sample, reads of an hour, memory at a million series; against VictoriaMetrics and
//! Prometheus where they are installed, on the same samples in the same run.
//!
//! `cargo run --profile sim -p dwcp-telemetry --example bench-metrics -- [--million | --load [--short]]`. The million takes some minutes
//! and 3 GiB. The load alone: queries while a million samples a minute come in, with Prometheus beside it; 5 minutes and 3 GiB, `--short`
//! a tenth of it.
//! The peers read text over HTTP or from a file, and the store is handed numbers: their share of parsing is in their CPU time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dwcp_telemetry::model::{Matcher, Select, Source, Value};
use dwcp_telemetry::store::disk::Folder;
use dwcp_telemetry::store::{Config, Row, Store};
use dwcp_types::Rng;

#[path = "load.rs"]
mod load;
#[path = "peers.rs"]
mod peers;
#[path = "workload.rs"]
mod workload;

use workload::{Moving, SERIES_A_HOST, fleet, write_text};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A full hour of blocks' spans.
const BEGIN_MS: i64 = 1_760_054_400_000;
const HOUR_MS: i64 = 3_600_000;

struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> std::io::Result<TempFolder> {
        let path = std::env::temp_dir().join(format!("dwcp-bench-metrics-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(TempFolder(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// CPU seconds of this thread, which does all the work.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Memory of this process in MiB: now, and at most so far.
fn memory_mib() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// What an append of all scrapes took, without making the numbers.
struct Filled {
    samples: u64,
    cpu_s: f64,
    /// Of writing blocks.
    block_cpu_s: f64,
    longest_ms: f64,
}

/// When host by host is scraped: spread over the interval.
fn scrape_ms(host: u64, hosts: u64, scrape: i64, every_ms: i64) -> i64 {
    BEGIN_MS + scrape * every_ms + (host * every_ms as u64 / hosts.max(1)) as i64
}

fn fill(
    store: &Store,
    fleet: &mut [Moving],
    scrapes: i64,
    every_ms: i64,
    hosts_at_once: u64,
) -> Outcome<Filled> {
    let mut rng = Rng::new(2);
    let hosts = fleet.len() as u64 / SERIES_A_HOST;
    let mut filled = Filled { samples: 0, cpu_s: 0.0, block_cpu_s: 0.0, longest_ms: 0.0 };
    for scrape in 0..scrapes {
        for (batch, some) in fleet.chunks_mut((SERIES_A_HOST * hosts_at_once) as usize).enumerate() {
            let values: Vec<f64> = some.iter_mut().map(|moving| moving.step(&mut rng)).collect();
            let at_ms = scrape_ms(batch as u64 * hosts_at_once, hosts, scrape, every_ms);
            let rows: Vec<Row<'_>> = some
                .iter()
                .zip(values)
                .map(|(moving, value)| Row { series: &moving.series, at_ms, value: Value::Float(value) })
                .collect();
            let began = cpu_s();
            filled.samples += store.append(&rows, at_ms)?.added;
            let took = cpu_s() - began;
            filled.cpu_s += took;
            filled.longest_ms = filled.longest_ms.max(took * 1e3);
        }
        filled.block_cpu_s += maintain(store, BEGIN_MS + scrape * every_ms)?;
    }
    Ok(filled)
}

/// Does what is due; its CPU seconds.
fn maintain(store: &Store, now_ms: i64) -> Outcome<f64> {
    let began = cpu_s();
    match store.maintain(now_ms).problems.pop() {
        Some(problem) => Err(problem.into()),
        None => Ok(cpu_s() - began),
    }
}

/// Lets the clock of the samples go on, so that all before becomes blocks.
fn pass(store: &Store, fleet: &[Moving], ms: i64) -> Outcome<f64> {
    let at_ms = BEGIN_MS + ms;
    let series = &fleet[0].series;
    store.append(&[Row { series, at_ms, value: Value::Float(0.0) }], at_ms)?;
    maintain(store, at_ms)
}

fn hour_of(family: &str) -> Outcome<Select> {
    Ok(Select {
        matchers: vec![Matcher::regex("__name__", family, false)?],
        start_ms: BEGIN_MS,
        end_ms: BEGIN_MS + HOUR_MS - 1,
        step_ms: 0,
        max_samples: 50_000_000,
    })
}

fn time_select(store: &Store, wanted: &Select) -> Outcome<(usize, usize, peers::Queries)> {
    let (mut series, mut samples, mut times) = (0, 0, Vec::new());
    let before = cpu_s();
    for _ in 0..21 {
        let began = Instant::now();
        let selected = store.select(wanted)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        series = selected.series.len();
        samples = selected.series.iter().map(|series| series.samples.len()).sum();
    }
    Ok((series, samples, peers::Queries::new(times, cpu_s() - before)))
}

fn show_times(what: &str, queries: &peers::Queries) {
    let (half, most) = (queries.percentile_ms(50), queries.percentile_ms(95));
    println!("  {what}: P50 {half:.1} ms, P95 {most:.1} ms, CPU {:.1} ms each", queries.cpu_ms);
}

fn mixed(folder: &Path) -> Outcome<()> {
    let (scrapes, every_ms) = (360, 10_000);
    let mut all = fleet(2_000);
    let store = Store::open(Arc::new(Folder::new(&folder.join("mixed"))?), Config::default(), BEGIN_MS)?.0;
    let filled = fill(&store, &mut all, scrapes, every_ms, 1)?;
    let samples = filled.samples as f64;
    println!("2,000 series x 360 samples, counters and gauges, a host of 100 series an append:");
    let per_cpu = samples / filled.cpu_s;
    println!("  taken in: {:.2} M samples a CPU second", per_cpu / 1e6);
    let stats = store.stats();
    println!(
        "  in memory {:.2} bytes a sample, in the log {:.2}",
        stats.head_bytes as f64 / samples,
        stats.wal_bytes as f64 / samples
    );
    // 15 of 20 families: 1,500 series.
    let wanted = hour_of("node_family_(0.|1[0-4])_total")?;
    let (series, read, times) = time_select(&store, &wanted)?;
    show_times(&format!("{series} series, {read} samples of an hour from memory"), &times);
    let block_s = pass(&store, &all, 3 * HOUR_MS)?;
    let with_block = samples / (filled.cpu_s + filled.block_cpu_s + block_s);
    let ours = store.stats().bytes_per_sample();
    println!("  taken in and made a block: {:.2} M samples a CPU second", with_block / 1e6);
    println!("  on the disk {ours:.3} bytes a sample with the index");
    let (series, read, times) = time_select(&store, &wanted)?;
    show_times(&format!("{series} series, {read} samples of an hour from a block"), &times);
    compare(folder, &mut fleet(2_000), (scrapes, every_ms), (with_block, ours, &times))
}

/// The same samples to the peers; `ours`: samples a CPU second, bytes a sample, the reads.
fn compare(
    folder: &Path,
    all: &mut [Moving],
    (scrapes, every_ms): (i64, i64),
    ours: (f64, f64, &peers::Queries),
) -> Outcome<()> {
    let mut rng = Rng::new(2);
    let hosts = all.len() as u64 / SERIES_A_HOST;
    let (mut text, mut openmetrics, mut samples) = (Vec::new(), String::new(), 0.0);
    for scrape in 0..scrapes {
        let mut piece = String::new();
        for (host, some) in all.chunks_mut(SERIES_A_HOST as usize).enumerate() {
            let at_ms = scrape_ms(host as u64, hosts, scrape, every_ms);
            for moving in some {
                let value = moving.step(&mut rng);
                write_text(moving, value, at_ms, false, &mut piece);
                write_text(moving, value, at_ms, true, &mut openmetrics);
                samples += 1.0;
            }
        }
        text.push(piece);
    }
    openmetrics.push_str("# EOF\n");
    let file = folder.join("openmetrics");
    std::fs::write(&file, openmetrics)?;
    let show = |name: &str, taken: peers::Taken| {
        let (speed, bytes) = (samples / taken.cpu_s, taken.bytes as f64 / samples);
        println!(
            "  {name}: {:.2} M samples a CPU second (ours x{:.2}), {bytes:.3} bytes a sample (ours x{:.2})",
            speed / 1e6,
            ours.0 / speed,
            ours.1 / bytes
        );
        if let Some(theirs) = taken.queries {
            show_times(&format!("{name}, count_over_time of the same hour"), &theirs);
            let (time, cpu) =
                (ours.2.percentile_ms(50) / theirs.percentile_ms(50), ours.2.cpu_ms / theirs.cpu_ms);
            println!("  reading it: time ours x{time:.2}, CPU ours x{cpu:.2}");
        }
    };
    match peers::find("victoria-metrics") {
        Some(program) => {
            let query = "count(count_over_time({__name__=~\"node_family_(0.|1[0-4])_total\"}[1h]))";
            let at_ms = BEGIN_MS + HOUR_MS - 1;
            show("VictoriaMetrics", peers::victoria_metrics(&program, folder, &text, query, at_ms)?);
        }
        None => println!("  VictoriaMetrics is not in the search path (apt install victoria-metrics)"),
    }
    match peers::find("promtool") {
        Some(program) => show("promtool", peers::promtool(&program, folder, &file)?),
        None => println!("  promtool is not in the search path (apt install prometheus)"),
    }
    Ok(())
}

fn many(folder: &Path, series: u64, scrapes: i64, every_ms: i64) -> Outcome<()> {
    let before = memory_mib().0;
    let mut all = fleet(series);
    let fleet_mib = memory_mib().0 - before;
    let path = folder.join(format!("many-{series}"));
    let mut store = Store::open(Arc::new(Folder::new(&path)?), Config::default(), BEGIN_MS)?.0;
    let filled = fill(&store, &mut all, scrapes, every_ms, 10)?;
    let (now, most) = memory_mib();
    println!("{series} series x {scrapes} samples, 1,000 an append:");
    println!("  taken in: {:.2} M samples a CPU second", filled.samples as f64 / filled.cpu_s / 1e6);
    println!(
        "  memory {} MiB, at most {} MiB, without the {fleet_mib} MiB of the benchmark's series",
        now - fleet_mib,
        most - fleet_mib
    );
    println!("  the longest append took {:.1} ms of CPU", filled.longest_ms);
    drop(store);
    let (began, cpu) = (Instant::now(), cpu_s());
    let opened;
    (store, opened) = Store::open(Arc::new(Folder::new(&path)?), Config::default(), BEGIN_MS + 3 * HOUR_MS)?;
    println!(
        "  opened again: {} samples of the log in {:.1} s, {:.1} s of CPU",
        opened.replayed,
        began.elapsed().as_secs_f64(),
        cpu_s() - cpu
    );
    let block_s = filled.block_cpu_s + pass(&store, &all, 3 * HOUR_MS)?;
    let stats = store.stats();
    let most = memory_mib().1;
    println!("  at most {} MiB when the log was read back and blocks were made", most - fleet_mib);
    println!("  made blocks: {:.1} M samples a CPU second", stats.fine_samples as f64 / block_s / 1e6);
    println!(
        "  on the disk {:.3} bytes a sample with the index, {} in {} blocks",
        stats.bytes_per_sample(),
        stats.fine_samples,
        stats.fine_blocks
    );
    let mut one = hour_of("node_family_03_total")?;
    one.matchers.push(Matcher::equal("instance", "host-00007.example:9100"));
    let (series, read, times) = time_select(&store, &one)?;
    show_times(&format!("{series} series, {read} samples by name and instance from a block"), &times);
    drop(store);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}

fn main() -> Outcome<()> {
    let folder = TempFolder::new()?;
    let typed = |word: &str| std::env::args().any(|argument| argument == word);
    if typed("--load") {
        return load::measure(&folder.0, if typed("--short") { 25_000 } else { 250_000 });
    }
    mixed(&folder.0)?;
    many(&folder.0, 100_000, 60, 60_000)?;
    if typed("--million") {
        many(&folder.0, 1_000_000, 135, 60_000)?;
    }
    Ok(())
}

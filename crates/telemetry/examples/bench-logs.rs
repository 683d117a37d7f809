//! The log store with lines as a control plane writes them: records a second in, bytes a record, and how quickly a
//! pattern is found, against `grep -c` on the same lines as plain text. `cargo run -p dwcp-telemetry --release
//! --example bench-logs -- [--records N]` (500,000).

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dwcp_telemetry::logs::{Entry, Grep, Level, Limits, Origin, Query, Store};
use dwcp_types::Rng;

/// Records written together.
const BATCH: usize = 100;

fn entry(number: u64, rng: &mut Rng) -> Entry {
    let (vm, host) = (rng.next_u64() >> 20, rng.below(500));
    let region = ["us-east-1", "eu-west-1", "ap-south-1"][rng.below(3) as usize];
    let (component, level, message) = match rng.below(20) {
        0 => (
            "security",
            Level::Warning,
            format!("request of token-{vm:x} refused: it may not write in {region}"),
        ),
        1 => (
            "federation-controller",
            Level::Error,
            format!("placement of vm-{vm:013x} failed: no host in {region} has 4 GiB left"),
        ),
        2..=6 => (
            "state-manager",
            Level::Info,
            format!("replicated {} entries to {region} in {} ms", rng.below(500), rng.below(90)),
        ),
        7..=10 => (
            "global-router",
            Level::Info,
            format!("route of vm-{vm:013x} moved to {region}, weight {}", rng.below(100)),
        ),
        _ => (
            "agent",
            Level::Info,
            format!("vm-{vm:013x} on host-{host:04} started in {} ms", rng.below(9_000)),
        ),
    };
    Entry {
        at_ms: 1_764_412_092_000 + number as i64 * 7,
        component: component.into(),
        level,
        message,
        operation_id: if number.is_multiple_of(3) {
            format!("op_{:013x}", number / 9)
        } else {
            String::new()
        },
        fields: vec![("host".into(), format!("host-{host:04}")), ("zone".into(), "a".into())],
        ..Entry::default()
    }
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
        })
        .sum()
}

fn best<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut runs: Vec<(f64, T)> = (0..3)
        .map(|_| {
            let began = Instant::now();
            let result = work();
            (began.elapsed().as_secs_f64(), result)
        })
        .collect();
    runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    runs.remove(0)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|word| word == "--records");
    let records: u64 = at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(500_000);
    let folder = std::env::temp_dir().join(format!("dwcp-bench-logs-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let mut rng = Rng::new(1);
    let mut entries: Vec<Entry> = (0..records).map(|number| entry(number, &mut rng)).collect();
    if let Some(last) = entries.last_mut() {
        last.message.push_str(", the needle of the haystack");
    }
    let limits = Limits { log_bytes: 8 << 30, age_ms: i64::MAX, ..Limits::default() };
    let origin = Origin::parse("eu-west-1").expect("an origin");
    let store = Store::open(&folder.join("logs"), &origin, limits).expect("a store");
    let began = Instant::now();
    for batch in entries.chunks(BATCH) {
        store.append(batch.iter().cloned()).expect("written");
    }
    store.sync().expect("synced");
    let seconds = began.elapsed().as_secs_f64();
    let text = folder.join("plain.log");
    write_plain(&store, &text);
    let (plain, stored) = (fs::metadata(&text).expect("a file").len(), size(&folder.join("logs")));
    println!(
        "in: {:.0} records/s, {:.1} MB/s of text, in batches of {BATCH}",
        records as f64 / seconds,
        plain as f64 / seconds / 1e6
    );
    println!(
        "kept: {:.1} bytes a record, {:.1} as text, ratio {:.1}",
        stored as f64 / records as f64,
        plain as f64 / records as f64,
        plain as f64 / stored as f64
    );
    println!("{:<32} {:>9} {:>10} {:>10} {:>6}", "pattern", "found", "MB/s", "grep MB/s", "ratio");
    for pattern in
        ["the needle of", "placement of vm-0", "host-0017", "failed: .* 4 GiB", "[0-9]{4} ms", "(?i)NO HOST"]
    {
        let query = Query {
            grep: Some(Grep::new(pattern).expect("a pattern")),
            limit: usize::MAX,
            max_bytes: u64::MAX,
            ..Query::default()
        };
        let (ours, found) = best(|| store.query(&query).expect("an answer").records.len());
        let (flag, plain_pattern) = match pattern.strip_prefix("(?i)") {
            Some(rest) => ("-ciE", rest),
            None => ("-cE", pattern),
        };
        let (grep, _) = best(|| {
            let grep =
                Command::new("grep").env("LC_ALL", "C").args([flag, plain_pattern]).arg(&text).output();
            String::from_utf8_lossy(&grep.expect("grep").stdout).trim().parse::<u64>().unwrap_or(0)
        });
        let speed = |seconds: f64| plain as f64 / seconds / 1e6;
        println!("{pattern:<32} {found:>9} {:>10.0} {:>10.0} {:>6.2}", speed(ours), speed(grep), grep / ours);
    }
    let (newest, _) = best(|| store.query(&Query::default()).expect("an answer").records.len());
    println!("the 1,000 newest: {:.1} ms", newest * 1e3);
    fs::remove_dir_all(&folder).expect("removed");
}

fn write_plain(store: &Store, path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let (mut after, origin) = (0, store.origin().clone());
    while let Some(shipment) = store.after(&origin, after, 10_000) {
        after = shipment.through;
        shipment.records.iter().for_each(|record| writeln!(file, "{record}").expect("written"));
    }
    file.flush().expect("written");
}

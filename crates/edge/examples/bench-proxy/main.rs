//! The proxy against nginx and haproxy: the same endpoint (an nginx), the same load (wrk), one after the other in the same run.
//!
//! `cargo run --profile sim -p dwcp-edge --example bench-proxy -- [--seconds N] [--connections N]`, or `abuse [--seconds N]
//! [--peer NAME] [--kind KIND]`. It needs `wrk` and `nginx`, and measures haproxy where it is installed. Beside what comes through a
//! second it prints processor time, which other work on the machine changes less. With `abuse` it measures a good client while
//! others misbehave.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dwcp_decide::ddos::GuardPolicy;
use dwcp_decide::route::{EndpointRow, Place, RegionRow, ServiceRow, Table};
use dwcp_edge::guard::{Guard, Open};
use dwcp_edge::proxy::{self, Certificates, Limits, Placing, ProxyConfig};
use dwcp_edge::routes::Current;
use dwcp_edge::shield::{Secrets, Setup, Shield};

#[path = "abuse.rs"]
mod abuse;
#[path = "load.rs"]
mod load;
#[path = "peers.rs"]
mod peers;

use peers::{Peer, Setting};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// As a router's shield.
const WATCH_EVERY: Duration = Duration::from_millis(100);

struct TempFolder(PathBuf);

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Nowhere;

impl Placing for Nowhere {
    fn place(&self, _: IpAddr) -> Option<Place> {
        None
    }
}

/// The shield of a router as it is without a policy, at its work.
fn shield() -> Arc<Shield> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let shield = Arc::new(Shield::new(Setup {
        router: "bench".to_owned(),
        policy: GuardPolicy::default(),
        secrets: Secrets { current: [3; 32], previous: None },
        seed: 5,
        geo: Box::new(|_| Default::default()),
        clock: Box::new(clock),
    }));
    let watched = Arc::clone(&shield);
    std::thread::spawn(move || {
        loop {
            watched.turn();
            std::thread::sleep(WATCH_EVERY);
        }
    });
    shield
}

/// The proxy, alone or behind a shield, until its input ends: `serve ENDPOINT HTTP HTTPS FOLDER [shielded]`.
#[tokio::main(worker_threads = 2)]
async fn serve(words: &[String]) -> Outcome<()> {
    let [endpoint, http, https, folder, shielded @ ..] = words else {
        return Err("serve ENDPOINT HTTP HTTPS FOLDER [shielded]".into());
    };
    let guard: Arc<dyn Guard> = if shielded.is_empty() { Arc::new(Open) } else { shield() };
    let endpoint = EndpointRow {
        id: "vm_1".to_owned(),
        name: "one".to_owned(),
        region: 0,
        zone: "a".to_owned(),
        address: endpoint.parse()?,
        serves: true,
        draining: false,
    };
    let region = RegionRow {
        region: "here".to_owned(),
        takes_part: true,
        traffic_percent: 100,
        health: Some(100),
        rtt_ms: Some(1),
        ..RegionRow::default()
    };
    let service = ServiceRow {
        name: "bench".to_owned(),
        hosts: vec!["*".to_owned()],
        endpoints: vec![endpoint],
        ..ServiceRow::default()
    };
    let table =
        Table { here: "here".to_owned(), regions: vec![region], services: vec![service], ..Table::default() };
    let config = ProxyConfig {
        http: vec![http.parse()?],
        https: vec![https.parse()?],
        tcp_bind: None,
        router_name: "bench".to_owned(),
        limits: Limits { connections_per_client: 20_000, ..Limits::default() },
        trusted_proxy: Vec::new(),
        cookie_key: [0; 32],
        log: None,
        told: Arc::new(|text| eprintln!("{text}")),
    };
    let (certificates, _) = Certificates::open(folder)?;
    let current = Arc::new(Current::new(table));
    let _proxy = proxy::start(config, current, guard, certificates, Arc::new(Nowhere)).await?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn number(words: &[String], name: &str, otherwise: u64) -> Outcome<u64> {
    Ok(word(words, name).map_or(Ok(otherwise), str::parse)?)
}

fn word<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

/// Ours alone, behind a shield as every router's is, and haproxy; only ours have to hold.
fn abused(folder: &Path, words: &[String]) -> Outcome<()> {
    let (here, aside) =
        (Setting::new(folder.join("here"), false)?, Setting::new(folder.join("aside"), true)?);
    let _endpoints = (peers::endpoint(&here)?, peers::endpoint(&aside)?);
    let mut wrong = String::new();
    let all = [("dwcp", Some(3.0), true), (peers::SHIELDED, Some(2.0), false), ("haproxy", None, false)];
    for (name, within, stay) in all {
        if word(words, "--peer").is_some_and(|only| only != name) {
            continue;
        }
        let (Some(peer), Some(decoy)) = (Peer::start(name, &here)?, Peer::start(name, &aside)?) else {
            println!("{name} is not installed");
            continue;
        };
        println!("{name}:");
        let (seconds, only) = (number(words, "--seconds", 3)?, word(words, "--kind"));
        let times = within.unwrap_or(f64::INFINITY);
        let test = abuse::Test { peer: &peer, decoy: &decoy, seconds, only, within: times, stay };
        if let Err(why) = test.run()
            && within.is_some()
        {
            wrong.push_str(&format!("{name}: {why}\n"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve") => return serve(&words[1..]),
        Some("abuse-by") => return abuse::abuse(&words[1..]),
        _ => {}
    }
    let folder = TempFolder(std::env::temp_dir().join(format!("dwcp-bench-proxy-{}", std::process::id())));
    if words.first().is_some_and(|word| word == "abuse") {
        return abused(&folder.0, &words);
    }
    let (seconds, connections) = (number(&words, "--seconds", 5)?, number(&words, "--connections", 64)?);
    let setting = Setting::new(folder.0.clone(), false)?;
    let _endpoint = peers::endpoint(&setting)?;
    let mut figures = Vec::new();
    for name in peers::NAMES {
        let Some(peer) = Peer::start(name, &setting)? else {
            println!("{name} is not installed");
            continue;
        };
        figures.push((name, load::measure(&peer, seconds, connections)?));
    }
    let Some((_, own)) = figures.first() else { return Err("nothing was measured".into()) };
    for (at, name) in load::FIGURES.iter().enumerate() {
        let line: Vec<String> = figures
            .iter()
            .map(|(peer, all)| format!("{peer} {:.1} ({:.2})", all[at], own[at] / all[at].max(1e-9)))
            .collect();
        println!("{name}: {}", line.join(", "));
    }
    println!("in brackets: ours divided by theirs");
    Ok(())
}

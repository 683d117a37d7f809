//! The proxy against nginx and haproxy: the same endpoint (an nginx), the same load (wrk), one after the other in the same run.
//!
//! `cargo run --profile sim -p dwcp-edge --example bench-proxy -- [abuse] [--seconds N] [--connections N]`. It needs `wrk` and
//! `nginx`, and measures haproxy where it is installed. Beside what comes through a second it prints processor time, which other
//! work on the machine changes less. With `abuse` it measures a good client of ours while others misbehave.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
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

use peers::Peer;

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

/// An address that nobody listens at.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn number(words: &[String], name: &str, otherwise: u64) -> Outcome<u64> {
    let at = words.iter().position(|word| word == name);
    Ok(at.and_then(|at| words.get(at + 1)).map_or(Ok(otherwise), |word| word.parse())?)
}

fn certify(folder: &Path) -> Outcome<()> {
    let key = rcgen::KeyPair::generate()?;
    let cert = rcgen::CertificateParams::new(vec!["bench.test".to_owned()])?.self_signed(&key)?;
    std::fs::write(folder.join("default.key"), key.serialize_pem())?;
    std::fs::write(folder.join("default.crt"), cert.pem())?;
    std::fs::write(folder.join("both"), cert.pem() + &key.serialize_pem())?;
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve") => return serve(&words[1..]),
        Some("abuse-by") => return abuse::abuse(&words[1..]),
        _ => {}
    }
    let (seconds, connections) = (number(&words, "--seconds", 5)?, number(&words, "--connections", 64)?);
    let folder = TempFolder(std::env::temp_dir().join(format!("dwcp-bench-proxy-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    certify(&folder.0)?;
    let endpoint = free()?;
    let _endpoint = peers::endpoint(&folder.0, endpoint)?;
    if words.first().is_some_and(|word| word == "abuse") {
        let mut wrong = String::new();
        for (name, stay) in [(peers::NAMES[0], true), (peers::SHIELDED, false)] {
            println!("{name}:");
            let own = Peer::start(name, &folder.0, endpoint, free()?, free()?)?;
            if let Err(why) = abuse::measure(&own.ok_or("our own proxy is always here")?, seconds, stay) {
                wrong.push_str(&format!("{name}: {why}\n"));
            }
        }
        return if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) };
    }
    let mut figures = Vec::new();
    for name in peers::NAMES {
        let Some(peer) = Peer::start(name, &folder.0, endpoint, free()?, free()?)? else {
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

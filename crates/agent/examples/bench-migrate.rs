//! How long a running guest takes from one host to another, and how long it is not heard meanwhile: by the agents' transfer
//! link, and by one connection from emulator to emulator with the same settings, over the same emulated links; and how much
//! of a link's rate the copy of a disk gets, which is what a drain lives on.
//!
//! `cargo xtask bench migrate [--images DIR] [--rounds N]`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_agent::mover::monitor::Monitor;
use dwcp_agent::qemu::NETWORK;
use dwcp_mesh::LinkShape;
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{Stage, TransferReport};
use pair::{Disk, MIGRATION, Pair, VM};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[path = "../tests/it/pair.rs"]
#[allow(dead_code)]
mod pair;

const LIMIT: Duration = Duration::from_secs(5);
const PIECE: usize = 64 << 10;

/// What the disk holds that is copied, MiB.
const FILLED_MIB: u64 = 160;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Ours,
    OursWithDisk,
    Plain,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1).cloned()
    };
    let images = PathBuf::from(value("--images").unwrap_or_else(|| ".dwcp/cache/images".to_owned()));
    let images = std::path::absolute(images).expect("a path");
    assert!(images.join("small").is_dir(), "no image `small` in {}: cargo xtask guest", images.display());
    let rounds: usize = value("--rounds").and_then(|text| text.parse().ok()).unwrap_or(3);
    println!(
        "{:<20} {:<14} {:>8} {:>7} {:>7} {:>8}   against plain, or the link's rate",
        "link", "way", "total ms", "gap ms", "still", "MiB sent"
    );
    let links = [
        ("none", 0, None),
        ("20 ms, 500 Mbit/s", 10, Some(500)),
        ("80 ms, 100 Mbit/s", 40, Some(100)),
        ("310 ms, 500 Mbit/s", 155, Some(500)),
    ];
    for (name, delay_ms, mbit) in links {
        let shape = LinkShape {
            delay_us: delay_ms * 1000,
            rate_bps: mbit.map(|mbit: u64| mbit * 1_000_000),
            ..LinkShape::default()
        };
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        // In turns: what else the machine does meets both.
        for _ in 0..rounds {
            plain.push(once(&images, shape, Way::Plain).await);
            ours.push(once(&images, shape, Way::Ours).await);
        }
        let (plain, ours) = (middle(&plain), middle(&ours));
        tell(name, "plain", &plain, "");
        let times = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        let against = format!(
            "total {:.2}, gap {:.2} times",
            times(ours.total, plain.total),
            times(ours.gap, plain.gap)
        );
        tell(name, "transfer link", &ours, &against);
        let disk = once(&images, shape, Way::OursWithDisk).await;
        let bytes_per_s = disk.disk.0 as f64 / disk.disk.1.as_secs_f64();
        let share = match shape.rate_bps {
            Some(bps) => format!(": {:.0} % of the link", bytes_per_s * 800.0 / bps as f64),
            None => String::new(),
        };
        tell(name, "with its disk", &disk, &format!("disk {:.1} MB/s{share}", bytes_per_s / 1e6));
    }
}

fn tell(link: &str, way: &str, of: &Measured, what: &str) {
    println!(
        "{link:<20} {way:<14} {:>8} {:>7} {:>7} {:>8}   {what}",
        of.total.as_millis(),
        of.gap.as_millis(),
        of.downtime_ms,
        of.sent >> 20
    );
}

/// The median of each figure.
fn middle(all: &[Measured]) -> Measured {
    fn of<T: Ord + Copy>(all: &[Measured], what: impl Fn(&Measured) -> T) -> T {
        let mut values: Vec<T> = all.iter().map(what).collect();
        values.sort();
        values[values.len() / 2]
    }
    Measured {
        total: of(all, |one| one.total),
        gap: of(all, |one| one.gap),
        downtime_ms: of(all, |one| one.downtime_ms),
        sent: of(all, |one| one.sent),
        disk: (0, Duration::ZERO),
    }
}

struct Measured {
    total: Duration,
    gap: Duration,
    downtime_ms: u64,
    sent: u64,
    /// Bytes of the disk, and how long they took.
    disk: (u64, Duration),
}

async fn once(images: &std::path::Path, shape: LinkShape, way: Way) -> Measured {
    let disk = if way == Way::OursWithDisk { Disk::Own } else { Disk::None };
    let mut pair = Pair::start("bench", images, disk, shape, 60);
    pair.filled_mib = FILLED_MIB;
    pair.boot();
    let probe = Probe::start([pair.a.service(), pair.b.service()]);
    while probe.answers() < 20 {
        assert!(!pair.a.is_gone(), "its emulator ended: {}", pair.dir.join("h1/stderr").display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    pair.wait_at_b();
    let b = pair.b.mover.monitor(pair.b.process()).await.expect("a session");
    let began = Instant::now();
    let mut measured = match way {
        Way::Plain => plain(&mut pair, &b, shape).await,
        _ => ours(&mut pair).await,
    };
    measured.total = began.elapsed();
    tokio::time::sleep(Duration::from_millis(500)).await;
    measured.gap = probe.stop(began);
    pair.stop().await;
    measured
}

async fn ours(pair: &mut Pair) -> Measured {
    pair.b.mover.expect(pair.b.process(), MIGRATION, Some(pair.a.peer.clone()), pair.b.forwards());
    let ready = pair.b.next("ready").await;
    assert!(matches!(ready, Input::IncomingReady { result: Ok(()), .. }), "{ready:?}");
    let to = dwcp_roles::protocol::TransferTo { rate_bytes_per_s: 0, ..pair.ticket() };
    pair.a.mover.begin(pair.a.process(), to.clone());
    let (mut last, mut disk, mut memory) = (TransferReport::default(), None, None);
    loop {
        let input = tokio::select! {
            input = pair.a.inputs.recv() => input,
            input = pair.b.inputs.recv() => input,
        };
        match input.expect("the mover") {
            Input::ArrivedWhole { vm, generation, migration } => {
                pair.b.mover.say_whole(vm, generation, migration);
            }
            Input::TransferProgress { report, .. } => {
                match report.stage {
                    Stage::Disk => drop(disk.get_or_insert(report.clone())),
                    Stage::Memory => drop(memory.get_or_insert(report.clone())),
                    _ => {}
                }
                last = report;
            }
            Input::TransferCompleted { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let disk = disk.zip(memory).map_or((0, Duration::ZERO), |(from, to)| {
        (to.bytes_done - from.bytes_done, Duration::from_millis(to.elapsed_ms - from.elapsed_ms))
    });
    pair.a.mover.part(pair.a.process(), pair.a.forwards());
    pair.a.mover.release(VM, to);
    let released = pair.b.next("released").await;
    assert!(matches!(released, Input::Released { .. }), "{released:?}");
    pair.b.mover.go_on(pair.b.process(), pair.b.forwards());
    let went_on = pair.b.next("goes on").await;
    assert!(matches!(went_on, Input::WentOn { result: Ok(()), .. }), "{went_on:?}");
    Measured {
        total: Duration::ZERO,
        gap: Duration::ZERO,
        downtime_ms: last.downtime_ms,
        sent: last.bytes_done,
        disk,
    }
}

async fn plain(pair: &mut Pair, b: &Monitor, shape: LinkShape) -> Measured {
    let a = pair.a.mover.monitor(pair.a.process()).await.expect("a session");
    let ask = async |monitor: &Monitor, command: &str, arguments: Value| {
        monitor.execute(command, arguments, LIMIT).await.expect("an answer")
    };
    // As its command line would.
    for forward in pair.b.forwards() {
        let add = json!({"command-line": format!("hostfwd_add {NETWORK} {forward}")});
        ask(b, "human-monitor-command", add).await;
    }
    for monitor in [&*a, b] {
        let on = |name: &str| json!({"capability": name, "state": true});
        let capabilities = json!([on("multifd"), on("return-path"), on("events"), on("auto-converge")]);
        ask(monitor, "migrate-set-capabilities", json!({"capabilities": capabilities})).await;
        let parameters = json!({
            "multifd-channels": 2, "multifd-compression": "zstd", "multifd-zstd-level": 1,
            "max-bandwidth": 1u64 << 40, "downtime-limit": 100,
        });
        ask(monitor, "migrate-set-parameters", parameters).await;
    }
    let there = free_port().await;
    let uri = |address: SocketAddr| json!({"uri": format!("tcp:{address}")});
    ask(b, "migrate-incoming", uri(there)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = listener.local_addr().expect("an address");
    let link = tokio::spawn(carry(listener, there, shape));
    ask(&a, "migrate", uri(here)).await;
    let told = loop {
        let told = ask(&a, "query-migrate", Value::Null).await;
        match told["status"].as_str() {
            Some("completed") => break told,
            Some("failed" | "cancelled") => panic!("{told}"),
            _ => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    while ask(b, "query-status", Value::Null).await["status"] == "inmigrate" {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ask(b, "cont", Value::Null).await;
    link.abort();
    Measured {
        total: Duration::ZERO,
        gap: Duration::ZERO,
        downtime_ms: told["downtime"].as_u64().unwrap_or(0),
        sent: told["ram"]["transferred"].as_u64().unwrap_or(0),
        disk: (0, Duration::ZERO),
    }
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// Carries connections over a link with this delay and rate, without loss and without a slow start.
async fn carry(listener: TcpListener, to: SocketAddr, shape: LinkShape) {
    let mut joined = tokio::task::JoinSet::new();
    let wire = [(); 2].map(|()| Arc::new(Mutex::new(Instant::now())));
    while let Ok((from, _)) = listener.accept().await {
        let to = TcpStream::connect(to).await.expect("the other emulator");
        let ((a_read, a_write), (b_read, b_write)) = (from.into_split(), to.into_split());
        joined.spawn(one_way(a_read, b_write, shape, wire[0].clone()));
        joined.spawn(one_way(b_read, a_write, shape, wire[1].clone()));
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    shape: LinkShape,
    wire: Arc<Mutex<Instant>>,
) {
    // As much as may be on its way.
    let on_the_way = shape.rate_bps.unwrap_or(1 << 33) / 8 * shape.delay_us / 1_000_000 / PIECE as u64;
    let (put, mut get) = mpsc::channel::<(Instant, Vec<u8>)>(on_the_way as usize + 4);
    let send = async move {
        loop {
            let mut piece = vec![0; PIECE];
            let count = from.read(&mut piece).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            piece.truncate(count);
            let left = {
                let mut free = wire.lock().expect("no panic");
                let takes = shape.rate_bps.map_or(0.0, |bps| count as f64 * 8.0 / bps as f64);
                *free = (*free).max(Instant::now()) + Duration::from_secs_f64(takes);
                *free
            };
            tokio::time::sleep_until(left.into()).await;
            if put.send((left + Duration::from_micros(shape.delay_us), piece)).await.is_err() {
                return;
            }
        }
    };
    let receive = async move {
        while let Some((due, piece)) = get.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(send, receive);
}

/// Asks the guest at both addresses all the time.
struct Probe {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Probe {
    fn start(addresses: [String; 2]) -> Probe {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(Mutex::new(Vec::new()));
        let ask = |address: String| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if ask(&address) {
                        answered.lock().expect("no panic").push(Instant::now());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let threads = addresses.into_iter().map(ask).collect();
        Probe { stop, answered, threads }
    }

    fn answers(&self) -> usize {
        self.answered.lock().expect("no panic").len()
    }

    /// The longest time without an answer since `since`.
    fn stop(self, since: Instant) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no panic");
        }
        let mut answered = self.answered.lock().expect("no panic").clone();
        answered.sort();
        let gaps = answered.windows(2).filter(|two| two[1] > since).map(|two| two[1] - two[0]);
        gaps.max().unwrap_or_default()
    }
}

fn ask(address: &str) -> bool {
    use std::io::{Read, Write};
    let limit = Duration::from_millis(100);
    let asked = || -> std::io::Result<bool> {
        let address = address.parse().map_err(std::io::Error::other)?;
        let mut stream = std::net::TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    asked().unwrap_or(false)
}

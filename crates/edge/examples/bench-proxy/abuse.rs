//! A good client while others abuse the proxy: its P99 against the same while they abuse another one beside it, in turns in the same
//! run; and what the proxy's memory grows to.
//!
//! What abuse costs the machine is then the same in both: in life, who abuses has processors of its own. All that is not the proxy
//! or the good client runs at the lowest priority.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::Outcome;
use crate::peers::Peer;

/// What is done, and by how many connections at a time.
const KINDS: [(&str, usize, &str); 6] = [
    ("resets", 20, "HTTP/2 requests that are taken back at once"),
    ("late resets", 20, "HTTP/2 requests that are taken back when they are under way"),
    ("slow heads", 2_000, "heads of which a byte comes each second"),
    ("slow bodies", 2_000, "bodies of which a byte comes each second"),
    ("large heads", 20, "heads of 64 KiB, again and again"),
    ("half open", 10_000, "connections that say half a head and no more"),
];
/// Those whose connections the proxy leaves open for a while; the others are cut off and come again, ten times a second each.
const STAY: [&str; 2] = ["slow heads", "half open"];
/// Connections of one address; the proxy's own limit of one client is never met.
const OF_ONE: usize = 200;
/// What abuse may take of the proxy's memory: in all, and for each connection.
const OF_ALL_MIB: f64 = 16.0;
const OF_ONE_MIB: f64 = 0.064;
/// Each P99 is the middle one of so many: a machine that others use as well has moments that say nothing of the proxy.
const ROUNDS: usize = 3;
/// From an abuser's beginning until something is measured.
const WARM: Duration = Duration::from_millis(1_500);
/// Between two requests of the good client.
const EVERY: Duration = Duration::from_millis(5);
/// An address of the loopback network by number, none of them 127.0.0.1.
fn source(number: usize) -> SocketAddr {
    let number = (number / OF_ONE) as u16 + 1;
    let [high, low] = number.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), 0)
}

/// Ends with this.
struct Abuser(Child);

impl Drop for Abuser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends requests for so long, each over the same connection; how long each took, ms, sorted; and how many failed.
fn good(at: SocketAddr, seconds: u64) -> (Vec<f64>, usize) {
    let (begun, mut took, mut failed) = (Instant::now(), Vec::new(), 0);
    let mut link: Option<TcpStream> = None;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let asked = Instant::now();
        match ask(at, &mut link) {
            Ok(()) => took.push(asked.elapsed().as_secs_f64() * 1e3),
            Err(_) => (failed, link) = (failed + 1, None),
        }
        std::thread::sleep(EVERY);
    }
    took.sort_by(f64::total_cmp);
    (took, failed)
}

fn ask(at: SocketAddr, link: &mut Option<TcpStream>) -> Outcome<()> {
    if link.is_none() {
        let tcp = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
        tcp.set_read_timeout(Some(Duration::from_secs(2)))?;
        tcp.set_nodelay(true)?;
        *link = Some(tcp);
    }
    let Some(tcp) = link else { return Err("no connection".into()) };
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"yyyy") {
        match tcp.read(&mut part)? {
            0 => return Err("closed".into()),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err("not served".into()) }
}

/// What is abused, and how it is measured.
pub struct Test<'a> {
    pub peer: &'a Peer,
    /// Is abused in the turns between.
    pub decoy: &'a Peer,
    /// Of one round.
    pub seconds: u64,
    /// The only kind; none: all.
    pub only: Option<&'a str>,
    /// The good client's P99 may be so many times what it is beside abuse of the other.
    pub within: f64,
    /// A shield may close all that abuse; without one some of their connections have to stay.
    pub stay: bool,
}

impl Test<'_> {
    /// # Errors
    /// The good client's P99 or the proxy's memory grew too much, or it was not served.
    pub fn run(&self) -> Outcome<()> {
        good(self.peer.http, 1);
        let mut quiet: Vec<f64> = (0..ROUNDS).map(|_| p99(&good(self.peer.http, self.seconds).0)).collect();
        let before = self.peer.process.memory_mib();
        println!("quiet: P99 {:.2} ms; memory {before:.1} MiB", middle(&mut quiet));
        let (mut wrong, mut most) = (Vec::new(), 0);
        for (kind, connections, what) in KINDS {
            if self.only.is_some_and(|only| only != kind) {
                continue;
            }
            // An allocator keeps what was taken once.
            most = most.max(connections);
            let met = self.rounds(kind)?;
            println!(
                "{kind} ({what}; {} connections): P99 {:.2} ms, beside {:.2} ms ({:.2} times; {}), {} of {} failed, memory {:.1} MiB",
                met.open,
                met.p99_ms,
                met.beside_ms,
                met.p99_ms / met.beside_ms,
                met.each,
                met.failed,
                met.asked,
                met.memory_mib
            );
            if met.p99_ms > self.within * met.beside_ms || met.failed > 0 {
                wrong.push(format!("{kind}: too slow, or not served"));
            }
            if met.memory_mib - before > OF_ALL_MIB + most as f64 * OF_ONE_MIB {
                wrong.push(format!("{kind}: too much memory"));
            }
            if self.stay && STAY.contains(&kind) && met.open < connections / 2 {
                wrong.push(format!(
                    "{kind}: {} of {connections} connections are there; more open files are needed",
                    met.open
                ));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
    }

    fn rounds(&self, kind: &str) -> Outcome<Met> {
        let (mut here, mut beside, mut met) = (Vec::new(), Vec::new(), Met::default());
        for _ in 0..ROUNDS {
            for (abused, p99s) in [(self.decoy, &mut beside), (self.peer, &mut here)] {
                let _abuser = abuser(kind, abused.http)?;
                let (took, failed) = good(self.peer.http, self.seconds);
                p99s.push(p99(&took));
                if abused.http == self.peer.http {
                    met.failed += failed;
                    met.asked += took.len() + failed;
                    met.open = established(self.peer.http);
                    met.memory_mib = met.memory_mib.max(self.peer.process.memory_mib());
                }
            }
        }
        let ratios: Vec<String> =
            here.iter().zip(&beside).map(|(here, beside)| format!("{here:.2}/{beside:.2}")).collect();
        met.each = ratios.join(" ");
        (met.p99_ms, met.beside_ms) = (middle(&mut here), middle(&mut beside));
        Ok(met)
    }
}

/// What a good client met while the proxy was abused.
#[derive(Default)]
struct Met {
    p99_ms: f64,
    /// While the other proxy was.
    beside_ms: f64,
    /// Both of each round.
    each: String,
    asked: usize,
    failed: usize,
    open: usize,
    memory_mib: f64,
}

fn abuser(kind: &str, at: SocketAddr) -> Outcome<Abuser> {
    let mut abuse = Command::new("nice");
    abuse.args(["-n", "19"]).arg(std::env::current_exe()?).args(["abuse-by", kind, &at.to_string()]);
    let abuser = Abuser(abuse.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    std::thread::sleep(WARM);
    Ok(abuser)
}

/// Connections of clients that the proxy has.
fn established(at: SocketAddr) -> usize {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let here = format!(":{:04X}", at.port());
    let is_there = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&here)) && fields.nth(1) == Some("01")
    };
    text.lines().filter(is_there).count()
}

fn p99(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::INFINITY)
}

fn middle(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Abuses the proxy until it is killed: `abuse-by KIND ADDRESS`.
#[tokio::main(flavor = "current_thread")]
pub async fn abuse(words: &[String]) -> Outcome<()> {
    let [kind, at] = words else { return Err("abuse-by KIND ADDRESS".into()) };
    let (at, known) = (at.parse()?, KINDS.iter().find(|(name, ..)| name == kind));
    let &(name, connections, _) = known.ok_or("an unknown kind")?;
    for number in 0..connections {
        tokio::spawn(async move {
            // They do not all come at once.
            tokio::time::sleep(Duration::from_millis(number as u64 * 1_000 / connections as u64)).await;
            loop {
                // Whoever is cut off comes again.
                let _ = once(name, at, number).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    std::future::pending().await
}

async fn once(kind: &str, at: SocketAddr, number: usize) -> Outcome<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source(number))?;
    let mut tcp = socket.connect(at).await?;
    let second = Duration::from_secs(1);
    match kind {
        "resets" | "late resets" => {
            let (mut to, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
            let connection = tokio::spawn(connection);
            while !connection.is_finished() {
                let mut sent = Vec::new();
                for _ in 0..20 {
                    let request = Request::get("http://bench.test/").body(Empty::<Bytes>::new())?;
                    sent.push(to.send_request(request));
                    if kind == "resets" {
                        // It is on its way, and then nobody wants it any more.
                        tokio::task::yield_now().await;
                        sent.clear();
                    }
                }
                if kind == "late resets" {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    sent.clear();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        "large heads" => loop {
            let head = format!("GET / HTTP/1.1\r\nHost: bench.test\r\nX: {}\r\n\r\n", "x".repeat(65_536));
            tcp.write_all(head.as_bytes()).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        "half open" => {
            tcp.write_all(b"GET / HTTP/1.1\r\nHost: ben").await?;
            tcp.readable().await?;
        }
        slow => {
            let head: &[u8] = match slow {
                "slow heads" => b"GET / HTTP/1.1\r\nHost: bench.test\r\nX: ",
                _ => b"POST / HTTP/1.1\r\nHost: bench.test\r\nContent-Length: 100000\r\n\r\n",
            };
            tcp.write_all(head).await?;
            loop {
                tokio::time::sleep(second).await;
                tcp.write_all(b"x").await?;
            }
        }
    }
    Ok(())
}

//! The load, and what is read of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::Outcome;
use crate::peers::Peer;

pub const FIGURES: [&str; 9] = [
    "requests a second, kept connections",
    "their P99, ms",
    "processor time of a request, us",
    "the same over TLS, requests a second",
    "processor time of a request, us",
    "new TLS connections a second",
    "processor time of one, us",
    "bodies of 1 MB a second",
    "memory of 10,000 idle connections, MiB",
];

/// Idle connections.
const IDLE: usize = 8_000;

struct Run {
    a_second: f64,
    p99_ms: f64,
    cpu_us: f64,
}

pub fn measure(peer: &Peer, seconds: u64, connections: u64) -> Outcome<[f64; FIGURES.len()]> {
    let http = format!("http://{}", peer.http);
    let https = format!("https://{}", peer.https);
    wrk(peer, 1, connections, &format!("{http}/"), false)?;
    let plain = wrk(peer, seconds, connections, &format!("{http}/"), false)?;
    let tls = wrk(peer, seconds, connections, &format!("{https}/"), false)?;
    let new = wrk(peer, seconds, connections, &format!("{https}/"), true)?;
    let large = wrk(peer, seconds, 16, &format!("{http}/mb"), false)?;
    let idle = idle(peer)?;
    Ok([
        plain.a_second,
        plain.p99_ms,
        plain.cpu_us,
        tls.a_second,
        tls.cpu_us,
        new.a_second,
        new.cpu_us,
        large.a_second,
        idle,
    ])
}

fn wrk(peer: &Peer, seconds: u64, connections: u64, url: &str, each_new: bool) -> Outcome<Run> {
    let before = peer.process.cpu_s();
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "--timeout", "10"]);
    command.args([format!("-c{connections}"), format!("-d{seconds}s")]);
    if each_new {
        command.args(["-H", "Connection: close"]);
    }
    let output = command.arg(url).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cpu_s = peer.process.cpu_s() - before;
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let a_second = field("Requests/sec:").and_then(|word| word.parse::<f64>().ok());
    let Some(a_second) = a_second else {
        return Err(format!("wrk {url}: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    };
    for wrong in ["Non-2xx", "Socket errors"] {
        if let Some(line) = text.lines().find(|line| line.contains(wrong)) {
            eprintln!("{url}: {}", line.trim());
        }
    }
    let p99_ms = field("99%").map_or(0.0, milliseconds);
    Ok(Run { a_second, p99_ms, cpu_us: cpu_s * 1e6 / (a_second * seconds as f64).max(1.0) })
}

fn milliseconds(text: &str) -> f64 {
    let (number, by) = if let Some(number) = text.strip_suffix("us") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else {
        (text.trim_end_matches('s'), 1_000.0)
    };
    number.parse::<f64>().map_or(0.0, |number| number * by)
}

/// What connections that made one request and wait take, for ten thousand of them.
fn idle(peer: &Peer) -> Outcome<f64> {
    let before = peer.process.memory_mib();
    let mut all = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        all.push(asked(peer.http)?);
    }
    std::thread::sleep(Duration::from_secs(3));
    Ok((peer.process.memory_mib() - before) * 10_000.0 / IDLE as f64)
}

fn asked(at: SocketAddr) -> Outcome<TcpStream> {
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")?;
    let mut bytes = [0; 4096];
    let count = tcp.read(&mut bytes)?;
    if !bytes[..count].starts_with(b"HTTP/1.1 200") {
        return Err("an answer that is none".into());
    }
    Ok(tcp)
}

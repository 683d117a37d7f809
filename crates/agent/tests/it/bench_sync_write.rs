//! What protection costs a guest's write: `cargo xtask bench sync-write`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dwcp_roles::protocol::GuardPhase;

use super::agent::images;
use super::qemu_protect::{Pair, with_disk};
use super::wanted::running;

/// Writes in one turn.
const WRITES: u64 = 100;
/// Longest wait for one.
const LIMIT: Duration = Duration::from_secs(5);
/// Round trips to the copy.
const ROUND_TRIPS_MS: [u64; 5] = [1, 10, 40, 100, 300];

/// One record is written and on the drive: how long that took, as seen from outside the guest.
fn write(address: &str, number: u64) -> Duration {
    let began = Instant::now();
    let address = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).expect("the guest");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let body = format!("record {number}");
    let length = body.len();
    let request = format!(
        "PUT /record?{number} HTTP/1.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    began.elapsed()
}

/// P50 and P99 of one turn, ms.
fn turn(address: &str) -> (f64, f64) {
    let mut took: Vec<Duration> = (0..WRITES).map(|number| write(address, number)).collect();
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    (at(50), at(99))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a benchmark"]
async fn bench_sync_write() {
    let Some(images) = images() else { return };
    let pair = Pair::start("bench-sync", &images, 60).await;
    pair.here.want(vec![with_disk(1)]);
    running(&pair.here, 7, 1).await;
    turn(&pair.address);
    let plain = turn(&pair.address);
    println!("{:<12} {:>9} {:>9}   P50 against", "round trip", "P50 ms", "P99 ms");
    println!("{:<12} {:>9.2} {:>9.2}", "unprotected", plain.0, plain.1);
    pair.protect_each(1, false, 0);
    pair.wait_phase(1, GuardPhase::Synced).await;
    for rtt_ms in ROUND_TRIPS_MS {
        pair.delay(Duration::from_micros(rtt_ms * 500)).await;
        let (p50, p99) = turn(&pair.address);
        let rtt = rtt_ms as f64;
        println!(
            "{:<12} {p50:>9.2} {p99:>9.2}   {:.2} times the round trip, {:.1} times unprotected; added: {:.2} times the round trip",
            format!("{rtt_ms} ms"),
            p50 / rtt,
            p50 / plain.0,
            (p50 - plain.0) / rtt,
        );
    }
    pair.stop();
}

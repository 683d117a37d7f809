//! How long a commit takes in the embedded store, and in an etcd cluster of one member and of three, all on this machine.
//!
//! A batch is what one write of a group is: its entry, and two copies of the hard state. The argument is the etcd program.

use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dwcp_consensus::Batch;
use dwcp_server::log::Log;
use dwcp_server::store::Store;
use dwcp_server::store::etcd::Place;

/// Commits of one batch each, of so many batches each, and of so many bytes at once.
const SINGLE: usize = 400;
const SHARED: usize = 60;
const TOGETHER: usize = 32;
const SNAPSHOT_BYTES: usize = 8 << 20;

struct Etcd {
    members: Vec<Child>,
    endpoints: Vec<String>,
}

impl Etcd {
    fn start(program: &Path, folder: &Path, count: usize) -> Result<Etcd, Box<dyn Error>> {
        let port = || -> std::io::Result<u16> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()) };
        let ports = (0..count).map(|_| Ok((port()?, port()?))).collect::<std::io::Result<Vec<_>>>()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            ports.iter().enumerate().map(|(at, (_, peer))| format!("m{at}={}", url(*peer))).collect();
        let members = ports.iter().enumerate().map(|(at, (client, peer))| {
            Command::new(program)
                .args(["--name", &format!("m{at}"), "--initial-cluster", &cluster.join(",")])
                .arg("--data-dir")
                .arg(folder.join(format!("{count}-m{at}")))
                .args(["--listen-client-urls", &url(*client), "--advertise-client-urls", &url(*client)])
                .args(["--listen-peer-urls", &url(*peer), "--initial-advertise-peer-urls", &url(*peer)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        let members = members.collect::<Result<_, _>>()?;
        Ok(Etcd { members, endpoints: ports.iter().map(|(client, _)| url(*client)).collect() })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

struct Times {
    p50_us: u64,
    p99_us: u64,
}

fn batch(number: usize) -> Batch {
    let key = |kind: u8, number: usize| [&[b'r', kind][..], &number.to_be_bytes()].concat();
    let puts =
        vec![(key(1, 0), vec![7; 64]), (key(2, 0), vec![7; 64]), (key(16, number), vec![number as u8; 200])];
    Batch { puts, ..Batch::default() }
}

fn measure(store: &mut Store, commits: usize, together: usize) -> Result<Times, Box<dyn Error>> {
    let mut times = Vec::with_capacity(commits);
    for commit in 0..commits {
        let batches: Vec<Batch> = (0..together).map(|at| batch(commit * together + at)).collect();
        let began = Instant::now();
        store.write(&batches)?;
        times.push(began.elapsed().as_micros() as u64);
    }
    times.sort_unstable();
    Ok(Times { p50_us: times[times.len() / 2], p99_us: times[times.len() * 99 / 100] })
}

/// All figures of one store, and its medians against those of the embedded one.
fn row(name: &str, store: &mut Store, first: &mut Option<[u64; 3]>) -> Result<(), Box<dyn Error>> {
    measure(store, 20, 1)?;
    let single = measure(store, SINGLE, 1)?;
    let shared = measure(store, SHARED, TOGETHER)?;
    let snapshot =
        Batch { puts: vec![(b"r-snapshot".to_vec(), vec![3; SNAPSHOT_BYTES])], ..Batch::default() };
    let began = Instant::now();
    store.write(&[snapshot])?;
    let long_us = began.elapsed().as_micros() as u64;
    let medians = [single.p50_us, shared.p50_us, long_us];
    let against = *first.get_or_insert(medians);
    let ratio = |at: usize| medians[at] as f64 / against[at].max(1) as f64;
    println!(
        "{name:<18} 1 batch: P50 {:>6} P99 {:>7} us ({:>5.1}x)   {TOGETHER} batches: P50 {:>6} P99 {:>7} us ({:>5.1}x)   8 MiB: {:>5} ms ({:>5.1}x)",
        single.p50_us,
        single.p99_us,
        ratio(0),
        shared.p50_us,
        shared.p99_us,
        ratio(1),
        long_us / 1_000,
        ratio(2),
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let program = PathBuf::from(std::env::args().nth(1).ok_or("the etcd program is missing")?);
    let folder = std::env::temp_dir().join(format!("dwcp-bench-store-{}", std::process::id()));
    let done = run(&program, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    done
}

fn run(program: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut first = None;
    let mut embedded = Store::open(&folder.join("embedded"))?.store;
    row("embedded", &mut embedded, &mut first)?;
    for members in [1, 3] {
        let etcd = Etcd::start(program, folder, members)?;
        let place = Place {
            endpoints: etcd.endpoints.clone(),
            prefix: "/bench/".to_owned(),
            store: "bench".to_owned(),
            compact: true,
            patience: Duration::from_secs(60),
            lease: Duration::from_secs(10),
            ..Place::default()
        };
        let opened =
            Store::open_etcd(&folder.join(format!("etcd-{members}")), &place, &Log::silent("bench"))?;
        let mut store = opened.store;
        row(&format!("etcd, {members} member(s)"), &mut store, &mut first)?;
        let began = Instant::now();
        drop(store);
        let records =
            Store::open_etcd(&folder.join(format!("etcd-{members}")), &place, &Log::silent("bench"))?;
        println!("{:<18} opened again in {} ms", "", began.elapsed().as_millis());
        drop(records);
    }
    Ok(())
}

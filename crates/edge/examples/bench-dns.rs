//! Questions a second of our DNS against Knot and NSD, where they are installed: one thread each on one processor, asked by
//! dnsperf on another.
//!
//! `cargo run -p dwcp-edge --profile sim --example bench-dns -- [--seconds N] [--rounds N]`. Debian: `dnsperf`, `knot`, `nsd`.
//! Ours decides for each question between five regions, by the network that it carries; the others have a fixed answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_decide::route::{Algorithm, EndpointRow, Place, RegionRow, ServiceRow, Table};
use dwcp_edge::dns::{Dns, DnsConfig};
use dwcp_edge::geo::{Geo, OWN};
use dwcp_edge::guard::Open;
use dwcp_edge::routes::Current;

const SERVICES: usize = 1_000;
/// A question as dnsperf sends it with the network 203.0.113.0/24.
const NETWORK: &str = "8:00011800cb0071";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|word| word == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    if let [word, port, geo, ..] = &arguments[..]
        && word == "serve"
    {
        serve(port.parse().expect("a port"), Path::new(geo));
    }
    let folder = std::env::temp_dir().join(format!("dwcp-bench-dns-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    geo_lookups(&folder);
    compare(&folder, number("--seconds", 4), number("--rounds", 3));
    let _ = std::fs::remove_dir_all(&folder);
}

/// How long it takes to find where a client is.
fn geo_lookups(folder: &Path) {
    std::fs::write(folder.join(OWN), "203.0.113.0/24,53.3,-6.3\n").expect("a file");
    let cache = Path::new(".dwcp/cache/geo");
    let Ok(geo) = Geo::open(cache) else {
        println!("geo: no database; `cargo xtask geo` fetches it");
        return;
    };
    const LOOKS: u32 = 1_000_000;
    let (mut address, mut known) = (0x0100_0000_u32, 0_u32);
    let begun = Instant::now();
    for _ in 0..LOOKS {
        address = address.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        known += u32::from(geo.look(IpAddr::V4(address.into())).place.is_some());
    }
    let each = begun.elapsed() / LOOKS;
    println!(
        "geo: {each:?} a lookup, {:.0} % of random addresses have a place",
        f64::from(known) / f64::from(LOOKS) * 100.0
    );
    // The server reads the real database, and the network of the question.
    let from = std::fs::read_dir(cache).expect("it was there").flatten();
    for file in from.filter(|file| file.path().extension().is_some_and(|extension| extension == "mmdb")) {
        let _ = std::fs::copy(file.path(), folder.join(file.file_name()));
    }
}

/// One server that is measured.
struct Peer {
    name: &'static str,
    child: Child,
    port: u16,
    rates: Vec<f64>,
    per_processor_second: Vec<f64>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(folder: &Path, seconds: u64, rounds: u64) {
    if !on_path("dnsperf") {
        println!("no dnsperf here (Debian: apt-get install dnsperf knot nsd)");
        return;
    }
    let names: String = (0..SERVICES).map(|number| format!("service-{number}.dwcp.test A\n")).collect();
    let asked = folder.join("asked");
    std::fs::write(&asked, names).expect("a file");
    let mut peers: Vec<Peer> = [ours(folder), knot(folder), nsd(folder)].into_iter().flatten().collect();
    for peer in &peers {
        wait_for(peer);
    }
    for _ in 0..rounds {
        for peer in &mut peers {
            let before = processor_s(peer.child.id());
            let rate = ask(&asked, peer.port, seconds);
            let used = processor_s(peer.child.id()) - before;
            peer.per_processor_second.push(rate * seconds as f64 / used.max(0.001));
            peer.rates.push(rate);
        }
    }
    let ours = (median(&peers[0].rates), median(&peers[0].per_processor_second));
    for peer in &peers {
        let (rate, each) = (median(&peer.rates), median(&peer.per_processor_second));
        println!(
            "{:<6} {rate:>8.0} a second, {each:>8.0} a processor second; ours {:.2} and {:.2} times",
            peer.name,
            ours.0 / rate,
            ours.1 / each
        );
    }
}

fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Questions a second.
fn ask(asked: &Path, port: u16, seconds: u64) -> f64 {
    let (port, seconds) = (port.to_string(), seconds.to_string());
    let output = Command::new("taskset")
        .args(["-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", &port, "-l", &seconds, "-c", "4", "-q", "200"])
        .args(["-E", NETWORK, "-d"])
        .arg(asked)
        .output()
        .expect("dnsperf runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("Queries per second")).unwrap_or_default();
    let rate = line.split_whitespace().last().and_then(|word| word.parse().ok());
    rate.unwrap_or_else(|| panic!("dnsperf says no rate: {text}"))
}

/// Processor time of a process, s.
/// What a process and those that it started used. NSD works in one of those.
fn processor_s(process: u32) -> f64 {
    let all: Vec<(u32, u32, f64)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let one: u32 = entry.file_name().to_str()?.parse().ok()?;
            let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
            let ticks = fields.get(11..13)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
            Some((one, fields[1].parse().ok()?, ticks))
        })
        .collect();
    let (mut tree, mut ticks) = (vec![process], 0.0);
    while let Some(next) = tree.pop() {
        ticks += all.iter().filter(|(one, ..)| *one == next).map(|(.., ticks)| ticks).sum::<f64>();
        tree.extend(all.iter().filter(|(_, parent, _)| *parent == next).map(|(one, ..)| *one));
    }
    ticks / 100.0
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|folder| folder.join(program).is_file())
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Free by UDP and by TCP.
fn free_port() -> u16 {
    let by_tcp =
        || std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let mut ports = std::iter::repeat_with(|| by_tcp().port());
    ports.find(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok()).expect("one of them")
}

fn wait_for(peer: &Peer) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time");
    let question = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x04dwcp\x04test\0\0\x06\0\x01";
    for _ in 0..100 {
        let _ = socket.send_to(question, ("127.0.0.1", peer.port));
        if socket.recv(&mut [0; 512]).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} does not answer at port {}", peer.name, peer.port);
}

fn started(name: &'static str, port: u16, command: &mut Command) -> Option<Peer> {
    let child = command.spawn().expect("it starts");
    Some(Peer { name, child, port, rates: Vec::new(), per_processor_second: Vec::new() })
}

fn ours(folder: &Path) -> Option<Peer> {
    let port = free_port();
    let own = std::env::current_exe().expect("our path");
    started("dwcp", port, pinned(&own).arg("serve").arg(port.to_string()).arg(folder))
}

fn zone(folder: &Path) -> PathBuf {
    let mut text = "dwcp.test. 3600 IN SOA ns1.dwcp.test. hostmaster.dwcp.test. 1 7200 900 1209600 5\n\
        dwcp.test. 3600 IN NS ns1.dwcp.test.\nns1.dwcp.test. 3600 IN A 192.0.2.53\n"
        .to_owned();
    for number in 0..SERVICES {
        text.push_str(&format!("service-{number}.dwcp.test. 5 IN A 192.0.2.1\n"));
    }
    let file = folder.join("dwcp.test.zone");
    std::fs::write(&file, text).expect("a file");
    file
}

fn knot(folder: &Path) -> Option<Peer> {
    if !on_path("knotd") {
        return None;
    }
    let (port, own) = (free_port(), folder.join("knot"));
    std::fs::create_dir_all(&own).expect("a folder");
    let (zone, shown) = (zone(folder), own.display().to_string());
    let text = format!(
        "server:\n  rundir: {shown}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\ndatabase:\n  storage: {shown}\nzone:\n  - domain: dwcp.test\n    file: {}\n",
        zone.display()
    );
    let settings = own.join("knot.conf");
    std::fs::write(&settings, text).expect("a file");
    started("knot", port, pinned(Path::new("/usr/sbin/knotd")).arg("-c").arg(settings))
}

fn nsd(folder: &Path) -> Option<Peer> {
    if !on_path("nsd") {
        return None;
    }
    let (port, own) = (free_port(), folder.join("nsd"));
    std::fs::create_dir_all(&own).expect("a folder");
    let (zone, shown) = (zone(folder), own.display().to_string());
    let text = format!(
        "server:\n  server-count: 1\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{shown}\"\n  pidfile: \"{shown}/pid\"\n  xfrdfile: \"{shown}/xfrd\"\n  xfrdir: \"{shown}\"\n  \
         zonelistfile: \"{shown}/list\"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n\
         zone:\n  name: dwcp.test\n  zonefile: \"{}\"\n",
        zone.display()
    );
    let settings = own.join("nsd.conf");
    std::fs::write(&settings, text).expect("a file");
    started("nsd", port, pinned(Path::new("/usr/sbin/nsd")).arg("-d").arg("-c").arg(settings))
}

/// Serves until it is ended.
fn serve(port: u16, geo: &Path) -> ! {
    let current = Arc::new(Current::new(table()));
    let geo = Geo::open(geo).ok().map(Arc::new);
    let mut config = DnsConfig::new("dwcp.test.", IpAddr::from([192, 0, 2, 1])).expect("a zone");
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    config.rrl_per_s = 0;
    let _dns = Dns::start(&config, current, geo, Arc::new(Open)).expect("it starts");
    loop {
        std::thread::park();
    }
}

/// Five regions, each with a router and two VMs of every service.
fn table() -> Table {
    let mut table = Table { here: "region-0".into(), ..Table::default() };
    table.policy.algorithm = Algorithm::Hybrid;
    let places = [(38.9, -77.4), (53.3, -6.3), (19.1, 72.9), (-23.5, -46.6), (-33.9, 151.2)];
    for (number, (latitude, longitude)) in places.into_iter().enumerate() {
        table.regions.push(RegionRow {
            region: format!("region-{number}"),
            takes_part: true,
            traffic_percent: 100,
            health: Some(95),
            rtt_ms: Some(10 + number as u32 * 40),
            place: Some(Place { latitude, longitude }),
            price_micros: 10_000,
            routers: vec![IpAddr::from([192, 0, 2, number as u8])],
        });
    }
    for service in 0..SERVICES {
        let endpoint = |number: usize| EndpointRow {
            id: format!("vm_{service}_{number:02}"),
            name: format!("service-{service}-{number}"),
            region: (number / 2) as u16,
            zone: "a".into(),
            address: SocketAddr::from(([10, number as u8, (service >> 8) as u8, service as u8], 80)),
            serves: true,
            draining: false,
        };
        table.services.push(ServiceRow {
            name: format!("service-{service:04}"),
            hosts: vec![format!("service-{service}.dwcp.test")],
            endpoints: (0..10).map(endpoint).collect(),
            ..ServiceRow::default()
        });
    }
    table
}

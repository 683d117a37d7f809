//! The filter of DPDK between a client and a router, in network namespaces, over virtual devices.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_edge::dpdk::{Order, Told};

fn run(words: &str) -> Output {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

/// A client, the filter, and a router in a row.
struct Row {
    client: String,
    filter: String,
    router: String,
}

impl Row {
    fn new() -> Option<Row> {
        let name = |part: &str| format!("dwcp-d{part}-{}", std::process::id());
        let row = Row { client: name("c"), filter: name("f"), router: name("r") };
        let Row { client, filter, router } = &row;
        for name in [client, filter, router] {
            let made = run(&format!("ip netns add {name}"));
            if !made.status.success() {
                println!("skipped: no network namespace here: {made:?}");
                return None;
            }
        }
        for words in [
            format!("ip link add c0 netns {client} type veth peer name out netns {filter}"),
            format!("ip link add r0 netns {router} type veth peer name in netns {filter}"),
            format!("ip -n {client} addr add 10.98.0.2/24 dev c0"),
            format!("ip -n {client} addr add fd98::2/64 dev c0 nodad"),
            format!("ip -n {router} addr add 10.98.0.1/24 dev r0"),
            format!("ip -n {router} addr add fd98::1/64 dev r0 nodad"),
            // Checksums are not left to a device that is none.
            format!("ip netns exec {client} ethtool -K c0 tx off"),
            format!("ip netns exec {router} ethtool -K r0 tx off"),
            format!("ip -n {filter} link set out addrgenmode none up"),
            format!("ip -n {filter} link set in addrgenmode none up"),
            format!("ip -n {client} link set c0 up"),
            format!("ip -n {router} link set r0 up"),
        ] {
            let out = run(&words);
            assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
        }
        Some(row)
    }

    /// The client is told at once that nobody is at a port; otherwise it hears nothing.
    fn reaches(&self, to: &str, port: u16) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{to}/{port}");
        let words = ["netns", "exec", &self.client, "timeout", "1", "bash", "-c", &connect];
        Command::new("ip").args(words).output().unwrap().status.code() == Some(1)
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        for name in [&self.client, &self.filter, &self.router] {
            run(&format!("ip netns del {name}"));
        }
    }
}

struct Filter {
    child: Child,
    input: Option<ChildStdin>,
    told: Arc<Mutex<Told>>,
    orders: u64,
}

impl Filter {
    fn start(row: &Row) -> Filter {
        let devices = ["--outside", "net_af_packet0,iface=out", "--inside", "net_af_packet1,iface=in"];
        let mut child = Command::new("ip")
            .args(["netns", "exec", &row.filter, env!("CARGO_BIN_EXE_dwcp-dpdk")])
            .args(devices)
            .args(["--cores", "0-7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Arc::<Mutex<Told>>::default();
        let (hears, out) = (told.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(says) = serde_json::from_str(&line) {
                    *hears.lock().unwrap() = says;
                }
            }
        });
        let input = child.stdin.take();
        Filter { child, input, told, orders: 0 }
    }

    /// Says whom to drop, and waits until that counts.
    fn order(&mut self, blocked: &[(&str, u64)], white: &[&str]) {
        let serves = ["10.98.0.1", "fd98::1"].map(|ip| (ip.parse().unwrap(), 80, false));
        let order = Order {
            serves: serves.to_vec(),
            blocked: blocked.iter().map(|(net, until)| ((*net).to_owned(), *until)).collect(),
            white: white.iter().map(|net| (*net).to_owned()).collect(),
        };
        let line = serde_json::to_string(&order).unwrap();
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.orders += 1;
        let begun = Instant::now();
        while self.told.lock().unwrap().orders < self.orders {
            assert!(begun.elapsed() < Duration::from_secs(10), "the order is not taken");
            assert!(self.child.try_wait().unwrap().is_none(), "the filter ended");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn packets_of_who_is_blocked_go_no_further_and_all_others_do() {
    let Some(row) = Row::new() else { return };
    let mut filter = Filter::start(&row);
    filter.order(&[], &[]);
    let begun = Instant::now();
    while !row.reaches("10.98.0.1", 80) {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing goes through");
    }
    assert!(row.reaches("fd98::1", 80));
    let later = u64::MAX / 2;
    filter.order(&[("10.98.0.0/24", later), ("fd98::2", later)], &[]);
    assert!(!row.reaches("10.98.0.1", 80) && !row.reaches("fd98::1", 80), "blocked");
    assert!(row.reaches("10.98.0.1", 22), "not a port of the router");
    filter.order(&[("10.98.0.0/24", later), ("fd98::2", later)], &["10.98.0.2"]);
    let told = *filter.told.lock().unwrap();
    assert!(told.dropped >= 2 && told.dropped_bytes >= 2 * 60 && told.passed > 4, "{told:?}");
    assert!(row.reaches("10.98.0.1", 80) && !row.reaches("fd98::1", 80), "whitelisted");
    filter.order(&[], &[]);
    assert!(row.reaches("fd98::1", 80), "no longer blocked");
    // It ends with its input, by itself.
    drop(filter.input.take());
    let begun = Instant::now();
    while filter.child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(filter.child.wait().unwrap().success());
    assert!(!row.reaches("10.98.0.1", 80), "nothing goes through without it");
}

#[test]
fn a_filter_without_its_devices_says_so_and_ends() {
    let ends = |arguments: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_dwcp-dpdk"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let nowhere = ["--outside", "net_af_packet0,iface=nowhere", "--inside", "net_ring0"];
    assert!(ends(&nowhere).contains("error: "), "{}", ends(&nowhere));
    let said = ends(&["--outside", "net_ring0", "--inside", "net_ring1", "--cores", "5-3"]);
    assert!(said.contains("`5-3` are no processors"), "{said}");
    let said = ends(&["--outside", "net_ring0", "--inside", "net_ring1", "--cores", "900"]);
    assert!(said.contains("none of `900`"), "{said}");
}

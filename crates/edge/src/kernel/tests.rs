use std::os::fd::AsRawFd;
use std::process::Output;

use dwcp_decide::route::{Qos, Shares};

use super::*;

fn net(text: &str) -> Net {
    text.parse().unwrap()
}

#[test]
fn a_table_names_addresses_and_ports_and_nothing_else() {
    let listens =
        [("10.0.0.1", 80, false), ("10.0.0.1", 443, false), ("10.0.0.1", 53, true), ("::", 80, false)];
    let listens = listens.map(|(ip, port, udp)| Listen { address: ip.parse().unwrap(), port, udp });
    let text = render::table("dwcp-r1", &listens);
    assert!(
        text.starts_with("add table inet dwcp-r1\ndelete table inet dwcp-r1\ntable inet dwcp-r1 {\n"),
        "{text}"
    );
    for line in [
        "    type filter hook prerouting priority -300; policy accept;\n",
        "    ip daddr 10.0.0.1 tcp dport { 80, 443 } goto guard\n",
        "    ip daddr 10.0.0.1 udp dport { 53 } goto guard\n",
        "    fib daddr type local tcp dport { 80 } goto guard\n",
        "    ip saddr @white4 return\n    ip6 saddr @white6 return\n",
        "    ip6 saddr @nets6 counter name nets6 drop\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn sets_have_nothing_that_overlaps_and_only_what_lasts() {
    let blocked = [
        ("10.0.0.0/8", 90_000),
        ("10.1.0.0/16", 99_000),
        ("10.0.0.0/8", 95_000),
        ("11.0.0.0/8", 1_500),
        ("10.1.2.3", 70_000),
        ("2001:db8::/64", 80_000),
    ];
    let blocked = blocked.map(|(text, until)| (net(text), until));
    let (filter, left_out) = Filter::new(&blocked, &[net("10.1.0.0/16"), net("10.1.2.0/24")], 1_000);
    assert_eq!(left_out, 0);
    assert_eq!(filter.nets4, [(net("10.0.0.0/8"), 95_000)]);
    assert_eq!(filter.hosts4, [(net("10.1.2.3"), 70_000)]);
    assert_eq!(filter.nets6, [(net("2001:db8::/64"), 80_000)]);
    assert_eq!(filter.white4, [net("10.1.0.0/16")]);
    let many: Vec<(Net, u64)> = (0..filter::MOST as u32 + 5)
        .map(|i| (Net::host(std::net::Ipv4Addr::from_bits(i * 3).into()), 10_000 + u64::from(i)))
        .collect();
    let (filter, left_out) = Filter::new(&many, &[], 0);
    assert_eq!((filter.networks(), left_out), (filter::MOST, 5));
    assert!(filter.hosts4.iter().all(|(_, until)| *until >= 10_005), "the shortest were left out");
}

#[test]
fn only_changes_are_told() {
    let of = |blocked: &[(&str, u64)]| {
        Filter::new(&blocked.iter().map(|(text, until)| (net(text), *until)).collect::<Vec<_>>(), &[], 0).0
    };
    let one = of(&[("10.0.0.1", 60_000)]);
    let two = of(&[("10.0.0.1", 60_000), ("10.0.0.2", 61_900)]);
    assert_eq!(render::changes("t", &one, &one, 0), "");
    assert_eq!(render::changes("t", &one, &two, 0), "add element inet t hosts4 { 10.0.0.2 timeout 61s }\n");
    let less = render::changes("t", &two, &one, 0);
    assert_eq!(less, "flush set inet t hosts4\nadd element inet t hosts4 { 10.0.0.1 timeout 60s }\n");
    assert_eq!(
        render::changes("t", &one.lasting(59_500), &Filter::default(), 59_500),
        "",
        "the kernel ended it"
    );
}

#[test]
fn a_missing_or_failing_nft_is_an_error_that_says_so() {
    let start = |name: &str, words: &[&str]| {
        Kernel::start(name, Vec::new(), words.iter().map(|word| (*word).to_owned()).collect()).err().unwrap()
    };
    assert!(start("r1", &["/nowhere/nft"]).contains("cannot run /nowhere/nft"));
    assert!(start("r1", &["false"]).contains("false refuses"));
    assert!(start("r1", &[]).contains("no command"));
    assert!(start("r1; flush ruleset", &["nft"]).contains("cannot be a table's name"));
}

#[test]
fn counters_are_read() {
    let text = r#"{"nftables":[{"metainfo":{}},{"counter":{"family":"inet","name":"hosts4","table":"t","handle":1,"packets":3,"bytes":180}}]}"#;
    assert_eq!(read_counters(text).unwrap()["hosts4"], Dropped { packets: 3, bytes: 180 });
    assert_eq!(read_counters("{}"), None);
    assert_eq!(read_counters("x"), None);
}

/// A router and a client in network namespaces of their own, joined by a pair of interfaces.
struct Two {
    router: String,
    client: String,
}

fn run(words: &str) -> Output {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

impl Two {
    fn new(name: &str) -> Option<Two> {
        let router = format!("dwcp-t{name}-{}", std::process::id());
        let client = format!("{router}c");
        let made = |name: &str| match Command::new("ip").args(["netns", "add", name]).output() {
            Ok(out) if out.status.success() => true,
            other => {
                println!("skipped: no network namespace here: {other:?}");
                false
            }
        };
        if !made(&router) {
            return None;
        }
        let two = Two { router, client };
        if !made(&two.client) {
            return None;
        }
        let Two { router, client } = &two;
        for words in [
            format!("ip link add v0 netns {router} type veth peer name v1 netns {client}"),
            format!("ip -n {router} addr add 10.99.0.1/24 dev v0"),
            format!("ip -n {client} addr add 10.99.0.2/24 dev v1"),
            format!("ip -n {client} addr add 10.99.0.3/24 dev v1"),
            format!("ip -n {router} addr add fd99::1/64 dev v0 nodad"),
            format!("ip -n {client} addr add fd99::2/64 dev v1 nodad"),
            format!("ip -n {router} link set v0 up"),
            format!("ip -n {client} link set v1 up"),
            format!("ip -n {router} link set lo up"),
        ] {
            let out = run(&words);
            assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
        }
        Some(two)
    }

    fn nft(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.router, "nft"].map(str::to_owned).to_vec()
    }

    /// The client reaches a port: it is told at once that nobody is there. Otherwise it hears nothing.
    fn reaches(&self, to: &str, port: u16) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{to}/{port}");
        let out = Command::new("ip")
            .args(["netns", "exec", &self.client, "timeout", "1", "bash", "-c", &connect])
            .output()
            .unwrap();
        out.status.code() != Some(124)
    }

    fn tables(&self) -> String {
        let out = Command::new("ip")
            .args(["netns", "exec", &self.router, "nft", "list", "tables"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.router));
        run(&format!("ip netns del {}", self.client));
    }
}

#[test]
fn the_kernel_drops_who_is_blocked_at_the_routers_ports_only_and_nobody_whitelisted() {
    let Some(two) = Two::new("n") else { return };
    let at = |ip: &str, port| Listen { address: ip.parse().unwrap(), port, udp: false };
    let listens = vec![at("10.99.0.1", 80), at("::", 443)];
    let mut kernel = Kernel::start("test", listens, two.nft()).unwrap();
    assert!(two.reaches("10.99.0.1", 80) && two.reaches("fd99::1", 443));
    let until = 1_000_000;
    let synced = kernel.sync(&[(net("10.99.0.0/24"), until), (net("fd99::/64"), until)], &[], 0).unwrap();
    assert_eq!(synced, Synced { networks: 2, left_out: 0 });
    assert!(!two.reaches("10.99.0.1", 80), "blocked");
    assert!(!two.reaches("fd99::1", 443), "blocked");
    assert!(two.reaches("10.99.0.1", 22), "not a port of the router");
    let dropped = kernel.dropped_by_set().unwrap();
    assert!(dropped["nets4"].packets > 0 && dropped["nets6"].packets > 0, "{dropped:?}");
    assert_eq!(dropped["hosts4"], Dropped::default());
    kernel.sync(&[(net("10.99.0.0/24"), until)], &[net("10.99.0.2")], 0).unwrap();
    assert!(two.reaches("10.99.0.1", 80), "whitelisted");
    assert!(two.reaches("fd99::1", 443), "no longer blocked");
    assert_eq!(kernel.dropped_by_set().unwrap()["nets4"], dropped["nets4"], "counts go on");
    kernel.sync(&[(net("10.99.0.2"), 2_000)], &[], 0).unwrap();
    assert!(!two.reaches("10.99.0.1", 80), "blocked by itself");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    assert!(two.reaches("10.99.0.1", 80), "the kernel ends it by itself");
    run(&format!("ip netns exec {} nft flush ruleset", two.router));
    assert!(kernel.sync(&[(net("10.99.0.2"), 90_000)], &[], 0).is_err(), "somebody took the table");
    kernel.sync(&[(net("10.99.0.2"), 90_000)], &[], 0).unwrap();
    assert!(!two.reaches("10.99.0.1", 80), "the table was made again");
    assert!(two.tables().contains("dwcp-test"));
    drop(kernel);
    assert!(!two.tables().contains("dwcp-test") && two.reaches("10.99.0.1", 80));
}

/// Loads the program at an interface of a namespace.
fn program_in(namespace: &str, listens: Vec<Listen>) -> Result<Xdp, String> {
    in_namespace(namespace, move || Xdp::start("v0", &listens))
}

#[test]
fn a_program_at_the_interface_drops_the_same_and_leaves_nothing_behind() {
    let Some(two) = Two::new("x") else { return };
    let at = |ip: &str, port| Listen { address: ip.parse().unwrap(), port, udp: false };
    let mut program = match program_in(&two.router, vec![at("10.99.0.1", 80), at("fd99::1", 443)]) {
        Ok(program) => program,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    assert!(program.native);
    assert!(program_in(&two.router, vec![at("::", 443)]).is_err_and(|why| why.contains("addresses")));
    assert!(program_in(&two.router, vec![at("10.99.0.1", 80)]).is_err(), "an interface has one");
    assert!(two.reaches("10.99.0.1", 80) && two.reaches("fd99::1", 443));
    let until = 1_000_000;
    let synced = program.sync(&[(net("10.99.0.0/24"), until), (net("fd99::/64"), until)], &[], 0).unwrap();
    assert_eq!(synced, Synced { networks: 2, left_out: 0 });
    assert!(!two.reaches("10.99.0.1", 80), "blocked");
    assert!(!two.reaches("fd99::1", 443), "blocked");
    assert!(two.reaches("10.99.0.1", 22), "not a port of the router");
    let dropped = program.dropped().unwrap();
    assert!(dropped.packets >= 2 && dropped.bytes >= 2 * 60, "{dropped:?}");
    program.sync(&[(net("10.99.0.0/24"), until)], &[net("10.99.0.2")], 0).unwrap();
    assert!(two.reaches("10.99.0.1", 80), "whitelisted");
    assert!(two.reaches("fd99::1", 443), "no longer blocked");
    program.sync(&[(net("::/16"), until)], &[], 0).unwrap();
    assert!(two.reaches("10.99.0.1", 80), "IPv4 is not in it");
    program.sync(&[(net("10.99.0.2"), 2_000)], &[], 0).unwrap();
    assert!(!two.reaches("10.99.0.1", 80), "blocked by itself");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    assert!(two.reaches("10.99.0.1", 80), "the kernel ends it by itself");
    program.sync(&[(net("10.99.0.2"), until)], &[], 3_000).unwrap();
    assert!(!two.reaches("10.99.0.1", 80), "again");
    drop(program);
    assert!(two.reaches("10.99.0.1", 80), "it went with the router");
    let link = run(&format!("ip -n {} -d link show v0", two.router));
    assert!(!String::from_utf8_lossy(&link.stdout).contains("xdp"));
}

/// Does something in a namespace.
fn in_namespace<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let path = format!("/run/netns/{namespace}");
    let inside = move || {
        let namespace = std::fs::File::open(&path).unwrap();
        // SAFETY: changes the namespace of this thread only, which ends soon.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        work()
    };
    std::thread::spawn(inside).join().unwrap()
}

/// Two seconds' bytes have room in a socket: nobody leaves its share to the other while its thread has no processor.
fn roomy(socket: &impl AsRawFd, what: libc::c_int) {
    let bytes: libc::c_int = 8 << 20;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: reads one integer of ours.
    let set = unsafe {
        let fd = socket.as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, what, (&raw const bytes).cast(), length)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// How much of each class arrives when all of them send as fast as they may for two seconds, bytes.
fn arrived(two: &Two, classes: &[Qos]) -> Vec<u64> {
    let listener = in_namespace(&two.client, || std::net::TcpListener::bind("10.99.0.2:5000").unwrap());
    roomy(&listener, libc::SO_RCVBUFFORCE);
    let pairs: Vec<_> = classes
        .iter()
        .map(|class| {
            let class = *class;
            let sender = in_namespace(&two.router, move || {
                let sender = std::net::TcpStream::connect("10.99.0.2:5000").unwrap();
                Shaper::sort(&socket2::SockRef::from(&sender), class);
                roomy(&sender, libc::SO_SNDBUFFORCE);
                sender
            });
            (sender, listener.accept().unwrap().0)
        })
        .collect();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
    let counting: Vec<_> = pairs
        .into_iter()
        .map(|(mut sender, mut receiver)| {
            std::thread::spawn(move || while sender.write_all(&[0; 16_384]).is_ok() {});
            std::thread::spawn(move || {
                let (mut all, mut bytes) = (0, vec![0; 65_536]);
                receiver.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
                while std::time::Instant::now() < end {
                    all += std::io::Read::read(&mut receiver, &mut bytes).unwrap_or(0) as u64;
                }
                // What had arrived by then.
                receiver.set_nonblocking(true).unwrap();
                while let Ok(more @ 1..) = std::io::Read::read(&mut receiver, &mut bytes) {
                    all += more as u64;
                }
                all
            })
        })
        .collect();
    counting.into_iter().map(|counter| counter.join().unwrap()).collect()
}

#[test]
fn an_interface_that_is_shaped_carries_no_more_than_its_rate_and_first_what_matters() {
    let Some(two) = Two::new("s") else { return };
    let tc = ["ip", "netns", "exec", &two.router, "tc"].map(str::to_owned).to_vec();
    let start = |shares| Shaper::start("v0", 16, shares, tc.clone());
    let mut shaper = match start(Shares::default()) {
        Ok(shaper) => shaper,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let got = arrived(&two, &[Qos::Critical, Qos::Bulk]);
    let most = 2 * 16_000_000 / 8;
    assert!(got.iter().sum::<u64>() < most * 13 / 10, "{got:?} bytes of {most}");
    assert!(got[0] > 4 * got[1] && got[1] > 0, "{got:?}");
    shaper.share(Shares { critical: 10, standard: 10, bulk: 80 }).unwrap();
    let got = arrived(&two, &[Qos::Standard, Qos::Bulk]);
    assert!(got[1] > 2 * got[0] && got[0] > 0, "{got:?}");
    // A router that was killed left them behind.
    std::mem::forget(shaper);
    let shaper = start(Shares::default()).unwrap();
    let queues = || {
        String::from_utf8(run(&format!("ip netns exec {} tc qdisc show dev v0", two.router)).stdout).unwrap()
    };
    assert!(queues().contains("htb dc0c:"), "{}", queues());
    drop(shaper);
    assert!(!queues().contains("htb"), "{}", queues());
    run(&format!(
        "ip netns exec {} tc qdisc add dev v0 root tbf rate 9mbit burst 32k latency 50ms",
        two.router
    ));
    let why = start(Shares::default()).err().unwrap();
    assert!(why.contains("has queues already") && queues().contains("tbf"), "{why}");
    let why = Shaper::start("nowhere", 16, Shares::default(), tc).err().unwrap();
    assert!(why.contains("refuses"), "{why}");
}

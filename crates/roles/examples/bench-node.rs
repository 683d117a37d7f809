//! One region's node with many VMs: resident memory a record, and what a renewal, an idle look and a creation cost.
//!
//! `cargo run -p dwcp-roles --profile sim --example bench-node [VMS]`. The disk is pretended: what it would hold is no part
//! of the figures, the log that the node keeps in memory is.
// The lease carries ever more fields: `..` keeps this one short, also where all of them are named.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::needless_update)]

use std::collections::BTreeMap;
use std::time::Instant;

use dwcp_consensus::Disk;
use dwcp_roles::node::{Asked, CreateVm, Effect, Input, Node, NodeConfig, Reply, Request};
use dwcp_roles::protocol::{AgentMessage, Health, Hello, Phase, Renew, VmReport, renewal_seq};
use dwcp_state::{Core, Policy, Region, Vm, VmSpec};
use dwcp_types::{Amount, HostId, Mono, Now, RegionId, VmId, Wall, encode};

const HOSTS: u64 = 75;
const REGION: &str = "us-east-1";
/// A lease is renewed so often a second by each host.
const RENEWALS_A_SECOND: f64 = 2.0;

struct Empty;

impl Disk for Empty {
    fn range(&self, _: &[u8], _: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }
}

struct Bench {
    node: Node,
    now: Now,
    tickets: u64,
    /// VMs that were created, by host.
    placed: BTreeMap<HostId, Vec<VmId>>,
    refused: u64,
}

impl Bench {
    fn new() -> Bench {
        let region = Region { id: REGION.into(), number: 1, placement: true, ..Region::default() };
        let policy =
            Policy { cpu_overcommit_percent: 100, memory_overcommit_percent: 100, ..Policy::default() };
        let regions = BTreeMap::from([(region.id.clone(), region)]);
        let genesis = Core { name: "bench".into(), regions, policy, ..Core::default() };
        let numbers = BTreeMap::from([(1, RegionId::from(REGION))]);
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_795_392_000_000) };
        let config = NodeConfig::new(1, numbers, genesis, 7);
        let node = Node::open(config, now, &Empty).expect("a new node");
        Bench { node, now, tickets: 0, placed: BTreeMap::new(), refused: 0 }
    }

    /// Steps, makes durable at once what is to be, and takes the answers, until nothing more follows.
    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs = inputs;
        loop {
            let mut out = Vec::new();
            self.node.step_all(self.now, inputs, &mut out);
            let mut durable = None;
            for effect in out {
                match effect {
                    Effect::Persist { seq, .. } => durable = Some(seq),
                    Effect::Reply {
                        reply: Reply::Placed { created: Some((vm, ..)), placement, .. }, ..
                    } => {
                        let host = placement.map(|placement| placement.host).unwrap_or_default();
                        self.placed.entry(host).or_default().push(vm);
                    }
                    Effect::Reply { .. } => self.refused += 1,
                    _ => {}
                }
            }
            let Some(seq) = durable else { return };
            inputs = vec![Input::Persisted { seq }];
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now = Now { mono: self.now.mono.plus_ms(50), wall: Wall(self.now.wall.0 + 50) };
            self.step(vec![Input::Wake]);
        }
    }

    fn say(&mut self, number: u64, message: &AgentMessage) {
        self.step(vec![Input::AgentFrame { session: number, bytes: encode(message) }]);
    }

    fn join(&mut self, number: u64) {
        let host = host(number);
        self.step(vec![Input::AgentUp { session: number, region: REGION.into(), host: host.clone() }]);
        let hello = Hello {
            host,
            region: REGION.into(),
            zone: "a".into(),
            vcpus: 10_000,
            memory_mib: 10_000_000,
            disk_gib: 1_000_000,
            incarnation: 1,
            ..Hello::default()
        };
        self.say(number, &AgentMessage::Hello(hello));
    }

    fn create(&mut self, number: u64) {
        let spec = VmSpec {
            image: "small".into(),
            size: Amount { vcpus: 2, memory_mib: 4_096, disk_gib: 20 },
            ..VmSpec::default()
        };
        let labels = BTreeMap::from([("app".to_owned(), format!("shop-{}", number % 1_000))]);
        let template = Vm {
            name: format!("shop-frontend-{number}"),
            tenant: "acme".into(),
            project: "shop".into(),
            labels,
            spec,
            ..Vm::default()
        };
        let asked = Asked { by: "bench".into(), ..Asked::default() };
        self.tickets += 1;
        let create = CreateVm { template, ..CreateVm::default() };
        let request = Box::new(Request::CreateVm(asked, Box::new(create)));
        self.step(vec![Input::Request { ticket: self.tickets, request }]);
    }

    fn renew(&mut self, number: u64, count: u64) {
        let report = |vm: &VmId| VmReport {
            vm: *vm,
            generation: 1,
            phase: Phase::Running,
            healthy: Health::Healthy,
            boot_id: "5f0c2a56-5d1e-4c28-a7ad-8f35f4f6f6c4".into(),
            address: "127.77.1.32:8080".into(),
            ..VmReport::default()
        };
        let vms = self.placed.get(&host(number)).into_iter().flatten().map(report).collect();
        let (term, revision, seq) = (u64::MAX, u64::MAX, renewal_seq(1, count));
        self.say(number, &AgentMessage::Renew(Renew { seq, vms, term, revision, ..Renew::default() }));
    }

    fn renew_all(&mut self, seq: u64) {
        (1..=HOSTS).for_each(|number| self.renew(number, seq));
    }
}

fn host(number: u64) -> HostId {
    HostId::from(format!("host-{number:04}").as_str())
}

fn rss_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Median and 99th percentile of the times that `work` takes, µs.
fn quantiles_us(count: u64, mut work: impl FnMut(u64)) -> (f64, f64) {
    ranks(
        (0..count)
            .map(|round| {
                let began = Instant::now();
                work(round);
                began.elapsed().as_secs_f64() * 1e6
            })
            .collect(),
    )
}

fn ranks(mut took: Vec<f64>) -> (f64, f64) {
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

fn main() {
    let vms: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(75_000);
    let mut bench = Bench::new();
    bench.pass_ms(20_000);
    (1..=HOSTS).for_each(|number| bench.join(number));
    bench.pass_ms(2_000);
    let before_kib = rss_kib();
    for number in 0..vms {
        bench.create(number);
        if number % 1_000 == 999 {
            bench.pass_ms(50);
            bench.renew_all(number);
        }
    }
    // The log is cut when a snapshot of the facts replaces it.
    for seq in 0..20 {
        bench.renew_all(1_000_000 + seq);
        bench.pass_ms(500);
    }
    let known = bench.node.facts().vms().count() as u64;
    assert_eq!((known, bench.refused), (vms, 0), "every VM was created");
    let rss_kib = rss_kib();
    let record = (rss_kib - before_kib) * 1_024 / vms;
    let encoded = bench.node.facts().snapshot(1).len() as u64 / vms;
    println!(
        "{vms} VMs on {HOSTS} hosts: {} MiB resident, {record} bytes a VM, {:.1} times what it takes encoded ({encoded})",
        rss_kib / 1_024,
        record as f64 / encoded as f64
    );
    let (p50, p99) = quantiles_us(750, |round| bench.renew(1 + round % HOSTS, 2_000_000 + round));
    let share = p50 * RENEWALS_A_SECOND * HOSTS as f64 / 1e6 * 100.0;
    println!(
        "a renewal of a host with {} VMs: P50 {p50:.0} µs, P99 {p99:.0} µs; of all hosts: {share:.1} % of a core",
        vms / HOSTS
    );
    let (p50, p99) = quantiles_us(2_000, |round| bench.create(vms + round));
    println!("a creation, decided, committed and applied, the disk apart: P50 {p50:.0} µs, P99 {p99:.0} µs");
    assert_eq!(bench.refused, 0, "every VM was created");
    let mut idle = Vec::new();
    for round in 0..400 {
        if round % 5 == 0 {
            bench.renew_all(3_000_000 + round);
        }
        let began = Instant::now();
        bench.pass_ms(100);
        idle.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let (p50, p99) = ranks(idle);
    println!(
        "100 ms in which nothing happens: P50 {p50:.0} µs, P99 {p99:.0} µs, {:.2} % of a core",
        p50 / 1e3
    );
}

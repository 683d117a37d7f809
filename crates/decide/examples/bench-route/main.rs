//! A routing decision up to 100 regions of 1,000 endpoints each, by each algorithm, beside a scan of all endpoints in the same
//! run; and the time in which such a table is made of the facts.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-route`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code)]

mod naive;
mod net;
#[path = "../bench-place/times.rs"]
mod times;

use std::hint::black_box;
use std::time::Instant;

use dwcp_decide::Measured;
use dwcp_decide::route::{Algorithm, Client, Live, Plan, Service, Table, build};
use dwcp_state::{Document, DocumentKey, DocumentKind};
use dwcp_types::{RegionId, Rng};
use times::{Times, cpu_ns};

const SIZES: [(usize, usize); 3] = [(5, 4), (100, 10), (100, 1_000)];
const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Latency,
    Algorithm::Cost,
    Algorithm::LoadBalanced,
    Algorithm::GeoProximity,
    Algorithm::Hybrid,
];
/// Decisions between two looks at the clock.
const BATCH: usize = 16;
const BATCHES: usize = 4_000;
/// Endpoints that the scan looks at, in all its runs together.
const SCANNED: usize = 20_000_000;

fn main() {
    println!(
        "us a decision, in batches of {BATCH}: P50, P99, longest by the clock; P50, P99 of this thread's processor time"
    );
    for (regions, endpoints) in SIZES {
        let (mut table, seen) = net::table(regions, endpoints);
        let scans = (SCANNED / (regions * endpoints)).clamp(BATCH, BATCH * BATCHES) / BATCH;
        for algorithm in ALGORITHMS {
            table.policy.algorithm = algorithm;
            let plan = Plan::of(&table);
            let ours = measure(BATCHES, |client| plan.choose(0, client, &seen, &[]).map(|it| it.endpoint));
            let plain = measure(scans, |client| naive::choose(&table, client, &seen));
            println!(
                "  {regions} x {endpoints} {algorithm:?}: {}; a scan of all: P50 {:.1}; {:.0} times as long",
                ours.words(),
                plain.cpu[0],
                plain.cpu[0] / ours.cpu[0]
            );
        }
        worst(&mut table, &seen);
    }
    making();
}

/// Quantiles, us.
struct Took {
    wall: [f64; 3],
    cpu: [f64; 3],
}

impl Took {
    fn words(&self) -> String {
        let ([half, most, all], [cpu_half, cpu_most, _]) = (self.wall, self.cpu);
        format!("{half:.2}, {most:.2}, {all:.1}; {cpu_half:.2}, {cpu_most:.2}")
    }
}

fn measure(batches: usize, choose: impl Fn(&Client) -> Option<u32>) -> Took {
    let mut rng = Rng::new(23);
    let (mut wall, mut cpu) = (Vec::with_capacity(batches), Vec::with_capacity(batches));
    for _ in 0..batches {
        let clients: [Client; BATCH] = std::array::from_fn(|_| Client {
            key: rng.next_u64(),
            place: net::place(&mut rng),
            pinned: None,
        });
        let (begun, cpu_begun) = (Instant::now(), cpu_ns());
        for client in &clients {
            black_box(choose(black_box(client)));
        }
        cpu.push(cpu_ns() - cpu_begun);
        wall.push(begun.elapsed().as_nanos() as u64);
    }
    Took { wall: quantiles_us(wall), cpu: quantiles_us(cpu) }
}

fn quantiles_us(mut ns: Vec<u64>) -> [f64; 3] {
    ns.sort_unstable();
    let at = |percent: usize| ns[(ns.len() * percent / 100).min(ns.len() - 1)];
    [50, 99, 100].map(|percent| at(percent) as f64 / BATCH as f64 / 1_000.0)
}

/// All regions but one are switched off, and what was tried there failed.
fn worst(table: &mut Table, seen: &dyn Live) {
    let last = table.regions.len() - 1;
    table.regions[..last].iter_mut().for_each(|row| row.takes_part = false);
    let plan = Plan::of(table);
    let not: Vec<u32> = (0u32..)
        .zip(&table.services[0].endpoints)
        .filter(|(_, row)| row.region as usize == last)
        .map(|(at, _)| at)
        .take(5)
        .collect();
    let took = measure(BATCHES, |client| plan.choose(0, client, seen, &not).map(|it| it.endpoint));
    println!("  {} x .. with one region that takes part and {} tried: {}", last + 1, not.len(), took.words());
}

/// The table of 100 regions of 1,000 VMs.
fn making() {
    let mut view = net::facts(100, 1_000);
    let mut service = Service::default();
    service.hosts.insert("web.test".into());
    service.labels.insert("app".into(), "shop".into());
    let text = serde_json::to_string(&service).expect("a service as JSON");
    let document = Document { text, ..Document::default() };
    view.core.documents.insert(DocumentKey::new(DocumentKind::Service, "web"), document);
    let (measured, here) = (Measured::default(), RegionId::from("region-000"));
    let (mut made, mut prepared) = (Times::default(), Times::default());
    for _ in 0..20 {
        let table = made.time(|| build(&view, &measured, &here, 0)).table;
        assert_eq!(table.services[0].endpoints.len(), 100_000);
        black_box(prepared.time(|| Plan::of(&table)));
    }
    println!("the table of 100 x 1,000 VMs: {}", made.both());
    println!("  prepared for decisions: {}", prepared.both());
}

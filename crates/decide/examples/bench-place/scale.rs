//! Time a decision at several sizes, beside a full scan, and without a cache.

use dwcp_decide::{Measured, PlaceIndex, PlaceRequest, Reservations, Serial, place};
use dwcp_state::{Federation, Vm};
use dwcp_types::Rng;

use crate::doors;
use crate::fleet::{self, apply, create, region_name};
use crate::naive;
use crate::times::Times;

const DECISIONS: u64 = 10_000;
/// More would fill the smallest federation.
const PER_HOST: u64 = 5;

fn decide(view: &Federation, index: &mut PlaceIndex, measured: &Measured, ask: &PlaceRequest) -> Vm {
    let reserved = Reservations::default();
    let placed = place(view, index, measured, &reserved, ask, false, &Serial).0.expect("there is room");
    Vm { host: placed.host, home: placed.region, ..ask.vm.clone() }
}

pub fn run(regions: usize, hosts: usize) {
    let (mut view, measured) = fleet::build(regions, hosts, fleet::HOST, 200);
    let mut rng = Rng::new(7);
    let first = fleet::fill(&mut view, 40, &mut rng);
    let mut index = PlaceIndex::default();
    let users = |rng: &mut Rng| region_name(rng.below(regions as u64) as usize);
    let asked = |number: u64, rng: &mut Rng| {
        let vm = fleet::vm(number, rng);
        PlaceRequest { vm, users_in: Some(users(rng)), ..PlaceRequest::default() }
    };
    let mut cold = Times::default();
    cold.time(|| decide(&view, &mut index, &measured, &asked(first, &mut rng)));
    let (mut decided, mut anywhere, mut applied) = (Times::default(), Times::default(), Times::default());
    for number in first..first + DECISIONS.min((regions * hosts) as u64 * PER_HOST) {
        let mut ask = asked(number, &mut rng);
        let placed = decided.time(|| decide(&view, &mut index, &measured, &ask));
        let region = placed.home.clone();
        applied.time(|| apply(&mut view, &region, create(placed)));
        if number % 10 == 0 {
            ask.users_in = None;
            anywhere.time(|| decide(&view, &mut index, &measured, &ask));
        }
    }
    println!("{regions} x {hosts} hosts");
    println!(
        "  decision: {}; {:.0}/s, {:.0} per processor second",
        decided.both(),
        decided.per_second(),
        decided.per_cpu_second()
    );
    println!("  users unknown: {}", anywhere.both());
    println!("  apply: {}", applied.both());
    println!("  first decision, every table made: {}", cold.both());
    println!("  {:?}", index.stats());
    without_tables(&mut view, &measured, &mut rng, regions);
    full_scan(&view, &measured, &mut rng, regions, hosts, &decided);
    doors::run(&mut view, &measured, &mut rng, regions);
}

/// What the cache is worth: the same decisions with a time to live of 0.
fn without_tables(view: &mut Federation, measured: &Measured, rng: &mut Rng, regions: usize) {
    let kept = view.core.policy.placement_cache_ttl_ms;
    view.core.policy.placement_cache_ttl_ms = 0;
    let (mut index, mut times) = (PlaceIndex::default(), Times::default());
    for number in 0..30 {
        let users = region_name(rng.below(regions as u64) as usize);
        let vm = fleet::vm(number, rng);
        let ask = PlaceRequest { vm, users_in: Some(users), ..PlaceRequest::default() };
        times.time(|| decide(view, &mut index, measured, &ask));
    }
    println!("  no table kept: {}", times.both());
    view.core.policy.placement_cache_ttl_ms = kept;
}

fn full_scan(
    view: &Federation,
    measured: &Measured,
    rng: &mut Rng,
    regions: usize,
    hosts: usize,
    decided: &Times,
) {
    let mut scanned = Times::default();
    for number in 0..(20_000_000 / (regions * hosts) as u64).clamp(20, 500) {
        let vm = fleet::vm(number, rng);
        let users = region_name(rng.below(regions as u64) as usize);
        scanned.time(|| naive::place(view, measured, &users, &vm));
    }
    let ratio = scanned.mean_us() / decided.mean_us();
    println!("  full scan: P50 {:.0} us, {ratio:.0} x slower", scanned.quantile_us(50));
}

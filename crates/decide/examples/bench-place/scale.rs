//! Time a decision at several sizes, beside a full scan.

use dwcp_decide::{PlaceIndex, PlaceRequest, Reservations, place};
use dwcp_state::{Federation, Vm};
use dwcp_types::Rng;

use crate::fleet::{self, apply, create, region_name};
use crate::naive;
use crate::times::{Times, cpu_ns};

const DECISIONS: u64 = 10_000;
/// More would fill the smallest federation.
const PER_HOST: u64 = 5;

pub fn run(regions: usize, hosts: usize) {
    let (mut view, measured) = fleet::build(regions, hosts, fleet::HOST, 200);
    let mut rng = Rng::new(7);
    let first = fleet::fill(&mut view, 40, &mut rng);
    let mut index = PlaceIndex::default();
    let reserved = Reservations::default();
    let (mut decided, mut anywhere, mut applied) = (Times::default(), Times::default(), Times::default());
    for number in first..first + DECISIONS.min((regions * hosts) as u64 * PER_HOST) {
        let vm = fleet::vm(number, &mut rng);
        let users = region_name(rng.below(regions as u64) as usize);
        let mut ask = PlaceRequest { vm: vm.clone(), users_in: Some(users), ..PlaceRequest::default() };
        let decide = |ask: &PlaceRequest, index: &mut PlaceIndex, view: &Federation| {
            place(view, index, &measured, &reserved, ask, false).0
        };
        let to = decided.time(|| decide(&ask, &mut index, &view)).expect("there is room");
        let placed = Vm { host: to.host, ..vm };
        applied.time(|| apply(&mut view, &to.region, create(placed)));
        if number % 10 == 0 {
            ask.users_in = None;
            anywhere.time(|| decide(&ask, &mut index, &view)).expect("there is room");
        }
    }
    let per_cpu_second = decisions_per_cpu_second(regions, &view, &measured, &mut index, &mut rng);
    let mut scanned = Times::default();
    for number in 0..(20_000_000 / (regions * hosts) as u64).clamp(20, 500) {
        let vm = fleet::vm(number, &mut rng);
        let users = region_name(rng.below(regions as u64) as usize);
        scanned.time(|| naive::place(&view, &measured, &users, &vm));
    }
    println!(
        "{regions} x {hosts} hosts: decision P50 {:.1} us, P99 {:.1} us, {:.0}/s ({per_cpu_second:.0} per processor second); users unknown P50 {:.1} us, P99 {:.1} us",
        decided.quantile_us(50),
        decided.quantile_us(99),
        decided.per_second(),
        anywhere.quantile_us(50),
        anywhere.quantile_us(99),
    );
    println!(
        "  apply P50 {:.1} us, P99 {:.1} us; full scan P50 {:.0} us: {:.0} x slower; index {:?}",
        applied.quantile_us(50),
        applied.quantile_us(99),
        scanned.quantile_us(50),
        scanned.mean_us() / decided.mean_us(),
        index.stats(),
    );
    nothing_fits(regions, &view, &measured, &mut index, &mut rng);
}

/// Many decisions by the time that this thread really ran.
fn decisions_per_cpu_second(
    regions: usize,
    view: &Federation,
    measured: &dwcp_decide::Measured,
    index: &mut PlaceIndex,
    rng: &mut Rng,
) -> f64 {
    let requests: Vec<PlaceRequest> = (0..5_000)
        .map(|number| {
            let users = region_name(rng.below(regions as u64) as usize);
            let vm = fleet::vm(number, rng);
            PlaceRequest { vm, users_in: Some(users), ..PlaceRequest::default() }
        })
        .collect();
    let before = cpu_ns();
    for ask in &requests {
        let _ = place(view, index, measured, &Reservations::default(), ask, false);
    }
    requests.len() as f64 * 1e9 / (cpu_ns() - before).max(1) as f64
}

/// The dearest decision: nothing fits, so everything is looked at and every change is tried.
fn nothing_fits(
    regions: usize,
    view: &Federation,
    measured: &dwcp_decide::Measured,
    index: &mut PlaceIndex,
    rng: &mut Rng,
) {
    let mut refused = Times::default();
    for number in 0..50 {
        let mut vm = fleet::vm(number, rng);
        vm.spec.size.vcpus = 4_000;
        vm.rules.max_latency = vec![(region_name(rng.below(regions as u64) as usize), 5)];
        let ask = PlaceRequest { vm, ..PlaceRequest::default() };
        let result = refused.time(|| place(view, index, measured, &Reservations::default(), &ask, false).0);
        assert!(result.is_err());
    }
    println!("  refusal P50 {:.0} us, P99 {:.0} us", refused.quantile_us(50), refused.quantile_us(99));
}

//! Survivability: all 15 losses of one and of two of five regions with 10,000 VMs, against the promised second.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-survivability`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code)]

#[path = "../bench-place/apart.rs"]
mod apart;
#[path = "../bench-place/fleet.rs"]
mod fleet;
#[path = "../bench-place/times.rs"]
mod times;

use std::time::Instant;

use dwcp_decide::{Losses, Measured, Serial, survivability};
use dwcp_state::{Federation, Outcome};
use dwcp_types::{Amount, HostId, Rng};
use fleet::{apply, create, region_name};

const REGIONS: usize = 5;
const VMS: u64 = 10_000;
const PROMISED_MS: u128 = 1_000;

fn main() {
    let mut slow = false;
    // Hosts a region: room for every loss; for one region but not for two; not even for one.
    for (hosts, related_percent, bound_percent) in
        [(400, 0, 0), (400, 5, 20), (125, 5, 20), (105, 0, 0), (105, 5, 20)]
    {
        let (view, measured) = world(hosts, related_percent, bound_percent);
        let (start, cpu_ns) = (Instant::now(), times::cpu_ns());
        let losses = survivability(&view, &measured, Losses::OfTwo, &Serial);
        let (took_ms, cpu_ms) = (start.elapsed().as_millis(), (times::cpu_ns() - cpu_ns) / 1_000_000);
        let start = Instant::now();
        let ones = survivability(&view, &measured, Losses::OfOne, &Serial);
        let ones_ms = start.elapsed().as_millis();
        let start = Instant::now();
        let copy = view.for_placement();
        let copy_ms = start.elapsed().as_secs_f64() * 1_000.0;
        let vms = copy.vms().count();
        let left = |count: usize| -> usize {
            losses.iter().filter(|loss| loss.regions.len() == count).map(|loss| loss.unplaced.len()).sum()
        };
        println!(
            "{vms} VMs on {REGIONS} x {hosts} hosts, {related_percent} % with relations, {bound_percent} % bound to two regions: \
             {} losses in {took_ms} ms ({cpu_ms} ms of processor; promised {PROMISED_MS}), of one region {ones_ms} ms, \
             copy of the facts {copy_ms:.1} ms; without a place: {} in {} losses of one, {} in those of two",
            losses.len(),
            left(1),
            ones.len(),
            left(2)
        );
        slow |= took_ms >= PROMISED_MS;
    }
    if slow {
        println!("slower than promised");
        std::process::exit(1);
    }
}

/// VMs all over the regions, as many on each host as there is memory for.
fn world(hosts: usize, related_percent: u64, bound_percent: u64) -> (Federation, Measured) {
    let (mut view, measured) = fleet::build(REGIONS, hosts, fleet::HOST, 400);
    let mut rng = Rng::new(3);
    let mut number = 1;
    while number <= VMS {
        let home = region_name(number as usize % REGIONS);
        let mut vm = fleet::vm(number, &mut rng);
        vm.spec.size = Amount { disk_gib: 10, ..vm.spec.size };
        vm.host = HostId::from(format!("host-{:04}", rng.below(hosts as u64)).as_str());
        if rng.chance(related_percent, 100) {
            apart::keep_apart(&mut vm, number / 100);
        }
        if rng.chance(bound_percent, 100) {
            vm.rules.allowed_regions = [home.clone(), region_name((number as usize + 1) % REGIONS)].into();
        }
        if let Outcome::Accepted(_) = apply(&mut view, &home, create(vm)) {
            number += 1;
        }
    }
    (view, measured)
}

//! Failover: plans for 100,000 VMs of one of five regions of 1,000 hosts.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-failover`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code)]

#[path = "../bench-place/apart.rs"]
mod apart;
#[path = "../bench-place/fleet.rs"]
mod fleet;
#[path = "../bench-place/times.rs"]
mod times;

use std::time::Instant;

use dwcp_decide::{FailoverLimits, plan_failover, plan_host_loss};
use dwcp_state::{Command, Federation};
use dwcp_types::{Amount, HostId, Rng};
use fleet::{apply, create, region_name};

const VMS: u64 = 100_000;
const HOST: Amount = Amount { vcpus: 64, memory_mib: 262_144, disk_gib: 4_000 };

fn main() {
    for related_percent in [0, 5] {
        let (view, measured) = world(related_percent);
        let (start, cpu_ns) = (Instant::now(), times::cpu_ns());
        let plan = plan_failover(&view, &measured, &region_name(0), &FailoverLimits::default());
        let took_ms = start.elapsed().as_millis();
        let cpu_ms = (times::cpu_ns() - cpu_ns) / 1_000_000;
        println!(
            "{} VMs of which {related_percent} % have relations, to 4 x 1,000 hosts: planned in {took_ms} ms ({cpu_ms} ms of processor), \
             {} left, predicted {} ms",
            plan.moves.len(),
            plan.left,
            plan.predicted_rto_ms
        );
        let lost = (0..10).map(|number| HostId::from(format!("host-{number:04}").as_str())).collect();
        let start = Instant::now();
        let plan = plan_host_loss(&view, &measured, &region_name(0), &lost);
        println!(
            "  10 hosts lost: {} VMs stay in the region, {} go elsewhere, {} left, planned in {:.1} ms",
            plan.moves.len(),
            plan.elsewhere.len(),
            plan.left.len(),
            start.elapsed().as_secs_f64() * 1_000.0
        );
    }
}

/// The region to lose holds every VM; the others are empty and have room for about all of them together.
fn world(related_percent: u64) -> (Federation, dwcp_decide::Measured) {
    let (mut view, measured) = fleet::build(5, 1_000, HOST, 400);
    let home = region_name(0);
    apply(&mut view, &home, Command::SetOvercommit((4_000, 1_000)));
    let hosts: Vec<HostId> = view.regions[&home].hosts.keys().cloned().collect();
    let mut rng = Rng::new(3);
    for number in 1..=VMS {
        let mut vm = fleet::vm(number, &mut rng);
        vm.host = hosts[number as usize % hosts.len()].clone();
        if rng.chance(related_percent, 100) {
            apart::keep_apart(&mut vm, number / 100);
        }
        let outcome = apply(&mut view, &home, create(vm));
        assert!(matches!(outcome, dwcp_state::Outcome::Accepted(_)), "{outcome:?}");
    }
    (view, measured)
}

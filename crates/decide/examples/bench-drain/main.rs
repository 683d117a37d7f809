//! Emptying a region of 15,000 VMs: where each goes, which begin, and the look that a drain takes again every moment, beside a
//! full scan that decides by the same weights.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-drain`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code)]

#[path = "../bench-place/apart.rs"]
mod apart;
#[path = "../bench-place/fleet.rs"]
mod fleet;
#[path = "../bench-place/naive.rs"]
mod naive;
#[path = "../bench-place/times.rs"]
mod times;

use dwcp_decide::{FailoverLimits, FailoverPlan, Measured, MigrationLimits, next_migrations, plan_failover};
use dwcp_state::{Federation, Migration, MigrationState, Outcome};
use dwcp_types::{HostId, MigrationId, Rng, Wall};
use fleet::{HOST, apply, create, region_name};
use times::Times;

const REGIONS: usize = 5;
const HOSTS: usize = 500;
const VMS: u64 = 15_000;
/// Memory that is taken in the regions they go to, percent.
const TAKEN: u64 = 50;
/// Times that everything is done.
const ROUNDS: usize = 5;
/// VMs that the full scan places; its time for all follows from theirs.
const SCANNED: u64 = 300;
const LIMITS: MigrationLimits = MigrationLimits { per_link: 4, per_host: 2 };

fn main() {
    for related_percent in [0, 5] {
        let (mut view, measured) = world(related_percent);
        let home = region_name(0);
        let mut times = Times::default();
        let plan = |view: &Federation| {
            let limits = FailoverLimits { partial: true, ..FailoverLimits::default() };
            plan_failover(view, &measured, &home, &limits)
        };
        let first = (0..ROUNDS).map(|_| times.time(|| plan(&view))).last().expect("a round");
        println!(
            "{VMS} VMs of which {related_percent} % have relations, to {} x {HOSTS} hosts of which {TAKEN} % is taken: {} have a place, {} have none",
            REGIONS - 1,
            first.moves.len() - first.left,
            first.left
        );
        println!("  plan: {}", times.both());
        let planned_us = times.mean_us();
        let scanned_us = full_scan(&view, &measured) * VMS as f64;
        println!(
            "  a full scan for each: {:.0} ms; the plan takes {:.3} of it",
            scanned_us / 1_000.0,
            planned_us / scanned_us
        );
        queue(&mut view, &first);
        let (mut next, mut busy) = (Times::default(), Times::default());
        let facts = view.regions.get_mut(&home).expect("the region");
        let begun =
            (0..ROUNDS).map(|_| next.time(|| next_migrations(facts, LIMITS))).last().expect("a round");
        println!("  {} of the queue begin: {}", begun.len(), next.both());
        for (vm, _) in &begun {
            facts.migrations.get_mut(vm).expect("queued").state = MigrationState::Running;
        }
        (0..ROUNDS).for_each(|_| drop(busy.time(|| next_migrations(facts, LIMITS))));
        println!("  none more while those are on their way: {}", busy.both());
    }
}

/// One full region; the others have their own VMs.
fn world(related_percent: u64) -> (Federation, Measured) {
    let (mut view, measured) = fleet::build(REGIONS, HOSTS, HOST, 400);
    let mut rng = Rng::new(3);
    let home = region_name(0);
    let homes = view.regions.remove(&home).expect("the first region");
    fleet::fill(&mut view, TAKEN, &mut rng);
    view.regions.insert(home.clone(), homes);
    let hosts: Vec<HostId> = view.regions[&home].hosts.keys().cloned().collect();
    for number in 0..VMS {
        let mut vm = fleet::vm(1_000_000 + number, &mut rng);
        vm.spec.size.memory_mib = 2_048;
        vm.host = hosts[number as usize % hosts.len()].clone();
        if rng.chance(related_percent, 100) {
            apart::keep_apart(&mut vm, number / 100);
        }
        let outcome = apply(&mut view, &home, create(vm));
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    (view, measured)
}

/// Microseconds a VM.
fn full_scan(view: &Federation, measured: &Measured) -> f64 {
    let (mut rng, mut scanned) = (Rng::new(5), Times::default());
    for number in 0..SCANNED {
        let vm = fleet::vm(number, &mut rng);
        scanned.time(|| naive::place(view, measured, &region_name(0), &vm));
    }
    scanned.mean_us()
}

/// What was planned waits for its turn.
fn queue(view: &mut Federation, plan: &FailoverPlan) {
    let facts = view.regions.get_mut(&region_name(0)).expect("the region");
    for (number, step) in plan.moves.iter().enumerate() {
        let Some((to, _)) = &step.to else { continue };
        let migration = Migration {
            id: MigrationId(number as u64 + 1),
            vm: step.vm,
            name: step.name.clone(),
            priority: step.priority,
            from_host: step.from_host.clone(),
            to: to.clone(),
            asked_at: Wall(number as u64),
            generation: step.next,
            ..Migration::default()
        };
        facts.migrations.insert(step.vm, migration);
    }
}

//! Several controllers place at once: each decides on the facts as they were before the others' proposals.

use std::collections::VecDeque;

use dwcp_decide::{PlaceIndex, PlaceRequest, Reservations, Serial, place};
use dwcp_state::{Outcome, Vm};
use dwcp_types::{RegionId, Rng};

use crate::fleet::{self, apply, create, region_name};
use crate::times::Times;

/// Proposals that one controller has under way before it sees them applied.
const PIPELINE: usize = 16;
const VMS: u64 = 8_000;

struct Controller {
    index: PlaceIndex,
    reserved: Reservations,
    queue: VecDeque<Vm>,
}

pub fn run(regions: usize, hosts: usize, count: usize, fill_percent: u64) {
    let (mut view, measured) = fleet::build(regions, hosts, fleet::HOST, 100);
    let mut rng = Rng::new(11);
    let first = fleet::fill(&mut view, fill_percent, &mut rng);
    let mut controllers: Vec<Controller> = (0..count)
        .map(|_| Controller {
            index: PlaceIndex::default(),
            reserved: Reservations::default(),
            queue: VecDeque::new(),
        })
        .collect();
    for number in first..first + VMS {
        controllers[number as usize % count].queue.push_back(fleet::vm(number, &mut rng));
    }
    let (mut times, mut conflicts, mut proposed, mut nowhere) = (Times::default(), 0u64, 0u64, 0u64);
    while controllers.iter().any(|controller| !controller.queue.is_empty()) {
        let mut round: Vec<(usize, RegionId, Vm)> = Vec::new();
        for (at, controller) in controllers.iter_mut().enumerate() {
            for _ in 0..PIPELINE {
                let Some(vm) = controller.queue.pop_front() else { break };
                // Users are spread, as they are in life.
                let users = Some(region_name(vm.id.0 as usize % regions));
                let ask = PlaceRequest { vm, users_in: users, ..PlaceRequest::default() };
                let (result, _) = times.time(|| {
                    place(&view, &mut controller.index, &measured, &controller.reserved, &ask, false, &Serial)
                });
                match result {
                    Ok(to) => {
                        controller.reserved.add(&to.region, &to.host, &ask.vm);
                        round.push((at, to.region, Vm { host: to.host, ..ask.vm }));
                    }
                    Err(_) => nowhere += 1,
                }
            }
        }
        for (at, region, vm) in round {
            proposed += 1;
            let id = vm.id;
            if let Outcome::Refused(_) = apply(&mut view, &region, create(vm.clone())) {
                conflicts += 1;
                controllers[at].queue.push_back(vm);
            }
            controllers[at].reserved.remove(id);
        }
    }
    assert_eq!(view.flaws(), vec![], "capacity is never oversold");
    println!(
        "{count} controllers on {regions} x {hosts} hosts from {fill_percent} % full: {proposed} proposals, \
         {conflicts} conflicts ({:.2} %), {nowhere} fit nowhere, P99 {:.1} us, {:.0} decisions/s each",
        100.0 * conflicts as f64 / proposed.max(1) as f64,
        times.quantile_us(99),
        times.per_second(),
    );
}

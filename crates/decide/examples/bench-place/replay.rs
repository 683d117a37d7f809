//! Replays real VM requests and says how well hosts are filled.

use std::collections::BTreeMap;
use std::process::Command as Program;

use dwcp_decide::{Measured, PlaceIndex, PlaceRequest, Reservations, Serial, place};
use dwcp_state::{Command, Federation, Observation, Operation, Outcome, Profile, Vm, Want};
use dwcp_types::{Amount, HostId, OperationId, RegionId, VmId};

use crate::fleet::{self, apply, create, region_name};
use crate::times::Times;

const HOSTS: usize = 1_500;
const SHAPE: Amount = Amount { vcpus: 64, memory_mib: 131_072, disk_gib: 100_000 };
/// Ticks before this are left out of the means: the trace starts with empty hosts.
const WARM_S: u64 = 86_400;

struct Request {
    vm: u64,
    at_s: u64,
    size: Amount,
    ends_s: Option<u64>,
}

fn read(path: &str) -> Vec<Request> {
    let output = Program::new("gzip").args(["-dc", path]).output().expect("gzip runs");
    assert!(output.status.success(), "{path} can't be read");
    let text = String::from_utf8(output.stdout).expect("the trace is text");
    let request = |line: &str| {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().unwrap_or(0.0)).collect();
        let [vm, at_s, _, vcpus, memory_gib, min_s, max_s, censored] = fields[..] else { return None };
        let size = Amount { vcpus: vcpus as u32, memory_mib: (memory_gib * 1_024.0) as u64, disk_gib: 1 };
        let ends_s = (censored == 0.0).then_some(at_s as u64 + ((min_s + max_s) / 2.0) as u64);
        Some(Request { vm: vm as u64 + 1, at_s: at_s as u64, size, ends_s })
    };
    text.lines().skip(1).filter_map(request).collect()
}

/// A way to choose a host. It is told no lifetimes.
trait Policy {
    fn choose(&mut self, vm: &Vm) -> Option<HostId>;
    fn leave(&mut self, vm: VmId, host: &HostId, size: Amount);
    fn used(&self) -> Vec<Amount>;
}

/// This package over real facts.
struct Dwcp {
    view: Federation,
    measured: Measured,
    index: PlaceIndex,
    region: RegionId,
    times: Times,
}

impl Dwcp {
    fn new(profile: Profile) -> Dwcp {
        let (mut view, measured) = fleet::build(1, HOSTS, SHAPE, 100);
        view.core.policy.profile = profile;
        Dwcp { view, measured, index: PlaceIndex::default(), region: region_name(0), times: Times::default() }
    }
}

impl Policy for Dwcp {
    fn choose(&mut self, vm: &Vm) -> Option<HostId> {
        let ask = PlaceRequest { vm: vm.clone(), ..PlaceRequest::default() };
        let nothing = Reservations::default();
        let (view, index, measured) = (&self.view, &mut self.index, &self.measured);
        let to = self.times.time(|| place(view, index, measured, &nothing, &ask, false, &Serial).0).ok()?;
        let outcome = apply(&mut self.view, &to.region, create(Vm { host: to.host.clone(), ..ask.vm }));
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        Some(to.host)
    }

    fn leave(&mut self, vm: VmId, host: &HostId, _: Amount) {
        let operation = Operation { id: OperationId(1), ..Operation::default() };
        apply(&mut self.view, &self.region, Command::SetWant((vm, (Want::Deleted, operation))));
        let gone = Observation { vm, gone: true, ..Observation::default() };
        apply(&mut self.view, &self.region, Command::Observe((host.clone(), vec![gone])));
    }

    fn used(&self) -> Vec<Amount> {
        self.view.regions[&self.region].hosts.values().map(|host| host.used).collect()
    }
}

/// The classic peers over a plain list.
struct Scan {
    best: bool,
    used: BTreeMap<HostId, Amount>,
    times: Times,
}

impl Scan {
    fn new(best: bool) -> Scan {
        let id = |number: usize| HostId::from(format!("host-{number:04}").as_str());
        let used = (0..HOSTS).map(|number| (id(number), Amount::default())).collect();
        Scan { best, used, times: Times::default() }
    }

    fn search(&self, size: Amount) -> Option<HostId> {
        let mut fits = self.used.iter().filter(|(_, used)| size.fits(SHAPE.minus(**used)));
        if !self.best {
            return fits.next().map(|(id, _)| id.clone());
        }
        let left = |used: &Amount| {
            let left = SHAPE.minus(used.plus(size));
            u64::from(left.vcpus) * 1_000_000 / u64::from(SHAPE.vcpus)
                + left.memory_mib * 1_000_000 / SHAPE.memory_mib
        };
        fits.min_by_key(|(_, used)| left(used)).map(|(id, _)| id.clone())
    }
}

impl Policy for Scan {
    fn choose(&mut self, vm: &Vm) -> Option<HostId> {
        let mut times = std::mem::take(&mut self.times);
        let host = times.time(|| self.search(vm.spec.size));
        self.times = times;
        let used = self.used.get_mut(host.as_ref()?)?;
        *used = used.plus(vm.spec.size);
        host
    }

    fn leave(&mut self, _: VmId, host: &HostId, size: Amount) {
        if let Some(used) = self.used.get_mut(host) {
            *used = used.minus(size);
        }
    }

    fn used(&self) -> Vec<Amount> {
        self.used.values().copied().collect()
    }
}

#[derive(Default)]
struct Filled {
    ticks: u64,
    ratio: f64,
    empty: f64,
    density: f64,
    rejected: u64,
}

impl Filled {
    fn measure(&mut self, used: &[Amount]) {
        let active: Vec<&Amount> = used.iter().filter(|used| used.memory_mib > 0).collect();
        let vcpus: u64 = active.iter().map(|used| u64::from(used.vcpus)).sum();
        let memory: u64 = active.iter().map(|used| used.memory_mib).sum();
        let bound = (vcpus as f64 / f64::from(SHAPE.vcpus)).max(memory as f64 / SHAPE.memory_mib as f64);
        if bound == 0.0 {
            return;
        }
        self.ticks += 1;
        self.ratio += active.len() as f64 / bound.ceil();
        self.empty += 1.0 - active.len() as f64 / used.len() as f64;
        self.density += memory as f64 / (active.len() as f64 * SHAPE.memory_mib as f64);
    }
}

fn replay(requests: &[Request], policy: &mut dyn Policy) -> Filled {
    let mut filled = Filled::default();
    let mut ends: BTreeMap<(u64, u64), (HostId, Amount)> = BTreeMap::new();
    let mut tick_s = 0;
    for request in requests {
        if request.at_s != tick_s {
            if tick_s >= WARM_S {
                filled.measure(&policy.used());
            }
            tick_s = request.at_s;
        }
        while ends.first_key_value().is_some_and(|((end_s, _), _)| *end_s <= request.at_s) {
            if let Some(((_, vm), (host, size))) = ends.pop_first() {
                policy.leave(VmId(vm), &host, size);
            }
        }
        let mut vm = Vm { id: VmId(request.vm), name: request.vm.to_string(), ..Vm::default() };
        vm.spec.size = request.size;
        match policy.choose(&vm) {
            Some(host) => {
                if let Some(end_s) = request.ends_s {
                    ends.insert((end_s, request.vm), (host, request.size));
                }
            }
            None => filled.rejected += 1,
        }
    }
    filled
}

fn report(name: &str, filled: &Filled, times: &mut Times) {
    let ticks = filled.ticks.max(1) as f64;
    println!(
        "  {name:<16} active/bound {:.4}, empty hosts {:.2} %, memory of active {:.2} %, {} rejected, {:.0} a processor second, {}",
        filled.ratio / ticks,
        100.0 * filled.empty / ticks,
        100.0 * filled.density / ticks,
        filled.rejected,
        times.per_cpu_second(),
        times.both(),
    );
}

pub fn run(path: &str) {
    let requests = read(path);
    println!("replay of {} requests on {HOSTS} hosts of {SHAPE:?}", requests.len());
    for (name, best) in [("first fit", false), ("best fit", true)] {
        let mut policy = Scan::new(best);
        let filled = replay(&requests, &mut policy);
        report(name, &filled, &mut policy.times);
    }
    for (name, profile) in [("dwcp pack", Profile::Pack), ("dwcp balanced", Profile::Balanced)] {
        let mut policy = Dwcp::new(profile);
        let filled = replay(&requests, &mut policy);
        report(name, &filled, &mut policy.times);
    }
}

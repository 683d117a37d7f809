//! Federations of any size, with VMs of the sizes that real requests have.

use dwcp_decide::Measured;
use dwcp_state::{Command, Envelope, Federation, HostFacts, NewVm, Operation, Outcome, Prices, Region, Vm};
use dwcp_types::{Amount, HostId, OperationId, Priority, RegionId, Revision, Rng, VmId, Wall, ZoneId};

pub const HOST: Amount = Amount { vcpus: 64, memory_mib: 262_144, disk_gib: 4_000 };

/// Shares of sizes as in public traces of requests: many small, few large.
const SIZES: [(u32, u64); 8] =
    [(1, 1_792), (1, 1_792), (1, 2_048), (2, 3_584), (2, 4_096), (4, 7_168), (8, 14_336), (16, 65_536)];

pub fn region_name(number: usize) -> RegionId {
    RegionId::from(format!("region-{number:03}").as_str())
}

pub fn apply(view: &mut Federation, region: &RegionId, command: Command) -> Outcome {
    let group = view.group_of(region).expect("a region of the fleet");
    let revision = Revision(view.revision(group).0 + 1);
    view.apply(group, revision, &Envelope { by: "bench".into(), at: Wall(1), command, ..Envelope::default() })
}

pub fn vm(number: u64, rng: &mut Rng) -> Vm {
    let (vcpus, memory_mib) = SIZES[rng.below(SIZES.len() as u64) as usize];
    let mut vm = Vm { id: VmId(number), name: format!("vm-{number}"), ..Vm::default() };
    vm.spec.size = Amount { vcpus, memory_mib, disk_gib: 20 };
    vm.priority = Priority([25, 50, 50, 75, 100][rng.below(5) as usize]);
    vm
}

pub fn create(vm: Vm) -> Command {
    let operation = Operation { id: OperationId(1), ..Operation::default() };
    Command::CreateVms((vec![NewVm { vm }], operation))
}

/// Regions alike in size, different in price and distance.
pub fn build(regions: usize, hosts: usize, capacity: Amount, cpu_percent: u32) -> (Federation, Measured) {
    let mut view = Federation::default();
    let mut measured = Measured::default();
    for number in 0..regions {
        let name = region_name(number);
        let prices = Prices {
            vcpu_micros: 9_000 + 100 * (number as u64 % 17),
            memory_gib_micros: 4_000,
            disk_gib_micros: 100,
        };
        let record = Region {
            id: name.clone(),
            number: number as u64 + 1,
            placement: true,
            priority: 50,
            prices,
            ..Region::default()
        };
        view.core.regions.insert(name.clone(), record);
        view.open_group(number as u64 + 1, &name);
        apply(&mut view, &name, Command::SetOvercommit((cpu_percent, 100)));
        for host in 0..hosts {
            let facts = HostFacts {
                transfer: String::new(),
                id: HostId::from(format!("host-{host:04}").as_str()),
                zone: ZoneId::from(["a", "b", "c"][host % 3]),
                capacity,
                ..HostFacts::default()
            };
            apply(&mut view, &name, Command::RegisterHost(facts));
        }
        measured.health.insert(name.clone(), Some(90 + (number % 10) as u8));
        for other in 0..number {
            let ms = 10 + (number as u64 * 37 + other as u64 * 53) % 290;
            measured.rtt_ms.insert((region_name(other), name.clone()), ms);
        }
    }
    (view, measured)
}

/// Puts VMs on random hosts until about `percent` of the memory is taken; returns the next free VM number.
pub fn fill(view: &mut Federation, percent: u64, rng: &mut Rng) -> u64 {
    let names: Vec<RegionId> = view.regions.keys().cloned().collect();
    let mut number = 1;
    for name in names {
        let hosts: Vec<HostId> = view.regions[&name].hosts.keys().cloned().collect();
        let target = view.regions[&name].hosts.values().map(|h| h.facts.capacity.memory_mib).sum::<u64>()
            * percent
            / 100;
        let (mut used, mut misses) = (0, 0);
        while used < target && misses < hosts.len() * 4 {
            let mut vm = vm(number, rng);
            // Large ones fill quickly, so that building takes no longer than measuring.
            vm.spec.size.memory_mib = vm.spec.size.memory_mib.max(16_384);
            vm.host = hosts[rng.below(hosts.len() as u64) as usize].clone();
            let size = vm.spec.size;
            match apply(view, &name, create(vm)) {
                Outcome::Accepted(_) => (used, number) = (used + size.memory_mib, number + 1),
                Outcome::Refused(_) => misses += 1,
            }
        }
    }
    number
}

//! A small federation to decide on.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::{
    Measured, PlaceIndex, PlaceReport, PlaceRequest, Placement, ReasonKind, Reservations, Serial, place,
};
use dwcp_state::{
    Command, Envelope, Federation, HostFacts, NewVm, Operation, Outcome, Prices, Receipt, Region, Relation,
    Scope, Target, Vm,
};
use dwcp_types::{Amount, HostId, OperationId, Priority, Refusal, RegionId, Revision, VmId, Wall, ZoneId};

/// What a host has unless a test says otherwise.
pub const HOST: Amount = Amount { vcpus: 8, memory_mib: 32_768, disk_gib: 500 };

#[derive(Clone, Default)]
pub struct World {
    pub view: Federation,
    pub measured: Measured,
    pub reserved: Reservations,
    next_vm: u64,
}

pub fn region(name: &str) -> RegionId {
    RegionId::from(name)
}

pub fn host(name: &str) -> HostId {
    HostId::from(name)
}

pub fn size(vcpus: u32, memory_mib: u64, disk_gib: u64) -> Amount {
    Amount { vcpus, memory_mib, disk_gib }
}

impl World {
    /// Regions with these names, each with hosts h1..hn in zones a, b, a, b, ...; alike in everything, without overcommit.
    pub fn new(names: &[&str], hosts: usize) -> World {
        let mut world = World::default();
        for (index, name) in names.iter().enumerate() {
            let group = index as u64 + 1;
            let record = Region {
                id: region(name),
                number: group,
                placement: true,
                priority: 50,
                traffic_percent: 100,
                prices: Prices { vcpu_micros: 10_000, memory_gib_micros: 5_000, disk_gib_micros: 100 },
                jurisdiction: "us".into(),
                ..Region::default()
            };
            world.view.core.regions.insert(record.id.clone(), record);
            world.view.open_group(group, &region(name));
            world.accept(name, Command::SetOvercommit((100, 100)));
            for number in 1..=hosts {
                let zone = if number % 2 == 1 { "a" } else { "b" };
                world.add_host(name, &format!("h{number}"), zone, HOST);
            }
            world.measured.health.insert(region(name), Some(100));
        }
        for (at, from) in names.iter().enumerate() {
            for to in &names[at + 1..] {
                world.measured.rtt_ms.insert((region(from), region(to)), 100);
            }
        }
        world
    }

    pub fn add_host(&mut self, region: &str, id: &str, zone: &str, capacity: Amount) {
        let facts = HostFacts { id: host(id), zone: ZoneId::from(zone), capacity, ..HostFacts::default() };
        self.accept(region, Command::RegisterHost(facts));
    }

    pub fn label_host(&mut self, of: &str, id: &str, key: &str, value: &str) {
        let mut facts = self.view.regions[&region(of)].hosts[&host(id)].facts.clone();
        facts.labels.insert(key.into(), value.into());
        self.accept(of, Command::RegisterHost(facts));
    }

    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Region)) {
        change(self.view.core.regions.get_mut(&region(name)).expect("a region of the world"));
    }

    pub fn rtt(&mut self, from: &str, to: &str, ms: u64) {
        self.measured.rtt_ms.insert((region(from), region(to)), ms);
    }

    pub fn apply(&mut self, name: &str, command: Command) -> Outcome {
        let group = self.view.group_of(&region(name)).expect("an open group");
        let revision = Revision(self.view.revision(group).0 + 1);
        self.view.apply(group, revision, &Envelope { at: Wall(1_000), command, ..Envelope::default() })
    }

    pub fn accept(&mut self, name: &str, command: Command) -> Receipt {
        match self.apply(name, command.clone()) {
            Outcome::Accepted(receipt) => receipt,
            Outcome::Refused(refusal) => panic!("{command:?} was refused: {refusal}"),
        }
    }

    /// A VM record with an id and a name of its own.
    pub fn vm(&mut self, size: Amount) -> Vm {
        self.next_vm += 1;
        let mut vm = Vm { id: VmId(self.next_vm), name: format!("vm-{}", self.next_vm), ..Vm::default() };
        vm.spec.size = size;
        vm.priority = Priority(50);
        vm
    }

    /// Creates a VM on a host.
    pub fn put(&mut self, region: &str, on: &str, vm: &Vm) -> VmId {
        let vm = Vm { host: host(on), ..vm.clone() };
        let operation = Operation { id: OperationId(vm.id.0), ..Operation::default() };
        self.accept(region, Command::CreateVms((vec![NewVm { vm: vm.clone() }], operation)));
        vm.id
    }

    /// Creates a VM of a size on a host.
    pub fn fill(&mut self, region: &str, on: &str, size: Amount) -> VmId {
        let vm = self.vm(size);
        self.put(region, on, &vm)
    }

    pub fn decide(&self, request: &PlaceRequest) -> (Result<Placement, Refusal>, PlaceReport) {
        place(&self.view, &mut PlaceIndex::default(), &self.measured, &self.reserved, request, true, &Serial)
    }

    /// `region/host`, or the refusal's text.
    pub fn placed(&self, request: &PlaceRequest) -> String {
        match self.decide(request).0 {
            Ok(place) => format!("{}/{}", place.region, place.host),
            Err(refusal) => refusal.to_string(),
        }
    }

    /// Which rule excluded a region, or a host of it.
    pub fn why(&self, request: &PlaceRequest, place: &str) -> Option<ReasonKind> {
        let report = self.decide(request).1;
        let (of, on) = place.split_once('/').unwrap_or((place, ""));
        let verdict = report.regions.iter().find(|verdict| verdict.region == region(of))?;
        let reason = match on {
            "" => &verdict.excluded,
            on => &verdict.hosts.iter().find(|verdict| verdict.host == host(on))?.excluded,
        };
        reason.as_ref().map(|reason| reason.kind)
    }
}

pub fn request(vm: Vm) -> PlaceRequest {
    PlaceRequest { vm, ..PlaceRequest::default() }
}

pub fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| value.to_string()).collect()
}

pub fn regions(values: &[&str]) -> BTreeSet<RegionId> {
    values.iter().map(|value| region(value)).collect()
}

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub fn to_label(key: &str, value: &str, scope: Scope) -> Relation {
    Relation { target: Target::Label((key.into(), value.into())), scope }
}

pub fn to_vm(id: VmId, scope: Scope) -> Relation {
    Relation { target: Target::Vm(id), scope }
}

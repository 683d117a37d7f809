//! A federation to apply commands to.

use dwcp_state::{
    Command, Envelope, FEDERATION_GROUP, Federation, HostFacts, NewVm, Operation, Outcome, Receipt, Region,
    Vm,
};
use dwcp_types::{Amount, Code, GroupId, HostId, OperationId, RegionId, Revision, VmId, Wall, ZoneId};

pub struct World {
    pub view: Federation,
    pub at: Wall,
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

pub fn operation(number: u64) -> Operation {
    Operation { id: OperationId(number), ..Operation::default() }
}

pub fn vm(number: u64, on: &str) -> Vm {
    let mut vm = Vm { id: VmId(number), name: format!("vm-{number}"), host: host(on), ..Vm::default() };
    vm.spec.size = size(2, 2_048, 10);
    vm
}

pub fn create(vms: Vec<Vm>) -> Command {
    Command::CreateVms((vms.into_iter().map(|vm| NewVm { vm }).collect(), operation(1)))
}

impl World {
    /// Founded with regions a (group 1), b (2), c (3); each with hosts h1 (zone a) and h2 (zone b) of 8 vCPUs, no overcommit.
    pub fn new() -> World {
        let mut world = World { view: Federation::default(), at: Wall(1_000) };
        let mut core = dwcp_state::Core { name: "test".into(), ..Default::default() };
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            let number = index as u64 + 1;
            let record = Region { id: region(name), number, placement: true, ..Region::default() };
            core.regions.insert(record.id.clone(), record);
            world.view.open_group(number, &region(name));
        }
        world.accept(FEDERATION_GROUP, Command::Found(Box::new(core)));
        for group in 1..=3 {
            world.accept(group, Command::SetOvercommit((100, 100)));
            for (id, zone) in [("h1", "a"), ("h2", "b")] {
                world.accept(group, Command::RegisterHost(host_facts(id, zone)));
            }
        }
        world
    }

    pub fn send(&mut self, group: GroupId, envelope: Envelope) -> Outcome {
        let revision = Revision(self.view.revision(group).0 + 1);
        self.view.apply(group, revision, &envelope)
    }

    pub fn apply(&mut self, group: GroupId, command: Command) -> Outcome {
        let envelope = Envelope { by: "test".into(), at: self.at, command, ..Envelope::default() };
        self.send(group, envelope)
    }

    pub fn accept(&mut self, group: GroupId, command: Command) -> Receipt {
        match self.apply(group, command.clone()) {
            Outcome::Accepted(receipt) => receipt,
            Outcome::Refused(refusal) => panic!("{command:?} was refused: {refusal}"),
        }
    }

    /// Applies a command that must be refused, and changes nothing but the position in the log.
    pub fn refuse(&mut self, group: GroupId, command: Command) -> Code {
        let before = self.view.snapshot(group);
        let revision = self.view.revision(group);
        let outcome = self.apply(group, command.clone());
        let Outcome::Refused(refusal) = outcome else { panic!("{command:?} was accepted") };
        let mut after = self.view.clone();
        match after.region_of(group).cloned() {
            Some(name) => after.regions.get_mut(&name).expect("an open group").revision = revision,
            None => after.core.revision = revision,
        }
        assert_eq!(after.snapshot(group), before, "a refused command changes nothing: {command:?}");
        refusal.code
    }

    pub fn facts(&self, group: GroupId) -> &dwcp_state::RegionFacts {
        &self.view.regions[self.view.region_of(group).expect("an open group")]
    }

    /// Kind of the newest event of a group.
    pub fn newest_event(&self, group: GroupId) -> String {
        let ledger =
            if group == FEDERATION_GROUP { &self.view.core.ledger } else { &self.facts(group).ledger };
        ledger.events.back().map(|event| event.kind.clone()).unwrap_or_default()
    }
}

pub fn host_facts(id: &str, zone: &str) -> HostFacts {
    HostFacts {
        id: host(id),
        zone: ZoneId::from(zone),
        capacity: size(8, 32_768, 500),
        incarnation: 1,
        ..HostFacts::default()
    }
}

//! Intents: the full set of VMs wanted on a host, in the agent's words.

use std::collections::BTreeSet;

use dwcp_state::{Arrival, Command, Envelope, Mode, ProtectionMode, RegionFacts, Vm, Want};
use dwcp_types::{GroupId, HostId, Revision, VmId, encode};

use super::Node;
use super::adopt::kept_record;
use super::leases::Leases;
use crate::protocol::{
    ArrivalFrom, ControllerMessage, HealthProbe, HttpProbe, Intents, Network, ProtectTo, ReplicaIntent, Run,
    TransferTo, VmIntent, VmSpec,
};

/// The bridge that tap devices join.
const BRIDGE: &str = "dwcp0";

/// What is known of a host's intents without making them anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatedIntents {
    /// Their place in time: (term, revision).
    place: (u64, u64),
    digest: u64,
    /// The region's revision at which they were last looked at.
    looked_at: Revision,
}

impl Leases {
    /// The place in time of a host's intents, (term, revision); none before they were first looked at.
    pub(super) fn place_of(&self, group: GroupId, host: &HostId) -> Option<(u64, u64)> {
        self.intents.get(&(group, host.clone())).map(|known| known.place)
    }
}

impl Node {
    /// After a change of facts: hosts whose intents may have changed are looked at, and told when they did.
    pub(super) fn facts_changed(&mut self, group: GroupId, revision: Revision, envelope: &Envelope) {
        if !self.leads(group) {
            return;
        }
        for host in self.touched_hosts(group, revision, &envelope.command) {
            if self.leases.hosts.contains_key(&(group, host.clone())) {
                self.refresh_intents(group, &host);
            }
        }
    }

    /// The hosts whose VMs a command may have changed: those whose room it touched, and that of the VM it names.
    fn touched_hosts(&self, group: GroupId, revision: Revision, command: &Command) -> BTreeSet<HostId> {
        let Some(facts) = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region))
        else {
            return BTreeSet::new();
        };
        let before = Revision(revision.0.saturating_sub(1));
        let mut hosts: BTreeSet<HostId> = match facts.hosts_touched_since(before) {
            Some(touched) => touched.cloned().collect(),
            None => facts.hosts.keys().cloned().collect(),
        };
        let named: Vec<VmId> = match command {
            Command::SetWant((vm, _)) | Command::RestartVm((vm, _)) | Command::Recall((vm, _)) => vec![*vm],
            // A VM that left keeps its room for a while, so its host is not among those touched.
            Command::Depart((_, vms)) => vms.iter().map(|step| step.vm).collect(),
            Command::StartMigrations(vms) | Command::StopMigrations((vms, _)) => {
                vms.iter().map(|(vm, _)| *vm).collect()
            }
            Command::AimMigration((vm, _))
            | Command::EndMigration((vm, _))
            | Command::LoseMigration((vm, _)) => vec![*vm],
            Command::Switch(switch) => vec![switch.vm],
            Command::LoseCopies(vms) | Command::DropCopies(vms) => vms.clone(),
            // An operation that is called off stops its migrations.
            Command::EndOperation(_) => facts.migrations.keys().copied().collect(),
            _ => Vec::new(),
        };
        for vm in named {
            hosts.extend(facts.vms.get(&vm).map(|vm| vm.host.clone()));
            hosts.extend(facts.departures.get(&vm).map(|departure| departure.vm.host.clone()));
        }
        hosts
    }

    pub(super) fn refresh_intents(&mut self, group: GroupId, host: &HostId) {
        let before = self.leases.place_of(group, host);
        self.date_intents(group, host);
        if self.leases.place_of(group, host) != before {
            self.send_intents(group, host);
        }
    }

    /// Gives the host's intents a place in time: a new one when they, or the leader's term, changed. They follow from the
    /// region's facts alone, so those of a revision are looked at once.
    pub(super) fn date_intents(&mut self, group: GroupId, host: &HostId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let term = self.raft.status(group).map_or(0, |status| status.term);
        let key = (group, host.clone());
        let known = self.leases.intents.get(&key).copied().filter(|known| known.place.0 == term);
        if known.is_some_and(|known| known.looked_at == facts.revision) {
            return;
        }
        let digest = digest(&encode(&(wanted_on(facts, host), replicas_on(facts, host))));
        let place = match known {
            Some(known) if known.digest == digest => known.place,
            _ => (term, facts.revision.0),
        };
        self.leases.intents.insert(key, DatedIntents { place, digest, looked_at: facts.revision });
    }

    pub(super) fn send_intents(&mut self, group: GroupId, host: &HostId) {
        if !self.serves(group, host) {
            return;
        }
        self.date_intents(group, host);
        let Some((term, revision)) = self.leases.place_of(group, host) else { return };
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let (vms, replicas) = (wanted_on(facts, host), replicas_on(facts, host));
        self.tell_host(group, host, &ControllerMessage::Intents(Intents { term, revision, vms, replicas }));
    }

    /// The agent says what it acted on; when that is older than what is wanted it is told again.
    pub(super) fn resend_intents(&mut self, group: GroupId, host: &HostId) {
        self.date_intents(group, host);
        let Some(place) = self.leases.place_of(group, host) else { return };
        let acted = self.leases.hosts.get(&(group, host.clone())).map_or((0, 0), |session| session.acted);
        if acted != place {
            self.send_intents(group, host);
        }
    }
}

/// What is wanted of a host: its VMs, and those that left it for another region until it is settled what became of them.
/// The latter may not run; their disks stay, since a VM that is not taken comes back to its host.
fn wanted_on(facts: &RegionFacts, host: &HostId) -> Vec<VmIntent> {
    let left = facts.departures_from(host).map(|departure| &departure.vm);
    let left = left.filter(|vm| vm.want != Want::Deleted);
    let left = left.map(|vm| VmIntent { run: Run::Stopped, left: true, ..intent(vm) });
    let here = facts.vms_on(host).filter(|vm| vm.want != Want::Deleted);
    let here = here.map(|vm| with_migration(facts, vm));
    let lives_here = |vm: VmId| facts.vms.get(&vm).is_some_and(|vm| vm.host == *host);
    let coming = facts
        .arrivals_on(host)
        .filter(|arrival| arrival.mode == Mode::Live && !arrival.withdrawn && !lives_here(arrival.vm.id));
    here.chain(left).chain(coming.map(expected)).collect()
}

/// A VM that moves is copied while it runs, or held off when it is moved cold, from when its target has room, or a copy to start
/// from, until somebody stops that.
fn with_migration(facts: &RegionFacts, vm: &Vm) -> VmIntent {
    let mut wanted = intent(vm);
    let moving = facts.moving(vm.id).filter(|migration| migration.stopping.is_none());
    let Some(migration) = moving else { return wanted };
    // What starts from its copy needs no other room.
    if migration.mode == Mode::Cold && vm.is_protected() {
        wanted.run = Run::Stopped;
    }
    let Some(aim) = migration.aim.as_ref() else { return wanted };
    match migration.mode {
        Mode::Cold => wanted.run = Run::Stopped,
        Mode::Live => {
            wanted.transfer = Some(TransferTo {
                migration: migration.id.0,
                region: migration.to.clone(),
                host: aim.host.clone(),
                endpoint: aim.endpoint.clone(),
                generation: migration.generation.0,
                max_downtime_ms: migration.max_downtime_ms,
                rate_bytes_per_s: aim.rate_bytes_per_s,
            });
        }
    }
    wanted
}

fn expected(arrival: &Arrival) -> VmIntent {
    VmIntent {
        run: Run::Incoming,
        arrival: Some(ArrivalFrom {
            migration: arrival.migration.0,
            region: arrival.from.clone(),
            host: arrival.from_host.clone(),
            settling: arrival.settling,
        }),
        ..intent(&arrival.vm)
    }
}

/// Copies of other regions' VMs that a host is to keep.
fn replicas_on(facts: &RegionFacts, host: &HostId) -> Vec<ReplicaIntent> {
    let kept = facts.replicas.values().filter(|replica| replica.host == *host);
    kept.map(|replica| ReplicaIntent {
        vm: replica.vm,
        epoch: replica.epoch,
        from_region: replica.from.clone(),
        from_host: replica.from_host.clone(),
        disk_gib: replica.disk_gib,
        points: replica.points,
    })
    .collect()
}

/// Where a VM's copy is to be kept, once it is known who keeps it.
fn protect(vm: &Vm) -> Option<ProtectTo> {
    let guard = &vm.protection.guard;
    let region = guard.region.clone().filter(|_| vm.is_protected() && !guard.endpoint.is_empty())?;
    Some(ProtectTo {
        epoch: guard.epoch,
        region,
        host: guard.host.clone(),
        endpoint: guard.endpoint.clone(),
        interval_ms: match vm.protection.mode {
            ProtectionMode::Async(interval_ms) => interval_ms,
            _ => 0,
        },
        go_on: guard.released,
    })
}

fn intent(vm: &Vm) -> VmIntent {
    let lost = vm.drill.and_then(|mark| mark.lost).is_some_and(|(generation, _)| generation == vm.generation);
    VmIntent {
        vm: vm.id,
        generation: vm.generation.0,
        run: if vm.want == Want::Running && !lost { Run::Running } else { Run::Stopped },
        at_once: lost,
        priority: vm.priority,
        spec: VmSpec {
            name: vm.name.clone(),
            image: vm.spec.image.clone(),
            vcpus: vm.spec.size.vcpus,
            memory_mib: vm.spec.size.memory_mib,
            disk_gib: vm.spec.size.disk_gib,
            network: match vm.spec.network {
                dwcp_state::Network::User => Network::User,
                dwcp_state::Network::Tap => Network::Tap(BRIDGE.to_string()),
            },
            probe: match &vm.spec.probe {
                dwcp_state::Probe::Http(path) => {
                    HealthProbe::Http(HttpProbe { port: 80, path: path.clone() })
                }
                dwcp_state::Probe::Tcp(port) => HealthProbe::Tcp(*port),
                dwcp_state::Probe::None => HealthProbe::Process,
            },
            ports: Vec::new(),
            image_digest: vm.spec.digest.clone(),
            record: kept_record(vm),
        },
        protect: protect(vm),
        boot_replica: vm.protection.boot,
        ..VmIntent::default()
    }
}

/// A digest that is the same on every node and in every run (FNV-1a, 64 bits).
pub(super) fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use dwcp_state::{Departing, Federation, HostFacts, NewVm, Operation};
    use dwcp_types::{Amount, Generation};

    use super::*;

    fn apply(view: &mut Federation, group: GroupId, command: Command) {
        let revision = Revision(view.revision(group).0 + 1);
        let outcome = view.apply(group, revision, &Envelope { command, ..Envelope::default() });
        assert!(matches!(outcome, dwcp_state::Outcome::Accepted(_)), "{outcome:?}");
    }

    #[test]
    fn a_vm_that_left_may_not_run_and_its_disk_stays_until_it_is_taken_elsewhere() {
        let (a, host) = (dwcp_types::RegionId::from("a"), HostId::from("h1"));
        let mut view = Federation::default();
        view.open_group(1, &a);
        let capacity = Amount { vcpus: 8, memory_mib: 1_024, disk_gib: 10 };
        let facts = HostFacts { id: host.clone(), capacity, ..HostFacts::default() };
        apply(&mut view, 1, Command::RegisterHost(facts));
        let mut vm = Vm { id: VmId(1), name: "web".into(), host: host.clone(), ..Vm::default() };
        vm.spec.size = Amount { vcpus: 1, memory_mib: 96, disk_gib: 1 };
        apply(&mut view, 1, Command::CreateVms((vec![NewVm { vm }], Operation::default())));
        apply(&mut view, 1, Command::BeginEvacuation(1));
        let step = Departing { vm: VmId(1), generation: Generation(1), to: "b".into(), host: None };
        apply(&mut view, 1, Command::Depart((None, vec![step])));
        let wanted = |view: &Federation| -> Vec<(u64, Run)> {
            let wanted = wanted_on(&view.regions[&a], &host);
            wanted.into_iter().map(|intent| (intent.generation, intent.run)).collect()
        };
        assert_eq!(wanted(&view), vec![(2, Run::Stopped)]);
        let mut declined = view.clone();
        apply(&mut declined, 1, Command::Recall((VmId(1), Generation(2))));
        assert_eq!(wanted(&declined), vec![(3, Run::Running)]);
        apply(&mut view, 1, Command::Forget((VmId(1), Generation(2))));
        assert_eq!(wanted(&view), vec![]);
    }

    #[test]
    fn a_lost_copy_is_off_at_once_where_it_was_and_runs_under_its_next_generation() {
        let mark = |lost| Some(dwcp_state::DrillMark { drill: dwcp_types::DrillId(1), lost });
        let vm = Vm { id: VmId(1), generation: Generation(3), drill: mark(None), ..Vm::default() };
        let runs = |vm: &Vm| (intent(vm).run, intent(vm).at_once);
        assert_eq!(runs(&vm), (Run::Running, false));
        let lost = Vm { drill: mark(Some((Generation(3), dwcp_types::Wall(7)))), ..vm };
        assert_eq!(runs(&lost), (Run::Stopped, true));
        assert_eq!(runs(&Vm { generation: Generation(4), ..lost }), (Run::Running, false));
    }
}

//! After a restoration from a backup: every host is asked what it has, and told what to run only when all regions have heard
//! theirs. Until then leases that have not run out are prolonged, as if no control plane were there; nothing else is decided.

use dwcp_decide::PlaceRequest;
use dwcp_state::{Adopting, Arriving, Command, Held, MissingChoice, Network, Probe, Vm, VmSpec, Want};
use dwcp_types::{Amount, Code, Generation, GroupId, HostId, Mono, Refusal, RegionId, VmId, decode, encode};

use super::proposals::Purpose;
use super::{Asked, Level, Node, Request};
use crate::protocol::{self, ControllerMessage, Grant, HeldVm, Hold, Inventory};

/// Hosts that the backup does not know have so long from when their region has a leader, ms.
const SETTLE_MS: u64 = 5_000;
/// What was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;
/// Between two looks at what is left to be decided, ms.
const LOOK_MS: u64 = 200;

/// A VM's record but for where it is and what was seen of it: its host keeps it.
pub(super) fn kept_record(vm: &Vm) -> Vec<u8> {
    let protection = dwcp_state::Protection { guard: Default::default(), boot: 0, ..vm.protection.clone() };
    encode(&Vm {
        host: HostId::default(),
        generation: Generation(0),
        promised: Generation(0),
        observed: Default::default(),
        placed_at: Default::default(),
        failover: None,
        revision: Default::default(),
        protection,
        ..vm.clone()
    })
}

/// The record of a VM by what its host was told of it; less is known where that did not carry it.
fn record_of(held: &HeldVm) -> Vm {
    if let Ok(vm) = decode::<Vm>(&held.spec.record) {
        if vm.id == held.vm {
            return vm;
        }
    }
    let spec = &held.spec;
    Vm {
        id: held.vm,
        name: spec.name.clone(),
        spec: VmSpec {
            image: spec.image.clone(),
            size: Amount { vcpus: spec.vcpus, memory_mib: spec.memory_mib, disk_gib: spec.disk_gib },
            network: match spec.network {
                protocol::Network::User => Network::User,
                protocol::Network::Tap(_) => Network::Tap,
            },
            probe: match &spec.probe {
                protocol::HealthProbe::Http(http) => Probe::Http(http.path.clone()),
                protocol::HealthProbe::Tcp(port) => Probe::Tcp(*port),
                protocol::HealthProbe::Process => Probe::None,
            },
            digest: spec.image_digest.clone(),
        },
        ..Vm::default()
    }
}

fn held(said: &HeldVm, host: &HostId) -> Held {
    let record = record_of(said);
    let known = said.current && !said.left && !said.spec.record.is_empty();
    Held {
        want: known.then_some(record.want),
        vm: Vm { host: host.clone(), generation: Generation(said.generation), ..record },
        runs: said.runs,
        left: said.left,
        arriving: said.arrival.as_ref().map(|arrival| Arriving {
            from: arrival.region.clone(),
            host: arrival.host.clone(),
            whole: said.whole,
        }),
    }
}

impl Node {
    /// True while some region has not adopted what its hosts have.
    pub(super) fn is_restoring(&self) -> bool {
        self.facts.regions.values().any(|facts| facts.is_adopting())
    }

    /// What is done about what hosts of a restored region have; true while nothing else may be done there.
    pub(super) fn adopts(&mut self, group: GroupId) -> bool {
        let adopting = self.facts.region_of(group).is_some_and(|of| self.facts.regions[of].is_adopting());
        match adopting {
            true => self.adopt(group),
            false => self.adopt_late(group),
        }
        adopting
    }

    /// True when this host may be told what to run.
    pub(super) fn serves(&self, group: GroupId, host: &HostId) -> bool {
        self.facts.region_of(group).is_none_or(|region| self.facts.regions[region].serves(host))
    }

    /// Whether what this host has does not count in what is being decided: others may be given it, as soon as no lease of it can
    /// hold. So it is given none until everything is decided.
    pub(super) fn does_not_count(&self, group: GroupId, host: &HostId) -> bool {
        let facts = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region));
        let Some(adoption) = facts.and_then(|facts| facts.adoption.as_ref()) else { return false };
        let late = adoption.closed && !adoption.found.contains_key(host);
        adoption.done_at.is_none() && (late || adoption.written_off.contains(host))
    }

    /// What a grant is to a host that is not told yet what to run.
    pub(super) fn hold_host(&mut self, group: GroupId, host: &HostId, grant: Grant) {
        self.tell_host(group, host, &ControllerMessage::Hold(Hold { grant }));
    }

    /// A host that has obeyed a later control plane than this one answers nothing.
    pub(super) fn note_later(&mut self, group: GroupId, host: &HostId, told: u64) {
        let term = self.raft.status(group).map_or(0, |status| status.term);
        if told > term && !self.serves(group, host) && self.due(format!("later {group} {host}"), 10_000) {
            let text = format!(
                "host {host} obeyed a control plane of term {told}, and this one's is {term}: it was restored before, \
                 and is to be restored again with `--restoration` above {told}"
            );
            self.log("federation-controller", Level::Error, text);
        }
    }

    pub(super) fn take_inventory(&mut self, group: GroupId, host: &HostId, inventory: &Inventory) {
        let term = self.raft.status(group).map_or(0, |status| status.term);
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let Some(adoption) = facts.adoption.as_ref().filter(|_| facts.hosts.contains_key(host)) else {
            return;
        };
        let known = adoption.found.contains_key(host) || adoption.late.contains_key(host);
        if known || inventory.term != term || !self.due(format!("inventory {group} {host}"), AGAIN_MS) {
            return;
        }
        let vms = inventory.vms.iter().map(|said| held(said, host)).collect();
        self.conclude(group, Command::NoteHeld((host.clone(), vms)));
    }

    /// One region on its way back from a backup. Before anything is decided, no lease of a host that is not waited for can hold
    /// any more: so a host that nobody has heard runs nothing.
    fn adopt(&mut self, group: GroupId) {
        self.register_known(group);
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&region];
        let Some(adoption) = &facts.adoption else { return };
        if !adoption.closed {
            let leader_since = self.raft.leader_since_us(group).map_or(self.now.mono, Mono);
            let settled = self.now.mono.ms_since(leader_since) >= SETTLE_MS;
            let fenced = adoption.written_off.iter().all(|host| self.is_fenced(group, Some(host)));
            let ready = facts.awaited().next().is_none() && settled && fenced && self.no_older_lease(group);
            if ready && self.due(format!("close inventory {group}"), AGAIN_MS) {
                self.conclude(group, Command::CloseInventory);
            }
            return;
        }
        if !self.due(format!("look what to adopt {group}"), LOOK_MS) {
            return;
        }
        // What did not fit into the log is still to be decided, and the end waits for it.
        match self.facts.adoption(&region) {
            None => {}
            Some(decided) if decided.is_empty() => {
                if self.due(format!("finish adoption {group}"), AGAIN_MS) {
                    self.conclude(group, Command::FinishAdoption);
                }
            }
            Some(decided) => {
                if self.due(format!("adopt {group}"), AGAIN_MS) {
                    for part in self.parts::<Adopting>(decided) {
                        self.conclude(group, Command::Adopt(part));
                    }
                }
            }
        }
    }

    /// Hosts of a restored region that came when everything else was decided.
    fn adopt_late(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let Some(adoption) = &self.facts.regions[&region].adoption else { return };
        let kept = adoption.found.values().any(|held| !held.is_empty()) || !adoption.given.is_empty();
        let late = self.facts.regions.values().filter_map(|facts| facts.adoption.as_ref());
        let late = late.map(|adoption| adoption.late.len()).sum::<usize>() > 0;
        if (!kept && !late) || !self.due(format!("adopt late {group}"), AGAIN_MS) {
            return;
        }
        // A group whose facts are not here yet looks as if it had nothing to adopt.
        if self.is_restoring() || !self.all_current() {
            return;
        }
        if kept {
            self.conclude(group, Command::TidyAdoption);
        }
        let (decided, settled) = self.facts.late_adoption(&region);
        for part in self.parts::<Adopting>(decided) {
            self.conclude(group, Command::Adopt(part));
        }
        if !settled.is_empty() {
            self.conclude(group, Command::SettleLate(settled));
        }
    }

    /// Why nothing can be changed now.
    pub(super) fn restoring(&self, request: &Request) -> Option<Refusal> {
        let changes = matches!(
            request,
            Request::CreateVm(..)
                | Request::PreviewVms(..)
                | Request::ChangeVm(..)
                | Request::Protect(..)
                | Request::AddRegion(..)
                | Request::RemoveRegion(..)
                | Request::CleanRegion(..)
                | Request::Failover(..)
                | Request::Migrate(..)
                | Request::Drain(..)
                | Request::BeginDrill(..)
                | Request::BeginBackup(..)
                | Request::Upgrade(..)
                | Request::DecideMissing(..)
        );
        let adopting = self.facts.regions.values().filter(|facts| facts.is_adopting());
        let names: Vec<&str> = adopting.map(|facts| facts.name.as_str()).collect();
        if !changes || names.is_empty() {
            return None;
        }
        let waited: Vec<String> = self
            .facts
            .regions
            .values()
            .flat_map(|facts| facts.awaited().map(|host| format!("{host} of {}", facts.name)))
            .collect();
        let mut refusal = Refusal::new(Code::NotReady, "the control plane is being restored from a backup")
            .because(format!("{} not adopted yet what its hosts have", names.join(", ")));
        if !waited.is_empty() {
            refusal = refusal.because(format!("not heard yet: {}", waited.join(", ")));
        }
        Some(refusal.then("running VMs go on").try_this("dwcp-cli federation restoration status"))
    }

    pub(super) fn write_off(&mut self, ticket: u64, asked: &Asked, region: &RegionId, host: HostId) {
        let Some(group) = self.facts.group_of(region) else {
            let refusal = Refusal::new(Code::UnknownRegion, format!("no region {region}"));
            return self.refuse(ticket, refusal.try_this("dwcp-cli federation region list"));
        };
        let envelope = self.envelope(asked, Command::WriteOffHost(host));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    pub(super) fn decide_missing(&mut self, ticket: u64, asked: &Asked, vm: VmId, start: bool) {
        let missing = self.facts.regions.iter().find_map(|(region, facts)| {
            Some((region.clone(), facts.adoption.as_ref()?.missing.get(&vm)?.clone()))
        });
        let Some((region, record)) = missing else {
            let refusal = Refusal::new(Code::UnknownVm, format!("no VM {vm} is missing"));
            return self.refuse(ticket, refusal.try_this("dwcp-cli federation restoration status"));
        };
        let host = match start {
            false => None,
            true => {
                let vm = Vm { want: Want::Running, ..record };
                let mut all = self.facts.regions.values().flat_map(|facts| facts.vms.values());
                if let Some(other) = all.find(|other| other.name == vm.name && other.want != Want::Deleted) {
                    let refusal = Refusal::new(Code::NameTaken, format!("a VM named {} exists", vm.name));
                    return self.refuse(ticket, refusal.because(format!("it is {}", other.id)));
                }
                let only_regions = Some([region.clone()].into());
                match self.place(&PlaceRequest { vm, only_regions, ..PlaceRequest::default() }, false).0 {
                    Ok(placement) => Some(placement.host),
                    Err(refusal) => return self.refuse(ticket, refusal),
                }
            }
        };
        let Some(group) = self.facts.group_of(&region) else { return };
        let command = Command::DecideMissing(MissingChoice { vm, start: host });
        let envelope = self.envelope(asked, command);
        self.propose(group, envelope, Purpose::Answer(ticket));
    }
}

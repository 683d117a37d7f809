//! What this controller has proposed and not yet seen applied.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, MigrationState, Vm};
use dwcp_types::{Amount, HostId, RegionId, VmId};

/// VMs on their way into the log, with the room they will take. Keeps one controller from giving the same room twice.
#[derive(Clone, Debug, Default)]
pub struct Reservations {
    vms: BTreeMap<VmId, (RegionId, Vm)>,
    taken: BTreeMap<RegionId, BTreeMap<HostId, Amount>>,
    /// Those of them that come from elsewhere.
    coming: BTreeSet<VmId>,
}

impl Reservations {
    /// Reserves `vm.spec.size` on a host. A VM reserved before moves there.
    pub fn add(&mut self, region: &RegionId, host: &HostId, vm: &Vm) {
        self.remove(vm.id);
        let taken = self.taken.entry(region.clone()).or_default().entry(host.clone()).or_default();
        *taken = taken.plus(vm.spec.size);
        self.vms.insert(vm.id, (region.clone(), Vm { host: host.clone(), ..vm.clone() }));
    }

    /// Reserves room for a VM that comes from elsewhere, under the generation that it comes with: as long as it is on its way.
    pub fn add_coming(&mut self, region: &RegionId, host: &HostId, vm: &Vm) {
        self.add(region, host, vm);
        self.coming.insert(vm.id);
    }

    /// Gives the room back: the proposal was applied (and its facts seen) or refused. False when it wasn't reserved.
    pub fn remove(&mut self, vm: VmId) -> bool {
        self.coming.remove(&vm);
        let Some((region, vm)) = self.vms.remove(&vm) else { return false };
        if let Some(hosts) = self.taken.get_mut(&region) {
            if let Some(taken) = hosts.get_mut(&vm.host) {
                *taken = taken.minus(vm.spec.size);
                if *taken == Amount::default() {
                    hosts.remove(&vm.host);
                }
            }
            if hosts.is_empty() {
                self.taken.remove(&region);
            }
        }
        true
    }

    /// Gives the room back of every VM that the facts show by now, and of those that came from elsewhere and no longer do:
    /// who has come and gone again leaves no other trace.
    pub fn drop_settled(&mut self, view: &Federation) {
        let settled = self.vms.iter().filter(|(id, (region, vm))| {
            let there = view.regions.get(region).is_some_and(|facts| {
                let record = facts.vms.get(*id).is_some_and(|known| known.generation >= vm.generation);
                record || facts.arrivals.contains_key(*id)
            });
            there || (self.coming.contains(*id) && !is_coming(view, region, vm))
        });
        for id in settled.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.remove(id);
        }
    }

    /// How many VMs are reserved.
    pub fn len(&self) -> usize {
        self.vms.len()
    }

    /// True when nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty()
    }

    /// What is reserved on each host of a region, by host.
    pub(crate) fn taken_in(&self, region: &RegionId) -> impl Iterator<Item = (&HostId, Amount)> {
        self.taken.get(region).into_iter().flatten().map(|(host, amount)| (host, *amount))
    }

    /// What is reserved in a region in all.
    pub(crate) fn sum_in(&self, region: &RegionId) -> Amount {
        if self.taken.is_empty() {
            return Amount::default();
        }
        self.taken_in(region).fold(Amount::default(), |sum, (_, amount)| sum.plus(amount))
    }

    /// Every reservation: the region, the VM on its host, and whether it comes from elsewhere; by id.
    pub fn all(&self) -> impl Iterator<Item = (&RegionId, &Vm, bool)> {
        self.vms.iter().map(|(id, (region, vm))| (region, vm, self.coming.contains(id)))
    }

    /// Reserved VMs with their regions, by id.
    pub(crate) fn vms(&self) -> impl Iterator<Item = (&RegionId, &Vm)> {
        self.vms.values().map(|(region, vm)| (region, vm))
    }
}

/// True while a VM is on its way to a region under its generation.
fn is_coming(view: &Federation, region: &RegionId, vm: &Vm) -> bool {
    view.regions.values().any(|facts| {
        let departure = facts.departures.get(&vm.id);
        let moves = |to: &RegionId, generation| to == region && generation == vm.generation;
        departure.is_some_and(|departure| moves(&departure.to, departure.vm.generation))
            || facts.migrations.get(&vm.id).is_some_and(|migration| {
                migration.state == MigrationState::Running && moves(&migration.to, migration.generation)
            })
    })
}

//! What `apply` derives from a region's facts so that a command costs the same however many VMs there are.
//!
//! Never encoded and never compared: a restore makes it anew. Whoever fills `vms` by hand (a test) gets the same answers
//! from a scan, because the index knows how many VMs it has seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dwcp_types::{HostId, Revision, VmId};

use crate::{Departure, RegionFacts, Relation, Target, Vm, Want};

/// Derived look-ups of a region's facts.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// VMs by name, with those that are being deleted.
    names: BTreeMap<String, BTreeSet<VmId>>,
    /// VMs by label.
    labels: BTreeMap<(String, String), BTreeSet<VmId>>,
    /// VMs with a relation that names a VM.
    naming_vm: BTreeMap<VmId, BTreeSet<VmId>>,
    /// VMs with a relation that names a label.
    naming_label: BTreeMap<(String, String), BTreeSet<VmId>>,
    /// VMs placed on each host.
    placed: BTreeMap<HostId, BTreeSet<VmId>>,
    /// VMs that left, and nobody has settled what became of them, by the host they left.
    left: BTreeMap<HostId, BTreeSet<VmId>>,
    /// VMs placed here that are to run.
    to_run: BTreeSet<VmId>,
    /// Those of them that do not serve.
    not_serving: BTreeSet<VmId>,
    /// VMs and departures seen.
    known: usize,
    /// Hosts whose room or standing changed, and where in the log; newest last.
    touched: VecDeque<(Revision, HostId)>,
    /// What was touched up to here is no longer listed.
    forgotten: Revision,
}

impl PartialEq for Index {
    fn eq(&self, _: &Index) -> bool {
        true
    }
}

fn drop_from<K: Ord>(map: &mut BTreeMap<K, BTreeSet<VmId>>, key: &K, id: VmId) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

fn relations(vm: &Vm) -> impl Iterator<Item = &Relation> {
    vm.rules.affinity.iter().chain(&vm.rules.anti_affinity)
}

impl Index {
    /// Changes of hosts that are listed.
    const TOUCHED_KEPT: usize = 4_096;

    pub(crate) fn add(&mut self, vm: &Vm) {
        self.known += 1;
        self.names.entry(vm.name.clone()).or_default().insert(vm.id);
        for (key, value) in &vm.labels {
            self.labels.entry((key.clone(), value.clone())).or_default().insert(vm.id);
        }
        for relation in relations(vm) {
            match &relation.target {
                Target::Vm(other) => self.naming_vm.entry(*other).or_default().insert(vm.id),
                Target::Label(label) => self.naming_label.entry(label.clone()).or_default().insert(vm.id),
            };
        }
    }

    pub(crate) fn remove(&mut self, vm: &Vm) {
        self.known = self.known.saturating_sub(1);
        drop_from(&mut self.names, &vm.name, vm.id);
        for (key, value) in &vm.labels {
            drop_from(&mut self.labels, &(key.clone(), value.clone()), vm.id);
        }
        for relation in relations(vm) {
            match &relation.target {
                Target::Vm(other) => drop_from(&mut self.naming_vm, other, vm.id),
                Target::Label(label) => drop_from(&mut self.naming_label, label, vm.id),
            }
        }
    }

    /// A VM was placed here; also after each change of it that is not a new place.
    pub(crate) fn place(&mut self, vm: &Vm) {
        if !self.placed.get(&vm.host).is_some_and(|ids| ids.contains(&vm.id)) {
            self.placed.entry(vm.host.clone()).or_default().insert(vm.id);
        }
        self.judge(vm);
    }

    /// What people want of a placed VM, or what was seen of it, changed.
    pub(crate) fn judge(&mut self, vm: &Vm) {
        let mut set = |ids: fn(&mut Index) -> &mut BTreeSet<VmId>, there: bool| {
            if there {
                ids(self).insert(vm.id)
            } else {
                ids(self).remove(&vm.id)
            };
        };
        let to_run = vm.want == Want::Running && vm.drill.is_none();
        set(|index| &mut index.to_run, to_run);
        set(|index| &mut index.not_serving, to_run && !vm.serves());
    }

    /// A VM is placed here no longer.
    pub(crate) fn displace(&mut self, vm: &Vm) {
        drop_from(&mut self.placed, &vm.host, vm.id);
        self.to_run.remove(&vm.id);
        self.not_serving.remove(&vm.id);
    }

    /// A VM left for another region; its host keeps its disk and its room until it is settled what became of it.
    pub(crate) fn leave(&mut self, vm: &Vm) {
        self.add(vm);
        self.left.entry(vm.host.clone()).or_default().insert(vm.id);
    }

    /// It is settled what became of a VM that left.
    pub(crate) fn unleave(&mut self, vm: &Vm) {
        self.remove(vm);
        drop_from(&mut self.left, &vm.host, vm.id);
    }

    pub(crate) fn touch(&mut self, revision: Revision, host: &HostId) {
        self.touched.push_back((revision, host.clone()));
        while self.touched.len() > Self::TOUCHED_KEPT {
            if let Some((oldest, _)) = self.touched.pop_front() {
                self.forgotten = oldest;
            }
        }
    }

    /// VMs that may be related to `vm`; itself may be among them.
    fn related_ids(&self, vm: &Vm) -> BTreeSet<VmId> {
        let mut ids = BTreeSet::new();
        let mut take = |found: Option<&BTreeSet<VmId>>| ids.extend(found.into_iter().flatten());
        take(self.naming_vm.get(&vm.id));
        if !self.naming_label.is_empty() {
            for (key, value) in &vm.labels {
                take(self.naming_label.get(&(key.clone(), value.clone())));
            }
        }
        for relation in relations(vm) {
            match &relation.target {
                Target::Vm(other) => {
                    ids.insert(*other);
                }
                Target::Label(label) => ids.extend(self.labels.get(label).into_iter().flatten()),
            }
        }
        ids
    }
}

impl RegionFacts {
    /// Makes the derived look-ups anew.
    pub(crate) fn reindex(&mut self) {
        let mut index = Index { forgotten: self.revision, ..Index::default() };
        for vm in self.vms.values() {
            index.add(vm);
            index.place(vm);
        }
        self.departures.values().for_each(|departure| index.leave(&departure.vm));
        self.index = index;
    }

    /// The part of a copy for placement; see [`crate::Federation::for_placement`].
    pub(crate) fn for_placement(&self) -> RegionFacts {
        let index = Index { touched: VecDeque::new(), forgotten: self.revision, ..self.index.clone() };
        RegionFacts {
            revision: self.revision,
            name: self.name.clone(),
            number: self.number,
            hosts: self.hosts.clone(),
            vms: self.vms.clone(),
            departures: self.departures.clone(),
            migrations: self.migrations.clone(),
            arrivals: self.arrivals.clone(),
            replicas: self.replicas.clone(),
            evacuation: self.evacuation,
            overcommit: self.overcommit,
            index,
            ..RegionFacts::default()
        }
    }

    pub(crate) fn leave_out(&mut self, vms: &[VmId]) {
        for id in vms {
            let Some(vm) = self.vms.remove(id) else { continue };
            self.index.remove(&vm);
            self.index.displace(&vm);
            if let Some(host) = self.hosts.get_mut(&vm.host) {
                host.used = host.used.minus(vm.spec.size);
            }
        }
    }

    /// Puts a VM onto one of the hosts here, with the room that it takes.
    pub(crate) fn take_in(&mut self, vm: Vm) {
        if let Some(host) = self.hosts.get_mut(&vm.host) {
            host.used = host.used.plus(vm.spec.size);
        }
        self.index.add(&vm);
        self.index.place(&vm);
        self.vms.insert(vm.id, vm);
    }

    fn index_is_whole(&self) -> bool {
        self.index.known == self.vms.len() + self.departures.len()
    }

    /// VMs of the index's choice, or of a scan when somebody filled `vms` by hand.
    fn chosen<'a>(
        &'a self,
        indexed: Option<&'a BTreeSet<VmId>>,
        scan: impl Fn(&Vm) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Vm> {
        let whole = self.index_is_whole();
        let scanned = (!whole).then(|| self.vms.values().filter(move |vm| scan(vm)));
        let ids = indexed.filter(|_| whole);
        let found = ids.into_iter().flatten().filter_map(|id| self.vms.get(id));
        scanned.into_iter().flatten().chain(found)
    }

    /// VMs placed on a host, by id.
    pub fn vms_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = &'a Vm> {
        self.chosen(self.index.placed.get(host), move |vm| vm.host == *host)
    }

    /// VMs that left a host for another region and are not settled yet, by id.
    pub fn departures_from<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = &'a Departure> {
        let whole = self.index_is_whole();
        let scanned = (!whole).then(|| self.departures.values().filter(move |left| left.vm.host == *host));
        let ids = self.index.left.get(host).filter(|_| whole);
        let found = ids.into_iter().flatten().filter_map(|id| self.departures.get(id));
        scanned.into_iter().flatten().chain(found)
    }

    /// How many VMs placed here are to run.
    pub fn vms_to_run(&self) -> usize {
        if self.index_is_whole() {
            return self.index.to_run.len();
        }
        self.vms.values().filter(|vm| vm.want == Want::Running && vm.drill.is_none()).count()
    }

    /// VMs placed here that are to run and do not serve, by id.
    pub fn vms_not_serving(&self) -> impl Iterator<Item = &Vm> {
        self.chosen(Some(&self.index.not_serving), |vm| {
            vm.want == Want::Running && vm.drill.is_none() && !vm.serves()
        })
    }

    /// A VM of that name that is not being deleted.
    pub fn vm_named(&self, name: &str) -> Option<&Vm> {
        let alive = |vm: &&Vm| vm.name == name && vm.want != Want::Deleted;
        if !self.index_is_whole() {
            return self.vms.values().find(alive);
        }
        self.index.names.get(name)?.iter().filter_map(|id| self.vms.get(id)).find(alive)
    }

    /// Who holds a name: a VM placed here, or one on its way elsewhere that may come back.
    pub(crate) fn holder_of_name(&self, name: &str) -> Option<&Vm> {
        let alive = |vm: &&Vm| vm.name == name && vm.want != Want::Deleted;
        let leaving = || self.departures.values().map(|departure| &departure.vm);
        if !self.index_is_whole() {
            return self.vms.values().chain(leaving()).find(alive);
        }
        let find = |id: &VmId| self.vms.get(id).or_else(|| self.departures.get(id).map(|left| &left.vm));
        self.index.names.get(name)?.iter().filter_map(find).find(alive)
    }

    /// VMs placed here that `vm`'s relations name, or whose relations name `vm`; by id, without those being deleted.
    pub fn relatives(&self, vm: &Vm) -> Vec<&Vm> {
        let other = |other: &&Vm| other.id != vm.id && other.want != Want::Deleted;
        if !self.index_is_whole() {
            return self.vms.values().filter(other).filter(|other| vm.is_related_to(other)).collect();
        }
        self.index.related_ids(vm).iter().filter_map(|id| self.vms.get(id)).filter(other).collect()
    }

    /// Departures of VMs that `vm`'s relations name, or whose relations name `vm`; by id.
    pub fn departing_relatives(&self, vm: &Vm) -> Vec<&Departure> {
        let other = |departure: &&Departure| {
            departure.vm.id != vm.id && departure.vm.want != Want::Deleted && vm.is_related_to(&departure.vm)
        };
        if self.departures.is_empty() {
            return Vec::new();
        }
        if !self.index_is_whole() {
            return self.departures.values().filter(other).collect();
        }
        self.index.related_ids(vm).iter().filter_map(|id| self.departures.get(id)).filter(other).collect()
    }

    /// Hosts whose room, standing or placement changed behind a position of the log; none when that is no longer known.
    pub fn hosts_touched_since(&self, seen: Revision) -> Option<impl Iterator<Item = &HostId>> {
        if seen < self.index.forgotten || !self.index_is_whole() {
            return None;
        }
        let start = self.index.touched.partition_point(|(at, _)| *at <= seen);
        Some(self.index.touched.range(start..).map(|(_, host)| host))
    }
}

impl Vm {
    /// True when one of the two has a relation that names the other.
    pub fn is_related_to(&self, other: &Vm) -> bool {
        let names = |owner: &Vm, whom: &Vm| relations(owner).any(|r| whom.is_named_by(&r.target));
        names(self, other) || names(other, self)
    }
}

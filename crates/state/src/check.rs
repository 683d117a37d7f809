//! Recomputes what `apply` keeps up to date, and says where the two differ.

use dwcp_types::{Amount, HostId, RegionId, VmId};

use crate::Federation;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A host's sum of placed VMs, and of those that may come back to it, is not what is recorded.
    WrongSum(RegionId, HostId),
    /// More is placed on a host than overcommit allows.
    Oversold(RegionId, HostId),
    /// One VM lives in two regions.
    TwoOwners(VmId, RegionId, RegionId),
}

impl Federation {
    /// Looks for flaws. Groups are applied at their own pace, so a VM may be seen in two regions on a replica that lags in
    /// one of them; `TwoOwners` is reported only for records of the same generation, which no lag explains.
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (name, facts) in &self.regions {
            let (cpu, memory) = facts.limits();
            let mut sums: std::collections::BTreeMap<&HostId, Amount> = Default::default();
            let leaving = facts.departures.values().map(|departure| &departure.vm);
            let coming = facts.arrivals.values().map(|arrival| &arrival.vm);
            for vm in facts.vms.values().chain(leaving).chain(coming) {
                let sum = sums.entry(&vm.host).or_default();
                *sum = sum.plus(vm.spec.size);
            }
            for replica in facts.replicas.values() {
                let sum = sums.entry(&replica.host).or_default();
                *sum = sum.plus(replica.room());
            }
            for (id, host) in &facts.hosts {
                let sum = sums.get(id).copied().unwrap_or_default();
                if sum != host.used {
                    flaws.push(Flaw::WrongSum(name.clone(), id.clone()));
                }
                if !host.used.fits(host.room(cpu, memory)) && facts.evacuation.is_none() {
                    flaws.push(Flaw::Oversold(name.clone(), id.clone()));
                }
            }
        }
        let mut owners: std::collections::BTreeMap<VmId, (&RegionId, u64)> = Default::default();
        for (region, vm) in self.vms() {
            let known = owners.insert(vm.id, (region, vm.generation.0));
            if let Some((other, _)) = known.filter(|(_, generation)| *generation == vm.generation.0) {
                flaws.push(Flaw::TwoOwners(vm.id, other.clone(), region.clone()));
            }
        }
        flaws
    }
}

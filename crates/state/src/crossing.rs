//! What groups act on of each other's facts. Groups are logs of their own, and a replica applies each at its own pace: a look
//! at all of them may show what one group did because of another, and not yet what the other did.
//!
//! Two looks tell. Whatever the first one shows was caused by what had been committed by then; when the second one is at least
//! as new as that, and shows of every group the same of what others act on, then no cause was missing in the first. Everything
//! that counts here only rises or never comes back (generations, epochs, revisions, ids), so that two equal looks mean that
//! nothing happened between them.

use dwcp_types::{Generation, encode};

use crate::{Core, Federation, RegionFacts};

impl Federation {
    /// What groups act on of each other's facts, as bytes to be compared with those of another look.
    pub fn crossing(&self) -> Vec<u8> {
        let mut bytes = self.core.crossing();
        for facts in self.regions.values() {
            bytes.extend(facts.crossing());
        }
        bytes
    }
}

impl Core {
    fn crossing(&self) -> Vec<u8> {
        let mut bytes = encode(&(self.regions.clone(), self.images.clone()));
        bytes.extend(encode(&(self.policy_revision, self.freeze_revision)));
        for failover in self.failovers.values() {
            bytes.extend(encode(&(failover.id, (failover.state, failover.phases.len() as u64))));
        }
        for drill in self.drills.values() {
            bytes.extend(encode(&(drill.id, (drill.state, drill.restoring_since))));
        }
        bytes
    }
}

impl RegionFacts {
    fn crossing(&self) -> Vec<u8> {
        let mut bytes = encode(&self.name);
        // A VM that has always been here is nobody else's; it leaves and comes under further generations.
        for vm in self.vms.values().filter(|vm| vm.generation > Generation(1)) {
            bytes.extend(encode(&(vm.id, vm.generation)));
        }
        for vm in self.vms.values().filter(|vm| vm.protection.guard.epoch > 0) {
            let guard = &vm.protection.guard;
            bytes.extend(encode(&(vm.id, ((guard.epoch, guard.state), guard.endpoint.clone()))));
        }
        let departing = self.departures.values().map(|departure| &departure.vm);
        for vm in departing.chain(self.arrivals.values().map(|arrival| &arrival.vm)) {
            bytes.extend(encode(&(vm.id, vm.generation)));
        }
        bytes.extend(encode(&(self.departures.len() as u64, self.arrivals.len() as u64)));
        for (id, arrival) in &self.arrivals {
            bytes.extend(encode(&(*id, (arrival.withdrawn, (arrival.whole, arrival.settling)))));
        }
        for (id, migration) in &self.migrations {
            bytes.extend(encode(&(*id, ((migration.id, migration.state), migration.aim.is_some()))));
        }
        for (id, replica) in &self.replicas {
            bytes.extend(encode(&(*id, replica.epoch)));
        }
        let declined: Vec<_> = self.declined.iter().map(|(id, (generation, _))| (*id, *generation)).collect();
        let replicas: Vec<_> = self.replicas_declined.iter().map(|(id, (epoch, _))| (*id, *epoch)).collect();
        bytes.extend(encode(&(declined, replicas)));
        bytes.extend(encode(&self.tombstones));
        bytes.extend(encode(&self.horizons));
        bytes.extend(encode(&((self.evacuation, self.evacuated), self.closed)));
        bytes
    }
}

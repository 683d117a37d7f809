//! Both ends of a VM's way to another region; see `dwcp_state` for what each step means.

use std::collections::BTreeSet;

use dwcp_decide::PlaceRequest;
use dwcp_state::{Admission, Command, Departure, FailoverState, Fate, RegionFacts, Want};
use dwcp_types::{GroupId, Priority, RegionId, Revision, VmId};

use super::Node;

/// An admission that was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;
/// VMs that are given a host in one look: renewals of leases wait meanwhile.
const ADMIT_AT_ONCE: usize = 500;

/// Between two looks at what may be dropped, ms.
const UNBAR_MS: u64 = 60_000;
/// VMs of one command.
const UNBAR_AT_ONCE: usize = 1_000;

fn fate(target: &RegionFacts, departure: &Departure) -> Fate {
    target.fate(departure.vm.id, departure.vm.generation)
}

impl Node {
    /// For VMs that left this group: forgets those that were admitted, takes back those that were declined.
    pub(super) fn settle_departures(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let mut commands = Vec::new();
        for (vm, departure) in &facts.departures {
            let Some(target) = self.facts.regions.get(&departure.to) else { continue };
            match fate(target, departure) {
                Fate::Open => {}
                Fate::Admitted => commands.push((*vm, Command::Forget((*vm, departure.vm.generation)))),
                Fate::Declined => commands.push((*vm, Command::Recall((*vm, departure.vm.generation)))),
            }
        }
        for (vm, command) in commands {
            if self.due(format!("settle {group} {vm}"), AGAIN_MS) {
                self.conclude(group, command);
            }
        }
    }

    /// For VMs that are on their way to this group: finds a host, or declines.
    pub(super) fn admit_arrivals(&mut self, group: GroupId) {
        let Some(here) = self.facts.region_of(group).cloned() else { return };
        let mut arrivals: Vec<(std::cmp::Reverse<Priority>, VmId, RegionId)> = Vec::new();
        for (from, facts) in &self.facts.regions {
            for departure in facts.departures.values().filter(|departure| departure.to == here) {
                if fate(&self.facts.regions[&here], departure) == Fate::Open {
                    let vm = &departure.vm;
                    arrivals.push((std::cmp::Reverse(vm.priority), vm.id, from.clone()));
                }
            }
        }
        arrivals.sort();
        let mut admitted = 0;
        for (_, vm, from) in arrivals {
            let facts = &self.facts.regions[&from];
            let seen = facts.revision;
            let generation = facts.departures[&vm].vm.generation.0;
            if admitted < ADMIT_AT_ONCE && self.due(format!("admit {group} {vm} {generation}"), AGAIN_MS) {
                admitted += 1;
                let departure = self.facts.regions[&from].departures[&vm].clone();
                let looked_at = vec![(from.clone(), seen)];
                let command = self.admit_or_decline(&here, from, departure);
                self.conclude_from(group, command, looked_at);
            }
        }
    }

    fn admit_or_decline(&mut self, here: &RegionId, from: RegionId, departure: Departure) -> Command {
        let vm = departure.vm;
        let decline = |reason: String| Command::Decline((vm.id, (vm.generation, reason)));
        // What was expected may run there already, so it is taken whatever else speaks against it.
        if let Some(arrival) = self.facts.regions[here].arrival(vm.id, vm.generation) {
            let host = arrival.vm.host.clone();
            return Command::Admit(Box::new(Admission { vm, host, from, failover: departure.failover }));
        }
        if vm.want == Want::Deleted {
            return decline("it is being deleted".to_string());
        }
        if self.facts.regions[here].closed {
            return decline(format!("{here} leaves the federation"));
        }
        if self.facts.regions[here].evacuation.is_some() {
            return decline(format!("{here} is being evacuated itself"));
        }
        if let Some((region, host)) = vm.usable_replica() {
            let facts = &self.facts.regions[here];
            let replica = facts.replica_for(&vm).cloned();
            return match replica.map(|replica| (facts.check_promotion(&vm, &replica), replica)) {
                Some((Ok(()), replica)) => {
                    let host = replica.host;
                    let admission = Admission { vm, host, from, failover: departure.failover };
                    Command::Admit(Box::new(admission))
                }
                Some((Err(refusal), _)) => decline(refusal.to_string()),
                None => decline(format!("its copy is on {host} in {region}, and not here")),
            };
        }
        let request = PlaceRequest {
            vm: vm.clone(),
            only_regions: Some([here.clone()].into()),
            for_failover: true,
            arrives_at: Some(here.clone()),
            ..PlaceRequest::default()
        };
        match self.place(&request, false).0 {
            Ok(placement) => {
                self.reserved.add_coming(here, &placement.host, &vm);
                let admission = Admission { vm, host: placement.host, from, failover: departure.failover };
                Command::Admit(Box::new(admission))
            }
            Err(refusal) => decline(refusal.causes.join("; ")),
        }
    }

    /// Drops what is kept of VMs that are gone from this region, once nothing can refer to it any more.
    pub(super) fn unbar(&mut self, group: GroupId) {
        if !self.due(format!("unbar {group}"), UNBAR_MS) {
            return;
        }
        // What is dropped bars requests up to the creation of what is forgotten: under a clock a day ahead, for a day.
        if !self.clock_is_shared() {
            return;
        }
        let Some(here) = self.facts.region_of(group) else { return };
        let others = self.facts.regions.values().filter(|facts| facts.name != *here);
        // Facts that never came here show nothing, and that is no proof.
        if others.clone().any(|facts| facts.revision == Revision(0)) {
            return;
        }
        let mut vms = self.facts.regions[here].unbarrable(others.clone(), self.now.wall, UNBAR_AT_ONCE);
        // What became of a VM of a failover that goes on is read from what refused it and what let go of it.
        let failovers = self.facts.core.failovers.values();
        let running = failovers.filter(|failover| failover.state == FailoverState::Running);
        let asked: BTreeSet<VmId> = running.flat_map(|failover| &failover.vms).map(|vm| vm.vm).collect();
        vms.retain(|(vm, _)| !asked.contains(vm));
        if !vms.is_empty() {
            let looked_at = dwcp_state::looked_at(others);
            self.conclude_from(group, Command::Unbar(vms), looked_at);
        }
    }
}

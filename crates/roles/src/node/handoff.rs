//! Both ends of a VM's way to another region; see `dwcp_state` for what each step means.

use dwcp_decide::PlaceRequest;
use dwcp_state::{Admission, Command, Departure, RegionFacts, Want};
use dwcp_types::{GroupId, RegionId};

use super::Node;

/// An admission that was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;

/// What the region a VM went to has decided about it.
enum Verdict {
    Open,
    Admitted,
    Declined,
}

fn verdict(target: &RegionFacts, departure: &Departure) -> Verdict {
    let (vm, generation) = (departure.vm.id, departure.vm.generation);
    if target.declined.get(&vm).is_some_and(|(declined, _)| *declined >= generation) {
        return Verdict::Declined;
    }
    let lives = target.vms.get(&vm).is_some_and(|vm| vm.generation >= generation);
    let moved_on = target.departures.get(&vm).is_some_and(|next| next.vm.generation > generation);
    let was_there = target.tombstones.get(&vm).is_some_and(|gone| *gone >= generation);
    if lives || moved_on || was_there { Verdict::Admitted } else { Verdict::Open }
}

impl Node {
    /// For VMs that left this group: forgets those that were admitted, takes back those that were declined.
    pub(super) fn settle_departures(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let mut commands = Vec::new();
        for (vm, departure) in &facts.departures {
            let Some(target) = self.facts.regions.get(&departure.to) else { continue };
            match verdict(target, departure) {
                Verdict::Open => {}
                Verdict::Admitted => commands.push((*vm, Command::Forget((*vm, departure.vm.generation)))),
                Verdict::Declined => commands.push((*vm, Command::Recall((*vm, departure.vm.generation)))),
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
        let mut arrivals: Vec<(RegionId, Departure)> = Vec::new();
        for (from, facts) in &self.facts.regions {
            for departure in facts.departures.values().filter(|departure| departure.to == here) {
                if matches!(verdict(&self.facts.regions[&here], departure), Verdict::Open) {
                    arrivals.push((from.clone(), departure.clone()));
                }
            }
        }
        arrivals.sort_by_key(|(_, departure)| (std::cmp::Reverse(departure.vm.priority), departure.vm.id));
        for (from, departure) in arrivals {
            let key = format!("admit {group} {} {}", departure.vm.id, departure.vm.generation.0);
            if self.due(key, AGAIN_MS) {
                self.admit_or_decline(group, &here, from, departure);
            }
        }
    }

    fn admit_or_decline(&mut self, group: GroupId, here: &RegionId, from: RegionId, departure: Departure) {
        let vm = departure.vm;
        if vm.want == Want::Deleted {
            let reason = "it is being deleted".to_string();
            self.conclude(group, Command::Decline((vm.id, (vm.generation, reason))));
            return;
        }
        if self.facts.regions[here].evacuation.is_some() {
            let reason = format!("{here} is being evacuated itself");
            self.conclude(group, Command::Decline((vm.id, (vm.generation, reason))));
            return;
        }
        let request = PlaceRequest {
            vm: vm.clone(),
            only_regions: Some([here.clone()].into()),
            for_failover: true,
            ..PlaceRequest::default()
        };
        self.reserved.drop_applied(&self.facts);
        self.index.refresh(&self.facts);
        let measured = self.measured_lately();
        let (placed, _) =
            dwcp_decide::place(&self.facts, &mut self.index, &measured, &self.reserved, &request, false);
        match placed {
            Ok(placement) => {
                self.reserved.add(here, &placement.host, &vm);
                let admission = Admission { vm, host: placement.host, from, failover: departure.failover };
                self.conclude(group, Command::Admit(Box::new(admission)));
            }
            Err(refusal) => {
                let reason = refusal.causes.join("; ");
                self.conclude(group, Command::Decline((vm.id, (vm.generation, reason))));
            }
        }
    }
}

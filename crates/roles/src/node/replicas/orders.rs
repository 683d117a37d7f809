//! What the leader of a region's group tells its hosts about controllers.

use std::collections::BTreeMap;

use dwcp_state::{HostStanding, Lifecycle, Region};
use dwcp_types::{GroupId, HostId};

use super::super::Node;
use crate::protocol::{ControllerMessage, ControllersWanted};

/// Between two looks at the hosts of a group, ms.
const LOOK_MS: u64 = 500;
/// What a host was told is told again after, ms.
const TELL_AGAIN_MS: u64 = 10_000;

/// So many controllers spread evenly over hosts that run at most so many each, in the order of their names.
fn spread(mut count: u64, hosts: &BTreeMap<HostId, u32>) -> BTreeMap<HostId, u32> {
    let mut plan: BTreeMap<HostId, u32> = hosts.keys().map(|host| (host.clone(), 0)).collect();
    let mut round = 0;
    while count > 0 {
        round += 1;
        let before = count;
        for (host, _) in hosts.iter().filter(|(_, most)| **most >= round) {
            if count > 0 {
                plan.entry(host.clone()).and_modify(|planned| *planned += 1);
                count -= 1;
            }
        }
        if count == before {
            break;
        }
    }
    plan
}

impl Node {
    /// The hosts of a group that run controllers, and how many each; none where another node leads it.
    fn hosts_for_controllers(&self, group: GroupId) -> BTreeMap<HostId, u32> {
        let facts = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region));
        let up = |host: &HostId| {
            facts
                .and_then(|facts| facts.hosts.get(host))
                .is_some_and(|host| host.standing == HostStanding::Up)
        };
        let of_group = self.leases.hosts.iter().filter(|((of, host), _)| *of == group && up(host));
        let able = of_group.filter_map(|((_, host), session)| {
            let most = session.hello.as_ref()?.controllers;
            (most > 0).then(|| (host.clone(), most))
        });
        able.collect()
    }

    /// The most controllers that the hosts of a region could run beside its node; none where another node leads its group.
    pub fn room_for_controllers(&self, region: &Region) -> Option<u64> {
        let room = || self.hosts_for_controllers(region.number).values().map(|most| u64::from(*most)).sum();
        self.leads(region.number).then(room)
    }

    /// What hosts say is wrong with controllers of a region, by host.
    pub fn controller_troubles(&self, region: &Region) -> Vec<(HostId, String)> {
        let of_group = self.leases.hosts.iter().filter(|((of, _), _)| *of == region.number);
        let troubled = of_group.filter(|(_, session)| !session.controllers.trouble.is_empty());
        troubled.map(|((_, host), session)| (host.clone(), session.controllers.trouble.clone())).collect()
    }

    /// Tells the hosts of a group how many controllers to run, when that changed.
    pub(in crate::node) fn tell_controllers(&mut self, group: GroupId) {
        if !self.due(format!("controllers {group}"), LOOK_MS) {
            return;
        }
        let Some(region) = self.record_of(group) else { return };
        let leaves = region.lifecycle == Lifecycle::Leaving;
        let count = if leaves { 0 } else { region.controllers() - 1 };
        let (node, mesh) = (region.number, region.mesh.clone());
        let now = self.now.mono;
        for (host, count) in spread(count, &self.hosts_for_controllers(group)) {
            let wanted = ControllersWanted { count, node, mesh: mesh.clone() };
            let Some(session) = self.leases.hosts.get_mut(&(group, host.clone())) else { continue };
            let told = session.controllers_told.as_ref();
            if told.is_some_and(|(told, at)| *told == wanted && now < at.plus_ms(TELL_AGAIN_MS)) {
                continue;
            }
            session.controllers_told = Some((wanted.clone(), now));
            self.tell_host(group, &host, &ControllerMessage::Controllers(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_spread_evenly_and_no_host_runs_more_than_it_says() {
        let hosts: BTreeMap<HostId, u32> = [("h1".into(), 1), ("h2".into(), 4), ("h3".into(), 4)].into();
        let counts = |count| spread(count, &hosts).into_values().collect::<Vec<u32>>();
        assert_eq!(counts(0), [0, 0, 0]);
        assert_eq!(counts(2), [1, 1, 0]);
        assert_eq!(counts(5), [1, 2, 2]);
        assert_eq!(counts(100), [1, 4, 4], "what does not fit runs nowhere");
        assert!(spread(3, &BTreeMap::new()).is_empty());
    }
}

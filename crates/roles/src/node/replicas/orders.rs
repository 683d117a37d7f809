//! What the leader of a region's group tells its hosts about controllers and routers.

use std::collections::BTreeMap;

use dwcp_state::{HostStanding, Lifecycle, Region};
use dwcp_types::{GroupId, HostId};

use super::super::{HostSession, Node};
use crate::protocol::{ControllerMessage, HelperKind, HelpersWanted};

/// Between two looks at the hosts of a group, ms.
const LOOK_MS: u64 = 500;
/// What a host was told is told again after, ms.
const TELL_AGAIN_MS: u64 = 10_000;

/// So many helpers spread evenly over hosts that run at most so many each, in the order of their names.
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
    /// The hosts of a group that run helpers of a kind, and how many each; none where another node leads it.
    fn hosts_for(&self, kind: HelperKind, group: GroupId) -> BTreeMap<HostId, u32> {
        let facts = self.facts.region_of(group).and_then(|region| self.facts.regions.get(region));
        let up = |host: &HostId| {
            facts
                .and_then(|facts| facts.hosts.get(host))
                .is_some_and(|host| host.standing == HostStanding::Up)
        };
        let of_group = self.leases.hosts.iter().filter(|((of, host), _)| *of == group && up(host));
        let able = of_group.filter_map(|((_, host), session)| {
            let most = session.hello.as_ref()?.most(kind);
            (most > 0).then(|| (host.clone(), most))
        });
        able.collect()
    }

    /// The most helpers of a kind that the hosts of a region could run; none where another node leads its group.
    pub fn room_for(&self, kind: HelperKind, region: &Region) -> Option<u64> {
        let room = || self.hosts_for(kind, region.number).values().map(|most| u64::from(*most)).sum();
        self.leads(region.number).then(room)
    }

    /// What hosts say is wrong with helpers of a region, by host.
    pub fn helper_troubles(&self, kind: HelperKind, region: &Region) -> Vec<(HostId, String)> {
        let of_group = self.leases.hosts.iter().filter(|((of, _), _)| *of == region.number);
        let trouble = |session: &HostSession| {
            session.helpers.get(&kind).map(|helpers| helpers.said.trouble.clone()).unwrap_or_default()
        };
        let troubles = of_group.map(|((_, host), session)| (host.clone(), trouble(session)));
        troubles.filter(|(_, trouble)| !trouble.is_empty()).collect()
    }

    /// Tells the hosts of a group how many helpers to run, when that changed.
    pub(in crate::node) fn tell_helpers(&mut self, group: GroupId) {
        if !self.due(format!("helpers {group}"), LOOK_MS) {
            return;
        }
        for kind in HelperKind::ALL {
            let Some(region) = self.record_of(group) else { return };
            let (count, node, mesh) = match kind {
                HelperKind::Controller => (region.controllers(), region.number, region.mesh.clone()),
                HelperKind::Router => (region.routers(), 0, String::new()),
            };
            let count = if region.lifecycle == Lifecycle::Leaving { 0 } else { count - 1 };
            for (host, count) in spread(count, &self.hosts_for(kind, group)) {
                self.tell_host_helpers(group, &host, kind, HelpersWanted { count, node, mesh: mesh.clone() });
            }
        }
    }

    fn tell_host_helpers(&mut self, group: GroupId, host: &HostId, kind: HelperKind, wanted: HelpersWanted) {
        let now = self.now.mono;
        let Some(session) = self.leases.hosts.get_mut(&(group, host.clone())) else { return };
        let helpers = session.helpers.entry(kind).or_default();
        let told = helpers.told.as_ref();
        if told.is_some_and(|(told, at)| *told == wanted && now < at.plus_ms(TELL_AGAIN_MS)) {
            return;
        }
        helpers.told = Some((wanted.clone(), now));
        let message = match kind {
            HelperKind::Controller => ControllerMessage::Controllers(wanted),
            HelperKind::Router => ControllerMessage::Routers(wanted),
        };
        self.tell_host(group, host, &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_spread_evenly_and_no_host_runs_more_than_it_says() {
        let hosts: BTreeMap<HostId, u32> = [("h1".into(), 1), ("h2".into(), 4), ("h3".into(), 4)].into();
        let counts = |count| spread(count, &hosts).into_values().collect::<Vec<u32>>();
        assert_eq!(counts(0), [0, 0, 0]);
        assert_eq!(counts(2), [1, 1, 0]);
        assert_eq!(counts(5), [1, 2, 2]);
        assert_eq!(counts(100), [1, 4, 4], "what does not fit runs nowhere");
        assert!(spread(3, &BTreeMap::new()).is_empty());
    }
}

//! One line of a region, and what belongs to it.

use dwcp_api::region::{
    Component, Deduction, Health, HealthState, Lifecycle, PlacementSwitch, RegionSummary, Usage, Zone,
};
use dwcp_roles::node::LinkReading;
use dwcp_state::{HostStanding, Region, RegionFacts, Standing};
use dwcp_types::{Amount, NodeId, RegionId, Revision};

use super::outlook::Lately;
use super::{controllers, hosts, maintenance, names};
use crate::handle::View;

/// One line of a region; `record` may be what it would be after a change.
pub fn show(view: &View<'_>, record: &Region, facts: &RegionFacts, lately: &Lately) -> RegionSummary {
    let group = facts.number;
    let age_ms = view.node.facts_age_ms(group);
    // Facts that never came here say nothing, not even zero.
    let known = age_ms.is_some() || facts.revision > Revision(0);
    let [cpu, memory, storage] = usage(view, facts, known);
    RegionSummary {
        region: record.id.as_str().to_owned(),
        number: record.number,
        lifecycle: lifecycle(record),
        health: health(view, &record.id, lately),
        vms: known.then(|| names::vms_in(view, facts)),
        hosts: facts.hosts.len() as u64,
        cpu,
        memory,
        storage,
        traffic_percent: Some(f64::from(record.traffic_percent)),
        replication_lag_ms: age_ms,
        leader: names::leader(view, group),
        version: version(view, record.number),
        placement: PlacementSwitch {
            enabled: record.placement,
            since_at_ms: (record.placement_since.0 > 0).then_some(record.placement_since.0),
            by: (!record.placement_by.is_empty()).then(|| record.placement_by.clone()),
            reason: record.placement_reason.clone(),
        },
        age_ms,
        decommission: record.decommission.as_ref().map(|end| super::site::end(end, view.now.wall)),
        revision: record.revision.0,
    }
}

pub fn lifecycle(record: &Region) -> Lifecycle {
    match (record.standing, record.lifecycle) {
        (Standing::Lost, _) => Lifecycle::Lost,
        (_, dwcp_state::Lifecycle::Disabled) => Lifecycle::Disabled,
        (_, dwcp_state::Lifecycle::Joining) => Lifecycle::Joining,
        (_, dwcp_state::Lifecycle::Leaving) => Lifecycle::Retired,
        // Back, but empty until somebody enables it.
        (Standing::Returned, _) => Lifecycle::Standby,
        (Standing::Present, dwcp_state::Lifecycle::Active) => Lifecycle::Active,
    }
}

/// A region's health as the API shows it: with what would not survive its loss, and muted while it is in maintenance.
pub fn health(view: &View<'_>, region: &RegionId, lately: &Lately) -> Health {
    let score = view.node.region_outlook(region, lately.would_not_survive(region));
    let maintenance = maintenance::of(view, region, None);
    let muted_by = maintenance.as_ref().map(|window| window.window.clone());
    let deduction = |found: dwcp_decide::Deduction| Deduction {
        points: found.points.into(),
        cause: found.cause,
        muted_by: muted_by.clone(),
    };
    Health {
        score: score.score.map(u32::from),
        state: match score.state {
            dwcp_decide::HealthState::Healthy => HealthState::Healthy,
            dwcp_decide::HealthState::Degraded => HealthState::Degraded,
            dwcp_decide::HealthState::Unhealthy => HealthState::Unhealthy,
            dwcp_decide::HealthState::Unknown => HealthState::Unknown,
        },
        deductions: score.deductions.into_iter().map(deduction).collect(),
        maintenance,
    }
}

/// CPU, memory, storage of the hosts that hold leases. What is really used comes with the beat of the node that leads the
/// region's group, and is unknown once that is no longer heard.
fn usage(view: &View<'_>, facts: &RegionFacts, known: bool) -> [Usage; 3] {
    let said = view.node.region_usage(&facts.name).filter(|(_, age_ms)| *age_ms < names::SILENT_MS);
    let [cpu_used, memory_used, disk_used] = hosts::used_percents(said.map(|(usage, _)| usage));
    let (cpu, memory) = facts.limits();
    let (mut used, mut room) = (Amount::default(), Amount::default());
    for host in facts.hosts.values().filter(|host| host.standing == HostStanding::Up) {
        used = used.plus(host.used);
        room = room.plus(host.room(cpu, memory));
    }
    let usage = |capacity: u64, allocated: u64, used_percent: Option<f64>| Usage {
        capacity: known.then_some(capacity),
        allocated: known.then_some(allocated),
        used_percent,
    };
    [
        usage(room.vcpus.into(), used.vcpus.into(), cpu_used),
        usage(room.memory_mib, used.memory_mib, memory_used),
        usage(room.disk_gib, used.disk_gib, disk_used),
    ]
}

/// Version of the program that a region's node runs, as it said last.
pub fn version(view: &View<'_>, node: NodeId) -> Option<String> {
    let config = view.node.config();
    if node == config.me {
        return Some(config.version.clone());
    }
    view.node.peers().get(&node)?.beat.as_ref().map(|beat| beat.version.clone())
}

/// A node's links as it measured them, and how old that is in ms.
pub fn links_of(view: &View<'_>, node: NodeId) -> Option<(Vec<LinkReading>, u64)> {
    if node == view.node.config().me {
        return Some((view.node.own_beat().links, 0));
    }
    let peer = view.node.peers().get(&node)?;
    Some((peer.beat.as_ref()?.links.clone(), view.now.mono.ms_since(peer.told)))
}

/// Zones with their hosts.
pub fn zones(facts: &RegionFacts) -> Vec<Zone> {
    let mut zones = std::collections::BTreeMap::new();
    for host in facts.hosts.values() {
        *zones.entry(host.facts.zone.as_str().to_owned()).or_insert(0u64) += 1;
    }
    zones.into_iter().map(|(zone, hosts)| Zone { zone, hosts }).collect()
}

/// Components of a region: its node plays three parts in one process, beside it are routers, and each host has an agent.
pub fn components(view: &View<'_>, facts: &RegionFacts) -> Vec<Component> {
    let version = version(view, facts.number);
    let up = names::is_heard(view, facts.number).then_some(1);
    let mut components: Vec<Component> = ["federation-controller", "state-manager", "monitor"]
        .into_iter()
        .map(|name| Component { component: name.to_owned(), replicas: 1, up, version: version.clone() })
        .collect();
    let wanted = view.node.facts().core.regions.get(&facts.name).map_or(1, Region::controllers);
    components[0].replicas = wanted;
    components[0].up = up.and_then(|_| controllers::up(view, facts.number));
    let routers = view.node.routers();
    let mut routers = routers.iter().filter(|beat| beat.region == facts.name).peekable();
    let version = routers.peek().map(|first| first.version.clone());
    let (mut count, mut same) = (0, true);
    for router in routers {
        count += 1;
        same &= version.as_ref() == Some(&router.version);
    }
    components.push(Component {
        component: "global-router".to_owned(),
        replicas: view.node.facts().core.regions.get(&facts.name).map_or(1, Region::routers),
        up: Some(count),
        version: version.filter(|_| same),
    });
    let hosts = || facts.hosts.values();
    let first = hosts().next().map(|host| host.facts.version.clone());
    components.push(Component {
        component: "agent".to_owned(),
        replicas: facts.hosts.len() as u64,
        up: names::is_known(view, facts)
            .then(|| hosts().filter(|host| host.standing == HostStanding::Up).count() as u64),
        version: first.filter(|first| !first.is_empty() && hosts().all(|host| host.facts.version == *first)),
    });
    components
}

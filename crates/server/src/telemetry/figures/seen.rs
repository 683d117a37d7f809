//! What is copied of the state on the node's thread, which decides nothing meanwhile: as little as the figures need.

use dwcp_api::region::RegionSummary;
use dwcp_api::vm::VmState;
use dwcp_roles::node::{Decisions, HostNow, LinkReading, Measures};
use dwcp_roles::protocol::{RouterWord, Usage};
use dwcp_state::{
    DiskProof, FEDERATION_GROUP, Failover, FailoverVm, GuardState, HostStanding, Lifecycle, MoveState,
    ProtectionMode, Region, RegionFacts,
};
use dwcp_types::Wall;

use crate::handle::View;
use crate::http::Lately;
use crate::http::{names, region_summary, vm_record};

/// Everything that figures are made from.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// This process's region.
    pub own: String,
    /// Every region, and whether its node is heard.
    pub regions: Vec<(RegionSummary, bool)>,
    /// This region's VMs by what they do.
    pub vms: Vec<(VmState, u64)>,
    /// VMs whose disk is to be kept elsewhere, and those whose is not: of mode sync, and async.
    pub protected: [(u64, u64); 2],
    pub hosts: Vec<SeenHost>,
    /// To which region, and what it is like.
    pub links: Vec<(String, LinkReading)>,
    pub groups: Vec<SeenGroup>,
    pub process: Measures,
    pub uptime_ms: u64,
    pub decisions: Decisions,
    /// The routers that are linked to this node, with the region of each.
    pub routers: Vec<RouterWord>,
    /// Routers of this region that are not heard of; none: it is to have none, for its users reach it nowhere.
    pub routers_missing: Option<u64>,
    /// The last failover of each region that had one.
    pub failovers: Vec<SeenFailover>,
    /// Only where the federation's group is led.
    pub federation: Option<SeenFederation>,
}

/// A host of this region.
#[derive(Clone, Debug)]
pub struct SeenHost {
    pub host: String,
    pub up: bool,
    pub heard_ms: Option<u64>,
    pub usage: Option<Usage>,
}

/// A group's replica here.
#[derive(Clone, Debug)]
pub struct SeenGroup {
    pub name: String,
    pub leads: bool,
    pub has_leader: bool,
    pub voters: usize,
    pub heard: usize,
    pub applied: u64,
    pub term: u64,
}

/// A failover that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenFailover {
    pub region: String,
    pub ended_at: Wall,
    pub took_ms: u64,
    /// VMs that came back without something that was written.
    pub lost_data: u64,
}

/// What the federation's group says.
#[derive(Clone, Debug, Default)]
pub struct SeenFederation {
    pub running: usize,
    pub backup_at: Option<Wall>,
    pub verified_at: Option<Wall>,
    pub interval_ms: u64,
}

impl Seen {
    /// Looks.
    pub fn look(view: &View<'_>, lately: &Lately) -> Seen {
        let all = view.node.facts();
        let own = &view.node.config().region;
        let records = all.core.regions.values();
        let regions = records.filter_map(|record| {
            let summary = region_summary::show(view, record, all.regions.get(&record.id)?, lately);
            Some((summary, names::is_heard(view, record.number)))
        });
        let facts = all.regions.get(own);
        let beat = view.node.own_beat();
        Seen {
            own: own.as_str().to_owned(),
            regions: regions.collect(),
            vms: facts.map(|facts| by_state(view, facts)).unwrap_or_default(),
            protected: facts.map(protected).unwrap_or_default(),
            hosts: facts.map(|facts| hosts(view, facts)).unwrap_or_default(),
            links: beat
                .links
                .into_iter()
                .filter_map(|link| Some((view.node.region_name(link.node)?.as_str().to_owned(), link)))
                .collect(),
            groups: groups(view),
            process: beat.measures,
            uptime_ms: view.now.mono.ms_since(view.node.started()),
            decisions: view.node.decisions().clone(),
            routers: view.node.routers_here().cloned().collect(),
            routers_missing: all.core.regions.get(own).and_then(|record| routers_missing(view, record)),
            failovers: last_failovers(all.core.failovers.values()),
            federation: view.node.leads(FEDERATION_GROUP).then(|| federation(view)),
        }
    }
}

fn routers_missing(view: &View<'_>, region: &Region) -> Option<u64> {
    let nowhere = region.endpoints.is_empty() && region.routers() == 1;
    if nowhere || region.lifecycle == Lifecycle::Leaving {
        return None;
    }
    let heard = view.node.routers().iter().filter(|beat| beat.region == region.id).count() as u64;
    Some(region.routers().saturating_sub(heard))
}

fn by_state(view: &View<'_>, facts: &RegionFacts) -> Vec<(VmState, u64)> {
    let mut counts: Vec<(VmState, u64)> = Vec::new();
    for vm in facts.vms.values().filter(|vm| vm.drill.is_none()) {
        let state = vm_record::state(view, &names::Found { region: &facts.name, vm, departure: None });
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    counts
}

fn protected(facts: &RegionFacts) -> [(u64, u64); 2] {
    let mut modes = [(0, 0); 2];
    for vm in facts.vms.values().filter(|vm| vm.drill.is_none() && vm.is_protected()) {
        let guard = &vm.protection.guard;
        let holds = guard.region.is_some() && guard.state == GuardState::Protected;
        let (all, without) = &mut modes[usize::from(vm.protection.mode != ProtectionMode::Sync)];
        (*all, *without) = (*all + 1, *without + u64::from(!holds));
    }
    modes
}

fn hosts(view: &View<'_>, facts: &RegionFacts) -> Vec<SeenHost> {
    let host = |(host, of): (&dwcp_types::HostId, &dwcp_state::Host)| {
        let now: Option<HostNow> = view.node.host_now(facts.number, host);
        SeenHost {
            host: host.as_str().to_owned(),
            up: of.standing == HostStanding::Up,
            heard_ms: now.map(|now| now.heard_ms),
            usage: now.and_then(|now| now.usage),
        }
    };
    facts.hosts.iter().map(host).collect()
}

fn groups(view: &View<'_>) -> Vec<SeenGroup> {
    let named = view.node.regions().iter().map(|(number, region)| (*number, region.as_str().to_owned()));
    let all = std::iter::once((FEDERATION_GROUP, "federation".to_owned())).chain(named);
    all.filter_map(|(number, name)| {
        let status = view.node.group(number)?;
        Some(SeenGroup {
            name,
            leads: view.node.leads(number),
            has_leader: status.leader.is_some(),
            voters: status.voters.len(),
            heard: status.voters.iter().filter(|voter| names::is_heard(view, **voter)).count(),
            applied: status.applied,
            term: status.term,
        })
    })
    .collect()
}

/// The one of each region that ended last.
fn last_failovers<'a>(all: impl Iterator<Item = &'a Failover>) -> Vec<SeenFailover> {
    let mut last = std::collections::BTreeMap::new();
    for failover in all {
        let Some(ended_at) = failover.ended_at else { continue };
        let seen = SeenFailover {
            region: failover.from.as_str().to_owned(),
            ended_at,
            took_ms: ended_at.ms_since(failover.first_missed_at),
            lost_data: failover.vms.iter().filter(|vm| lost_data(vm)).count() as u64,
        };
        let newest: &mut SeenFailover = last.entry(seen.region.clone()).or_insert_with(|| seen.clone());
        if newest.ended_at <= seen.ended_at {
            *newest = seen;
        }
    }
    last.into_values().collect()
}

/// Whether a VM serves again without something that was written before. One with a point in time has what was written until then.
fn lost_data(vm: &FailoverVm) -> bool {
    vm.state == MoveState::Verified && matches!(vm.disk, DiskProof::Unprotected | DiskProof::Point(_))
}

fn federation(view: &View<'_>) -> SeenFederation {
    let core = &view.node.facts().core;
    let (plan, places) = (core.backups.plan.as_ref(), &core.backups.places);
    let place = plan.and_then(|plan| places.get(&plan.destination));
    SeenFederation {
        running: core.operations.values().filter(|operation| operation.ended_at.is_none()).count(),
        backup_at: place.and_then(|place| Some(place.newest.as_ref()?.at)),
        verified_at: place.filter(|place| place.verified.is_some()).map(|place| place.verified_at),
        interval_ms: plan.map_or(0, |plan| plan.interval_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failover_that_ended_counts_and_what_it_lost() {
        let vm = |state, disk| FailoverVm { state, disk, ..FailoverVm::default() };
        let ended = |at: Option<u64>, vms: Vec<FailoverVm>| Failover {
            from: "eu".into(),
            first_missed_at: Wall(1_000),
            ended_at: at.map(Wall),
            vms,
            ..Failover::default()
        };
        let lost = vec![
            vm(MoveState::Verified, DiskProof::Unprotected),
            vm(MoveState::Verified, DiskProof::Point(Wall(5))),
            vm(MoveState::Verified, DiskProof::Zero),
            vm(MoveState::Left, DiskProof::Unprotected),
        ];
        let all = [ended(Some(9_000), lost), ended(Some(4_000), vec![]), ended(None, vec![])];
        let expected =
            SeenFailover { region: "eu".into(), ended_at: Wall(9_000), took_ms: 8_000, lost_data: 2 };
        assert_eq!(last_failovers(all.iter()), [expected]);
        assert_eq!(last_failovers(all[2..].iter()), []);
    }
}

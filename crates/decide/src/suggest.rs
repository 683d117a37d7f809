//! The smallest single change that would make a VM fit.
//!
//! One rule at a time is relaxed and the decision made again; the first that helps is said, in this order: a longer round
//! trip, a higher cost limit, another region, a region opened for placement, one relation dropped, one host rule dropped,
//! a smaller VM. Compliance and residency are law and are never offered for dropping.

use std::collections::BTreeSet;

use dwcp_state::{Lifecycle, Standing};
use dwcp_types::{Amount, RegionId};

use crate::place::{Ask, Depth, Inputs, PlaceRequest, Placement, choose, search_in};
use crate::refuse::{Closest, is_too_large};
use crate::region_rules::dollars;
use crate::relations::Bounds;
use crate::report::{PlaceReport, Reason, ReasonKind, Suggestion};
use crate::score::Context;
use crate::typed::{create_command, relation_text};
use crate::workers::map;

/// Changes tried; each costs one decision.
const TRIES: usize = 64;

/// A change: what is said, the request after it.
type Change = (String, PlaceRequest);

pub(crate) fn smallest_change(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    report: &PlaceReport,
    closest: Option<&Closest>,
) -> Option<Suggestion> {
    if is_too_large(inputs, request.vm.spec.size) {
        return smaller(request, closest);
    }
    // What concerns whole regions changes nothing of their hosts: one look tells which regions have one for the VM.
    let hosts: [fn(Inputs<'_>, &PlaceRequest) -> Vec<Change>; 2] = [dropped_relation, dropped_host_rule];
    let regions: [fn(Inputs<'_>, &PlaceRequest) -> Vec<Change>; 3] =
        [longer_round_trip, higher_cost, other_region];
    let holders = regions_with_a_host(inputs, request, report);
    let among = Inputs { holders: Some(&holders), ..inputs };
    let regions = if holders.is_empty() { &[] } else { &regions[..] };
    let mut tries = 0;
    let lists = regions.iter().map(|list| (among, list)).chain(hosts.iter().map(|list| (inputs, list)));
    for (inputs, list) in lists {
        let mut list = list(inputs, request);
        let over = list.len() > TRIES - tries;
        list.truncate(TRIES - tries);
        tries += list.len();
        for (change, relaxed) in list {
            if let (Some(place), _) = choose(inputs, &relaxed.ask(), Depth::Answer) {
                return Some(suggestion(change, create_command(&relaxed.vm), place));
            }
        }
        if over {
            return None;
        }
    }
    smaller(request, closest).or_else(|| opened_region(among, request))
}

/// Regions that have a host for the VM, if only the region itself would do. Those that would do were looked into already.
fn regions_with_a_host(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    report: &PlaceReport,
) -> BTreeSet<RegionId> {
    let bounds =
        Bounds::of(inputs.view, inputs.reserved, &request.vm, request.arrives_at.as_ref(), |_, _| true);
    let context = Context::new(inputs.view, inputs.measured, bounds, request.ask());
    let looked_into = |reason: &Reason| reason.kind == ReasonKind::NoHost;
    let others: Vec<&RegionId> = report
        .regions
        .iter()
        .filter(|verdict| !verdict.excluded.as_ref().is_some_and(looked_into))
        .map(|verdict| &verdict.region)
        .collect();
    let has_host = |at: usize| {
        let table = inputs.index.table(others[at])?;
        search_in(inputs, &context, others[at], table).run(false).best
    };
    let found = map(inputs.workers_for(inputs.looks(&context)), others.len(), has_host);
    others
        .into_iter()
        .zip(found)
        .filter(|(_, found)| found.is_some())
        .map(|(region, _)| region.clone())
        .collect()
}

fn suggestion(change: String, command: String, place: Placement) -> Suggestion {
    Suggestion { change, command, region: place.region, host: place.host }
}

fn longer_round_trip(inputs: Inputs<'_>, request: &PlaceRequest) -> Vec<Change> {
    let mut changes: Vec<(u64, Change)> = Vec::new();
    for (at, (users, limit_ms)) in request.vm.rules.max_latency.iter().enumerate() {
        for region in inputs.view.core.regions.keys() {
            let Some(rtt_ms) = inputs.measured.rtt(users, region).filter(|rtt_ms| rtt_ms > limit_ms) else {
                continue;
            };
            let mut relaxed = request.clone();
            relaxed.vm.rules.max_latency[at].1 = rtt_ms;
            let change = format!("allow {rtt_ms} ms to {users} (for {region}) instead of {limit_ms} ms");
            changes.push((rtt_ms - limit_ms, (change, relaxed)));
        }
    }
    changes.sort_by(|a, b| (a.0, &a.1.0).cmp(&(b.0, &b.1.0)));
    changes.into_iter().map(|(_, change)| change).collect()
}

fn higher_cost(inputs: Inputs<'_>, request: &PlaceRequest) -> Vec<Change> {
    let Some(limit) = request.vm.rules.cost_limit_millis else { return Vec::new() };
    let size = request.vm.spec.size;
    let mut costs: Vec<u64> =
        inputs.view.core.regions.values().map(|region| region.monthly_cost_millis(size)).collect();
    costs.sort_unstable();
    costs.dedup();
    costs
        .into_iter()
        .filter(|cost| *cost > limit)
        .map(|cost| {
            let mut relaxed = request.clone();
            relaxed.vm.rules.cost_limit_millis = Some(cost);
            // Rounded up: what is typed must be enough.
            let typed = dollars(cost.next_multiple_of(10));
            let change = format!("raise the cost limit to {typed} a month from {}", dollars(limit));
            (change, relaxed)
        })
        .collect()
}

fn other_region(inputs: Inputs<'_>, request: &PlaceRequest) -> Vec<Change> {
    let rules = &request.vm.rules;
    let mut changes = Vec::new();
    for region in inputs.view.core.regions.keys() {
        let listed = rules.allowed_regions.is_empty() || rules.allowed_regions.contains(region);
        let denied = rules.denied_regions.contains(region);
        let asked = request.only_regions.as_ref().is_none_or(|only| only.contains(region));
        let mut relaxed = request.clone();
        let change = match (listed, denied, asked) {
            (false, false, true) => {
                relaxed.vm.rules.allowed_regions.insert(region.clone());
                format!("allow the region {region}")
            }
            (true, true, true) => {
                relaxed.vm.rules.denied_regions.remove(region);
                format!("no longer deny the region {region}")
            }
            (true, false, false) => {
                relaxed.only_regions.get_or_insert_default().insert(region.clone());
                format!("ask for {region} as well")
            }
            _ => continue,
        };
        changes.push((change, relaxed));
    }
    changes
}

fn dropped_relation(_: Inputs<'_>, request: &PlaceRequest) -> Vec<Change> {
    let mut changes = Vec::new();
    let rules = &request.vm.rules;
    for (at, relation) in rules.anti_affinity.iter().enumerate() {
        let mut relaxed = request.clone();
        relaxed.vm.rules.anti_affinity.remove(at);
        changes.push((format!("drop the rule to be away from {}", relation_text(relation)), relaxed));
    }
    for (at, relation) in rules.affinity.iter().enumerate() {
        let mut relaxed = request.clone();
        relaxed.vm.rules.affinity.remove(at);
        changes.push((format!("drop the rule to be near {}", relation_text(relation)), relaxed));
    }
    changes
}

fn dropped_host_rule(_: Inputs<'_>, request: &PlaceRequest) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut add = |what: &str, relax: fn(&mut dwcp_state::Rules)| {
        let mut relaxed = request.clone();
        relax(&mut relaxed.vm.rules);
        if relaxed != *request {
            changes.push((format!("drop {what}"), relaxed));
        }
    };
    add("the required zones", |rules| rules.zones.clear());
    add("the required host labels", |rules| rules.host_labels.clear());
    add("the denied hosts", |rules| rules.denied_hosts.clear());
    add("the required hosts", |rules| rules.hosts.clear());
    changes
}

/// Less of as few dimensions as possible, down to what the host that comes closest has free.
fn smaller(request: &PlaceRequest, closest: Option<&Closest>) -> Option<Suggestion> {
    let need = request.vm.spec.size;
    let (region, host, free) = closest?;
    let size = Amount {
        vcpus: need.vcpus.min(free.vcpus),
        memory_mib: need.memory_mib.min(free.memory_mib),
        disk_gib: need.disk_gib.min(free.disk_gib),
    };
    // A VM without a processor or memory is none.
    if size.vcpus == 0 || size.memory_mib == 0 || size == need {
        return None;
    }
    let mut parts = Vec::new();
    if size.vcpus < need.vcpus {
        parts.push(format!("{} vCPUs instead of {}", size.vcpus, need.vcpus));
    }
    if size.memory_mib < need.memory_mib {
        parts.push(format!("{} MiB of memory instead of {}", size.memory_mib, need.memory_mib));
    }
    if size.disk_gib < need.disk_gib {
        parts.push(format!("{} GiB of disk instead of {}", size.disk_gib, need.disk_gib));
    }
    let mut vm = request.vm.clone();
    vm.spec.size = size;
    let change = format!("ask for {}", parts.join(" and "));
    Some(Suggestion { change, command: create_command(&vm), region: region.clone(), host: host.clone() })
}

/// A region that only an operator's switch keeps out.
fn opened_region(inputs: Inputs<'_>, request: &PlaceRequest) -> Option<Suggestion> {
    for region in inputs.view.core.regions.values() {
        if region.takes_placements() || region.standing == Standing::Lost || !region.holds_replicas() {
            continue;
        }
        let ask = Ask { opened: Some(&region.id), ..request.ask() };
        if let (Some(place), _) = choose(inputs, &ask, Depth::Answer) {
            let verb = if region.lifecycle == Lifecycle::Active && region.standing == Standing::Present {
                "enable-placement"
            } else {
                "enable"
            };
            let command = format!("dwcp-cli federation region {verb} --region {}", region.id);
            return Some(suggestion(format!("open {} for placement", region.id), command, place));
        }
    }
    None
}

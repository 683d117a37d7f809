//! What names in requests stand for, and how old the facts behind an answer are.

use dwcp_api::{Freshness, Problem};
use dwcp_state::{Departure, FEDERATION_GROUP, HostStanding, Region, RegionFacts, Vm, Want};
use dwcp_types::{Code, FailoverId, GroupId, NodeId, OperationId, Refusal, RegionId, VmId};

use crate::handle::View;

/// A node that was not heard for so long counts as silent, ms.
pub const SILENT_MS: u64 = 2_000;
/// Facts older than this say nothing certain about what runs now, ms.
pub const STALE_MS: u64 = 10_000;

/// How old the facts of the federation and of every region are here.
pub fn as_of(view: &View<'_>) -> Vec<Freshness> {
    let mut list = vec![freshness(view, FEDERATION_GROUP, "federation")];
    for (number, region) in view.node.regions() {
        list.push(freshness(view, *number, region.as_str()));
    }
    list
}

/// How old the facts of the federation and of one region are here.
pub fn as_of_region(view: &View<'_>, region: &RegionId) -> Vec<Freshness> {
    let wanted = ["federation", region.as_str()];
    as_of(view).into_iter().filter(|line| wanted.contains(&line.region.as_str())).collect()
}

/// How old the federation's own facts are here.
pub fn as_of_federation(view: &View<'_>) -> Vec<Freshness> {
    vec![freshness(view, FEDERATION_GROUP, "federation")]
}

fn freshness(view: &View<'_>, group: GroupId, region: &str) -> Freshness {
    Freshness {
        region: region.to_owned(),
        age_ms: view.node.facts_age_ms(group),
        revision: view.node.facts().revision(group).0,
    }
}

/// How long a region's node has been silent here, ms; 0 for this one.
pub fn silent_ms(view: &View<'_>, node: NodeId) -> u64 {
    if node == view.node.config().me { 0 } else { view.node.silent_ms(node) }
}

/// Whether a region's node is heard.
pub fn is_heard(view: &View<'_>, node: NodeId) -> bool {
    if node == view.node.config().me {
        return true;
    }
    view.node.peers().get(&node).is_some_and(|peer| peer.beat.is_some() && silent_ms(view, node) < SILENT_MS)
}

/// The name of the region whose node leads a group.
pub fn leader(view: &View<'_>, group: GroupId) -> Option<String> {
    let leader = view.node.group(group)?.leader?;
    view.node.region_name(leader).map(|region| region.as_str().to_owned())
}

/// A region by name: its record and its facts.
pub fn region<'a>(view: &View<'a>, name: &str) -> Result<(&'a Region, &'a RegionFacts), Problem> {
    let id = RegionId::from(name);
    let facts = view.node.facts();
    match (facts.core.regions.get(&id), facts.regions.get(&id)) {
        (Some(record), Some(facts)) => Ok((record, facts)),
        _ => Err(unknown_region(name)),
    }
}

/// The region of that name does not exist.
pub fn unknown_region(name: &str) -> Problem {
    Problem::from(
        &Refusal::new(Code::UnknownRegion, format!("no region {name}"))
            .try_this("dwcp-cli federation status --global"),
    )
}

/// A VM where it lives, or on its way from there.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub region: &'a RegionId,
    pub vm: &'a Vm,
    /// Set while it is on its way to another region.
    pub departure: Option<&'a Departure>,
}

/// A VM by id or name. One that is being deleted is found by its name only when no other has it.
pub fn vm<'a>(view: &View<'a>, name: &str) -> Result<Found<'a>, Problem> {
    let facts = view.node.facts();
    if let Ok(id) = name.parse::<VmId>() {
        if let Some(found) = vm_by_id(view, id) {
            return Ok(found);
        }
    }
    let named = |found: &Found<'_>| found.vm.name == name;
    let mut all: Vec<Found<'a>> = facts
        .regions
        .values()
        .filter_map(|of| of.vm_named(name).map(|vm| Found { region: &of.name, vm, departure: None }))
        .collect();
    if all.is_empty() {
        all = every_vm(view).filter(named).collect();
    }
    match all.as_slice() {
        [] => Err(unknown_vm(name)),
        [one] => Ok(*one),
        several => {
            let mut refusal =
                Refusal::new(Code::AmbiguousName, format!("{} VMs are named {name}", several.len()));
            for found in several {
                refusal = refusal.because(format!("{} in {}", found.vm.id, found.region));
            }
            Err(Problem::from(&refusal))
        }
    }
}

/// A VM by id.
pub fn vm_by_id<'a>(view: &View<'a>, id: VmId) -> Option<Found<'a>> {
    let facts = view.node.facts();
    if let Some((region, vm)) = facts.vm(id) {
        return Some(Found { region, vm, departure: None });
    }
    facts.regions.values().find_map(|of| {
        let departure = of.departures.get(&id)?;
        Some(Found { region: &of.name, vm: &departure.vm, departure: Some(departure) })
    })
}

/// Every VM once: a departure counts only while no region has its VM.
pub fn every_vm<'a>(view: &View<'a>) -> impl Iterator<Item = Found<'a>> {
    let facts = view.node.facts();
    let placed = facts.vms().map(|(region, vm)| Found { region, vm, departure: None });
    let leaving = facts.regions.values().flat_map(move |of| {
        of.departures
            .values()
            .filter(move |departure| facts.vm(departure.vm.id).is_none())
            .map(|departure| Found { region: &of.name, vm: &departure.vm, departure: Some(departure) })
    });
    placed.chain(leaving)
}

/// The VM of that name or id does not exist.
pub fn unknown_vm(name: &str) -> Problem {
    Problem::from(&Refusal::new(Code::UnknownVm, format!("no VM {name}")).try_this("dwcp-cli vm list"))
}

/// VMs that live in a region: those placed there, and those that left it and arrived nowhere yet. Copies of drills do not
/// count.
pub fn vms_in(view: &View<'_>, facts: &RegionFacts) -> u64 {
    let all = view.node.facts();
    let departures = facts.departures.values().filter(|leaving| all.vm(leaving.vm.id).is_none());
    let leaving = departures.filter(|leaving| leaving.vm.drill.is_none()).count();
    (facts.vms.values().filter(|vm| vm.drill.is_none()).count() + leaving) as u64
}

/// Whether what a region's facts say of running VMs is recent enough to be believed.
pub fn is_known(view: &View<'_>, facts: &RegionFacts) -> bool {
    view.node.facts_age_ms(facts.number).is_some_and(|age_ms| age_ms <= STALE_MS)
}

/// Whether a VM's host is heard, as far as is known here.
pub fn host_is_up(view: &View<'_>, found: &Found<'_>) -> bool {
    let Some(facts) = view.node.facts().regions.get(found.region) else { return false };
    is_known(view, facts)
        && facts.hosts.get(&found.vm.host).is_none_or(|host| host.standing == HostStanding::Up)
        && facts.evacuation.is_none()
}

/// An operation's id, directly or by the failover it carries out.
pub fn operation_id(view: &View<'_>, text: &str) -> Result<OperationId, Problem> {
    let unknown = || {
        let refusal = Refusal::new(Code::UnknownOperation, format!("no operation {text}"));
        Problem::from(&refusal.try_this("dwcp-cli operation list"))
    };
    if let Ok(id) = text.parse::<OperationId>() {
        return Ok(id);
    }
    let failover = text.parse::<FailoverId>().map_err(|_| unknown())?;
    view.node.facts().core.failovers.get(&failover).map(|failover| failover.operation).ok_or_else(unknown)
}

/// Whether a VM is wanted at all.
pub fn is_wanted(vm: &Vm) -> bool {
    vm.want != Want::Deleted
}

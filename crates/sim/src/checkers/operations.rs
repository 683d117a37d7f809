//! Nothing stays open: operations and failovers end, VMs that should serve do, nobody is on the way for ever.

use dwcp_roles::node::Node;
use dwcp_state::{FailoverState, Federation, OperationState, RegionFacts, Standing, Want};
use dwcp_types::{RegionId, VmId};

use crate::world::World;

pub(super) fn settled(world: &World) -> Result<(), String> {
    let Some(node) = world.nodes.values().find_map(|slot| slot.node.as_ref()) else {
        return Err("no node".into());
    };
    let facts = node.facts();
    if facts.core.regions.is_empty() {
        return Err("the federation is not founded".into());
    }
    failovers(node)?;
    if let Some(region) = facts.core.regions.values().find(|region| region.standing == Standing::Lost) {
        return Err(format!("{} is still lost", region.id));
    }
    if let Some(open) = facts.core.operations.values().find(|op| op.state == OperationState::Running) {
        return Err(format!("{} ({}) is still running", open.id, open.title));
    }
    for (name, region) in &facts.regions {
        moves(facts, name, region)?;
        if region.evacuation.is_some() {
            return Err(format!("{name} is still being evacuated"));
        }
        if let Some(open) = region.operations.values().find(|op| op.state == OperationState::Running) {
            return Err(format!("{} ({}) is still running", open.id, open.title));
        }
        if let Some(vm) = region.vms.values().find(|vm| vm.want == Want::Deleted) {
            return Err(format!("{} is still being deleted", vm.id));
        }
        if let Some(vm) = region.vms.values().find(|vm| vm.want == Want::Running && !vm.serves()) {
            let (seen, phase) = (vm.observed.generation.0, vm.observed.phase);
            return Err(format!(
                "{} on {} should serve: generation {} (seen {seen} {phase:?})",
                vm.id, vm.host, vm.generation.0
            ));
        }
        for vm in region.vms.values().filter(|vm| vm.want == Want::Running) {
            let host = world.hosts.iter().find(|host| host.name == vm.host);
            let process = host.and_then(|host| host.processes.get(&vm.id));
            if process.is_none_or(|process| !process.runs() || process.generation != vm.generation.0) {
                return Err(format!("{} is said to serve on {} and does not", vm.id, vm.host));
            }
        }
    }
    leftovers(world, facts)
}

/// No failover goes on.
fn failovers(node: &Node) -> Result<(), String> {
    let facts = node.facts();
    if let Some(failover) = facts.core.failovers.values().find(|f| f.state == FailoverState::Running) {
        let phases: Vec<String> = failover.phases.iter().map(|span| format!("{:?}", span.name)).collect();
        let open: Vec<String> = node
            .progress_of(failover)
            .iter()
            .filter(|vm| vm.state != dwcp_state::MoveState::Verified)
            .map(|vm| {
                format!(
                    "{} {:?} for generation {}, {}",
                    vm.vm,
                    vm.state,
                    vm.generation.0,
                    whereabouts(facts, vm.vm)
                )
            })
            .collect();
        let left = facts.regions.get(&failover.from).map_or(0, |region| region.vms.len());
        return Err(format!(
            "{} of {} is running: phases {}; open VMs {}; {left} VMs still there",
            failover.id,
            failover.from,
            phases.join(" "),
            open.join(", ")
        ));
    }
    Ok(())
}

/// Nothing of a region is on its way.
fn moves(facts: &Federation, name: &RegionId, region: &RegionFacts) -> Result<(), String> {
    if let Some(departure) = region.departures.values().next() {
        return Err(format!("{} is still on its way from {name} to {}", departure.vm.id, departure.to));
    }
    if let Some(open) = region.migrations.values().next() {
        return Err(format!(
            "{} of {} to {} is still {}; {}",
            open.id,
            open.vm,
            open.to,
            open.state.name(),
            whereabouts(facts, open.vm)
        ));
    }
    if let Some(arrival) = region.arrivals.values().next() {
        return Err(format!(
            "{} is still expected in {name} from {} with generation {}, migration {}; {}",
            arrival.vm.id,
            arrival.from,
            arrival.vm.generation.0,
            arrival.migration,
            whereabouts(facts, arrival.vm.id)
        ));
    }
    Ok(())
}

/// No host runs what the records do not give it.
fn leftovers(world: &World, facts: &Federation) -> Result<(), String> {
    for host in &world.hosts {
        for (vm, process) in &host.processes {
            let owned = facts
                .vm(*vm)
                .is_some_and(|(_, vm)| vm.host == host.name && vm.generation.0 == process.generation);
            if !owned {
                return Err(format!("{} still has {vm} generation {}", host.name, process.generation));
            }
        }
    }
    Ok(())
}

/// Where the records say that a VM is.
fn whereabouts(facts: &Federation, vm: VmId) -> String {
    if let Some((region, record)) = facts.vm(vm) {
        let (generation, seen, phase) =
            (record.generation.0, record.observed.generation.0, record.observed.phase);
        return format!("in {region} on {}: generation {generation} (seen {seen} {phase:?})", record.host);
    }
    let departing =
        facts.regions.iter().find_map(|(region, known)| Some((region, known.departures.get(&vm)?)));
    let Some((from, departure)) = departing else {
        let barred = facts.regions.iter().filter(|(_, of)| of.barred(vm).0 > 0);
        let barred: Vec<String> =
            barred.map(|(name, of)| format!("{name} up to {}", of.barred(vm).0)).collect();
        return format!("nowhere; barred in {}", barred.join(", "));
    };
    let generation = departure.vm.generation.0;
    let target = facts.regions.get(&departure.to);
    let barred = target.map_or(0, |target| target.barred(vm).0);
    let declined = target.and_then(|target| target.declined.get(&vm));
    let why = declined.map_or(String::new(), |(_, reason)| format!(": {reason}"));
    format!(
        "from {from} to {} under generation {generation}, which refuses up to {barred}{why}",
        departure.to
    )
}

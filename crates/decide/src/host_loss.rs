//! Plans where the VMs of lost hosts go: within the region if they can.

use std::collections::BTreeSet;

use dwcp_state::Federation;
use dwcp_types::{Generation, HostId, RegionId, VmId};

use crate::failover::{PlannedMove, move_elsewhere};
use crate::planner::{Planner, alive};
use crate::{Measured, failover};

/// Where the VMs of lost hosts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLossPlan {
    /// Within the region, most important first: VM, the generation it has now, its new host.
    pub moves: Vec<(VmId, Generation, HostId)>,
    /// To other regions, because the region has no place for them.
    pub elsewhere: Vec<PlannedMove>,
    /// Without a place anywhere, with the reason.
    pub left: Vec<PlannedMove>,
}

/// Plans where the VMs of lost hosts go: to the same zone if one of its hosts will do, else to another zone, else to
/// another region (not those whose policy says to stay). A region under evacuation has a failover's plan instead.
pub fn plan_host_loss(
    view: &Federation,
    measured: &Measured,
    region: &RegionId,
    lost: &BTreeSet<HostId>,
) -> HostLossPlan {
    let mut plan = HostLossPlan::default();
    let Some(facts) = view.regions.get(region).filter(|facts| facts.evacuation.is_none()) else {
        return plan;
    };
    let mut planner = Planner::new(view, measured, std::slice::from_ref(region), Some(lost));
    for vm in alive(facts.vms.values().filter(|vm| lost.contains(&vm.host) && facts.moving(vm.id).is_none()))
    {
        // Its disk was on that host: it goes on where its copy is, or waits for that.
        if vm.usable_replica().is_some() {
            let step = move_elsewhere(&mut planner, vm, None);
            let list = if step.to.is_some() { &mut plan.elsewhere } else { &mut plan.left };
            list.push(step);
            continue;
        }
        let zone = facts.hosts.get(&vm.host).map(|host| &host.facts.zone);
        let here = match planner.within(region, vm, zone) {
            Ok(host) => {
                plan.moves.push((vm.id, vm.generation, host));
                continue;
            }
            Err(reason) => reason,
        };
        let mut step = move_elsewhere(&mut planner, vm, None);
        step.reason = format!("no place in {region} ({here}); {}", step.reason);
        if vm.rules.stay_on_loss {
            step.reason = format!("no place in {region} ({here}); {}", failover::STAYS);
        }
        let list = if step.to.is_some() { &mut plan.elsewhere } else { &mut plan.left };
        list.push(step);
    }
    plan
}

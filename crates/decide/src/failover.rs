//! Plans where the VMs of a lost region go.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{DiskProof, Federation, Vm, Want};
use dwcp_types::{Code, Generation, HostId, Priority, Refusal, RegionId, VmId};

use crate::Measured;
use crate::planner::{Planner, alive, nowhere_text};

/// What a failover may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverLimits {
    /// Only to these regions, when not empty.
    pub to: Vec<RegionId>,
    /// Only VMs of at least this priority; the others are not in the plan.
    pub min_priority: Option<Priority>,
    /// Move what fits even when not everything does.
    pub partial: bool,
    /// Only these VMs, when not empty; otherwise all but copies that were made for a drill.
    pub only: BTreeSet<VmId>,
}

/// One VM of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Which.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// How much it matters.
    pub priority: Priority,
    /// Where it was.
    pub from_host: HostId,
    /// The generation it has now.
    pub generation: Generation,
    /// The generation it will have elsewhere.
    pub next: Generation,
    /// Where it goes; none: it is left.
    pub to: Option<(RegionId, HostId)>,
    /// Why there, or why nowhere.
    pub reason: String,
    /// What it has of its disk there.
    pub disk: DiskProof,
}

/// Where the VMs of a lost region go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverPlan {
    /// Most important first; by priority, then size, then id.
    pub moves: Vec<PlannedMove>,
    /// An estimate of the time from the cut to the last VM's answer, in milliseconds.
    pub predicted_rto_ms: u64,
    /// What the moved VMs cost more (or less) a month, in thousandths of a dollar.
    pub monthly_cost_delta_millis: i64,
    /// VMs without a place, those that stay by their own rule among them.
    pub left: usize,
    /// Of those, VMs that stay by their own rule.
    pub stay: usize,
}

/// Times of the estimate, in milliseconds: agreement, lease run out with drift, one boot, and one more VM on a host.
const AGREE_MS: u64 = 600;
const FENCE_MS: u64 = 3_300;
pub(crate) const BOOT_MS: u64 = 3_000;
const NEXT_VM_MS: u64 = 150;

impl FailoverPlan {
    /// Refuses a plan that leaves VMs behind, unless `limits` allow a part.
    pub fn refusal(&self, from: &RegionId, limits: &FailoverLimits) -> Option<Refusal> {
        let blocked = self.left - self.stay;
        if blocked == 0 || limits.partial {
            return None;
        }
        let what = format!("{from} can't be failed over as a whole");
        let mut refusal = Refusal::new(Code::FailoverRefused, what)
            .because(format!("{blocked} of {} VMs have no place elsewhere", self.moves.len()));
        let left = self.moves.iter().filter(|step| step.to.is_none() && step.reason != STAYS);
        for step in left.take(5) {
            refusal = refusal.because(format!("{} ({}): {}", step.name, step.priority, step.reason));
        }
        let command = "dwcp-cli federation failover --from-region";
        Some(refusal.try_this(format!("{command} {from} --relax partial")))
    }
}

pub(crate) const STAYS: &str = "its policy says to stay when its region is lost";

/// Plans where the VMs of a region go when it is lost: all that are not being deleted (stopped ones keep being stopped),
/// the most important first, each to the best survivor that its rules allow and that has room left by then.
///
/// Cost limits do not count and an unhealthy region is better than none; residency, compliance, allowed regions, relations
/// and round-trip limits hold. Users are taken to be near the lost region.
///
/// One VM after the other: each takes room that the next one's scores are made of. What could be worked out ahead for many
/// at once, their rules, is a fifth of the work.
pub fn plan_failover(
    view: &Federation,
    measured: &Measured,
    from: &RegionId,
    limits: &FailoverLimits,
) -> FailoverPlan {
    let mut plan = FailoverPlan::default();
    let Some(facts) = view.regions.get(from) else { return plan };
    let mut planner = Planner::new(view, measured, std::slice::from_ref(from), None);
    let only: Option<BTreeSet<RegionId>> =
        (!limits.to.is_empty()).then(|| limits.to.iter().cloned().collect());
    let mut on_host: BTreeMap<(RegionId, HostId), u64> = BTreeMap::new();
    // A VM that is being moved goes where it may run already, and nowhere else.
    let moves = |vm: &&Vm| {
        limits.min_priority.is_none_or(|least| vm.priority >= least)
            && if limits.only.is_empty() { vm.drill.is_none() } else { limits.only.contains(&vm.id) }
            && facts.moving(vm.id).is_none()
    };
    for vm in alive(facts.vms.values().filter(moves)) {
        let step = move_elsewhere(&mut planner, vm, only.as_ref());
        match &step.to {
            Some(place) => {
                plan.monthly_cost_delta_millis += cost_delta(view, from, &place.0, vm);
                if vm.want == Want::Running {
                    *on_host.entry(place.clone()).or_default() += 1;
                }
            }
            None => {
                plan.left += 1;
                plan.stay += usize::from(vm.rules.stay_on_loss);
            }
        }
        plan.moves.push(step);
    }
    let busiest = on_host.values().max().copied().unwrap_or(0);
    if busiest > 0 {
        plan.predicted_rto_ms =
            view.core.policy.loss_after_ms + AGREE_MS + FENCE_MS + BOOT_MS + (busiest - 1) * NEXT_VM_MS;
    }
    plan
}

pub(crate) fn move_elsewhere(
    planner: &mut Planner<'_>,
    vm: &Vm,
    only: Option<&BTreeSet<RegionId>>,
) -> PlannedMove {
    let at_copy = if vm.rules.stay_on_loss { None } else { planner.at_replica(vm, only) };
    let disk = vm.disk_proof();
    let found = match at_copy {
        Some(found) => found.map_err(|(_, why)| why),
        None if vm.rules.stay_on_loss => Err(STAYS.to_string()),
        None => planner.elsewhere(0, vm, only).map_err(|regions| nowhere_text(&regions)),
    };
    let (to, mut reason) = match found {
        Ok((region, host, reason)) => (Some((region, host)), reason),
        Err(reason) => (None, reason),
    };
    let lost = planner.lost_in_mid_copy(vm);
    if (vm.is_protected() || lost.is_some()) && disk == DiskProof::Unprotected && to.is_some() {
        reason = format!("{reason}; it starts with a new disk: no whole copy of its own is there");
    }
    if let Some(lost) = lost {
        reason = format!("it was moving to {} and not all of it was there; {reason}", lost.to);
    }
    PlannedMove {
        vm: vm.id,
        name: vm.name.clone(),
        priority: vm.priority,
        from_host: vm.host.clone(),
        generation: vm.generation,
        next: vm.next_generation(),
        to,
        reason,
        disk,
    }
}

fn cost_delta(view: &Federation, from: &RegionId, to: &RegionId, vm: &Vm) -> i64 {
    let cost = |region: &RegionId| {
        let millis =
            view.core.regions.get(region).map_or(0, |region| region.monthly_cost_millis(vm.spec.size));
        i64::try_from(millis).unwrap_or(i64::MAX)
    };
    cost(to).saturating_sub(cost(from))
}

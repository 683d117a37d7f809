//! A failover as the API shows it.

use dwcp_api::failover::{
    Failover as ApiFailover, FailoverState as ApiState, FailoverVm as ApiVm, FailoverVmState, Phase,
    PhaseName as ApiPhase, Rpo, Trigger as ApiTrigger,
};
use dwcp_api::operation::{Step, StepState};
use dwcp_decide::{FailoverPlan, PlannedMove};
use dwcp_roles::node::FailoverRequest;
use dwcp_state::{Failover, FailoverState, FailoverVm, MoveState, Phase as VmPhase, PhaseName, Trigger};

use crate::handle::View;

const PHASES: [(PhaseName, ApiPhase, &str); 6] = [
    (PhaseName::Detect, ApiPhase::Detect, "detect"),
    (PhaseName::Agree, ApiPhase::Agree, "agree"),
    (PhaseName::Fence, ApiPhase::Fence, "fence"),
    (PhaseName::Plan, ApiPhase::Plan, "plan"),
    (PhaseName::Restart, ApiPhase::Restart, "restart"),
    (PhaseName::Verify, ApiPhase::Verify, "verify"),
];

/// A failover as the API shows it.
pub fn show(view: &View<'_>, failover: &Failover) -> ApiFailover {
    let vms = view.node.progress_of(failover);
    let count = |state: MoveState| vms.iter().filter(|vm| vm.state == state).count() as u64;
    let mut to: Vec<String> = failover.to.iter().map(|region| region.as_str().to_owned()).collect();
    if to.is_empty() {
        let chosen: std::collections::BTreeSet<_> =
            vms.iter().filter_map(|vm| vm.to_region.as_ref()).collect();
        to = chosen.into_iter().map(|region| region.as_str().to_owned()).collect();
    }
    ApiFailover {
        failover: failover.id.to_string(),
        operation: Some(failover.operation.to_string()),
        from: failover.from.as_str().to_owned(),
        to,
        trigger: match failover.trigger {
            Trigger::Automatic => ApiTrigger::Automatic,
            Trigger::Manual => ApiTrigger::Manual,
        },
        state: match failover.state {
            FailoverState::Running => ApiState::Running,
            FailoverState::Done => ApiState::Done,
            FailoverState::Partial => ApiState::Partly,
            FailoverState::Cancelled => ApiState::Cancelled,
        },
        phases: phases(view, failover),
        total: vms.len() as u64,
        done: count(MoveState::Verified),
        left: count(MoveState::Left),
        failed: count(MoveState::Failed),
        rto_ms: Some(failover.rto_ms(view.now.wall)),
        predicted_rto_ms: None,
        rto_final: failover.ended_at.is_some(),
        rpo: rpo(view, failover),
        cost_change_usd_cents_month: cost_change(view, failover, &vms),
        started_at_ms: failover.first_missed_at.0,
        ended_at_ms: failover.ended_at.map(|at| at.0),
        by: failover.by.clone(),
        vms: vms.iter().map(|vm| show_vm(view, failover, vm)).collect(),
    }
}

fn show_vm(view: &View<'_>, failover: &Failover, vm: &FailoverVm) -> ApiVm {
    let began =
        view.node.facts().vm(vm.vm).filter(|(region, found)| {
            **region != failover.from && found.observed.generation == found.generation
        });
    let state = match (vm.state, began.map(|(_, found)| found.observed.phase)) {
        (MoveState::Verified, _) => FailoverVmState::Verified,
        (MoveState::Left, _) => FailoverVmState::Left,
        (MoveState::Failed, _) => FailoverVmState::Failed,
        (MoveState::Waiting, Some(VmPhase::Running)) => FailoverVmState::Running,
        (MoveState::Waiting, Some(VmPhase::Pending | VmPhase::Starting)) => FailoverVmState::Starting,
        (MoveState::Waiting, _) => FailoverVmState::Waiting,
    };
    ApiVm {
        vm: vm.vm.to_string(),
        name: vm.name.clone(),
        from_host: (!vm.from_host.as_str().is_empty()).then(|| vm.from_host.as_str().to_owned()),
        to_region: vm.to_region.as_ref().map(|region| region.as_str().to_owned()),
        to_host: vm.to_host.as_ref().map(|host| host.as_str().to_owned()),
        state,
        reason: vm.reason.clone(),
        took_ms: vm.verified_at.map(|at| at.ms_since(failover.first_missed_at)),
        rpo: vm.disk.text(failover.first_missed_at),
    }
}

/// All phases in their order; the one that runs has a time too.
fn phases(view: &View<'_>, failover: &Failover) -> Vec<Phase> {
    let mut phases = Vec::new();
    let mut running = failover.state == FailoverState::Running;
    for (name, shown, _) in PHASES {
        let span = failover.phases.iter().find(|span| span.name == name);
        phases.push(match span {
            Some(span) => Phase {
                name: shown,
                started_at_ms: Some(span.started_at.0),
                ended_at_ms: Some(span.ended_at.0),
                took_ms: Some(span.ended_at.ms_since(span.started_at)),
            },
            None if running => {
                running = false;
                let started = failover.last_phase_end();
                Phase {
                    name: shown,
                    started_at_ms: Some(started.0),
                    ended_at_ms: None,
                    took_ms: Some(view.now.wall.ms_since(started)),
                }
            }
            None => Phase { name: shown, started_at_ms: None, ended_at_ms: None, took_ms: None },
        });
    }
    phases
}

/// The phases as steps of the operation.
pub fn steps(view: &View<'_>, failover: &Failover, vms: &[FailoverVm]) -> Vec<Step> {
    let verified = vms.iter().filter(|vm| vm.state == MoveState::Verified).count() as u64;
    phases(view, failover)
        .into_iter()
        .zip(PHASES)
        .map(|(phase, (name, _, text))| {
            let state = match (phase.started_at_ms, phase.ended_at_ms) {
                (_, Some(_)) => StepState::Done,
                (Some(_), None) => StepState::Running,
                (None, None) if failover.state == FailoverState::Running => StepState::Waiting,
                (None, None) => StepState::Skipped,
            };
            let counts_vms = name >= PhaseName::Restart;
            let whole = if counts_vms { vms.len() as u64 } else { 1 };
            let done = if counts_vms { verified } else { u64::from(state == StepState::Done) };
            Step {
                name: text.to_owned(),
                state,
                done,
                total: Some(whole),
                note: String::new(),
                took_ms: phase.took_ms,
            }
        })
        .collect()
}

/// What follows about acknowledged writes once a survivor leads the region's group and has ended its leases.
fn rpo(view: &View<'_>, failover: &Failover) -> Rpo {
    let fenced = failover.phases.iter().any(|span| span.name == PhaseName::Fence);
    let group = view.node.facts().group_of(&failover.from).and_then(|group| view.node.group(group));
    match group {
        Some(status) if fenced => Rpo {
            acknowledged_writes_lost: Some(0),
            evidence: format!(
                "a survivor leads the region's log in term {} and has committed up to {}; a write is acknowledged only \
                 once a majority of {} voters holds it, and no other leader can be elected. what each \
                 VM has of its own disk stands beside it",
                status.term,
                status.commit,
                status.voters.len()
            ),
        },
        _ => Rpo {
            acknowledged_writes_lost: None,
            evidence: "not proven before a survivor leads the region's log and its leases have ended"
                .to_owned(),
        },
    }
}

/// What moving changes a month in US cents; none while a VM's place or price is not known.
fn cost_change(view: &View<'_>, failover: &Failover, vms: &[FailoverVm]) -> Option<i64> {
    let core = &view.node.facts().core;
    let from = core.regions.get(&failover.from)?;
    let mut millis = 0i64;
    for vm in vms.iter().filter(|vm| vm.state != MoveState::Left) {
        let to = core.regions.get(vm.to_region.as_ref()?)?;
        let size = super::names::vm_by_id(view, vm.vm)?.vm.spec.size;
        let cost =
            |region: &dwcp_state::Region| i64::try_from(region.monthly_cost_millis(size)).unwrap_or(i64::MAX);
        millis = millis.saturating_add(cost(to).saturating_sub(cost(from)));
    }
    Some(millis / 10)
}

/// A plan as the failover that it would be.
pub fn planned(view: &View<'_>, request: &FailoverRequest, plan: &FailoverPlan, by: &str) -> ApiFailover {
    let vm = |step: &PlannedMove| ApiVm {
        vm: step.vm.to_string(),
        name: step.name.clone(),
        from_host: (!step.from_host.as_str().is_empty()).then(|| step.from_host.as_str().to_owned()),
        to_region: step.to.as_ref().map(|(region, _)| region.as_str().to_owned()),
        to_host: step.to.as_ref().map(|(_, host)| host.as_str().to_owned()),
        state: if step.to.is_some() { FailoverVmState::Waiting } else { FailoverVmState::Left },
        reason: step.reason.clone(),
        took_ms: None,
        rpo: step.disk.text(view.now.wall),
    };
    let chosen: std::collections::BTreeSet<_> = plan
        .moves
        .iter()
        .filter_map(|step| step.to.as_ref().map(|(region, _)| region.as_str().to_owned()))
        .collect();
    ApiFailover {
        failover: "failover-plan".to_owned(),
        operation: None,
        from: request.from.as_str().to_owned(),
        to: chosen.into_iter().collect(),
        trigger: ApiTrigger::Manual,
        state: ApiState::Planned,
        phases: Vec::new(),
        vms: plan.moves.iter().map(vm).collect(),
        total: plan.moves.len() as u64,
        done: 0,
        left: plan.left as u64,
        failed: 0,
        rto_ms: None,
        predicted_rto_ms: (plan.predicted_rto_ms > 0).then_some(plan.predicted_rto_ms),
        rto_final: false,
        rpo: Rpo { acknowledged_writes_lost: None, evidence: "only a plan".to_owned() },
        cost_change_usd_cents_month: Some(plan.monthly_cost_delta_millis / 10),
        started_at_ms: view.now.wall.0,
        ended_at_ms: None,
        by: by.to_owned(),
    }
}

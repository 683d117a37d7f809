//! Evening out how full hosts or regions are.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::Problem;
use dwcp_api::migration::{MovesStarted, Rebalance as Endpoint, RebalanceRequest};
use dwcp_decide::{Rebalance, RebalancePlan, plan_rebalance};
use dwcp_roles::node::DrainStep;
use dwcp_state::MigrationState;
use dwcp_types::{RegionId, VmId};

use super::call::{Call, bad_value, reason, stopping};
use super::moves::{Moves, answer, carry_out, downtime};
use super::names;
use super::outlook::Worse;
use super::routes::Serve;
use crate::handle::View;

/// VMs that move unless something else is asked for.
const MOVES: u32 = 10;
/// A VM that has moved stays where it is for this long unless something else is asked for, ms.
const REST_MS: u64 = 1_800_000;

fn asked(view: &View<'_>, request: &RebalanceRequest) -> Result<Rebalance, Problem> {
    let within = match &request.region {
        Some(name) => Some(names::region(view, name)?.0.id.clone()),
        None => None,
    };
    let max_moves = match request.max_moves.unwrap_or(MOVES) {
        count @ 1..=10_000 => count as usize,
        _ => return Err(bad_value("max_moves", "1 to 10000")),
    };
    let rest_ms = request.rest_ms.unwrap_or(REST_MS);
    let max_mib = match request.max_mib {
        Some(0) => return Err(bad_value("max_mib", "above 0")),
        given => given.unwrap_or(u64::MAX),
    };
    Ok(Rebalance { within, max_moves, max_mib, rested: rested(view, rest_ms) })
}

/// VMs that have moved within this time.
fn rested(view: &View<'_>, rest_ms: u64) -> BTreeSet<VmId> {
    let ended = view.node.facts().regions.values().flat_map(|facts| &facts.migrated);
    ended
        .filter(|migration| migration.state == MigrationState::Done)
        .filter(|migration| migration.ended_at.is_some_and(|at| view.now.wall.ms_since(at) < rest_ms))
        .map(|migration| migration.vm)
        .collect()
}

fn notes(asked: &Rebalance, plan: &RebalancePlan) -> Vec<String> {
    let of = asked.within.as_ref().map_or("regions".to_owned(), |region| format!("hosts of {region}"));
    let percent = |(least, most): (u64, u64)| format!("{} to {} %", least / 10, most / 10);
    let now = format!("{of} are {} full", percent(plan.before));
    let moved = format!("{} GiB of memory and disk move", plan.mib.div_ceil(1_024));
    match plan.moves.len() {
        0 => vec![format!("{now}; nothing moves: {}", plan.end)],
        _ => vec![format!("{now}, then {}; {moved}; {}", percent(plan.after), plan.end)],
    }
}

fn steps(view: &View<'_>, plan: &RebalancePlan) -> BTreeMap<RegionId, Vec<DrainStep>> {
    let mut steps: BTreeMap<RegionId, Vec<DrainStep>> = BTreeMap::new();
    for step in &plan.moves {
        let name = view.node.facts().vm(step.vm).map(|(_, vm)| vm.name.clone()).unwrap_or_default();
        let to = Some((step.to.clone(), Some(step.host.clone())));
        let reason = step.reason.clone();
        steps.entry(step.from.clone()).or_default().push(DrainStep { vm: step.vm, name, to, reason });
    }
    steps
}

impl Serve for Endpoint {
    async fn answer(call: &Call, request: RebalanceRequest) -> Result<MovesStarted, Problem> {
        let (why, dry_run) = (reason(request.reason.as_deref())?, request.dry_run);
        let max_downtime_ms = downtime(request.max_downtime_ms)?;
        // Planned on a copy: it may take longer than the node's thread may be kept.
        let copied = move |view: &View<'_>| {
            let asked = asked(view, &request)?;
            Ok((asked, view.node.facts().for_placement(), view.node.measured()))
        };
        let (asked, copy, measured) = call.find(copied).await?;
        let plan = move || {
            let plan = plan_rebalance(&copy, &measured, &asked);
            (notes(&asked, &plan), plan)
        };
        let (notes, plan) = tokio::task::spawn_blocking(plan).await.map_err(|_| stopping())?;
        if plan.moves.is_empty() {
            let started = answer(call, Vec::new(), Vec::new(), (&[], Worse::nothing())).await?;
            return Ok(MovesStarted { notes, ..started });
        }
        let moves =
            call.look(move |view| Moves::planned(view, steps(view, &plan), max_downtime_ms, notes)).await?;
        carry_out(call, moves, why, dry_run).await
    }
}

//! Failovers: begun, joined, planned, followed.

use dwcp_api::failover::{
    Failover as ApiFailover, FailoverAnswer, FailoverList, FailoverListRequest, FailoverRead,
    FailoverReadRequest, FailoverRequest as ApiRequest, FailoverStart, FailoverStarted,
    FailoverState as ApiState,
};
use dwcp_api::{Page, Problem};
use dwcp_decide::FailoverPlan;
use dwcp_roles::node::{FailoverRequest, Reply, Request};
use dwcp_state::Failover;
use dwcp_types::{Code, FailoverId, Refusal, RegionId};

use super::call::{Call, bad_value, not_offered, reason, unexpected};
use super::routes::Serve;
use super::{failover_record, names, operations, page};
use crate::handle::View;

struct Checked {
    request: FailoverRequest,
    /// The RTO may be more than was asked for.
    slower: bool,
    /// A failover of this region was running before.
    running: Option<FailoverId>,
}

fn check(view: &View<'_>, asked: &ApiRequest) -> Result<Checked, Problem> {
    let (from, _) = names::region(view, &asked.from)?;
    let mut to: Vec<RegionId> = Vec::new();
    for name in &asked.to {
        let region = names::region(view, name)?.0.id.clone();
        if !to.contains(&region) {
            to.push(region);
        }
    }
    if to.contains(&from.id) {
        return Err(bad_value("to", format!("{} can't fail over to itself", from.id)));
    }
    if asked.max_time_ms.is_some_and(|ms| !(1_000..=86_400_000).contains(&ms)) {
        return Err(bad_value("max_time_ms", "1000 (1 s) to 86400000 (24 h)"));
    }
    let (mut partial, mut slower) = (false, false);
    for rule in &asked.relax {
        match rule.as_str() {
            "capacity" | "partial" => partial = true,
            "max_time" => slower = true,
            "residency" | "affinity" => {
                return Err(not_offered(
                    "relax",
                    format!(
                        "{rule} is a rule of the VMs themselves; a VM that it excludes everywhere is left and named"
                    ),
                    Some(&format!(
                        "dwcp-cli federation failover --from-region {} --relax capacity",
                        asked.from
                    )),
                ));
            }
            other => {
                return Err(bad_value(
                    "relax",
                    format!("'{other}' is not capacity, residency, affinity or max_time"),
                ));
            }
        }
    }
    Ok(Checked {
        request: FailoverRequest {
            from: from.id.clone(),
            to,
            min_priority: None,
            max_time_ms: asked.max_time_ms,
            partial,
            dry_run: asked.dry_run,
        },
        slower,
        running: view.node.facts().core.running_failover(&from.id).map(|failover| failover.id),
    })
}

async fn plan(call: &Call, request: &FailoverRequest) -> Result<FailoverPlan, Problem> {
    let request = FailoverRequest { dry_run: true, ..request.clone() };
    match call.ask(Request::Failover(call.asked(), request)).await? {
        Reply::Plan(plan) => Ok(*plan),
        other => Err(unexpected(&other)),
    }
}

impl Serve for FailoverStart {
    async fn answer(call: &Call, asked: ApiRequest) -> Result<FailoverStarted, Problem> {
        let why = reason(asked.reason.as_deref())?;
        let Checked { request, slower, running } = call.find(move |view| check(view, &asked)).await?;
        if request.dry_run {
            let plan = plan(call, &request).await?;
            let by = call.caller.user.clone();
            return call
                .look(move |view| FailoverStarted {
                    failover: failover_record::planned(view, &request, &plan, &by),
                    operation: None,
                    as_of: names::as_of(view),
                })
                .await;
        }
        if let (Some(bound), false, None) = (request.max_time_ms, slower, running) {
            let predicted = plan(call, &request).await?.predicted_rto_ms;
            if predicted > bound {
                return Err(too_slow(&request, predicted, bound));
            }
        }
        let asked = call.asked_because(why, None);
        let receipt = call.change(Request::Failover(asked, request)).await?;
        call.find(move |view| {
            let failover = receipt.failover.and_then(|id| view.node.facts().core.failovers.get(&id));
            let failover = failover.ok_or_else(|| unknown("failover"))?;
            let mut operation = operations::show_id(view, failover.operation);
            if let Some(operation) = &mut operation {
                operation.joined = running == Some(failover.id);
            }
            let failover = failover_record::show(view, failover);
            Ok(FailoverStarted { failover, operation, as_of: names::as_of(view) })
        })
        .await
    }
}

fn too_slow(request: &FailoverRequest, predicted_ms: u64, bound_ms: u64) -> Problem {
    let refusal =
        Refusal::new(Code::FailoverRefused, format!("{} can't be failed over in that time", request.from))
            .because(format!("predicted: {predicted_ms} ms; asked for: {bound_ms} ms"));
    let command = format!("dwcp-cli federation failover --from-region {} --relax max_time", request.from);
    Problem::from(&refusal.try_this(command))
}

fn unknown(name: &str) -> Problem {
    if name == "latest" {
        let refusal = Refusal::new(Code::UnknownFailover, "there has been no failover");
        let plan = "dwcp-cli federation failover --from-region REGION --dry-run";
        return Problem::from(&refusal.try_this(plan));
    }
    let refusal = Refusal::new(Code::UnknownFailover, format!("no failover {name}"));
    Problem::from(&refusal.try_this("dwcp-cli federation failover list"))
}

impl Serve for FailoverList {
    async fn answer(call: &Call, request: FailoverListRequest) -> Result<Page<ApiFailover>, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let all = view.node.facts().core.failovers.values().rev();
            let found = all
                .filter(|failover| request.region.as_ref().is_none_or(|r| failover.from.as_str() == r))
                .map(|failover| (page::newest_first(failover.id.0, ""), failover))
                .collect();
            let page: Page<&Failover> =
                page::cut(found, request.limit, request.cursor.as_deref(), names::as_of(view))?;
            Ok(Page {
                items: page.items.iter().map(|failover| failover_record::show(view, failover)).collect(),
                next_cursor: page.next_cursor,
                as_of: page.as_of,
            })
        })
        .await
    }
}

impl Serve for FailoverRead {
    async fn answer(call: &Call, request: FailoverReadRequest) -> Result<FailoverAnswer, Problem> {
        call.find(move |view| {
            let all = &view.node.facts().core.failovers;
            let found = match request.failover.as_str() {
                "latest" => all.values().next_back(),
                text => text.parse::<FailoverId>().ok().and_then(|id| all.get(&id)),
            };
            let failover = found.ok_or_else(|| unknown(&request.failover))?;
            Ok(FailoverAnswer { failover: failover_record::show(view, failover), as_of: names::as_of(view) })
        })
        .await
    }

    fn ended(answer: &FailoverAnswer) -> bool {
        !matches!(answer.failover.state, ApiState::Running | ApiState::Planned)
    }
}

//! Operations: long work as the facts and their progress show it.

use dwcp_api::operation::{
    Operation as ApiOperation, OperationAnswer, OperationCancel, OperationCancelRequest, OperationList,
    OperationListRequest, OperationRead, OperationReadRequest, OperationState as ApiState, Step, StepState,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_state::{FailoverVm, MoveState, Operation, OperationKind, OperationState};
use dwcp_types::{OperationId, RegionId, Revision};

use super::call::{Call, expect_revision, reason};
use super::routes::Serve;
use super::{failover_record, names, page, state_sync, upgrades};
use crate::handle::View;

/// Between the first operation of several and how many they are, in their common id.
const SEVERAL: char = '~';

/// Every operation that is kept.
fn all<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Operation> {
    let facts = view.node.facts();
    facts.core.operations.values().chain(facts.regions.values().flat_map(|of| of.operations.values()))
}

fn get<'a>(view: &View<'a>, id: OperationId) -> Option<&'a Operation> {
    let facts = view.node.facts();
    let here = facts.core.operations.get(&id);
    here.or_else(|| facts.regions.values().find_map(|facts| facts.operations.get(&id)))
}

/// One operation by its id.
pub fn show_id(view: &View<'_>, id: OperationId) -> Option<ApiOperation> {
    get(view, id).map(|operation| show(view, operation))
}

pub fn state(state: OperationState) -> ApiState {
    match state {
        OperationState::Running => ApiState::Running,
        OperationState::Done => ApiState::Done,
        OperationState::Partial => ApiState::Partly,
        OperationState::Failed => ApiState::Failed,
        OperationState::Cancelled => ApiState::Cancelled,
    }
}

/// Kind and subject: `start VM web` is a `vm_start` of `web`.
fn kind(operation: &Operation) -> (String, String) {
    let subject = || operation.title.rsplit(' ').next().unwrap_or("").to_owned();
    match &operation.kind {
        OperationKind::CreateVms(_) => ("vm_create".to_owned(), subject()),
        OperationKind::ChangeVms(_) => {
            let verb = operation.title.split(' ').next().unwrap_or("change");
            (format!("vm_{verb}"), subject())
        }
        OperationKind::MigrateVms(_) => ("migrate".to_owned(), subject()),
        OperationKind::Drain(drain) => {
            let of = drain.host.as_ref().map_or(operation.region.to_string(), ToString::to_string);
            ("drain".to_owned(), of)
        }
        OperationKind::Failover(_) => ("failover".to_owned(), operation.region.as_str().to_owned()),
        OperationKind::ForceSync(sync) => {
            let targets: Vec<&str> = sync.targets.iter().map(RegionId::as_str).collect();
            ("force_sync".to_owned(), targets.join(","))
        }
        OperationKind::Backup(run) => {
            let verb = if operation.title.starts_with("verification") { "backup_verify" } else { "backup" };
            (
                verb.to_owned(),
                operation.title.rsplit_once(" at ").map_or(run.to_string(), |(_, at)| at.to_owned()),
            )
        }
        OperationKind::Upgrade(upgrade) => ("upgrade".to_owned(), upgrade.region.to_string()),
        OperationKind::Nothing => ("nothing".to_owned(), operation.title.clone()),
    }
}

/// An operation as the API shows it.
fn show(view: &View<'_>, operation: &Operation) -> ApiOperation {
    let progress = view.node.progress(operation);
    let (kind, subject) = kind(operation);
    let ended = operation.state != OperationState::Running;
    let total = progress.total as u64;
    // What has become of the VMs since does not undo what was done.
    let done = if operation.state == OperationState::Done { total } else { progress.done as u64 };
    let mut shown = ApiOperation {
        operation: operation.id.to_string(),
        kind,
        subject,
        related: None,
        state: state(operation.state),
        steps: Vec::new(),
        done,
        total: (total > 0).then_some(total),
        failed: 0,
        left: Vec::new(),
        by: operation.by.clone(),
        started_at_ms: operation.started_at.0,
        ended_at_ms: operation.ended_at.map(|at| at.0),
        joined: false,
        revision: operation.revision.0,
    };
    let failed = matches!(operation.state, OperationState::Failed | OperationState::Partial);
    if failed {
        shown.failed = total - done.min(total);
        shown.left.push(operation.result.clone());
    }
    if operation.state == OperationState::Running {
        shown.left.clone_from(&progress.waiting);
    }
    match &operation.kind {
        OperationKind::Drain(_) => shown.steps = vm_steps(&shown, ended, None),
        OperationKind::CreateVms(vms) | OperationKind::ChangeVms(vms) | OperationKind::MigrateVms(vms) => {
            shown.related = vms.first().map(ToString::to_string);
            let took_ms = operation.ended_at.map(|end| end.ms_since(operation.started_at));
            shown.steps = vm_steps(&shown, ended, took_ms);
        }
        OperationKind::Failover(id) => {
            shown.related = Some(id.to_string());
            if let Some(failover) = view.node.facts().core.failovers.get(id) {
                let vms = view.node.progress_of(failover);
                shown.steps = failover_record::steps(view, failover, &vms);
                left_of_failover(&mut shown, &vms);
            }
        }
        OperationKind::ForceSync(sync) => shown.steps = state_sync::steps(view, sync, shown.state),
        OperationKind::Backup(run) => {
            let run = view.node.facts().core.backups.runs.get(run);
            shown.related = run.and_then(|run| run.backup).map(|backup| backup.to_string());
            shown.steps = vec![Step {
                name: operation.title.split(" at ").next().unwrap_or("backup").to_owned(),
                state: step_state(shown.state),
                done: shown.done,
                total: shown.total,
                note: operation.result.clone(),
                took_ms: operation.ended_at.map(|end| end.ms_since(operation.started_at)),
            }];
        }
        OperationKind::Upgrade(upgrade) => shown.steps = upgrades::steps(view, operation, upgrade),
        OperationKind::Nothing => {}
    }
    shown
}

/// How the one step stands that carries an operation out.
fn step_state(operation: ApiState) -> StepState {
    match operation {
        ApiState::Done => StepState::Done,
        ApiState::Failed | ApiState::Partly => StepState::Failed,
        ApiState::Cancelled => StepState::Skipped,
        _ => StepState::Running,
    }
}

fn left_of_failover(shown: &mut ApiOperation, vms: &[FailoverVm]) {
    shown.failed = vms.iter().filter(|vm| vm.state == MoveState::Failed).count() as u64;
    for vm in vms.iter().filter(|vm| matches!(vm.state, MoveState::Failed | MoveState::Left)) {
        shown.left.push(format!("{}: {}", vm.name, vm.reason));
    }
}

fn vm_steps(shown: &ApiOperation, ended: bool, took_ms: Option<u64>) -> Vec<Step> {
    let accepted = Step {
        name: "decided".to_owned(),
        state: StepState::Done,
        done: 1,
        total: Some(1),
        note: String::new(),
        took_ms: None,
    };
    let carried_out = Step {
        name: if shown.kind == "vm_create" { "running and answering" } else { "as wanted" }.to_owned(),
        state: step_state(shown.state),
        done: shown.done,
        total: shown.total,
        note: if ended { String::new() } else { shown.left.first().cloned().unwrap_or_default() },
        took_ms,
    };
    vec![accepted, carried_out]
}

/// What stands for several operations of one request: the operation itself, or one that sums them up.
pub fn of_several(view: &View<'_>, ids: &[OperationId]) -> Option<ApiOperation> {
    let shown: Vec<ApiOperation> = ids.iter().filter_map(|id| show_id(view, *id)).collect();
    match shown.len() {
        0 => None,
        1 => shown.into_iter().next(),
        _ => Some(sum(&shown)),
    }
}

/// The sum of operations that create the VMs `name-1`, `name-2`, … of one request.
fn sum(all: &[ApiOperation]) -> ApiOperation {
    let first = &all[0];
    let base = first.subject.rsplit_once('-').map_or(first.subject.as_str(), |(base, _)| base);
    let count =
        |wanted: &[ApiState]| all.iter().filter(|operation| wanted.contains(&operation.state)).count();
    let running = count(&[ApiState::Running, ApiState::Waiting, ApiState::Cancelling]);
    let (done, total) = (count(&[ApiState::Done]), all.len());
    let state = match (running, done) {
        (0, done) if done == total => ApiState::Done,
        (0, 0) if count(&[ApiState::Cancelled]) == total => ApiState::Cancelled,
        (0, 0) => ApiState::Failed,
        (0, _) => ApiState::Partly,
        _ => ApiState::Running,
    };
    let mut sum = ApiOperation {
        operation: format!("{}{SEVERAL}{total}", first.operation),
        subject: base.to_owned(),
        related: None,
        state,
        steps: Vec::new(),
        done: all.iter().map(|operation| operation.done).sum(),
        total: Some(all.iter().map(|operation| operation.total.unwrap_or(0)).sum()),
        failed: all.iter().map(|operation| operation.failed).sum(),
        left: all.iter().flat_map(|operation| operation.left.iter().cloned()).take(20).collect(),
        started_at_ms: all
            .iter()
            .map(|operation| operation.started_at_ms)
            .min()
            .unwrap_or(first.started_at_ms),
        ended_at_ms: (running == 0).then(|| all.iter().filter_map(|o| o.ended_at_ms).max()).flatten(),
        ..first.clone()
    };
    let took_ms = sum.ended_at_ms.map(|end| end.saturating_sub(sum.started_at_ms));
    sum.steps = vm_steps(&sum, running == 0, took_ms);
    sum
}

/// The operations of one request, found again by the first one: the same words, the same person, numbered names.
fn siblings(view: &View<'_>, first: &Operation, count: usize) -> Vec<OperationId> {
    let Some((base, _)) = first.title.rsplit_once('-') else { return vec![first.id] };
    let near = |at: dwcp_types::Wall| at.0.abs_diff(first.started_at.0) < 120_000;
    let mut found: Vec<(usize, OperationId)> = all(view)
        .filter(|operation| operation.by == first.by && near(operation.started_at))
        .filter_map(|operation| {
            let (title, number) = operation.title.rsplit_once('-')?;
            let number = number.parse::<usize>().ok()?;
            (title == base && (1..=count).contains(&number)).then_some((number, operation.id))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

fn by_text(view: &View<'_>, text: &str) -> Result<ApiOperation, Problem> {
    let (first, count) = match text.split_once(SEVERAL) {
        Some((first, count)) => (first, count.parse::<usize>().unwrap_or(1)),
        None => (text, 1),
    };
    let id = names::operation_id(view, first)?;
    let unknown = || {
        let refusal =
            dwcp_types::Refusal::new(dwcp_types::Code::UnknownOperation, format!("no operation {text}"));
        Problem::from(&refusal.try_this("dwcp-cli operation list"))
    };
    let operation = get(view, id).ok_or_else(unknown)?;
    if count > 1 {
        return of_several(view, &siblings(view, operation, count)).ok_or_else(unknown);
    }
    Ok(show(view, operation))
}

impl Serve for OperationList {
    async fn answer(call: &Call, request: OperationListRequest) -> Result<Page<ApiOperation>, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let mut found: Vec<_> = all(view)
                .filter(|operation| request.region.as_ref().is_none_or(|r| operation.region.as_str() == r))
                .filter(|operation| request.state.is_none_or(|wanted| state(operation.state) == wanted))
                .filter(|operation| request.kind.as_ref().is_none_or(|wanted| kind(operation).0 == *wanted))
                .map(|operation| {
                    (page::newest_first(operation.started_at.0, &operation.id.to_string()), operation)
                })
                .collect();
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            let page = page::cut(found, request.limit, request.cursor.as_deref(), names::as_of(view))?;
            Ok(Page {
                items: page.items.iter().map(|operation| show(view, operation)).collect(),
                next_cursor: page.next_cursor,
                as_of: page.as_of,
            })
        })
        .await
    }
}

impl Serve for OperationRead {
    async fn answer(call: &Call, request: OperationReadRequest) -> Result<OperationAnswer, Problem> {
        call.find(move |view| {
            Ok(OperationAnswer { operation: by_text(view, &request.operation)?, as_of: names::as_of(view) })
        })
        .await
    }

    fn ended(answer: &OperationAnswer) -> bool {
        answer.operation.state.ended()
    }
}

impl Serve for OperationCancel {
    async fn answer(call: &Call, request: OperationCancelRequest) -> Result<ApiOperation, Problem> {
        let (text, why) = (request.operation.clone(), reason(request.reason.as_deref())?);
        let (id, shown) = call
            .find(move |view| {
                let id = names::operation_id(view, &text)?;
                let shown = by_text(view, &text)?;
                if request.dry_run {
                    let read = format!("dwcp-cli operation show {text}");
                    let holds = Revision(shown.revision);
                    expect_revision(&format!("operation {text}"), request.expected_revision, holds, &read)?;
                }
                Ok((id, shown))
            })
            .await?;
        if request.dry_run || (shown.state.ended() && request.expected_revision.is_none()) {
            return Ok(shown);
        }
        call.change(Request::CancelOperation(call.asked_because(why, request.expected_revision), id)).await?;
        call.find(move |view| by_text(view, &request.operation)).await
    }
}

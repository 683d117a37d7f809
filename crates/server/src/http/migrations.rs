//! Migrations: listed, called off.

use dwcp_api::migration::{
    Migration as ApiMigration, MigrationCancel, MigrationCancelRequest, MigrationCancelled, MigrationKind,
    MigrationList, MigrationListRequest, MigrationState as ApiState,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_roles::protocol::{Stage, TransferReport};
use dwcp_state::{Failover, FailoverVm, Migration, MigrationState, Mode, MoveState, RegionFacts};
use dwcp_types::VmId;

use super::call::{Call, reason};
use super::routes::Serve;
use super::{names, page};
use crate::handle::View;

fn state(migration: &Migration) -> ApiState {
    match migration.state {
        MigrationState::Queued => ApiState::Queued,
        MigrationState::Running => ApiState::Running,
        MigrationState::Done => ApiState::Done,
        MigrationState::Failed => ApiState::Failed,
        MigrationState::Cancelled => ApiState::Cancelled,
        MigrationState::TakenOver => ApiState::TakenOver,
        MigrationState::Lost => ApiState::Lost,
    }
}

/// Time until what is left is sent, at the present rates; none when the guest writes faster than it is sent.
fn left_ms(transfer: &TransferReport) -> Option<u64> {
    let gains = transfer.rate_bytes_per_s.checked_sub(transfer.dirty_bytes_per_s).filter(|gain| *gain > 0)?;
    let left = transfer.bytes_total.checked_sub(transfer.bytes_done)?;
    Some(left.saturating_mul(1_000) / gains)
}

fn stage(migration: &Migration, transfer: Option<&TransferReport>) -> Option<String> {
    let text = match (migration.state, transfer) {
        (MigrationState::Queued, _) => "queued",
        (MigrationState::Running, _) if migration.stopping.is_some() => "stopping",
        (MigrationState::Running, _) if migration.aim.is_none() => "making room",
        (MigrationState::Running, Some(transfer)) => transfer.stage.name(),
        _ => return None,
    };
    Some(text.to_owned())
}

/// A migration as the API shows it.
fn show(view: &View<'_>, facts: &RegionFacts, migration: &Migration) -> ApiMigration {
    let open = matches!(migration.state, MigrationState::Queued | MigrationState::Running);
    let transfer = open.then(|| view.node.transfer_of(facts.number, migration)).flatten();
    let copying = transfer.filter(|transfer| transfer.stage != Stage::Failed);
    let took = &migration.took;
    let ended = |value: u64| (!open && value > 0).then_some(value);
    let since = migration.started_at.map(|at| migration.ended_at.unwrap_or(view.now.wall).ms_since(at));
    ApiMigration {
        migration: migration.id.to_string(),
        vm: migration.vm.to_string(),
        name: migration.name.clone(),
        kind: if migration.mode == Mode::Live { MigrationKind::Live } else { MigrationKind::Cold },
        from: facts.name.to_string(),
        from_host: migration.from_host.to_string(),
        to: migration.to.to_string(),
        to_host: migration.aim.as_ref().map(|aim| aim.host.to_string()),
        state: state(migration),
        stage: stage(migration, transfer),
        bytes_done: copying.map(|transfer| transfer.bytes_done).or(ended(took.bytes)),
        bytes_total: copying.map(|transfer| transfer.bytes_total).or(ended(took.bytes)),
        rate_bytes_per_s: copying.map(|transfer| transfer.rate_bytes_per_s),
        dirty_bytes_per_s: copying.map(|transfer| transfer.dirty_bytes_per_s),
        throttle_percent: copying.map(|transfer| transfer.throttle_percent),
        left_ms: copying.and_then(left_ms),
        took_ms: since,
        downtime_ms: ended(took.downtime_ms),
        max_downtime_ms: migration.max_downtime_ms,
        operation: migration.operation.to_string(),
        reason: migration.stopping.as_ref().map_or(&migration.reason, |stopping| &stopping.reason).clone(),
        asked_at_ms: migration.asked_at.0,
        started_at_ms: migration.started_at.map(|at| at.0),
        ended_at_ms: migration.ended_at.map(|at| at.0),
    }
}

/// A VM that a failover moved, among those that moved otherwise.
fn show_failed_over(failover: &Failover, vm: &FailoverVm) -> ApiMigration {
    let began = failover.first_missed_at;
    ApiMigration {
        migration: failover.id.to_string(),
        vm: vm.vm.to_string(),
        name: vm.name.clone(),
        kind: MigrationKind::Failover,
        from: failover.from.to_string(),
        from_host: vm.from_host.to_string(),
        to: vm.to_region.as_ref().map(ToString::to_string).unwrap_or_default(),
        to_host: vm.to_host.as_ref().map(ToString::to_string),
        state: match vm.state {
            MoveState::Waiting => ApiState::Running,
            MoveState::Verified => ApiState::Done,
            MoveState::Left => ApiState::Left,
            MoveState::Failed => ApiState::Failed,
        },
        stage: (vm.state == MoveState::Waiting).then(|| "restarting".to_owned()),
        bytes_done: None,
        bytes_total: None,
        rate_bytes_per_s: None,
        dirty_bytes_per_s: None,
        throttle_percent: None,
        left_ms: None,
        took_ms: vm.verified_at.map(|at| at.ms_since(began)),
        downtime_ms: vm.verified_at.map(|at| at.ms_since(began)),
        max_downtime_ms: 0,
        operation: failover.operation.to_string(),
        reason: vm.reason.clone(),
        asked_at_ms: began.0,
        started_at_ms: Some(began.0),
        ended_at_ms: vm.verified_at.map(|at| at.0),
    }
}

fn is_open(migration: &ApiMigration) -> bool {
    matches!(migration.state, ApiState::Queued | ApiState::Running)
}

/// What waits in the order of its turn, then what ended, newest first.
fn key(migration: &ApiMigration) -> String {
    if is_open(migration) {
        return format!("0-{:016x}-{}-{}", migration.asked_at_ms, migration.name, migration.vm);
    }
    let at = migration.ended_at_ms.unwrap_or(migration.asked_at_ms);
    format!("1-{}", page::newest_first(at, &migration.vm))
}

fn list(view: &View<'_>, request: &MigrationListRequest) -> Result<Page<ApiMigration>, Problem> {
    for region in request.source.iter().chain(&request.target) {
        names::region(view, region)?;
    }
    let only: Option<VmId> = match &request.vm {
        Some(name) => Some(names::vm(view, name)?.vm.id),
        None => None,
    };
    let facts = view.node.facts();
    let mut all: Vec<ApiMigration> = Vec::new();
    for facts in facts.regions.values() {
        let moving = facts.migrations.values().chain(facts.migrated.iter());
        all.extend(moving.map(|migration| show(view, facts, migration)));
    }
    for failover in facts.core.failovers.values() {
        all.extend(view.node.progress_of(failover).iter().map(|vm| show_failed_over(failover, vm)));
    }
    let fits = |migration: &ApiMigration| {
        request.source.as_ref().is_none_or(|source| migration.from == *source)
            && request.target.as_ref().is_none_or(|target| migration.to == *target)
            && only.is_none_or(|vm| migration.vm == vm.to_string())
            && (!request.open || is_open(migration))
    };
    let mut found: Vec<(String, ApiMigration)> =
        all.into_iter().filter(fits).map(|migration| (key(&migration), migration)).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    page::cut(found, request.limit, request.cursor.as_deref(), names::as_of(view))
}

impl Serve for MigrationList {
    async fn answer(call: &Call, request: MigrationListRequest) -> Result<Page<ApiMigration>, Problem> {
        call.find(move |view| list(view, &request)).await
    }
}

impl Serve for MigrationCancel {
    async fn answer(call: &Call, request: MigrationCancelRequest) -> Result<MigrationCancelled, Problem> {
        let why = reason(request.reason.as_deref())?;
        let dry_run = request.dry_run;
        let (moving, not_moving) = call
            .find(move |view| {
                let (mut moving, mut not_moving) = (Vec::new(), Vec::new());
                for name in &request.vms {
                    let found = names::vm(view, name)?;
                    let open =
                        view.node.facts().regions.values().any(|of| of.migrations.contains_key(&found.vm.id));
                    if open {
                        moving.push((found.region.clone(), found.vm.id, found.vm.name.clone()));
                    } else {
                        not_moving.push(found.vm.name.clone());
                    }
                }
                moving.sort();
                Ok((moving, not_moving))
            })
            .await?;
        let cancelled = moving.iter().map(|(_, _, name)| name.clone()).collect();
        // One request a region: each has its own group.
        for (number, of) in moving.chunk_by(|a, b| a.0 == b.0).enumerate().filter(|_| !dry_run) {
            let mut asked = call.asked_as(&format!("-{number}"));
            asked.reason.clone_from(&why);
            let vms = of.iter().map(|(_, vm, _)| *vm).collect();
            call.change(Request::CancelMigrations(asked, vms)).await?;
        }
        Ok(MigrationCancelled { cancelled, not_moving })
    }
}

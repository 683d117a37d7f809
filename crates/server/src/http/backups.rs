//! Backups: planned, begun, listed. What is asked is tried here before it is written into the facts, so that a wrong
//! destination or key is refused before anything changes.

use std::collections::BTreeMap;

use dwcp_api::backup::{
    Backup as ApiBackup, BackupConfigure, BackupConfigureRequest, BackupCreate, BackupCreateRequest,
    BackupKind, BackupList, BackupListRequest, BackupListing, BackupMark as ApiMark, BackupPlan as ApiPlan,
    BackupRun as ApiRun, BackupStarted, BackupState, BackupStatus, BackupStatusRead, BackupTask as ApiTask,
    BackupVerify, BackupVerifyRequest,
};
use dwcp_api::page::Nothing;
use dwcp_api::{Permission, Problem};
use dwcp_backup::Repository;
use dwcp_roles::node::Request;
use dwcp_state::{BackupMark, BackupPlan, BackupRun, BackupTask, Backups};
use dwcp_types::{Code, RegionId, Revision, Wall};

use super::call::{Call, bad_value, expect_revision, reason, stopping};
use super::routes::Serve;
use super::{auth, names, operations};
use crate::backups::opening;
use crate::backups::place::{Opening, Places, canonical, refusal};
use crate::handle::View;

/// Runs that are shown.
const RUNS_SHOWN: usize = 20;
/// Backups are kept at most so long, ms, and so many.
const KEEP: (u64, u32) = (100 * 365 * 86_400_000, 1_000_000);

impl Serve for BackupStatusRead {
    async fn answer(call: &Call, _: Nothing) -> Result<BackupStatus, Problem> {
        call.look(status).await
    }
}

impl Serve for BackupConfigure {
    async fn answer(call: &Call, asked: BackupConfigureRequest) -> Result<BackupStatus, Problem> {
        let why = reason(asked.reason.as_deref())?;
        let (mut plan, expected) = (plan(&asked)?, asked.expected_revision);
        let destination = plan.destination.clone();
        let known = call
            .find(move |view| {
                let holds = view.node.facts().core.backups.plan.as_ref().map_or(0, |plan| plan.revision.0);
                let read = "dwcp-cli federation state backup status";
                if asked.dry_run {
                    expect_revision("the plan of backups", expected, Revision(holds), read)?;
                }
                Ok(opening(view, &destination))
            })
            .await?;
        let wanted = Opening {
            key_file: plan.key_file.clone(),
            // Another key than before is found by what lies there: it does not open with it.
            key: String::new(),
            create: !asked.dry_run,
            ..known
        };
        let empty = asked.dry_run && Places::is_missing_folder(&plan.destination);
        if !empty {
            plan.key = match open(call, wanted).await {
                Ok((_, key)) => key,
                // What would be made is not there in a dry run.
                Err(problem) if asked.dry_run && problem.code == Code::UnknownBackup.as_str() => {
                    String::new()
                }
                Err(problem) => return Err(problem),
            };
        }
        if asked.dry_run {
            return call
                .look(move |view| BackupStatus {
                    plan: Some(show_plan(&plan, view.now.wall)),
                    ..status(view)
                })
                .await;
        }
        call.change(Request::ConfigureBackups(call.asked_because(why, expected), Box::new(plan))).await?;
        call.look(status).await
    }
}

/// What was asked for, within its ranges.
fn plan(asked: &BackupConfigureRequest) -> Result<BackupPlan, Problem> {
    let (least, most) = Backups::INTERVAL_MS;
    if !(least..=most).contains(&asked.interval_ms) {
        return Err(bad_value("interval_ms", format!("{least} (1 m) to {most} (31 d)")));
    }
    let (keep_last, keep_within_ms) = match (asked.keep_last, asked.keep_within_ms) {
        (Some(count), None) if (1..=KEEP.1).contains(&count) => (count, 0),
        (None, Some(ms)) if (asked.interval_ms..=KEEP.0).contains(&ms) => (1, ms),
        (None, Some(ms)) => {
            let why = format!("{ms} ms: from the interval ({}) to {} ms", asked.interval_ms, KEEP.0);
            return Err(bad_value("keep_within_ms", why));
        }
        _ => return Err(bad_value("keep_last", format!("1 to {}, or keep_within_ms instead", KEEP.1))),
    };
    if asked.encryption.as_deref().is_some_and(|encryption| encryption != "aes256") {
        return Err(bad_value("encryption", "aes256 (AES-256-GCM), always"));
    }
    let key_file = asked.key_file.clone().unwrap_or_default();
    if !key_file.is_empty() && !key_file.starts_with('/') {
        return Err(bad_value("key_file", "a file at every server, by its whole path"));
    }
    Ok(BackupPlan {
        destination: canonical(&asked.destination).map_err(|why| bad_value("destination", why))?,
        interval_ms: asked.interval_ms,
        keep_last,
        keep_within_ms,
        key_file,
        ..BackupPlan::default()
    })
}

/// Opens a destination on a thread that may wait for it.
pub async fn open(call: &Call, opening: Opening) -> Result<(Repository, String), Problem> {
    let places = call.api.places.clone();
    let opened = tokio::task::spawn_blocking(move || places.open(&opening)).await;
    opened.map_err(|_| stopping())?.map_err(|refusal| Problem::from(&refusal))
}

/// A place that was named, which only an admin may: the server opens it with its own rights. None: that of the plan.
pub fn named(call: &Call, destination: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = destination else { return Ok(None) };
    auth::permit(&call.caller, Permission::Administer)?;
    canonical(text).map(Some).map_err(|why| bad_value("destination", why))
}

/// The destination that is meant, and how to open it.
pub async fn meant(call: &Call, named: Option<String>) -> Result<Opening, Problem> {
    call.find(move |view| {
        let plan = view.node.facts().core.backups.plan.as_ref().map(|plan| plan.destination.clone());
        let destination = named.or(plan).ok_or_else(|| Problem::from(&Backups::not_planned()))?;
        Ok(opening(view, &destination))
    })
    .await
}

impl Serve for BackupCreate {
    async fn answer(call: &Call, asked: BackupCreateRequest) -> Result<BackupStarted, Problem> {
        let why = reason(asked.reason.as_deref())?;
        let named = named(call, asked.destination.as_deref())?;
        let wanted = meant(call, named.clone()).await?;
        let destination = wanted.destination.clone();
        if named.is_some() && !(asked.dry_run && Places::is_missing_folder(&destination)) {
            match open(call, Opening { create: !asked.dry_run, ..wanted }).await {
                Err(problem) if asked.dry_run && problem.code == Code::UnknownBackup.as_str() => {}
                other => drop(other?),
            }
        }
        if asked.dry_run {
            return Ok(BackupStarted { destination, operation: None });
        }
        let task = match asked.kind {
            Some(BackupKind::Full) => BackupTask::Full,
            _ => BackupTask::Incremental,
        };
        begin(call, why, task, destination, named.is_some()).await
    }
}

impl Serve for BackupVerify {
    async fn answer(call: &Call, asked: BackupVerifyRequest) -> Result<BackupStarted, Problem> {
        let named = named(call, asked.destination.as_deref())?;
        let wanted = meant(call, named.clone()).await?;
        let destination = wanted.destination.clone();
        let task = match (asked.all, asked.backup) {
            (true, None) => BackupTask::VerifyAll,
            (false, backup) => BackupTask::Verify(backup),
            (true, Some(_)) => return Err(bad_value("backup", "one of them, or all")),
        };
        begin(call, String::new(), task, destination, named.is_some()).await
    }
}

/// Begins a run or joins one. Elsewhere than at the plan's destination this server does it: a folder may be its own.
async fn begin(
    call: &Call,
    why: String,
    task: BackupTask,
    destination: String,
    here: bool,
) -> Result<BackupStarted, Problem> {
    let at = here.then(|| RegionId::from(call.api.region.as_str()));
    let run = BackupRun { task, destination: destination.clone(), at, ..BackupRun::default() };
    let asked = call.look(|view| view.now.wall).await?;
    let receipt = call.change(Request::BeginBackup(call.asked_because(why, None), Box::new(run))).await?;
    call.find(move |view| {
        let mut operation = receipt.operation.and_then(|id| operations::show_id(view, id));
        if let Some(operation) = &mut operation {
            operation.joined = operation.started_at_ms < asked.0;
        }
        Ok(BackupStarted { destination, operation })
    })
    .await
}

impl Serve for BackupList {
    async fn answer(call: &Call, asked: BackupListRequest) -> Result<BackupListing, Problem> {
        let named = named(call, asked.destination.as_deref())?;
        let wanted = meant(call, named).await?;
        let destination = wanted.destination.clone();
        let (repository, _) = open(call, wanted).await?;
        let place = destination.clone();
        let listed = tokio::task::spawn_blocking(move || repository.list().map_err(|e| refusal(&e, &place)));
        let listing = listed.await.map_err(|_| stopping())?.map_err(|refusal| Problem::from(&refusal))?;
        let now = call.look(|view| view.now.wall).await?;
        Ok(BackupListing {
            destination,
            server: call.api.region.clone(),
            backups: listing.backups.iter().map(|backup| show_backup(backup, now)).collect(),
            faults: listing.faults.iter().map(ToString::to_string).collect(),
            removed: listing.removed,
            head: listing.head.to_string(),
        })
    }
}

fn show_backup(backup: &dwcp_backup::Backup, now: Wall) -> ApiBackup {
    let revision = |(name, value): (&String, &String)| {
        Some((name.strip_prefix("revision/")?.to_owned(), value.parse().ok()?))
    };
    ApiBackup {
        backup: backup.sequence,
        kind: match backup.kind {
            dwcp_backup::Kind::Full => BackupKind::Full,
            dwcp_backup::Kind::Incremental => BackupKind::Incremental,
        },
        at_ms: backup.at.0,
        age_ms: now.ms_since(backup.at),
        parent: backup.parent,
        records: backup.records,
        bytes: backup.raw_bytes,
        written_bytes: backup.written_bytes,
        revisions: backup.metadata.iter().filter_map(revision).collect::<BTreeMap<String, u64>>(),
    }
}

fn show_plan(plan: &BackupPlan, next: Wall) -> ApiPlan {
    ApiPlan {
        destination: plan.destination.clone(),
        interval_ms: plan.interval_ms,
        keep_within_ms: (plan.keep_within_ms > 0).then_some(plan.keep_within_ms),
        keep_last: plan.keep_last,
        encryption: "aes256".to_owned(),
        key_file: (!plan.key_file.is_empty()).then(|| plan.key_file.clone()),
        key_id: plan.key.clone(),
        by: plan.by.clone(),
        at_ms: plan.at.0,
        next_at_ms: next.0,
        revision: plan.revision.0,
    }
}

fn show_run(run: &BackupRun) -> ApiRun {
    ApiRun {
        operation: run.operation.to_string(),
        task: match run.task {
            BackupTask::Full => ApiTask::Full,
            BackupTask::Incremental => ApiTask::Incremental,
            BackupTask::Verify(_) => ApiTask::Verify,
            BackupTask::VerifyAll => ApiTask::VerifyAll,
        },
        destination: run.destination.clone(),
        at: run.at.as_ref().map(ToString::to_string),
        state: operations::state(run.state),
        backup: run.backup,
        by: run.by.clone(),
        asked_at_ms: run.asked_at.0,
        ended_at_ms: run.ended_at.map(|at| at.0),
        result: run.result.clone(),
    }
}

fn status(view: &View<'_>) -> BackupStatus {
    let (backups, now) = (&view.node.facts().core.backups, view.now.wall);
    let place = backups.place();
    let mark =
        |mark: BackupMark| ApiMark { backup: mark.number, at_ms: mark.at.0, age_ms: now.ms_since(mark.at) };
    let verified = place.and_then(|place| place.verified);
    BackupStatus {
        state: match (&backups.plan, backups.late_at(now)) {
            (None, _) => BackupState::NotConfigured,
            (_, (true, _)) => BackupState::Late,
            (_, (false, true)) => BackupState::VerifiedLate,
            (_, (false, false)) => BackupState::InTime,
        },
        plan: backups.plan.as_ref().map(|plan| show_plan(plan, backups.due_at().unwrap_or(now))),
        newest: place.and_then(|place| place.newest).map(mark),
        newest_verified: verified.map(mark),
        verified_at_ms: verified.and(place).map(|place| place.verified_at.0),
        head: place.filter(|place| !place.head.is_empty()).map(|place| place.head.clone()),
        runs: backups.runs.values().rev().take(RUNS_SHOWN).map(show_run).collect(),
        as_of: names::as_of_federation(view),
    }
}

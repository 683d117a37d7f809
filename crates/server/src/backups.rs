//! Backups are made and verified here, when the facts say that it is this server's to do: the leader of the federation's group
//! does what is due and what goes to the plan's destination, the server that was asked what goes elsewhere. A server that dies
//! leaves a run that begins anew, here or at the next leader; what it had written belongs to nothing and is removed later.

mod cut;
pub mod place;

use std::time::Duration;

use dwcp_backup::{Create, Head, Kind, Repository, Retention};
use dwcp_roles::node::{Reply, Request};
use dwcp_state::{
    BackupEnd, BackupMark, BackupPlan, BackupRun, BackupTask, FEDERATION_GROUP, OperationState,
};
use dwcp_types::refusal::Kind as Means;
use dwcp_types::{Code, Refusal};

pub use cut::{Cut, Group, take};
use place::{Opening, Places, refusal};

use crate::handle::{NodeHandle, View, own};
use crate::log::Log;

/// Between two looks for work.
const LOOK: Duration = Duration::from_millis(500);
/// How often an end is told again while no majority can be reached, and how long it is waited before.
const TELL: (u32, Duration) = (60, Duration::from_secs(2));
/// How often a backup is begun anew when a removal came between.
const TRIES: u32 = 4;

/// A run with what must be known for it.
#[derive(Clone, Debug)]
struct Job {
    run: BackupRun,
    opening: Opening,
    /// What is removed afterwards; none at a place that is not the plan's.
    retention: Option<Retention>,
}

/// The opening of a destination, as the facts say.
pub fn opening(view: &View<'_>, destination: &str) -> Opening {
    let backups = &view.node.facts().core.backups;
    let plan = backups.plan.as_ref().filter(|plan| plan.destination == destination);
    Opening {
        destination: destination.to_owned(),
        key_file: backups.plan.as_ref().map_or_else(String::new, |plan| plan.key_file.clone()),
        key: plan.map_or_else(String::new, |plan| plan.key.clone()),
        head: backups.places.get(destination).map_or_else(String::new, |place| place.head.clone()),
        create: false,
    }
}

fn retention(plan: &BackupPlan) -> Retention {
    Retention { keep_last: plan.keep_last as usize, keep_within: Duration::from_millis(plan.keep_within_ms) }
}

/// The oldest run that is this server's to do.
fn next(view: &View<'_>) -> Option<Job> {
    let backups = &view.node.facts().core.backups;
    let mine = |run: &&BackupRun| match &run.at {
        Some(region) => *region == view.node.config().region,
        None => view.node.leads(FEDERATION_GROUP),
    };
    let run = backups.open().find(mine)?.clone();
    let plan = backups.plan.as_ref().filter(|plan| plan.destination == run.destination);
    let opening = Opening { create: run.task.makes(), ..opening(view, &run.destination) };
    Some(Job { opening, retention: plan.map(retention), run })
}

/// Does what is this server's to do, until the node has stopped.
pub async fn keep(node: NodeHandle, places: Places, log: Log) {
    // What ended here and is not known to have ended: it is not done again.
    let mut told = None;
    while let Some(job) = node.look(next).await {
        match job {
            Some(job) if told != Some(job.run.id) => {
                let run = job.run.id;
                let what = format!("{} at {}", job.run.task, job.run.destination);
                let end = carry_out(&node, &places, job).await;
                log.info("state-manager", format!("{what}: {}", end.result));
                tell(&node, end).await;
                told = Some(run);
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn tell(node: &NodeHandle, end: BackupEnd) {
    let (times, pause) = TELL;
    for _ in 0..times {
        let asked = own();
        match node.ask(Request::EndBackup(asked, Box::new(end.clone()))).await {
            Reply::Refused(refusal) if refusal.code.page().kind == Means::Unavailable => {
                tokio::time::sleep(pause).await;
            }
            // Refused: somebody else has ended it.
            _ => return,
        }
    }
}

async fn carry_out(node: &NodeHandle, places: &Places, job: Job) -> BackupEnd {
    let run = job.run.id;
    let cut = match job.run.task.makes() {
        true => cut::take(node).await.map(Some),
        false => Ok(None),
    };
    let places = places.clone();
    let done = match cut {
        Ok(cut) => tokio::task::spawn_blocking(move || work(&places, &job, cut.as_ref()))
            .await
            .unwrap_or_else(|_| Err(Refusal::new(Code::NotReady, "an assertion failed").into())),
        Err(refusal) => Err(refusal.into()),
    };
    match done {
        Ok(end) => BackupEnd { run, ..end },
        Err(failed) => {
            let Failed { refusal, mut end } = *failed;
            end.result = format!("{}{}", end.result, in_words(&refusal));
            let damaged = refusal.code == Code::BackupDamaged;
            BackupEnd { run, state: OperationState::Failed, damaged, ..end }
        }
    }
}

/// What came between, and what is known all the same.
struct Failed {
    refusal: Refusal,
    end: BackupEnd,
}

impl From<Refusal> for Box<Failed> {
    fn from(refusal: Refusal) -> Box<Failed> {
        Box::new(Failed { refusal, end: BackupEnd::default() })
    }
}

fn in_words(refusal: &Refusal) -> String {
    let mut text = refusal.what.clone();
    for cause in refusal.causes.iter().take(20) {
        text.push_str("; ");
        text.push_str(cause);
    }
    text
}

fn work(places: &Places, job: &Job, cut: Option<&Cut>) -> Result<BackupEnd, Box<Failed>> {
    let wrong = |error: dwcp_backup::Error| refusal(&error, &job.run.destination);
    let (repository, _) = places.open(&job.opening)?;
    match (job.run.task, cut) {
        (BackupTask::Full, Some(cut)) => make(repository, job, Kind::Full, cut),
        (BackupTask::Incremental, Some(cut)) => make(repository, job, Kind::Incremental, cut),
        (BackupTask::VerifyAll, _) => verify_all(&repository, job),
        (BackupTask::Verify(wanted), _) => {
            let (mark, records) = read(&repository, wanted).map_err(wrong)?;
            Ok(BackupEnd {
                state: OperationState::Done,
                result: format!("backup {} is whole: {records} records read", mark.number),
                backup: Some(mark),
                verified: true,
                ..BackupEnd::default()
            })
        }
        _ => Err(Refusal::new(Code::NotReady, "no facts were taken").into()),
    }
}

/// Makes a backup, reads it again as a whole, and removes what need not be kept any longer.
fn make(repository: Repository, job: &Job, kind: Kind, cut: &Cut) -> Result<BackupEnd, Box<Failed>> {
    let wrong = |error: dwcp_backup::Error| refusal(&error, &job.run.destination);
    let revisions = cut.groups.iter();
    let metadata = revisions.map(|group| (format!("revision/{}", group.name), group.revision.0.to_string()));
    let create = Create { kind, at: cut.at, metadata: metadata.collect() };
    let mut tries = 0;
    let created = loop {
        tries += 1;
        match repository.create_backup(create.clone(), cut.records()) {
            Err(dwcp_backup::Error::Overtaken(_)) if tries < TRIES => {}
            other => break other.map_err(wrong)?,
        }
    };
    let made = created.backup;
    let word = if made.kind == Kind::Full { "full" } else { "incremental" };
    let mut end = BackupEnd {
        state: OperationState::Done,
        result: format!(
            "backup {} ({word}): {} records, {} KiB, {} KiB written; ",
            made.sequence,
            made.records,
            made.raw_bytes.div_ceil(1024),
            made.written_bytes.div_ceil(1024)
        ),
        backup: Some(BackupMark { number: made.sequence, at: made.at }),
        ..BackupEnd::default()
    };
    headed(&mut end, created.head);
    let repository = repository.expecting(created.head);
    let failed = |refusal: Refusal, end: &BackupEnd| Box::new(Failed { refusal, end: end.clone() });
    let (_, records) = read(&repository, Some(made.sequence)).map_err(|error| failed(wrong(error), &end))?;
    if records != made.records {
        let what = format!("{records} of {} records came back", made.records);
        return Err(failed(Refusal::new(Code::BackupDamaged, what), &end));
    }
    end.verified = true;
    end.result.push_str("read again, whole");
    if let Some(retention) = job.retention {
        match repository.prune(retention, cut.at) {
            Ok(pruned) => {
                if let Some(head) = pruned.head {
                    headed(&mut end, head);
                }
                if !pruned.removed.is_empty() {
                    end.result.push_str(&format!("; {} older removed", pruned.removed.len()));
                }
            }
            // The backup is there; what was not removed is removed after the next one.
            Err(error) => end.result.push_str(&format!("; nothing older was removed: {error}")),
        }
    }
    Ok(end)
}

fn headed(end: &mut BackupEnd, head: Head) {
    end.head = head.to_string();
    end.head_number = head.sequence;
}

/// Reads a backup, every byte that it needs; how many records it has.
fn read(repository: &Repository, wanted: Option<u64>) -> Result<(BackupMark, u64), dwcp_backup::Error> {
    let (backup, records) = repository.restore(wanted)?;
    let mut count = 0;
    for record in records {
        record?;
        count += 1;
    }
    Ok((BackupMark { number: backup.sequence, at: backup.at }, count))
}

fn verify_all(repository: &Repository, job: &Job) -> Result<BackupEnd, Box<Failed>> {
    let wrong = |error: dwcp_backup::Error| refusal(&error, &job.run.destination);
    let verified = repository.verify().map_err(wrong)?;
    if !verified.faults.is_empty() {
        return Err(wrong(dwcp_backup::Error::Damaged(verified.faults)).into());
    }
    let listing = repository.list().map_err(wrong)?;
    let newest = listing.backups.last().map(|backup| BackupMark { number: backup.sequence, at: backup.at });
    let mut end = BackupEnd {
        state: OperationState::Done,
        result: format!(
            "{} backups are whole: {} packs, {} KiB read",
            verified.backups,
            verified.packs,
            verified.bytes.div_ceil(1024)
        ),
        backup: newest,
        verified: newest.is_some(),
        ..BackupEnd::default()
    };
    headed(&mut end, listing.head);
    Ok(end)
}

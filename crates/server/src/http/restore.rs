//! What a backup has and the federation has not, record by record; and one VM that was deleted, brought back.
//!
//! A record of a running federation is never put back as it was: generations, epochs and revisions of then have been given out
//! since, and hosts act on them. A VM comes back as a new one, under a new id that no host has ever heard of.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::backup::{
    BackupRestore, BackupRestoreRequest, BackupRestored, FieldDifference, RecordChange, RecordCount,
    RecordDifference,
};
use dwcp_backup::{Change, Differing, Repository};
use dwcp_roles::node::{CreateVm, Reply, Request};
use dwcp_state::{Core, FEDERATION_GROUP, Facts, Vm, Want};
use dwcp_types::{Code, GroupId, Refusal, Wall};

use super::call::{Call, bad_value, reason, stopping, unexpected};
use super::routes::Serve;
use super::{backups, operations};
use crate::backups::place::refusal;
use crate::backups::{Cut, take};

/// Records that are listed one by one, fields of each, and characters of a field.
const LISTED: (usize, usize, usize) = (1_000, 50, 120);
/// What is kept of the past: it only grows, and is counted.
const PAST: [&str; 4] = ["claims", "events", "operations", "outcomes"];
const VMS: &str = "vms/";
/// What is in no map.
const REST: &str = "rest";

impl Serve for BackupRestore {
    async fn answer(call: &Call, asked: BackupRestoreRequest) -> Result<BackupRestored, Problem> {
        let why = reason(asked.reason.as_deref())?;
        let only = asked.only.as_deref().map(vm_named).transpose()?;
        if only.is_none() && !asked.dry_run {
            return Err(running());
        }
        let named = backups::named(call, asked.destination.as_deref())?;
        let wanted = backups::meant(call, named).await?;
        let destination = wanted.destination.clone();
        let (repository, _) = backups::open(call, wanted).await?;
        let cut = take(&call.api.node).await.map_err(|refusal| Problem::from(&refusal))?;
        let (place, name) = (destination.clone(), only.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let compared = match name {
                Some(name) => one(&repository, asked.backup, &cut, &name),
                None => compare(&repository, asked.backup, &cut).map(|restored| (restored, None)),
            };
            compared.map_err(|error| refusal(&error, &place))
        });
        let compared = compared.await.map_err(|_| stopping())?;
        let (mut restored, vm) = compared.map_err(|refusal| Problem::from(&refusal))?;
        restored.destination = destination;
        let Some(name) = only else { return Ok(restored) };
        let vm = vm.ok_or_else(|| not_there(&name, restored.backup))?;
        let create = call.find(move |view| template(&view.node.facts().core, vm, view.now.wall)).await?;
        let create = CreateVm { dry_run: asked.dry_run, ..create };
        bring_back(call, why, create, restored).await
    }
}

/// The name in `vm/NAME`.
fn vm_named(only: &str) -> Result<String, Problem> {
    match only.split_once('/') {
        Some(("vm", name)) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(bad_value("only", "vm/NAME: other records come back with the whole state")),
    }
}

fn running() -> Problem {
    let what = "a federation that runs is not put back to an earlier state";
    let refusal = Refusal::new(Code::WrongState, what)
        .because("what it has given out since, such as generations of VMs, is in use")
        .try_this("dwcp-cli federation state backup restore --dry-run")
        .try_this("dwcp-cli federation state backup restore --only vm/NAME");
    Problem::from(&refusal)
}

fn not_there(name: &str, backup: u64) -> Problem {
    let refusal = Refusal::new(Code::UnknownVm, format!("backup {backup} has no VM named {name}"))
        .because("a VM that was on its way from one region to another is in none of them")
        .try_this("dwcp-cli federation state backup list");
    Problem::from(&refusal)
}

/// The VM as it is to be created anew.
fn template(core: &Core, kept: Vm, now: Wall) -> Result<CreateVm, Problem> {
    let image = &kept.spec.image;
    let published = core.images.get(image).map(|image| image.digest.clone()).unwrap_or_default();
    if published != kept.spec.digest {
        let refusal = Refusal::new(Code::WrongState, format!("the image {image} is another by now"))
            .because(format!("{} was made of {image} as {}", kept.name, shown(&kept.spec.digest.to_string())))
            .try_this(format!("dwcp-cli image show {image}"));
        return Err(Problem::from(&refusal));
    }
    let users_in = kept.rules.max_latency.first().map(|(region, _)| region.clone());
    let template = Vm {
        name: kept.name,
        tenant: kept.tenant,
        project: kept.project,
        labels: kept.labels,
        spec: kept.spec,
        rules: kept.rules,
        priority: kept.priority,
        want: if kept.want == Want::Stopped { Want::Stopped } else { Want::Running },
        created_at: now,
        protection: kept.protection,
        ..Vm::default()
    };
    Ok(CreateVm { template, users_in, ..CreateVm::default() })
}

async fn bring_back(
    call: &Call,
    why: String,
    create: CreateVm,
    restored: BackupRestored,
) -> Result<BackupRestored, Problem> {
    let asked = call.asked_because(why, None);
    match call.ask(Request::CreateVm(asked, Box::new(create))).await? {
        Reply::Placed { refusal: Some(refusal), .. } => Err(Problem::from(&refusal)),
        Reply::Placed { created, .. } => {
            call.look(move |view| {
                let (vm, operation) = created.map_or((None, None), |(vm, _, receipt)| {
                    (Some(vm.to_string()), receipt.operation.and_then(|id| operations::show_id(view, id)))
                });
                BackupRestored { vm, operation, ..restored }
            })
            .await
        }
        other => Err(unexpected(&other)),
    }
}

/// Compares the federation with a backup.
fn compare(
    repository: &Repository,
    backup: Option<u64>,
    cut: &Cut,
) -> Result<BackupRestored, dwcp_backup::Error> {
    let mut found = Found { names: names(cut), ..Found::default() };
    let (backup, difference) = repository.compare(backup, cut.records(), |one| found.note(&one))?;
    Ok(BackupRestored {
        records: found.records,
        left_out: found.left_out,
        counted: found.counted.into_values().collect(),
        same: difference.same,
        ..of(&backup, cut.at)
    })
}

/// The VM of this name in a backup, and what is another about it now.
fn one(
    repository: &Repository,
    backup: Option<u64>,
    cut: &Cut,
    name: &str,
) -> Result<(BackupRestored, Option<Vm>), dwcp_backup::Error> {
    let (backup, records) = repository.restore(backup)?;
    let mut vm = None;
    // To the end: only then it is known that the backup is whole.
    for record in records {
        let record = record?;
        if record.group != FEDERATION_GROUP && record.key.starts_with(VMS.as_bytes()) {
            let kept = Facts::vm_of_piece(&record.value)
                .ok()
                .filter(|kept| kept.name == name && kept.want != Want::Deleted);
            vm = kept.map(|kept| (kept, record)).or(vm);
        }
    }
    let mut restored = of(&backup, cut.at);
    let Some((vm, record)) = vm else { return Ok((restored, None)) };
    let now = cut.records().find(|now| (now.group, &now.key) == (record.group, &record.key));
    let mut found = Found { names: names(cut), ..Found::default() };
    match &now {
        Some(now) if now.value == record.value => restored.same = 1,
        now => found.note(&Differing {
            change: if now.is_some() { Change::Changed } else { Change::Added },
            group: record.group,
            key: &record.key,
            now: now.as_ref().map(|now| &now.value[..]),
            kept: Some(&record.value),
        }),
    }
    restored.records = found.records;
    Ok((restored, Some(vm)))
}

fn of(backup: &dwcp_backup::Backup, now: Wall) -> BackupRestored {
    BackupRestored {
        destination: String::new(),
        backup: backup.sequence,
        at_ms: backup.at.0,
        age_ms: now.ms_since(backup.at),
        records: Vec::new(),
        left_out: 0,
        counted: Vec::new(),
        same: 0,
        vm: None,
        operation: None,
    }
}

fn names(cut: &Cut) -> BTreeMap<GroupId, String> {
    cut.groups.iter().map(|group| (group.group, group.name.clone())).collect()
}

/// What was found to differ.
#[derive(Default)]
struct Found {
    /// Names of the groups that there are now.
    names: BTreeMap<GroupId, String>,
    records: Vec<RecordDifference>,
    left_out: u64,
    counted: BTreeMap<(GroupId, String), RecordCount>,
}

impl Found {
    fn note(&mut self, one: &Differing<'_>) {
        let record = String::from_utf8_lossy(one.key).into_owned();
        let group = self.names.get(&one.group).cloned().unwrap_or_else(|| format!("group {}", one.group));
        let map = record.split('/').next().unwrap_or_default();
        if PAST.contains(&map) {
            let key = (one.group, map.to_owned());
            let fresh = RecordCount { group, records: map.to_owned(), added: 0, changed: 0, removed: 0 };
            let count = self.counted.entry(key).or_insert(fresh);
            match one.change {
                Change::Added => count.added += 1,
                Change::Changed => count.changed += 1,
                Change::Removed => count.removed += 1,
            }
            return;
        }
        if self.records.len() == LISTED.0 {
            self.left_out += 1;
            return;
        }
        let read = |bytes: Option<&[u8]>| {
            let bytes = bytes?;
            // Of a later version: it differs, and that is all that can be said.
            Facts::reading(one.group == FEDERATION_GROUP, &record, bytes).ok()
        };
        let (now, kept) = (read(one.now), read(one.kept));
        let name = now.as_ref().or(kept.as_ref()).map(|reading| reading.title.clone());
        let changes = now.zip(kept).map(|(now, kept)| now.changes(&kept)).unwrap_or_default();
        let fields = changes.into_iter().filter(|(field, ..)| !is_past(field)).take(LISTED.1);
        self.records.push(RecordDifference {
            group,
            name: name.filter(|name| !name.is_empty() && record != REST),
            change: match one.change {
                Change::Added => RecordChange::Added,
                Change::Changed => RecordChange::Changed,
                Change::Removed => RecordChange::Removed,
            },
            fields: fields
                .map(|(field, now, backup)| FieldDifference {
                    field,
                    now: now.map(|text| shown(&text)),
                    backup: backup.map(|text| shown(&text)),
                })
                .collect(),
            record,
        });
    }
}

/// Lists of what was answered once, of which the maps are counted.
fn is_past(field: &str) -> bool {
    ["ledger.", "claim_order."].iter().any(|past| field.starts_with(past))
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(LISTED.2) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! Backups of the control plane's state.

use dwcp_api::backup::{
    BackupConfigure, BackupConfigureRequest, BackupCreate, BackupCreateRequest, BackupKind, BackupList,
    BackupListRequest, BackupListing, BackupMark, BackupRestore, BackupRestoreRequest, BackupRestored,
    BackupStarted, BackupState, BackupStatus, BackupStatusRead, BackupVerify, BackupVerifyRequest,
    RecordChange,
};
use dwcp_api::operation::{Operation, StepState};
use dwcp_api::page::Nothing;
use dwcp_config::units::show_duration;

use super::{Ended, dry, operations, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{self, BackupCommand, Retention};

pub fn run(session: &Session, command: &BackupCommand) -> Ended {
    match command {
        BackupCommand::Configure(wanted) => configure(session, wanted),
        BackupCommand::Create(wanted) => create(session, wanted),
        BackupCommand::List { from } => read(session, || {
            let listing = session.call::<BackupList>(&BackupListRequest { destination: place(from)? })?;
            let exit = if listing.faults.is_empty() { Exit::Done } else { Exit::Failed };
            Ok((list(&listing), exit))
        }),
        BackupCommand::Verify { backup, all, from } => {
            let request = BackupVerifyRequest { backup: *backup, all: *all, destination: place(from)? };
            let started = session.call::<BackupVerify>(&request)?;
            finish(session, started)
        }
        BackupCommand::Restore { backup, only, from, reason } => {
            let request = BackupRestoreRequest {
                backup: *backup,
                destination: place(from)?,
                only: only.clone(),
                reason: reason.clone(),
                dry_run: session.global.dry_run,
            };
            let restored = session.call::<BackupRestore>(&request)?;
            if let (Some(vm), Some(operation)) = (&restored.vm, restored.operation.clone()) {
                return brought_back(session, vm, &restored, operation);
            }
            session.show(&difference(session, &restored))?;
            Ok(Exit::Done)
        }
        BackupCommand::Status => read(session, || {
            let status = session.call::<BackupStatusRead>(&Nothing {})?;
            let late = matches!(status.state, BackupState::Late | BackupState::VerifiedLate);
            let exit = if late { Exit::Failed } else { Exit::Done };
            Ok((show(&status).text_block(words::as_of(&status.as_of)), exit))
        }),
    }
}

/// A place as the server takes it: a folder by its whole path.
fn place(typed: &Option<String>) -> Result<Option<String>, Failure> {
    let Some(text) = typed else { return Ok(None) };
    if text.contains("://") {
        return Ok(Some(text.clone()));
    }
    let whole = std::path::absolute(text).map_err(|error| Failure::usage(format!("'{text}': {error}")))?;
    Ok(Some(whole.to_string_lossy().into_owned()))
}

fn configure(session: &Session, wanted: &typed::BackupConfigure) -> Ended {
    let (keep_within_ms, keep_last) = match wanted.retention {
        Retention::Within(ms) => (Some(ms), None),
        Retention::Last(count) => (None, Some(count)),
    };
    let request = BackupConfigureRequest {
        interval_ms: wanted.interval,
        keep_within_ms,
        keep_last,
        destination: wanted.destination.clone(),
        encryption: Some("aes256".to_owned()),
        key_file: place(&wanted.key_file)?,
        reason: wanted.reason.clone(),
        expected_revision: None,
        dry_run: session.global.dry_run,
    };
    let status = session.call::<BackupConfigure>(&request)?;
    let line = match &status.plan {
        Some(plan) => format!(
            "backups go to {} every {}, {} kept, sealed with key {}{}",
            plan.destination,
            show_duration(plan.interval_ms),
            kept(plan.keep_within_ms, plan.keep_last),
            if plan.key_id.is_empty() { words::UNKNOWN } else { &plan.key_id },
            dry(session)
        ),
        None => "no backups are planned".to_owned(),
    };
    session.show(&Document::bare(&status, line))?;
    Ok(Exit::Done)
}

fn kept(within_ms: Option<u64>, last: u32) -> String {
    match within_ms {
        Some(ms) => format!("those of {}", show_duration(ms)),
        None => format!("the newest {last}"),
    }
}

fn create(session: &Session, wanted: &typed::BackupCreate) -> Ended {
    // `--output` is where the backup goes here, and not where the answer is written.
    let output = session.global.output.as_ref().map(|path| path.to_string_lossy().into_owned());
    let request = BackupCreateRequest {
        kind: Some(match wanted.kind {
            typed::BackupKind::Full => BackupKind::Full,
            typed::BackupKind::Incremental => BackupKind::Incremental,
        }),
        destination: place(&output)?,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let session = Session::new(typed::Global { output: None, ..session.global.clone() });
    let started = session.call::<BackupCreate>(&request)?;
    finish(&session, started)
}

/// Follows a run to its end, and says what came of it.
fn finish(session: &Session, started: BackupStarted) -> Ended {
    let Some(operation) = started.operation else {
        let line = format!("a backup would be made at {}{}", started.destination, dry(session));
        session.show(&Document::bare(&serde_json::json!({ "destination": started.destination }), line))?;
        return Ok(Exit::Done);
    };
    if session.global.detach {
        let line = operation.operation.clone();
        session.show(&Document::of(&operation).text_block(line))?;
        return Ok(Exit::Done);
    }
    let ended = operations::follow(session, operation)?;
    let failed = ended.steps.iter().any(|step| step.state == StepState::Failed);
    let line = format!("{}: {}", ended.subject, result(&ended));
    session.show(&Document::bare(&ended, line))?;
    Ok(if failed { Exit::Failed } else { operations::exit_of(&ended) })
}

/// Follows a VM that comes back until it runs.
fn brought_back(session: &Session, vm: &str, restored: &BackupRestored, operation: Operation) -> Ended {
    if session.global.detach {
        session.show(&Document::of(&operation).text_block(operation.operation.clone()))?;
        return Ok(Exit::Done);
    }
    let ended = operations::follow(session, operation)?;
    let line = format!("{vm} is created as backup {} has it: {}", restored.backup, words::name(&ended.state));
    session.show(&Document::bare(restored, line))?;
    Ok(operations::exit_of(&ended))
}

/// What a restore would change: a line each field that differs, and one each record that comes or goes.
fn difference(session: &Session, restored: &BackupRestored) -> Document {
    let mut table = Table::new(&["GROUP", "RECORD", "NAME~1", "RESTORING", "FIELD", "NOW", "BACKUP"])
        .or("nothing would change");
    for record in &restored.records {
        let row = |what: &str, field: &str, now: Cell, backup: Cell| {
            vec![
                Cell::from(&record.group),
                Cell::from(&record.record),
                words::or_dash(record.name.clone()),
                Cell::from(what),
                Cell::from(field),
                now,
                backup,
            ]
        };
        let dash = || words::or_dash(None::<String>);
        match record.change {
            RecordChange::Added => table.row(row("brings back", "", dash(), dash())),
            RecordChange::Removed => table.row(row("takes away", "", dash(), dash())),
            RecordChange::Changed if record.fields.is_empty() => {
                table.row(row("changes", "", dash(), dash()));
            }
            RecordChange::Changed => {
                for field in &record.fields {
                    let [now, backup] = [&field.now, &field.backup].map(|text| words::or_dash(text.clone()));
                    table.row(row("changes", &field.field, now, backup));
                }
            }
        }
    }
    let mut past = Table::new(&["GROUP", "RECORDS", ">BACK", ">CHANGED", ">AWAY"]);
    for count in &restored.counted {
        past.row(vec![
            Cell::from(&count.group),
            Cell::from(&count.records),
            count.added.into(),
            count.changed.into(),
            count.removed.into(),
        ]);
    }
    let taken = format!("{}, {} ago", words::instant(restored.at_ms), show_duration(restored.age_ms));
    let mut document = Document::of(restored)
        .pairs(vec![
            ("destination", Cell::from(&restored.destination)),
            ("backup", format!("{} of {taken}", restored.backup).into()),
            ("same", restored.same.into()),
        ])
        .table(table)
        .section("of the past, which is not listed", past);
    if restored.left_out > 0 {
        document = document.text_block(format!("{} more records differ", restored.left_out));
    }
    document.text_block(dry(session).trim().to_owned())
}

fn result(operation: &Operation) -> String {
    let note = operation.steps.first().map(|step| step.note.clone()).filter(|note| !note.is_empty());
    note.unwrap_or_else(|| words::name(&operation.state))
}

fn list(listing: &BackupListing) -> Document {
    let mut table = Table::new(&[
        ">BACKUP",
        "TYPE",
        "TAKEN",
        ">AGE",
        ">RECORDS",
        ">SIZE",
        ">WRITTEN",
        ">USES~1",
        ">REVISION~2",
    ])
    .or("no backups");
    for backup in &listing.backups {
        table.row(vec![
            backup.backup.into(),
            Cell::from(words::name(&backup.kind)),
            words::instant(backup.at_ms).into(),
            show_duration(backup.age_ms).into(),
            backup.records.into(),
            kib(backup.bytes).into(),
            kib(backup.written_bytes).into(),
            words::or_dash(backup.parent),
            words::known(backup.revisions.get("federation")),
        ]);
    }
    let mut document = Document::of(listing)
        .pairs(vec![
            ("destination", Cell::from(&listing.destination)),
            ("seen by", Cell::from(&listing.server)),
        ])
        .table(table);
    if let Some(removed) = &listing.removed {
        document = document.text_block(format!("older ones were removed: {removed}"));
    }
    for fault in &listing.faults {
        document = document.text_block(format!("damaged: {fault}"));
    }
    document
}

fn kib(bytes: u64) -> String {
    match bytes {
        0..10_485_760 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn mark(mark: Option<&BackupMark>, late: bool) -> Cell {
    match mark {
        None => Cell::toned("none", Tone::Warn),
        Some(mark) => {
            let age = show_duration(mark.age_ms);
            let text = format!("{} of {}, {age} old", mark.backup, words::instant(mark.at_ms));
            Cell::toned(text, if late { Tone::Bad } else { Tone::Plain })
        }
    }
}

fn show(status: &BackupStatus) -> Document {
    let late = status.state == BackupState::Late;
    let verified_late = late || status.state == BackupState::VerifiedLate;
    let mut pairs = vec![("state", words::state(&status.state))];
    if let Some(plan) = &status.plan {
        pairs.extend([
            ("destination", Cell::from(&plan.destination)),
            ("interval", show_duration(plan.interval_ms).into()),
            ("kept", kept(plan.keep_within_ms, plan.keep_last).into()),
            ("encryption", format!("{}, key {}", plan.encryption, plan.key_id).into()),
            ("key file", words::or_dash(plan.key_file.clone())),
            ("configured", format!("{} by {}", words::instant(plan.at_ms), plan.by).into()),
            ("newest", mark(status.newest.as_ref(), late)),
            ("newest verified", mark(status.newest_verified.as_ref(), verified_late)),
            ("next", words::instant(plan.next_at_ms).into()),
        ]);
    }
    let mut runs = Table::new(&["STARTED", "TASK", "STATE", ">BACKUP", "DESTINATION~1", "BY~2", "RESULT"])
        .or("nothing was made or verified yet");
    for run in &status.runs {
        runs.row(vec![
            words::instant(run.asked_at_ms).into(),
            Cell::from(words::name(&run.task)),
            words::state(&run.state),
            words::or_dash(run.backup),
            Cell::from(&run.destination),
            Cell::from(&run.by),
            Cell::from(&run.result),
        ]);
    }
    Document::of(status).pairs(pairs).section("runs", runs)
}

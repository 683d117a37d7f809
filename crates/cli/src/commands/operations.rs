//! Operations: shown, followed, cancelled.

use std::time::{Duration, Instant};

use dwcp_api::operation::{
    Operation, OperationCancel, OperationCancelRequest, OperationList, OperationListRequest, OperationRead,
    OperationReadRequest, OperationState, StepState,
};
use dwcp_api::{Freshness, Page};
use dwcp_config::units::show_duration;

use super::{Ended, LOOK_EVERY, PATIENCE, choice, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::OperationCommand;

/// How long another region may need to hear of an operation that this run began.
const CATCH_UP: Duration = Duration::from_secs(10);

const STATES: [&str; 7] = ["waiting", "running", "cancelling", "done", "partly", "failed", "cancelled"];

pub fn run(session: &Session, command: &OperationCommand) -> Ended {
    match command {
        OperationCommand::List { state, kind, region, limit } => {
            let request = OperationListRequest {
                state: choice("--state", state, &STATES)?,
                kind: kind.clone(),
                region: region.clone(),
                limit: *limit,
                ..Default::default()
            };
            read(session, || Ok((list(&session.call::<OperationList>(&request)?), Exit::Done)))
        }
        OperationCommand::Show { operation } => read(session, || {
            let answer = fetch(session, operation)?;
            Ok((show(&answer.operation).text_block(words::as_of(&answer.as_of)), Exit::Done))
        }),
        OperationCommand::Watch { operation } => {
            let first = fetch(session, operation)?.operation;
            let ended = follow(session, first)?;
            session.show(&show(&ended))?;
            Ok(exit_of(&ended))
        }
        OperationCommand::Cancel { operation, reason } => {
            let request = OperationCancelRequest {
                operation: operation.clone(),
                reason: reason.clone(),
                dry_run: session.global.dry_run,
                ..Default::default()
            };
            let operation = session.call::<OperationCancel>(&request)?;
            let line =
                format!("{} is {}{}", operation.operation, words::name(&operation.state), dry(session));
            session.show(&Document::of(&operation).text_block(line))?;
            Ok(Exit::Done)
        }
    }
}

struct Fetched {
    operation: Operation,
    as_of: Vec<Freshness>,
}

fn fetch(session: &Session, operation: &str) -> Result<Fetched, Failure> {
    let request = OperationReadRequest { operation: operation.to_owned(), watch: false };
    let answer = session.call::<OperationRead>(&request)?;
    Ok(Fetched { operation: answer.operation, as_of: answer.as_of })
}

fn list(page: &Page<Operation>) -> Document {
    let mut table =
        Table::new(&["OPERATION", "KIND", "SUBJECT", "STATE", ">DONE", "STARTED", ">TOOK~2", "BY~1"])
            .or("no operations");
    for operation in &page.items {
        let took = operation.ended_at_ms.map(|end| end.saturating_sub(operation.started_at_ms));
        table.row(vec![
            Cell::from(&operation.operation),
            Cell::from(&operation.kind),
            Cell::from(&operation.subject),
            words::state(&operation.state),
            count(operation).into(),
            words::instant(operation.started_at_ms).into(),
            words::or_dash(took.map(show_duration)),
            Cell::from(&operation.by),
        ]);
    }
    Document::page(page, table)
}

fn count(operation: &Operation) -> String {
    match operation.total {
        Some(total) => format!("{}/{total}", operation.done),
        None => operation.done.to_string(),
    }
}

/// One operation with its steps.
pub fn show(operation: &Operation) -> Document {
    let mut steps = Table::new(&["STEP", "STATE", ">DONE", ">TOOK", "NOTE"]).or("no steps");
    for step in &operation.steps {
        let done = step.total.map_or(step.done.to_string(), |total| format!("{}/{total}", step.done));
        steps.row(vec![
            Cell::from(&step.name),
            words::state(&step.state),
            done.into(),
            words::or_dash(step.took_ms.map(show_duration)),
            Cell::from(&step.note),
        ]);
    }
    let mut document = Document::of(operation).pairs(vec![
        ("operation", Cell::from(&operation.operation)),
        ("kind", Cell::from(&operation.kind)),
        ("subject", Cell::from(&operation.subject)),
        ("about", words::or_dash(operation.related.clone())),
        ("state", words::state(&operation.state)),
        ("done", count(operation).into()),
        ("failed", operation.failed.into()),
        ("by", Cell::from(&operation.by)),
        ("started", words::instant(operation.started_at_ms).into()),
        ("ended", words::instant_or_dash(operation.ended_at_ms)),
    ]);
    document = document.section("steps", steps);
    for line in &operation.left {
        document = document.text_block(format!("left: {line}"));
    }
    document
}

/// The exit code of an ended operation.
pub fn exit_of(operation: &Operation) -> Exit {
    match operation.state {
        OperationState::Partly => Exit::Partly,
        OperationState::Failed | OperationState::Cancelled => Exit::Failed,
        _ => Exit::Done,
    }
}

/// Follows an operation to its end with progress on stderr. Outlives the death of the controller that answered.
pub fn follow(session: &Session, first: Operation) -> Result<Operation, Failure> {
    follow_within(session, first, session.global.timeout.map(Duration::from_millis))
}

/// Follows an operation for as long as that.
pub fn follow_within(
    session: &Session,
    first: Operation,
    limit: Option<Duration>,
) -> Result<Operation, Failure> {
    if first.joined {
        session.note(&format!("joined {}, which was running already", first.operation));
    }
    let began = Instant::now();
    let mut progress = Progress::new(session.global.quiet);
    let mut operation = first;
    let mut heard = Instant::now();
    while !operation.state.ended() {
        progress.at(operation.done, operation.total, &doing(&operation));
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            progress.end();
            return Err(unfinished(&operation, "it did not end in the time of --timeout"));
        }
        std::thread::sleep(LOOK_EVERY);
        match fetch(session, &operation.operation) {
            Ok(fetched) => {
                operation = fetched.operation;
                heard = Instant::now();
            }
            // The region that knew it may be gone, and the one that answers instead may not have heard of it yet.
            Err(failure) if failure.exit == Exit::NotFound && heard.elapsed() < CATCH_UP => {}
            Err(failure) if failure.exit == Exit::Unreachable && heard.elapsed() < PATIENCE => {}
            Err(failure) if failure.exit == Exit::Unreachable => {
                progress.end();
                return Err(unfinished(&operation, "no endpoint has answered for a minute"));
            }
            Err(failure) => return Err(failure),
        }
    }
    progress.at(operation.done, operation.total, &words::name(&operation.state));
    progress.end();
    Ok(operation)
}

fn doing(operation: &Operation) -> String {
    match operation.steps.iter().find(|step| step.state == StepState::Running) {
        Some(step) => format!("{} {}: {}", operation.kind, operation.subject, step.name),
        None => format!("{} {}: {}", operation.kind, operation.subject, words::name(&operation.state)),
    }
}

fn unfinished(operation: &Operation, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("{} is not known to have ended", operation.operation))
        .because(why)
        .and_then("it goes on by itself")
        .suggest(format!("dwcp-cli operation watch {}", operation.operation))
}

/// What an accepted operation means for this run: with `--detach` its id, otherwise its end.
pub fn finish(
    session: &Session,
    operation: Option<Operation>,
    done: impl FnOnce(Option<&Operation>) -> Result<Document, Failure>,
) -> Ended {
    let Some(operation) = operation else {
        session.show(&done(None)?)?;
        return Ok(Exit::Done);
    };
    if session.global.detach {
        let line = operation.operation.clone();
        session.show(&Document::of(&operation).text_block(line))?;
        return Ok(Exit::Done);
    }
    let operation = follow(session, operation)?;
    session.show(&done(Some(&operation))?)?;
    for line in &operation.left {
        session.note(&format!("left: {line}"));
    }
    Ok(exit_of(&operation))
}

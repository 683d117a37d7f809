//! Maintenance windows.

use dwcp_api::maintenance::{
    MaintenanceAnswer, MaintenanceCancel, MaintenanceCancelRequest, MaintenanceList, MaintenanceListRequest,
    MaintenanceSchedule, MaintenanceScheduleRequest, MaintenanceWindow,
};

use super::{Ended, all_pages, dry, moment_ms, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{self, MaintenanceCommand};

pub fn run(session: &Session, command: &MaintenanceCommand) -> Ended {
    match command {
        MaintenanceCommand::Schedule(wanted) => schedule(session, wanted),
        MaintenanceCommand::List { region, all, limit } => {
            read(session, || {
                let page = all_pages::<MaintenanceList, _>(session, *limit, |cursor| {
                    MaintenanceListRequest { region: region.clone(), all: *all, limit: *limit, cursor }
                })?;
                Ok((Document::page(&page, table(&page.items)), Exit::Done))
            })
        }
        MaintenanceCommand::Cancel { id, reason } => {
            let request = MaintenanceCancelRequest {
                window: id.clone(),
                reason: reason.clone(),
                dry_run: session.global.dry_run,
                ..Default::default()
            };
            let answer = session.call::<MaintenanceCancel>(&request)?;
            answered(session, &answer, "called off")
        }
    }
}

fn schedule(session: &Session, wanted: &typed::MaintenanceSchedule) -> Ended {
    let request = MaintenanceScheduleRequest {
        region: wanted.region.clone(),
        host: wanted.host.clone(),
        starts_at_ms: moment_ms(wanted.start),
        duration_ms: wanted.duration,
        reason: wanted.reason.clone(),
        no_placement: wanted.no_placement,
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<MaintenanceSchedule>(&request)?;
    answered(session, &answer, "planned")
}

fn subject(window: &MaintenanceWindow) -> String {
    match &window.host {
        Some(host) => format!("{}/{host}", window.region),
        None => window.region.clone(),
    }
}

fn answered(session: &Session, answer: &MaintenanceAnswer, what: &str) -> Ended {
    let window = &answer.window;
    let name = if window.window.is_empty() { "a window" } else { &window.window };
    let is = if session.global.dry_run { "would be" } else { "is" };
    let placement = if window.no_placement { ", without placement" } else { "" };
    let line = format!(
        "{name} of {} {is} {what}: {} to {}{placement} ({}){}",
        subject(window),
        words::instant(window.starts_at_ms),
        words::instant(window.ends_at_ms),
        window.reason,
        dry(session)
    );
    session.show(&Document::bare(answer, line))?;
    session.warn(&answer.warnings);
    Ok(Exit::Done)
}

fn table(windows: &[MaintenanceWindow]) -> Table {
    let mut table =
        Table::new(&["WINDOW", "OF", "STATE", "FROM", "TO", "PLACEMENT~2", "NOTICE~1", "BY~3", "REASON"])
            .or("no maintenance windows");
    for window in windows {
        table.row(vec![
            Cell::from(&window.window),
            Cell::from(subject(window)),
            words::state(&window.state),
            words::instant(window.starts_at_ms).into(),
            words::instant(window.ends_at_ms).into(),
            Cell::from(if window.no_placement { "stops" } else { "goes on" }),
            Cell::from(&window.notice),
            Cell::from(&window.by),
            Cell::from(&window.reason),
        ]);
    }
    table
}

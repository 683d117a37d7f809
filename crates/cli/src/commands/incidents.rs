//! Incidents.

use dwcp_api::incident::{
    Incident, IncidentAnswer, IncidentCreate, IncidentCreateRequest, IncidentDetail, IncidentList,
    IncidentListRequest, IncidentPostMortem, IncidentRead, IncidentReadRequest, IncidentSeverity,
    IncidentStatus, IncidentUpdate, IncidentUpdateRequest,
};

use super::{Ended, all_pages, dry, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{IncidentId, IncidentUpdateArgs, IncidentsCommand};

pub fn run(session: &Session, command: &IncidentsCommand) -> Ended {
    match command {
        IncidentsCommand::Create { title, severity, status, note } => {
            let request = IncidentCreateRequest {
                title: title.clone(),
                severity: severity.clone(),
                status: status.clone(),
                note: note.clone(),
                dry_run: session.global.dry_run,
            };
            let answer = session.call::<IncidentCreate>(&request)?;
            answered(session, &answer, "opened")
        }
        IncidentsCommand::List { status, severity, since, all, limit } => read(session, || {
            let page = all_pages::<IncidentList, _>(session, *limit, |cursor| IncidentListRequest {
                status: status.clone(),
                severity: severity.as_ref().map(|list| list.0.join(",")),
                since_ms: *since,
                all: *all,
                limit: *limit,
                cursor,
            })?;
            Ok((Document::page(&page, table(&page.items)), Exit::Done))
        }),
        IncidentsCommand::Show(id) => read(session, || {
            let detail =
                session.call::<IncidentRead>(&IncidentReadRequest { incident: id.incident.clone() })?;
            Ok((document(&detail), Exit::Done))
        }),
        IncidentsCommand::Update(wanted) => change(session, updating(wanted), "changed"),
        IncidentsCommand::Acknowledge(id) => {
            let status = Some("investigating".to_owned());
            change(session, IncidentUpdateRequest { status, ..of(id) }, "acknowledged")
        }
        IncidentsCommand::Assign { id, to } => {
            let assignee = Some(to.clone());
            change(session, IncidentUpdateRequest { assignee, ..of(id) }, "assigned")
        }
        IncidentsCommand::Resolve { id, resolution, root_cause } => {
            let request = IncidentUpdateRequest {
                status: Some("resolved".to_owned()),
                resolution: resolution.clone(),
                root_cause: root_cause.clone(),
                ..of(id)
            };
            change(session, request, "resolved")
        }
        IncidentsCommand::PostMortem(id) => {
            let asked = IncidentReadRequest { incident: id.incident.clone() };
            let draft = session.call::<IncidentPostMortem>(&asked)?;
            session.show(&Document::bare(&draft, draft.markdown.trim_end()))?;
            Ok(Exit::Done)
        }
    }
}

fn of(id: &IncidentId) -> IncidentUpdateRequest {
    IncidentUpdateRequest { incident: id.incident.clone(), ..Default::default() }
}

fn updating(wanted: &IncidentUpdateArgs) -> IncidentUpdateRequest {
    IncidentUpdateRequest {
        severity: wanted.severity.clone(),
        status: wanted.status.clone(),
        assignee: wanted.assignee.clone(),
        note: wanted.note.clone(),
        root_cause: wanted.root_cause.clone(),
        resolution: wanted.resolution.clone(),
        public_note: wanted.public_note.clone(),
        public_title: wanted.public_title.clone(),
        public_status: wanted.public_status.clone(),
        ..of(&wanted.id)
    }
}

fn change(session: &Session, request: IncidentUpdateRequest, what: &str) -> Ended {
    let request = IncidentUpdateRequest { dry_run: session.global.dry_run, ..request };
    let answer = session.call::<IncidentUpdate>(&request)?;
    answered(session, &answer, what)
}

fn answered(session: &Session, answer: &IncidentAnswer, what: &str) -> Ended {
    let incident = &answer.incident;
    let name = if incident.incident.is_empty() { "an incident" } else { &incident.incident };
    let is = if session.global.dry_run { "would be" } else { "is" };
    let line = format!(
        "{name} {is} {what}: {} {}, {}, {} ({}){}",
        words::name(&incident.severity),
        word(incident.severity),
        words::name(&incident.status),
        assigned(incident),
        incident.title,
        dry(session)
    );
    session.show(&Document::bare(answer, line))?;
    Ok(Exit::Done)
}

fn assigned(incident: &Incident) -> String {
    incident.assignee.as_ref().map_or("with nobody".to_owned(), |who| format!("with {who}"))
}

fn word(severity: IncidentSeverity) -> &'static str {
    match severity {
        IncidentSeverity::P0 => "critical",
        IncidentSeverity::P1 => "high",
        IncidentSeverity::P2 => "medium",
        IncidentSeverity::P3 => "low",
    }
}

fn severity(severity: IncidentSeverity) -> Cell {
    let tone = match severity {
        IncidentSeverity::P0 | IncidentSeverity::P1 => Tone::Bad,
        IncidentSeverity::P2 => Tone::Warn,
        IncidentSeverity::P3 => Tone::Faint,
    };
    let text = format!("{} {}", words::name(&severity), word(severity));
    Cell { raw: Some(words::name(&severity)), ..Cell::toned(text, tone) }
}

fn status(incident: &Incident) -> Cell {
    let tone = match incident.status {
        IncidentStatus::Open => Tone::Bad,
        IncidentStatus::Investigating => Tone::Warn,
        IncidentStatus::Resolved | IncidentStatus::Merged => Tone::Faint,
    };
    match &incident.merged_into {
        Some(into) => Cell::toned(format!("merged into {into}"), tone),
        None => Cell::toned(words::name(&incident.status), tone),
    }
}

/// By when someone must have taken it, or what stopped the clock.
fn clock(incident: &Incident) -> Cell {
    let late = if incident.overdue { ", too late" } else { "" };
    let tone = if incident.overdue { Tone::Bad } else { Tone::Plain };
    match (incident.acknowledged_at_ms, incident.resolved_at_ms) {
        (Some(at_ms), _) => Cell::toned(format!("taken {}{late}", words::instant(at_ms)), tone),
        (None, Some(at_ms)) => Cell::toned(format!("ended {}{late}", words::instant(at_ms)), tone),
        (None, None) if incident.overdue => {
            Cell::toned(format!("overdue since {}", words::instant(incident.due_at_ms)), tone)
        }
        (None, None) => Cell::from(format!("due {}", words::instant(incident.due_at_ms))),
    }
}

fn table(incidents: &[Incident]) -> Table {
    let columns = ["INCIDENT", "SEVERITY", "STATUS", "OPENED~2", "CLOCK", "ASSIGNEE~1", ">ALERTS~3", "TITLE"];
    let mut table = Table::new(&columns).or("no incidents");
    for incident in incidents {
        table.row(vec![
            Cell::from(&incident.incident),
            severity(incident.severity),
            status(incident),
            words::instant(incident.opened_at_ms).into(),
            clock(incident),
            words::or_dash(incident.assignee.as_ref()),
            Cell::from(incident.alerts_firing),
            Cell::from(&incident.title),
        ]);
    }
    table
}

fn document(detail: &IncidentDetail) -> Document {
    let incident = &detail.incident;
    let taken = match (&incident.acknowledged_by, incident.acknowledged_at_ms) {
        (Some(who), Some(at_ms)) => Cell::from(format!("by {who}, {}", words::instant(at_ms))),
        _ => words::or_dash(None::<String>),
    };
    let pairs = vec![
        ("incident", Cell::from(&incident.incident)),
        ("title", Cell::from(&incident.title)),
        ("severity", severity(incident.severity)),
        ("status", status(incident)),
        ("cause", Cell::from(&incident.cause)),
        ("opened", words::instant(incident.opened_at_ms).into()),
        ("clock", clock(incident)),
        ("assignee", words::or_dash(incident.assignee.as_ref())),
        ("acknowledged", taken),
        ("resolved", words::or_dash(incident.resolved_at_ms.map(words::instant))),
        ("came back", Cell::from(incident.reopened)),
        ("alerts firing", Cell::from(incident.alerts_firing)),
        ("root cause", words::text_or_dash(&detail.root_cause)),
        ("resolution", words::text_or_dash(&detail.resolution)),
        ("on the status page", words::or_dash(detail.public_title.as_ref())),
    ];
    let mut document = Document::of(detail).pairs(pairs).section("timeline", timeline(detail));
    if detail.timeline_left_out > 0 {
        document = document.text_block(format!("{} more entries were not kept", detail.timeline_left_out));
    }
    document = document.section("alerts", alerts(detail));
    if detail.more_alerts_firing > 0 {
        document = document.text_block(format!("and {} more that fire", detail.more_alerts_firing));
    }
    document = document.section("pages", pages(detail)).section("published", published(detail));
    document.text_block(words::as_of(&detail.as_of))
}

fn timeline(detail: &IncidentDetail) -> Table {
    let mut table = Table::new(&["TIME", "WHO", "WHAT"]);
    for entry in &detail.timeline {
        let who = words::or_dash(entry.who.as_ref());
        table.row(vec![words::instant(entry.at_ms).into(), who, Cell::from(&entry.what)]);
    }
    table
}

fn alerts(detail: &IncidentDetail) -> Table {
    let mut table = Table::new(&["ALERT", "SEVERITY", "SINCE", "UNTIL", "LABELS"]);
    for alert in &detail.alerts {
        table.row(vec![
            Cell::from(&alert.name),
            severity(alert.severity),
            words::instant(alert.since_ms).into(),
            alert.ended_at_ms.map_or_else(|| Cell::toned("fires", Tone::Bad), |at| words::instant(at).into()),
            Cell::from(&alert.labels),
        ]);
    }
    table
}

fn pages(detail: &IncidentDetail) -> Table {
    let mut table = Table::new(&["TIME", ">STEP", "ROLE", "WHO"]);
    for page in &detail.pages {
        let who = page.who.as_ref().map_or_else(|| Cell::toned("nobody", Tone::Bad), Cell::from);
        let step = Cell::from(page.step);
        table.row(vec![words::instant(page.at_ms).into(), step, Cell::from(&page.role), who]);
    }
    table
}

fn published(detail: &IncidentDetail) -> Table {
    let mut table = Table::new(&["TIME", "STATUS", "TEXT"]);
    for note in &detail.public_notes {
        let status = Cell::from(&note.status);
        table.row(vec![words::instant(note.at_ms).into(), status, Cell::from(&note.text)]);
    }
    table
}

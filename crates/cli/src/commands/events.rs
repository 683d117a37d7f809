//! Events.

use dwcp_api::Page;
use std::cell::Cell as Shared;
use std::collections::BTreeSet;
use std::time::Instant;

use dwcp_api::event::{Event, EventList, EventListRequest};

use super::{Ended, choice, follow, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::EventsCommand;

/// How much of the past is asked for again after a stream broke.
const OVERLAP_MS: u64 = 5_000;

const SEVERITIES: [&str; 4] = ["info", "warning", "error", "critical"];

pub fn run(session: &Session, command: &EventsCommand) -> Ended {
    let EventsCommand::List(wanted) = command;
    let request = EventListRequest {
        region: wanted.region.clone(),
        since_ms: wanted.since,
        severity: choice("--severity", &wanted.severity, &SEVERITIES)?,
        subject: wanted.subject.clone(),
        limit: wanted.limit,
        watch: wanted.follow,
        ..Default::default()
    };
    if !wanted.follow {
        return read(session, || {
            let page = session.call::<EventList>(&request)?;
            let mut table = table(&page.items);
            if wanted.verbose {
                table.columns.iter_mut().for_each(|column| column.spare = 0);
            }
            Ok((Document::page(&page, table), Exit::Done))
        });
    }
    // A stream begins again when its server goes away: asked a little further back, shown once.
    let heard = Shared::new(None::<Instant>);
    let mut shown: BTreeSet<String> = BTreeSet::new();
    follow::<EventList>(
        session,
        || EventListRequest {
            since_ms: heard
                .get()
                .map_or(request.since_ms, |at| Some(at.elapsed().as_millis() as u64 + OVERLAP_MS)),
            ..request.clone()
        },
        |page: Page<Event>| {
            // A stream is read from the top down: the oldest of a page first.
            let new: Vec<&Event> = page.items.iter().rev().filter(|e| shown.insert(e.id.clone())).collect();
            heard.set(Some(Instant::now()));
            new.iter().all(|event| crate::print_quietly(&format!("{}\n", line(event))))
        },
    )
}

fn line(event: &Event) -> String {
    let region = event.region.as_deref().unwrap_or("federation");
    let severity = words::name(&event.severity);
    let mut text = format!(
        "{} {severity} {region} {} {}: {}",
        words::instant(event.at_ms),
        event.kind,
        event.subject,
        event.message
    );
    let more = [("was", &event.before), ("because", &event.reason), ("muted by", &event.muted_by)];
    for (word, said) in more.iter().filter_map(|(word, said)| Some((word, said.as_ref()?))) {
        text.push_str(&format!(", {word} {said}"));
    }
    text
}

/// Events, one a line.
pub fn table(events: &[Event]) -> Table {
    let mut table = Table::new(&[
        "TIME",
        "SEVERITY",
        "REGION",
        "KIND~1",
        "SUBJECT~2",
        "BY~3",
        "REQUEST~4",
        "MESSAGE",
        "REASON~5",
        "BEFORE~6",
        "AFTER~7",
        "MUTED BY~1",
    ])
    .or("no events");
    for event in events {
        table.row(vec![
            words::instant(event.at_ms).into(),
            words::state(&event.severity),
            Cell::from(event.region.as_deref().unwrap_or("federation")),
            Cell::from(&event.kind),
            Cell::from(&event.subject),
            Cell::from(&event.by),
            words::or_dash(event.request_id.as_ref()),
            Cell::from(&event.message),
            words::or_dash(event.reason.as_ref()),
            words::or_dash(event.before.as_ref()),
            words::or_dash(event.after.as_ref()),
            words::or_dash(event.muted_by.as_ref()),
        ]);
    }
    table
}

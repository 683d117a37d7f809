//! Incidents as documents: what alerts and people make of them, with what follows, as one change.

use std::collections::BTreeMap;

use dwcp_roles::node::Asked;
use dwcp_state::{DocumentEvent, DocumentKind, Severity as Weight};
use dwcp_telemetry::incidents::{Book, Decision, Incident, IncidentId, Policy, Refused, Severity};
use dwcp_telemetry::notify::Subject;
use dwcp_types::{Code, Refusal};

use super::documents::{self, Documents, Draft};
use super::{Monitor, outbox};
use crate::clock;

/// The kinds that a change of incidents reads and writes.
pub const KINDS: &[DocumentKind] = &[DocumentKind::Incident, DocumentKind::Delivery, DocumentKind::OnCall];

/// All incidents.
///
/// # Errors
/// A later version wrote one.
pub fn book(seen: &Documents) -> Result<Book, Refusal> {
    let all = seen.all::<Incident>(DocumentKind::Incident)?;
    Ok(Book::of(all.into_iter().map(|(_, incident)| incident)))
}

/// Why an incident can't be changed like that.
pub fn refusal(refused: &Refused) -> Refusal {
    let (code, id) = match refused {
        Refused::Unknown(id) => (Code::UnknownIncident, id),
        Refused::Over(id) => (Code::WrongState, id),
    };
    Refusal::new(code, refused.to_string())
        .try_this(format!("dwcp-cli federation monitoring incidents show --incident-id {id}"))
}

/// Changes incidents: `decide` gets them all, how they are treated, and the time in ms since 1970; what it decides is told to whoever
/// it concerns. With another change in between it is asked again.
///
/// # Errors
/// What `decide` refuses, or why nothing can be written.
pub async fn change<T>(
    monitor: &Monitor,
    asked: &Asked,
    mut decide: impl FnMut(&mut Book, &Policy<'_>, i64) -> Result<(T, Vec<Decision>), Refusal>,
) -> Result<T, Refusal> {
    documents::change(&monitor.node, asked, KINDS, |seen, draft| {
        let now_ms = clock::wall_ms();
        let mut book = book(seen)?;
        let before = book.clone();
        let (decided, decisions) =
            monitor.with_policy(seen, |policy| decide(&mut book, policy, now_ms))??;
        keep(draft, &before, &book)?;
        follow(monitor, (seen, draft), &book, &decisions, now_ms)?;
        Ok(decided)
    })
    .await
}

/// What [`change`] would make of incidents; nothing is changed.
///
/// # Errors
/// What `decide` refuses, or a later version wrote an incident.
pub async fn preview<T>(
    monitor: &Monitor,
    decide: impl FnOnce(&mut Book, &Policy<'_>, i64) -> Result<(T, Vec<Decision>), Refusal>,
) -> Result<(T, Book), Refusal> {
    let seen = Documents::look(&monitor.node, KINDS).await?;
    let mut book = book(&seen)?;
    let (decided, _) = monitor.with_policy(&seen, |policy| decide(&mut book, policy, clock::wall_ms()))??;
    Ok((decided, book))
}

/// Drafts what follows from decisions: events, and messages to whoever they concern.
///
/// # Errors
/// A document can't be read or written.
pub fn follow(
    monitor: &Monitor,
    (seen, draft): (&Documents, &mut Draft),
    book: &Book,
    decisions: &[Decision],
    now_ms: i64,
) -> Result<(), Refusal> {
    decisions.iter().filter_map(|decision| event(book, decision)).for_each(|event| draft.event(event));
    outbox::tell(monitor, (seen, draft), book, decisions, now_ms)
}

/// Drafts what differs between two states of all incidents.
///
/// # Errors
/// An incident can't be written.
pub fn keep(draft: &mut Draft, before: &Book, after: &Book) -> Result<(), Refusal> {
    let known: BTreeMap<&IncidentId, &Incident> = before.incidents().map(|one| (&one.id, one)).collect();
    for incident in after.incidents() {
        if known.get(&incident.id).is_none_or(|known| *known != incident) {
            draft.put(DocumentKind::Incident, &incident.id.0, incident)?;
        }
    }
    for id in known.keys().filter(|id| after.get(id).is_none()) {
        draft.remove(DocumentKind::Incident, &id.0);
    }
    Ok(())
}

/// Whether a message is about an incident that is not over.
pub fn is_open(book: &Book, subject: &Subject) -> bool {
    match subject {
        Subject::Incident { id, .. } => book.get(id).is_some_and(Incident::is_open),
        Subject::Notice(_) => false,
    }
}

/// The event that a decision is remembered by; none: the incident's own timeline says enough.
pub fn event(book: &Book, decision: &Decision) -> Option<DocumentEvent> {
    let (id, kind, what) = match decision {
        Decision::Opened(id) => (id, "incident.opened", "is opened"),
        Decision::Reopened(id) => (id, "incident.reopened", "is back"),
        Decision::Raised(id, _) => (id, "incident.raised", "is graver than it was"),
        Decision::Resolved(id) => (id, "incident.resolved", "is resolved"),
        Decision::Merged(id, _) => (id, "incident.merged", "is the consequence of another one"),
        Decision::Page { .. } | Decision::Acknowledged(_) | Decision::PostMortem(..) => return None,
    };
    let incident = book.get(id)?;
    let severity = match incident.severity {
        Severity::P0 | Severity::P1 if incident.is_open() => Weight::Critical,
        Severity::P2 if incident.is_open() => Weight::Warning,
        _ => Weight::Info,
    };
    let text = format!("{id} ({}) {what}: {}", incident.severity, incident.title);
    Some(DocumentEvent { severity, kind: kind.to_owned(), subject: id.0.clone(), text })
}

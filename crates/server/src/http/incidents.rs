//! Incidents: opened, listed, changed, explained.

use dwcp_api::incident::{
    Incident as ApiIncident, IncidentAlert, IncidentAnswer, IncidentCreate, IncidentCreateRequest,
    IncidentDetail, IncidentList, IncidentListRequest, IncidentPage, IncidentPostMortem, IncidentRead,
    IncidentReadRequest, IncidentSeverity, IncidentStatus, IncidentUpdate, IncidentUpdateRequest, PostMortem,
    PublicNote, TimelineEntry,
};
use dwcp_api::{Freshness, Page, Problem};
use dwcp_state::{DocumentKey, DocumentKind};
use dwcp_telemetry::incidents::{
    Announcement, Book, Decision, Incident, IncidentId, NAME_BYTES, Opening, PUBLIC_BYTES, Policy,
    PublicStatus, Refused, RequestKey, Role, Severity, Status, TEXT_BYTES, TITLE_BYTES, post_mortem,
};
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::routes::Serve;
use super::{names, page};
use crate::clock;
use crate::handle::View;
use crate::monitor::documents::{self, Documents};
use crate::monitor::incidents;

/// Milliseconds since 1970 as the API has them.
pub fn at(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

/// A text of people as it is kept: one line of bounded length, without anything that a terminal would take for more than text.
pub fn line(field: &str, text: &str, most_bytes: usize) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > most_bytes || text.chars().any(char::is_control) {
        return Err(bad_value(
            field,
            format!("one line of 1 to {most_bytes} bytes, without control characters"),
        ));
    }
    Ok(text.to_owned())
}

fn optional(field: &str, text: Option<&String>, most_bytes: usize) -> Result<Option<String>, Problem> {
    text.map(|text| line(field, text, most_bytes)).transpose()
}

/// A severity by either of its names.
pub fn severity(text: &str) -> Result<Severity, Problem> {
    text.trim().parse().map_err(|why: String| bad_value("severity", why))
}

fn shown_severity(severity: Severity) -> IncidentSeverity {
    match severity {
        Severity::P0 => IncidentSeverity::P0,
        Severity::P1 => IncidentSeverity::P1,
        Severity::P2 => IncidentSeverity::P2,
        Severity::P3 => IncidentSeverity::P3,
    }
}

/// An incident as the API shows it.
pub fn shown(incident: &Incident, now_ms: i64) -> ApiIncident {
    let (status, merged_into) = match &incident.status {
        Status::Open => (IncidentStatus::Open, None),
        Status::Investigating => (IncidentStatus::Investigating, None),
        Status::Resolved => (IncidentStatus::Resolved, None),
        Status::Merged(into) => (IncidentStatus::Merged, Some(into.to_string())),
    };
    // Whoever took it, or its end, stopped the clock.
    let taken = incident.acknowledged.as_ref();
    let stopped_ms = taken.map(|act| act.at_ms).or(incident.resolved_at_ms).unwrap_or(now_ms);
    ApiIncident {
        incident: incident.id.to_string(),
        title: incident.title.clone(),
        severity: shown_severity(incident.severity),
        status,
        merged_into,
        cause: incident.cause.to_string(),
        opened_at_ms: at(incident.opened_at_ms),
        due_at_ms: at(incident.due_at_ms),
        overdue: stopped_ms > incident.due_at_ms,
        assignee: incident.assignee.clone(),
        acknowledged_by: taken.map(|act| act.who.clone()),
        acknowledged_at_ms: taken.map(|act| at(act.at_ms)),
        resolved_at_ms: incident.resolved_at_ms.map(at),
        reopened: incident.reopened,
        alerts_firing: incident.firing(),
        published: incident.published.is_some(),
    }
}

fn detail(incident: &Incident, now_ms: i64, as_of: Vec<Freshness>) -> IncidentDetail {
    let timeline = incident.timeline.iter().map(|entry| TimelineEntry {
        at_ms: at(entry.at_ms),
        who: entry.who.clone(),
        what: entry.what.clone(),
    });
    let mut alerts: Vec<_> = incident.alerts.values().collect();
    alerts.sort_by_key(|alert| (alert.ended_at_ms.is_some(), alert.severity, alert.since_ms));
    let alerts = alerts.into_iter().map(|alert| IncidentAlert {
        name: alert.name.clone(),
        severity: shown_severity(alert.severity),
        labels: alert.labels.clone(),
        since_ms: at(alert.since_ms),
        ended_at_ms: alert.ended_at_ms.map(at),
    });
    let pages = incident.paged.iter().map(|paged| IncidentPage {
        at_ms: at(paged.at_ms),
        step: paged.step.saturating_add(1),
        role: role_word(&paged.role).to_owned(),
        who: paged.who.clone(),
    });
    let notes = incident.published.iter().flat_map(|published| &published.notes);
    let notes = notes.map(|note| PublicNote {
        at_ms: at(note.at_ms),
        status: note.status.word().to_owned(),
        text: note.text.clone(),
    });
    IncidentDetail {
        incident: shown(incident, now_ms),
        timeline: timeline.collect(),
        timeline_left_out: incident.left_out,
        alerts: alerts.collect(),
        more_alerts_firing: incident.more_firing,
        pages: pages.collect(),
        root_cause: incident.root_cause.clone(),
        resolution: incident.resolution.clone(),
        public_title: incident.published.as_ref().map(|published| published.title.clone()),
        public_notes: notes.collect(),
        as_of,
    }
}

/// A role as the API writes it.
pub fn role_word(role: &Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Secondary => "secondary",
        Role::Person(_) => "person",
    }
}

fn unknown(id: &IncidentId) -> Problem {
    Problem::from(&incidents::refusal(&Refused::Unknown(id.clone())))
}

/// An incident as it is here.
async fn find(call: &Call, id: &str) -> Result<(Incident, Vec<Freshness>), Problem> {
    let id = IncidentId(id.to_owned());
    let read = move |view: &View<'_>| {
        let document =
            view.node.facts().core.documents.get(&DocumentKey::new(DocumentKind::Incident, id.0.clone()));
        let document = document.ok_or_else(|| unknown(&id))?.clone();
        Ok((id, document, names::as_of_federation(view)))
    };
    let (id, document, as_of) = call.find(read).await?;
    let incident = documents::read(&DocumentKey::new(DocumentKind::Incident, id.0.clone()), &document);
    Ok((incident.map_err(|refusal| Problem::from(&refusal))?, as_of))
}

/// Changes incidents, or only tries; answers with the one that `decide` names, as it is then.
async fn change(
    call: &Call,
    dry_run: bool,
    mut decide: impl FnMut(&mut Book, &Policy<'_>, i64) -> Result<(IncidentId, Vec<Decision>), Refusal>,
) -> Result<Incident, Problem> {
    let monitor = call.api.monitor();
    if dry_run {
        let previewed = incidents::preview(monitor, decide).await;
        let (id, book) = previewed.map_err(|refusal| Problem::from(&refusal))?;
        return book.get(&id).cloned().ok_or_else(|| unknown(&id));
    }
    let changed = incidents::change(monitor, &call.asked(), &mut decide).await;
    let id = changed.map_err(|refusal| Problem::from(&refusal))?;
    Ok(find(call, &id.0).await?.0)
}

async fn answer(call: &Call, incident: &Incident) -> Result<IncidentAnswer, Problem> {
    let as_of = call.look(names::as_of_federation).await?;
    Ok(IncidentAnswer { incident: shown(incident, clock::wall_ms()), as_of })
}

/// What an incident is opened with.
pub struct Wanted {
    pub title: String,
    pub severity: Severity,
    /// Whoever opens it has taken it.
    pub taken: bool,
    pub note: Option<String>,
    /// What the public is told of it.
    pub public: Option<(PublicStatus, String)>,
}

/// Opens an incident; the one that the request opened before, if it did.
pub async fn open(call: &Call, wanted: &Wanted, dry_run: bool) -> Result<Incident, Problem> {
    let key = call.asked().key;
    if let Some(opened) = opened_by(call, key.as_deref()).await? {
        return Ok(opened);
    }
    let request = key.clone().map(|key| RequestKey { key, digest: call.digest });
    let who = call.caller.user.clone();
    let opening = Opening {
        title: &wanted.title,
        severity: wanted.severity,
        taken: wanted.taken,
        request: request.as_ref(),
    };
    let opened = change(call, dry_run, |book, policy, now_ms| {
        let (id, decided) = book.create(&opening, &who, policy, now_ms);
        if decided.is_empty() {
            return Ok((id, decided));
        }
        let refused = |refused: Refused| incidents::refusal(&refused);
        if let Some(note) = &wanted.note {
            book.add_note(&id, note, &who, now_ms).map_err(refused)?;
        }
        if let Some((status, text)) = &wanted.public {
            let told = Announcement { title: None, status: Some(*status), text };
            book.publish(&id, &told, &who, now_ms).map_err(refused)?;
        }
        Ok((id, decided))
    })
    .await;
    match opened {
        // A repetition that came before the facts of the first one were here: what was decided was not carried out.
        Ok(incident) if request.is_some() && incident.request != request => {
            opened_by(call, key.as_deref()).await?.ok_or_else(|| unknown(&incident.id))
        }
        Err(problem) => opened_by(call, key.as_deref()).await?.ok_or(problem),
        opened => opened,
    }
}

/// The incident that a key opened.
async fn opened_by(call: &Call, key: Option<&str>) -> Result<Option<Incident>, Problem> {
    let Some(key) = key else { return Ok(None) };
    let seen = Documents::look(&call.api.node, &[DocumentKind::Incident]).await;
    let book = seen.and_then(|seen| incidents::book(&seen)).map_err(|refusal| Problem::from(&refusal))?;
    let Some(opened) = book.opened_by(key) else { return Ok(None) };
    if opened.request.as_ref().is_some_and(|request| request.digest != call.digest) {
        let what = format!("the idempotency key {key} was used for another request");
        return Err(Problem::from(&Refusal::new(Code::IdempotencyMismatch, what)));
    }
    Ok(Some(opened.clone()))
}

impl Serve for IncidentCreate {
    async fn answer(call: &Call, request: IncidentCreateRequest) -> Result<IncidentAnswer, Problem> {
        let taken = match request.status.as_deref() {
            None | Some("open") => false,
            Some("investigating") => true,
            Some(_) => return Err(bad_value("status", "an incident begins as open or investigating")),
        };
        let wanted = Wanted {
            title: line("title", &request.title, TITLE_BYTES)?,
            severity: severity(&request.severity)?,
            taken,
            note: optional("note", request.note.as_ref(), TEXT_BYTES)?,
            public: None,
        };
        let mut incident = open(call, &wanted, request.dry_run).await?;
        if request.dry_run {
            incident.id = IncidentId(String::new());
        }
        answer(call, &incident).await
    }
}

/// What changes of an incident, once it was looked at.
#[derive(Default)]
pub struct Changes {
    pub severity: Option<Severity>,
    pub takes: bool,
    pub resolves: bool,
    pub assignee: Option<String>,
    pub note: Option<String>,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    pub public_title: Option<String>,
    /// With a note for the public.
    pub public: Option<(Option<PublicStatus>, String)>,
}

impl Changes {
    fn of(request: &IncidentUpdateRequest) -> Result<Changes, Problem> {
        let (takes, resolves) = match request.status.as_deref() {
            None => (false, false),
            Some("investigating") => (true, false),
            Some("resolved") => (false, true),
            Some(_) => {
                return Err(bad_value(
                    "status",
                    "investigating or resolved; alerts that come back open it again",
                ));
            }
        };
        let public_note = optional("public_note", request.public_note.as_ref(), PUBLIC_BYTES)?;
        let public_status = request.public_status.as_deref().map(public_status).transpose()?;
        let alone = request.public_title.is_some() || public_status.is_some();
        if public_note.is_none() && alone {
            return Err(bad_value("public_note", "a title and a status for the public come with a note"));
        }
        let changes = Changes {
            severity: request.severity.as_deref().map(severity).transpose()?,
            takes,
            resolves,
            assignee: optional("assignee", request.assignee.as_ref(), NAME_BYTES)?,
            note: optional("note", request.note.as_ref(), TEXT_BYTES)?,
            root_cause: optional("root_cause", request.root_cause.as_ref(), TEXT_BYTES)?,
            resolution: optional("resolution", request.resolution.as_ref(), TEXT_BYTES)?,
            public_title: optional("public_title", request.public_title.as_ref(), TITLE_BYTES)?,
            public: public_note.map(|note| (public_status, note)),
        };
        let asked = IncidentUpdateRequest { dry_run: request.dry_run, ..Default::default() };
        let nothing = IncidentUpdateRequest { incident: request.incident.clone(), ..asked };
        if *request == nothing {
            return Err(bad_value("incident", "nothing of it is to change"));
        }
        Ok(changes)
    }

    fn apply(
        &self,
        book: &mut Book,
        id: &IncidentId,
        who: &str,
        policy: &Policy<'_>,
        now_ms: i64,
    ) -> Result<Vec<Decision>, Refused> {
        let mut decided = Vec::new();
        if let Some(severity) = self.severity {
            decided.extend(book.set_severity(id, severity, who, policy, now_ms)?);
        }
        if self.takes {
            decided.extend(book.acknowledge(id, who, now_ms)?);
        }
        if let Some(assignee) = &self.assignee {
            book.assign(id, assignee, who, now_ms)?;
        }
        if let Some(note) = &self.note {
            book.add_note(id, note, who, now_ms)?;
        }
        book.explain(id, self.root_cause.as_deref(), self.resolution.as_deref(), who, now_ms)?;
        if let Some((status, text)) = &self.public {
            let told = Announcement { title: self.public_title.as_deref(), status: *status, text };
            book.publish(id, &told, who, now_ms)?;
        }
        if self.resolves {
            decided.extend(book.resolve(id, who, now_ms)?);
        }
        Ok(decided)
    }
}

/// A status in the words of status pages.
pub fn public_status(text: &str) -> Result<PublicStatus, Problem> {
    let wrong = || bad_value("status", "investigating, identified, monitoring or resolved");
    PublicStatus::of_word(text.trim()).ok_or_else(wrong)
}

/// Changes an incident, unless the request did so before.
pub async fn update(call: &Call, id: &str, changes: &Changes, dry_run: bool) -> Result<Incident, Problem> {
    let done = documents::was_done(&call.api.node, &call.asked()).await;
    if done.map_err(|refusal| Problem::from(&refusal))? {
        return Ok(find(call, id).await?.0);
    }
    // What is not known here yet is told from what is not there at all.
    find(call, id).await?;
    let (id, who) = (IncidentId(id.to_owned()), call.caller.user.clone());
    change(call, dry_run, |book, policy, now_ms| {
        let decided = changes.apply(book, &id, &who, policy, now_ms);
        decided.map(|decided| (id.clone(), decided)).map_err(|refused| incidents::refusal(&refused))
    })
    .await
}

impl Serve for IncidentUpdate {
    async fn answer(call: &Call, request: IncidentUpdateRequest) -> Result<IncidentAnswer, Problem> {
        let changes = Changes::of(&request)?;
        let incident = update(call, &request.incident, &changes, request.dry_run).await?;
        answer(call, &incident).await
    }
}

/// Which incidents a list has.
struct Filter {
    statuses: Option<Vec<IncidentStatus>>,
    severities: Option<Vec<Severity>>,
    opened_after_ms: i64,
}

impl Filter {
    fn of(request: &IncidentListRequest, now_ms: i64) -> Result<Filter, Problem> {
        const OPEN: [IncidentStatus; 2] = [IncidentStatus::Open, IncidentStatus::Investigating];
        let statuses = match request.status.as_deref() {
            Some(_) if request.all => return Err(bad_value("status", "of one status, or all of them")),
            None if request.all || request.since_ms.is_some() => None,
            None | Some("open") => Some(OPEN.to_vec()),
            Some("investigating") => Some(vec![IncidentStatus::Investigating]),
            Some("resolved") => Some(vec![IncidentStatus::Resolved]),
            Some("merged") => Some(vec![IncidentStatus::Merged]),
            Some(_) => return Err(bad_value("status", "open, investigating, resolved or merged")),
        };
        let severities = request.severity.as_ref().map(|list| list.split(',').map(severity).collect());
        Ok(Filter {
            statuses,
            severities: severities.transpose()?,
            opened_after_ms: request
                .since_ms
                .map_or(i64::MIN, |since| now_ms.saturating_sub(clock::ms(since))),
        })
    }

    fn takes(&self, incident: &Incident, status: IncidentStatus) -> bool {
        self.statuses.as_ref().is_none_or(|wanted| wanted.contains(&status))
            && self.severities.as_ref().is_none_or(|wanted| wanted.contains(&incident.severity))
            && incident.opened_at_ms >= self.opened_after_ms
    }
}

impl Serve for IncidentList {
    async fn answer(call: &Call, request: IncidentListRequest) -> Result<Page<ApiIncident>, Problem> {
        let now_ms = clock::wall_ms();
        let filter = Filter::of(&request, now_ms)?;
        let look =
            |view: &View<'_>| (Documents::of(view, &[DocumentKind::Incident]), names::as_of_federation(view));
        let (seen, as_of) = call.look(look).await?;
        let book = incidents::book(&seen).map_err(|refusal| Problem::from(&refusal))?;
        let all = book.incidents().map(|incident| (incident, shown(incident, now_ms)));
        let wanted = all.filter(|(incident, shown)| filter.takes(incident, shown.status));
        let mut items: Vec<_> = wanted
            .map(|(_, shown)| (page::newest_first(shown.opened_at_ms, &shown.incident), shown))
            .collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        page::cut(items, request.limit, request.cursor.as_deref(), as_of)
    }
}

impl Serve for IncidentRead {
    async fn answer(call: &Call, request: IncidentReadRequest) -> Result<IncidentDetail, Problem> {
        let (incident, as_of) = find(call, &request.incident).await?;
        Ok(detail(&incident, clock::wall_ms(), as_of))
    }
}

impl Serve for IncidentPostMortem {
    async fn answer(call: &Call, request: IncidentReadRequest) -> Result<PostMortem, Problem> {
        let (incident, _) = find(call, &request.incident).await?;
        Ok(PostMortem { markdown: post_mortem(&incident), incident: incident.id.0 })
    }
}

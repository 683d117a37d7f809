//! Events of the federation and of every region, merged by time.

use dwcp_api::event::{Event as ApiEvent, EventList, EventListRequest, Severity as ApiSeverity};
use dwcp_api::{Page, Problem};
use dwcp_state::{Core, Event, Severity};
use dwcp_types::{GroupId, RegionId, VmId};

use super::call::Call;
use super::routes::Serve;
use super::{maintenance, names, page};
use crate::handle::View;

struct Line<'a> {
    group: GroupId,
    /// Its place among the events of its group; several may share a revision.
    place: usize,
    region: Option<&'a RegionId>,
    event: &'a Event,
}

/// Every event that is kept.
fn all<'a>(view: &View<'a>) -> impl Iterator<Item = Line<'a>> {
    let facts = view.node.facts();
    let core = facts.core.ledger.events.iter().enumerate();
    let core = core.map(|(place, event)| Line { group: 0, place, region: None, event });
    core.chain(facts.regions.values().flat_map(|of| {
        let events = of.ledger.events.iter().enumerate();
        events.map(|(place, event)| Line { group: of.number, place, region: Some(&of.name), event })
    }))
}

fn severity(severity: Severity) -> ApiSeverity {
    match severity {
        Severity::Info => ApiSeverity::Info,
        Severity::Warning => ApiSeverity::Warning,
        Severity::Critical => ApiSeverity::Critical,
    }
}

impl Line<'_> {
    /// An id that is the same on every node: group, revision, and how many events of that revision came before.
    fn id(&self, earlier: usize) -> String {
        let (group, revision) = (self.group, self.event.revision.0);
        if earlier == 0 {
            format!("ev-{group}-{revision}")
        } else {
            format!("ev-{group}-{revision}-{earlier}")
        }
    }

    fn show(&self, core: &Core, id: String) -> ApiEvent {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        ApiEvent {
            id,
            at_ms: self.event.at.0,
            region: self.region.map(|region| region.as_str().to_owned()),
            severity: severity(self.event.severity),
            kind: self.event.kind.clone(),
            subject: self.event.subject.clone(),
            message: self.event.text.clone(),
            by: self.event.by.clone(),
            request_id: some(&self.event.request_id),
            before: some(&self.event.before),
            after: some(&self.event.after),
            reason: some(&self.event.reason),
            muted_by: maintenance::muted_by(core, self.region, self.event),
        }
    }
}

/// Newest first, with keys that order them.
fn sorted<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<(String, Line<'a>)> {
    let key = |line: &Line<'_>| {
        let rest = format!(
            "{:04}-{:016x}-{:08}",
            line.group,
            u64::MAX - line.event.revision.0,
            usize::MAX - line.place
        );
        page::newest_first(line.event.at.0, &rest)
    };
    let mut found: Vec<_> = lines.map(|line| (key(&line), line)).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn show_all(core: &Core, lines: &[Line<'_>]) -> Vec<ApiEvent> {
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            // Newest first, so what came earlier in the same revision follows.
            let same =
                |other: &&Line<'_>| (other.group, other.event.revision) == (line.group, line.event.revision);
            let earlier = lines[index + 1..].iter().take_while(same).count();
            line.show(core, line.id(earlier))
        })
        .collect()
}

/// The newest events of a region: of its own group, and of the federation about it.
pub fn newest_of(view: &View<'_>, region: &RegionId, count: usize) -> Vec<ApiEvent> {
    let lines = all(view).filter(|line| concerns(line, region.as_str()));
    let lines: Vec<Line<'_>> = sorted(lines).into_iter().take(count).map(|(_, line)| line).collect();
    show_all(&view.node.facts().core, &lines)
}

fn concerns(line: &Line<'_>, region: &str) -> bool {
    match line.region {
        Some(own) => own.as_str() == region,
        None => line.event.subject == region,
    }
}

impl Serve for EventList {
    const REPEATS: bool = false;

    async fn answer(call: &Call, request: EventListRequest) -> Result<Page<ApiEvent>, Problem> {
        call.find(move |view| list(view, &request)).await
    }

    /// A stream carries each event once: the first page, then pages of what is new.
    fn news(before: Option<&Page<ApiEvent>>, now: &Page<ApiEvent>) -> Option<Page<ApiEvent>> {
        let Some(before) = before else { return Some(now.clone()) };
        let known: std::collections::BTreeSet<&str> =
            before.items.iter().map(|event| event.id.as_str()).collect();
        let oldest_ms = before.items.last().map_or(0, |event| event.at_ms);
        let mut news = now.clone();
        // What an older page's end pushed out is not new when it comes back.
        news.items.retain(|event| !known.contains(event.id.as_str()) && event.at_ms >= oldest_ms);
        (!news.items.is_empty()).then_some(news)
    }
}

fn list(view: &View<'_>, request: &EventListRequest) -> Result<Page<ApiEvent>, Problem> {
    if let Some(region) = &request.region {
        names::region(view, region)?;
    }
    // A VM may be asked for by its name; events carry its id.
    let subject_id = request.subject.as_ref().and_then(|subject| {
        let id = subject
            .parse::<VmId>()
            .ok()
            .or_else(|| names::vm(view, subject).ok().map(|found| found.vm.id))?;
        Some(id.to_string())
    });
    let oldest = request.since_ms.map(|since_ms| view.now.wall.0.saturating_sub(since_ms));
    let wanted = |line: &Line<'_>| {
        request.region.as_ref().is_none_or(|region| concerns(line, region))
            && oldest.is_none_or(|oldest| line.event.at.0 >= oldest)
            && request.severity.is_none_or(|wanted| severity(line.event.severity) == wanted)
            && request.subject.as_ref().is_none_or(|subject| {
                line.event.subject == *subject || subject_id.as_ref() == Some(&line.event.subject)
            })
    };
    let found = sorted(all(view).filter(wanted));
    let page = page::cut(found, request.limit, request.cursor.as_deref(), names::as_of(view))?;
    Ok(Page {
        items: show_all(&view.node.facts().core, &page.items),
        next_cursor: page.next_cursor,
        as_of: page.as_of,
    })
}

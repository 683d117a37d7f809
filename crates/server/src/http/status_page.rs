//! The status page: what everybody may know of the federation, without a token, as a page, as JSON and as a feed; and how it is
//! written to.

mod feed;
mod page;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_api::Problem;
use dwcp_api::region::{HealthState, Lifecycle, RegionSummary};
use dwcp_telemetry::incidents::{Incident, PUBLIC_BYTES, PublicStatus, Severity, TITLE_BYTES};
use dwcp_types::Wall;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::call::{self, Call, bad_value};
use super::incidents::{self as records, Changes, Wanted, line};
use super::routes::unescape;
use super::{Api, regions};
use crate::handle::View;
use crate::monitor::glance::PublicIncident;

pub use page::POLICY;

/// Incidents that are over are shown for so long, ms.
const SHOWN_MS: i64 = 14 * 86_400_000;
/// Incidents that are over are shown, at most.
const PAST_MAX: usize = 100;
/// Everybody may ask: so often the federation is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a page of it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Page,
    Json,
    Feed,
}

/// The form that a path stands for; none: it is not of the status page.
pub fn form(path: &str) -> Option<Form> {
    match path {
        "/status" => Some(Form::Page),
        "/status.json" => Some(Form::Json),
        "/status.rss" => Some(Form::Feed),
        _ => None,
    }
}

/// Where incidents are announced.
pub const ANNOUNCE: &str = "/api/incidents";

/// How a region, or all of it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Operational,
    Degraded,
    Unknown,
    Disrupted,
    Unavailable,
}

impl Standing {
    fn of(region: &RegionSummary) -> Standing {
        match (region.lifecycle, region.health.state) {
            (Lifecycle::Lost, _) => Standing::Unavailable,
            (_, HealthState::Healthy) => Standing::Operational,
            (_, HealthState::Degraded) => Standing::Degraded,
            (_, HealthState::Unhealthy) => Standing::Disrupted,
            (_, HealthState::Unknown) => Standing::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Standing::Operational => "operational",
            Standing::Degraded => "degraded",
            Standing::Unknown => "not known",
            Standing::Disrupted => "disrupted",
            Standing::Unavailable => "unavailable",
        }
    }
}

struct Region {
    name: String,
    standing: Standing,
    in_maintenance: bool,
}

/// Planned work. Moments are ms since 1970.
struct Maintenance {
    region: String,
    /// The whole region; else a part of it.
    whole: bool,
    starts_at_ms: i64,
    ends_at_ms: i64,
}

/// What everybody may know.
pub struct Picture {
    federation: String,
    at_ms: i64,
    regions: Vec<Region>,
    /// The newest first, as `past`.
    open: Vec<Arc<PublicIncident>>,
    past: Vec<Arc<PublicIncident>>,
    /// The next one first.
    planned: Vec<Maintenance>,
}

impl Picture {
    /// How the federation is, by its regions and by what is open.
    fn standing(&self) -> Standing {
        let regions = self.regions.iter().map(|region| region.standing);
        let incidents = self.open.iter().map(|incident| match incident.severity {
            Severity::P0 => Standing::Disrupted,
            Severity::P1 | Severity::P2 => Standing::Degraded,
            Severity::P3 => Standing::Operational,
        });
        let worst = regions.chain(incidents).max().unwrap_or(Standing::Unknown);
        // Others go on where one is gone or not heard.
        match worst {
            Standing::Unavailable if !self.all(Standing::Unavailable) => Standing::Disrupted,
            Standing::Unknown if !self.all(Standing::Unknown) => Standing::Degraded,
            worst => worst,
        }
    }

    fn all(&self, standing: Standing) -> bool {
        self.regions.iter().all(|region| region.standing == standing)
    }

    /// How the federation is, in words.
    fn summary(&self) -> String {
        let well = self.regions.iter().filter(|region| region.standing == Standing::Operational).count();
        let open = match self.open.len() {
            0 => String::new(),
            1 => ", one open incident".to_owned(),
            open => format!(", {open} open incidents"),
        };
        if well == self.regions.len() && well > 0 {
            return format!("All regions are operational{open}");
        }
        format!("{well} of {} regions are operational{open}", self.regions.len())
    }

    fn json(&self, base: &str) -> Value {
        let regions = self.regions.iter().map(|region| {
            json!({ "region": region.name, "status": region.standing.word(), "maintenance": region.in_maintenance })
        });
        let planned = self.planned.iter().map(|window| {
            json!({ "region": window.region, "whole_region": window.whole, "starts_at": utc(window.starts_at_ms),
                "ends_at": utc(window.ends_at_ms) })
        });
        let all =
            |list: &[Arc<PublicIncident>]| list.iter().map(|one| incident(one, base)).collect::<Vec<_>>();
        json!({
            "federation": self.federation, "status": self.standing().word(), "description": self.summary(),
            "at": utc(self.at_ms), "regions": regions.collect::<Vec<_>>(), "open_incidents": all(&self.open),
            "past_incidents": all(&self.past), "maintenance": planned.collect::<Vec<_>>(),
        })
    }
}

fn incident(one: &PublicIncident, base: &str) -> Value {
    let updates = one
        .notes
        .iter()
        .map(|note| json!({ "at": utc(note.at_ms), "status": note.status.word(), "text": note.text }));
    json!({
        "id": one.id, "title": one.title, "severity": one.severity.word(), "status": one.status.word(),
        "opened_at": utc(one.opened_at_ms), "resolved_at": one.ended_at_ms.map(utc), "url": url(base, &one.id),
        "updates": updates.collect::<Vec<_>>(),
    })
}

fn url(base: &str, id: &str) -> String {
    format!("{base}/status#{id}")
}

/// `2026-11-29T02:00:00Z`
fn utc(at_ms: i64) -> String {
    Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default().to_string()
}

/// Where the page was asked for, by the header `Host`; empty where that is none.
pub fn base(host: Option<&str>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    match host {
        Some(host) if !host.is_empty() && host.len() <= 255 && host.bytes().all(plain) => {
            format!("https://{host}")
        }
        _ => String::new(),
    }
}

/// What was seen last, and when.
#[derive(Default)]
pub struct Seen(Mutex<Option<(Instant, Arc<Picture>)>>);

/// An answer: its media type and its text.
pub async fn answer(api: &Arc<Api>, form: Form, base: &str) -> Result<(&'static str, String), Problem> {
    let picture = look(api).await?;
    Ok(match form {
        Form::Page => ("text/html; charset=utf-8", page::html(&picture)),
        Form::Json => ("application/json", picture.json(base).to_string()),
        Form::Feed => ("application/rss+xml; charset=utf-8", feed::rss(&picture, base)),
    })
}

async fn look(api: &Arc<Api>) -> Result<Arc<Picture>, Problem> {
    let mut seen = api.status.0.lock().await;
    if let Some((at, picture)) = seen.as_ref()
        && at.elapsed() < LOOK_EVERY
    {
        return Ok(picture.clone());
    }
    let (federation, lately, monitor) = (api.federation.clone(), api.outlook.lately(), api.monitor.clone());
    let look = move |view: &View<'_>| {
        let regions = regions::summaries(view, &lately);
        let published = monitor.glances.published(view);
        draw(view, federation, &regions, published)
    };
    let picture = Arc::new(api.node.look(look).await.ok_or_else(call::stopping)?);
    *seen = Some((Instant::now(), picture.clone()));
    Ok(picture)
}

fn draw(
    view: &View<'_>,
    federation: String,
    regions: &[RegionSummary],
    published: Vec<Arc<PublicIncident>>,
) -> Picture {
    let at_ms = crate::clock::ms(view.now.wall.0);
    let shown = regions.iter().filter(|region| {
        !matches!(region.lifecycle, Lifecycle::Joining | Lifecycle::Standby | Lifecycle::Retired)
    });
    let regions = shown.map(|region| Region {
        name: region.region.clone(),
        standing: Standing::of(region),
        in_maintenance: region.health.maintenance.is_some(),
    });
    let core = &view.node.facts().core;
    let ms = |wall: Wall| crate::clock::ms(wall.0);
    let lasting = core.windows.values().filter(|window| window.is_open() && window.ends_at > view.now.wall);
    let mut planned: Vec<Maintenance> = lasting
        .map(|window| Maintenance {
            region: window.region.as_str().to_owned(),
            whole: window.host.is_none(),
            starts_at_ms: ms(window.starts_at),
            ends_at_ms: ms(window.ends_at),
        })
        .collect();
    planned.sort_by_key(|window| (window.starts_at_ms, window.region.clone()));
    // Two hosts of one region at once are one thing to the public.
    planned
        .dedup_by_key(|window| (window.region.clone(), window.whole, window.starts_at_ms, window.ends_at_ms));
    let (open, past) = sorted(published, at_ms);
    let federation = if core.name.is_empty() { federation } else { core.name.clone() };
    Picture { federation, at_ms, regions: regions.collect(), open, past, planned }
}

type Incidents = Vec<Arc<PublicIncident>>;

/// What is open, and what was over lately; the newest first.
fn sorted(mut all: Incidents, now_ms: i64) -> (Incidents, Incidents) {
    all.sort_by_key(|one| std::cmp::Reverse((one.opened_at_ms, one.id.clone())));
    let (open, mut past): (Incidents, Incidents) =
        all.into_iter().partition(|one| one.status != PublicStatus::Resolved);
    past.retain(|one| one.ended_at_ms.is_some_and(|at_ms| at_ms.saturating_add(SHOWN_MS) > now_ms));
    past.truncate(PAST_MAX);
    (open, past)
}

/// What was sent to announce an incident, or more of one.
#[derive(Debug, Default, PartialEq)]
struct Announced {
    id: Option<String>,
    title: Option<String>,
    status: Option<String>,
    severity: Option<String>,
    body: Option<String>,
}

impl Announced {
    /// A form (application/x-www-form-urlencoded) with each field once.
    fn of(form: &str) -> Result<Announced, Problem> {
        let mut found = Announced::default();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| unescape(&text.replace('+', " "));
            let (Some(name), Some(value)) = (plain(name), plain(value)) else {
                return Err(Problem::bad_request("the form is not text in UTF-8"));
            };
            let field = match name.as_str() {
                "id" => &mut found.id,
                "title" => &mut found.title,
                "status" => &mut found.status,
                "severity" => &mut found.severity,
                "body" | "message" => &mut found.body,
                _ => {
                    return Err(bad_value(
                        "form",
                        "its fields are title, status, severity, body or message, id",
                    ));
                }
            };
            if field.replace(value).is_some() {
                return Err(bad_value(&name, "it is there twice"));
            }
        }
        Ok(found)
    }

    fn text(&self, status: PublicStatus) -> Result<String, Problem> {
        let usual = match status {
            PublicStatus::Investigating => "We are investigating.",
            PublicStatus::Identified => "The cause is known.",
            PublicStatus::Monitoring => "It is mended, and we watch it.",
            PublicStatus::Resolved => "This incident is resolved.",
        };
        line("body", self.body.as_deref().unwrap_or(usual), PUBLIC_BYTES)
    }
}

/// Announces an incident, or more of one, as the form says. Answers with what the public sees of it, and whether it is new.
pub async fn announce(call: &Call, form: &str, base: &str) -> Result<(bool, Value), Problem> {
    let announced = Announced::of(form)?;
    let status = announced.status.as_deref().map(records::public_status).transpose()?;
    let (new, record) = match &announced.id {
        None => (true, announce_new(call, &announced, status).await?),
        Some(id) => (false, announce_more(call, id, &announced, status).await?),
    };
    // What was just written is to be seen.
    *call.api.status.0.lock().await = None;
    let shown = PublicIncident::of(&record).ok_or_else(|| bad_value("id", "it is not published"))?;
    Ok((new, incident(&shown, base)))
}

async fn announce_new(
    call: &Call,
    announced: &Announced,
    status: Option<PublicStatus>,
) -> Result<Incident, Problem> {
    let status = status.unwrap_or(PublicStatus::Investigating);
    if status == PublicStatus::Resolved {
        return Err(bad_value("status", "an incident begins as investigating, identified or monitoring"));
    }
    let title = announced.title.as_deref().ok_or_else(|| bad_value("title", "it is missing"))?;
    let severity = announced.severity.as_deref().map_or(Ok(Severity::P2), records::severity)?;
    let wanted = Wanted {
        title: line("title", title, TITLE_BYTES)?,
        severity,
        // Who tells the public has taken it: announcing pages nobody.
        taken: true,
        note: None,
        public: Some((status, announced.text(status)?)),
    };
    records::open(call, &wanted, false).await
}

async fn announce_more(
    call: &Call,
    id: &str,
    announced: &Announced,
    status: Option<PublicStatus>,
) -> Result<Incident, Problem> {
    let title = announced.title.as_deref().map(|title| line("title", title, TITLE_BYTES)).transpose()?;
    let text = match (&announced.body, status) {
        (None, None) => return Err(bad_value("body", "neither a text nor a status is given")),
        (_, status) => announced.text(status.unwrap_or(PublicStatus::Investigating))?,
    };
    let changes = Changes {
        severity: announced.severity.as_deref().map(records::severity).transpose()?,
        resolves: status == Some(PublicStatus::Resolved),
        public_title: title,
        public: Some((status, text)),
        ..Changes::default()
    };
    records::update(call, id, &changes, false).await
}

#[cfg(test)]
mod tests;

//! What is to be said.

use std::collections::BTreeMap;

use dwcp_config::units::show_duration;
use serde::{Deserialize, Serialize};

use crate::alerting::{REGION, SEVERITY};
use crate::incidents::{Incident, IncidentId, Severity};
use crate::model::Labels;

use super::{Settings, cut, moment, one_line, plain_lines};

/// Longest title, bytes.
const TITLE_MAX: usize = 300;
/// Longest text, bytes.
const TEXT_MAX: usize = 8 << 10;
/// Longest of the smaller parts, bytes.
const PART_MAX: usize = 200;

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Opens an incident.
    Trigger,
    /// Pages the next one, as nobody took it; the number of the step.
    Escalate(u32),
    /// Someone took it.
    Acknowledge,
    /// It is over.
    Resolve,
    /// Says something that is no incident.
    Announce,
}

impl Action {
    /// `trigger`, `escalate`, `acknowledge`, `resolve` or `announce`.
    pub fn word(self) -> &'static str {
        match self {
            Action::Trigger => "trigger",
            Action::Escalate(_) => "escalate",
            Action::Acknowledge => "acknowledge",
            Action::Resolve => "resolve",
            Action::Announce => "announce",
        }
    }
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Incident {
        id: IncidentId,
        /// How often it had come back.
        round: u32,
    },
    /// By an id that is the notice's own: that of an operation, or of a window and what is said of it.
    Notice(String),
}

/// What is to be said. Its texts are bounded, and the title is one line; nothing in them is escaped yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub subject: Subject,
    pub action: Action,
    /// The name of the template that it was made of.
    pub template: String,
    pub severity: Severity,
    /// Where it stands: `open`, `resolved`, `completed`.
    pub status: String,
    /// The region that it is about; empty: no particular one.
    pub region: String,
    pub federation: String,
    pub title: String,
    pub text: String,
    /// Who is paged by it, or took it.
    pub person: Option<String>,
    /// Where more can be read.
    pub link: Option<String>,
    /// What else is known.
    pub details: BTreeMap<String, String>,
    /// When it was made, ms since 1970.
    pub at_ms: i64,
}

/// What is known of something that is announced; empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub federation: String,
    pub region: String,
    pub status: String,
    pub title: String,
    pub text: String,
    /// `None`: low.
    pub severity: Option<Severity>,
    /// Below the console's address: `/incidents/INC-20261129-001`.
    pub path: String,
}

impl Message {
    /// What an incident's decision is told with. `person`: who is paged, or took it.
    ///
    /// # Errors
    /// An operator's own template fails on it.
    pub fn of_incident(
        settings: &Settings,
        federation: &str,
        incident: &Incident,
        action: Action,
        person: Option<&str>,
        now_ms: i64,
    ) -> Result<Message, String> {
        let (template, status) = match action {
            Action::Acknowledge => ("incident-acknowledged", "investigating"),
            Action::Resolve => ("incident-resolved", "resolved"),
            Action::Trigger | Action::Escalate(_) | Action::Announce => ("incident-opened", "open"),
        };
        let ended_ms = incident.resolved_at_ms.unwrap_or(now_ms);
        let lasted_ms = ended_ms.saturating_sub(incident.opened_at_ms).max(0).unsigned_abs();
        let text = if action == Action::Resolve { incident.resolution.clone() } else { alerts_of(incident) };
        let cause = incident.cause.to_string();
        let facts = Facts {
            federation: federation.to_owned(),
            region: region_of(&cause).to_owned(),
            status: status.to_owned(),
            title: incident.title.clone(),
            text,
            severity: Some(incident.severity),
            path: format!("/incidents/{}", incident.id),
        };
        let more = [
            ("incident", incident.id.to_string()),
            ("cause", cause.clone()),
            ("opened", moment(incident.opened_at_ms)),
            ("due", if person_is_due(action) { moment(incident.due_at_ms) } else { String::new() }),
            ("duration", if action == Action::Resolve { show_duration(lasted_ms) } else { String::new() }),
            ("person", person.unwrap_or("").to_owned()),
        ];
        let subject = Subject::Incident { id: incident.id.clone(), round: incident.reopened };
        let mut message = Message::new(settings, template, subject, action, &facts, &more, now_ms)?;
        message.person = person.map(|name| cut(&one_line(name), PART_MAX));
        Ok(message)
    }

    /// An announcement in the words of a template. Its `id` is the notice's own: what has it already is not told again.
    ///
    /// # Errors
    /// There is no such template, or it fails on what is known.
    pub fn announcement(
        settings: &Settings,
        template: &str,
        id: &str,
        facts: &Facts,
        now_ms: i64,
    ) -> Result<Message, String> {
        let subject = Subject::Notice(cut(&one_line(id), PART_MAX));
        Message::new(settings, template, subject, Action::Announce, facts, &[], now_ms)
    }

    fn new(
        settings: &Settings,
        template: &str,
        subject: Subject,
        action: Action,
        facts: &Facts,
        more: &[(&str, String)],
        now_ms: i64,
    ) -> Result<Message, String> {
        let severity = facts.severity.unwrap_or(Severity::P3);
        let link = settings.console_url.as_ref().map(|base| format!("{base}{}", facts.path));
        let known = [
            ("federation", facts.federation.as_str()),
            ("region", &facts.region),
            ("status", &facts.status),
            ("title", &facts.title),
            ("text", &facts.text),
            ("severity", &severity.to_string()),
            ("severity_word", severity.word()),
            ("link", link.as_deref().unwrap_or("")),
        ]
        .map(|(name, value)| (name, cut(value, TEXT_MAX)));
        let all = known.iter().chain(more).map(|(name, value)| (*name, value.as_str()));
        let (title, text) = settings.templates.render(template, &Labels::new(all))?;
        let part = |text: &str| cut(&one_line(text), PART_MAX);
        let told = more.iter().filter(|(name, value)| *name != "person" && !value.is_empty());
        let title = cut(&one_line(&title), TITLE_MAX);
        Ok(Message {
            subject,
            action,
            template: template.to_owned(),
            severity,
            status: part(&facts.status),
            region: part(&facts.region),
            federation: part(&facts.federation),
            title: if title.is_empty() { template.to_owned() } else { title },
            text: cut(&plain_lines(&text), TEXT_MAX),
            person: None,
            link,
            details: told.map(|(name, value)| ((*name).to_owned(), part(value))).collect(),
            at_ms: now_ms,
        })
    }

    /// What routes look at: `severity`, `region`, `status`, `template`, `action`, `cause`, `federation`.
    pub fn labels(&self) -> Labels {
        let severity = self.severity.to_string();
        Labels::new([
            (SEVERITY, severity.as_str()),
            (REGION, &self.region),
            ("status", &self.status),
            ("template", &self.template),
            ("action", self.action.word()),
            ("cause", self.details.get("cause").map_or("", String::as_str)),
            ("federation", &self.federation),
        ])
    }

    /// Whether it is more than some words: someone is to do something, or need not any more.
    pub fn is_incident(&self) -> bool {
        matches!(self.subject, Subject::Incident { .. })
    }

    /// The id of what it is about.
    pub fn about(&self) -> &str {
        match &self.subject {
            Subject::Incident { id, .. } => &id.0,
            Subject::Notice(id) => id,
        }
    }
}

fn person_is_due(action: Action) -> bool {
    matches!(action, Action::Trigger | Action::Escalate(_))
}

/// The alerts that fire, a line each, as many as are read.
fn alerts_of(incident: &Incident) -> String {
    const SHOWN: usize = 10;
    let firing: Vec<_> = incident.alerts.values().filter(|alert| alert.ended_at_ms.is_none()).collect();
    let mut lines: Vec<String> = firing
        .iter()
        .take(SHOWN)
        .map(|alert| cut(&one_line(&format!("{} {}", alert.severity, alert.labels)), TITLE_MAX))
        .collect();
    if firing.len() > SHOWN {
        lines.push(format!("and {} more", firing.len() - SHOWN));
    }
    lines.join("\n")
}

/// The region of a cause such as `region-down{region="eu-west-1"}`, if it has one.
fn region_of(cause: &str) -> &str {
    let value = cause.split(['{', ' ']).find_map(|part| part.strip_prefix("region=\""));
    value.and_then(|value| value.split('"').next()).unwrap_or("")
}

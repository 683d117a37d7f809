//! Incidents: one for every cause, with a clock that runs until someone takes it, and a timeline that becomes a post-mortem.
//!
//! [`Book`] takes all alerts that fire and what people do, and gives decisions: who is paged, what opens, what is over. It keeps
//! nothing outside of itself, and time is an argument. [`Schedule`] says who is on call.

mod book;
mod bounds;
mod cause;
mod clock;
mod oncall;
mod people;
mod postmortem;
mod publication;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::alerting::{Fingerprint, SEVERITY};
use crate::model::Labels;

pub use book::{Book, Decision, Policy, Role};
pub use bounds::{ALERTS_MAX, NAME_BYTES, PUBLIC_BYTES, TEXT_BYTES, TITLE_BYTES};
pub use cause::Cause;
pub use oncall::{DAYS_MAX, Layer, Override, Schedule, Shift, calendar};
pub use people::{Opening, Refused};
pub use postmortem::post_mortem;
pub use publication::{Announcement, PublicNote, PublicStatus, Published};

/// How grave it is (operations guide 3.1); the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Critical: service outage.
    P0,
    /// High: degraded service.
    P1,
    /// Medium: minor impact.
    P2,
    /// Low: for information.
    P3,
}

impl Severity {
    /// `critical`, `high`, `medium` or `low`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::P0 => "critical",
            Severity::P1 => "high",
            Severity::P2 => "medium",
            Severity::P3 => "low",
        }
    }

    /// That of an alert, by its label; low when it has none.
    pub fn of(labels: &Labels) -> Severity {
        labels.get(SEVERITY).parse().unwrap_or(Severity::P3)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Severity {
    type Err = String;

    /// `P0` to `P3`, or its word.
    fn from_str(text: &str) -> Result<Severity, String> {
        let all = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];
        let named = |severity: &Severity| {
            text.eq_ignore_ascii_case(severity.word()) || text.eq_ignore_ascii_case(&severity.to_string())
        };
        all.into_iter()
            .find(named)
            .ok_or_else(|| format!("'{text}' is not a severity: P0 critical, P1 high, P2 medium, P3 low"))
    }
}

/// `INC-YYYYMMDD-NNN`: the day it was opened, UTC, and its number of that day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub String);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an incident stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody has taken it.
    Open,
    /// Someone looks into it.
    Investigating,
    Resolved,
    /// It was a consequence of another one, where it goes on.
    Merged(IncidentId),
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// As PromQL writes them.
    pub labels: String,
    pub name: String,
    pub severity: Severity,
    pub since_ms: i64,
    /// `None`: it fires.
    pub ended_at_ms: Option<i64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at_ms: i64,
    /// A person; `None`: it happened by itself.
    pub who: Option<String>,
    pub what: String,
}

/// Someone who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    pub who: String,
    pub at_ms: i64,
}

/// A page: who was to look at an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paged {
    pub at_ms: i64,
    /// Which step of the escalation, from 0.
    pub step: u32,
    pub role: Role,
    /// `None`: nobody filled the role.
    pub who: Option<String>,
}

/// The request that opened an incident: a repetition of it opens no second one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    pub key: String,
    /// Of what was asked under the key.
    pub digest: u64,
}

/// An incident. All moments are ms since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: IncidentId,
    pub cause: Cause,
    pub title: String,
    /// The gravest that it ever had, unless a person set it.
    pub severity: Severity,
    pub status: Status,
    pub opened_at_ms: i64,
    /// When someone must have taken it.
    pub due_at_ms: i64,
    pub assignee: Option<String>,
    pub acknowledged: Option<Act>,
    pub resolved_at_ms: Option<i64>,
    /// How often it came back after it was resolved.
    pub reopened: u32,
    /// How many steps of the escalation were taken since it was opened the last time.
    pub steps: u32,
    /// When the next step is taken if nobody takes it.
    pub next_step_at_ms: Option<i64>,
    /// At most [`ALERTS_MAX`], the gravest.
    pub alerts: BTreeMap<Fingerprint, Attached>,
    /// Alerts that fire beyond those that are kept.
    #[serde(default)]
    pub more_firing: u32,
    pub timeline: Vec<Entry>,
    /// Entries of the timeline that are not kept.
    #[serde(default)]
    pub left_out: u32,
    /// The newest pages.
    #[serde(default)]
    pub paged: Vec<Paged>,
    pub root_cause: String,
    pub resolution: String,
    /// Whether a person opened it.
    #[serde(default)]
    pub by_hand: bool,
    #[serde(default)]
    pub request: Option<RequestKey>,
    /// `None`: the public does not see it.
    #[serde(default)]
    pub published: Option<Published>,
}

impl Incident {
    /// Whether it is neither resolved nor merged.
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Open | Status::Investigating)
    }

    /// Whether an alert of it fires.
    pub fn has_firing(&self) -> bool {
        self.firing() > 0
    }

    /// How many alerts of it fire.
    pub fn firing(&self) -> u64 {
        self.kept_firing() as u64 + u64::from(self.more_firing)
    }

    /// How many of those that are kept fire.
    fn kept_firing(&self) -> usize {
        self.alerts.values().filter(|alert| alert.ended_at_ms.is_none()).count()
    }
}

#[cfg(test)]
mod tests;

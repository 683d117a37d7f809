//! Incidents: what happened, who has it, how it ended.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Opens an incident; the same idempotency key opens one."]
    IncidentCreate: Post "/v1/incidents", Operate, IncidentCreateRequest => IncidentAnswer;
    #[doc = "Lists incidents, the newest first; without `status`, `since_ms` and `all` those that are not resolved."]
    IncidentList: Get "/v1/incidents", Read, IncidentListRequest => Page<Incident>;
    #[doc = "One incident with its timeline, its alerts and who was paged."]
    IncidentRead: Get "/v1/incidents/{incident}", Read, IncidentReadRequest => IncidentDetail;
    #[doc = "Takes an incident, assigns, explains, publishes or resolves it, as one change."]
    IncidentUpdate: Put "/v1/incidents/{incident}", Operate, IncidentUpdateRequest => IncidentAnswer;
    #[doc = "The draft of an incident's post-mortem, in Markdown."]
    IncidentPostMortem: Get "/v1/incidents/{incident}/post-mortem", Read, IncidentReadRequest => PostMortem;
}

request! {
    /// An incident to open.
    pub struct IncidentCreateRequest {
        /// One line of up to 200 bytes.
        pub title: String,
        /// `P0` to `P3`, or `critical`, `high`, `medium`, `low`.
        pub severity: String,
        /// `open`: whoever is on call is paged. `investigating`: who opens it has taken it. `open` without it.
        pub status: Option<String>,
        /// Into the timeline; up to 2,000 bytes.
        pub note: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which incidents to list.
    pub struct IncidentListRequest {
        /// `open` (everything that is not resolved), `investigating`, `resolved` or `merged`.
        pub status: Option<String>,
        /// Comma list of severities.
        pub severity: Option<String>,
        /// Only those that were opened within so many milliseconds.
        pub since_ms: Option<u64>,
        /// In every status.
        #[serde(default)]
        pub all: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which incident.
    pub struct IncidentReadRequest {
        /// `INC-20261123-001`.
        pub incident: String,
    }

    /// What changes of an incident; what is not given stays. The texts can also be given when it is over.
    pub struct IncidentUpdateRequest {
        /// `INC-20261123-001`.
        pub incident: String,
        pub severity: Option<String>,
        /// `investigating`: the caller takes it. `resolved`: it is over.
        pub status: Option<String>,
        /// Up to 100 bytes.
        pub assignee: Option<String>,
        /// Into the timeline; as `root_cause` and `resolution` up to 2,000 bytes.
        pub note: Option<String>,
        pub root_cause: Option<String>,
        pub resolution: Option<String>,
        /// For the status page, up to 800 bytes; publishes the incident.
        pub public_note: Option<String>,
        /// On the status page; with `public_note` only.
        pub public_title: Option<String>,
        /// On the status page: `investigating`, `identified`, `monitoring` or `resolved`; with `public_note` only.
        pub public_status: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// How grave an incident is.
    #[derive(Copy, Eq)]
    pub enum IncidentSeverity { P0, P1, P2, P3 }

    /// Where an incident stands.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum IncidentStatus {
        /// Nobody has taken it.
        Open,
        Investigating,
        Resolved,
        /// It was a consequence of another one.
        Merged,
    }

    /// An incident.
    #[derive(Eq)]
    pub struct Incident {
        /// `INC-20261123-001`; empty in a dry run that would open it.
        pub incident: String,
        pub title: String,
        pub severity: IncidentSeverity,
        pub status: IncidentStatus,
        /// The one where it goes on.
        pub merged_into: Option<String>,
        /// What alerts of one cause have in common.
        pub cause: String,
        /// Milliseconds since 1970 (UTC), as all moments here.
        pub opened_at_ms: u64,
        /// When someone must have taken it.
        pub due_at_ms: u64,
        /// Nobody took it until then.
        pub overdue: bool,
        pub assignee: Option<String>,
        pub acknowledged_by: Option<String>,
        pub acknowledged_at_ms: Option<u64>,
        pub resolved_at_ms: Option<u64>,
        /// How often it came back after it was resolved.
        pub reopened: u32,
        /// Alerts of it that fire.
        pub alerts_firing: u64,
        /// Whether the status page shows it.
        pub published: bool,
    }

    /// An incident as it is after a change (or would be, in a dry run).
    #[derive(Eq)]
    pub struct IncidentAnswer {
        pub incident: Incident,
        pub as_of: Vec<Freshness>,
    }

    /// Something that happened.
    #[derive(Eq)]
    pub struct TimelineEntry {
        pub at_ms: u64,
        /// `null`: it happened by itself.
        pub who: Option<String>,
        pub what: String,
    }

    /// An alert of an incident.
    #[derive(Eq)]
    pub struct IncidentAlert {
        pub name: String,
        pub severity: IncidentSeverity,
        /// As PromQL writes them, cut where they are long.
        pub labels: String,
        pub since_ms: u64,
        /// `null`: it fires.
        pub ended_at_ms: Option<u64>,
    }

    /// A page: who was to look at it.
    #[derive(Eq)]
    pub struct IncidentPage {
        pub at_ms: u64,
        /// Which step of the escalation, from 1.
        pub step: u32,
        /// `primary`, `secondary` or `person`.
        pub role: String,
        /// `null`: nobody filled the role.
        pub who: Option<String>,
    }

    /// What the status page says.
    #[derive(Eq)]
    pub struct PublicNote {
        pub at_ms: u64,
        pub status: String,
        pub text: String,
    }

    /// Everything that is known of an incident.
    #[derive(Eq)]
    pub struct IncidentDetail {
        pub incident: Incident,
        pub timeline: Vec<TimelineEntry>,
        /// Entries of the timeline that were not kept.
        pub timeline_left_out: u32,
        /// The gravest, with those that are over.
        pub alerts: Vec<IncidentAlert>,
        /// Alerts that fire beyond those.
        pub more_alerts_firing: u32,
        /// The newest pages.
        pub pages: Vec<IncidentPage>,
        pub root_cause: String,
        pub resolution: String,
        pub public_title: Option<String>,
        pub public_notes: Vec<PublicNote>,
        pub as_of: Vec<Freshness>,
    }

    /// The draft of a post-mortem.
    #[derive(Eq)]
    pub struct PostMortem {
        pub incident: String,
        pub markdown: String,
    }
}

//! All incidents, and what alerts make of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::alerting::{Alert, Fingerprint, fingerprint};

use super::bounds::{LABELS_BYTES, NAME_BYTES, PAGES_MAX, TITLE_BYTES, cut};
use super::clock::due_ms;
use super::postmortem::post_mortem;
use super::{Attached, Cause, Incident, IncidentId, Paged, PublicStatus, Severity, Status};

/// Who is to be paged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Primary,
    Secondary,
    /// One person, whoever is on call.
    Person(String),
}

/// How incidents are treated.
pub struct Policy<'a> {
    /// What comes back so soon after it was resolved is the same incident, ms.
    pub reopen_within_ms: i64,
    /// Where business days are counted.
    pub zone: TimeZone,
    /// The first is paged at once; each further one whenever the response time ran out once more and nobody took it. After the last one
    /// it is the last one's turn again and again.
    pub escalation: Vec<Role>,
    /// Who fills a role at a moment, ms.
    pub on_call: &'a dyn Fn(&Role, i64) -> Option<String>,
}

/// What is to be done or told.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Opened(IncidentId),
    Reopened(IncidentId),
    /// The first one is a consequence of the second.
    Merged(IncidentId, IncidentId),
    /// It is graver than was known.
    Raised(IncidentId, Severity),
    /// Someone is to look at it; nobody when the role is not filled.
    Page {
        id: IncidentId,
        step: u32,
        role: Role,
        who: Option<String>,
    },
    Acknowledged(IncidentId),
    Resolved(IncidentId),
    /// The draft of a post-mortem in Markdown, of what was critical or high.
    PostMortem(IncidentId, String),
}

/// All incidents. A plain value: stored with what it decided, nothing is decided twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub(super) incidents: BTreeMap<IncidentId, Incident>,
    /// Where each alert that fires belongs.
    pub(super) attached: BTreeMap<Fingerprint, IncidentId>,
}

impl Book {
    /// These incidents, as they were kept.
    pub fn of(incidents: impl IntoIterator<Item = Incident>) -> Book {
        let incidents: BTreeMap<IncidentId, Incident> =
            incidents.into_iter().map(|incident| (incident.id.clone(), incident)).collect();
        let firing = |incident: &Incident| {
            let alerts = incident.alerts.iter().filter(|(_, alert)| alert.ended_at_ms.is_none());
            alerts.map(|(alert, _)| (*alert, incident.id.clone())).collect::<Vec<_>>()
        };
        let attached = incidents.values().flat_map(firing).collect();
        Book { incidents, attached }
    }

    /// Whether an alert belongs to an incident.
    pub fn knows(&self, alert: Fingerprint) -> bool {
        self.attached.contains_key(&alert)
    }

    /// All of them, in the order of their ids.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// Takes all alerts that fire now and that nobody silenced, inhibited ones among them.
    ///
    /// It compares them with what it knows, so that the same alerts, however often and in whatever order, lead to the same incidents:
    /// never more than one open for a cause. Of a cause with more alerts than an incident keeps, the others are counted.
    pub fn alerts(&mut self, firing: &[Alert], policy: &Policy<'_>, now_ms: i64) -> Vec<Decision> {
        let mut decided = Vec::new();
        let dead: BTreeSet<String> =
            firing.iter().filter_map(|alert| alert.region_down().map(str::to_owned)).collect();
        // What explains others comes first, then what is graver.
        let mut sorted: Vec<&Alert> = firing.iter().collect();
        sorted.sort_by_key(|alert| {
            (alert.region_down().is_none(), Severity::of(&alert.labels), alert.labels.clone())
        });
        let ids: BTreeSet<Fingerprint> = sorted.iter().map(|alert| fingerprint(&alert.labels)).collect();
        self.detach(&ids, now_ms);
        let mut counted: BTreeMap<IncidentId, u32> = BTreeMap::new();
        for alert in sorted {
            if let Some(id) = self.attach(alert, &dead, policy, now_ms, &mut decided) {
                *counted.entry(id).or_default() += 1;
            }
        }
        for (id, incident) in &mut self.incidents {
            incident.more_firing = counted.remove(id).unwrap_or(0);
        }
        let over = self.incidents.values().filter(|one| one.is_open() && is_over(one));
        let over: Vec<IncidentId> = over.map(|one| one.id.clone()).collect();
        for id in over {
            self.close(&id, None, now_ms, &mut decided);
        }
        decided
    }

    /// Takes the steps of the escalation whose time has come.
    pub fn tick(&mut self, policy: &Policy<'_>, now_ms: i64) -> Vec<Decision> {
        let mut decided = Vec::new();
        for incident in self.incidents.values_mut() {
            if incident.status == Status::Open && incident.next_step_at_ms.is_some_and(|at| at <= now_ms) {
                incident.note(now_ms, None, "The response time ran out and nobody took it.");
                page(incident, policy, now_ms, &mut decided);
            }
        }
        decided
    }

    /// When [`Book::tick`] has something to do, ms since 1970.
    pub fn next_at_ms(&self) -> Option<i64> {
        let open = self.incidents.values().filter(|incident| incident.status == Status::Open);
        open.filter_map(|incident| incident.next_step_at_ms).min()
    }

    /// Forgets what was resolved or merged longer ago than `kept_ms`.
    pub fn prune(&mut self, kept_ms: i64, now_ms: i64) {
        let attached: BTreeSet<&IncidentId> = self.attached.values().collect();
        self.incidents.retain(|id, incident| {
            let ended_ms = incident.resolved_at_ms.unwrap_or(i64::MAX);
            incident.is_open()
                || incident.more_firing > 0
                || attached.contains(id)
                || ended_ms.saturating_add(kept_ms) > now_ms
        });
    }

    /// Notes the end of alerts that do not fire any more.
    fn detach(&mut self, firing: &BTreeSet<Fingerprint>, now_ms: i64) {
        let over: Vec<Fingerprint> =
            self.attached.keys().filter(|id| !firing.contains(id)).copied().collect();
        for alert_id in over {
            let incident = self.attached.remove(&alert_id).and_then(|id| self.incidents.get_mut(&id));
            let Some(incident) = incident else { continue };
            if let Some(alert) = incident.alerts.get_mut(&alert_id) {
                alert.ended_at_ms = Some(now_ms);
                let what = format!("{} is over: {}", alert.name, alert.labels);
                incident.note_alert(now_ms, what);
            }
        }
    }

    /// Puts an alert where it belongs. Where it is only counted, that incident is returned.
    fn attach(
        &mut self,
        alert: &Alert,
        dead: &BTreeSet<String>,
        policy: &Policy<'_>,
        now_ms: i64,
        decided: &mut Vec<Decision>,
    ) -> Option<IncidentId> {
        let alert_id = fingerprint(&alert.labels);
        let cause = Cause::of(&alert.labels, dead);
        let before = self.attached.get(&alert_id).cloned();
        if let Some(before) = before.as_ref().and_then(|id| self.incidents.get(id)) {
            let explained = dead.contains(alert.labels.get(crate::alerting::REGION));
            if !before.is_open() || before.cause == cause || !explained {
                return None;
            }
        } else if let Some(id) = self.counting(&cause, alert) {
            return Some(id);
        }
        let id = self.incident_of(&cause, alert, policy, now_ms, decided);
        let severity = Severity::of(&alert.labels);
        let kept = self.incidents.get(&id).is_some_and(|incident| incident.has_room_for(severity));
        if kept {
            self.keep(&id, alert, policy, now_ms, decided);
        } else {
            self.attached.remove(&alert_id);
        }
        if let Some(before) = before {
            self.leave(&before, alert_id, &id, now_ms, decided);
        }
        (!kept).then_some(id)
    }

    /// The incident that only counts an alert that is kept nowhere: of its cause, or of its region that was gone, one that has no
    /// room, or that has counted some which may not have ended since.
    fn counting(&self, cause: &Cause, alert: &Alert) -> Option<IncidentId> {
        let severity = Severity::of(&alert.labels);
        let region = Cause::dead_region(alert.labels.get(crate::alerting::REGION));
        let counts = |incident: &&Incident| {
            if incident.cause == *cause && incident.is_open() {
                return !incident.has_room_for(severity);
            }
            let same = incident.cause == *cause || incident.cause == region;
            same && incident.more_firing > 0 && !matches!(incident.status, Status::Merged(_))
        };
        self.incidents.values().find(counts).map(|incident| incident.id.clone())
    }

    /// Keeps an alert in an incident.
    fn keep(
        &mut self,
        id: &IncidentId,
        alert: &Alert,
        policy: &Policy<'_>,
        now_ms: i64,
        decided: &mut Vec<Decision>,
    ) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let attached = Attached {
            labels: cut(&alert.labels.to_string(), LABELS_BYTES),
            name: cut(alert.name(), NAME_BYTES),
            severity: Severity::of(&alert.labels),
            since_ms: alert.fired_at_ms.unwrap_or(now_ms),
            ended_at_ms: None,
        };
        let severity = attached.severity;
        incident.note_alert(
            now_ms,
            match alert.annotations.get("summary") {
                Some(summary) => format!("{} fires: {summary}", attached.name),
                None => format!("{} fires: {}", attached.name, attached.labels),
            },
        );
        let alert_id = fingerprint(&alert.labels);
        let displaced = incident.keep(alert_id, attached);
        raise(incident, severity, policy, now_ms, decided);
        if let Some(region) = alert.region_down() {
            incident.publish_dead_region(region, now_ms);
        }
        if let Some(displaced) = displaced {
            self.attached.remove(&displaced);
        }
        self.attached.insert(alert_id, id.clone());
    }

    /// Takes an alert out of an incident that turned out to be a consequence; without alerts, it is merged.
    fn leave(
        &mut self,
        from: &IncidentId,
        alert: Fingerprint,
        into: &IncidentId,
        now_ms: i64,
        decided: &mut Vec<Decision>,
    ) {
        let Some(incident) = self.incidents.get_mut(from) else { return };
        incident.alerts.remove(&alert);
        if incident.kept_firing() > 0 {
            return;
        }
        let Some(mut merged) = self.incidents.remove(from) else { return };
        merged.status = Status::Merged(into.clone());
        merged.resolved_at_ms = Some(now_ms);
        merged.next_step_at_ms = None;
        merged.note(now_ms, None, format!("It is a consequence of {into} and goes on there."));
        if let Some(into) = self.incidents.get_mut(into) {
            into.note(now_ms, None, format!("{from} is a consequence of this."));
            merged.public_moves(into, now_ms);
        }
        self.incidents.insert(from.clone(), merged);
        decided.push(Decision::Merged(from.clone(), into.clone()));
    }

    /// The open incident of a cause: the one that is there, one that comes back, or a new one.
    fn incident_of(
        &mut self,
        cause: &Cause,
        alert: &Alert,
        policy: &Policy<'_>,
        now_ms: i64,
        decided: &mut Vec<Decision>,
    ) -> IncidentId {
        let same = || self.incidents.values().filter(|incident| incident.cause == *cause);
        if let Some(open) = same().find(|incident| incident.is_open()) {
            return open.id.clone();
        }
        let recent = |incident: &&Incident| {
            let ended_ms = incident.resolved_at_ms.unwrap_or(i64::MIN);
            incident.status == Status::Resolved && now_ms.saturating_sub(ended_ms) < policy.reopen_within_ms
        };
        let severity = Severity::of(&alert.labels);
        if let Some(id) = same().filter(recent).max_by_key(|one| one.resolved_at_ms).map(|one| one.id.clone())
        {
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.status = Status::Open;
                (incident.acknowledged, incident.resolved_at_ms, incident.assignee) = (None, None, None);
                incident.reopened += 1;
                incident.note(now_ms, None, "It came back.");
                incident.tell_public(
                    now_ms,
                    PublicStatus::Investigating,
                    "It came back. We are investigating.",
                );
                decided.push(Decision::Reopened(id.clone()));
                start(incident, policy, now_ms, decided);
            }
            return id;
        }
        let title = alert.annotations.get("summary").cloned();
        let title = title.unwrap_or_else(|| cause.to_string());
        let mut incident = self.opened(Some(cause.clone()), &title, severity, now_ms);
        decided.push(Decision::Opened(incident.id.clone()));
        start(&mut incident, policy, now_ms, decided);
        let id = incident.id.clone();
        self.incidents.insert(id.clone(), incident);
        id
    }

    /// A new incident, of which nobody has heard yet. Without a cause, it is its own.
    pub(super) fn opened(
        &self,
        cause: Option<Cause>,
        title: &str,
        severity: Severity,
        now_ms: i64,
    ) -> Incident {
        let id = self.next_id(now_ms);
        let mut incident = Incident {
            by_hand: cause.is_none(),
            cause: cause.unwrap_or_else(|| Cause::by_hand(&id.0)),
            id,
            title: cut(title, TITLE_BYTES),
            severity,
            status: Status::Open,
            opened_at_ms: now_ms,
            due_at_ms: now_ms,
            assignee: None,
            acknowledged: None,
            resolved_at_ms: None,
            reopened: 0,
            steps: 0,
            next_step_at_ms: None,
            alerts: BTreeMap::new(),
            more_firing: 0,
            timeline: Vec::new(),
            left_out: 0,
            paged: Vec::new(),
            root_cause: String::new(),
            resolution: String::new(),
            request: None,
            published: None,
        };
        incident.note(now_ms, None, format!("Opened as {severity}, {}.", severity.word()));
        incident
    }

    fn next_id(&self, now_ms: i64) -> IncidentId {
        let day = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let day = day.to_zoned(TimeZone::UTC).strftime("INC-%Y%m%d-").to_string();
        let number = |id: &IncidentId| id.0.strip_prefix(&day).and_then(|rest| rest.parse::<u32>().ok());
        let last = self.incidents.keys().filter_map(number).max().unwrap_or(0);
        IncidentId(format!("{day}{:03}", last + 1))
    }

    /// Ends an incident, by a person or because its alerts are over.
    pub(super) fn close(
        &mut self,
        id: &IncidentId,
        who: Option<&str>,
        now_ms: i64,
        decided: &mut Vec<Decision>,
    ) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        incident.status = Status::Resolved;
        incident.resolved_at_ms = Some(now_ms);
        incident.next_step_at_ms = None;
        incident.note(now_ms, who, "Resolved.");
        incident.tell_public(now_ms, PublicStatus::Resolved, "This incident is resolved.");
        decided.push(Decision::Resolved(id.clone()));
        if incident.severity <= Severity::P1 {
            decided.push(Decision::PostMortem(id.clone(), post_mortem(incident)));
        }
    }
}

/// Whether an incident that alerts opened has none any more that fires.
fn is_over(incident: &Incident) -> bool {
    !incident.alerts.is_empty() && !incident.has_firing()
}

/// Starts the clock, assigns and pages the first one.
pub(super) fn start(incident: &mut Incident, policy: &Policy<'_>, now_ms: i64, decided: &mut Vec<Decision>) {
    incident.steps = 0;
    incident.due_at_ms = due_ms(incident.severity, now_ms, &policy.zone);
    page(incident, policy, now_ms, decided);
}

/// Takes the next step of the escalation.
fn page(incident: &mut Incident, policy: &Policy<'_>, now_ms: i64, decided: &mut Vec<Decision>) {
    incident.next_step_at_ms = Some(due_ms(incident.severity, now_ms, &policy.zone));
    let Some(last) = policy.escalation.last() else { return };
    let step = incident.steps;
    let role = policy.escalation.get(step as usize).unwrap_or(last).clone();
    let who = (policy.on_call)(&role, now_ms);
    let name = match (&who, &role) {
        (Some(who), _) | (None, Role::Person(who)) => who.clone(),
        (None, Role::Primary) => "nobody: no primary is on call".to_owned(),
        (None, Role::Secondary) => "nobody: no secondary is on call".to_owned(),
    };
    incident.note(now_ms, None, format!("Paged {name}."));
    if who.is_some() && (incident.assignee.is_none() || step > 0) {
        incident.assignee.clone_from(&who);
    }
    incident.steps = step.saturating_add(1);
    if incident.paged.len() >= PAGES_MAX {
        incident.paged.remove(0);
    }
    incident.paged.push(Paged { at_ms: now_ms, step, role: role.clone(), who: who.clone() });
    decided.push(Decision::Page { id: incident.id.clone(), step, role, who });
}

/// Makes an incident as grave as its gravest alert: the shorter response time counts from now.
pub(super) fn raise(
    incident: &mut Incident,
    severity: Severity,
    policy: &Policy<'_>,
    now_ms: i64,
    decided: &mut Vec<Decision>,
) {
    if severity >= incident.severity {
        return;
    }
    incident.note(now_ms, None, format!("Raised from {} to {severity}.", incident.severity));
    incident.severity = severity;
    let due_at_ms = due_ms(severity, now_ms, &policy.zone);
    incident.due_at_ms = incident.due_at_ms.min(due_at_ms);
    incident.next_step_at_ms = incident.next_step_at_ms.map(|at| at.min(due_at_ms));
    decided.push(Decision::Raised(incident.id.clone(), severity));
    // Whoever took it took something less grave: it is told anew, as a further step.
    if incident.acknowledged.take().is_some() {
        incident.status = Status::Open;
        incident.steps = incident.steps.max(1);
        page(incident, policy, now_ms, decided);
    }
}

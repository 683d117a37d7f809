//! What people do with incidents.

use std::fmt;

use super::book::{raise, start};
use super::bounds::{NAME_BYTES, TEXT_BYTES, cut};
use super::clock::due_ms;
use super::{Act, Book, Decision, Incident, IncidentId, Policy, RequestKey, Severity, Status};

/// What a person opens an incident with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub title: &'a str,
    pub severity: Severity,
    /// Whether who opens it has taken it: then nobody is paged.
    pub taken: bool,
    pub request: Option<&'a RequestKey>,
}

/// Why something can't be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    Unknown(IncidentId),
    /// It is resolved or merged.
    Over(IncidentId),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown(id) => write!(f, "there is no incident {id}"),
            Refused::Over(id) => write!(f, "incident {id} is over"),
        }
    }
}

impl std::error::Error for Refused {}

impl Book {
    /// Opens an incident by hand. A request that opened one already opens no second one.
    pub fn create(
        &mut self,
        opening: &Opening<'_>,
        who: &str,
        policy: &Policy<'_>,
        now_ms: i64,
    ) -> (IncidentId, Vec<Decision>) {
        if let Some(opened) = opening.request.and_then(|request| self.opened_by(&request.key)) {
            return (opened.id.clone(), Vec::new());
        }
        let mut incident = self.opened(None, opening.title, opening.severity, now_ms);
        let id = incident.id.clone();
        incident.request = opening.request.cloned();
        incident.note(now_ms, Some(who), "Opened by hand.");
        let mut decided = vec![Decision::Opened(id.clone())];
        if opening.taken {
            incident.due_at_ms = due_ms(incident.severity, now_ms, &policy.zone);
            decided.push(take(&mut incident, who, now_ms));
        } else {
            start(&mut incident, policy, now_ms, &mut decided);
        }
        self.incidents.insert(id.clone(), incident);
        (id, decided)
    }

    /// Opens an incident that neither an alert nor a person reports; `why` is the first line of its timeline. Each call opens one.
    pub fn report(
        &mut self,
        title: &str,
        severity: Severity,
        why: &str,
        policy: &Policy<'_>,
        now_ms: i64,
    ) -> (IncidentId, Vec<Decision>) {
        let mut incident = self.opened(None, title, severity, now_ms);
        incident.by_hand = false;
        incident.note(now_ms, None, why);
        let id = incident.id.clone();
        let mut decided = vec![Decision::Opened(id.clone())];
        start(&mut incident, policy, now_ms, &mut decided);
        self.incidents.insert(id.clone(), incident);
        (id, decided)
    }

    /// The incident that was opened by the request of that key.
    pub fn opened_by(&self, key: &str) -> Option<&Incident> {
        let opened = |incident: &&Incident| incident.request.as_ref().is_some_and(|one| one.key == key);
        self.incidents.values().find(opened)
    }

    /// Someone takes it: the clock stops. Nothing happens when someone has it already.
    ///
    /// # Errors
    /// There is none of that id, or it is over.
    pub fn acknowledge(&mut self, id: &IncidentId, who: &str, now_ms: i64) -> Result<Vec<Decision>, Refused> {
        let incident = self.open_one(id)?;
        if incident.acknowledged.is_some() {
            return Ok(Vec::new());
        }
        Ok(vec![take(incident, who, now_ms)])
    }

    /// Gives it to someone.
    ///
    /// # Errors
    /// There is none of that id, or it is over.
    pub fn assign(&mut self, id: &IncidentId, to: &str, who: &str, now_ms: i64) -> Result<(), Refused> {
        let incident = self.open_one(id)?;
        incident.assignee = Some(cut(to, NAME_BYTES));
        incident.note(now_ms, Some(who), format!("Assigned it to {to}."));
        Ok(())
    }

    /// Sets how grave it is. A graver one has the shorter response time from now on.
    ///
    /// # Errors
    /// There is none of that id, or it is over.
    pub fn set_severity(
        &mut self,
        id: &IncidentId,
        severity: Severity,
        who: &str,
        policy: &Policy<'_>,
        now_ms: i64,
    ) -> Result<Vec<Decision>, Refused> {
        let incident = self.open_one(id)?;
        let mut decided = Vec::new();
        if severity < incident.severity {
            raise(incident, severity, policy, now_ms, &mut decided);
        }
        incident.severity = severity;
        incident.note(now_ms, Some(who), format!("Set it to {severity}."));
        Ok(decided)
    }

    /// Writes into the timeline, also of one that is over.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn add_note(&mut self, id: &IncidentId, what: &str, who: &str, now_ms: i64) -> Result<(), Refused> {
        let incident = self.incidents.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        incident.note(now_ms, Some(who), what);
        Ok(())
    }

    /// Says why it happened and what helped, also of one that is over; what is `None` stays.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn explain(
        &mut self,
        id: &IncidentId,
        root_cause: Option<&str>,
        resolution: Option<&str>,
        who: &str,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let incident = self.incidents.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        if let Some(text) = root_cause {
            incident.root_cause = cut(text, TEXT_BYTES);
            incident.note(now_ms, Some(who), format!("Root cause: {text}"));
        }
        if let Some(text) = resolution {
            incident.resolution = cut(text, TEXT_BYTES);
            incident.note(now_ms, Some(who), format!("Resolution: {text}"));
        }
        Ok(())
    }

    /// Resolves it. Alerts of it that still fire open nothing until they are over and fire again.
    ///
    /// # Errors
    /// There is none of that id, or it is over.
    pub fn resolve(&mut self, id: &IncidentId, who: &str, now_ms: i64) -> Result<Vec<Decision>, Refused> {
        self.open_one(id)?;
        let mut decided = Vec::new();
        self.close(id, Some(who), now_ms, &mut decided);
        Ok(decided)
    }

    fn open_one(&mut self, id: &IncidentId) -> Result<&mut Incident, Refused> {
        let incident = self.incidents.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        if incident.is_open() { Ok(incident) } else { Err(Refused::Over(id.clone())) }
    }
}

fn take(incident: &mut Incident, who: &str, now_ms: i64) -> Decision {
    incident.status = Status::Investigating;
    incident.acknowledged = Some(Act { who: cut(who, NAME_BYTES), at_ms: now_ms });
    incident.assignee = Some(cut(who, NAME_BYTES));
    incident.next_step_at_ms = None;
    incident.note(now_ms, Some(who), "Took it.");
    Decision::Acknowledged(incident.id.clone())
}

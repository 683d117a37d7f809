//! What the public sees of an incident: words that were written for it, and nothing else.

use serde::{Deserialize, Serialize};

use super::bounds::{PUBLIC_BYTES, PUBLIC_NOTES_MAX, TITLE_BYTES, cut};
use super::{Book, Incident, IncidentId, Refused, Severity, Status};

/// Where an incident stands, in the words of status pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicStatus {
    /// Somebody looks into it.
    Investigating,
    /// It is known why.
    Identified,
    /// It is mended and watched.
    Monitoring,
    /// It is over.
    Resolved,
}

impl PublicStatus {
    /// `investigating`, `identified`, `monitoring` or `resolved`.
    pub fn word(self) -> &'static str {
        match self {
            PublicStatus::Investigating => "investigating",
            PublicStatus::Identified => "identified",
            PublicStatus::Monitoring => "monitoring",
            PublicStatus::Resolved => "resolved",
        }
    }

    /// The one of that word.
    pub fn of_word(word: &str) -> Option<PublicStatus> {
        let all = [
            PublicStatus::Investigating,
            PublicStatus::Identified,
            PublicStatus::Monitoring,
            PublicStatus::Resolved,
        ];
        all.into_iter().find(|status| status.word() == word)
    }
}

/// A note for the public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicNote {
    /// Ms since 1970.
    pub at_ms: i64,
    pub status: PublicStatus,
    pub text: String,
}

/// What the public sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub title: String,
    /// The oldest first.
    pub notes: Vec<PublicNote>,
}

/// What a person tells the public.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// `None`: the one that it has; at first, that of the incident where a person wrote it.
    pub title: Option<&'a str>,
    /// `None`: as before.
    pub status: Option<PublicStatus>,
    pub text: &'a str,
}

impl Published {
    fn note(&mut self, at_ms: i64, status: PublicStatus, text: &str) {
        self.notes.push(PublicNote { at_ms, status, text: cut(text, PUBLIC_BYTES) });
        // The first one says what it was about.
        if self.notes.len() > PUBLIC_NOTES_MAX {
            self.notes.remove(1);
        }
    }

    fn status(&self) -> PublicStatus {
        self.notes.last().map_or(PublicStatus::Investigating, |note| note.status)
    }
}

impl Incident {
    /// Where it stands for the public.
    pub fn public_status(&self) -> PublicStatus {
        let said = self.published.as_ref().map_or(PublicStatus::Investigating, Published::status);
        match (self.is_open(), said) {
            (false, _) => PublicStatus::Resolved,
            (true, PublicStatus::Resolved) => PublicStatus::Investigating,
            (true, said) => said,
        }
    }

    /// Publishes that a region is gone, in words that tell nothing of its machines; once, and only what is critical or high.
    pub(super) fn publish_dead_region(&mut self, region: &str, at_ms: i64) {
        if self.published.is_some() || self.severity > Severity::P1 {
            return;
        }
        let title = cut(&format!("Region {region} is unavailable"), TITLE_BYTES);
        let mut published = Published { title, notes: Vec::new() };
        published.note(at_ms, PublicStatus::Investigating, "We are investigating.");
        self.published = Some(published);
        self.note(at_ms, None, "Published on the status page.");
    }

    /// Tells the public, if it knows of it, what has become of the incident.
    pub(super) fn tell_public(&mut self, at_ms: i64, status: PublicStatus, text: &str) {
        if let Some(published) = self.published.as_mut().filter(|published| published.status() != status) {
            published.note(at_ms, status, text);
        }
    }

    /// Gives what was published to the incident that it is a consequence of, unless that has words of its own.
    pub(super) fn public_moves(&mut self, into: &mut Incident, at_ms: i64) {
        let Some(published) = &self.published else { return };
        into.published.get_or_insert_with(|| published.clone());
        self.tell_public(at_ms, PublicStatus::Resolved, "This is part of another incident.");
    }
}

impl Book {
    /// Publishes an incident, or tells the public more about it, also when it is over.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn publish(
        &mut self,
        id: &IncidentId,
        told: &Announcement<'_>,
        who: &str,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let incident = self.incidents.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        let by_hand = incident.by_hand;
        let title = told.title.or(by_hand.then_some(&incident.title)).unwrap_or("Degraded service");
        let title = cut(title, TITLE_BYTES);
        let published =
            incident.published.get_or_insert_with(|| Published { title: title.clone(), notes: Vec::new() });
        if told.title.is_some() {
            published.title = title;
        }
        let before = published.status();
        let status = match (told.status, &incident.status) {
            (Some(status), _) => status,
            (None, Status::Resolved | Status::Merged(_)) => PublicStatus::Resolved,
            (None, _) => before,
        };
        published.note(now_ms, status, told.text);
        incident.note(now_ms, Some(who), format!("Published as {}: {}", status.word(), told.text));
        Ok(())
    }
}

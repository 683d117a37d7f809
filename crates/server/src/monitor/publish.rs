//! Messages that go to the federation's own status page: the public hears of the incident, in words that tell nothing of machines.

use dwcp_telemetry::incidents::{Announcement, Book, Incident, IncidentId, PublicStatus};
use dwcp_telemetry::notify::{Action, Kind, Message, Outcome, Subject, Verdict};
use dwcp_types::Refusal;
use dwcp_types::refusal::Kind as Means;

use super::{Monitor, incidents};
use crate::handle::own;

impl Monitor {
    /// Whether a receiver is the federation's own status page.
    pub(super) fn is_page(&self, receiver: &str) -> bool {
        self.settings().receivers.get(receiver).is_some_and(|of| of.kind == Kind::StatusPage)
    }

    /// Publishes what a message says; what came of it.
    pub(super) async fn publish(&self, message: &Message) -> Outcome {
        if message.template == "test" {
            return Outcome { verdict: Verdict::Delivered, status: None, said: "it is there".to_owned() };
        }
        let asked = own();
        let published = incidents::change(self, &asked, |book, _, now_ms| {
            let Some(id) = about(book, message) else { return Ok((false, Vec::new())) };
            let (status, text) = words(message);
            // What people call an incident among themselves is not for the public.
            let unknown = book.get(&id).is_some_and(|incident| incident.published.is_none());
            let title = unknown.then_some("Degraded service");
            let told = Announcement { title, status, text };
            book.publish(&id, &told, "dwcp", now_ms).map_err(|refused| incidents::refusal(&refused))?;
            Ok((true, Vec::new()))
        });
        match published.await {
            Ok(true) => Outcome { verdict: Verdict::Delivered, status: None, said: String::new() },
            Ok(false) => Outcome::refused(
                "no incident is open that it could be about: the status page shows incidents and maintenance windows",
            ),
            Err(refusal) => failed(&refusal),
        }
    }
}

/// Why it was not published now, or never will be.
fn failed(refusal: &Refusal) -> Outcome {
    match refusal.code.page().kind {
        Means::Unavailable => Outcome::no_answer(&refusal.to_string()),
        _ => Outcome::refused(&refusal.to_string()),
    }
}

/// The incident that the public is to hear of: the message's own, or the newest open one about the region of an announcement.
fn about(book: &Book, message: &Message) -> Option<IncidentId> {
    match &message.subject {
        Subject::Incident { id, .. } => Some(id.clone()),
        Subject::Notice(_) => {
            let region = format!("region=\"{}\"", message.region);
            let of_region = |one: &&Incident| one.is_open() && one.cause.to_string().contains(&region);
            let found = book.incidents().filter(of_region).max_by_key(|one| one.opened_at_ms);
            found.filter(|_| !message.region.is_empty()).map(|one| one.id.clone())
        }
    }
}

/// What is said of an incident is ours; what people announce are their words.
fn words(message: &Message) -> (Option<PublicStatus>, &str) {
    match message.action {
        Action::Trigger | Action::Escalate(_) => (Some(PublicStatus::Investigating), "We are investigating."),
        Action::Acknowledge => (Some(PublicStatus::Identified), "Someone is working on it."),
        Action::Resolve => (Some(PublicStatus::Resolved), "It is over."),
        Action::Announce => (PublicStatus::of_word(&message.status), &message.text),
    }
}

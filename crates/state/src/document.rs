//! Documents: what monitoring writes down so that any region goes on where another one stopped, and what operators say about
//! routing. The federation keeps their text and says whose change comes first; what they mean is known to the monitor and to
//! routers alone.

use std::fmt;

use dwcp_types::{Revision, Wall};

use crate::Severity;

/// What a document is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocumentKind {
    /// An incident.
    #[default]
    Incident,
    /// Alerts that somebody does not want to hear of for a while.
    Silence,
    /// Where the alerts of a rule stand.
    Alerts,
    /// A message on its way to somebody.
    Delivery,
    /// Who stands in for whoever would be on call.
    OnCall,
    /// What was promised.
    Sla,
    /// How much of a period something was there.
    Availability,
    /// A promise that was not kept.
    Breach,
    /// How routers decide.
    Routing,
    /// What users reach under a name.
    Service,
    /// How routers keep attackers out.
    Guard,
    /// Somebody whom routers don't serve.
    Block,
    /// An attack.
    Attack,
}

impl DocumentKind {
    /// Its name, as in the names of pieces.
    pub fn name(self) -> &'static str {
        match self {
            DocumentKind::Incident => "incident",
            DocumentKind::Silence => "silence",
            DocumentKind::Alerts => "alerts",
            DocumentKind::Delivery => "delivery",
            DocumentKind::OnCall => "on-call",
            DocumentKind::Sla => "sla",
            DocumentKind::Availability => "availability",
            DocumentKind::Breach => "breach",
            DocumentKind::Routing => "routing",
            DocumentKind::Service => "service",
            DocumentKind::Guard => "guard",
            DocumentKind::Block => "block",
            DocumentKind::Attack => "attack",
        }
    }
}

/// Which document.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentKey {
    pub kind: DocumentKind,
    /// Unique in its kind.
    pub id: String,
}

impl DocumentKey {
    pub fn new(kind: DocumentKind, id: impl Into<String>) -> DocumentKey {
        DocumentKey { kind, id: id.into() }
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.id)
    }
}

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// What it says; the monitor writes JSON.
    pub text: String,
    /// Who wrote it last.
    pub by: String,
    /// When.
    pub at: Wall,
    /// The revision at which that happened.
    pub revision: Revision,
}

impl Document {
    /// Longest text, bytes.
    pub const TEXT_MOST: usize = 1 << 20;
    /// Texts of all documents together, bytes.
    pub const TEXTS_MOST: usize = 64 << 20;
    /// Changes of one command.
    pub const CHANGES_MOST: usize = 5_000;
    /// Texts of one command together, bytes.
    pub const CHANGED_MOST: usize = 4 << 20;
}

/// A change of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentChange {
    pub key: DocumentKey,
    /// The revision that it must have; 0: it must not be there.
    pub expected: Revision,
    /// What it says from now on; none: it is removed, or only looked at when it is not there.
    pub text: Option<String>,
}

/// Something that a change of documents is to be remembered by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentEvent {
    pub severity: Severity,
    /// Such as `incident.opened`.
    pub kind: String,
    /// What it is about: an incident, a region.
    pub subject: String,
    /// One line for people.
    pub text: String,
}

impl DocumentEvent {
    /// One that nobody need look at.
    pub fn info(kind: &str, subject: &str, text: String) -> DocumentEvent {
        DocumentEvent { severity: Severity::Info, kind: kind.to_owned(), subject: subject.to_owned(), text }
    }
}

/// Changes of documents: all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentChanges {
    pub changes: Vec<DocumentChange>,
    pub events: Vec<DocumentEvent>,
}

//! Incidents at a glance: how many are open, and what the public sees of them. Each document is read once each time it changes, so
//! that asking costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dwcp_state::{DocumentKey, DocumentKind};
use dwcp_telemetry::incidents::{Incident, PublicNote, PublicStatus, Severity};
use dwcp_types::Revision;

use crate::handle::View;

/// An incident that the public sees, and all that it sees of it. Moments are ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicIncident {
    pub id: String,
    pub title: String,
    pub severity: Severity,
    pub status: PublicStatus,
    pub opened_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// The oldest first.
    pub notes: Vec<PublicNote>,
}

impl PublicIncident {
    /// What is published of an incident; none: nothing.
    pub fn of(incident: &Incident) -> Option<PublicIncident> {
        let published = incident.published.clone()?;
        Some(PublicIncident {
            id: incident.id.to_string(),
            title: published.title,
            severity: incident.severity,
            status: incident.public_status(),
            opened_at_ms: incident.opened_at_ms,
            ended_at_ms: incident.resolved_at_ms,
            notes: published.notes,
        })
    }
}

#[derive(Clone)]
struct Glance {
    revision: Revision,
    open: bool,
    public: Option<Arc<PublicIncident>>,
}

impl Glance {
    /// What only a later version can read counts as open.
    fn of(revision: Revision, text: &str) -> Glance {
        match serde_json::from_str::<Incident>(text) {
            Ok(incident) => Glance {
                revision,
                open: incident.is_open(),
                public: PublicIncident::of(&incident).map(Arc::new),
            },
            Err(_) => Glance { revision, open: true, public: None },
        }
    }
}

/// All incidents at a glance. Clones share what was read.
#[derive(Clone, Default)]
pub struct Glances(Arc<Mutex<BTreeMap<String, Glance>>>);

impl Glances {
    /// How many are neither resolved nor merged, as far as is known here.
    pub fn open(&self, view: &View<'_>) -> u64 {
        self.with(view, |all| all.values().filter(|glance| glance.open).count() as u64)
    }

    /// Those that the public sees, in the order of their ids.
    pub fn published(&self, view: &View<'_>) -> Vec<Arc<PublicIncident>> {
        self.with(view, |all| all.values().filter_map(|glance| glance.public.clone()).collect())
    }

    fn with<T>(&self, view: &View<'_>, look: impl FnOnce(&BTreeMap<String, Glance>) -> T) -> T {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let first = DocumentKey::new(DocumentKind::Incident, "");
        let documents = view.node.facts().core.documents.range(first..);
        let now =
            documents.take_while(|(key, _)| key.kind == DocumentKind::Incident).map(|(key, document)| {
                let before = known.get(&key.id).filter(|glance| glance.revision == document.revision);
                let glance = before.cloned().unwrap_or_else(|| Glance::of(document.revision, &document.text));
                (key.id.clone(), glance)
            });
        let now: BTreeMap<String, Glance> = now.collect();
        *known = now;
        look(&known)
    }
}

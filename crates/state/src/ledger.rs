//! Events and remembered requests of one group: bounded, oldest out first.

use std::collections::{BTreeMap, VecDeque};

use dwcp_types::{RegionId, Revision, Wall};

use crate::Outcome;

/// How much an event matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the record.
    #[default]
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act, or DWCP acts.
    Critical,
}

/// Something that happened. Also the audit trail: who, what, when, under which request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Position in the group's log.
    pub revision: Revision,
    /// When the command was proposed.
    pub at: Wall,
    /// How much it matters.
    pub severity: Severity,
    /// What kind, such as `vm.created`.
    pub kind: String,
    /// What it is about: a VM, host or region.
    pub subject: String,
    /// One line for people.
    pub text: String,
    /// Who asked; `dwcp` when nobody did.
    pub by: String,
    /// The idempotency key it came under.
    pub request: String,
    /// The id of the API request that asked; empty when none did.
    pub request_id: String,
    /// What it was before; empty: there is nothing to compare.
    pub before: String,
    /// What it is now.
    pub after: String,
    /// Why, in the words of who asked; empty: none was given.
    pub reason: String,
    /// The region whose controller proposed it; empty: an earlier level was in force.
    pub proposer: RegionId,
}

/// Events and remembered requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The newest events, oldest first.
    pub events: VecDeque<Event>,
    /// Outcomes of requests, by request id.
    pub outcomes: BTreeMap<String, (u64, Outcome)>,
    /// Request ids, oldest first.
    pub order: VecDeque<String>,
}

impl Event {
    /// The same event, with what it changed.
    pub(crate) fn changing(self, before: impl ToString, after: impl ToString) -> Event {
        Event { before: before.to_string(), after: after.to_string(), ..self }
    }
}

impl Ledger {
    /// Events kept a group.
    pub const EVENTS_KEPT: usize = 2_000;
    /// Requests remembered a group.
    pub const REQUESTS_KEPT: usize = 4_096;

    /// The outcome of a request applied before. The digest tells whether it was the same request.
    pub fn recall(&self, request: &str) -> Option<&(u64, Outcome)> {
        if request.is_empty() { None } else { self.outcomes.get(request) }
    }

    /// Remembers the outcome of a request.
    pub fn remember(&mut self, request: &str, digest: u64, outcome: &Outcome) {
        if request.is_empty() {
            return;
        }
        if self.outcomes.insert(request.to_string(), (digest, outcome.clone())).is_none() {
            self.order.push_back(request.to_string());
        }
        while self.order.len() > Self::REQUESTS_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.outcomes.remove(&oldest);
            }
        }
    }

    /// Adds an event.
    pub fn note(&mut self, event: Event) {
        self.events.push_back(event);
        while self.events.len() > Self::EVENTS_KEPT {
            self.events.pop_front();
        }
    }
}

//! Alerts: what a rule's evaluations make of them, and which are not told.
//!
//! Everything is a function of what it is given, and time is an argument. An evaluation goes into [`RuleState`], which gives the
//! changes of its alerts. [`Mutes`] says which alerts are not told: by a [`Silence`], an [`Inhibition`] or a maintenance
//! [`Window`]. What the others lead to is an incident's: see [`crate::incidents`]. The states are plain values that can be stored, and
//! whoever takes one over goes on where the one before stopped.

mod condition;
mod fingerprint;
mod inhibit;
mod mute;
mod record;
mod silence;
mod state;
mod stored;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Labels;

pub use condition::{Condition, Conditions};
pub use fingerprint::{Fingerprint, fingerprint};
pub use inhibit::Inhibition;
pub use mute::{Muted, Mutes, Window, WindowScope};
pub use record::RuleRecord;
pub use silence::{Silence, SilenceError, Silences};
pub use state::{Change, Context, Evaluation, Health, RuleState};

/// The label with the name of an alert's rule.
pub const ALERTNAME: &str = "alertname";

/// The label with how grave an alert is: `P0` to `P3`.
pub const SEVERITY: &str = "severity";

/// The alert that says that a region is gone; the region is in its label [`REGION`].
pub const REGION_DOWN: &str = "RegionDown";

/// The label with the region that an alert is about.
pub const REGION: &str = "region";

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its expression gives it, not yet for long enough.
    Pending,
    Firing,
    /// It fired, and does not any more.
    Resolved,
    /// It was pending, and never fired.
    Withdrawn,
}

impl Phase {
    /// As in the label `alertstate`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending => "pending",
            Phase::Firing => "firing",
            Phase::Resolved => "resolved",
            Phase::Withdrawn => "withdrawn",
        }
    }
}

/// One alert: a rule and a set of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity, [`ALERTNAME`] among them.
    #[serde(with = "stored::labels")]
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// What its expression gave last.
    #[serde(with = "stored::number")]
    pub value: f64,
    pub phase: Phase,
    /// Since when its expression gives it, ms since 1970.
    pub active_at_ms: i64,
    /// Since when it fires.
    pub fired_at_ms: Option<i64>,
    /// Since when its expression does not give it, while it goes on firing all the same.
    pub absent_since_ms: Option<i64>,
    /// When it was resolved or withdrawn.
    pub ended_at_ms: Option<i64>,
}

impl Alert {
    /// The rule's name.
    pub fn name(&self) -> &str {
        self.labels.get(ALERTNAME)
    }

    /// Whether it says that a region is gone: which one.
    pub fn region_down(&self) -> Option<&str> {
        let region = self.labels.get(REGION);
        (self.name() == REGION_DOWN && !region.is_empty()).then_some(region)
    }
}

#[cfg(test)]
mod tests;

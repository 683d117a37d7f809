//! Which alerts are not told, and why.

use serde::{Deserialize, Serialize};

use crate::model::Labels;

use super::inhibit::Inhibitor;
use super::{Fingerprint, Inhibition, REGION, Silences};

/// What a maintenance window is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowScope {
    /// Alerts whose label `region` is this.
    Region(String),
    /// Alerts whose label `host` is this.
    Host(String),
    /// The whole federation.
    All,
}

/// A maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub id: String,
    pub scope: WindowScope,
    /// From this moment on, ms since 1970.
    pub from_ms: i64,
    /// Up to this moment, it not included.
    pub until_ms: i64,
}

impl Window {
    /// Whether an alert of these labels falls into it now.
    pub fn covers(&self, labels: &Labels, now_ms: i64) -> bool {
        let about = match &self.scope {
            WindowScope::Region(region) => labels.get(REGION) == region,
            WindowScope::Host(host) => labels.get("host") == host,
            WindowScope::All => true,
        };
        about && (self.from_ms..self.until_ms).contains(&now_ms)
    }
}

/// Why an alert is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Muted {
    /// By the silences of these ids.
    Silenced(Vec<String>),
    /// This alert says why it is there.
    Inhibited(Fingerprint),
    /// By the maintenance window of this id.
    Maintenance(String),
}

/// Everything that keeps alerts from being told.
#[derive(Clone, Debug, Default)]
pub struct Mutes {
    pub silences: Silences,
    pub inhibitions: Vec<Inhibition>,
    pub windows: Vec<Window>,
}

impl Mutes {
    /// For each of the alerts that fire, by their labels and in their order, why it is not told; `None`: it is.
    ///
    /// An alert that is silenced itself inhibits others all the same: the region is gone, whoever wants to hear of it.
    pub fn of(&self, firing: &[Labels], now_ms: i64) -> Vec<Option<Muted>> {
        let inhibitor = Inhibitor::new(&self.inhibitions, firing);
        let why = |labels| {
            let silences = self.silences.of(labels, now_ms);
            if !silences.is_empty() {
                return Some(Muted::Silenced(silences.into_iter().map(str::to_owned).collect()));
            }
            if let Some(window) = self.windows.iter().find(|window| window.covers(labels, now_ms)) {
                return Some(Muted::Maintenance(window.id.clone()));
            }
            inhibitor.of(labels).map(Muted::Inhibited)
        };
        firing.iter().map(why).collect()
    }
}

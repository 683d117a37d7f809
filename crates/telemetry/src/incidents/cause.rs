//! What an incident is about.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bounds::{CAUSE_BYTES, cut};
use crate::alerting::{ALERTNAME, REGION, SEVERITY, fingerprint};
use crate::model::{Labels, NAME};

/// The key of a cause: alerts of one key belong to one incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(String);

/// The label with which a rule names the cause of its alerts, so that a warning and its critical threshold share an incident.
const CAUSE: &str = "cause";

/// Labels that say how an alert was found, not what it is about.
const HOW: [&str; 4] = [ALERTNAME, SEVERITY, CAUSE, "window"];

impl Cause {
    /// That of an alert with these labels while the regions of `dead` are gone: in a dead region, the region; else the rule's label
    /// `cause`, or its name, and what the alert is about.
    pub fn of(labels: &Labels, dead: &BTreeSet<String>) -> Cause {
        let region = labels.get(REGION);
        if dead.contains(region) {
            return Cause::dead_region(region);
        }
        let name =
            [CAUSE, ALERTNAME].map(|label| labels.get(label)).into_iter().find(|name| !name.is_empty());
        let about = labels.iter().filter(|(name, _)| !HOW.contains(name));
        Cause::new(name.unwrap_or(""), about)
    }

    /// A region that is gone.
    pub fn dead_region(region: &str) -> Cause {
        Cause::new("region-down", [(REGION, region)].into_iter())
    }

    /// Of an incident that a person opened: its own.
    pub fn by_hand(id: &str) -> Cause {
        Cause::new("by-hand", [("id", id)].into_iter())
    }

    fn new<'a>(name: &'a str, about: impl Iterator<Item = (&'a str, &'a str)>) -> Cause {
        let all = about.chain([(NAME, name)]);
        let owned = all.map(|(name, value)| (Arc::<str>::from(name), Arc::<str>::from(value)));
        let labels = Labels::new(owned);
        let text = labels.to_string();
        if text.len() <= CAUSE_BYTES {
            return Cause(text);
        }
        // What is left out must still tell two causes apart.
        Cause(format!("{} {:016x}", cut(&text, CAUSE_BYTES - 17), fingerprint(&labels).0))
    }
}

impl fmt::Display for Cause {
    /// `region-down{region="eu-west-1"}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! Silences: alerts that someone does not want to hear of for a while.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Labels;

use super::Conditions;

/// A silence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Alerts whose labels fulfil all of these are silent.
    pub conditions: Conditions,
    /// From this moment on, ms since 1970.
    pub from_ms: i64,
    /// Up to this moment, it not included.
    pub until_ms: i64,
    pub who: String,
    pub comment: String,
}

/// Why a silence is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SilenceError {
    /// It would silence alerts whatever their labels are.
    MatchesEverything,
    /// It ends before it begins, or has ended already.
    Over,
    /// Nobody says who wants it, or why.
    NoReason,
    /// There is none of that id.
    Unknown,
}

impl fmt::Display for SilenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SilenceError::MatchesEverything => {
                "at least one condition must need a label: this would silence every alert"
            }
            SilenceError::Over => "it ends before it begins, or is over already",
            SilenceError::NoReason => "a silence says who wants it and why",
            SilenceError::Unknown => "there is no such silence",
        })
    }
}

impl std::error::Error for SilenceError {}

/// All silences, those that are over for a while, too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Silences(BTreeMap<String, Silence>);

impl Silences {
    /// Adds a silence, or changes the one of that id.
    ///
    /// # Errors
    /// It would silence everything, is over, or has no author or comment.
    pub fn put(&mut self, id: &str, silence: Silence, now_ms: i64) -> Result<(), SilenceError> {
        if silence.conditions.0.iter().all(super::Condition::holds_without) {
            return Err(SilenceError::MatchesEverything);
        }
        if silence.until_ms <= silence.from_ms.max(now_ms) {
            return Err(SilenceError::Over);
        }
        if silence.who.trim().is_empty() || silence.comment.trim().is_empty() {
            return Err(SilenceError::NoReason);
        }
        self.0.insert(id.to_owned(), silence);
        Ok(())
    }

    /// Takes a silence over as it was kept.
    pub fn keep(&mut self, id: &str, silence: Silence) {
        self.0.insert(id.to_owned(), silence);
    }

    /// Ends a silence now. One that has not begun never will.
    ///
    /// # Errors
    /// There is none of that id, or it is over.
    pub fn expire(&mut self, id: &str, now_ms: i64) -> Result<(), SilenceError> {
        let silence = self.0.get_mut(id).ok_or(SilenceError::Unknown)?;
        if silence.until_ms <= now_ms {
            return Err(SilenceError::Over);
        }
        silence.until_ms = now_ms;
        silence.from_ms = silence.from_ms.min(now_ms);
        Ok(())
    }

    /// Forgets those that have been over for longer than `kept_ms`.
    pub fn prune(&mut self, kept_ms: i64, now_ms: i64) {
        self.0.retain(|_, silence| silence.until_ms.saturating_add(kept_ms) > now_ms);
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Silence)> {
        self.0.iter().map(|(id, silence)| (id.as_str(), silence))
    }

    /// The ids of those that silence an alert of these labels now.
    pub fn of(&self, labels: &Labels, now_ms: i64) -> Vec<&str> {
        let in_force =
            self.iter().filter(|(_, silence)| (silence.from_ms..silence.until_ms).contains(&now_ms));
        in_force.filter(|(_, silence)| silence.conditions.hold(labels)).map(|(id, _)| id).collect()
    }
}

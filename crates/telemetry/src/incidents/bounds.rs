//! How large an incident may become: it fits into one document, whatever fires and whoever writes.

use std::cmp::Reverse;

use super::{Attached, Entry, Incident, Severity};
use crate::alerting::Fingerprint;

/// Longest title, bytes.
pub const TITLE_BYTES: usize = 200;
/// Longest name of a person, of an alert or of a request, bytes.
pub const NAME_BYTES: usize = 100;
/// Longest text that a person writes, bytes.
pub const TEXT_BYTES: usize = 2_000;
/// Longest text for the public, bytes.
pub const PUBLIC_BYTES: usize = 800;
/// Alerts that are kept with their labels, at most; of more it is known how many fire.
pub const ALERTS_MAX: usize = 100;
/// Longest labels of an alert that are kept, and longest entry that comes by itself, bytes.
pub(super) const LABELS_BYTES: usize = 300;
/// Longest cause, bytes.
pub(super) const CAUSE_BYTES: usize = 500;
/// Notes for the public that are kept, at most.
pub(super) const PUBLIC_NOTES_MAX: usize = 20;
/// Pages that are kept, the newest ones.
pub(super) const PAGES_MAX: usize = 30;
/// Entries of a timeline up to which it tells of single alerts.
const ALERT_NOTES_MAX: usize = 150;
/// A timeline as it is stored, bytes, at most.
const TIMELINE_BYTES: usize = 80 << 10;

/// A text of at most `most` bytes, in which nothing is longer than two bytes when it is stored: control characters are blanks.
pub(super) fn cut(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.len() <= most {
        return plain;
    }
    let mut end = most - '…'.len_utf8();
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &plain[..end])
}

/// What an entry takes where it is stored, bytes, at most.
fn cost(entry: &Entry) -> usize {
    64 + 2 * (entry.what.len() + entry.who.as_ref().map_or(0, String::len))
}

impl Incident {
    /// Adds an entry. Where there is no room, older ones make some: those that came by themselves first, and never the first one.
    pub(super) fn note(&mut self, at_ms: i64, who: Option<&str>, what: impl AsRef<str>) {
        let most = if who.is_some() { TEXT_BYTES + NAME_BYTES } else { LABELS_BYTES };
        let entry = Entry { at_ms, who: who.map(|who| cut(who, NAME_BYTES)), what: cut(what.as_ref(), most) };
        self.timeline.push(entry);
        let mut kept: usize = self.timeline.iter().map(cost).sum();
        while kept > TIMELINE_BYTES && self.timeline.len() > 2 {
            let last = self.timeline.len() - 1;
            let oldest = (1..last).find(|at| self.timeline[*at].who.is_none()).unwrap_or(1);
            kept -= cost(&self.timeline.remove(oldest));
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Adds an entry about one alert, of which there can be thousands.
    pub(super) fn note_alert(&mut self, at_ms: i64, what: impl AsRef<str>) {
        if self.timeline.len() < ALERT_NOTES_MAX {
            self.note(at_ms, None, what);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Whether an alert that fires finds a place among those that are kept: a free one, or that of a less grave one.
    pub(super) fn has_room_for(&self, severity: Severity) -> bool {
        let gives_way = |alert: &Attached| alert.ended_at_ms.is_none() && alert.severity > severity;
        self.kept_firing() < ALERTS_MAX || self.alerts.values().any(gives_way)
    }

    /// Keeps an alert; where too many are kept, one that is over makes room, or the least grave one. That one's fingerprint is
    /// returned when it still fires.
    pub(super) fn keep(&mut self, id: Fingerprint, alert: Attached) -> Option<Fingerprint> {
        self.alerts.insert(id, alert);
        if self.alerts.len() <= ALERTS_MAX {
            return None;
        }
        let others = self.alerts.iter().filter(|(other, _)| **other != id);
        let least = others.max_by_key(|(_, alert)| {
            (alert.ended_at_ms.is_some(), Reverse(alert.ended_at_ms), alert.severity)
        });
        let least = least.map(|(other, _)| *other)?;
        let dropped = self.alerts.remove(&least)?;
        dropped.ended_at_ms.is_none().then_some(least)
    }
}

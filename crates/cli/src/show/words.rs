//! Single values as people read them. What is not known is `unknown`, never 0.

use dwcp_api::Freshness;
use dwcp_api::region::{Deduction, Health, HealthState, Lifecycle, Usage};
use dwcp_config::units::show_duration;
use serde::Serialize;
use serde_json::Value;

use super::{Cell, Tone};

pub const UNKNOWN: &str = "unknown";

/// A value that may not be known.
pub fn known<T: ToString>(value: Option<T>) -> Cell {
    value.map_or_else(unknown, Cell::from)
}

pub fn unknown() -> Cell {
    Cell::toned(UNKNOWN, Tone::Warn)
}

/// A value that may not be there, which is no lack of knowledge.
pub fn or_dash<T: ToString>(value: Option<T>) -> Cell {
    value.map_or_else(|| Cell::toned("-", Tone::Faint), Cell::from)
}

/// A text that may be empty.
pub fn text_or_dash(text: &str) -> Cell {
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

/// `40%`.
pub fn percent(value: Option<f64>) -> Cell {
    known(value.map(|value| format!("{value:.0}%")))
}

/// Milliseconds as a duration.
pub fn duration(ms: Option<u64>) -> Cell {
    known(ms.map(show_duration))
}

/// An age in seconds: `0.2s`; old ones warn.
pub fn age(ms: Option<u64>) -> Cell {
    match ms {
        None => unknown(),
        Some(ms) => {
            let tone = if ms > 10_000 { Tone::Warn } else { Tone::Plain };
            Cell::toned(format!("{}.{}s", ms / 1_000, ms % 1_000 / 100), tone)
        }
    }
}

/// `12.4` with unit.
pub fn decimal(value: Option<f64>, unit: &str) -> Cell {
    known(value.map(|value| format!("{value:.1}{unit}")))
}

/// A choice as the API writes it: `running`.
pub fn name<T: Serialize>(choice: &T) -> String {
    match serde_json::to_value(choice) {
        Ok(Value::String(text)) => text.replace('_', "-"),
        _ => UNKNOWN.to_owned(),
    }
}

/// A choice, coloured by what it means.
pub fn state<T: Serialize>(choice: &T) -> Cell {
    let text = name(choice);
    let tone = match text.as_str() {
        "active" | "running" | "healthy" | "up" | "done" | "verified" | "answers" => Tone::Good,
        "unhealthy" | "failed" | "lost" | "silent" | "fenced" | "no-answer" | "down" | "critical"
        | "error" | "frozen" => Tone::Bad,
        "stopped" | "waiting" | "planned" | "info" | "revoked" | "expired" | "skipped" => Tone::Faint,
        _ => Tone::Warn,
    };
    // A running operation is on its way, not yet good; a running VM is. Both read well in green.
    Cell::toned(text, tone)
}

/// A cause of a deduction, with the window that mutes it.
pub fn cause(deduction: &Deduction) -> Cell {
    match &deduction.muted_by {
        Some(window) => Cell::toned(format!("{} (muted by {window})", deduction.cause), Tone::Faint),
        None => Cell::from(&deduction.cause),
    }
}

/// `97 healthy`, `unknown`, `85 healthy, in maintenance until 2026-11-29T04:00:00Z`.
pub fn health(health: &Health) -> Cell {
    let mut cell = state(&health.state);
    if let Some(score) = health.score
        && health.state != HealthState::Unknown
    {
        cell.text = format!("{score} {}", cell.text);
    }
    if let Some(window) = &health.maintenance {
        cell.text.push_str(&format!(", in maintenance until {}", instant(window.until_at_ms)));
    }
    cell
}

pub fn lifecycle(value: Lifecycle) -> Cell {
    state(&value)
}

/// Used share of a resource.
pub fn used(usage: &Usage) -> Cell {
    let mut cell = percent(usage.used_percent);
    if usage.used_percent.is_some_and(|used| used > 85.0) {
        cell.tone = Tone::Bad;
    }
    cell
}

/// Promised share of what can be given away; more than all of it where policy overcommits and capacity went away.
pub fn allocated(usage: &Usage) -> Cell {
    let share = match (usage.allocated, usage.capacity) {
        (Some(given), Some(all)) if all > 0 => Some(given as f64 * 100.0 / all as f64),
        _ => None,
    };
    let mut cell = percent(share);
    if share.is_some_and(|share| share > 85.0) {
        cell.tone = Tone::Bad;
    }
    cell
}

/// `8 of 32 vCPU given, 40% used`.
pub fn usage(usage: &Usage, unit: &str) -> String {
    let number = |value: Option<u64>| value.map_or(UNKNOWN.to_owned(), |value| value.to_string());
    let (allocated, capacity) = (number(usage.allocated), number(usage.capacity));
    let used = usage.used_percent.map_or(UNKNOWN.to_owned(), |used| format!("{used:.0}%"));
    format!("{allocated} of {capacity} {unit} given, {used} used")
}

/// `as of  us-east-1 0.2s, eu-west-1 unknown`; empty without facts.
pub fn as_of(list: &[Freshness]) -> String {
    if list.is_empty() {
        return format!("as of  {UNKNOWN}");
    }
    let parts: Vec<String> = list.iter().map(|f| format!("{} {}", f.region, age(f.age_ms).text)).collect();
    format!("as of  {}", parts.join(", "))
}

/// Milliseconds since 1970 as UTC: `2026-11-23T14:05:09Z`.
pub fn instant(at_ms: u64) -> String {
    let (days, seconds) = ((at_ms / 86_400_000) as i64, at_ms / 1_000 % 86_400);
    // Days to a date in the proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// [`instant`], or a dash.
pub fn instant_or_dash(at_ms: Option<u64>) -> Cell {
    or_dash(at_ms.map(instant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_right_on_leap_days_and_year_ends() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(instant(ms), text);
        }
    }

    #[test]
    fn what_is_not_known_says_so() {
        assert_eq!(percent(None).text, "unknown");
        assert_eq!(age(None).text, "unknown");
        assert_eq!(as_of(&[]), "as of  unknown");
        let health =
            Health { score: Some(100), state: HealthState::Unknown, deductions: vec![], maintenance: None };
        assert_eq!(super::health(&health).text, "unknown");
    }
}

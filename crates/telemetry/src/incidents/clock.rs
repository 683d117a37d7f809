//! How soon someone must have taken an incident.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::Severity;

const MINUTE_MS: i64 = 60_000;

/// The end of the response time of the operations guide, 3.1: 15 minutes, 1 hour, 4 hours, 1 business day. Business days are those from
/// Monday to Friday in that time zone; what begins at a weekend begins on Monday at midnight.
pub(super) fn due_ms(severity: Severity, from_ms: i64, zone: &TimeZone) -> i64 {
    match severity {
        Severity::P0 => from_ms.saturating_add(15 * MINUTE_MS),
        Severity::P1 => from_ms.saturating_add(60 * MINUTE_MS),
        Severity::P2 => from_ms.saturating_add(240 * MINUTE_MS),
        Severity::P3 => business_day(from_ms, zone).unwrap_or(from_ms.saturating_add(1_440 * MINUTE_MS)),
    }
}

/// `None` at the ends of the calendar.
fn business_day(from_ms: i64, zone: &TimeZone) -> Option<i64> {
    let mut from = Timestamp::from_millisecond(from_ms).ok()?.to_zoned(zone.clone());
    while is_weekend(&from) {
        from = from.checked_add(1.day()).ok()?.start_of_day().ok()?;
    }
    let mut due = from.checked_add(1.day()).ok()?;
    while is_weekend(&due) {
        due = due.checked_add(1.day()).ok()?;
    }
    Some(due.timestamp().as_millisecond())
}

fn is_weekend(moment: &Zoned) -> bool {
    matches!(moment.weekday(), Weekday::Saturday | Weekday::Sunday)
}

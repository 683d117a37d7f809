//! Moments as people write them, in UTC.

use super::duration_ms;

/// A moment: on the calendar, or from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since 1970 (UTC).
    At(u64),
    /// So many milliseconds from now.
    In(u64),
}

/// `2026-11-29T02:00Z`, `2026-11-29T02:00:30Z`, `2026-11-29 02:00` (UTC), `2026-11-29`, or from now on: `+2h`.
pub fn moment(text: &str) -> Result<Moment, String> {
    let trimmed = text.trim();
    if let Some(later) = trimmed.strip_prefix('+') {
        return duration_ms(later).map(Moment::In);
    }
    calendar(trimmed)
        .map(Moment::At)
        .ok_or_else(|| format!("'{text}' is not a time such as 2026-11-29T02:00Z (UTC), or +2h from now on"))
}

fn calendar(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix(" UTC")).unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let with_seconds = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    let [hour, minute, second] = numbers(&with_seconds, ':', [2, 2, 2])?;
    let in_month = day >= 1 && day <= days_of(year, month)?;
    if year < 1970 || !in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000)
}

/// Three numbers of exactly so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(between).collect();
    let [a, b, c] = parts.as_slice() else { return None };
    let mut found = [0; 3];
    for ((part, count), into) in [a, b, c].into_iter().zip(digits).zip(&mut found) {
        if part.len() != count || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *into = part.parse().ok()?;
    }
    Some(found)
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_of(year: u64, month: u64) -> Option<u64> {
    match month {
        2 => Some(if is_leap(year) { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let before = year - 1;
    // Leap days up to the end of a year, of which 1969 had seen 477.
    let leap_days = before / 4 - before / 100 + before / 400 - 477;
    let months: u64 = (1..month).filter_map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leap_days + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_written() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2000-02-29T00:00Z", 951_782_400_000),
            ("2024-02-28T23:59:59Z", 1_709_164_799_000),
            ("2025-12-31 23:59:59 UTC", 1_767_225_599_000),
            ("2026-11-23 09:00", 1_795_424_400_000),
            ("2100-03-01", 4_107_542_400_000),
        ] {
            assert_eq!(moment(text), Ok(Moment::At(ms)), "{text}");
        }
        assert_eq!(moment("+2h30m"), Ok(Moment::In(9_000_000)));
    }

    #[test]
    fn what_is_on_no_calendar_is_refused() {
        for text in [
            "",
            "now",
            "+",
            "2h",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-2",
            "2026-01-32T00:00Z",
            "2026-01-01T24:00Z",
            "2026-01-01T1:00Z",
            "2026-01-01T01:60Z",
            "1969-12-31",
            "2026-01-01T01:00+02:00",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}

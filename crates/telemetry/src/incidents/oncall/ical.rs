//! Shifts as a calendar (RFC 5545).

use jiff::Timestamp;

use crate::incidents::{Role, Shift};

/// Longest line, in bytes, without its end (RFC 5545, 3.1).
const LINE_MAX: usize = 75;

/// An iCalendar file with an event for each shift. `made_at_ms` is the moment that it says it was made at.
pub fn calendar(name: &str, shifts: &[Shift], made_at_ms: i64) -> String {
    let mut text = String::new();
    let mut line = |content: &str| fold(content, &mut text);
    line("BEGIN:VCALENDAR");
    line("VERSION:2.0");
    line("PRODID:-//DWCP//On call//EN");
    line(&format!("NAME:{}", escaped(name)));
    line(&format!("X-WR-CALNAME:{}", escaped(name)));
    for shift in shifts {
        let role = match &shift.role {
            Role::Primary => "primary",
            Role::Secondary => "secondary",
            Role::Person(_) => "person",
        };
        line("BEGIN:VEVENT");
        // The same for one shift however often it is listed, so that a calendar replaces its event.
        line(&format!("UID:{role}-{}@on-call.dwcp", utc(shift.from_ms)));
        line(&format!("DTSTAMP:{}", utc(made_at_ms)));
        line(&format!("DTSTART:{}", utc(shift.from_ms)));
        line(&format!("DTEND:{}", utc(shift.until_ms)));
        line(&format!("SUMMARY:{}", escaped(&format!("On call ({role}): {}", shift.who))));
        line("END:VEVENT");
    }
    line("END:VCALENDAR");
    text
}

/// `20261102T090000Z`
fn utc(at_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A TEXT value: backslash, semicolon, comma and line ends are escaped, other control characters left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Adds a line, which goes on behind a space on the next one where it is too long, never within a character.
fn fold(content: &str, text: &mut String) {
    let mut used = 0;
    for c in content.chars() {
        if used + c.len_utf8() > LINE_MAX {
            text.push_str("\r\n ");
            used = 1;
        }
        text.push(c);
        used += c.len_utf8();
    }
    text.push_str("\r\n");
}

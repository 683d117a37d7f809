//! Notifications: who is told what, in which words and form, and when it is said again to one who did not hear.
//!
//! [`read`] makes [`Settings`] of `notifications.yaml`. A [`Message`] is what is to be said; [`Outbox`] makes a [`Delivery`] of it for
//! every receiver, each once, and says which are due. The modules of the receivers give the form that each of them takes. Nothing here
//! sends: whoever does tells what came of it as an [`Outcome`]. The outbox is a plain value: whoever takes it over goes on where the one
//! before stopped.

pub mod alertmanager;
pub mod email;
pub mod guard;
mod message;
mod outbox;
pub mod pagerduty;
mod read;
mod settings;
pub mod slack;
mod templates;
pub mod webhook;

pub use guard::Allowed;
pub use message::{Action, Facts, Message, Subject};
pub use outbox::{Attempt, Delivery, Outbox, Outcome, PATIENCE_MS, State, Verdict};
pub use read::read;
pub use settings::{Email, Heartbeat, Kind, Person, Receiver, Route, Secret, Security, Settings};
pub use templates::{BUILT_IN, Templates, Wording};

/// A moment as RFC 3339 writes it, UTC, to the second.
fn moment(at_ms: i64) -> String {
    let moment = jiff::Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default();
    moment.to_string()
}

/// Not longer than so many bytes; what was cut shows.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// On one line: what separates words or steers a terminal is a space.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// Without characters that steer a terminal; ends of lines stay.
fn plain_lines(text: &str) -> String {
    let lines = text.lines().map(|line| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
    lines.collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests;

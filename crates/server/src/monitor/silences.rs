//! Silences: made, changed and ended by people and programs.

use std::collections::BTreeMap;

use dwcp_roles::node::Asked;
use dwcp_state::{DocumentEvent, DocumentKind, Severity};
use dwcp_telemetry::alerting::{Silence, SilenceError, Silences};
use dwcp_types::{Code, Refusal};

use super::Monitor;
use super::documents::{self, Documents};

const KINDS: &[DocumentKind] = &[DocumentKind::Silence];
/// Silences that are kept, at most.
const MOST: usize = 1_000;
/// Conditions of one, at most.
const CONDITIONS_MOST: usize = 20;
/// Longest comment, and longest name of who makes it, bytes.
const COMMENT_MOST: usize = 1_000;
const WHO_MOST: usize = 200;
/// Longest silence, and how far ahead one may begin, ms.
const LONGEST_MS: i64 = 366 * 86_400_000;

/// All silences by id.
///
/// # Errors
/// This process is stopping, or a later version wrote one.
pub async fn all(monitor: &Monitor) -> Result<BTreeMap<String, Silence>, Refusal> {
    let seen = Documents::look(&monitor.node, KINDS).await?;
    Ok(seen.all::<Silence>(DocumentKind::Silence)?.into_iter().collect())
}

/// Whether a silence can be made.
///
/// # Errors
/// What is wrong with it.
pub fn check(silence: &Silence, now_ms: i64) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::new(Code::BadValue, "the silence is not made").because(why));
    let Silence { conditions, from_ms, until_ms, who, comment } = silence;
    if conditions.0.len() > CONDITIONS_MOST {
        return bad(format!("it has more than {CONDITIONS_MOST} conditions"));
    }
    if comment.len() > COMMENT_MOST || comment.chars().any(|c| c.is_control() && c != '\n') {
        return bad(format!("a comment has up to {COMMENT_MOST} bytes and no control characters"));
    }
    if who.len() > WHO_MOST || who.chars().any(char::is_control) {
        return bad(format!("who makes it has up to {WHO_MOST} bytes and no control characters"));
    }
    if until_ms.saturating_sub(*from_ms) > LONGEST_MS || from_ms.saturating_sub(now_ms) > LONGEST_MS {
        return bad("it lasts up to 366 days, and begins within 366 days".to_owned());
    }
    Silences::default().put("", silence.clone(), now_ms).or_else(|error| bad(error.to_string()))
}

fn told(kind: &str, id: &str, silence: &Silence, what: &str) -> DocumentEvent {
    let line = |text: &str| text.replace('\n', " ");
    DocumentEvent {
        severity: Severity::Info,
        kind: kind.to_owned(),
        subject: id.to_owned(),
        text: format!("silence {id} {what}: {} ({})", silence.conditions, line(&silence.comment)),
    }
}

/// Makes a silence of this id, or with `anew` changes the one of that id; gives the silence that is there then. One that was made
/// before under its id stays as it was made.
///
/// # Errors
/// It can't be, there is none of the id to replace, or there are too many.
pub async fn put(
    monitor: &Monitor,
    asked: &Asked,
    (id, anew): (&str, bool),
    silence: &Silence,
    now_ms: i64,
) -> Result<Silence, Refusal> {
    check(silence, now_ms)?;
    documents::change(&monitor.node, asked, KINDS, |seen, draft| {
        let known = seen.get::<Silence>(DocumentKind::Silence, id)?;
        match known {
            None if anew => return Err(unknown(id)),
            Some(known) if !anew => return Ok(known),
            _ => {}
        }
        if !anew && seen.all::<Silence>(DocumentKind::Silence)?.len() >= MOST {
            return Err(Refusal::new(Code::BadValue, "there are too many silences")
                .because(format!("{MOST} are kept, those that were over in the last 5 days among them")));
        }
        draft.put(DocumentKind::Silence, id, silence)?;
        let what = if anew { "is changed" } else { "is made" };
        draft.event(told("silence.made", id, silence, what));
        Ok(silence.clone())
    })
    .await
}

/// Ends a silence now; one that is over stays as it is.
///
/// # Errors
/// There is none of that id.
pub async fn expire(monitor: &Monitor, asked: &Asked, id: &str, now_ms: i64) -> Result<Silence, Refusal> {
    documents::change(&monitor.node, asked, KINDS, |seen, draft| {
        let Some(mut silence) = seen.get::<Silence>(DocumentKind::Silence, id)? else {
            return Err(unknown(id));
        };
        if end(&mut silence, now_ms).is_ok() {
            draft.put(DocumentKind::Silence, id, &silence)?;
            draft.event(told("silence.ended", id, &silence, "is ended"));
        }
        Ok(silence)
    })
    .await
}

/// What ending a silence makes of it.
///
/// # Errors
/// It is over.
pub fn end(silence: &mut Silence, now_ms: i64) -> Result<(), SilenceError> {
    let mut all = Silences::default();
    all.keep("", silence.clone());
    all.expire("", now_ms)?;
    all.iter().for_each(|(_, ended)| silence.clone_from(ended));
    Ok(())
}

/// There is no silence of that id.
pub fn unknown(id: &str) -> Refusal {
    let shown: String = id.chars().take(100).collect();
    Refusal::new(Code::UnknownSilence, format!("no silence {shown}"))
        .try_this("dwcp-cli federation monitoring silence list --all")
}

/// An id in the form of a UUID, as Alertmanager's clients need it: of 32 hexadecimal digits that are as good as random.
pub fn id(digits: &str) -> String {
    let hex = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{}-{}-8{}-8{}-{}", hex(0..8), hex(8..12), hex(13..16), hex(17..20), hex(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(conditions: &str, from_ms: i64, until_ms: i64) -> Silence {
        Silence {
            conditions: conditions.parse().expect("conditions"),
            from_ms,
            until_ms,
            who: "ann".into(),
            comment: "known".into(),
        }
    }

    #[test]
    fn what_would_hide_too_much_or_nothing_is_refused() {
        let good = silence("region=\"eu\"", 100, 200);
        assert_eq!(check(&good, 100), Ok(()));
        for (why, bad) in [
            ("every alert", silence("", 100, 200)),
            ("every alert", silence("region=~\".*\"", 100, 200)),
            ("every alert", silence("region!=\"eu\"", 100, 200)),
            ("over", silence("region=\"eu\"", 10, 100)),
            ("over", silence("region=\"eu\"", 300, 200)),
            ("366 days", silence("region=\"eu\"", 100, 101 + LONGEST_MS)),
            ("366 days", silence("region=\"eu\"", 101 + LONGEST_MS, 102 + LONGEST_MS)),
            ("20 conditions", silence(&["a=b"; 21].join(","), 100, 200)),
            ("why", Silence { comment: " ".into(), ..good.clone() }),
            ("bytes", Silence { comment: "x".repeat(1_001), ..good.clone() }),
            ("control", Silence { comment: "\u{1b}[2J".into(), ..good.clone() }),
            ("control", Silence { who: "a\nb".into(), ..good.clone() }),
        ] {
            let refusal = check(&bad, 100).expect_err(why);
            assert!(refusal.causes.join(" ").contains(why), "{why}: {refusal:?}");
        }
    }

    #[test]
    fn an_id_has_the_form_of_a_uuid() {
        assert_eq!(id("0123456789abcdef0123456789abcdef"), "01234567-89ab-8def-8123-456789abcdef");
    }
}

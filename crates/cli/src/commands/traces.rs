//! A trace, as a tree.

use std::collections::BTreeMap;

use dwcp_api::trace::{Trace, TraceRead, TraceRequest, TraceSpan};

use super::{Ended, without};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone};
use crate::typed::{TraceCommand, TraceShow};

pub fn run(session: &Session, command: &TraceCommand) -> Ended {
    let TraceCommand::Show(TraceShow { request_id, failover, trace_id }) = command;
    let id = request_id.as_ref().or(failover.as_ref()).or(trace_id.as_ref()).cloned().unwrap_or_default();
    let found = session.call::<TraceRead>(&TraceRequest { id: id.clone() })?;
    if found.spans.is_empty() {
        let failure = Failure::new(Exit::NotFound, format!("no spans of {id} are kept"))
            .because(format!("it would be trace {}", found.trace_id))
            .because("requests that change something and slow reads are noted, for as long as logs are kept");
        return Err(found.warnings.iter().fold(failure, |failure, warning| failure.because(warning.clone())));
    }
    session.show(&document(&found))?;
    Ok(without(&found.missing, None))
}

fn document(found: &Trace) -> Document {
    let mut table = Table::new(&["SPAN", "REGION", "AFTER", "TOOK", "DETAILS"]);
    let first_us = found.spans.iter().map(|span| span.start_us).min().unwrap_or(0);
    for (depth, span) in tree(&found.spans) {
        let name = format!("{}{}", "  ".repeat(depth), span.name);
        table.row(vec![
            Cell::toned(plain(&name), if span.failed { Tone::Bad } else { Tone::Plain }),
            Cell::from(&span.region),
            Cell::from(time(span.start_us.saturating_sub(first_us).unsigned_abs())),
            Cell::from(time(span.duration_us)),
            Cell::from(details(span)),
        ]);
    }
    let mut document = Document::of(&found.otlp).text_block(format!("trace {}", found.trace_id)).table(table);
    if found.truncated {
        document = document.text_block("there are more spans: these are the first");
    }
    for warning in &found.warnings {
        document = document.text_block(format!("warning: {warning}"));
    }
    document
}

/// The spans with their depths: each behind what it is part of, by time.
fn tree(spans: &[TraceSpan]) -> Vec<(usize, &TraceSpan)> {
    let mut all: Vec<&TraceSpan> = spans.iter().collect();
    all.sort_by_key(|span| span.start_us);
    let known: BTreeMap<&str, usize> =
        all.iter().enumerate().map(|(at, span)| (span.span_id.as_str(), at)).collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (at, span) in all.iter().enumerate() {
        match span.parent_id.as_deref().and_then(|parent| known.get(parent)) {
            Some(parent) => children.entry(*parent).or_default().push(at),
            None => roots.push(at),
        }
    }
    let (mut shown, mut seen) = (Vec::new(), vec![false; all.len()]);
    // What is part of itself has no root: shown behind the others.
    for root in roots.into_iter().chain(0..all.len()) {
        let mut stack = vec![(0, root)];
        while let Some((depth, at)) = stack.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            shown.push((depth, all[at]));
            let parts = children.get(&at).into_iter().flatten().rev();
            stack.extend(parts.map(|part| (depth + 1, *part)));
        }
    }
    shown
}

/// Microseconds as milliseconds.
fn time(us: u64) -> String {
    format!("{}.{:03} ms", us / 1_000, us % 1_000)
}

fn details(span: &TraceSpan) -> String {
    let mut all: Vec<String> = span.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if span.failed {
        all.insert(0, "failed".to_owned());
    }
    plain(&all.join(" "))
}

/// On one line: what came from elsewhere must not look like a line of its own.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, start_us: i64) -> TraceSpan {
        TraceSpan {
            span_id: id.to_owned(),
            parent_id: parent.map(str::to_owned),
            name: id.to_owned(),
            region: "a".to_owned(),
            component: "state-manager".to_owned(),
            start_us,
            duration_us: 1,
            failed: false,
            request_id: None,
            fields: BTreeMap::new(),
        }
    }

    fn shown(spans: &[TraceSpan]) -> Vec<(usize, &str)> {
        tree(spans).into_iter().map(|(depth, span)| (depth, span.span_id.as_str())).collect()
    }

    #[test]
    fn spans_stand_behind_what_they_are_part_of_by_time() {
        let spans = [
            span("late", Some("root"), 9),
            span("root", Some("elsewhere"), 0),
            span("part", Some("early"), 7),
            span("early", Some("root"), 5),
            span("other", None, 3),
        ];
        assert_eq!(shown(&spans), [(0, "root"), (1, "early"), (2, "part"), (1, "late"), (0, "other")]);
    }

    #[test]
    fn each_span_is_shown_once_also_when_ids_go_round_in_a_circle_or_are_used_twice() {
        let spans =
            [span("a", Some("b"), 1), span("b", Some("a"), 2), span("c", Some("c"), 3), span("a", None, 4)];
        assert_eq!(shown(&spans).len(), 4);
        // As deep as it comes, without a stack of its own for each.
        let deep: Vec<TraceSpan> =
            (0..10_000).map(|at: i64| span(&at.to_string(), Some(&(at - 1).to_string()), at)).collect();
        assert_eq!(shown(&deep).last(), Some(&(9_999, "9999")));
    }

    #[test]
    fn what_was_noted_is_one_line() {
        let mut span = span("a", None, 0);
        span.fields.insert("reason".into(), "first\n\u{1b}[2Jforged".into());
        assert!(!details(&span).contains(['\n', '\u{1b}']));
        assert_eq!(time(1_234_567), "1234.567 ms");
    }
}

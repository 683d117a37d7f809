//! Lines of the logs.

use std::time::{Duration, Instant};

use dwcp_api::log::{LogLine, LogLines, LogQuery, LogQueryRequest};

use super::{Ended, one_of, read, without};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{Format, LogsCommand, RegionLogs, WantedLines, Words};

const COMPONENTS: [&str; 7] =
    ["federation-controller", "state-manager", "global-router", "firewall", "monitor", "security", "agent"];
const LEVELS: [&str; 3] = ["info", "warning", "error"];
/// Between two looks for what is new.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// A line that comes so late is still shown, ms.
const LATE_MS: u64 = 60_000;
/// Lines of a page where all are wanted.
const PAGE: u32 = 10_000;

/// Every word is one of `known`.
fn of(flag: &str, typed: &Option<Words>, known: &[&str]) -> Result<Option<String>, Failure> {
    let Some(Words(typed)) = typed else { return Ok(None) };
    typed.iter().try_for_each(|word| one_of(flag, word, known))?;
    Ok(Some(typed.join(",")))
}

pub fn run(session: &Session, command: &LogsCommand) -> Ended {
    let LogsCommand::Query(wanted) = command;
    let request = LogQueryRequest {
        component: of("--component", &wanted.component, &COMPONENTS)?,
        request_id: wanted.request.clone(),
        ..request(&wanted.lines)?
    };
    if wanted.follow {
        return follow(session, &wanted.lines, request);
    }
    show(session, &request)
}

/// Who was kept out at the routers.
pub fn firewall(session: &Session, wanted: &WantedLines) -> Ended {
    let component = Some("firewall".to_owned());
    show(session, &LogQueryRequest { component, ..request(wanted)? })
}

fn request(wanted: &WantedLines) -> Result<LogQueryRequest, Failure> {
    Ok(LogQueryRequest {
        level: of("--level", &wanted.level, &LEVELS)?,
        since_ms: wanted.since,
        region: wanted.region.clone(),
        grep: wanted.grep.clone(),
        limit: wanted.limit,
        ..Default::default()
    })
}

fn show(session: &Session, request: &LogQueryRequest) -> Ended {
    read(session, || {
        let mut found = session.call::<LogQuery>(request)?;
        // The newest were asked for; people read from the top down.
        found.lines.reverse();
        Ok((document(&found), without(&found.missing, request.region.as_ref())))
    })
}

fn document(found: &LogLines) -> Document {
    let mut table = Table::new(&["TIME", "LEVEL", "REGION", "COMPONENT", "REQUEST~1", "TEXT"]).or("no lines");
    for line in &found.lines {
        table.row(vec![
            words::instant(line.at_ms).into(),
            words::state(&line.level),
            Cell::from(&line.region),
            Cell::from(&line.component),
            words::or_dash(line.request_id.as_ref()),
            Cell::from(text(line)),
        ]);
    }
    let mut document = Document::of(found).table(table);
    if found.next_cursor.is_some() {
        document = document.text_block("there are older ones: give a larger --limit, or a shorter --since");
    }
    for warning in &found.warnings {
        document = document.text_block(format!("warning: {warning}"));
    }
    document
}

/// The text and the fields of a line, on one line: what was logged must not look like a line of its own.
fn text(line: &LogLine) -> String {
    let mut text = line.text.clone();
    for (name, value) in &line.fields {
        text.push_str(&format!(" {name}={value}"));
    }
    let plain = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    let mut text: String = text.chars().map(plain).collect();
    if line.cut_bytes > 0 {
        text.push_str(&format!(" … ({} bytes more were cut)", line.cut_bytes));
    }
    text
}

fn plain(line: &LogLine) -> String {
    let (time, level) = (words::instant(line.at_ms), &line.level);
    format!("{time} {level:<7} {} {}: {}\n", line.region, line.component, text(line))
}

fn shown(session: &Session, line: &LogLine) -> String {
    match session.global.format {
        Some(Format::Json) => serde_json::to_string(line).unwrap_or_default() + "\n",
        _ => plain(line),
    }
}

/// What is there, then what comes, until it is interrupted or nobody reads any more.
fn follow(session: &Session, wanted: &WantedLines, mut request: LogQueryRequest) -> Ended {
    let mut newest_first = true;
    request.limit = wanted.limit.or(Some(10));
    let mut missing: Vec<String> = Vec::new();
    let began = Instant::now();
    loop {
        if !newest_first {
            // Of a log that comes back, or is new here, only what is as new.
            let since_ms = wanted.since.unwrap_or(LATE_MS);
            request.since_ms = Some(since_ms.saturating_add(began.elapsed().as_millis() as u64));
        }
        match session.call::<LogQuery>(&request) {
            Ok(mut found) => {
                if newest_first {
                    found.lines.reverse();
                    newest_first = false;
                    request.limit = Some(PAGE);
                }
                for region in found.missing.iter().filter(|region| !missing.contains(*region)) {
                    session.note(&format!(
                        "{region} does not answer; its lines come from copies, if there are any"
                    ));
                }
                missing = found.missing;
                if !found.lines.iter().all(|line| crate::print_quietly(&shown(session, line))) {
                    return Ok(Exit::Done);
                }
                request.cursor = found.follow_cursor.or(request.cursor.take());
            }
            // A federation that is away for a moment is what one follows for.
            Err(failure) if failure.exit == Exit::Unreachable => failure.print(session),
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// Everything that a region logged, as lines of text.
pub fn of_region(session: &Session, wanted: &RegionLogs) -> Ended {
    let mut request = LogQueryRequest {
        region: Some(wanted.region.clone()),
        since_ms: wanted.since,
        limit: Some(PAGE),
        oldest_first: true,
        ..Default::default()
    };
    let mut all = LogLines {
        lines: Vec::new(),
        next_cursor: None,
        follow_cursor: None,
        truncated: false,
        warnings: Vec::new(),
        missing: Vec::new(),
    };
    loop {
        let found = session.call::<LogQuery>(&request)?;
        all.lines.extend(found.lines);
        all.warnings.extend(found.warnings);
        all.missing.extend(found.missing);
        match found.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => break,
        }
    }
    all.missing.sort();
    all.missing.dedup();
    all.warnings.sort();
    all.warnings.dedup();
    session.warn(&all.warnings);
    let mut document = Document::of(&all);
    let text: String = all.lines.iter().map(plain).collect();
    document = document.text_block(text.trim_end());
    session.show(&document)?;
    session.note(&format!("{} lines of {}", all.lines.len(), wanted.region));
    // From copies all the same: what is missing then is not known.
    Ok(without(&all.missing, Some(&wanted.region)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_logged_is_one_line() {
        let line = LogLine {
            at_ms: 0,
            region: "a".into(),
            component: "security".into(),
            level: "error".into(),
            text: "first\n1970-01-01 forged\u{1b}[2J".into(),
            request_id: None,
            operation_id: None,
            fields: [("who".to_owned(), "x".to_owned())].into(),
            cut_bytes: 3,
        };
        let shown = plain(&line);
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(!shown.contains('\u{1b}') && shown.contains("who=x") && shown.contains("3 bytes more"));
    }
}

//! The draft of a post-mortem.

use std::fmt::Write;

use jiff::Timestamp;

use super::Incident;

/// A draft in Markdown: what is known from the timeline, and the questions that people answer.
pub fn post_mortem(incident: &Incident) -> String {
    let mut text = String::new();
    let severity = incident.severity;
    // Writing into a String can't fail.
    let _ = write!(text, "# Post-mortem of {}: {}\n\n", incident.id, inline(&incident.title));
    text.push_str("Draft, made from the timeline. Blameless: it asks what, not who.\n\n");
    text.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {} |", inline(&value));
    };
    row("Severity", format!("{severity} ({})", severity.word()));
    row("Cause", format!("`{}`", incident.cause));
    row("Opened", moment(incident.opened_at_ms));
    match &incident.acknowledged {
        Some(act) => {
            let took = act.at_ms.saturating_sub(incident.opened_at_ms);
            let late = if act.at_ms > incident.due_at_ms { ", too late" } else { ", in time" };
            row("Taken", format!("{} by {}, after {}{late}", moment(act.at_ms), act.who, duration(took)));
        }
        None => row("Taken", "by nobody".to_owned()),
    }
    match incident.resolved_at_ms {
        Some(at_ms) => {
            let took = at_ms.saturating_sub(incident.opened_at_ms);
            row("Resolved", format!("{}, after {}", moment(at_ms), duration(took)));
        }
        None => row("Resolved", "not yet".to_owned()),
    }
    if incident.reopened > 0 {
        row("Came back", format!("{} times", incident.reopened));
    }
    text.push_str("\n## Impact\n\n");
    for alert in incident.alerts.values() {
        let until = alert.ended_at_ms.map_or("now".to_owned(), moment);
        let _ = writeln!(
            text,
            "- {} `{}`, from {} until {until}",
            alert.severity,
            alert.labels.replace('`', "'"),
            moment(alert.since_ms)
        );
    }
    if incident.more_firing > 0 {
        let _ = writeln!(text, "- and {} more that fire", incident.more_firing);
    }
    text.push_str("- Who noticed, and what did it cost them?\n\n## Root cause\n\n");
    let _ = write!(text, "{}\n\n## What helped\n\n", or_question(&incident.root_cause, "Why did it happen?"));
    let _ = write!(text, "{}\n\n", or_question(&incident.resolution, "What ended it?"));
    text.push_str("## Timeline (UTC)\n\n| when | who | what |\n|---|---|---|\n");
    for entry in &incident.timeline {
        let who = entry.who.as_deref().unwrap_or("");
        let _ = writeln!(text, "| {} | {} | {} |", moment(entry.at_ms), inline(who), inline(&entry.what));
    }
    if incident.left_out > 0 {
        let _ = write!(text, "\n{} more entries were not kept.\n", incident.left_out);
    }
    text.push_str("\n## Lessons\n\n- What went well?\n- What went badly?\n- Where were we lucky?\n\n");
    text.push_str("## Actions\n\n| what | who | until |\n|---|---|---|\n| | | |\n");
    text
}

fn or_question<'a>(text: &'a str, question: &'a str) -> &'a str {
    if text.trim().is_empty() { question } else { text }
}

/// On one line, and with nothing that ends a cell of a table.
fn inline(text: &str) -> String {
    text.split_whitespace().collect::<Vec<&str>>().join(" ").replace('|', "\\|")
}

fn moment(at_ms: i64) -> String {
    let moment = Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn duration(ms: i64) -> String {
    dwcp_config::units::show_duration(ms.max(0).unsigned_abs())
}

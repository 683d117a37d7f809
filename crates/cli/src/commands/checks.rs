//! Checks of a region, one line each: before it is deployed, and while it is there.

use dwcp_api::inspection::{InspectRequest, RegionInspect};
use dwcp_api::preflight::{Check, CheckVerdict, Preflight, PreflightRequest, RegionPreflight};

use super::{Ended, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};

/// A failure fails; what could not be looked at is not known to be right.
pub fn exit(checks: &[Check]) -> Exit {
    let any = |verdict: CheckVerdict| checks.iter().any(|check| check.verdict == verdict);
    match (any(CheckVerdict::Failed), any(CheckVerdict::Unknown)) {
        (true, _) => Exit::Failed,
        (_, true) => Exit::Partly,
        _ => Exit::Done,
    }
}

fn verdict(check: &Check) -> Cell {
    let tone = match check.verdict {
        CheckVerdict::Ok => Tone::Good,
        CheckVerdict::Failed => Tone::Bad,
        CheckVerdict::Warning | CheckVerdict::Unknown => Tone::Warn,
    };
    Cell::toned(words::name(&check.verdict), tone)
}

/// The checks as a table.
pub fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["CHECK", "OF", "VERDICT", "MEASURED", "LIMIT", "WHAT TO DO"]);
    for check in checks {
        table.row(vec![
            Cell::from(&check.check),
            words::or_dash(check.subject.as_ref()),
            verdict(check),
            words::text_or_dash(&check.measured),
            words::text_or_dash(&check.limit),
            words::text_or_dash(&check.advice),
        ]);
    }
    table
}

/// How many came out how, in a line.
pub fn summary(checks: &[Check]) -> String {
    let count = |verdict: CheckVerdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let mut parts = vec![format!("{} of {} ok", count(CheckVerdict::Ok), checks.len())];
    for (verdict, name) in [
        (CheckVerdict::Warning, "with a warning"),
        (CheckVerdict::Failed, "failed"),
        (CheckVerdict::Unknown, "unknown"),
    ] {
        if count(verdict) > 0 {
            parts.push(format!("{} {name}", count(verdict)));
        }
    }
    parts.join(", ")
}

pub fn preflight(session: &Session, region: &str) -> Ended {
    looked(session, || session.call::<RegionPreflight>(&PreflightRequest { region: region.to_owned() }))
}

pub fn inspect(session: &Session, region: &str) -> Ended {
    looked(session, || session.call::<RegionInspect>(&InspectRequest { region: region.to_owned() }))
}

fn looked(session: &Session, look: impl Fn() -> Result<Preflight, Failure>) -> Ended {
    read(session, || {
        let found = look()?;
        let line = format!("{}; took {}ms", summary(&found.checks), found.took_ms);
        let document = Document::of(&found).table(table(&found.checks)).text_block(line);
        Ok((document.text_block(words::as_of(&found.as_of)), exit(&found.checks)))
    })
}

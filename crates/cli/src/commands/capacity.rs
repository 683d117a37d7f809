//! What regions have, and for how long it lasts.

use dwcp_api::capacity::{CapacityRead, CapacityReadRequest, CapacityRow, CapacityState};

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};

pub fn summary(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let found = session.call::<CapacityRead>(&CapacityReadRequest { region: region.clone() })?;
        session.warn(&found.warnings);
        let document = Document::of(&found).table(table(&found.rows));
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn table(rows: &[CapacityRow]) -> Table {
    let names = [
        "REGION",
        "RESOURCE",
        ">CAPACITY",
        ">ALLOCATED",
        ">HEADROOM",
        "UNIT",
        ">USED %",
        ">WARN %",
        ">CRIT %",
        "STATE",
        ">PER DAY",
        ">CRITICAL IN",
    ];
    let mut table = Table::new(&names).or("no regions");
    for row in rows {
        let state = match row.state {
            CapacityState::Ok => Cell::toned("ok", Tone::Good),
            CapacityState::Warning => Cell::toned("warning", Tone::Warn),
            CapacityState::Critical => Cell::toned("critical", Tone::Bad),
            CapacityState::Unknown => words::unknown(),
        };
        table.row(vec![
            Cell::from(&row.region),
            Cell::from(&row.resource),
            words::or_dash(row.capacity),
            words::or_dash(row.allocated),
            words::or_dash(row.headroom),
            words::text_or_dash(&row.unit),
            words::or_dash(row.used_percent.map(|used| format!("{used:.1}"))),
            Cell::from(format!("{}", row.warning_percent)),
            Cell::from(format!("{}", row.critical_percent)),
            state,
            words::or_dash(row.growth_per_day.map(|growth| format!("{growth:+.2}"))),
            days(row),
        ]);
    }
    table
}

fn days(row: &CapacityRow) -> Cell {
    match row.days_to_critical {
        Some(days) if days <= 0.0 => Cell::toned("now", Tone::Bad),
        Some(days) if days < 30.0 => Cell::toned(format!("{days:.0} days"), Tone::Warn),
        Some(days) if days < 1_000.0 => Cell::from(format!("{days:.0} days")),
        Some(_) => Cell::from("years"),
        None => words::or_dash(None::<String>),
    }
}

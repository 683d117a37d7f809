//! Who is on call.

use dwcp_api::on_call::{
    OnCall, OnCallCalendar, OnCallDays, OnCallOverride, OnCallOverrideRequest, OnCallRead, OnCallReadRequest,
    OnCallRemove, OnCallRemoveRequest, OnCallSchedule, OnCallScheduleRequest, StandIn,
};

use super::{Ended, dry, moment_ms, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::OncallCommand;

pub fn run(session: &Session, command: &OncallCommand) -> Ended {
    match command {
        OncallCommand::Show { at } => read(session, || {
            let request = OnCallReadRequest { at_ms: (*at).map(moment_ms) };
            let found = session.call::<OnCallRead>(&request)?;
            Ok((document(&found), Exit::Done))
        }),
        OncallCommand::Schedule { days } => read(session, || {
            let found = session.call::<OnCallSchedule>(&OnCallScheduleRequest { days: *days })?;
            Ok((schedule(&found), Exit::Done))
        }),
        OncallCommand::Override { role, who, from, until } => {
            let request = OnCallOverrideRequest {
                role: role.clone(),
                who: who.clone(),
                from_ms: moment_ms(*from),
                until_ms: moment_ms(*until),
                dry_run: session.global.dry_run,
            };
            let one = session.call::<OnCallOverride>(&request)?;
            let stands = if session.global.dry_run { "would stand" } else { "stands" };
            told(session, &one, &format!("{} {stands} in as {}", one.who, one.role))
        }
        OncallCommand::Remove { id } => {
            let request = OnCallRemoveRequest { id: id.clone(), dry_run: session.global.dry_run };
            let one = session.call::<OnCallRemove>(&request)?;
            let stands = if session.global.dry_run { "would not stand" } else { "does not stand" };
            told(session, &one, &format!("{} {stands} in as {} any more", one.who, one.role))
        }
        OncallCommand::Calendar { days } => {
            let calendar = session.call::<OnCallCalendar>(&OnCallScheduleRequest { days: *days })?;
            let text = calendar.ics.strip_suffix('\n').unwrap_or(&calendar.ics);
            session.show(&Document::bare(&calendar, text))?;
            Ok(Exit::Done)
        }
    }
}

fn told(session: &Session, one: &StandIn, what: &str) -> Ended {
    let name = if one.id.is_empty() { String::new() } else { format!("{}: ", one.id) };
    let (from, until) = (words::instant(one.from_ms), words::instant(one.until_ms));
    let line = format!("{name}{what}: {from} to {until}{}", dry(session));
    session.show(&Document::bare(one, line))?;
    Ok(Exit::Done)
}

fn document(found: &OnCall) -> Document {
    let mut table = Table::new(&["ROLE", "WHO", "UNTIL"]);
    for duty in &found.duty {
        table.row(vec![
            Cell::from(&duty.role),
            duty.who.as_ref().map_or_else(|| Cell::toned("nobody", Tone::Bad), Cell::from),
            words::or_dash(duty.until_ms.map(words::instant)),
        ]);
    }
    Document::of(found).table(table).text_block(words::as_of(&found.as_of))
}

fn schedule(found: &OnCallDays) -> Document {
    let mut shifts = Table::new(&["FROM", "UNTIL", "ROLE", "WHO"]).or("nobody is on call");
    for shift in &found.shifts {
        shifts.row(vec![
            words::instant(shift.from_ms).into(),
            words::instant(shift.until_ms).into(),
            Cell::from(&shift.role),
            Cell::from(&shift.who),
        ]);
    }
    let mut overrides = Table::new(&["ID", "FROM", "UNTIL", "ROLE", "WHO", "BY"]);
    for one in &found.overrides {
        overrides.row(vec![
            Cell::from(&one.id),
            words::instant(one.from_ms).into(),
            words::instant(one.until_ms).into(),
            Cell::from(&one.role),
            Cell::from(&one.who),
            Cell::from(&one.by),
        ]);
    }
    let document = Document::of(found).table(shifts).section("stand-ins", overrides);
    document.text_block(words::as_of(&found.as_of))
}

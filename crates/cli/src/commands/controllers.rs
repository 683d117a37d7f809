//! The controllers of each region.

use dwcp_api::controllers::{Controllers, ControllersRead, ControllersRequest, RegionControllers};

use super::{Ended, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};

/// What they are now.
pub fn look(session: &Session, region: Option<&String>) -> Result<Controllers, Failure> {
    session.call::<ControllersRead>(&ControllersRequest { region: region.cloned() })
}

pub fn micros(us: Option<u64>) -> Cell {
    words::or_dash(us.map(|us| match us {
        us if us < 1_000 => format!("{us} us"),
        us => format!("{:.1} ms", us as f64 / 1_000.0),
    }))
}

/// The controllers, each on a line.
pub fn status(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let all = look(session, region.as_ref())?;
        let mut table =
            Table::new(&["REGION", "CONTROLLER", ">PID", "STATE", ">DECIDED", ">FAILED", ">MEAN", ">LAG"]);
        let mut notes = Vec::new();
        for region in &all.regions {
            rows(&mut table, region);
            let per_second = region.per_second.map_or("?".to_owned(), |rate| format!("{rate:.1}"));
            notes.push(format!(
                "{}: {} of {} up; {per_second} placements/s; P50 {}, P95 {}, P99 {}",
                region.region,
                words::known(region.up).text,
                region.wanted,
                micros(region.p50_us).text,
                micros(region.p95_us).text,
                micros(region.p99_us).text
            ));
            notes.extend(region.troubles.iter().map(|trouble| format!("{}: {trouble}", region.region)));
        }
        let document = Document::of(&all).table(table);
        let document = notes.into_iter().fold(document, Document::text_block);
        Ok((document.text_block(words::as_of(&all.as_of)), Exit::Done))
    })
}

fn rows(table: &mut Table, region: &RegionControllers) {
    let node = if region.up.is_some() { "up" } else { "unknown" };
    table.row(vec![
        Cell::from(&region.region),
        "node".into(),
        words::or_dash(None::<String>),
        node.into(),
        words::or_dash(region.decided_by_node.map(|count| count.to_string())),
        words::or_dash(region.late.zip(region.not_held).map(|_| "0".to_owned())),
        words::or_dash(None::<String>),
        words::or_dash(None::<String>),
    ]);
    for replica in &region.replicas {
        table.row(vec![
            Cell::from(&region.region),
            format!("{}/{}", replica.host, replica.slot).into(),
            replica.pid.into(),
            if replica.ready { "up" } else { "catching up" }.into(),
            replica.decided.into(),
            replica.failed.into(),
            micros(replica.mean_us),
            format!("{} ms", replica.lag_ms).into(),
        ]);
    }
}

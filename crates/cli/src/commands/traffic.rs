//! Who sends how much to what.

use dwcp_api::guard::{TrafficRead, TrafficReadRequest, TrafficSeen, TrafficTalker};

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::TrafficAnalysisArgs;

pub fn run(session: &Session, wanted: &TrafficAnalysisArgs) -> Ended {
    read(session, || {
        let request = TrafficReadRequest { since_ms: wanted.since, region: wanted.region.clone() };
        let found = session.call::<TrafficRead>(&request)?;
        session.warn(&found.warnings);
        let document = Document::of(&found)
            .pairs(vec![("looks back", words::duration(Some(found.since_ms)))])
            .section("where requests went since then", flows(&found))
            .section("services in the last second", services(&found))
            .section("sources", talkers(&found.sources))
            .section("networks", talkers(&found.networks))
            .section("autonomous systems", talkers(&found.asns))
            .section("countries", talkers(&found.countries))
            .section("what routers did since then", verdicts(&found));
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn flows(found: &TrafficSeen) -> Table {
    let names = ["SERVICE", "TO", ">REQUESTS", ">FAILED", ">PER S", ">SHARE %", ">BYTES UP", ">BYTES DOWN"];
    let mut table = Table::new(&names).or("no requests");
    for flow in &found.flows {
        table.row(vec![
            Cell::from(&flow.service),
            Cell::from(&flow.region),
            Cell::from(flow.requests.to_string()),
            Cell::from(flow.errors.to_string()),
            Cell::from(format!("{:.1}", flow.rate)),
            Cell::from(format!("{:.1}", flow.share_percent)),
            Cell::from(flow.bytes_up.to_string()),
            Cell::from(flow.bytes_down.to_string()),
        ]);
    }
    table
}

fn services(found: &TrafficSeen) -> Table {
    let names = ["SERVICE", ">REQUESTS", ">USUAL", ">FAILED", ">BYTES", ">SOURCES", "TOP PATH", ">OF ALL %"];
    let mut table = Table::new(&names).or("no requests");
    for service in &found.services {
        table.row(vec![
            words::text_or_dash(&service.service),
            Cell::from(service.requests.to_string()),
            words::or_dash(service.usual),
            Cell::from(service.errors.to_string()),
            Cell::from(service.bytes.to_string()),
            Cell::from(service.sources.to_string()),
            words::text_or_dash(&service.top_path),
            Cell::from(service.top_path_percent.to_string()),
        ]);
    }
    table
}

fn talkers(all: &[TrafficTalker]) -> Table {
    let mut table =
        Table::new(&["WHO", ">REQUESTS", ">CONNECTIONS", ">BYTES", ">FAILED", ">SHARE %"]).or("nobody");
    for one in all {
        table.row(vec![
            Cell::from(&one.who),
            Cell::from(one.requests.to_string()),
            Cell::from(one.connections.to_string()),
            Cell::from(one.bytes.to_string()),
            Cell::from(one.errors.to_string()),
            Cell::from(one.share_percent.to_string()),
        ]);
    }
    table
}

fn verdicts(found: &TrafficSeen) -> Table {
    let mut table = Table::new(&["WHAT", ">TIMES"]).or("nothing");
    for (name, count) in &found.verdicts {
        table.row(vec![Cell::from(name), Cell::from(count.to_string())]);
    }
    table
}

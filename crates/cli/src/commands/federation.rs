//! The federation's status, its replication and its links.

use std::collections::BTreeMap;

use dwcp_api::federation::{FederationRead, FederationReadRequest, FederationStatus, Quantiles};
use dwcp_api::freeze::FreezeState;
use dwcp_api::network::{LatencyMatrixRead, LinkStatus};
use dwcp_api::page::Nothing;
use dwcp_api::region::RegionSummary;
use dwcp_api::state::{LagMatrixRead, QueueDepthRead};

use super::{Ended, membership, read, replication, state_sync, survivability};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Column, Document, Table, Tone, words};
use crate::typed::StateCommand;

pub fn status(session: &Session) -> Ended {
    read(session, || {
        let status = session.call::<FederationRead>(&FederationReadRequest::default())?;
        Ok((shown(&status), Exit::Done))
    })
}

/// Regions, one a line.
pub fn region_table(regions: &[RegionSummary]) -> Table {
    let mut table = Table::new(&[
        "REGION",
        "STATE",
        "HEALTH",
        ">VMS",
        ">CPU",
        ">MEM~1",
        ">DISK~5",
        ">CPU ALLOC",
        ">MEM ALLOC~6",
        ">DISK ALLOC~7",
        ">TRAFFIC~2",
        ">LAG",
        "LEADER~3",
        "VERSION~8",
        "PLACEMENT~9",
        ">AS_OF",
    ])
    .or("no regions");
    for region in regions {
        let leader = match &region.leader {
            Some(leader) if *leader == region.region => Cell::from("home"),
            other => words::known(other.as_ref()),
        };
        let mut state = words::lifecycle(region.lifecycle);
        if !region.placement.enabled {
            // Closed for placement is seen at a glance, on the line itself.
            let marked = format!("{}*", state.text);
            state = Cell { raw: Some(std::mem::replace(&mut state.text, marked)), tone: Tone::Warn, ..state };
        }
        table.row(vec![
            Cell::from(&region.region),
            state,
            words::health(&region.health),
            words::known(region.vms),
            words::used(&region.cpu),
            words::used(&region.memory),
            words::used(&region.storage),
            words::allocated(&region.cpu),
            words::allocated(&region.memory),
            words::allocated(&region.storage),
            words::percent(region.traffic_percent),
            words::duration(region.replication_lag_ms),
            leader,
            words::known(region.version.as_ref()),
            Cell::from(if region.placement.enabled { "on" } else { "off" }),
            words::age(region.age_ms),
        ]);
    }
    table
}

fn quantiles(quantiles: &Quantiles) -> Cell {
    // A router decides in microseconds.
    let digits = |ms: f64| if ms < 0.1 { 3 } else { 1 };
    let one =
        |value: Option<f64>| value.map_or(words::UNKNOWN.to_owned(), |ms| format!("{ms:.*}ms", digits(ms)));
    let known = [quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms].iter().any(Option::is_some);
    let text = format!(
        "P50 {}  P95 {}  P99 {}",
        one(quantiles.p50_ms),
        one(quantiles.p95_ms),
        one(quantiles.p99_ms)
    );
    if known { Cell::from(text) } else { words::unknown() }
}

fn shown(status: &FederationStatus) -> Document {
    let totals = &status.totals;
    let regions = format!(
        "{} ({} healthy, {} degraded, {} unhealthy, {} unknown)",
        totals.regions, totals.healthy, totals.degraded, totals.unhealthy, totals.unknown
    );
    let vms = match totals.vms_unknown_regions {
        0 => format!("{} on {} hosts", totals.vms, totals.hosts),
        1 => format!("{} on {} hosts, and an unknown number in 1 region", totals.vms, totals.hosts),
        more => format!("{} on {} hosts, and an unknown number in {more} regions", totals.vms, totals.hosts),
    };
    let freeze = match status.freeze {
        FreezeState::Active => Cell::toned("active", Tone::Good),
        ref other => Cell::toned(words::name(other), Tone::Bad),
    };
    let mut document = Document::of(status)
        .text_block(format!("federation {}, answered by {}\n", status.federation, status.answered_by))
        .table(region_table(&status.regions));
    if status.regions.iter().any(|region| !region.placement.enabled) {
        document = document.text_block("* placement is disabled");
    }
    document
        .text_block("")
        .pairs(vec![
            ("regions", regions.into()),
            ("vms", vms.into()),
            ("placement", quantiles(&status.placement)),
            ("state sync", quantiles(&status.state_sync)),
            ("routing", quantiles(&status.routing)),
            ("sla", words::known(status.sla_percent.map(|percent| format!("{percent:.3}%")))),
            ("open incidents", words::known(status.open_incidents)),
            ("freeze", freeze),
            ("survivability", survivability::line(status.survivability.as_ref())),
            ("leader", words::known(status.leader.as_ref())),
        ])
        .text_block(words::as_of(&status.as_of))
}

/// A square of values: rows are `from`, columns are `to`.
fn matrix(regions: &[String], cells: &BTreeMap<(&str, &str), Cell>, numbers: &mut Vec<String>) -> Table {
    const HEADS: [&str; 12] = [
        ">TO 1", ">TO 2", ">TO 3", ">TO 4", ">TO 5", ">TO 6", ">TO 7", ">TO 8", ">TO 9", ">TO 10", ">TO 11",
        ">TO 12",
    ];
    let columns: Vec<&'static str> =
        std::iter::once("FROM").chain(HEADS.iter().copied().take(regions.len())).collect();
    let mut table = Table::new(&columns);
    for (index, from) in regions.iter().enumerate() {
        numbers.push(format!("{} {from}", index + 1));
        let mut row = vec![Cell::from(format!("{} {from}", index + 1))];
        for to in regions.iter().take(HEADS.len()) {
            let cell = cells.get(&(from.as_str(), to.as_str())).cloned();
            row.push(if from == to {
                Cell::toned("-", Tone::Faint)
            } else {
                cell.unwrap_or_else(words::unknown)
            });
        }
        table.row(row);
    }
    table
}

pub fn state(session: &Session, command: &StateCommand) -> Ended {
    match command {
        StateCommand::LagMatrix => read(session, || {
            let answer = session.call::<LagMatrixRead>(&Nothing {})?;
            let cells: BTreeMap<(&str, &str), Cell> = answer
                .pairs
                .iter()
                .map(|pair| {
                    let text = match (pair.lag_ms, pair.entries) {
                        (Some(ms), Some(entries)) => Some(format!("{ms}ms/{entries}")),
                        (Some(ms), None) => Some(format!("{ms}ms/?")),
                        (None, Some(entries)) => Some(format!("?/{entries}")),
                        (None, None) => None,
                    };
                    ((pair.from.as_str(), pair.to.as_str()), words::known(text))
                })
                .collect();
            let table = matrix(&answer.regions, &cells, &mut Vec::new());
            let document = Document::of(&answer)
                .table(table)
                .text_block("milliseconds/entries that TO's replica of FROM's state is behind")
                .text_block(words::as_of(&answer.as_of));
            Ok((document, Exit::Done))
        }),
        StateCommand::Configure(wanted) => replication::configure(session, wanted),
        StateCommand::Show => replication::show(session),
        StateCommand::VerifySync { region } => state_sync::verify(session, region),
        StateCommand::ForceSync(wanted) => state_sync::force(session, wanted),
        StateCommand::Backup(command) => super::backup::run(session, command),
        StateCommand::EnableRegion(name) => membership::replicate(session, &name.region),
        StateCommand::QueueDepth => read(session, || {
            let answer = session.call::<QueueDepthRead>(&Nothing {})?;
            let mut table = Table::new(&["FROM", "TO", ">ENTRIES", ">BYTES", ">OLDEST"]).or("no peers");
            for queue in &answer.queues {
                table.row(vec![
                    Cell::from(&queue.from),
                    Cell::from(&queue.to),
                    words::known(queue.entries),
                    words::known(queue.bytes),
                    words::or_dash(queue.oldest_ms.map(|ms| format!("{ms}ms"))),
                ]);
            }
            Ok((Document::of(&answer).table(table).text_block(words::as_of(&answer.as_of)), Exit::Done))
        }),
    }
}

/// Links, one direction a line.
pub fn link_table(links: &[LinkStatus]) -> Table {
    let mut table = Table::new(&["FROM", "TO", "UP", ">RTT P50", ">RTT P99", ">LOSS", ">MBIT/S~1", ">AGE"])
        .or("no links");
    for link in links {
        table.row(vec![
            Cell::from(&link.from),
            Cell::from(&link.to),
            match link.up {
                Some(true) => Cell::toned("yes", Tone::Good),
                Some(false) => Cell::toned("no", Tone::Bad),
                None => words::unknown(),
            },
            words::decimal(link.rtt_p50_ms, "ms"),
            words::decimal(link.rtt_p99_ms, "ms"),
            words::decimal(link.loss_percent, "%"),
            words::decimal(link.throughput_mbit_s, ""),
            words::age(link.age_ms),
        ]);
    }
    table
}

pub fn latency_matrix(session: &Session) -> Ended {
    read(session, || {
        let answer = session.call::<LatencyMatrixRead>(&Nothing {})?;
        let cells: BTreeMap<(&str, &str), Cell> = answer
            .links
            .iter()
            .map(|link| {
                let cell = match link.up {
                    Some(false) => Cell::toned("cut", Tone::Bad),
                    _ => words::decimal(link.rtt_p50_ms, "ms"),
                };
                ((link.from.as_str(), link.to.as_str()), cell)
            })
            .collect();
        let square = matrix(&answer.regions, &cells, &mut Vec::new());
        let mut details = link_table(&answer.links);
        // The square is for eyes; programs that read CSV want one link a line.
        let csv = session.global.format == Some(crate::typed::Format::Csv);
        let document = if csv {
            details.columns.iter_mut().for_each(|column: &mut Column| column.spare = 0);
            Document::of(&answer).table(details)
        } else {
            Document::of(&answer).text_block("round trip, P50").table(square).section("links", details)
        };
        Ok((document.text_block(words::as_of(&answer.as_of)), Exit::Done))
    })
}

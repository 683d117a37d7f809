//! Where a router would send somebody, and why.

use dwcp_api::routing::{RouteScore, RouteSimulate, RouteSimulateRequest, Simulated};

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::SimulateArgs;

pub fn simulate(session: &Session, wanted: &SimulateArgs) -> Ended {
    read(session, || {
        let request = RouteSimulateRequest {
            source_ip: wanted.source_ip.clone(),
            destination: wanted.destination.clone(),
            region: wanted.region.clone(),
        };
        let found = session.call::<RouteSimulate>(&request)?;
        let exit = if found.choice.is_some() { Exit::Done } else { Exit::NotFound };
        let pairs = match &found.choice {
            Some(choice) => vec![
                ("router", Cell::from(&found.router)),
                ("service", Cell::from(&found.service)),
                ("client", client(&found)),
                ("region", Cell::from(&choice.region)),
                ("VM", Cell::from(&choice.endpoint)),
                ("address", Cell::from(&choice.address)),
                ("why", Cell::from(&choice.reason)),
                ("took", Cell::from(format!("{:.1} µs", found.took_us))),
            ],
            None => vec![("service", Cell::from(&found.service)), ("why", Cell::from("it has no VM"))],
        };
        Ok((Document::of(&found).pairs(pairs).section("regions", scored(&found.regions)), exit))
    })
}

fn client(found: &Simulated) -> Cell {
    let country = Some(found.country.clone()).filter(|country| !country.is_empty());
    let asn = found.asn.map(|asn| format!("AS{asn}"));
    let known: Vec<String> = country.into_iter().chain(asn).collect();
    words::or_dash((!known.is_empty()).then(|| known.join(", ")))
}

pub fn scores(session: &Session, destination: &str, region: &Option<String>) -> Ended {
    read(session, || {
        let request = RouteSimulateRequest {
            source_ip: None,
            destination: destination.to_owned(),
            region: region.clone(),
        };
        let found = session.call::<RouteSimulate>(&request)?;
        let (router, service) = (&found.router, &found.service);
        let line = format!("as the router in {router} compares them for {service}; lower is better");
        Ok((Document::of(&found).table(scored(&found.regions)).text_block(line), Exit::Done))
    })
}

fn scored(regions: &[RouteScore]) -> Table {
    let names = ["REGION", ">SCORE", ">LATENCY", ">TRAFFIC %", ">HEALTH", ">LOAD %", ">UP", "TERMS", "NOTE"];
    let mut table = Table::new(&names).or("no regions");
    for region in regions {
        let terms: Vec<String> =
            region.terms.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        table.row(vec![
            Cell::from(&region.region),
            words::or_dash(region.total.map(|total| format!("{total:.3}"))),
            words::decimal(region.latency_ms, "ms"),
            Cell::from(region.traffic_percent.to_string()),
            words::or_dash(region.health),
            Cell::from(format!("{:.1}", region.load_percent)),
            Cell::from(format!("{}/{}", region.endpoints_up, region.endpoints)),
            words::or_dash((!terms.is_empty()).then(|| terms.join(", "))),
            words::text_or_dash(&region.note),
        ]);
    }
    table
}

//! What a router answers to questions: where it would send somebody, and why.

use std::net::IpAddr;
use std::time::Instant;

use dwcp_api::Problem;
use dwcp_api::routing::{Chosen, RouteScore, RouteSimulateRequest, Simulated};
use dwcp_decide::route::{Client, Explained, RegionScore, Why};
use dwcp_roles::protocol::RouterAsk;
use dwcp_types::{Code, Refusal};
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::routes::Routes;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Simulate(RouteSimulateRequest),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Simulated(Simulated),
    Problem(Problem),
}

/// Answers a question of the node.
pub fn answer(shared: &Shared, ask: &RouterAsk) -> RouterAsk {
    let answer = match serde_json::from_str(&ask.text) {
        Ok(Question::Simulate(request)) => match simulate(shared, &request) {
            Ok(simulated) => Answer::Simulated(simulated),
            Err(refusal) => Answer::Problem(Problem::from(&refusal)),
        },
        Err(error) => {
            Answer::Problem(Problem::bad_request(&format!("the router does not know that question: {error}")))
        }
    };
    // An answer has a text form whatever is in it.
    RouterAsk { id: ask.id, text: serde_json::to_string(&answer).unwrap_or_default() }
}

fn simulate(shared: &Shared, request: &RouteSimulateRequest) -> Result<Simulated, Refusal> {
    let routes = shared.current.routes();
    let named = request.destination.trim_end_matches('.').to_lowercase();
    let by_name = routes.table.services.iter().position(|service| service.name == request.destination);
    let Some(service) = by_name.or_else(|| routes.service(&named)) else {
        let what = format!("no service is reached as {}", request.destination);
        return Err(Refusal::new(Code::UnknownService, what).try_this("dwcp-cli routing service list"));
    };
    let ip: Option<IpAddr> = request.source_ip.as_deref().and_then(|text| text.parse().ok());
    let found = ip.map(|ip| shared.look(ip)).unwrap_or_default();
    let client = Client { key: key(ip), place: found.place, pinned: None };
    let begun = Instant::now();
    let choice = shared.current.choose(&routes, service, &client, &[]);
    let took_us = begun.elapsed().as_nanos() as f64 / 1e3;
    let unknown = || Refusal::new(Code::UnknownService, "the service is gone");
    let explained = routes.explain(service, &client).ok_or_else(unknown)?;
    let row = routes.table.services.get(service).ok_or_else(unknown)?;
    let chosen = choice.and_then(|choice| {
        let endpoint = row.endpoints.get(choice.endpoint as usize)?;
        Some(Chosen {
            region: region(&routes, choice.region),
            endpoint: endpoint.name.clone(),
            address: endpoint.address.to_string(),
            why: why(choice.why).to_owned(),
            reason: explained.sentence.clone(),
        })
    });
    Ok(Simulated {
        router: routes.table.here.clone(),
        service: row.name.clone(),
        country: found.country.map(|code| String::from_utf8_lossy(&code).into_owned()).unwrap_or_default(),
        asn: found.asn,
        choice: chosen,
        regions: scored(explained),
        took_us,
    })
}

/// The same client goes the same way each time it is asked about.
fn key(ip: Option<IpAddr>) -> u64 {
    let bytes = match ip {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
        None => Vec::new(),
    };
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn region(routes: &Routes, index: u16) -> String {
    routes.table.regions.get(usize::from(index)).map(|row| row.region.clone()).unwrap_or_default()
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Best => "best",
        Why::Pinned => "pinned",
        Why::Share => "share",
        Why::Spilled => "spilled",
        Why::LeastBad => "least_bad",
    }
}

/// The regions, the best first.
fn scored(explained: Explained) -> Vec<RouteScore> {
    let mut scores = explained.scores;
    scores.sort_by_key(|score| score.rank.unwrap_or(u32::MAX));
    scores.into_iter().map(score).collect()
}

fn score(of: RegionScore) -> RouteScore {
    let terms = of.terms.map(|terms| {
        let named = [
            ("latency", terms.latency),
            ("cost", terms.cost),
            ("load", terms.load),
            ("distance", terms.distance),
            ("health", terms.health),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), f64::from(value))).collect()
    });
    RouteScore {
        region: of.region,
        total: of.total.map(f64::from),
        terms: terms.unwrap_or_default(),
        latency_ms: of.rtt_ms.map(f64::from),
        traffic_percent: of.traffic_percent,
        health: of.health,
        load_percent: f64::from(of.load_percent),
        endpoints_up: of.ready.into(),
        endpoints: of.endpoints.into(),
        note: of.reason.unwrap_or_default(),
    }
}

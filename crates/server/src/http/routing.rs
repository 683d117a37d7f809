//! Where users' requests go: services, how routers decide, what routers are doing.

pub mod services;
mod settings;

use dwcp_api::Problem;
use dwcp_api::routing::{
    RegionRouters, RouteSimulate, RouteSimulateRequest, Router, RouterList, RouterListRequest, Routers,
    Simulated,
};
use dwcp_roles::node::{Reply, Request};
use dwcp_roles::protocol::RouterBeat;
use dwcp_state::Region;
use dwcp_types::RegionId;

use super::call::{Call, bad_value, unexpected};
use super::names;
use super::routes::Serve;
use super::scaling;
use crate::clock;
use crate::handle::View;

fn shown(beat: RouterBeat, now_ms: u64) -> Router {
    Router {
        region: beat.region.as_str().to_owned(),
        host: beat.host.as_str().to_owned(),
        number: beat.number,
        pid: beat.pid,
        version: beat.version,
        http: beat.http,
        https: beat.https,
        dns: beat.dns,
        table_revision: beat.table_revision,
        table_age_ms: now_ms.saturating_sub(beat.table_made_at_ms),
        services: beat.services,
        endpoints: beat.endpoints,
        endpoints_up: beat.endpoints_up,
        connections: beat.connections,
        requests: beat.requests,
        failures: beat.failures,
        dns_answers: beat.dns_answers,
        remembered: beat.remembered,
        decided: beat.decided,
        trouble: beat.trouble,
    }
}

fn of_region(view: &View<'_>, region: &Region, routers: &[Router]) -> RegionRouters {
    let said = view.node.controllers_of(region.number);
    let troubles = said.iter().flat_map(|said| &said.router_troubles);
    RegionRouters {
        region: region.id.as_str().to_owned(),
        wanted: region.routers(),
        up: routers.iter().filter(|router| router.region == region.id.as_str()).count() as u64,
        most: scaling::ROUTERS.most(said.as_ref()),
        troubles: troubles.map(|(host, trouble)| format!("{host}: {trouble}")).collect(),
    }
}

impl Serve for RouterList {
    async fn answer(call: &Call, request: RouterListRequest) -> Result<Routers, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let wanted =
                |region: &RegionId| request.region.as_ref().is_none_or(|only| only == region.as_str());
            let now_ms = clock::wall().0;
            let routers = view.node.routers().into_iter().filter(|beat| wanted(&beat.region));
            let routers: Vec<Router> = routers.map(|beat| shown(beat, now_ms)).collect();
            let regions = view.node.facts().core.regions.values().filter(|region| wanted(&region.id));
            let regions = regions.map(|region| of_region(view, region, &routers)).collect();
            Ok(Routers { routers, regions, as_of: names::as_of_federation(view) })
        })
        .await
    }
}

impl Serve for RouteSimulate {
    async fn answer(call: &Call, request: RouteSimulateRequest) -> Result<Simulated, Problem> {
        if let Some(ip) = &request.source_ip
            && ip.parse::<std::net::IpAddr>().is_err()
        {
            return Err(bad_value("source_ip", format!("`{ip}` is no IP address")));
        }
        let named = request.region.clone();
        let region = call
            .find(move |view| match &named {
                Some(name) => Ok(names::region(view, name)?.0.id.clone()),
                None => Ok(view.node.config().region.clone()),
            })
            .await?;
        let question = serde_json::json!({ "simulate": request }).to_string();
        match call.ask(Request::AskRouter(region, question)).await? {
            Reply::RouterAnswered(text) => read(&text),
            other => Err(unexpected(&other)),
        }
    }
}

/// A router's answer: what was asked for, or a problem.
fn read(text: &str) -> Result<Simulated, Problem> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Answer {
        Simulated(Simulated),
        Problem(Problem),
    }
    match serde_json::from_str(text) {
        Ok(Answer::Simulated(simulated)) => Ok(simulated),
        Ok(Answer::Problem(problem)) => Err(problem),
        Err(error) => Err(Problem::bad_request(&format!("the router's answer can't be read: {error}"))),
    }
}

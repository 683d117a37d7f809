//! The hosts of a pool, measured before their region is deployed of them.

pub(super) mod judge;
pub(super) mod reach;

use std::time::Instant;

use dwcp_api::Problem;
use dwcp_api::preflight::{Check, Preflight, PreflightRequest, RegionPreflight};
use dwcp_roles::node::{PoolCheck, PoolHost, Reply, Request};
use dwcp_types::{Code, Refusal, RegionId};
use tokio::task::JoinSet;

use super::call::{Call, stopping, unexpected};
use super::names;
use super::routes::Serve;
use crate::handle::View;
use judge::Reached;

/// What this node knows by itself.
struct Known {
    hosts: Vec<PoolHost>,
    version: String,
    /// Regions that can issue certificates.
    issuers: Vec<String>,
}

fn look(view: &View<'_>, name: &str) -> Result<Known, Problem> {
    let id = RegionId::from(name);
    if view.node.facts().core.regions.contains_key(&id) {
        let refusal = Refusal::new(Code::WrongState, format!("{name} is a region already"));
        return Err(Problem::from(
            &refusal.try_this(format!("dwcp-cli federation region verify --region {name}")),
        ));
    }
    let hosts: Vec<PoolHost> = view.node.pools().into_iter().filter(|host| host.region == id).collect();
    if hosts.is_empty() {
        let refusal = Refusal::new(Code::UnknownRegion, format!("no host waits for a region {name}"))
            .then("start dwcp-agentd on its hosts with their certificates")
            .try_this("dwcp-cli infrastructure pools");
        return Err(Problem::from(&refusal));
    }
    let config = view.node.config();
    let heard = view.node.peers().iter().filter(|(node, _)| names::is_heard(view, **node));
    let issues = heard.filter(|(_, view)| view.beat.as_ref().is_some_and(|beat| beat.issues));
    let others = issues.filter_map(|(node, _)| view.node.region_name(*node));
    let here = config.issues.then_some(&config.region);
    let issuers = here.into_iter().chain(others).map(|region| region.as_str().to_owned()).collect();
    Ok(Known { hosts, version: config.version.clone(), issuers })
}

/// What a host says, and whether it is reached from here where it said that it listens.
async fn measure(call: Call, host: PoolHost) -> Result<(PoolHost, Option<(PoolCheck, Reached)>), Problem> {
    let asked = Request::CheckPool(host.region.clone(), host.host.clone());
    let check = match call.ask(asked).await? {
        Reply::PoolChecked(Some(check)) => *check,
        Reply::PoolChecked(None) => return Ok((host, None)),
        other => return Err(unexpected(&other)),
    };
    let (tcp, udp, transfer) = tokio::join!(
        reach::over_tcp(&host.control),
        reach::over_udp(&host.control),
        reach::quic(&host.transfer)
    );
    Ok((host, Some((check, Reached { tcp, udp, transfer }))))
}

impl Serve for RegionPreflight {
    async fn answer(call: &Call, request: PreflightRequest) -> Result<Preflight, Problem> {
        let began = Instant::now();
        let name = request.region.clone();
        let known = call.find(move |view| look(view, &name)).await?;
        let mut tasks = JoinSet::new();
        for host in known.hosts.clone() {
            tasks.spawn(measure(call.clone(), host));
        }
        let mut measured = Vec::new();
        while let Some(done) = tasks.join_next().await {
            measured.push(done.map_err(|_| stopping())??);
        }
        measured.sort_by(|(a, _), (b, _)| a.host.cmp(&b.host));
        let mut checks: Vec<Check> = judge::pool(&request.region, &known.hosts, &known.issuers);
        let here = call.look(|view| view.node.config().region.as_str().to_owned()).await?;
        for (host, measured) in &measured {
            match measured {
                Some((check, reached)) => {
                    checks.extend(judge::host(
                        host,
                        check,
                        reached,
                        (&known.version, &here),
                        "are offered to VMs",
                    ));
                }
                None => checks.push(judge::mute(host)),
            }
        }
        let took_ms = began.elapsed().as_millis() as u64;
        let as_of = call.look(names::as_of_federation).await?;
        Ok(Preflight { region: request.region, checks, took_ms, as_of })
    }
}

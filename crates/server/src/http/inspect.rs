//! A region that is there, looked at now: its node measures itself, its hosts do, and the other regions reach for it.

mod judge;

use std::time::Instant;

use dwcp_api::Problem;
use dwcp_api::inspection::{InspectRequest, RegionInspect};
use dwcp_api::preflight::{Check, Preflight};
use dwcp_roles::node::{PoolCheck, PoolHost, RegionCheck, Reply, Request, SelfAsk, SelfTell, clock_ahead};
use dwcp_roles::protocol::Endpoint;
use dwcp_state::{Host, Region, RegionFacts, Want};
use dwcp_types::{Amount, NodeId, RegionId, VmId};
use tokio::task::JoinSet;

use super::call::{Call, stopping, unexpected};
use super::preflight::reach::{self, Way};
use super::routes::Serve;
use super::{names, region_summary};
use crate::clock;
use crate::handle::View;

/// Processor time is counted for so long, ms.
const WINDOW_MS: u64 = 1_000;

/// A host, as the facts say it is.
#[derive(Clone)]
pub struct HostSight {
    pub host: PoolHost,
    /// VMs that are to run there, with their names.
    pub vms: Vec<(VmId, String)>,
    /// How long its agent was silent, by the leader of its region's group, ms; none: not known.
    pub heard_ms: Option<u64>,
}

/// What is known here before anybody is asked.
#[derive(Clone)]
pub struct Sight {
    pub region: RegionId,
    pub number: NodeId,
    pub lifecycle: String,
    /// The node's address for others.
    pub api: String,
    pub hosts: Vec<HostSight>,
    /// The other regions' nodes.
    pub others: Vec<(NodeId, RegionId)>,
    /// How long each of them has not heard this one, by its newest word, ms; none: not known.
    pub silent: Vec<(RegionId, Option<u64>)>,
    /// The region that answers, and its program's version.
    pub here: String,
    pub version: String,
}

/// A node's answer, and how far its clock is ahead, ms, ± ms.
pub type NodeWord = Option<(SelfTell, (i64, u64))>;

/// What came of asking everybody.
pub struct Found {
    pub node: NodeWord,
    /// The other regions' ways to this one's API; none: that region did not answer.
    pub ways: Vec<(RegionId, Option<SelfTell>)>,
    pub pings: RegionCheck,
    /// Each host's answer, and the way to its agent's listener.
    pub hosts: Vec<(HostSight, Option<PoolCheck>, Way)>,
}

fn host_sight(view: &View<'_>, facts: &RegionFacts, host: &Host) -> HostSight {
    let (all, used) = (host.facts.capacity, host.used);
    // Of what is offered, what no VM has yet.
    let capacity = Amount {
        vcpus: all.vcpus.saturating_sub(used.vcpus),
        memory_mib: all.memory_mib.saturating_sub(used.memory_mib),
        disk_gib: all.disk_gib.saturating_sub(used.disk_gib),
    };
    let vms = facts.vms_on(&host.facts.id).filter(|vm| vm.want == Want::Running);
    HostSight {
        host: PoolHost {
            region: facts.name.clone(),
            host: host.facts.id.clone(),
            zone: host.facts.zone.clone(),
            capacity,
            accelerator: host.facts.accelerator.clone(),
            version: host.facts.version.clone(),
            transfer: host.facts.transfer.clone(),
            ..PoolHost::default()
        },
        vms: vms.map(|vm| (vm.id, vm.name.clone())).collect(),
        heard_ms: view.node.host_now(facts.number, &host.facts.id).map(|now| now.heard_ms),
    }
}

fn look(view: &View<'_>, name: &str) -> Result<Sight, Problem> {
    let (record, facts): (&Region, &RegionFacts) = names::region(view, name)?;
    let config = view.node.config();
    let others: Vec<(NodeId, RegionId)> = view
        .node
        .regions()
        .iter()
        .filter(|(node, _)| **node != record.number)
        .map(|(node, region)| (*node, region.clone()))
        .collect();
    let silence = |(node, region): &(NodeId, RegionId)| {
        let told = match *node == config.me {
            true => Some(names::silent_ms(view, record.number)),
            false => {
                let beat = view.node.peers().get(node).and_then(|peer| peer.beat.as_ref());
                beat.and_then(|beat| beat.silent_ms.get(&record.number).copied())
            }
        };
        (region.clone(), told)
    };
    Ok(Sight {
        region: record.id.clone(),
        number: record.number,
        lifecycle: format!("{:?}", region_summary::lifecycle(record)).to_lowercase(),
        api: record.api.clone(),
        hosts: facts.hosts.values().map(|host| host_sight(view, facts, host)).collect(),
        silent: others.iter().map(silence).collect(),
        others,
        here: config.region.as_str().to_owned(),
        version: config.version.clone(),
    })
}

/// Asks the region's node.
async fn ask_node(call: Call, sight: Sight, dial: Vec<Endpoint>) -> NodeWord {
    let asked_at = clock::wall();
    let ask = SelfAsk { window_ms: WINDOW_MS, measure: true, dial, ..SelfAsk::default() };
    let told = call.api.inspector.ask(sight.number, ask).await?;
    let there = (dwcp_types::Wall(told.asked_wall_ms), dwcp_types::Wall(told.answered_wall_ms));
    let clock = clock_ahead(asked_at, there, clock::wall());
    Some((told, clock))
}

async fn ask_host(call: Call, host: HostSight) -> Result<(HostSight, Option<PoolCheck>, Way), Problem> {
    let asked = Request::CheckHost(host.host.region.clone(), host.host.host.clone(), WINDOW_MS, true);
    let (answer, way) = tokio::join!(call.ask(asked), reach::quic(&host.host.transfer));
    match answer? {
        Reply::PoolChecked(check) => Ok((host, check.map(|check| *check), way)),
        other => Err(unexpected(&other)),
    }
}

async fn pings(call: Call, region: RegionId) -> Result<RegionCheck, Problem> {
    match call.ask(Request::CheckRegion(region)).await? {
        Reply::Checked(check) => Ok(check),
        other => Err(unexpected(&other)),
    }
}

/// Asks everybody at once.
async fn find(call: &Call, sight: &Sight, all: &[Endpoint]) -> Result<Found, Problem> {
    let own = Endpoint {
        region: sight.region.clone(),
        node: sight.number,
        api: sight.api.clone(),
        ..Endpoint::default()
    };
    let mut ways = JoinSet::new();
    for (node, region) in sight.others.clone() {
        let (call, ask) = (call.clone(), SelfAsk { dial: vec![own.clone()], ..SelfAsk::default() });
        ways.spawn(async move { (region, call.api.inspector.ask(node, ask).await) });
    }
    let mut hosts = JoinSet::new();
    for host in sight.hosts.clone() {
        hosts.spawn(ask_host(call.clone(), host));
    }
    let elsewhere: Vec<Endpoint> = all.iter().filter(|node| node.node != sight.number).cloned().collect();
    let (node, pings) = tokio::join!(
        ask_node(call.clone(), sight.clone(), elsewhere),
        pings(call.clone(), sight.region.clone())
    );
    let mut found = Found { node, ways: Vec::new(), pings: pings?, hosts: Vec::new() };
    while let Some(way) = ways.join_next().await {
        found.ways.push(way.map_err(|_| stopping())?);
    }
    while let Some(host) = hosts.join_next().await {
        found.hosts.push(host.map_err(|_| stopping())??);
    }
    found.ways.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.hosts.sort_by(|(a, ..), (b, ..)| a.host.host.cmp(&b.host.host));
    Ok(found)
}

fn endpoints(view: &View<'_>) -> Vec<Endpoint> {
    let regions = view.node.facts().core.regions.values();
    let one = |region: &Region| Endpoint {
        region: region.id.clone(),
        node: region.number,
        mesh: region.mesh.clone(),
        api: region.api.clone(),
    };
    regions.map(one).collect()
}

impl Serve for RegionInspect {
    async fn answer(call: &Call, request: InspectRequest) -> Result<Preflight, Problem> {
        let began = Instant::now();
        let name = request.region.clone();
        let sight = call.find(move |view| look(view, &name)).await?;
        let all = call.look(endpoints).await?;
        let found = find(call, &sight, &all).await?;
        let checks: Vec<Check> = judge::all(&sight, &found);
        let took_ms = began.elapsed().as_millis() as u64;
        let region = sight.region.clone();
        let as_of = call.look(move |view| names::as_of_region(view, &region)).await?;
        Ok(Preflight { region: request.region, checks, took_ms, as_of })
    }
}

//! The controllers of each region, and how they do.

use dwcp_api::Problem;
use dwcp_api::controllers::{
    ControllerReplica, Controllers, ControllersRead, ControllersRequest, RegionControllers,
};
use dwcp_roles::node::{Measures, ReplicaView};
use dwcp_state::Region;
use dwcp_types::NodeId;

use super::call::Call;
use super::names;
use super::routes::Serve;
use super::scaling;
use crate::handle::View;

fn measures(view: &View<'_>, node: NodeId) -> Option<Measures> {
    if node == view.node.config().me {
        return Some(view.node.own_beat().measures);
    }
    Some(view.node.peers().get(&node)?.beat.as_ref()?.measures.clone())
}

fn replica(of: ReplicaView) -> ControllerReplica {
    ControllerReplica {
        host: of.host.as_str().to_owned(),
        slot: of.slot.into(),
        pid: of.pid.into(),
        version: of.version,
        ready: of.ready,
        decided: of.decided,
        failed: of.failed,
        mean_us: (of.decided > 0).then_some(of.mean_us),
        lag_ms: of.lag_ms,
    }
}

/// How many controllers of a region decide, its node's own among them; none: its node is not heard.
pub fn up(view: &View<'_>, node: NodeId) -> Option<u64> {
    let said = view.node.controllers_of(node)?;
    Some(1 + said.replicas.iter().filter(|replica| replica.ready).count() as u64)
}

fn show(view: &View<'_>, region: &Region) -> RegionControllers {
    let said = view.node.controllers_of(region.number);
    let measured = said.as_ref().and_then(|_| measures(view, region.number));
    let known = |us: Option<u64>| us.filter(|us| *us > 0);
    let decisions = said.as_ref().map(|said| said.decisions.clone());
    let of = |count: fn(&dwcp_roles::node::Decisions) -> u64| decisions.as_ref().map(count);
    RegionControllers {
        region: region.id.as_str().to_owned(),
        wanted: region.controllers(),
        up: up(view, region.number),
        most: scaling::CONTROLLERS.most(said.as_ref()),
        decided_by_node: of(|decisions| decisions.here),
        decided_by_replicas: of(|decisions| decisions.by_replicas),
        late: of(|decisions| decisions.late),
        not_held: of(|decisions| decisions.not_held),
        per_second: said.as_ref().map(|said| said.decisions_in_1000_s as f64 / 1_000.0),
        p50_us: known(measured.as_ref().map(|measured| measured.placement_us.0)),
        p95_us: known(measured.as_ref().map(|measured| measured.placement_us.1)),
        p99_us: known(measured.as_ref().map(|measured| measured.placement_p99_us)),
        troubles: said
            .iter()
            .flat_map(|said| &said.troubles)
            .map(|(host, trouble)| format!("{host}: {trouble}"))
            .collect(),
        replicas: said.into_iter().flat_map(|said| said.replicas).map(replica).collect(),
    }
}

impl Serve for ControllersRead {
    async fn answer(call: &Call, request: ControllersRequest) -> Result<Controllers, Problem> {
        call.find(move |view| {
            let all = view.node.facts().core.regions.values();
            let regions = match &request.region {
                Some(name) => vec![show(view, names::region(view, name)?.0)],
                None => all.map(|region| show(view, region)).collect(),
            };
            Ok(Controllers { regions, as_of: names::as_of_federation(view) })
        })
        .await
    }
}

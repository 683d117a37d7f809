//! How many controllers each region has, and how they do.

use dwcp_api::Problem;
use dwcp_api::controllers::{
    ControllerReplica, Controllers, ControllersRead, ControllersRequest, ControllersScale,
    ControllersScaleRequest, ControllersScaled, RegionControllers, RegionScaled,
};
use dwcp_roles::node::{Measures, ReplicaView, Request};
use dwcp_state::{Lifecycle, Region, Standing};
use dwcp_types::{Code, NodeId, Refusal, RegionId, Revision};

use super::call::{Call, bad_value, reason};
use super::names;
use super::routes::Serve;
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
        most: most(said.as_ref().and_then(|said| said.room)),
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

fn most(room: Option<u64>) -> Option<u64> {
    room.map(|room| (1 + room).min(Region::CONTROLLERS_MOST))
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

/// What can't be scaled, and why.
fn component(name: &str) -> Result<(), Problem> {
    let why = match name {
        "controller" => return Ok(()),
        "state-manager" => {
            "a region has one replica of every group's facts: more of them in one region would be lost with it"
        }
        "monitor" => "what a region's node hears and measures is asked of it alone",
        "router" => "this version has no router",
        _ => {
            return Err(bad_value(
                "component",
                format!("'{name}' is not controller, state-manager, router or monitor"),
            ));
        }
    };
    let refusal =
        Refusal::new(Code::WrongState, format!("{name} is not replicated within a region")).because(why);
    Err(Problem::from(
        &refusal
            .then("nothing was changed")
            .try_this("dwcp-cli infrastructure scale --component controller --replicas +1"),
    ))
}

/// What a region would have; or why it can't have that.
fn plan(
    view: &View<'_>,
    region: &Region,
    request: &ControllersScaleRequest,
) -> Result<RegionScaled, Refusal> {
    let (id, before) = (&region.id, region.controllers());
    let after = match (request.count, request.change) {
        (Some(count), _) => i128::from(count),
        (None, change) => i128::from(before) + i128::from(change.unwrap_or_default()),
    };
    let cant = |why: String| {
        Refusal::new(Code::WrongState, format!("{id} can't have {after} controllers"))
            .because(why)
            .then("nothing was changed")
    };
    if after < 1 {
        return Err(cant("one is a part of its node, which decides also when it is alone".to_owned()));
    }
    let room = view.node.controllers_of(region.number).and_then(|said| said.room);
    let after = u64::try_from(after).unwrap_or(u64::MAX);
    let scaled = RegionScaled { region: id.as_str().to_owned(), before, after };
    match most(room) {
        // Fewer are always possible.
        _ if after <= before => Ok(scaled),
        _ if after > Region::CONTROLLERS_MOST => {
            Err(cant(format!("no region has more than {}", Region::CONTROLLERS_MOST)))
        }
        None => Err(cant(
            "its node is not heard, or does not lead its group: what its hosts can run is unknown".to_owned(),
        )),
        Some(1) => {
            Err(cant("none of its hosts runs controllers (`controllers: {most: N}` in host.yaml)".to_owned()))
        }
        Some(most) if after > most => Err(cant(format!(
            "one is its node's, and its hosts run {} (`controllers: most` in host.yaml)",
            most - 1
        ))),
        Some(_) => Ok(scaled),
    }
}

fn plan_all(view: &View<'_>, request: &ControllersScaleRequest) -> Result<ControllersScaled, Problem> {
    if let Some(name) = &request.region {
        let scaled =
            plan(view, names::region(view, name)?.0, request).map_err(|refusal| Problem::from(&refusal))?;
        return Ok(ControllersScaled { regions: vec![scaled], left_out: Vec::new() });
    }
    let takes_part =
        |region: &&Region| region.lifecycle == Lifecycle::Active && region.standing == Standing::Present;
    let mut all = ControllersScaled { regions: Vec::new(), left_out: Vec::new() };
    let mut first = None;
    for region in view.node.facts().core.regions.values().filter(takes_part) {
        match plan(view, region, request) {
            Ok(scaled) => all.regions.push(scaled),
            Err(refusal) => {
                all.left_out.push(format!("{}: {}", region.id, refusal.causes.join("; ")));
                first.get_or_insert(refusal);
            }
        }
    }
    match first.filter(|_| all.regions.is_empty()) {
        Some(refusal) => Err(Problem::from(&refusal)),
        None => Ok(all),
    }
}

impl Serve for ControllersScale {
    async fn answer(call: &Call, request: ControllersScaleRequest) -> Result<ControllersScaled, Problem> {
        component(&request.component)?;
        if request.count.is_some() == request.change.is_some() {
            return Err(bad_value("count", "either `count` or `change` is needed"));
        }
        let because = reason(request.reason.as_deref())?;
        let (dry_run, relative) = (request.dry_run, request.change.is_some());
        let planned = move |view: &View<'_>| {
            let scaled = plan_all(view, &request)?;
            let regions = &view.node.facts().core.regions;
            let revision = |of: &RegionScaled| {
                regions.get(&RegionId::from(of.region.as_str())).map(|region| region.revision)
            };
            let revisions: Vec<Option<Revision>> = scaled.regions.iter().map(revision).collect();
            Ok((scaled, revisions))
        };
        let (mut scaled, revisions) = call.find(planned).await?;
        if dry_run {
            return Ok(scaled);
        }
        for (of, revision) in scaled.regions.iter().zip(revisions) {
            let mut asked = call.asked_as(&of.region);
            asked.reason.clone_from(&because);
            // One more than somebody else makes of it meanwhile is not what was planned.
            asked.expected = revision.filter(|_| relative);
            call.change(Request::SetControllers(asked, RegionId::from(of.region.as_str()), of.after)).await?;
        }
        // What a request that was repeated has led to, and not what this attempt would have.
        let names: Vec<String> = scaled.regions.iter().map(|of| of.region.clone()).collect();
        let now = call.look(move |view| {
            let regions = &view.node.facts().core.regions;
            let count = |name: &String| regions.get(&RegionId::from(name.as_str())).map(Region::controllers);
            names.iter().map(count).collect::<Vec<_>>()
        });
        for (of, now) in scaled.regions.iter_mut().zip(now.await?) {
            of.after = now.unwrap_or(of.after);
        }
        Ok(scaled)
    }
}

//! Regions come and go.

use dwcp_api::Problem;
use dwcp_api::membership::{
    Membership, MembershipChanged, MembershipRead, MembershipRequest, MembershipStep, PoolHost, PoolList,
    PoolListRequest, Pools, RegionCleanUp, RegionCleanUpRequest, RegionDeploy, RegionDeployRequest,
    RegionDeployed, RegionRemove, RegionRemoveRequest, RegionReplicate, RegionReplicateRequest,
};
use dwcp_roles::node::{Request, node_phase};
use dwcp_roles::protocol::HostingPhase;
use dwcp_state::{FEDERATION_GROUP, Lifecycle, Prices, Region, RegionFacts};
use dwcp_types::{Code, GroupId, NodeId, Refusal, RegionId};

use super::call::{Call, bad_value, reason};
use super::routes::Serve;
use super::{names, region_summary};
use crate::handle::View;

/// A replica that is no further behind has caught up, ms.
const CAUGHT_UP_MS: u64 = 2_000;
/// Preferred in placement by default.
const PRIORITY: u8 = 50;

fn shown(host: &dwcp_roles::node::PoolHost) -> PoolHost {
    PoolHost {
        region: host.region.as_str().to_owned(),
        host: host.host.as_str().to_owned(),
        zone: host.zone.as_str().to_owned(),
        vcpus: host.capacity.vcpus.into(),
        memory_mib: host.capacity.memory_mib,
        disk_gib: host.capacity.disk_gib,
        accelerator: host.accelerator.clone(),
        version: host.version.clone(),
        control: Some(host.control.clone()).filter(|address| !address.is_empty()),
        phase: node_phase(host.phase).to_owned(),
    }
}

impl Serve for PoolList {
    async fn answer(call: &Call, request: PoolListRequest) -> Result<Pools, Problem> {
        call.look(move |view| {
            let wanted = |region: &str| request.region.as_ref().is_none_or(|only| only == region);
            let all = view.node.pools();
            let hosts = all.iter().filter(|host| wanted(host.region.as_str())).map(shown).collect();
            Pools { hosts, as_of: names::as_of_federation(view) }
        })
        .await
    }
}

/// The region that a deployment adds, and the pool that it is made of.
fn plan(view: &View<'_>, name: &str, priority: u8) -> Result<(Region, RegionDeployed), Problem> {
    let id = RegionId::from(name);
    let regions = &view.node.facts().core.regions;
    if regions.contains_key(&id) {
        let refusal = Refusal::new(Code::WrongState, format!("{name} is a region already"));
        return Err(Problem::from(
            &refusal.try_this(format!("dwcp-cli federation region status --region {name}")),
        ));
    }
    let pool: Vec<_> = view.node.pools().into_iter().filter(|host| host.region == id).collect();
    let Some(host) = view.node.pool_host_for(&id) else {
        let why = match pool.len() {
            0 => format!("no host with a certificate of {name} is connected"),
            count => format!("none of its {count} hosts names an address for the region's node"),
        };
        let next = match pool.len() {
            0 => "start dwcp-agentd on its hosts with their certificates",
            _ => "set `control_plane: {address: …}` in host.yaml of the host that is to run it",
        };
        let refusal = Refusal::new(Code::WrongState, format!("{name} can't be deployed")).because(why);
        return Err(Problem::from(&refusal.then(next).try_this("dwcp-cli infrastructure pools")));
    };
    let prices = regions.values().map(|region| region.prices);
    // Nobody has set its prices yet; VMs are not drawn there by that.
    let dearest = prices.fold(Prices::default(), |most, prices| Prices {
        vcpu_micros: most.vcpu_micros.max(prices.vcpu_micros),
        memory_gib_micros: most.memory_gib_micros.max(prices.memory_gib_micros),
        disk_gib_micros: most.disk_gib_micros.max(prices.disk_gib_micros),
    });
    let region = Region {
        id,
        priority,
        prices: dearest,
        mesh: host.control.clone(),
        api: format!("https://{}", host.control),
        control_host: host.host.clone(),
        ..Region::default()
    };
    let deployed = RegionDeployed {
        region: name.to_owned(),
        number: None,
        host: host.host.as_str().to_owned(),
        address: host.control,
        hosts: pool.len() as u64,
        vcpus: pool.iter().map(|host| u64::from(host.capacity.vcpus)).sum(),
        memory_mib: pool.iter().map(|host| host.capacity.memory_mib).sum(),
        disk_gib: pool.iter().map(|host| host.capacity.disk_gib).sum(),
    };
    Ok((region, deployed))
}

impl Serve for RegionDeploy {
    async fn answer(call: &Call, request: RegionDeployRequest) -> Result<RegionDeployed, Problem> {
        let priority = request.priority.unwrap_or(PRIORITY);
        if priority > 100 {
            return Err(bad_value("priority", "0 to 100"));
        }
        let name = request.region.clone();
        let (region, deployed) = call.look(move |view| plan(view, &name, priority)).await??;
        if request.dry_run {
            return Ok(deployed);
        }
        let id = region.id.clone();
        call.change(Request::AddRegion(call.asked(), Box::new(region))).await?;
        let number = call.look(move |view| view.node.facts().region(&id).map(|region| region.number)).await?;
        Ok(RegionDeployed { number, ..deployed })
    }
}

fn step(step: &str, done: bool, detail: impl Into<String>) -> MembershipStep {
    MembershipStep { step: step.to_owned(), done, detail: detail.into() }
}

/// Groups whose facts the region's node has, and of how many.
fn replicas(view: &View<'_>, node: NodeId) -> (usize, usize) {
    let groups: Vec<GroupId> =
        std::iter::once(FEDERATION_GROUP).chain(view.node.regions().keys().copied()).collect();
    let said = match node == view.node.config().me {
        true => view.node.own_beat().groups,
        false => view
            .node
            .peers()
            .get(&node)
            .and_then(|peer| peer.beat.as_ref())
            .map_or_else(Vec::new, |beat| beat.groups.clone()),
    };
    let whole = |group: &&GroupId| {
        let of = said.iter().find(|of| of.group == **group);
        of.is_some_and(|of| of.lag_ms.is_some_and(|ms| ms < CAUGHT_UP_MS))
    };
    (groups.iter().filter(whole).count(), groups.len())
}

fn steps(view: &View<'_>, record: &Region, facts: &RegionFacts) -> Vec<MembershipStep> {
    let heard = names::is_heard(view, record.number);
    let node = match (heard, view.node.hosting(record)) {
        (true, _) => format!("heard {} ms ago at {}", names::silent_ms(view, record.number), record.mesh),
        (false, Some(report)) => {
            let trouble = match report.trouble.is_empty() {
                true => String::new(),
                false => format!(": {}", report.trouble),
            };
            let phase = match report.phase {
                HostingPhase::Nothing => "is told to run it",
                HostingPhase::Certifying => "waits for its certificate",
                HostingPhase::Waiting => "starts it",
                HostingPhase::Running => "runs it",
                HostingPhase::Stopping => "ends it",
            };
            format!("{} {phase}{trouble}", record.control_host)
        }
        (false, None) => format!("not heard yet at {}", record.mesh),
    };
    let (whole, of) = replicas(view, record.number);
    let replicated = match record.without_replicas {
        true => "it is to have none yet".to_owned(),
        false => format!("{whole} of {of} groups"),
    };
    let enabled = record.lifecycle == Lifecycle::Active;
    let founded = if record.unfounded { "not yet" } else { "its group has a leader" };
    vec![
        step("added", true, format!("number {}", record.number)),
        step("founded", !record.unfounded, founded),
        step("node", heard, node),
        step("replicas", !record.without_replicas && whole == of, replicated),
        step("hosts", !facts.hosts.is_empty(), format!("{} registered", facts.hosts.len())),
        step("enabled", enabled, format!("traffic {} %", record.traffic_percent)),
    ]
}

impl Serve for MembershipRead {
    async fn answer(call: &Call, request: MembershipRequest) -> Result<Membership, Problem> {
        call.find(move |view| {
            let (record, facts) = names::region(view, &request.region)?;
            Ok(Membership {
                region: request.region,
                number: record.number,
                lifecycle: region_summary::lifecycle(record),
                leaving: record.lifecycle == Lifecycle::Leaving,
                host: Some(record.control_host.as_str().to_owned()).filter(|host| !host.is_empty()),
                address: record.mesh.clone(),
                steps: steps(view, record, facts),
                as_of: names::as_of_federation(view),
            })
        })
        .await
    }
}

impl Serve for RegionReplicate {
    async fn answer(call: &Call, request: RegionReplicateRequest) -> Result<MembershipChanged, Problem> {
        let name = request.region.clone();
        let without = call.find(move |view| Ok(names::region(view, &name)?.0.without_replicas)).await?;
        if without && !request.dry_run {
            let region = RegionId::from(request.region.as_str());
            call.change(Request::ReplicateRegion(call.asked(), region)).await?;
        }
        let notes = vec!["its node learns every group first, and votes where it is near".to_owned()];
        Ok(MembershipChanged { region: request.region, changed: without, notes })
    }
}

impl Serve for RegionRemove {
    async fn answer(call: &Call, request: RegionRemoveRequest) -> Result<MembershipChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let name = request.region.clone();
        let (leaves, left) = call
            .find(move |view| {
                let (record, facts) = names::region(view, &name)?;
                Ok((record.lifecycle == Lifecycle::Leaving, facts.left()))
            })
            .await?;
        if let Some(left) = left.filter(|_| request.dry_run) {
            let refusal = Refusal::new(Code::WrongState, format!("{} is not empty", request.region));
            return Err(Problem::from(&refusal.because(left)));
        }
        if !leaves && !request.dry_run {
            let region = RegionId::from(request.region.as_str());
            let asked = call.asked_because(because, None);
            call.change(Request::RemoveRegion(asked, region)).await?;
        }
        let notes = vec!["it is forgotten as soon as no other region waits for anything of it".to_owned()];
        Ok(MembershipChanged { region: request.region, changed: !leaves, notes })
    }
}

impl Serve for RegionCleanUp {
    async fn answer(call: &Call, request: RegionCleanUpRequest) -> Result<MembershipChanged, Problem> {
        let region = RegionId::from(request.region.as_str());
        let id = region.clone();
        let (changed, heard, hosts) = call
            .look(move |view| {
                let pools = view.node.pools();
                let of_region: Vec<_> = pools.iter().filter(|host| host.region == id).collect();
                let running = of_region.iter().filter(|host| node_phase(host.phase) != "nothing");
                let hosts: Vec<String> = running.map(|host| host.host.as_str().to_owned()).collect();
                (!view.node.facts().core.cleaned.contains_key(&id), !of_region.is_empty(), hosts)
            })
            .await?;
        if !request.dry_run {
            call.change(Request::CleanRegion(call.asked(), region)).await?;
        }
        let notes = match hosts.is_empty() {
            true if heard => vec!["no host that is connected runs its node".to_owned()],
            true => vec!["no host of it is connected now; one that comes removes what it has".to_owned()],
            false => vec![format!("{} stops its node and removes keys and state", hosts.join(", "))],
        };
        Ok(MembershipChanged { region: request.region, changed, notes })
    }
}

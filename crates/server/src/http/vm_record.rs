//! A VM as the API shows it.

use dwcp_api::vm::{Vm as ApiVm, VmState};
use dwcp_api::vm_spec::{
    Affinity, LatencyBound, NetworkKind, OnRegionLoss, Policy, Priority, Probe as ApiProbe, Scope as ApiScope,
};
use dwcp_state::{Health, Network, Phase, Prices, Probe, Relation, Rules, Scope, Target, Vm, Want};

use super::names::{self, Found};
use crate::handle::View;

/// A VM as the API shows it.
pub fn show(view: &View<'_>, found: &Found<'_>) -> ApiVm {
    let vm = found.vm;
    let facts = view.node.facts();
    let of = facts.regions.get(found.region);
    let host = of.and_then(|of| of.hosts.get(&vm.host));
    let record = facts.core.regions.get(found.region);
    let seen = vm.observed.generation == vm.generation && found.departure.is_none();
    let state = state(view, found);
    ApiVm {
        vm: vm.id.to_string(),
        name: vm.name.clone(),
        state,
        wanted_running: vm.want == Want::Running,
        region: found.region.as_str().to_owned(),
        zone: host.map(|host| host.facts.zone.as_str().to_owned()),
        host: (!vm.host.as_str().is_empty()).then(|| vm.host.as_str().to_owned()),
        generation: vm.generation.0,
        image: vm.spec.image.clone(),
        image_digest: (!vm.spec.digest.is_none()).then(|| vm.spec.digest.to_string()),
        vcpus: vm.spec.size.vcpus,
        memory_mib: vm.spec.size.memory_mib,
        disk_gib: vm.spec.size.disk_gib,
        priority: Priority(vm.priority.0),
        policy: policy(&vm.rules, &vm.tenant, &vm.project),
        labels: vm.labels.clone(),
        network: match vm.spec.network {
            Network::User => NetworkKind::User,
            Network::Tap => NetworkKind::Tap,
        },
        probe: probe(&vm.spec.probe),
        address: (seen && !vm.observed.address.is_empty())
            .then(|| format!("http://{}/", vm.observed.address)),
        healthy: if seen && state != VmState::Unknown { healthy(vm) } else { None },
        reason: reason(found, seen),
        cost_usd_month: record
            .filter(|record| record.prices != Prices::default())
            .map(|record| record.monthly_cost_millis(vm.spec.size) as f64 / 1_000.0),
        created_at_ms: vm.created_at.0,
        revision: vm.revision.0,
        protection: super::protection::show(view, vm),
        drill: vm.drill.map(|mark| mark.drill.to_string()),
    }
}

fn healthy(vm: &Vm) -> Option<bool> {
    match vm.observed.health {
        Health::Unknown => None,
        Health::Healthy => Some(true),
        Health::Unhealthy => Some(false),
    }
}

fn reason(found: &Found<'_>, seen: bool) -> String {
    match found.departure {
        Some(departure) => format!("on its way to {}", departure.to),
        None if seen => found.vm.observed.reason.clone(),
        None => String::new(),
    }
}

/// The state of a VM, as far as it is known here.
pub fn state(view: &View<'_>, found: &Found<'_>) -> VmState {
    let vm = found.vm;
    if found.departure.is_some() {
        return VmState::Moving;
    }
    if vm.want == Want::Deleted {
        return VmState::Deleting;
    }
    if vm.host.as_str().is_empty() {
        return VmState::Waiting;
    }
    if !names::host_is_up(view, found) {
        return VmState::Unknown;
    }
    if vm.observed.generation != vm.generation {
        return if vm.want == Want::Running { VmState::Starting } else { VmState::Stopping };
    }
    match vm.observed.phase {
        Phase::Pending | Phase::Starting => VmState::Starting,
        Phase::Running if vm.want == Want::Stopped => VmState::Stopping,
        Phase::Running => VmState::Running,
        Phase::Paused => VmState::Paused,
        Phase::Stopping => VmState::Stopping,
        Phase::Stopped => VmState::Stopped,
        Phase::Failed => VmState::Failed,
    }
}

fn probe(probe: &Probe) -> ApiProbe {
    match probe {
        Probe::Http(path) => ApiProbe::Http { port: 80, path: path.clone() },
        Probe::Tcp(port) => ApiProbe::Tcp { port: *port },
        Probe::None => ApiProbe::Process,
    }
}

fn policy(rules: &Rules, tenant: &str, project: &str) -> Policy {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Policy {
        regions_allow: rules.allowed_regions.iter().map(|region| region.as_str().to_owned()).collect(),
        regions_deny: rules.denied_regions.iter().map(|region| region.as_str().to_owned()).collect(),
        zones: rules.zones.iter().cloned().collect(),
        host_labels: rules.host_labels.clone(),
        compliance: rules.compliance.iter().cloned().collect(),
        residency: rules.residency.iter().cloned().collect(),
        affinity: rules.affinity.iter().map(relation).collect(),
        anti_affinity: rules.anti_affinity.iter().map(relation).collect(),
        max_latency: rules.max_latency.first().map(|(to, ms)| LatencyBound {
            to: to.as_str().to_owned(),
            max_latency_ms: u32::try_from(*ms).unwrap_or(u32::MAX),
        }),
        cost_limit_usd: rules.cost_limit_millis.map(|millis| millis as f64 / 1_000.0),
        failover: if rules.stay_on_loss { OnRegionLoss::Stay } else { OnRegionLoss::Restart },
        tenant: some(tenant),
        project: some(project),
    }
}

fn relation(relation: &Relation) -> Affinity {
    Affinity {
        to: match &relation.target {
            Target::Vm(id) => id.to_string(),
            Target::Label((key, value)) => format!("{key}={value}"),
        },
        scope: match relation.scope {
            Scope::Host => ApiScope::Host,
            Scope::Zone => ApiScope::Zone,
            Scope::Region => ApiScope::Region,
        },
    }
}

//! Everything that operators have set.

use dwcp_api::Problem;
use dwcp_api::page::Nothing;
use dwcp_api::settings::{
    BackupsSet, ControllerSet, HostSet, ImageSet, PolicySet, RegionPut, RegionSet, ReplicationSet, Settings,
    SettingsRead, VmProtectionSet, WindowSet,
};
use dwcp_state::{Coordinates, Host, Lifecycle, Policy, Region, RegionFacts, Window};
use dwcp_types::RegionId;

use super::call::Call;
use super::routes::Serve;
use super::{freeze, names, policies, protection, replication};
use crate::handle::View;

impl Serve for SettingsRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Settings, Problem> {
        call.look(show).await
    }
}

/// Millionths as a number of whole ones: the same number for the same millionths.
fn whole(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

fn region(region: &Region) -> RegionSet {
    let place = region.site.coordinates.map(Coordinates::degrees);
    // A window gives placement back by itself.
    let by_window = region.placement_by.starts_with("window-");
    RegionSet {
        region: region.id.as_str().to_owned(),
        state: match region.lifecycle {
            Lifecycle::Active => RegionPut::Active,
            Lifecycle::Disabled => RegionPut::Disabled,
            Lifecycle::Joining => RegionPut::Joining,
            Lifecycle::Leaving => RegionPut::Leaving,
        },
        placement: region.placement || by_window,
        traffic_percent: region.traffic_percent,
        priority: region.priority,
        display_name: region.site.display_name.clone(),
        zones: region.site.zones.iter().map(|zone| zone.as_str().to_owned()).collect(),
        latitude: place.map(|(latitude, _)| whole(latitude)),
        longitude: place.map(|(_, longitude)| whole(longitude)),
        max_vms: region.site.vms_most,
        compliance: region.compliance.iter().cloned().collect(),
        jurisdiction: region.jurisdiction.clone(),
        vcpu_usd_hour: whole(region.prices.vcpu_micros as i64),
        memory_gib_usd_hour: whole(region.prices.memory_gib_micros as i64),
        disk_gib_usd_hour: whole(region.prices.disk_gib_micros as i64),
        endpoints: region.endpoints.iter().map(ToString::to_string).collect(),
        decommission_at_ms: region.decommission.as_ref().map(|end| end.at.0),
        controllers: Some(region.controllers()),
        routers: Some(region.routers()),
    }
}

fn host(region: &RegionId, host: &Host) -> HostSet {
    let facts = &host.facts;
    HostSet {
        host: facts.id.as_str().to_owned(),
        region: region.as_str().to_owned(),
        zone: facts.zone.as_str().to_owned(),
        labels: facts.labels.clone(),
        vcpus: facts.capacity.vcpus,
        memory_mib: facts.capacity.memory_mib,
        disk_gib: facts.capacity.disk_gib,
    }
}

fn window(window: &Window) -> WindowSet {
    WindowSet {
        window: window.id.to_string(),
        region: window.region.as_str().to_owned(),
        host: window.host.as_ref().map(|host| host.as_str().to_owned()),
        starts_at_ms: window.starts_at.0,
        ends_at_ms: window.ends_at.0,
        reason: window.reason.clone(),
        no_placement: window.no_placement,
    }
}

fn policy(policy: &Policy) -> PolicySet {
    PolicySet {
        auto_failover: policy.auto_failover,
        loss_after_ms: policy.loss_after_ms,
        return_after_ms: policy.return_after_ms,
        failovers_per_hour: policy.failovers_per_hour,
        cpu_overcommit_percent: policy.cpu_overcommit_percent,
        memory_overcommit_percent: policy.memory_overcommit_percent,
        rto_target_ms: policy.rto_target_ms,
    }
}

fn controller(policy: &Policy) -> ControllerSet {
    ControllerSet {
        placement_cache_ttl_ms: policy.placement_cache_ttl_ms,
        parallel_scoring: policy.parallel_scoring,
        profile: policies::profile_name(policy.profile),
        weights: policies::weights_by_name(policy.weights),
    }
}

fn show(view: &View<'_>) -> Settings {
    let facts = view.node.facts();
    let core = &facts.core;
    let hosts_of = |of: &RegionFacts| of.hosts.values().map(|one| host(&of.name, one)).collect::<Vec<_>>();
    let now = view.now.wall;
    let windows = core.windows.values().filter(|window| window.is_open() && window.ends_at > now);
    let protected = |vm: &dwcp_state::Vm| vm.is_protected() && vm.drill.is_none() && names::is_wanted(vm);
    let mut protections: Vec<VmProtectionSet> = names::every_vm(view)
        .filter(|found| protected(found.vm))
        .map(|found| VmProtectionSet {
            vm: found.vm.name.clone(),
            protection: protection::wanted(&found.vm.protection),
        })
        .collect();
    protections.sort_by(|a, b| a.vm.cmp(&b.vm));
    let (replication_workers, compression, sync_interval_ms) = replication::set(view, &core.policy);
    Settings {
        federation: core.name.clone(),
        regions: core.regions.values().map(region).collect(),
        hosts: facts.regions.values().flat_map(hosts_of).collect(),
        policies: policy(&core.policy),
        controller: controller(&core.policy),
        replication: Some(ReplicationSet { replication_workers, compression, sync_interval_ms }),
        freeze: freeze::shown(core.freeze),
        backups: core.backups.plan.as_ref().map(|plan| BackupsSet {
            destination: plan.destination.clone(),
            interval_ms: plan.interval_ms,
            keep_within_ms: (plan.keep_within_ms > 0).then_some(plan.keep_within_ms),
            keep_last: plan.keep_last,
            key_file: Some(plan.key_file.clone()).filter(|file| !file.is_empty()),
        }),
        images: core
            .images
            .values()
            .map(|image| ImageSet { image: image.name.clone(), digest: image.digest.to_string() })
            .collect(),
        windows: windows.map(window).collect(),
        protections,
        as_of: names::as_of(view),
    }
}

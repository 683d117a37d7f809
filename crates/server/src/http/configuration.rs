//! The federation as it is configured now.

use dwcp_api::Problem;
use dwcp_api::configuration::{Configuration, ConfigurationRead, ConfiguredHost, ConfiguredRegion, Way};
use dwcp_api::page::Nothing;
use dwcp_state::{HostStanding, Lifecycle, Standing};

use super::call::Call;
use super::routes::Serve;
use super::{names, policies, vm_record};
use crate::handle::View;

impl Serve for ConfigurationRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Configuration, Problem> {
        call.look(show).await
    }
}

fn show(view: &View<'_>) -> Configuration {
    let facts = view.node.facts();
    let regions = facts.core.regions.values().map(|region| ConfiguredRegion {
        region: region.id.as_str().to_owned(),
        number: region.number,
        active: region.lifecycle == Lifecycle::Active && region.standing == Standing::Present,
        placement: region.placement,
        priority: region.priority.into(),
        compliance: region.compliance.iter().cloned().collect(),
        jurisdiction: region.jurisdiction.clone(),
        vcpu_micros: region.prices.vcpu_micros,
        memory_gib_micros: region.prices.memory_gib_micros,
        disk_gib_micros: region.prices.disk_gib_micros,
    });
    let hosts = facts.regions.values().flat_map(|of| {
        of.hosts.values().map(|host| ConfiguredHost {
            host: host.facts.id.as_str().to_owned(),
            region: of.name.as_str().to_owned(),
            zone: host.facts.zone.as_str().to_owned(),
            labels: host.facts.labels.clone(),
            vcpus: host.facts.capacity.vcpus,
            memory_mib: host.facts.capacity.memory_mib,
            disk_gib: host.facts.capacity.disk_gib,
            up: host.standing == HostStanding::Up && host.placement,
        })
    });
    let vms = names::every_vm(view).filter(|found| names::is_wanted(found.vm) && found.vm.drill.is_none());
    let ways = view.node.measured().rtt_ms.into_iter().map(|((from, to), rtt_ms)| Way {
        from: from.as_str().to_owned(),
        to: to.as_str().to_owned(),
        rtt_ms,
    });
    Configuration {
        federation: facts.core.name.clone(),
        regions: regions.collect(),
        hosts: hosts.collect(),
        vms: vms.map(|found| vm_record::show(view, &found)).collect(),
        policies: policies::show(view, &facts.core.policy),
        ways: ways.collect(),
        as_of: names::as_of(view),
    }
}

//! VMs' own probes, asked now.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::Problem;
use dwcp_api::vm::{VmHealth, VmHealthCheck, VmHealthCheckRequest, VmHealthReport, VmState};
use dwcp_roles::node::{Reply, Request};
use dwcp_roles::protocol::{Health, ProbeResult};
use dwcp_state::{Probe, Want};
use dwcp_types::VmId;

use super::call::{Call, bad_value, unexpected};
use super::routes::Serve;
use super::{names, vm_record};
use crate::handle::View;

impl Serve for VmHealthCheck {
    async fn answer(call: &Call, request: VmHealthCheckRequest) -> Result<VmHealthReport, Problem> {
        if request.timeout_ms.is_some_and(|ms| !(1..=60_000).contains(&ms)) {
            return Err(bad_value("timeout_ms", "1 to 60000"));
        }
        let ids = call.find(move |view| chosen(view, &request)).await?;
        let asked: Vec<VmId> = ids.iter().filter(|(_, wanted)| *wanted).map(|(id, _)| *id).collect();
        // An empty list would ask everybody.
        let results = if asked.is_empty() { Vec::new() } else { probe(call, asked).await? };
        let ids: BTreeSet<VmId> = ids.into_iter().map(|(id, _)| id).collect();
        call.look(move |view| report(view, &ids, results)).await
    }
}

async fn probe(call: &Call, vms: Vec<VmId>) -> Result<Vec<ProbeResult>, Problem> {
    match call.ask(Request::Probe(vms)).await? {
        Reply::Probed(results) => Ok(results),
        other => Err(unexpected(&other)),
    }
}

/// The VMs that are asked about, and whether each is to run.
fn chosen(view: &View<'_>, request: &VmHealthCheckRequest) -> Result<Vec<(VmId, bool)>, Problem> {
    if let Some(region) = &request.region {
        names::region(view, region)?;
    }
    let mut named = BTreeSet::new();
    for name in &request.vms {
        named.insert(names::vm(view, name)?.vm.id);
    }
    Ok(names::every_vm(view)
        .filter(|found| names::is_wanted(found.vm))
        // Copies of a drill are lost on purpose; who means one names it.
        .filter(|found| match request.vms.is_empty() {
            true => found.vm.drill.is_none(),
            false => named.contains(&found.vm.id),
        })
        .filter(|found| request.region.as_ref().is_none_or(|region| found.region.as_str() == region))
        .map(|found| (found.vm.id, found.vm.want == Want::Running))
        .collect())
}

fn report(view: &View<'_>, ids: &BTreeSet<VmId>, results: Vec<ProbeResult>) -> VmHealthReport {
    let results: BTreeMap<VmId, ProbeResult> =
        results.into_iter().map(|result| (result.vm, result)).collect();
    let mut report =
        VmHealthReport { vms: Vec::new(), healthy: 0, unhealthy: 0, unknown: 0, as_of: names::as_of(view) };
    for id in ids {
        let Some(found) = names::vm_by_id(view, *id) else { continue };
        let line = line(view, &found, results.get(id));
        match line.healthy {
            Some(true) => report.healthy += 1,
            Some(false) => report.unhealthy += 1,
            // A VM that is to be off has nothing to answer.
            None if line.state == VmState::Stopped => {}
            None => report.unknown += 1,
        }
        report.vms.push(line);
    }
    report
}

fn line(view: &View<'_>, found: &names::Found<'_>, result: Option<&ProbeResult>) -> VmHealth {
    let vm = found.vm;
    let state = vm_record::state(view, found);
    let silence = if vm.want == Want::Stopped { "it is to be stopped" } else { "its host did not answer" };
    VmHealth {
        vm: vm.id.to_string(),
        name: vm.name.clone(),
        region: found.region.as_str().to_owned(),
        host: (!vm.host.as_str().is_empty()).then(|| vm.host.as_str().to_owned()),
        state,
        healthy: result.and_then(|result| match result.healthy {
            Health::Unknown => None,
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
        }),
        probe: match vm.spec.probe {
            Probe::Http(_) => "http",
            Probe::Tcp(_) => "tcp",
            Probe::None => "process",
        }
        .to_owned(),
        detail: result.map_or_else(|| silence.to_owned(), |result| result.detail.clone()),
        took_ms: result.filter(|result| result.took_us > 0).map(|result| result.took_us.div_ceil(1_000)),
    }
}

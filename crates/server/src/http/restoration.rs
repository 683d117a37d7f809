//! A control plane that came back from a backup.

use dwcp_api::Problem;
use dwcp_api::page::Nothing;
use dwcp_api::restoration::{
    MissingChoice, RestorationDecide, RestorationDecideRequest, RestorationRead, RestorationStatus,
    RestorationWriteOff, RestorationWriteOffRequest, RestoredRegion, RestoredVm,
};
use dwcp_roles::node::Request;
use dwcp_state::{AdoptedAs, Adoption, RegionFacts, Restoration, Vm};
use dwcp_types::{Code, HostId, Refusal, VmId, Wall};

use super::call::{Call, reason};
use super::names;
use super::routes::Serve;
use crate::handle::View;
use crate::restore::LOST;

/// VMs that are listed one by one.
const LISTED: usize = 1_000;

fn region(facts: &RegionFacts, adoption: &Adoption) -> RestoredRegion {
    let count =
        |which: fn(&AdoptedAs) -> bool| adoption.adopted.values().filter(|how| which(how)).count() as u64;
    RestoredRegion {
        region: facts.name.to_string(),
        heard: adoption.found.keys().chain(adoption.late.keys()).map(ToString::to_string).collect(),
        awaited: facts.awaited().map(ToString::to_string).collect(),
        written_off: adoption.written_off.iter().map(ToString::to_string).collect(),
        done_at_ms: adoption.done_at.map(|at| at.0),
        unchanged: count(|how| *how == AdoptedAs::Unchanged),
        changed: count(|how| matches!(how, AdoptedAs::Changed(_) | AdoptedAs::WithLostHost)),
        unknown: count(|how| *how == AdoptedAs::Unknown),
        missing: adoption.missing.len() as u64,
    }
}

fn in_words(how: &AdoptedAs) -> String {
    match how {
        AdoptedAs::Unchanged => "as the backup has it".to_owned(),
        AdoptedAs::Changed(how) => how.clone(),
        AdoptedAs::Unknown => "the backup does not have it".to_owned(),
        AdoptedAs::WithLostHost => "its host is not waited for: brought back as from a lost host, with a new disk unless a copy of its disk is kept".to_owned(),
        AdoptedAs::Restarted => "no host had it: started again with a new disk".to_owned(),
        AdoptedAs::Forgotten => "no host had it: forgotten".to_owned(),
    }
}

fn vms(view: &View<'_>, facts: &RegionFacts, adoption: &Adoption) -> Vec<RestoredVm> {
    let shown = |vm: &Vm, region: String, how: String| RestoredVm {
        vm: vm.id.to_string(),
        name: vm.name.clone(),
        region,
        host: vm.host.to_string(),
        how,
    };
    let missing = adoption.missing.values().map(|vm| {
        let how = "no host has it: deleted since, or lost with its disk; decide".to_owned();
        shown(vm, facts.name.to_string(), how)
    });
    let changed = adoption.adopted.iter().filter(|(_, how)| **how != AdoptedAs::Unchanged);
    let changed = changed.map(|(id, how)| match view.node.facts().vm(*id) {
        Some((region, vm)) => shown(vm, region.to_string(), in_words(how)),
        None => RestoredVm {
            vm: id.to_string(),
            name: String::new(),
            region: facts.name.to_string(),
            host: String::new(),
            how: in_words(how),
        },
    });
    missing.chain(changed).collect()
}

/// What is lost: for how long, what of VMs by name, and what there is no list of.
fn lost<'a>(of: &Restoration, regions: impl Iterator<Item = &'a RegionFacts> + Clone) -> Vec<String> {
    let until = Wall(of.id);
    let mut lost = vec![format!(
        "what was acknowledged from {} to {} ({} s)",
        of.taken_at.utc(),
        until.utc(),
        until.ms_since(of.taken_at) / 1_000
    )];
    let adoptions = regions.clone().filter_map(|facts| facts.adoption.as_deref());
    let missing: Vec<&str> =
        adoptions.flat_map(|of| of.missing.values()).map(|vm| vm.name.as_str()).collect();
    if !missing.is_empty() {
        let named = missing.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        lost.push(format!("the disks of {} VMs that no host has: {named}", missing.len()));
    }
    for facts in regions {
        let Some(adoption) = &facts.adoption else { continue };
        let gone = |(id, how): (&VmId, &AdoptedAs)| match how {
            AdoptedAs::WithLostHost => facts.vms.get(id).map(|vm| vm.name.as_str()),
            _ => None,
        };
        let names: Vec<&str> = adoption.adopted.iter().filter_map(gone).take(LISTED).collect();
        if !names.is_empty() {
            let what = "disks without a copy elsewhere, with hosts that are not waited for";
            lost.push(format!("{what}: {} in {}", names.join(", "), facts.name));
        }
    }
    lost.extend(LOST.map(str::to_owned));
    lost
}

fn status(view: &View<'_>) -> RestorationStatus {
    let facts = view.node.facts();
    let restoration = facts.core.restoration.as_ref();
    let adopting = facts.regions.values().filter_map(|facts| Some((facts, facts.adoption.as_deref()?)));
    let regions: Vec<RestoredRegion> =
        adopting.clone().map(|(facts, adoption)| region(facts, adoption)).collect();
    let vms = adopting.flat_map(|(facts, adoption)| vms(view, facts, adoption)).take(LISTED).collect();
    RestorationStatus {
        restoration: restoration.map(|of| of.id),
        backup: restoration.map(|of| of.backup),
        digest: restoration.map(|of| of.digest.clone()),
        taken_at_ms: restoration.map(|of| of.taken_at.0),
        done: regions.iter().all(|region| region.done_at_ms.is_some()),
        regions,
        vms,
        lost: restoration.map_or_else(Vec::new, |of| lost(of, facts.regions.values())),
        as_of: names::as_of_federation(view),
    }
}

impl Serve for RestorationRead {
    async fn answer(call: &Call, _: Nothing) -> Result<RestorationStatus, Problem> {
        call.look(status).await
    }
}

impl Serve for RestorationWriteOff {
    async fn answer(call: &Call, request: RestorationWriteOffRequest) -> Result<RestorationStatus, Problem> {
        let why = reason(request.reason.as_deref())?;
        let wanted = request.region;
        let region = call.find(move |view| Ok(names::region(view, &wanted)?.0.id.clone())).await?;
        let host = HostId::from(request.host.as_str());
        call.change(Request::WriteOffHost(call.asked_because(why, None), region, host)).await?;
        call.look(status).await
    }
}

impl Serve for RestorationDecide {
    async fn answer(call: &Call, request: RestorationDecideRequest) -> Result<RestorationStatus, Problem> {
        let why = reason(request.reason.as_deref())?;
        let wanted = request.vm;
        let vm: VmId = call
            .find(move |view| {
                let regions = view.node.facts().regions.values();
                let mut missing =
                    regions.filter_map(|facts| facts.adoption.as_ref()).flat_map(|of| of.missing.values());
                let found = missing.find(|vm| vm.name == wanted || vm.id.to_string() == wanted);
                found.map(|vm| vm.id).ok_or_else(|| {
                    let refusal = Refusal::new(Code::UnknownVm, format!("no VM {wanted} is missing"));
                    Problem::from(&refusal.try_this("dwcp-cli federation restoration status"))
                })
            })
            .await?;
        let start = request.choice == MissingChoice::Start;
        call.change(Request::DecideMissing(call.asked_because(why, None), vm, start)).await?;
        call.look(status).await
    }
}

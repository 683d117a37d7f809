//! What the loss of a region, or of two, would leave without a place.

use dwcp_api::Problem;
use dwcp_api::survivability::{
    Loss as ApiLoss, Room, SurvivabilityRead, SurvivabilityReadRequest, SurvivabilityReport, UnplacedVm,
    WorstLoss,
};
use dwcp_decide::{Loss, Losses};
use dwcp_types::{Amount, RegionId};

use super::call::{Call, stopping};
use super::names;
use super::outlook::Lately;
use super::routes::Serve;

/// VMs listed a loss.
const LISTED: usize = 100;

impl Serve for SurvivabilityRead {
    async fn answer(call: &Call, request: SurvivabilityReadRequest) -> Result<SurvivabilityReport, Problem> {
        let only = match request.region {
            Some(name) => {
                let id =
                    call.find(move |view| names::region(view, &name).map(|(record, _)| record.id.clone()));
                Some(id.await?)
            }
            None => None,
        };
        let found = call.api.outlook.now(&call.api.node, Losses::OfTwo).await.ok_or_else(stopping)?;
        let as_of = call.look(names::as_of).await?;
        let named = |region: &RegionId| only.as_ref().is_none_or(|only| only == region);
        let losses = found.losses.iter().filter(|loss| loss.regions.iter().any(named));
        Ok(SurvivabilityReport {
            losses: losses.map(shown).collect(),
            survives_one: found.losses.iter().all(|loss| loss.regions.len() != 1 || loss.unplaced.is_empty()),
            pairs_left_out: found.pairs_left_out,
            took_us: found.took.as_micros() as u64,
            as_of,
        })
    }
}

fn room(amount: Amount) -> Room {
    Room { vcpus: amount.vcpus.into(), memory_mib: amount.memory_mib, disk_gib: amount.disk_gib }
}

fn shown(loss: &Loss) -> ApiLoss {
    let vm = |vm: &dwcp_decide::Unplaced| UnplacedVm {
        vm: vm.vm.to_string(),
        name: vm.name.clone(),
        region: vm.region.as_str().to_owned(),
        priority: dwcp_api::vm_spec::Priority(vm.priority.0),
        needs: room(vm.size),
        lacks_room: vm.lacks_room,
        why: vm.why.clone(),
    };
    ApiLoss {
        lost: loss.regions.iter().map(|region| region.as_str().to_owned()).collect(),
        vms: loss.vms as u64,
        stay: loss.stay as u64,
        unplaced: loss.unplaced.len() as u64,
        by_rules: loss.by_rules() as u64,
        missing: room(loss.missing),
        unplaced_vms: loss.unplaced.iter().take(LISTED).map(vm).collect(),
    }
}

/// The worst loss of one region, as the federation's status shows it.
pub fn worst(lately: &Lately) -> Option<WorstLoss> {
    let (worst, age) = lately.worst()?;
    Some(WorstLoss {
        region: worst.map(|loss| loss.name()),
        unplaced: worst.map_or(0, |loss| loss.unplaced.len() as u64),
        age_ms: age.as_millis() as u64,
    })
}

//! Regions that could be added.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::planning::{
    Expansion, ExpansionCandidate, ExpansionFactor, ExpansionRead, ExpansionReadRequest, RegionCost,
    RegionCostLine, RegionCostRead, RegionCostReadRequest,
};
use dwcp_decide::{Candidate, Catalogue, CostLine, WORTH_PERCENT, cost_analysis, evaluate};

use super::call::{Call, bad_value};
use super::names;
use super::routes::Serve;

/// Most regions that are ranked at once.
const MOST: usize = 100;
/// Most VMs that are reckoned with.
const MOST_VMS: u64 = 10_000_000;

impl Serve for ExpansionRead {
    async fn answer(call: &Call, request: ExpansionReadRequest) -> Result<Expansion, Problem> {
        let names: BTreeSet<String> = request.candidates.into_iter().collect();
        if names.is_empty() || names.len() > MOST {
            return Err(bad_value("candidates", format!("1 to {MOST} regions")));
        }
        call.look(move |view| {
            let found = evaluate(view.node.facts(), &view.node.measured(), &Catalogue::built_in(), &names);
            Expansion { candidates: found.iter().map(candidate).collect(), as_of: names::as_of(view) }
        })
        .await
    }
}

fn candidate(found: &Candidate) -> ExpansionCandidate {
    let factors = found.factors.iter().map(|factor| ExpansionFactor {
        factor: factor.name.to_owned(),
        points: factor.points,
        most: factor.most,
        found: factor.found.clone(),
        from: factor.from.clone(),
    });
    ExpansionCandidate {
        region: found.region.clone(),
        there: found.there,
        points: found.points,
        judged: found.judged,
        factors: factors.collect(),
    }
}

fn line(line: &CostLine) -> RegionCostLine {
    RegionCostLine { region: line.region.clone(), usd_month: line.usd_month, from: line.from.clone() }
}

impl Serve for RegionCostRead {
    async fn answer(call: &Call, request: RegionCostReadRequest) -> Result<RegionCost, Problem> {
        if request.vms == 0 || request.vms > MOST_VMS {
            return Err(bad_value("vms", format!("1 to {MOST_VMS}")));
        }
        call.look(move |view| {
            let facts = view.node.facts();
            let found = cost_analysis(facts, &Catalogue::built_in(), &request.region, request.vms);
            let (transfer_usd_gib, transfer_from) = found.transfer_usd_gib.unzip();
            RegionCost {
                vms: found.vms,
                vm_vcpus: found.vm.0,
                vm_memory_gib: found.vm.1,
                vm_disk_gib: found.vm.2,
                vm_assumed: found.assumed,
                region: line(&found.candidate),
                today: found.today.iter().map(line).collect(),
                today_usd_month: found.today_usd_month,
                saving_percent: found.saving_percent,
                worth_it: found.worth_it,
                worth_percent: WORTH_PERCENT,
                transfer_usd_gib,
                transfer_from: transfer_from.unwrap_or_default(),
                break_even_months: found.break_even_months,
                missing: found.missing,
                as_of: names::as_of(view),
            }
        })
        .await
    }
}

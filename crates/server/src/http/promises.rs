//! Which promised times the federation could not keep.

use dwcp_api::Problem;
use dwcp_api::promises::{
    PromiseStep, PromisesRead, PromisesReadRequest, PromisesReport, RegionPromise as ApiPromise,
};
use dwcp_decide::{BootTimes, RegionPromise, promises};

use super::call::{Call, stopping};
use super::names;
use super::routes::Serve;

impl Serve for PromisesRead {
    async fn answer(call: &Call, request: PromisesReadRequest) -> Result<PromisesReport, Problem> {
        let only = request.region.clone();
        let (copy, measured, timings, boots, as_of) = call
            .find(move |view| {
                if let Some(name) = &only {
                    names::region(view, name)?;
                }
                let facts = view.node.facts();
                let (timings, boots) = (view.node.timings(), BootTimes::of(facts));
                Ok((facts.for_placement(), view.node.measured(), timings, boots, names::as_of(view)))
            })
            .await?;
        // Many VMs take a while to plan for: not on the node's thread.
        let judge = move || promises(&copy, &measured, &timings, &boots);
        let found = tokio::task::spawn_blocking(judge).await.map_err(|_| stopping())?;
        let wanted = |promise: &&RegionPromise| {
            request.region.as_ref().is_none_or(|only| promise.region.as_str() == only)
        };
        let regions: Vec<ApiPromise> = found.regions.iter().filter(wanted).map(shown).collect();
        Ok(PromisesReport {
            rto_target_ms: found.rto_target_ms,
            kept: regions.iter().all(|promise| promise.kept),
            regions,
            assumed: found.assumed,
            as_of,
        })
    }
}

fn shown(promise: &RegionPromise) -> ApiPromise {
    let step = |step: &dwcp_decide::Step| PromiseStep {
        step: step.name.to_owned(),
        at_most_ms: step.ms,
        from: step.from.clone(),
    };
    ApiPromise {
        region: promise.region.as_str().to_owned(),
        vms: promise.vms as u64,
        rto_ms: promise.rto_ms,
        steps: promise.steps.iter().map(step).collect(),
        rpo_ms: promise.rpo_ms,
        disk_rpo_ms: promise.disk_rpo_ms,
        unprotected: promise.unprotected as u64,
        kept: promise.broken.is_empty(),
        broken: promise.broken.clone(),
        helps: promise.helps.clone(),
        boot_ms: promise.boot.ms,
        boots_measured: promise.boot.measured as u64,
    }
}

//! The federation as a whole.

use dwcp_api::Problem;
use dwcp_api::federation::{FederationRead, FederationReadRequest, FederationStatus, Quantiles, Totals};
use dwcp_api::region::{HealthState, RegionSummary};
use dwcp_roles::node::Times;
use dwcp_state::FEDERATION_GROUP;

use super::call::Call;
use super::outlook::Lately;
use super::routes::Serve;
use super::{freeze, matrices, names, regions, sla, survivability};
use crate::handle::View;

impl Serve for FederationRead {
    async fn answer(call: &Call, _: FederationReadRequest) -> Result<FederationStatus, Problem> {
        let name = call.api.federation.clone();
        let lately = call.api.outlook.lately();
        let glances = call.api.monitor().glances.clone();
        let status = call
            .look(move |view| FederationStatus {
                open_incidents: Some(glances.open(view)),
                ..status(view, name, &lately)
            })
            .await?;
        // What a later version wrote is not known here; everything else is.
        let sla_percent = sla::compliance(call).await.unwrap_or(None);
        Ok(FederationStatus { sla_percent, ..status })
    }
}

fn status(view: &View<'_>, name: String, lately: &Lately) -> FederationStatus {
    let core = &view.node.facts().core;
    let regions = regions::summaries(view, lately);
    FederationStatus {
        federation: if core.name.is_empty() { name } else { core.name.clone() },
        answered_by: view.node.config().region.as_str().to_owned(),
        totals: totals(&regions),
        regions,
        placement: placement(view),
        state_sync: state_sync(view),
        routing: routing(view),
        sla_percent: None,
        open_incidents: None,
        freeze: freeze::shown(core.freeze),
        survivability: survivability::worst(lately),
        leader: names::leader(view, FEDERATION_GROUP),
        as_of: names::as_of(view),
    }
}

fn totals(regions: &[RegionSummary]) -> Totals {
    let in_state = |state| regions.iter().filter(|region| region.health.state == state).count() as u64;
    Totals {
        regions: regions.len() as u64,
        healthy: in_state(HealthState::Healthy),
        degraded: in_state(HealthState::Degraded),
        unhealthy: in_state(HealthState::Unhealthy),
        unknown: in_state(HealthState::Unknown),
        hosts: regions.iter().map(|region| region.hosts).sum(),
        vms: regions.iter().filter_map(|region| region.vms).sum(),
        vms_unknown_regions: regions.iter().filter(|region| region.vms.is_none()).count() as u64,
    }
}

/// Placement decisions of this region, as its process measured them.
fn placement(view: &View<'_>) -> Quantiles {
    let measures = view.node.own_beat().measures;
    let ms = |us: u64| (us > 0).then(|| us as f64 / 1_000.0);
    Quantiles {
        p50_ms: ms(measures.placement_us.0),
        p95_ms: ms(measures.placement_us.1),
        p99_ms: ms(measures.placement_p99_us),
    }
}

/// Decisions of the slowest router that is heard, as it measured them since its process began.
fn routing(view: &View<'_>) -> Quantiles {
    let routers = view.node.routers();
    let rank = |index: usize| {
        let ns = routers.iter().filter_map(|router| router.decision_ns.get(index)).max();
        ns.map(|ns| *ns as f64 / 1e6)
    };
    Quantiles { p50_ms: rank(0), p95_ms: rank(1), p99_ms: rank(2) }
}

/// From when a home's leader took a command until it was readable in a region, over all groups and regions, as the leaders
/// that are heard measured it.
fn state_sync(view: &View<'_>) -> Quantiles {
    let mut all = Times::default();
    matrices::sync_readings(view).iter().for_each(|reading| all.add(&reading.times));
    let rank = |percent| all.quantile_us(percent).map(|us| us as f64 / 1_000.0);
    Quantiles { p50_ms: rank(50), p95_ms: rank(95), p99_ms: rank(99) }
}

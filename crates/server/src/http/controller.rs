//! How the controllers decide, and how their cache does.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::controller::{
    CacheStats, CacheStatsAnswer, CacheStatsRead, Controller, ControllerConfigure,
    ControllerConfigureRequest, ControllerRead,
};
use dwcp_api::page::Nothing;
use dwcp_state::{Policy, Weights};

use super::call::{Call, bad_value};
use super::routes::Serve;
use super::{names, policies};
use crate::handle::View;

/// Longest life of a kept table, ms.
const LONGEST_TTL_MS: u64 = 3_600_000;

fn show(view: &View<'_>, policy: &Policy) -> Controller {
    Controller {
        placement_cache_ttl_ms: policy.placement_cache_ttl_ms,
        parallel_scoring: policy.parallel_scoring,
        profile: policies::profile_name(policy.profile),
        weights: policies::weights_by_name(policy.profile.weights(policy.weights)),
        revision: view.node.facts().core.policy_revision.0,
        as_of: names::as_of_federation(view),
    }
}

fn weigh(mut weights: Weights, given: &BTreeMap<String, u32>) -> Result<Weights, Problem> {
    for (name, weight) in given {
        if *weight > 1_000 {
            return Err(bad_value("weights", format!("{name}: {weight} is not from 0 to 1000")));
        }
        let place = match name.as_str() {
            "latency" => &mut weights.latency,
            "cost" => &mut weights.cost,
            "capacity" => &mut weights.capacity,
            "health" => &mut weights.health,
            "priority" => &mut weights.priority,
            _ => {
                return Err(bad_value(
                    "weights",
                    format!("'{name}' is not latency, cost, capacity, health or priority"),
                ));
            }
        };
        *place = *weight;
    }
    Ok(weights)
}

fn changed(before: &Policy, request: &ControllerConfigureRequest) -> Result<Policy, Problem> {
    let mut policy = before.clone();
    if let Some(ttl_ms) = request.placement_cache_ttl_ms {
        if ttl_ms > LONGEST_TTL_MS {
            return Err(bad_value("placement_cache_ttl_ms", format!("0 to {LONGEST_TTL_MS}")));
        }
        policy.placement_cache_ttl_ms = ttl_ms;
    }
    policy.parallel_scoring = request.parallel_scoring.unwrap_or(policy.parallel_scoring);
    if let Some(name) = &request.profile {
        policy.profile = policies::profile("profile", name)?;
    }
    policy.weights = weigh(policy.weights, &request.weights)?;
    if policy.profile == dwcp_state::Profile::Custom && policy.weights == weigh_nothing(policy.weights) {
        return Err(bad_value("weights", "at least one weight is above 0"));
    }
    Ok(policy)
}

fn weigh_nothing(weights: Weights) -> Weights {
    Weights { latency: 0, cost: 0, capacity: 0, health: 0, priority: 0, pack: weights.pack }
}

impl Serve for ControllerRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Controller, Problem> {
        call.look(|view| show(view, &view.node.facts().core.policy)).await
    }
}

impl Serve for ControllerConfigure {
    async fn answer(call: &Call, request: ControllerConfigureRequest) -> Result<Controller, Problem> {
        let expected = request.expected_revision;
        let before = policies::before(call, expected, request.dry_run).await?;
        let policy = changed(&before, &request)?;
        if !request.dry_run {
            policies::set(call, policy.clone(), &before, expected).await?;
        }
        call.look(move |view| show(view, &policy)).await
    }
}

impl Serve for CacheStatsRead {
    /// Only this region's cache: each node keeps its own, and no other is asked for it.
    async fn answer(call: &Call, _: Nothing) -> Result<CacheStatsAnswer, Problem> {
        call.look(|view| {
            let stats = view.node.index().stats();
            let uptime_ms = view.now.mono.ms_since(view.node.started());
            CacheStatsAnswer {
                caches: vec![CacheStats {
                    region: view.node.config().region.as_str().to_owned(),
                    entries: stats.entries,
                    hits: stats.hits,
                    misses: stats.misses,
                    invalidations: stats.invalidations,
                    expirations: stats.expirations,
                    since_at_ms: view.now.wall.0.saturating_sub(uptime_ms),
                }],
                as_of: names::as_of_federation(view),
            }
        })
        .await
    }
}

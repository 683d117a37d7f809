//! How routers decide: read and set.

use dwcp_api::Problem;
use dwcp_api::routing::{
    Routing, RoutingConfigure, RoutingConfigureRequest, RoutingConfigured, RoutingRead, RoutingReadRequest,
};
use dwcp_decide::route::{Algorithm, RoutingPolicy};
use dwcp_state::DocumentKind;

use super::super::call::{Call, bad_value, not_offered};
use super::super::names;
use super::super::policy_document::{self, ID, Policy};
use super::super::routes::Serve;
use crate::monitor::documents::Documents;

impl Policy for RoutingPolicy {
    const KIND: DocumentKind = DocumentKind::Routing;
    const SUBJECT: &'static str = "routing";
    const SAID: &'static str = "routers decide anew";

    fn named(&self) -> Vec<(&'static str, String)> {
        let on = |on: bool| if on { "on" } else { "off" }.to_owned();
        let (weights, spill) = (&self.weights, &self.spill);
        vec![
            ("algorithm", algorithm(self.algorithm).to_owned()),
            ("latency_weight", weights.latency.to_string()),
            ("cost_weight", weights.cost.to_string()),
            ("load_weight", weights.load.to_string()),
            ("distance_weight", weights.distance.to_string()),
            ("health_weight", weights.health.to_string()),
            (
                "spill_percent",
                format!("critical {}, standard {}, bulk {}", spill.critical, spill.standard, spill.bulk),
            ),
            ("least_health", self.least_health.to_string()),
            ("doubt_below_percent", self.doubt_below_percent.to_string()),
            ("endpoint_capacity", self.endpoint_capacity.to_string()),
            ("cache", on(self.cache)),
            ("cache_ttl_ms", self.cache_ttl_ms.to_string()),
            ("dns_ttl_s", self.dns_ttl_s.to_string()),
            (
                "dscp",
                format!(
                    "critical {}, standard {}, bulk {}",
                    self.dscp.critical, self.dscp.standard, self.dscp.bulk
                ),
            ),
            (
                "share_percent",
                format!(
                    "critical {}, standard {}, bulk {}",
                    self.shares.critical, self.shares.standard, self.shares.bulk
                ),
            ),
            ("dpdk", on(self.dpdk)),
            ("dpdk_cores", self.dpdk_cores.clone()),
        ]
    }
}

fn algorithm(of: Algorithm) -> &'static str {
    match of {
        Algorithm::Latency => "latency",
        Algorithm::Cost => "cost",
        Algorithm::LoadBalanced => "load_balanced",
        Algorithm::GeoProximity => "geo_proximity",
        Algorithm::Hybrid => "hybrid",
    }
}

fn algorithm_of(text: &str) -> Result<Algorithm, Problem> {
    use Algorithm::{Cost, GeoProximity, Hybrid, Latency, LoadBalanced};
    let all = [Latency, Cost, LoadBalanced, GeoProximity, Hybrid];
    let known = all.into_iter().find(|one| algorithm(*one) == text);
    known.ok_or_else(|| {
        bad_value("algorithm", "one of latency, cost, load_balanced, geo_proximity and hybrid")
    })
}

/// What is asked for, on top of what is there.
fn changed(policy: &RoutingPolicy, asked: &RoutingConfigureRequest) -> Result<RoutingPolicy, Problem> {
    let mut next = policy.clone();
    if let Some(text) = &asked.algorithm {
        next.algorithm = algorithm_of(text)?;
    }
    let weights = &mut next.weights;
    for (to, given) in [
        (&mut weights.latency, asked.latency_weight),
        (&mut weights.cost, asked.cost_weight),
        (&mut weights.load, asked.load_weight),
        (&mut weights.distance, asked.distance_weight),
        (&mut weights.health, asked.health_weight),
        (&mut next.doubt_below_percent, asked.doubt_below_percent),
        (&mut next.endpoint_capacity, asked.endpoint_capacity),
        (&mut next.dns_ttl_s, asked.dns_ttl_s),
        (&mut next.shares.critical, asked.critical_share),
        (&mut next.shares.standard, asked.standard_share),
        (&mut next.shares.bulk, asked.bulk_share),
    ] {
        *to = given.unwrap_or(*to);
    }
    for (to, given) in [
        (&mut next.dscp.critical, asked.critical_dscp),
        (&mut next.dscp.standard, asked.standard_dscp),
        (&mut next.dscp.bulk, asked.bulk_dscp),
    ] {
        *to = given.unwrap_or(*to);
    }
    next.least_health = asked.least_health.unwrap_or(next.least_health);
    next.cache = asked.cache_enabled.unwrap_or(next.cache);
    next.cache_ttl_ms = asked.cache_ttl_ms.unwrap_or(next.cache_ttl_ms);
    next.dpdk = asked.dpdk_enabled.unwrap_or(next.dpdk);
    if let Some(cores) = &asked.dpdk_cores {
        next.dpdk_cores.clone_from(cores);
    }
    next.check().map_err(|why| bad_value("the policy", why))?;
    Ok(next)
}

impl Serve for RoutingRead {
    async fn answer(call: &Call, _: RoutingReadRequest) -> Result<Routing, Problem> {
        call.look(|view| {
            let seen = Documents::of(view, &[DocumentKind::Routing]);
            let (policy, complaints) = policy_document::in_force::<RoutingPolicy>(&seen);
            let raw = seen.raw(DocumentKind::Routing, ID);
            Routing {
                settings: policy_document::shown(&policy),
                revision: raw.map_or(0, |raw| raw.revision.0),
                by: raw.map_or(String::new(), |raw| raw.by.clone()),
                at_ms: raw.map_or(0, |raw| raw.at.0),
                complaints,
                as_of: names::as_of_federation(view),
            }
        })
        .await
    }
}

impl Serve for RoutingConfigure {
    async fn answer(call: &Call, request: RoutingConfigureRequest) -> Result<RoutingConfigured, Problem> {
        if request.dpdk_enabled == Some(true) {
            dpdk_is_somewhere(call).await?;
        }
        let how = (request.reason.as_deref(), request.dry_run);
        let done = policy_document::configure(call, how, |policy| changed(policy, &request)).await?;
        let notes = notes(&done.policy);
        Ok(RoutingConfigured { changed: done.changed, settings: done.settings, notes })
    }
}

/// Some router can filter by DPDK.
async fn dpdk_is_somewhere(call: &Call) -> Result<(), Problem> {
    let can = call.look(|view| view.node.routers().iter().any(|router| router.dpdk)).await?;
    if can {
        return Ok(());
    }
    let why = "no router has the program dwcp-dpdk and devices for it (`dpdk:` in its router.yaml); packets go through the kernel";
    Err(not_offered("dpdk_enabled", why, Some("dwcp-cli routing configure --enable-dpdk false")))
}

fn notes(policy: &RoutingPolicy) -> Vec<String> {
    let mut notes = Vec::new();
    if policy.cache {
        notes.push(format!(
            "a network that asks by DNS is told the region that it was told before for {} ms, as long as that is well",
            policy.cache_ttl_ms
        ));
    }
    if policy.dpdk {
        notes.push("routers without devices for DPDK leave packets to the kernel; `routing routers` says what is wrong with one that has some".to_owned());
    }
    notes
}

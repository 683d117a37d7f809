//! How routers decide: read and set.

use dwcp_api::Problem;
use dwcp_api::routing::{
    Named, Routing, RoutingConfigure, RoutingConfigureRequest, RoutingConfigured, RoutingRead,
    RoutingReadRequest,
};
use dwcp_api::site::Setting;
use dwcp_decide::route::{Algorithm, RoutingPolicy};
use dwcp_state::{DocumentEvent, DocumentKind, Severity};

use super::super::call::{Call, bad_value, not_offered, reason, told};
use super::super::names;
use super::super::routes::Serve;
use crate::monitor::documents::{self, Documents};

const KINDS: &[DocumentKind] = &[DocumentKind::Routing];
/// The one document of its kind.
pub const ID: &str = "policy";

/// A policy as names and values, for people.
fn named(policy: &RoutingPolicy) -> Vec<(&'static str, String)> {
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    let (weights, spill) = (&policy.weights, &policy.spill);
    vec![
        ("algorithm", algorithm(policy.algorithm).to_owned()),
        ("latency_weight", weights.latency.to_string()),
        ("cost_weight", weights.cost.to_string()),
        ("load_weight", weights.load.to_string()),
        ("distance_weight", weights.distance.to_string()),
        ("health_weight", weights.health.to_string()),
        (
            "spill_percent",
            format!("critical {}, standard {}, bulk {}", spill.critical, spill.standard, spill.bulk),
        ),
        ("least_health", policy.least_health.to_string()),
        ("doubt_below_percent", policy.doubt_below_percent.to_string()),
        ("endpoint_capacity", policy.endpoint_capacity.to_string()),
        ("cache", on(policy.cache)),
        ("cache_ttl_ms", policy.cache_ttl_ms.to_string()),
        ("dns_ttl_s", policy.dns_ttl_s.to_string()),
        ("dpdk", on(policy.dpdk)),
        ("dpdk_cores", policy.dpdk_cores.clone()),
    ]
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
    ] {
        *to = given.unwrap_or(*to);
    }
    next.least_health = asked.least_health.unwrap_or(next.least_health);
    next.cache = asked.cache_enabled.unwrap_or(next.cache);
    next.cache_ttl_ms = asked.cache_ttl_ms.unwrap_or(next.cache_ttl_ms);
    if asked.dpdk_enabled == Some(true) {
        let why = "no router is built with the DPDK data path; packets go through the kernel";
        return Err(not_offered("dpdk_enabled", why, Some("dwcp-cli routing configure --enable-dpdk false")));
    }
    next.dpdk = asked.dpdk_enabled.unwrap_or(next.dpdk);
    if let Some(cores) = &asked.dpdk_cores {
        next.dpdk_cores.clone_from(cores);
    }
    next.check().map_err(|why| bad_value("the policy", why))?;
    Ok(next)
}

/// The policy in force; one that a later version wrote is told, and the usual one counts.
pub fn policy(seen: &Documents) -> (RoutingPolicy, Vec<String>) {
    match seen.get::<RoutingPolicy>(DocumentKind::Routing, ID) {
        Ok(policy) => (policy.unwrap_or_default(), Vec::new()),
        Err(refusal) => (RoutingPolicy::default(), vec![refusal.to_string()]),
    }
}

impl Serve for RoutingRead {
    async fn answer(call: &Call, _: RoutingReadRequest) -> Result<Routing, Problem> {
        call.look(|view| {
            let seen = Documents::of(view, KINDS);
            let (policy, complaints) = policy(&seen);
            let raw = seen.raw(DocumentKind::Routing, ID);
            let settings = named(&policy).into_iter();
            Routing {
                settings: settings.map(|(name, value)| Named { name: name.to_owned(), value }).collect(),
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
        let because = reason(request.reason.as_deref())?;
        let seen = call.look(|view| Documents::of(view, KINDS)).await?;
        let before: Option<RoutingPolicy> =
            seen.get(DocumentKind::Routing, ID).map_err(|refusal| Problem::from(&refusal))?;
        let before = before.unwrap_or_default();
        let next = changed(&before, &request)?;
        if !request.dry_run && next != before {
            let asked = call.asked_because(because.clone(), None);
            let done = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
                let now: RoutingPolicy = seen.get(DocumentKind::Routing, ID)?.unwrap_or_default();
                // What was refused for what was there is refused for what is there now.
                let next = changed(&now, &request).unwrap_or_else(|_| next.clone());
                draft.put(DocumentKind::Routing, ID, &next)?;
                let differ = named(&now).into_iter().zip(named(&next)).filter(|(a, b)| a != b);
                let said: Vec<String> = differ.map(|(_, (name, value))| format!("{name} {value}")).collect();
                draft.event(DocumentEvent {
                    severity: Severity::Info,
                    kind: "routing.configured".to_owned(),
                    subject: "routing".to_owned(),
                    text: format!("routers decide anew: {}{}", said.join(", "), told(&because)),
                });
                Ok(())
            });
            done.await.map_err(|refusal| Problem::from(&refusal))?;
        }
        let both = named(&before).into_iter().zip(named(&next));
        let settings = both
            .map(|((name, before), (_, after))| Setting { name: name.to_owned(), before, after })
            .collect();
        Ok(RoutingConfigured { changed: next != before, settings, notes: notes(&next) })
    }
}

fn notes(policy: &RoutingPolicy) -> Vec<String> {
    let mut notes = Vec::new();
    if policy.cache {
        notes.push(format!(
            "a network that asks by DNS is told the region that it was told before for {} ms, as long as that is well",
            policy.cache_ttl_ms
        ));
    }
    notes
}

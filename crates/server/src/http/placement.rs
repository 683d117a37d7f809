//! Placement reports as the API shows them.

use dwcp_api::vm::{Candidate, ChosenPlace, PlacementReport, ScoreFactor};
use dwcp_decide::{HostVerdict, PlaceReport, Placement, RegionVerdict};
use dwcp_state::Weights;
use dwcp_types::{HostId, Refusal, RegionId};

use super::names;
use crate::handle::View;

/// The part of an answer that speaks of places.
pub fn report(
    view: &View<'_>,
    vm: &str,
    report: &PlaceReport,
    chosen: Vec<ChosenPlace>,
    refusal: Option<&Refusal>,
    took_us: Option<u64>,
) -> PlacementReport {
    let policy = &view.node.facts().core.policy;
    let weights = policy.profile.weights(policy.weights);
    let mut reasons = Vec::new();
    if let Some(refusal) = refusal {
        reasons.push(refusal.what.clone());
        reasons.extend(refusal.causes.iter().cloned());
        if let Some(change) = &report.smallest_change {
            reasons.push(format!(
                "smallest change: {} ({}), then {} in {}",
                change.change, change.command, change.host, change.region
            ));
        }
    }
    PlacementReport {
        vm: vm.to_owned(),
        candidates: report.regions.iter().flat_map(|verdict| candidates(view, verdict, weights)).collect(),
        chosen,
        reasons,
        took_us,
        as_of: names::as_of(view),
    }
}

/// A place that was chosen.
pub fn chosen(vm: &str, placement: &Placement) -> ChosenPlace {
    ChosenPlace {
        vm: vm.to_owned(),
        region: placement.region.as_str().to_owned(),
        host: placement.host.as_str().to_owned(),
        score: f64::from(placement.score_milli) / 10.0,
    }
}

fn candidates(view: &View<'_>, verdict: &RegionVerdict, weights: Weights) -> Vec<Candidate> {
    let mut whole = Candidate {
        region: verdict.region.as_str().to_owned(),
        zone: None,
        host: None,
        score: verdict.excluded.is_none().then(|| f64::from(verdict.score_milli) / 10.0),
        factors: factors(verdict, weights),
        ruled_out: Vec::new(),
    };
    if let Some(reason) = &verdict.excluded {
        whole.ruled_out.push(reason.text.clone());
        for (kind, count) in &verdict.hosts_excluded {
            whole.ruled_out.push(format!("{count} hosts: {}", kind.words()));
        }
    }
    if verdict.hosts.is_empty() {
        return vec![whole];
    }
    let mut all: Vec<Candidate> = Vec::new();
    if verdict.excluded.is_some() {
        all.push(whole.clone());
    }
    for host in &verdict.hosts {
        all.push(Candidate {
            zone: zone(view, &verdict.region, &host.host),
            host: Some(host.host.as_str().to_owned()),
            score: (host.excluded.is_none() && verdict.excluded.is_none())
                .then_some(f64::from(host.score_milli) / 10.0),
            ruled_out: host.excluded.iter().map(|reason| reason.text.clone()).collect(),
            factors: of_host(host).into_iter().chain(whole.factors.clone()).collect(),
            ..whole.clone()
        });
    }
    all
}

/// What a host's own score was computed from. Its weight is 0: the region is chosen first, by the others.
fn of_host(host: &HostVerdict) -> Option<ScoreFactor> {
    let [vcpus, memory, disk] = host.left_percent?;
    let idle = if host.idle { "; nothing is placed there yet" } else { "" };
    Some(ScoreFactor {
        name: "host".to_owned(),
        value: f64::from(host.score_milli) / 1_000.0,
        weight: 0.0,
        from: format!(
            "{vcpus} % of its vCPUs, {memory} % of its memory, {disk} % of its disk stay free{idle}"
        ),
    })
}

fn zone(view: &View<'_>, region: &RegionId, host: &HostId) -> Option<String> {
    let host = view.node.facts().regions.get(region)?.hosts.get(host)?;
    Some(host.facts.zone.as_str().to_owned())
}

fn factors(verdict: &RegionVerdict, weights: Weights) -> Vec<ScoreFactor> {
    let parts = verdict.parts;
    let factor = |name: &str, value: u32, weight: u32, from: String| ScoreFactor {
        name: name.to_owned(),
        value: f64::from(value) / 1_000.0,
        weight: f64::from(weight) / 100.0,
        from,
    };
    let rtt = verdict.rtt_ms.map_or("round trip not known".to_owned(), |ms| format!("round trip {ms} ms"));
    let cost = format!("{:.2} US dollars a month", verdict.monthly_cost_millis as f64 / 1_000.0);
    let capacity = if weights.pack { "how full it is" } else { "what stays free" };
    vec![
        factor("latency", parts.latency, weights.latency, rtt),
        factor("cost", parts.cost, weights.cost, cost),
        factor("capacity", parts.capacity, weights.capacity, capacity.to_owned()),
        factor("health", parts.health, weights.health, format!("health score {}", parts.health / 10)),
        factor(
            "priority",
            parts.priority,
            weights.priority,
            format!("region priority {}", parts.priority / 10),
        ),
    ]
}

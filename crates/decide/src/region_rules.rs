//! Which regions a VM may live in at all.

use dwcp_state::{Lifecycle, Region, Standing, Vm};

use crate::place::Ask;
use crate::relations::Bounds;
use crate::seen::Seen;
use crate::{Measured, Reason, ReasonKind};

/// Below this health score nothing new is placed.
pub(crate) const UNHEALTHY_BELOW: u8 = 60;

/// The first rule that excludes a region, if one does.
pub(crate) fn excluded(
    measured: &Measured,
    bounds: &Bounds,
    ask: &Ask<'_>,
    region: &Region,
    seen: &Seen<'_>,
) -> Option<Reason> {
    not_asked(ask, region)
        .or_else(|| closed(ask, region, seen))
        .or_else(|| full(ask, region, seen))
        .or_else(|| ends(ask, region, seen))
        .or_else(|| unhealthy(ask, seen))
        .or_else(|| by_rules(ask.vm, region))
        .or_else(|| too_far(measured, ask.vm, region))
        .or_else(|| too_dear(ask, region))
        .or_else(|| bounds.excludes_region(&region.id))
}

fn not_asked(ask: &Ask<'_>, region: &Region) -> Option<Reason> {
    let asked = ask.only_regions.is_none_or(|only| only.contains(&region.id));
    if asked && !ask.exclude_regions.contains(&region.id) {
        return None;
    }
    Some(Reason::new(ReasonKind::NotAsked, "the request leaves it out"))
}

fn closed(ask: &Ask<'_>, region: &Region, seen: &Seen<'_>) -> Option<Reason> {
    let opened = ask.opened == Some(&region.id);
    let text = if opened && region.lifecycle != Lifecycle::Leaving {
        return not_ready(seen);
    } else if region.standing == Standing::Lost {
        "it is lost".to_string()
    } else if region.standing == Standing::Returned {
        "it came back from a loss and nobody has enabled it".to_string()
    } else if region.lifecycle == Lifecycle::Disabled {
        "it is disabled".to_string()
    } else if region.lifecycle == Lifecycle::Joining {
        "it is joining and nobody has enabled it yet".to_string()
    } else if region.lifecycle == Lifecycle::Leaving {
        "it leaves the federation".to_string()
    } else if !region.placement {
        format!("placement is off, by {}", region.placement_by)
    } else {
        return not_ready(seen);
    };
    Some(Reason::new(ReasonKind::Closed, text))
}

fn not_ready(seen: &Seen<'_>) -> Option<Reason> {
    let text = match seen.facts {
        None => "its facts are not known here yet",
        Some(facts) if facts.evacuation.is_some() => "it is being evacuated",
        Some(_) => return None,
    };
    Some(Reason::new(ReasonKind::Closed, text))
}

/// True when the VM lives in the region.
fn is_there(ask: &Ask<'_>, seen: &Seen<'_>) -> bool {
    seen.facts.is_some_and(|facts| facts.vms.contains_key(&ask.vm.id))
}

/// It holds as many VMs as it is to hold. What a lost region's VMs need is more than a plan.
fn full(ask: &Ask<'_>, region: &Region, seen: &Seen<'_>) -> Option<Reason> {
    let most = region.site.vms_most;
    let vms = seen.facts.map_or(0, |facts| facts.vms.len() as u64);
    if most == 0 || vms < most || ask.for_failover || is_there(ask, seen) {
        return None;
    }
    let text = format!("it has {vms} VMs; it is configured to hold at most {most}");
    Some(Reason::new(ReasonKind::Capacity, text))
}

/// It is to end while the VM is still there, and the VM could go nowhere else.
fn ends(ask: &Ask<'_>, region: &Region, seen: &Seen<'_>) -> Option<Reason> {
    let end = region.decommission.as_ref()?;
    let rules = &ask.vm.rules;
    let only_here = rules.allowed_regions.len() == 1 && rules.allowed_regions.contains(&region.id);
    let over_by_then = ask.vm.expires_at.0 > 0 && ask.vm.expires_at <= end.at;
    if !only_here || over_by_then || ask.for_failover || is_there(ask, seen) {
        return None;
    }
    let text =
        format!("it is to be decommissioned at {}, and the VM may be in no other region", end.at.utc());
    Some(Reason::new(ReasonKind::RegionRule, text))
}

fn unhealthy(ask: &Ask<'_>, seen: &Seen<'_>) -> Option<Reason> {
    // A sick region is still better than a dead one.
    let score = seen.health.filter(|score| *score < UNHEALTHY_BELOW)?;
    if ask.for_failover {
        return None;
    }
    let text = format!("its health score is {score}; new VMs need {UNHEALTHY_BELOW}");
    Some(Reason::new(ReasonKind::Unhealthy, text))
}

pub(crate) fn by_rules(vm: &Vm, region: &Region) -> Option<Reason> {
    let rules = &vm.rules;
    if !rules.allowed_regions.is_empty() && !rules.allowed_regions.contains(&region.id) {
        return Some(Reason::new(ReasonKind::RegionRule, "it is not among the allowed regions"));
    }
    if rules.denied_regions.contains(&region.id) {
        return Some(Reason::new(ReasonKind::RegionRule, "it is among the denied regions"));
    }
    if let Some(tag) = rules.compliance.iter().find(|tag| !region.compliance.contains(*tag)) {
        return Some(Reason::new(ReasonKind::Compliance, format!("it does not carry the tag {tag}")));
    }
    if !rules.residency.is_empty() && !rules.residency.contains(&region.jurisdiction) {
        let allowed = rules.residency.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!("it is under {:?}; data may be in {allowed}", region.jurisdiction);
        return Some(Reason::new(ReasonKind::Residency, text));
    }
    None
}

fn too_far(measured: &Measured, vm: &Vm, region: &Region) -> Option<Reason> {
    for (users, limit_ms) in &vm.rules.max_latency {
        let text = match measured.rtt(users, &region.id) {
            Some(rtt_ms) if rtt_ms <= *limit_ms => continue,
            Some(rtt_ms) => format!("{users} is {rtt_ms} ms away; at most {limit_ms} ms are allowed"),
            None => format!("the round trip to {users} is unknown; at most {limit_ms} ms are allowed"),
        };
        return Some(Reason::new(ReasonKind::Latency, text));
    }
    None
}

fn too_dear(ask: &Ask<'_>, region: &Region) -> Option<Reason> {
    // Money never stops recovery.
    let limit = ask.vm.rules.cost_limit_millis.filter(|_| !ask.for_failover)?;
    let cost = region.monthly_cost_millis(ask.vm.spec.size);
    let text = format!("it costs {} a month; at most {} are allowed", dollars(cost), dollars(limit));
    (cost > limit).then(|| Reason::new(ReasonKind::Cost, text))
}

pub(crate) fn dollars(millis: u64) -> String {
    format!("{}.{:02} USD", millis / 1_000, millis % 1_000 / 10)
}

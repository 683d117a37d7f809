//! Chooses where the copy of a VM's disk is kept.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use dwcp_state::{Federation, Host, HostStanding, ProtectionMode, Region, RegionFacts, Scope, Vm};
use dwcp_types::{Amount, Code, HostId, Refusal, RegionId};

use crate::Measured;
use crate::region_rules::{UNHEALTHY_BELOW, by_rules};

/// A place for a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaPlace {
    /// The region.
    pub region: RegionId,
    /// Its host with the most room.
    pub host: HostId,
    /// Round trip to it, in milliseconds; none: not known.
    pub rtt_ms: Option<u64>,
    /// Why there, with numbers.
    pub reason: String,
}

/// What was found about a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaVerdict {
    /// Which.
    pub region: RegionId,
    /// Why it can't keep the copy; none when it can.
    pub excluded: Option<String>,
    /// The host that would keep it.
    pub host: Option<HostId>,
    /// Round trip, in milliseconds.
    pub rtt_ms: Option<u64>,
}

/// Chooses a region and a host for the copy of the disk of a VM that lives in `from`: the nearest region in which the VM may
/// live too, since that is where it starts when its own is lost; there, the host with the most free disk among those that
/// its rules allow. `avoid` are regions that refused a moment ago. Of VMs that must be apart by region, no copy is kept where
/// the other or its copy is.
///
/// # Errors
/// No region will do: every region with its reason.
pub fn place_replica(
    view: &Federation,
    measured: &Measured,
    vm: &Vm,
    from: &RegionId,
    avoid: &BTreeSet<RegionId>,
) -> (Result<ReplicaPlace, Refusal>, Vec<ReplicaVerdict>) {
    let apart = regions_apart(view, vm);
    let mut verdicts: Vec<ReplicaVerdict> = view
        .core
        .regions
        .values()
        .map(|region| {
            let rtt_ms = measured.rtt(from, &region.id);
            let found = if avoid.contains(&region.id) {
                Err("it refused to keep it a moment ago".to_string())
            } else {
                judge(view, measured, vm, from, region, &apart)
            };
            let (excluded, host) = match found {
                Ok(host) => (None, Some(host)),
                Err(reason) => (Some(reason), None),
            };
            ReplicaVerdict { region: region.id.clone(), excluded, host, rtt_ms }
        })
        .collect();
    // What is not measured is far.
    verdicts.sort_by_key(|verdict| {
        let priority = view.core.regions.get(&verdict.region).map_or(0, |region| region.priority);
        (
            verdict.excluded.is_some(),
            verdict.rtt_ms.unwrap_or(u64::MAX),
            Reverse(priority),
            verdict.region.clone(),
        )
    });
    let place = match verdicts.first() {
        Some(ReplicaVerdict { region, host: Some(host), rtt_ms, .. }) => Ok(ReplicaPlace {
            region: region.clone(),
            host: host.clone(),
            rtt_ms: *rtt_ms,
            reason: reason(vm, *rtt_ms, verdicts.iter().filter(|verdict| verdict.excluded.is_none()).count()),
        }),
        _ => Err(refusal(vm, &verdicts)),
    };
    (place, verdicts)
}

fn reason(vm: &Vm, rtt_ms: Option<u64>, possible: usize) -> String {
    let far = rtt_ms.map_or("its distance is not measured yet".to_string(), |ms| format!("{ms} ms away"));
    let cost = match (vm.protection.mode, rtt_ms) {
        (ProtectionMode::Sync, Some(ms)) => format!("; every write takes at least {ms} ms"),
        _ => String::new(),
    };
    format!("the nearest of {possible} regions that may keep it, {far}{cost}")
}

fn refusal(vm: &Vm, verdicts: &[ReplicaVerdict]) -> Refusal {
    let what = format!("no region can keep a copy of {}'s disk", vm.name);
    let mut refusal = Refusal::new(Code::NothingFits, what);
    for verdict in verdicts {
        if let Some(reason) = &verdict.excluded {
            refusal = refusal.because(format!("{}: {reason}", verdict.region));
        }
    }
    refusal.then("it is looked for again by itself").try_this(format!("dwcp-cli vm show {}", vm.name))
}

fn judge(
    view: &Federation,
    measured: &Measured,
    vm: &Vm,
    from: &RegionId,
    region: &Region,
    apart: &BTreeSet<RegionId>,
) -> Result<HostId, String> {
    if region.id == *from {
        return Err("the VM lives there".to_string());
    }
    // A VM that came to the region that was asked for is protected elsewhere.
    if vm.protection.region.as_ref().is_some_and(|wanted| *wanted != region.id && *wanted != *from) {
        return Err("the VM's protection asks for another region".to_string());
    }
    if !region.takes_placements() {
        return Err("it takes no placements".to_string());
    }
    if let Some(reason) = by_rules(vm, region) {
        return Err(reason.text);
    }
    if let Some(score) = measured.health_of(&region.id).filter(|score| *score < UNHEALTHY_BELOW) {
        return Err(format!("its health score is {score}; a copy needs {UNHEALTHY_BELOW}"));
    }
    for (users, limit_ms) in &vm.rules.max_latency {
        match measured.rtt(users, &region.id) {
            Some(rtt_ms) if rtt_ms <= *limit_ms => {}
            Some(rtt_ms) => {
                return Err(format!("{users} is {rtt_ms} ms away; at most {limit_ms} ms are allowed"));
            }
            None => return Err(format!("the round trip to {users} is unknown")),
        }
    }
    if apart.contains(&region.id) {
        return Err("a VM that this one must be apart from, or its copy, is there".to_string());
    }
    let facts = view.regions.get(&region.id).filter(|facts| facts.evacuation.is_none());
    let facts = facts.ok_or("its facts are not known here yet, or it is being evacuated")?;
    replica_host(facts, vm)
}

/// The host of a region that keeps the copy of a VM's disk: of those that its rules allow, the one with the most free disk.
///
/// # Errors
/// None has the room; says how much there is.
pub fn replica_host(facts: &RegionFacts, vm: &Vm) -> Result<HostId, String> {
    let (cpu, memory) = facts.limits();
    let need = Amount { disk_gib: vm.spec.size.disk_gib, ..Amount::default() };
    let mut best: Option<(u64, &HostId)> = None;
    let (mut allowed, mut most_gib) = (0, 0);
    for (id, host) in facts.hosts.iter().filter(|(_, host)| may_keep(host, vm)) {
        allowed += 1;
        let room = host.room(cpu, memory);
        let free = room.minus(host.used);
        most_gib = most_gib.max(free.disk_gib);
        // A host that could never run the VM is no place to start it from.
        if need.fits(free) && vm.spec.size.fits(room) && best.is_none_or(|(most, _)| free.disk_gib > most) {
            best = Some((free.disk_gib, id));
        }
    }
    let none = || {
        format!(
            "it needs {} GiB; {allowed} hosts may keep it, with {most_gib} GiB free at most",
            need.disk_gib
        )
    };
    best.map(|(_, id)| id.clone()).ok_or_else(none)
}

fn may_keep(host: &Host, vm: &Vm) -> bool {
    let rules = &vm.rules;
    let labels = || rules.host_labels.iter().all(|(key, value)| host.facts.labels.get(key) == Some(value));
    host.standing == HostStanding::Up
        && host.placement
        && (rules.zones.is_empty() || rules.zones.contains(host.facts.zone.as_str()))
        && (rules.hosts.is_empty() || rules.hosts.contains(&host.facts.id))
        && !rules.denied_hosts.contains(&host.facts.id)
        && labels()
}

/// Regions in which VMs live that this one must be apart from by region, and those of their copies.
fn regions_apart(view: &Federation, vm: &Vm) -> BTreeSet<RegionId> {
    let mut apart = BTreeSet::new();
    for (region, facts) in &view.regions {
        let related = facts.relatives(vm).into_iter().filter(|other| other.id != vm.id);
        for other in related {
            let must = |a: &Vm, b: &Vm| {
                a.rules.anti_affinity.iter().any(|of| of.scope == Scope::Region && b.is_named_by(&of.target))
            };
            if must(vm, other) || must(other, vm) {
                apart.insert(region.clone());
                apart.extend(other.protection.guard.region.clone());
            }
        }
    }
    apart
}

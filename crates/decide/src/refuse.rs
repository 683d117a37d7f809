//! The refusal when nothing fits: counts, numbers, and what would help.

use std::collections::BTreeMap;

use dwcp_types::{Amount, Code, HostId, Refusal, RegionId};

use crate::index::RowState;
use crate::place::Inputs;
use crate::report::{PlaceReport, ReasonKind};
use crate::search::amount_text;
use crate::{PlaceRequest, place::counts_text};

/// Causes kept a refusal, so that a federation of a hundred regions stays readable.
const CAUSES: usize = 8;

pub(crate) fn nothing_fits(inputs: Inputs<'_>, request: &PlaceRequest, report: &PlaceReport) -> Refusal {
    let vm = &request.vm;
    let mut refusal = Refusal::new(Code::NothingFits, format!("{} fits nowhere", vm.name));
    if let Some(text) = too_large_anywhere(inputs, vm.spec.size) {
        refusal = refusal.because(text);
    }
    let mut by_kind: BTreeMap<ReasonKind, Vec<(&RegionId, &str)>> = BTreeMap::new();
    let mut hosts: BTreeMap<ReasonKind, u32> = BTreeMap::new();
    for verdict in &report.regions {
        if let Some(reason) = &verdict.excluded {
            by_kind.entry(reason.kind).or_default().push((&verdict.region, &reason.text));
        }
        for (kind, count) in &verdict.hosts_excluded {
            *hosts.entry(*kind).or_default() += count;
        }
    }
    for (kind, regions) in by_kind.iter().filter(|(kind, _)| **kind != ReasonKind::NoHost).take(CAUSES) {
        let (region, text) = regions[0];
        refusal = refusal.because(match regions.len() {
            1 => format!("{region}: {text}"),
            more => format!("{more} regions: {} ({region}: {text})", kind.words()),
        });
    }
    if !hosts.is_empty() {
        refusal = refusal.because(counts_text(&hosts));
    }
    if hosts.contains_key(&ReasonKind::Capacity) {
        if let Some((region, host, free)) = most_free(inputs, request, report) {
            refusal = refusal.because(format!(
                "it needs {}; the most that is free is {} on {host} in {region}",
                amount_text(vm.spec.size),
                amount_text(free)
            ));
        }
    }
    match &report.smallest_change {
        Some(change) => refusal
            .because(format!("this alone would make it fit: {}", change.change))
            .try_this(change.command.clone()),
        None => refusal.because("no single change would make it fit"),
    }
}

/// Said when no host would fit the VM even if it were empty.
fn too_large_anywhere(inputs: Inputs<'_>, need: Amount) -> Option<String> {
    let mut largest: Option<(Amount, &RegionId, &HostId)> = None;
    for (region, facts) in &inputs.view.regions {
        let (cpu, memory) = facts.limits();
        for (id, host) in &facts.hosts {
            let room = host.room(cpu, memory);
            if need.fits(room) {
                return None;
            }
            let key = |room: Amount| (room.memory_mib, room.vcpus, room.disk_gib);
            if largest.is_none_or(|(most, ..)| key(room) > key(most)) {
                largest = Some((room, region, id));
            }
        }
    }
    let (room, region, host) = largest?;
    Some(format!(
        "it needs {}: more than any host has in all; the largest, {host} in {region}, has {}",
        amount_text(need),
        amount_text(room)
    ))
}

/// The open host of a region that is not ruled out that comes closest: the most free in the dimension it lacks most.
pub(crate) fn most_free(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    report: &PlaceReport,
) -> Option<(RegionId, HostId, Amount)> {
    let need = request.vm.spec.size;
    let mut best: Option<(u64, RegionId, HostId, Amount)> = None;
    let possible = |kind: ReasonKind| kind == ReasonKind::NoHost;
    for verdict in report.regions.iter().filter(|v| v.excluded.as_ref().is_none_or(|r| possible(r.kind))) {
        let Some(table) = inputs.index.table(&verdict.region) else { continue };
        let taken: BTreeMap<&HostId, Amount> = inputs.reserved.taken_in(&verdict.region).collect();
        for (row, (host, _)) in table.rows.iter().zip(&table.hosts) {
            if row.state != RowState::Open {
                continue;
            }
            let [vcpus, memory_mib, disk_gib] = row.free;
            let free = Amount { vcpus, memory_mib: memory_mib.into(), disk_gib: disk_gib.into() };
            let free = free.minus(taken.get(host).copied().unwrap_or_default());
            let share = nearness(free, need);
            if best.as_ref().is_none_or(|(most, ..)| share > *most) {
                best = Some((share, verdict.region.clone(), host.clone(), free));
            }
        }
    }
    best.map(|(_, region, host, free)| (region, host, free))
}

/// The least share of any dimension that is there, in millionths.
pub(crate) fn nearness(free: Amount, need: Amount) -> u64 {
    let share = |free: u64, need: u64| {
        if need == 0 { 1_000_000 } else { (free.saturating_mul(1_000_000) / need).min(1_000_000) }
    };
    share(free.vcpus.into(), need.vcpus.into())
        .min(share(free.memory_mib, need.memory_mib))
        .min(share(free.disk_gib, need.disk_gib))
}

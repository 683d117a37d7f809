//! The refusal when nothing fits: counts, numbers, and what would help.

use std::collections::BTreeMap;

use dwcp_types::{Amount, Code, HostId, Refusal, RegionId};

use crate::PlaceRequest;
use crate::index::dims;
use crate::place::{Inputs, counts_text, search_in};
use crate::relations::Bounds;
use crate::report::{PlaceReport, Reason, ReasonKind};
use crate::score::Context;
use crate::search::{Search, amount, amount_text};
use crate::workers::map;

/// Causes kept a refusal, so that a federation of a hundred regions stays readable.
const CAUSES: usize = 8;

/// The host that comes closest to having room: region, host, what it has free.
pub(crate) type Closest = (RegionId, HostId, Amount);

pub(crate) fn nothing_fits(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    report: &PlaceReport,
    closest: Option<&Closest>,
) -> Refusal {
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
    if let Some((region, host, free)) = closest.filter(|_| hosts.contains_key(&ReasonKind::Capacity)) {
        refusal = refusal.because(format!(
            "it needs {}; the most that is free is {} on {host} in {region}",
            amount_text(vm.spec.size),
            amount_text(*free)
        ));
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
    for (region, table) in inputs.index.tables().iter().filter(|(_, table)| !table.rows.is_empty()) {
        let (at, room) = table.largest_if_none_holds(dims(need))?;
        let room = amount(room);
        let key = |room: Amount| (room.memory_mib, room.vcpus, room.disk_gib);
        if largest.is_none_or(|(most, ..)| key(room) > key(most)) {
            largest = Some((room, region, &table.hosts[at].0));
        }
    }
    let (room, region, host) = largest?;
    Some(format!(
        "it needs {}: more than any host has in all; the largest, {host} in {region}, has {}",
        amount_text(need),
        amount_text(room)
    ))
}

/// True when no host would fit the VM even if it were empty: then no rule is to blame.
pub(crate) fn is_too_large(inputs: Inputs<'_>, need: Amount) -> bool {
    inputs
        .index
        .tables()
        .values()
        .all(|table| table.rows.is_empty() || table.largest_if_none_holds(dims(need)).is_some())
}

/// The host that no rule excludes and that comes closest to having room; with what it has free.
pub(crate) fn closest(inputs: Inputs<'_>, request: &PlaceRequest, report: &PlaceReport) -> Option<Closest> {
    let bounds =
        Bounds::of(inputs.view, inputs.reserved, &request.vm, request.arrives_at.as_ref(), |_, _| true);
    let context = Context::new(inputs.view, inputs.measured, bounds, request.ask());
    let possible = |reason: &Reason| reason.kind == ReasonKind::NoHost;
    let regions: Vec<&RegionId> = report
        .regions
        .iter()
        .filter(|verdict| verdict.excluded.as_ref().is_none_or(possible))
        .map(|verdict| &verdict.region)
        .collect();
    let look = |at: usize| -> Option<(u64, Closest)> {
        let region = regions[at];
        let table = inputs.index.table(region)?;
        let nothing = Amount::default();
        let search = Search { need: nothing, ..search_in(inputs, &context, region, table) };
        let (share, free, row) = search.closest(request.vm.spec.size)?;
        Some((share, (region.clone(), table.hosts[row].0.clone(), free)))
    };
    let mut best: Option<(u64, Closest)> = None;
    for found in map(inputs.workers_for(inputs.looks(&context)), regions.len(), look).into_iter().flatten() {
        if best.as_ref().is_none_or(|(most, _)| found.0 > *most) {
            best = Some(found);
        }
    }
    best.map(|(_, closest)| closest)
}

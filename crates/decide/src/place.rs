//! Places one VM: the region first, then the host.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, Vm};
use dwcp_types::{HostId, Refusal, RegionId};

use crate::index::{PlaceIndex, RegionTable, dims};
use crate::relations::Bounds;
use crate::report::{PlaceReport, Reason, ReasonKind, RegionVerdict};
use crate::score::Context;
use crate::search::Search;
use crate::{Measured, Reservations, refuse, seen, suggest};

/// A VM that needs a place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaceRequest {
    /// The record to be: its size, rules, labels, priority and tenant count; its host does not.
    pub vm: Vm,
    /// Where most of its users are; unknown: the middle of the federation is preferred.
    pub users_in: Option<RegionId>,
    /// Only these regions.
    pub only_regions: Option<BTreeSet<RegionId>>,
    /// Never these regions.
    pub exclude_regions: BTreeSet<RegionId>,
    /// Never these hosts: what was refused there a moment ago.
    pub exclude_hosts: BTreeSet<(RegionId, HostId)>,
    /// Recovery: cost limits do not count, and an unhealthy region is better than none.
    pub for_failover: bool,
}

/// A request by reference, so that planning for many VMs copies none.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub vm: &'a Vm,
    pub users_in: Option<&'a RegionId>,
    pub only_regions: Option<&'a BTreeSet<RegionId>>,
    pub exclude_regions: &'a BTreeSet<RegionId>,
    pub exclude_hosts: &'a BTreeSet<(RegionId, HostId)>,
    pub for_failover: bool,
}

impl<'a> Ask<'a> {
    pub fn excluded_in(&self, region: &RegionId) -> BTreeSet<&'a HostId> {
        self.exclude_hosts.iter().filter(|(of, _)| of == region).map(|(_, host)| host).collect()
    }
}

impl PlaceRequest {
    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            vm: &self.vm,
            users_in: self.users_in.as_ref(),
            only_regions: self.only_regions.as_ref(),
            exclude_regions: &self.exclude_regions,
            exclude_hosts: &self.exclude_hosts,
            for_failover: self.for_failover,
        }
    }
}

/// A place for a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Which region.
    pub region: RegionId,
    /// Which of its hosts.
    pub host: HostId,
    /// The region's score, 0 to 1000.
    pub score_milli: u32,
}

/// Everything a decision reads.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub view: &'a Federation,
    pub index: &'a PlaceIndex,
    pub measured: &'a Measured,
    pub reserved: &'a Reservations,
}

/// Chooses a region and a host for a VM, or says why none will do and which single change would help.
///
/// With `explain`, every host of every possible region is judged and reported; otherwise regions below the chosen one are
/// not looked into.
pub fn place(
    view: &Federation,
    index: &mut PlaceIndex,
    measured: &Measured,
    reserved: &Reservations,
    request: &PlaceRequest,
    explain: bool,
) -> (Result<Placement, Refusal>, PlaceReport) {
    index.refresh(view);
    if request.users_in.is_none() {
        index.refresh_means(measured);
    }
    let decided = decide(Inputs { view, index, measured, reserved }, request, explain);
    if view.core.policy.placement_cache_ttl_ms == 0 {
        index.forget();
    }
    decided
}

fn decide(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    explain: bool,
) -> (Result<Placement, Refusal>, PlaceReport) {
    let (placement, mut report) = choose(inputs, request, explain);
    match placement {
        Some(placement) => (Ok(placement), report),
        None => {
            let closest = refuse::closest(inputs, request, &report);
            report.smallest_change = suggest::smallest_change(inputs, request, closest.as_ref());
            let refusal = refuse::nothing_fits(inputs, request, &report, closest.as_ref());
            (Err(refusal), report)
        }
    }
}

/// Chooses without saying what would help.
pub(crate) fn choose(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    explain: bool,
) -> (Option<Placement>, PlaceReport) {
    let bounds = Bounds::of(inputs.view, inputs.reserved, &request.vm, |_, _| true);
    let context = Context::new(inputs.view, inputs.measured, bounds, request.ask());
    let regions = inputs.view.core.regions.values();
    let seen = seen::all(inputs, &context.ask);
    let mut verdicts: Vec<RegionVerdict> =
        regions.zip(&seen).map(|(region, seen)| context.judge(region, seen)).collect();
    sort(&mut verdicts);
    let mut chosen = None;
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.excluded.is_none()) {
        if chosen.is_some() && !explain {
            break;
        }
        let host = look_into(inputs, &context, verdict, explain);
        if chosen.is_none() {
            chosen = host.map(|host| Placement {
                region: verdict.region.clone(),
                host,
                score_milli: verdict.score_milli,
            });
        }
    }
    sort(&mut verdicts);
    (chosen, PlaceReport { regions: verdicts, smallest_change: None })
}

/// Best first, the excluded ones last; ties by the region's priority, then its id.
fn sort(verdicts: &mut [RegionVerdict]) {
    fn key(verdict: &RegionVerdict) -> (bool, Reverse<u32>, Reverse<u32>, &RegionId) {
        let priority = Reverse(verdict.parts.priority);
        (verdict.excluded.is_some(), Reverse(verdict.score_milli), priority, &verdict.region)
    }
    verdicts.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// Looks for a host in a region and writes down what was found.
fn look_into(
    inputs: Inputs<'_>,
    context: &Context<'_>,
    verdict: &mut RegionVerdict,
    explain: bool,
) -> Option<HostId> {
    let region = verdict.region.clone();
    let table = inputs.index.table(&region)?;
    let search = search_in(inputs, context, &region, table);
    let found = search.run();
    verdict.hosts_considered = found.considered;
    verdict.hosts_excluded = found.excluded;
    if explain {
        verdict.hosts = search.explain();
        verdict.hosts_excluded.clear();
        for reason in verdict.hosts.iter().filter_map(|host| host.excluded.as_ref()) {
            *verdict.hosts_excluded.entry(reason.kind).or_default() += 1;
        }
    }
    let Some((row, _)) = found.best else {
        verdict.excluded = Some(Reason::new(ReasonKind::NoHost, counts_text(&verdict.hosts_excluded)));
        return None;
    };
    Some(table.hosts[row].0.clone())
}

/// A search over one region's hosts.
pub(crate) fn search_in<'a>(
    inputs: Inputs<'a>,
    context: &'a Context<'a>,
    region: &'a RegionId,
    table: &'a RegionTable,
) -> Search<'a> {
    let ask = &context.ask;
    Search {
        region,
        table,
        facts: inputs.view.regions.get(region),
        rules: &ask.vm.rules,
        bounds: &context.bounds,
        need: ask.vm.spec.size,
        only_zone: None,
        pack: context.weights.pack,
        reserved: reserved_rows(inputs.reserved, region, table),
        excluded: ask.excluded_in(region),
    }
}

fn reserved_rows(
    reserved: &Reservations,
    region: &RegionId,
    table: &RegionTable,
) -> Vec<(usize, crate::index::Dims)> {
    reserved
        .taken_in(region)
        .filter_map(|(host, amount)| table.row_of(host).map(|row| (row, dims(amount))))
        .collect()
}

pub(crate) fn counts_text(counts: &BTreeMap<ReasonKind, u32>) -> String {
    if counts.is_empty() {
        return "it has no hosts".to_string();
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{count} host{}: {}", if *count == 1 { "" } else { "s" }, kind.words()))
        .collect();
    parts.join("; ")
}

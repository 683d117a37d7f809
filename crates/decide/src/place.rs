//! Places one VM: the region first, then the host.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, Rules, Vm};
use dwcp_types::{HostId, Refusal, RegionId};

use crate::index::{PlaceIndex, RegionTable, dims};
use crate::relations::Bounds;
use crate::report::{HostVerdict, PlaceReport, Reason, ReasonKind, RegionVerdict};
use crate::score::Context;
use crate::search::{Found, Search, only_room_counts};
use crate::workers::{Serial, Workers, map};
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
    /// It is on its way to this region, whose group decides: others on their way there have no place yet.
    pub arrives_at: Option<RegionId>,
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
    pub arrives_at: Option<&'a RegionId>,
    /// Judged as if it were open for placement.
    pub opened: Option<&'a RegionId>,
}

impl<'a> Ask<'a> {
    pub fn excluded_in(&self, region: &RegionId) -> BTreeSet<&'a HostId> {
        self.exclude_hosts.iter().filter(|(of, _)| of == region).map(|(_, host)| host).collect()
    }
}

impl PlaceRequest {
    /// True when deciding may have to look at every host: when all of them are to be explained, or when more than room counts.
    /// What is left takes far less time than to ask somebody else.
    pub fn may_look_at_all(&self, explain: bool) -> bool {
        explain || self.vm.rules != Rules::default()
    }

    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            vm: &self.vm,
            users_in: self.users_in.as_ref(),
            only_regions: self.only_regions.as_ref(),
            exclude_regions: &self.exclude_regions,
            exclude_hosts: &self.exclude_hosts,
            for_failover: self.for_failover,
            arrives_at: self.arrives_at.as_ref(),
            opened: None,
        }
    }
}

/// A place for a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Which region.
    pub region: RegionId,
    /// Which of its hosts.
    pub host: HostId,
    /// The region's score, 0 to 1000.
    pub score_milli: u32,
}

/// Looks at a host from which on work is shared out: about a tenth of a millisecond, ten times what it costs to wake
/// somebody up. To explain a host takes as long as four looks.
const MANY_LOOKS: usize = 4_000;

/// Everything a decision reads.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub view: &'a Federation,
    pub index: &'a PlaceIndex,
    pub measured: &'a Measured,
    pub reserved: &'a Reservations,
    pub workers: &'a dyn Workers,
    /// The only regions with a host for the VM, where that is known.
    pub holders: Option<&'a BTreeSet<RegionId>>,
}

impl Inputs<'_> {
    /// Those who run what needs about so many looks at a host: few looks are done sooner than anybody else has heard of them.
    pub fn workers_for(&self, looks: usize) -> &dyn Workers {
        if looks < MANY_LOOKS { &Serial } else { self.workers }
    }

    /// Looks that it takes to find out that no region has a host: at all of them, or at none to speak of when room alone
    /// counts, because then whole blocks are passed over.
    pub fn looks(&self, context: &Context<'_>) -> usize {
        if only_room_counts(&context.ask.vm.rules, &context.bounds) { 0 } else { self.hosts() }
    }

    fn hosts(&self) -> usize {
        self.index.tables().values().map(|table| table.rows.len()).sum()
    }
}

/// Chooses a region and a host for a VM, or says why none will do and which single change would help.
///
/// With `explain`, every host of every possible region is judged and reported; otherwise regions below the chosen one are
/// not looked into. `workers` are asked when the policy says so and there is much to look at; they change nothing but time.
pub fn place(
    view: &Federation,
    index: &mut PlaceIndex,
    measured: &Measured,
    reserved: &Reservations,
    request: &PlaceRequest,
    explain: bool,
    workers: &dyn Workers,
) -> (Result<Placement, Refusal>, PlaceReport) {
    index.refresh(view);
    if request.users_in.is_none() {
        index.refresh_means(measured);
    }
    let policy = &view.core.policy;
    let workers = if policy.parallel_scoring { workers } else { &Serial };
    let decided =
        decide(Inputs { view, index, measured, reserved, workers, holders: None }, request, explain);
    if policy.placement_cache_ttl_ms == 0 {
        index.forget();
    }
    decided
}

/// Whether there is a place for a VM, without a word why not.
pub fn fits(
    view: &Federation,
    index: &mut PlaceIndex,
    measured: &Measured,
    reserved: &Reservations,
    request: &PlaceRequest,
) -> bool {
    index.refresh(view);
    let inputs = Inputs { view, index, measured, reserved, workers: &Serial, holders: None };
    choose(inputs, &request.ask(), Depth::Answer).0.is_some()
}

fn decide(
    inputs: Inputs<'_>,
    request: &PlaceRequest,
    explain: bool,
) -> (Result<Placement, Refusal>, PlaceReport) {
    let depth = if explain { Depth::Explain } else { Depth::Count };
    let (placement, mut report) = choose(inputs, &request.ask(), depth);
    match placement {
        Some(placement) => (Ok(placement), report),
        None => {
            let closest = refuse::closest(inputs, request, &report);
            report.smallest_change = suggest::smallest_change(inputs, request, &report, closest.as_ref());
            let refusal = refuse::nothing_fits(inputs, request, &report, closest.as_ref());
            (Err(refusal), report)
        }
    }
}

/// How much is written down of what was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Where it would go.
    Answer,
    /// And how many hosts each rule excluded where it can't go.
    Count,
    /// And each host.
    Explain,
}

/// Chooses without saying what would help.
pub(crate) fn choose(inputs: Inputs<'_>, ask: &Ask<'_>, depth: Depth) -> (Option<Placement>, PlaceReport) {
    let bounds = Bounds::of(inputs.view, inputs.reserved, ask.vm, ask.arrives_at, |_, _| true);
    let context = Context::new(inputs.view, inputs.measured, bounds, *ask);
    let regions = inputs.view.core.regions.values();
    let seen = seen::all(inputs, &context.ask);
    let mut verdicts: Vec<RegionVerdict> =
        regions.zip(&seen).map(|(region, seen)| context.judge(region, seen)).collect();
    sort(&mut verdicts);
    let chosen = look_for_host(inputs, &context, &mut verdicts, depth);
    sort(&mut verdicts);
    (chosen, PlaceReport { regions: verdicts, smallest_change: None })
}

/// Looks into the possible regions, which come first, until one has a host; into all of them to explain.
fn look_for_host(
    inputs: Inputs<'_>,
    context: &Context<'_>,
    verdicts: &mut [RegionVerdict],
    depth: Depth,
) -> Option<Placement> {
    let possible = verdicts.iter().take_while(|verdict| verdict.excluded.is_none()).count();
    let workers = match depth {
        Depth::Explain => inputs.workers_for(inputs.hosts() * 4),
        // Only regions with a host are looked into, and the first of them ends it.
        _ if inputs.holders.is_some() => &Serial,
        _ => inputs.workers_for(inputs.looks(context)),
    };
    let mut chosen = None;
    let mut next = 0;
    while next < possible && (chosen.is_none() || depth == Depth::Explain) {
        // The best region mostly has room: only when it has none is it worth looking into several at once.
        let many = match (depth, next) {
            (Depth::Explain, _) => possible,
            (_, 0) => 1,
            _ if workers.width() < 2 => 1,
            _ => (workers.width() * 4).min(possible - next),
        };
        let regions = &verdicts[next..next + many];
        let looks = map(workers, many, |at| look_into(inputs, context, &regions[at].region, depth));
        for look in looks {
            if chosen.is_some() && depth != Depth::Explain {
                break;
            }
            let verdict = &mut verdicts[next];
            let host = look.and_then(|look| look.write_down(verdict));
            if chosen.is_none() {
                chosen = host.map(|host| Placement {
                    region: verdict.region.clone(),
                    host,
                    score_milli: verdict.score_milli,
                });
            }
            next += 1;
        }
    }
    chosen
}

/// Best first, the excluded ones last; ties by the region's priority, then its id.
fn sort(verdicts: &mut [RegionVerdict]) {
    fn key(verdict: &RegionVerdict) -> (bool, Reverse<u32>, Reverse<u32>, &RegionId) {
        let priority = Reverse(verdict.parts.priority);
        (verdict.excluded.is_some(), Reverse(verdict.score_milli), priority, &verdict.region)
    }
    verdicts.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// What a look into a region found.
struct Look {
    found: Found,
    host: Option<HostId>,
    hosts: Vec<HostVerdict>,
}

/// Looks for a host in a region; none when the region has no table, or is known to have no host.
fn look_into(inputs: Inputs<'_>, context: &Context<'_>, region: &RegionId, depth: Depth) -> Option<Look> {
    if inputs.holders.is_some_and(|holders| !holders.contains(region)) {
        return None;
    }
    let table = inputs.index.table(region)?;
    let search = search_in(inputs, context, region, table);
    let found = search.run(depth != Depth::Answer);
    let hosts = if depth == Depth::Explain { search.explain() } else { Vec::new() };
    let host = found.best.map(|(row, _)| table.hosts[row].0.clone());
    Some(Look { found, host, hosts })
}

impl Look {
    fn write_down(self, verdict: &mut RegionVerdict) -> Option<HostId> {
        verdict.hosts_considered = self.found.considered;
        verdict.hosts_excluded = self.found.excluded;
        if !self.hosts.is_empty() {
            verdict.hosts = self.hosts;
            verdict.hosts_excluded.clear();
            for reason in verdict.hosts.iter().filter_map(|host| host.excluded.as_ref()) {
                *verdict.hosts_excluded.entry(reason.kind).or_default() += 1;
            }
        }
        if self.host.is_none() {
            verdict.excluded = Some(Reason::new(ReasonKind::NoHost, counts_text(&verdict.hosts_excluded)));
        }
        self.host
    }
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

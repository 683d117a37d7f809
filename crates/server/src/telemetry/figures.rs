//! What follows from the state, as metrics: looked up at the moment of a scrape.
//!
//! What is a region's own (its VMs, hosts, what they use) is shown by its own process alone, so that sums over the federation
//! count it once. What one region sees of another has the label `observer`, or `from` and `to`.

use dwcp_api::region::{Lifecycle, RegionSummary, Usage};
use dwcp_api::vm::VmState;
use dwcp_roles::node::LinkReading;
use dwcp_state::{GuardState, HostStanding, ProtectionMode, RegionFacts};
use dwcp_telemetry::exposition::Family;
use dwcp_telemetry::model::Labels;
use dwcp_types::{NodeId, VERSION};

use crate::handle::View;
use crate::http::Lately;
use crate::http::{names, region_summary, vm_record};

/// Families under the making, one name each.
#[derive(Default)]
struct Figures {
    families: Vec<Family>,
}

impl Figures {
    /// What is now. Values that are not known are left out: a series that is not there is no zero.
    fn gauge<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        points: impl IntoIterator<Item = ([(&'static str, String); N], Option<f64>)>,
    ) {
        let known = points.into_iter().filter_map(|(labels, value)| Some((Labels::new(labels), value?)));
        self.families.push(Family::gauge(name, help, known.collect()));
    }

    /// What only goes up while this process lives.
    fn counter<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        points: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) {
        let points = points.into_iter().map(|(labels, value)| (Labels::new(labels), value));
        self.families.push(Family::counter(name, help, points.collect()));
    }
}

/// Everything that this process knows now.
pub fn families(view: &View<'_>, lately: &Lately) -> Vec<Family> {
    let mut out = Figures::default();
    let own = view.node.config().region.as_str().to_owned();
    out.gauge(
        "dwcp_build_info",
        "Version of the program; always 1.",
        [([("region", own.clone()), ("version", VERSION.to_string())], Some(1.0))],
    );
    regions(&mut out, view, lately, &own);
    if let Some(facts) = view.node.facts().regions.get(&view.node.config().region) {
        vms(&mut out, view, facts, &own);
        hosts(&mut out, view, facts, &own);
    }
    links(&mut out, view, &own);
    groups(&mut out, view, &own);
    process(&mut out, view, &own);
    federation(&mut out, view, &own);
    out.families
}

fn regions(out: &mut Figures, view: &View<'_>, lately: &Lately, own: &str) {
    let facts = view.node.facts();
    let shown: Vec<RegionSummary> = facts
        .core
        .regions
        .values()
        .filter_map(|record| {
            let of = facts.regions.get(&record.id)?;
            Some(region_summary::show(view, record, of, lately))
        })
        .collect();
    let seen = |region: &RegionSummary| [("region", region.region.clone()), ("observer", own.to_owned())];
    out.gauge(
        "dwcp_federation_region_up",
        "Whether the observer hears a region's control plane.",
        shown
            .iter()
            .map(|region| (seen(region), Some(f64::from(u8::from(names::is_heard(view, region.number)))))),
    );
    out.gauge(
        "dwcp_federation_region_health_score",
        "Health score of a region, 0 to 100, as the observer sees it.",
        shown.iter().map(|region| (seen(region), region.health.score.map(f64::from))),
    );
    out.gauge(
        "dwcp_federation_region_active",
        "Whether a region is in service by the facts that the observer has: neither lost, disabled, joining nor leaving.",
        shown.iter().map(|region| {
            let active = matches!(region.lifecycle, Lifecycle::Active);
            (seen(region), Some(f64::from(u8::from(active))))
        }),
    );
    out.gauge(
        "dwcp_federation_state_sync_lag_seconds",
        "How far the facts of region `source` in region `target` are behind their home.",
        shown.iter().map(|region| {
            let labels = [("source", region.region.clone()), ("target", own.to_owned())];
            (labels, region.replication_lag_ms.map(|ms| ms as f64 / 1e3))
        }),
    );
    if let Some(mine) = shown.iter().find(|region| region.region == own) {
        own_region(out, mine, own);
    }
}

fn own_region(out: &mut Figures, mine: &RegionSummary, own: &str) {
    let of = |value: Option<f64>| [([("region", own.to_owned())], value)];
    out.gauge("dwcp_federation_active_vms", "VMs that live in a region.", of(mine.vms.map(|vms| vms as f64)));
    let utilization: [(&str, &str, &Usage); 3] = [
        ("dwcp_federation_cpu_utilization", "Processors of a region's hosts in use, in percent.", &mine.cpu),
        (
            "dwcp_federation_memory_utilization",
            "Memory of a region's hosts in use, in percent.",
            &mine.memory,
        ),
        (
            "dwcp_federation_storage_utilization",
            "Disks of a region's hosts in use, in percent.",
            &mine.storage,
        ),
    ];
    for (name, help, usage) in utilization {
        out.gauge(name, help, of(usage.used_percent));
    }
    let room = [
        ("dwcp_federation_vcpus", "Virtual processors", &mine.cpu, 1.0),
        ("dwcp_federation_memory_bytes", "Memory", &mine.memory, 1024.0 * 1024.0),
        ("dwcp_federation_storage_bytes", "Storage", &mine.storage, 1024.0 * 1024.0 * 1024.0),
    ];
    for (name, what, usage, unit) in room {
        let points = [("capacity", usage.capacity), ("allocated", usage.allocated)];
        out.gauge(
            name,
            &format!("{what} of a region's hosts: what may be given to VMs, and what is."),
            points.map(|(kind, value)| {
                (
                    [("region", own.to_owned()), ("kind", kind.to_owned())],
                    value.map(|value| value as f64 * unit),
                )
            }),
        );
    }
    out.gauge(
        "dwcp_federation_traffic_percent",
        "Share of users' traffic that a region takes, in percent of what it could.",
        of(mine.traffic_percent),
    );
}

/// As the API writes it.
fn word(state: VmState) -> String {
    let text = serde_json::to_value(state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
    text.unwrap_or_default()
}

fn vms(out: &mut Figures, view: &View<'_>, facts: &RegionFacts, own: &str) {
    let mut by_state = std::collections::BTreeMap::<String, u64>::new();
    let mut protected = std::collections::BTreeMap::from([("sync", (0u64, 0u64)), ("async", (0, 0))]);
    for vm in facts.vms.values().filter(|vm| vm.drill.is_none()) {
        let found = names::Found { region: &facts.name, vm, departure: None };
        *by_state.entry(word(vm_record::state(view, &found))).or_default() += 1;
        if vm.is_protected() {
            let guard = &vm.protection.guard;
            let holds = guard.region.is_some() && guard.state == GuardState::Protected;
            let mode = if vm.protection.mode == ProtectionMode::Sync { "sync" } else { "async" };
            let (all, without) = protected.entry(mode).or_default();
            (*all, *without) = (*all + 1, *without + u64::from(!holds));
        }
    }
    out.gauge(
        "dwcp_federation_vms",
        "VMs of a region by what they do.",
        by_state
            .into_iter()
            .map(|(state, count)| ([("region", own.to_owned()), ("state", state)], Some(count as f64))),
    );
    let by_mode = |count: fn(&(u64, u64)) -> u64| {
        let label = |mode: &&'static str| [("region", own.to_owned()), ("mode", (*mode).to_owned())];
        protected.iter().map(|(mode, of)| (label(mode), Some(count(of) as f64))).collect::<Vec<_>>()
    };
    out.gauge(
        "dwcp_federation_protected_vms",
        "VMs of a region whose disk is to be kept in another one.",
        by_mode(|(all, _)| *all),
    );
    out.gauge(
        "dwcp_federation_unprotected_vms",
        "VMs of a region whose disk is to be kept in another one, and is not now.",
        by_mode(|(_, without)| *without),
    );
}

fn hosts(out: &mut Figures, view: &View<'_>, facts: &RegionFacts, own: &str) {
    let label = |host: &str| [("region", own.to_owned()), ("host", host.to_owned())];
    out.gauge(
        "dwcp_federation_host_up",
        "Whether a host of a region holds its lease.",
        facts.hosts.iter().map(|(host, of)| {
            (label(host.as_str()), Some(f64::from(u8::from(of.standing == HostStanding::Up))))
        }),
    );
    let now: Vec<_> = facts.hosts.keys().map(|host| (host, view.node.host_now(facts.number, host))).collect();
    out.gauge(
        "dwcp_host_heard_seconds",
        "How long ago a host's agent was heard.",
        now.iter()
            .map(|(host, now)| (label(host.as_str()), now.as_ref().map(|now| now.heard_ms as f64 / 1e3))),
    );
    let used = |at: usize| {
        now.iter()
            .map(|(host, now)| {
                let usage = now.as_ref().and_then(|now| now.usage);
                (label(host.as_str()), crate::http::used_percents(usage)[at])
            })
            .collect::<Vec<_>>()
    };
    out.gauge("dwcp_host_cpu_utilization", "Processors of a host in use, in percent.", used(0));
    out.gauge("dwcp_host_memory_utilization", "Memory of a host in use, in percent.", used(1));
    out.gauge("dwcp_host_storage_utilization", "Disk of a host in use, in percent.", used(2));
}

fn links(out: &mut Figures, view: &View<'_>, own: &str) {
    let links = view.node.own_beat().links;
    let name = |node: NodeId| view.node.region_name(node).map(|region| region.as_str().to_owned());
    let each = |value: fn(&LinkReading) -> Option<f64>| {
        let point = |link: &LinkReading| {
            let labels = [("from", own.to_owned()), ("to", name(link.node)?)];
            Some((labels, value(link)))
        };
        links.iter().filter_map(point).collect::<Vec<_>>()
    };
    fn seconds(us: u64) -> Option<f64> {
        (us > 0).then(|| us as f64 / 1e6)
    }
    out.gauge(
        "dwcp_link_up",
        "Whether a link between regions is up.",
        each(|link| Some(f64::from(u8::from(link.up)))),
    );
    out.gauge(
        "dwcp_link_round_trip_seconds",
        "Round trip of a link between regions, the median of late.",
        each(|link| seconds(link.rtt_p50_us)),
    );
    out.gauge(
        "dwcp_link_round_trip_p99_seconds",
        "Round trip of a link between regions, the 99th percentile of late.",
        each(|link| seconds(link.rtt_p99_us)),
    );
    out.gauge(
        "dwcp_link_loss_ratio",
        "Packets lost on a link between regions, of those sent of late.",
        each(|link| Some(link.loss_basis_points as f64 / 1e4)),
    );
    out.gauge(
        "dwcp_link_throughput_bytes_per_second",
        "What a link between regions carries.",
        each(|link| Some(link.throughput_bps as f64 / 8.0)),
    );
    out.gauge(
        "dwcp_link_queued_bytes",
        "What waits to be sent on a link between regions.",
        each(|link| Some(link.queued_bytes as f64)),
    );
    out.gauge(
        "dwcp_link_queued_frames",
        "Frames that wait to be sent on a link between regions.",
        each(|link| Some(link.queued_frames as f64)),
    );
}

fn groups(out: &mut Figures, view: &View<'_>, own: &str) {
    let named = view.node.regions().iter().map(|(number, region)| (*number, region.as_str().to_owned()));
    let all = std::iter::once((dwcp_state::FEDERATION_GROUP, "federation".to_owned())).chain(named);
    let known: Vec<_> =
        all.filter_map(|(group, name)| Some((group, name, view.node.group(group)?))).collect();
    let label = |group: &str| [("region", own.to_owned()), ("group", group.to_owned())];
    out.gauge(
        "dwcp_group_leader",
        "Whether this region's node leads a group.",
        known
            .iter()
            .map(|(number, group, _)| (label(group), Some(f64::from(u8::from(view.node.leads(*number)))))),
    );
    out.gauge(
        "dwcp_group_has_leader",
        "Whether this region's node knows a leader of a group.",
        known
            .iter()
            .map(|(_, group, status)| (label(group), Some(f64::from(u8::from(status.leader.is_some()))))),
    );
    out.gauge(
        "dwcp_federation_quorum_voters",
        "Voters of a group.",
        known.iter().map(|(_, group, status)| (label(group), Some(status.voters.len() as f64))),
    );
    out.gauge(
        "dwcp_federation_quorum_voters_reachable",
        "Voters of a group that the region's node hears, itself included.",
        known.iter().map(|(_, group, status)| {
            let heard = status.voters.iter().filter(|voter| names::is_heard(view, **voter)).count();
            (label(group), Some(heard as f64))
        }),
    );
    out.counter(
        "dwcp_group_applied_total",
        "Entries of a group's log that were applied here, since the group began.",
        known.iter().map(|(_, group, status)| (label(group), status.applied as f64)),
    );
    out.counter(
        "dwcp_group_term_total",
        "Elections of a group, as its term counts them.",
        known.iter().map(|(_, group, status)| (label(group), status.term as f64)),
    );
}

fn process(out: &mut Figures, view: &View<'_>, own: &str) {
    let measures = view.node.own_beat().measures;
    let of = |value: f64| [([("region", own.to_owned())], Some(value))];
    out.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        of(measures.rss_mib as f64 * 1024.0 * 1024.0),
    );
    out.gauge(
        "dwcp_process_cpu_utilization",
        "Processor time of the process of late, in percent of one core.",
        of(measures.cpu_percent as f64),
    );
    let uptime_ms = view.now.mono.ms_since(view.node.started());
    out.gauge("dwcp_process_uptime_seconds", "How long the process has run.", of(uptime_ms as f64 / 1e3));
    let decisions = view.node.decisions();
    out.counter(
        "dwcp_placement_decisions_total",
        "Placement decisions by who made them.",
        [("node", decisions.here), ("controller", decisions.by_replicas)]
            .map(|(by, count)| ([("region", own.to_owned()), ("by", by.to_owned())], count as f64)),
    );
}

/// What is of the whole federation is shown by the node that leads its group.
fn federation(out: &mut Figures, view: &View<'_>, own: &str) {
    if !view.node.leads(dwcp_state::FEDERATION_GROUP) {
        return;
    }
    let core = &view.node.facts().core;
    let running = core.operations.values().filter(|operation| operation.ended_at.is_none()).count();
    let by = |value: Option<f64>| [([("observer", own.to_owned())], value)];
    out.gauge(
        "dwcp_federation_running_operations",
        "Operations of the federation that are not over.",
        by(Some(running as f64)),
    );
    let (plan, places) = (core.backups.plan.as_ref(), &core.backups.places);
    let place = plan.and_then(|plan| places.get(&plan.destination));
    let at = |at: Option<dwcp_types::Wall>| at.map(|at| at.0 as f64 / 1e3);
    out.gauge(
        "dwcp_federation_backup_last_success_timestamp_seconds",
        "Of when the newest backup at the planned destination is.",
        by(at(place.and_then(|place| Some(place.newest.as_ref()?.at)))),
    );
    out.gauge(
        "dwcp_federation_backup_last_verified_timestamp_seconds",
        "When a backup at the planned destination was last read as a whole and was whole.",
        by(at(place.filter(|place| place.verified.is_some()).map(|place| place.verified_at))),
    );
    out.gauge(
        "dwcp_federation_backup_interval_seconds",
        "How often backups are planned; 0: not at all.",
        by(Some(plan.map_or(0.0, |plan| plan.interval_ms as f64 / 1e3))),
    );
}

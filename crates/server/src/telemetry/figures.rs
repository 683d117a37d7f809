//! What follows from the state, as metrics: looked up at the moment of a scrape.
//!
//! What is a region's own (its VMs, hosts, what they use) is shown by its own process alone, so that sums over the federation
//! count it once. What one region sees of another has the label `observer`, or `from` and `to`.

pub(in crate::telemetry) mod routers;
mod seen;

use dwcp_api::region::{Lifecycle, RegionSummary, Usage};
use dwcp_api::vm::VmState;
use dwcp_roles::node::LinkReading;
use dwcp_telemetry::exposition::{Family, Observed};
use dwcp_telemetry::model::Labels;
use dwcp_types::{VERSION, Wall};

pub use seen::Seen;
use seen::{SeenFailover, SeenFederation, SeenGroup, SeenHost};

/// Families under the making, one name each.
#[derive(Default)]
pub(super) struct Figures {
    pub families: Vec<Family>,
}

impl Figures {
    /// What is now. Values that are not known are left out: a series that is not there is no zero.
    pub fn gauge<L: IntoIterator<Item = (&'static str, String)>>(
        &mut self,
        name: &str,
        help: &str,
        points: impl IntoIterator<Item = (L, Option<f64>)>,
    ) {
        let known = points.into_iter().filter_map(|(labels, value)| Some((Labels::new(labels), value?)));
        self.families.push(Family::gauge(name, help, known.collect()));
    }

    /// How observations are distributed.
    pub fn histogram(&mut self, name: &str, help: &str, points: Vec<(Labels, Observed)>) {
        self.families.push(Family::histogram(name, help, points));
    }

    /// What only goes up while this process lives.
    pub fn counter<L: IntoIterator<Item = (&'static str, String)>>(
        &mut self,
        name: &str,
        help: &str,
        points: impl IntoIterator<Item = (L, f64)>,
    ) {
        let points = points.into_iter().map(|(labels, value)| (Labels::new(labels), value));
        self.families.push(Family::counter(name, help, points.collect()));
    }

    /// From when to when a certificate is valid, s since 1970.
    pub fn certificate(&mut self, labels: &[(&'static str, String)], from_s: u64, until_s: u64) {
        let one = |at_s: u64| [(labels.to_vec(), Some(at_s as f64))];
        self.gauge(
            "dwcp_federation_certificate_issued_timestamp_seconds",
            "From when on the certificate that a component uses is valid.",
            one(from_s),
        );
        self.gauge(
            "dwcp_federation_certificate_expiry_timestamp_seconds",
            "When the certificate that a component uses ends.",
            one(until_s),
        );
    }
}

/// What is known beside the state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// From when to when this process's certificate is valid, s since 1970.
    pub certificate_s: Option<(u64, u64)>,
    /// What the networks of this region's hosts carry, percent of what they can.
    pub network_percent: Option<f64>,
}

/// Everything that this process knows now.
pub fn families(seen: &Seen, beside: Beside) -> Vec<Family> {
    let mut out = Figures::default();
    let own = seen.own.as_str();
    out.gauge(
        "dwcp_build_info",
        "Version of the program; always 1.",
        [([("region", own.to_owned()), ("version", VERSION.to_string())], Some(1.0))],
    );
    regions(&mut out, seen, beside);
    vms(&mut out, seen);
    hosts(&mut out, &seen.hosts, own);
    links(&mut out, &seen.links, own);
    groups(&mut out, &seen.groups, own);
    process(&mut out, seen);
    failovers(&mut out, &seen.failovers, own);
    routers::families(&mut out, &seen.routers);
    out.gauge(
        "dwcp_federation_routers_missing",
        "Routers that the region is to have and that are not heard; not there for a region that is to have none.",
        [([("region", own.to_owned())], seen.routers_missing.map(|count| count as f64))],
    );
    if let Some((from_s, until_s)) = beside.certificate_s {
        let labels = [("region", own.to_owned()), ("component", "dwcpd".to_owned())];
        out.certificate(&labels, from_s, until_s);
    }
    if let Some(federated) = &seen.federation {
        federation(&mut out, federated, own);
    }
    out.families
}

fn regions(out: &mut Figures, all: &Seen, beside: Beside) {
    let own = all.own.as_str();
    let seen = |region: &RegionSummary| [("region", region.region.clone()), ("observer", own.to_owned())];
    let shown = || all.regions.iter().map(|(region, _)| region);
    out.gauge(
        "dwcp_federation_region_up",
        "Whether the observer hears a region's control plane.",
        all.regions.iter().map(|(region, heard)| (seen(region), Some(f64::from(u8::from(*heard))))),
    );
    out.gauge(
        "dwcp_federation_region_health_score",
        "Health score of a region, 0 to 100, as the observer sees it.",
        shown().map(|region| (seen(region), region.health.score.map(f64::from))),
    );
    out.gauge(
        "dwcp_federation_region_active",
        "Whether a region is in service by the facts that the observer has: neither lost, disabled, joining nor leaving.",
        shown().map(|region| {
            let active = matches!(region.lifecycle, Lifecycle::Active);
            (seen(region), Some(f64::from(u8::from(active))))
        }),
    );
    out.gauge(
        "dwcp_federation_state_sync_lag_seconds",
        "How far the facts of region `source` in region `target` are behind their home.",
        shown().map(|region| {
            let labels = [("source", region.region.clone()), ("target", own.to_owned())];
            (labels, region.replication_lag_ms.map(|ms| ms as f64 / 1e3))
        }),
    );
    if let Some(mine) = shown().find(|region| region.region == own) {
        own_region(out, mine, beside);
    }
}

/// How many VMs a region can have: those that it has, and as many of their mean size as there is room for; none: it has none, or that is
/// not known.
fn vm_capacity(vms: u64, amounts: [&Usage; 3]) -> Option<u64> {
    let more = |usage: &Usage| {
        let (capacity, allocated) = (usage.capacity?, usage.allocated?);
        let free = u128::from(capacity.saturating_sub(allocated));
        // What nobody has any of bounds nothing.
        Some((free * u128::from(vms)).checked_div(allocated.into()).map(|more| more as u64))
    };
    let rooms = amounts.into_iter().map(more).collect::<Option<Vec<_>>>()?;
    Some(vms + rooms.into_iter().flatten().min()?)
}

fn own_region(out: &mut Figures, mine: &RegionSummary, beside: Beside) {
    let own = mine.region.as_str();
    let of = |value: Option<f64>| [([("region", own.to_owned())], value)];
    out.gauge("dwcp_federation_active_vms", "VMs that live in a region.", of(mine.vms.map(|vms| vms as f64)));
    let capacity = mine.vms.and_then(|vms| vm_capacity(vms, [&mine.cpu, &mine.memory, &mine.storage]));
    out.gauge(
        "dwcp_federation_vm_capacity",
        "VMs that a region can have: those that live there, and as many more of their mean size as its hosts have room for.",
        of(capacity.map(|count| count as f64)),
    );
    let utilization = [
        (
            "dwcp_federation_cpu_utilization",
            "Processors of a region's hosts in use, in percent.",
            mine.cpu.used_percent,
        ),
        (
            "dwcp_federation_memory_utilization",
            "Memory of a region's hosts in use, in percent.",
            mine.memory.used_percent,
        ),
        (
            "dwcp_federation_storage_utilization",
            "Disks of a region's hosts in use, in percent.",
            mine.storage.used_percent,
        ),
        (
            "dwcp_federation_network_utilization",
            "What the networks of a region's hosts carry, the busier direction, in percent of what they can.",
            beside.network_percent,
        ),
    ];
    for (name, help, percent) in utilization {
        out.gauge(name, help, of(percent));
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

fn vms(out: &mut Figures, seen: &Seen) {
    let own = &seen.own;
    out.gauge(
        "dwcp_federation_vms",
        "VMs of a region by what they do.",
        seen.vms
            .iter()
            .map(|(state, count)| ([("region", own.clone()), ("state", word(*state))], Some(*count as f64))),
    );
    let by_mode = |count: fn(&(u64, u64)) -> u64| {
        let label = |mode: &str| [("region", own.clone()), ("mode", mode.to_owned())];
        let modes = ["sync", "async"].into_iter().zip(&seen.protected);
        modes.map(|(mode, of)| (label(mode), Some(count(of) as f64))).collect::<Vec<_>>()
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

fn hosts(out: &mut Figures, hosts: &[SeenHost], own: &str) {
    let each = |value: &dyn Fn(&SeenHost) -> Option<f64>| {
        let label = |host: &SeenHost| [("region", own.to_owned()), ("host", host.host.clone())];
        hosts.iter().map(|host| (label(host), value(host))).collect::<Vec<_>>()
    };
    out.gauge(
        "dwcp_federation_host_up",
        "Whether a host of a region holds its lease.",
        each(&|host| Some(f64::from(u8::from(host.up)))),
    );
    out.gauge(
        "dwcp_host_heard_seconds",
        "How long ago a host's agent was heard.",
        each(&|host| host.heard_ms.map(|ms| ms as f64 / 1e3)),
    );
    let used = |at: usize| each(&|host| crate::http::used_percents(host.usage)[at]);
    out.gauge("dwcp_host_cpu_utilization", "Processors of a host in use, in percent.", used(0));
    out.gauge("dwcp_host_memory_utilization", "Memory of a host in use, in percent.", used(1));
    out.gauge("dwcp_host_storage_utilization", "Disk of a host in use, in percent.", used(2));
}

fn links(out: &mut Figures, links: &[(String, LinkReading)], own: &str) {
    let each = |value: fn(&LinkReading) -> Option<f64>| {
        let point = |(to, link): &(String, LinkReading)| {
            ([("from", own.to_owned()), ("to", to.clone())], value(link))
        };
        links.iter().map(point).collect::<Vec<_>>()
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

fn groups(out: &mut Figures, groups: &[SeenGroup], own: &str) {
    let each = |value: fn(&SeenGroup) -> f64| {
        let label = |group: &SeenGroup| [("region", own.to_owned()), ("group", group.name.clone())];
        groups.iter().map(|group| (label(group), value(group))).collect::<Vec<_>>()
    };
    let now =
        |value: fn(&SeenGroup) -> f64| each(value).into_iter().map(|(labels, value)| (labels, Some(value)));
    out.gauge(
        "dwcp_group_leader",
        "Whether this region's node leads a group.",
        now(|group| f64::from(u8::from(group.leads))),
    );
    out.gauge(
        "dwcp_group_has_leader",
        "Whether this region's node knows a leader of a group.",
        now(|group| f64::from(u8::from(group.has_leader))),
    );
    out.gauge("dwcp_federation_quorum_voters", "Voters of a group.", now(|group| group.voters as f64));
    out.gauge(
        "dwcp_federation_quorum_voters_reachable",
        "Voters of a group that the region's node hears, itself included.",
        now(|group| group.heard as f64),
    );
    out.counter(
        "dwcp_group_applied_total",
        "Entries of a group's log that were applied here, since the group began.",
        each(|group| group.applied as f64),
    );
    out.counter(
        "dwcp_group_term_total",
        "Elections of a group, as its term counts them.",
        each(|group| group.term as f64),
    );
}

fn process(out: &mut Figures, seen: &Seen) {
    let own = &seen.own;
    let of = |value: f64| [([("region", own.clone())], Some(value))];
    out.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        of(seen.process.rss_mib as f64 * 1024.0 * 1024.0),
    );
    out.gauge(
        "dwcp_process_cpu_utilization",
        "Processor time of the process of late, in percent of one core.",
        of(seen.process.cpu_percent as f64),
    );
    out.gauge(
        "dwcp_process_uptime_seconds",
        "How long the process has run.",
        of(seen.uptime_ms as f64 / 1e3),
    );
    out.counter(
        "dwcp_placement_decisions_total",
        "Placement decisions by who made them.",
        [("node", seen.decisions.here), ("controller", seen.decisions.by_replicas)]
            .map(|(by, count)| ([("region", own.clone()), ("by", by.to_owned())], count as f64)),
    );
}

/// Every region shows them: the one that led when it happened may be the one that is gone.
fn failovers(out: &mut Figures, last: &[SeenFailover], own: &str) {
    let each = |value: fn(&SeenFailover) -> f64| {
        let label = |of: &SeenFailover| [("region", of.region.clone()), ("observer", own.to_owned())];
        last.iter().map(|of| (label(of), Some(value(of)))).collect::<Vec<_>>()
    };
    out.gauge(
        "dwcp_federation_failover_last_duration_seconds",
        "How long the last failover of a region took, from the first beat that was missed until its VMs served again.",
        each(|of| of.took_ms as f64 / 1e3),
    );
    out.gauge(
        "dwcp_federation_failover_last_end_timestamp_seconds",
        "When the last failover of a region ended.",
        each(|of| of.ended_at.0 as f64 / 1e3),
    );
    out.gauge(
        "dwcp_federation_failover_last_lost_data_vms",
        "VMs that serve again after the last failover of a region without something that had been written to their disks.",
        each(|of| of.lost_data as f64),
    );
}

/// What is of the whole federation is shown by the node that leads its group.
fn federation(out: &mut Figures, seen: &SeenFederation, own: &str) {
    let by = |value: Option<f64>| [([("observer", own.to_owned())], value)];
    out.gauge(
        "dwcp_federation_running_operations",
        "Operations of the federation that are not over.",
        by(Some(seen.running as f64)),
    );
    let at = |at: Option<Wall>| at.map(|at| at.0 as f64 / 1e3);
    out.gauge(
        "dwcp_federation_backup_last_success_timestamp_seconds",
        "Of when the newest backup at the planned destination is.",
        by(at(seen.backup_at)),
    );
    out.gauge(
        "dwcp_federation_backup_last_verified_timestamp_seconds",
        "When a backup at the planned destination was last read as a whole and was whole.",
        by(at(seen.verified_at)),
    );
    out.gauge(
        "dwcp_federation_backup_interval_seconds",
        "How often backups are planned; 0: not at all.",
        by(Some(seen.interval_ms as f64 / 1e3)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_vms_of_the_mean_size_is_that_of_what_is_scarcest() {
        let usage = |capacity, allocated| Usage {
            capacity: Some(capacity),
            allocated: Some(allocated),
            used_percent: None,
        };
        let (cpu, memory, disk) = (usage(100, 20), usage(1_000, 500), usage(50, 0));
        assert_eq!(vm_capacity(10, [&cpu, &memory, &disk]), Some(20), "memory for ten more");
        assert_eq!(vm_capacity(10, [&usage(10, 20), &memory, &disk]), Some(10), "more than there is");
        assert_eq!(vm_capacity(0, [&usage(9, 0), &usage(9, 0), &disk]), None, "of what size?");
        assert_eq!(vm_capacity(1, [&Usage { allocated: None, ..cpu }, &memory, &disk]), None);
    }
}

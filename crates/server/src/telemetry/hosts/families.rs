//! What a host answered, as families of metrics.

use std::collections::BTreeMap;

use dwcp_roles::protocol::{
    AgentFigures, CpuTimes, DiskFigures, HostFigures, NetworkFigures, ProcessUse, VmFigures,
};
use dwcp_telemetry::exposition::Family;
use dwcp_types::VmId;

use super::{HostName, Measured};
use crate::telemetry::figures::Figures;

/// What the facts say of a VM that its host does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub name: String,
    pub tenant: String,
    pub vcpus: u32,
    pub memory_mib: u64,
}

const KIB: f64 = 1_024.0;
const MIB: f64 = KIB * KIB;

/// What a host and its VMs measured; a VM that the facts don't know is called by its id.
pub fn families((region, host): &HostName, measured: &Measured, vms: &BTreeMap<VmId, Known>) -> Vec<Family> {
    let mut out = Figures::default();
    let own = [("region", region.clone()), ("host", host.clone())];
    let figures = &measured.figures;
    machine(&mut out, &own, figures);
    networks(&mut out, &own, figures);
    agent(&mut out, &own, &figures.agent);
    let offset = Some(measured.clock_ahead_ms / 1e3);
    out.gauge(
        "dwcp_federation_clock_offset_seconds",
        "How far a host's clock is ahead of that of the server that asked, less the time that its answer took.",
        [(own.clone(), offset)],
    );
    let labelled: Vec<_> = figures
        .vms
        .iter()
        .map(|of| {
            let known = vms.get(&of.vm);
            let name = known.map_or_else(|| of.vm.to_string(), |known| known.name.clone());
            let tenant = known.map_or_else(String::new, |known| known.tenant.clone());
            let [region, host] = own.clone();
            let labels = [region, host, ("vm", name), ("vm_id", of.vm.to_string()), ("tenant", tenant)];
            Guest { labels, of, known }
        })
        .collect();
    guests(&mut out, &labelled);
    out.families.retain(|family| !family.is_empty());
    out.families
}

type Own = [(&'static str, String); 2];

fn with<const N: usize>(own: &Own, more: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    let more = more.map(|(name, value)| (name, value.to_owned()));
    own.iter().cloned().chain(more).collect()
}

fn machine(out: &mut Figures, own: &Own, of: &HostFigures) {
    let one = |value: Option<f64>| [(own.clone(), value)];
    out.gauge("dwcp_host_cpus", "Processors of a host.", one(Some(of.cores as f64)));
    out.gauge("dwcp_host_uptime_seconds", "How long a host runs.", one(Some(of.uptime_ms as f64 / 1e3)));
    out.counter(
        "dwcp_host_cpu_seconds_total",
        "Processor time of a host, all processors together, by what it went to.",
        of.cpu.iter().flat_map(modes).map(|(mode, ms)| (with(own, [("mode", mode)]), ms as f64 / 1e3)),
    );
    let memory = |value: Option<u64>| one(value.map(|kib| kib as f64 * KIB));
    out.gauge("dwcp_host_memory_size_bytes", "Memory of a host.", memory(of.memory.map(|m| m.total)));
    out.gauge(
        "dwcp_host_memory_available_bytes",
        "Memory of a host that programs could have without swapping.",
        memory(of.memory.map(|m| m.available)),
    );
    out.gauge("dwcp_host_swap_size_bytes", "Swap of a host.", memory(of.memory.map(|m| m.swap_total)));
    out.gauge(
        "dwcp_host_swap_free_bytes",
        "Swap of a host that is free.",
        memory(of.memory.map(|m| m.swap_free)),
    );
    for (name, load) in ["dwcp_host_load1", "dwcp_host_load5", "dwcp_host_load15"].into_iter().zip(&of.load) {
        out.gauge(name, "Processes of a host that ran or waited, on average.", one(Some(*load as f64 / 1e2)));
    }
    let waited = of.pressure.iter().flat_map(|pressure| {
        let kinds = [("some", Some(pressure.some_us)), ("full", pressure.full_us)];
        kinds.into_iter().filter_map(move |(kind, us)| {
            Some((with(own, [("resource", pressure.resource.name()), ("kind", kind)]), us? as f64 / 1e6))
        })
    });
    out.counter(
        "dwcp_host_pressure_waiting_seconds_total",
        "How long some, or all, processes of a host waited for a resource.",
        waited,
    );
    let room = of.room;
    out.gauge("dwcp_host_storage_size_bytes", "Disk of a host's VMs.", memory(room.map(|room| room.total)));
    out.gauge("dwcp_host_storage_free_bytes", "What of it is free.", memory(room.map(|room| room.free)));
    let disks = |value: fn(&DiskFigures) -> f64| {
        of.disks.iter().map(move |disk| (with(own, [("device", &disk.name)]), value(disk)))
    };
    out.counter("dwcp_host_disk_reads_total", "Reads from a disk.", disks(|disk| disk.reads as f64));
    out.counter(
        "dwcp_host_disk_read_bytes_total",
        "What was read from a disk.",
        disks(|disk| disk.read_bytes as f64),
    );
    out.counter("dwcp_host_disk_writes_total", "Writes to a disk.", disks(|disk| disk.writes as f64));
    out.counter(
        "dwcp_host_disk_written_bytes_total",
        "What was written to a disk.",
        disks(|disk| disk.written_bytes as f64),
    );
    out.counter(
        "dwcp_host_disk_busy_seconds_total",
        "How long a disk was busy.",
        disks(|disk| disk.busy_ms as f64 / 1e3),
    );
}

fn modes(times: &CpuTimes) -> [(&'static str, u64); 8] {
    [
        ("user", times.user),
        ("nice", times.nice),
        ("system", times.system),
        ("idle", times.idle),
        ("iowait", times.iowait),
        ("irq", times.irq),
        ("softirq", times.softirq),
        ("steal", times.steal),
    ]
}

/// What is counted of an interface, each way.
type Count = fn(&NetworkFigures) -> [u64; 2];
const COUNTS: [(&str, &str, Count); 4] = [
    ("bytes", "Bytes", |of| [of.received_bytes, of.sent_bytes]),
    ("packets", "Packets", |of| [of.received_packets, of.sent_packets]),
    ("errors", "Errors", |of| [of.received_errors, of.sent_errors]),
    ("drops", "Packets dropped", |of| [of.received_dropped, of.sent_dropped]),
];

fn networks(out: &mut Figures, own: &Own, of: &HostFigures) {
    for (what, words, count) in COUNTS {
        for (way, said, at) in [("receive", "received", 0), ("transmit", "sent", 1)] {
            out.counter(
                &format!("dwcp_host_network_{way}_{what}_total"),
                &format!("{words} of an interface of a host, {said}."),
                of.networks.iter().map(|one| (with(own, [("device", &one.name)]), count(one)[at] as f64)),
            );
        }
    }
    out.gauge(
        "dwcp_host_network_utilization",
        "What a host's network carried since it was asked before, the busier direction, in percent of what it can.",
        [(own.clone(), of.network_basis_points.map(|points| points as f64 / 100.0))],
    );
    out.gauge(
        "dwcp_host_network_speed_bytes",
        "What a host's network can carry in a second, each way.",
        [(own.clone(), of.network_mbps.map(|mbps| mbps as f64 * 1e6 / 8.0))],
    );
}

fn agent(out: &mut Figures, own: &Own, of: &AgentFigures) {
    out.gauge(
        "dwcp_build_info",
        "Version of the program; always 1.",
        [(with(own, [("component", "agent"), ("version", &of.version)]), Some(1.0))],
    );
    let counts = [
        ("dwcp_agent_starts_total", "Starts of a host's agent.", of.incarnation),
        ("dwcp_agent_lease_renewals_total", "Renewals of the lease that an agent asked for.", of.renewals),
        ("dwcp_agent_lease_grants_total", "Renewals of the lease that an agent got.", of.grants),
        ("dwcp_agent_links_total", "How often an agent was linked to a server.", of.links),
        (
            "dwcp_agent_dropped_messages_total",
            "Messages of an agent that its link had no room for.",
            of.dropped_messages,
        ),
    ];
    for (name, help, count) in counts {
        out.counter(name, help, [(own.clone(), count as f64)]);
    }
    out.counter(
        "dwcp_agent_log_lines_left_out_total",
        "Lines of an agent's log that there was no room for, on its standard error or on the way to the server.",
        [("stderr", of.lines_left_out), ("server", of.lines_not_sent)]
            .map(|(to, count)| (with(own, [("to", to)]), count as f64)),
    );
    out.gauge(
        "dwcp_agent_lease_left_seconds",
        "What is left of a host's lease; 0: it has none.",
        [(own.clone(), Some(of.lease_left_ms.unwrap_or(0) as f64 / 1e3))],
    );
    let (from, until) = (of.certificate_from_s, of.certificate_until_s);
    out.certificate(&with(own, [("component", "agent")]), from, until);
    let used = |value: fn(&ProcessUse) -> Option<f64>| {
        let points =
            of.processes.iter().map(move |one| (with(own, [("process", &one.kind)]), value(&one.used)));
        points.collect::<Vec<_>>()
    };
    let known = |points: Vec<(_, Option<f64>)>| {
        points.into_iter().filter_map(|(labels, value)| Some((labels, value?)))
    };
    out.counter(
        "dwcp_host_process_cpu_seconds_total",
        "Processor time of a process of the control plane on a host.",
        known(used(|used| Some(used.cpu_ms as f64 / 1e3))),
    );
    out.gauge(
        "dwcp_host_process_resident_memory_bytes",
        "Resident memory of such a process.",
        used(|used| used.resident_kib.map(|kib| kib as f64 * KIB)),
    );
    out.gauge(
        "dwcp_host_process_threads",
        "Threads of such a process.",
        used(|used| Some(used.threads as f64)),
    );
    out.gauge(
        "dwcp_host_process_open_fds",
        "Open descriptors of such a process.",
        used(|used| used.fds.map(|fds| fds as f64)),
    );
}

/// A VM on a host, its labels, and what the facts say of it.
struct Guest<'a> {
    labels: [(&'static str, String); 5],
    of: &'a VmFigures,
    known: Option<&'a Known>,
}

type Value = fn(&Guest<'_>) -> Option<f64>;

/// Counters of VMs: name, help, value.
const COUNTERS: [(&str, &str, Value); 8] = [
    ("dwcp_vm_cpu_seconds_total", "Processor time of a VM's process.", |vm| {
        Some(vm.of.used.cpu_ms as f64 / 1e3)
    }),
    ("dwcp_vm_storage_read_bytes_total", "What a VM's process had read from its host's disks.", |vm| {
        vm.of.used.read_bytes.map(|bytes| bytes as f64)
    }),
    ("dwcp_vm_storage_written_bytes_total", "What a VM's process had written to its host's disks.", |vm| {
        vm.of.used.written_bytes.map(|bytes| bytes as f64)
    }),
    ("dwcp_vm_disk_reads_total", "Reads of a guest from its disk.", |vm| {
        Some(vm.of.disk.as_ref()?.reads as f64)
    }),
    ("dwcp_vm_disk_read_bytes_total", "What a guest read from its disk.", |vm| {
        Some(vm.of.disk.as_ref()?.read_bytes as f64)
    }),
    ("dwcp_vm_disk_writes_total", "Writes of a guest to its disk.", |vm| {
        Some(vm.of.disk.as_ref()?.writes as f64)
    }),
    ("dwcp_vm_disk_written_bytes_total", "What a guest wrote to its disk.", |vm| {
        Some(vm.of.disk.as_ref()?.written_bytes as f64)
    }),
    ("dwcp_vm_disk_operation_seconds_total", "How long reads, writes and flushes of a guest took.", |vm| {
        Some(vm.of.disk.as_ref()?.busy_ms as f64 / 1e3)
    }),
];

/// Gauges of VMs.
const GAUGES: [(&str, &str, Value); 5] = [
    ("dwcp_vm_resident_memory_bytes", "Resident memory of a VM's process.", |vm| {
        vm.of.used.resident_kib.map(|kib| kib as f64 * KIB)
    }),
    ("dwcp_vm_held", "Whether a VM is held still, as without a lease.", |vm| {
        Some(f64::from(u8::from(vm.of.used.stopped)))
    }),
    ("dwcp_vm_threads", "Threads of a VM's process.", |vm| Some(vm.of.used.threads as f64)),
    ("dwcp_vm_vcpus", "Virtual processors of a VM.", |vm| vm.known.map(|known| f64::from(known.vcpus))),
    ("dwcp_vm_memory_bytes", "Memory that a VM was given.", |vm| {
        vm.known.map(|known| known.memory_mib as f64 * MIB)
    }),
];

fn guests(out: &mut Figures, vms: &[Guest<'_>]) {
    for (name, help, value) in COUNTERS {
        out.counter(name, help, vms.iter().filter_map(|vm| Some((vm.labels.clone(), value(vm)?))));
    }
    for (name, help, value) in GAUGES {
        out.gauge(name, help, vms.iter().map(|vm| (vm.labels.clone(), value(vm))));
    }
    for (what, words, count) in COUNTS {
        // What the host received on the VM's interface is what the guest sent.
        for (way, said, at) in [("receive", "received", 1), ("transmit", "sent", 0)] {
            out.counter(
                &format!("dwcp_vm_network_{way}_{what}_total"),
                &format!("{words} of a guest's interface, {said} by the guest."),
                vms.iter()
                    .filter_map(|vm| Some((vm.labels.clone(), count(vm.of.network.as_ref()?)[at] as f64))),
            );
        }
    }
}

//! What an agent measured and logged: told to the server that it is linked to, past the node, which decides nothing by it.

use dwcp_types::codec::Reader;
use dwcp_types::{VmId, wire_enum, wire_struct};

/// Most VMs, and most devices of a kind, that a host tells of.
pub const MOST_VMS: usize = 1_024;
pub const MOST_DEVICES: usize = 32;
/// Longest name of a device, bytes.
pub const LONGEST_NAME: usize = 64;
/// Most lines sent at once, and most bytes of them.
pub const MOST_LINES: usize = 100;
pub const MOST_LINE_BYTES: usize = 128 << 10;

/// From an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentSaid {
    /// It answers [`ServerAsked::Measure`]; first on every connection. Nobody asks an agent that did not say so.
    Measures,
    /// Answers [`ServerAsked::Measure`].
    Figures(Box<HostFigures>),
    /// Lines of its log. More follow once [`ServerAsked::Kept`] came.
    Lines(AgentLines),
}
wire_enum!(AgentSaid { 240 Measures, 241 Figures(figures), 242 Lines(lines) });

/// From a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAsked {
    /// Measure now; the answer repeats the number.
    Measure(u64),
    /// The lines up to this number are done with.
    Kept(u64),
}
wire_enum!(ServerAsked { 240 Measure(question), 241 Kept(through) });

/// Whether a frame on an agent's link, either way, is one of these and not for the node or the machine.
pub fn is_of_figures(bytes: &[u8]) -> bool {
    matches!(Reader::new(bytes).varint(), Ok(240..=242))
}

/// What a host is like now. Whatever counts does so since the host, or the process, began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFigures {
    /// The question's number.
    pub question: u64,
    /// The host's wall clock when it answered, ms since 1970.
    pub wall_ms: u64,
    /// How long the machine runs, ms.
    pub uptime_ms: u64,
    pub cores: u64,
    pub cpu: Option<CpuTimes>,
    pub memory: Option<MemoryFigures>,
    /// Processes that ran or waited, over 1, 5 and 15 minutes, in hundredths.
    pub load: Vec<u64>,
    pub pressure: Vec<Pressure>,
    /// The disk of the agent's data folder.
    pub room: Option<DiskRoom>,
    pub disks: Vec<DiskFigures>,
    pub networks: Vec<NetworkFigures>,
    /// What the counted interfaces carried since the last answer, of what they could: the busier direction, in hundredths of a percent;
    /// none: it is not known what they could carry.
    pub network_basis_points: Option<u64>,
    /// What the counted interfaces can carry each way, Mbit/s; none: not known.
    pub network_mbps: Option<u64>,
    pub agent: AgentFigures,
    pub vms: Vec<VmFigures>,
}
wire_struct!(HostFigures {
    1 question, 2 wall_ms, 3 uptime_ms, 4 cores, 5 cpu, 6 memory, 7 load, 8 pressure, 9 room, 10 disks, 11 networks,
    12 network_basis_points, 13 network_mbps, 14 agent, 15 vms
});

/// Processor time of all cores together, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    pub user: u64,
    pub nice: u64,
    pub system: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
    pub steal: u64,
}
wire_struct!(CpuTimes { 1 user, 2 nice, 3 system, 4 idle, 5 iowait, 6 irq, 7 softirq, 8 steal });

/// Memory of a machine, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    pub total: u64,
    pub available: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}
wire_struct!(MemoryFigures { 1 total, 2 available, 3 swap_total, 4 swap_free });

/// What processes wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resource {
    #[default]
    Cpu,
    Memory,
    Io,
}
wire_enum!(Resource { 1 Cpu, 2 Memory, 3 Io });

impl Resource {
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Io];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Io => "io",
        }
    }
}

/// How long processes waited for a resource, µs: some of them, and all that were not idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    pub resource: Resource,
    pub some_us: u64,
    pub full_us: Option<u64>,
}
wire_struct!(Pressure { 1 resource, 2 some_us, 3 full_us });

/// Room on a disk, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskRoom {
    pub total: u64,
    pub free: u64,
}
wire_struct!(DiskRoom { 1 total, 2 free });

/// A disk of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    pub name: String,
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    /// How long it was busy, ms.
    pub busy_ms: u64,
}
wire_struct!(DiskFigures { 1 name, 2 reads, 3 read_bytes, 4 writes, 5 written_bytes, 6 busy_ms });

/// An interface, of the machine or of a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFigures {
    pub name: String,
    pub received_bytes: u64,
    pub received_packets: u64,
    pub received_errors: u64,
    pub received_dropped: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
    pub sent_errors: u64,
    pub sent_dropped: u64,
}
wire_struct!(NetworkFigures {
    1 name, 2 received_bytes, 3 received_packets, 4 received_errors, 5 received_dropped, 6 sent_bytes, 7 sent_packets,
    8 sent_errors, 9 sent_dropped
});

/// The agent itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFigures {
    pub version: String,
    /// Which start of the agent's worker on this host this is, from 1.
    pub incarnation: u64,
    /// Renewals of the lease that were sent, and those that were granted, by this process.
    pub renewals: u64,
    pub grants: u64,
    /// What is left of the lease, ms; none: there is none.
    pub lease_left_ms: Option<u64>,
    /// How often a link came up.
    pub links: u64,
    /// Messages that did not fit on the link.
    pub dropped_messages: u64,
    /// Lines of the log that were left out: on standard error, and on the way to the server.
    pub lines_left_out: u64,
    pub lines_not_sent: u64,
    /// When its certificate was issued and when it ends, s since 1970.
    pub certificate_from_s: u64,
    pub certificate_until_s: u64,
    pub processes: Vec<ProcessFigures>,
}
wire_struct!(AgentFigures {
    1 version, 2 incarnation, 3 renewals, 4 grants, 5 lease_left_ms, 6 links, 7 dropped_messages, 8 lines_left_out,
    9 lines_not_sent, 10 certificate_from_s, 11 certificate_until_s, 12 processes
});

/// A process of the control plane on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// `dwcp-agentd`, `watchdog`, `dwcpd`.
    pub kind: String,
    pub used: ProcessUse,
}
wire_struct!(ProcessFigures { 1 kind, 2 used });

/// What a process has used since it began, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Processor time, ms.
    pub cpu_ms: u64,
    pub resident_kib: Option<u64>,
    pub threads: u64,
    pub fds: Option<u64>,
    /// Bytes that were read from and written to disks for it.
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
    /// It is held still.
    pub stopped: bool,
}
wire_struct!(ProcessUse {
    1 cpu_ms, 2 resident_kib, 3 threads, 4 fds, 5 read_bytes, 6 written_bytes, 7 stopped
});

/// A VM that runs on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFigures {
    pub vm: VmId,
    /// Its emulator's process.
    pub used: ProcessUse,
    /// What the guest did with its disks, as its emulator counts; none: it did not say.
    pub disk: Option<DiskFigures>,
    /// Its interface, seen from the host: received is what the guest sent. None: it has none of its own.
    pub network: Option<NetworkFigures>,
}
wire_struct!(VmFigures { 1 vm, 2 used, 3 disk, 4 network });

/// Lines of an agent's log, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentLines {
    /// The number of the last one; they count from 1 in each process.
    pub through: u64,
    pub lines: Vec<AgentLine>,
}
wire_struct!(AgentLines { 1 through, 2 lines });

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentLine {
    /// ms since 1970.
    pub at_ms: u64,
    pub level: LineLevel,
    /// What happened, such as `vm-launched`.
    pub event: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}
wire_struct!(AgentLine { 1 at_ms, 2 level, 3 event, 4 fields });

/// How much a line matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineLevel {
    #[default]
    Info,
    Warning,
    Error,
}
wire_enum!(LineLevel { 1 Info, 2 Warning, 3 Error });

impl AgentLine {
    /// How much it takes, bytes.
    pub fn bytes(&self) -> usize {
        self.event.len() + self.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

impl HostFigures {
    /// Whether there is no more of it than a host may tell.
    pub fn is_bounded(&self) -> bool {
        let names = self.disks.iter().map(|disk| &disk.name);
        let names = names.chain(self.networks.iter().map(|network| &network.name));
        let names = names.chain(self.agent.processes.iter().map(|process| &process.kind));
        self.vms.len() <= MOST_VMS
            && [self.disks.len(), self.networks.len(), self.agent.processes.len(), self.pressure.len()]
                .iter()
                .all(|count| *count <= MOST_DEVICES)
            && names.chain([&self.agent.version]).all(|name| name.len() <= LONGEST_NAME)
    }
}

impl AgentLines {
    /// Whether there is no more of it than may be sent at once.
    pub fn is_bounded(&self) -> bool {
        self.lines.len() <= MOST_LINES
            && self.lines.iter().map(AgentLine::bytes).sum::<usize>() <= MOST_LINE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use dwcp_types::{decode, encode};

    use super::*;
    use crate::protocol::{AgentMessage, ControllerMessage, Grant, Hello};

    #[test]
    fn frames_come_back_and_are_told_from_those_of_the_machines() {
        let figures = HostFigures {
            question: 7,
            load: vec![101, 5, 0],
            pressure: vec![Pressure { resource: Resource::Io, some_us: 5, full_us: None }],
            vms: vec![VmFigures { vm: VmId(9), disk: Some(DiskFigures::default()), ..VmFigures::default() }],
            ..HostFigures::default()
        };
        let line =
            AgentLine { event: "e".into(), fields: vec![("a".into(), "b".into())], ..AgentLine::default() };
        for said in [
            AgentSaid::Measures,
            AgentSaid::Figures(Box::new(figures)),
            AgentSaid::Lines(AgentLines { through: 3, lines: vec![line] }),
        ] {
            let bytes = encode(&said);
            assert!(is_of_figures(&bytes) && decode::<AgentMessage>(&bytes).is_err());
            assert_eq!(decode::<AgentSaid>(&bytes), Ok(said));
            (0..bytes.len()).for_each(|cut| drop(decode::<AgentSaid>(&bytes[..cut])));
        }
        for asked in [ServerAsked::Measure(5), ServerAsked::Kept(9)] {
            let bytes = encode(&asked);
            assert!(is_of_figures(&bytes) && decode::<ControllerMessage>(&bytes).is_err());
            assert_eq!(decode::<ServerAsked>(&bytes), Ok(asked));
        }
        assert!(!is_of_figures(&encode(&AgentMessage::Hello(Hello::default()))));
        assert!(!is_of_figures(&encode(&ControllerMessage::Grant(Grant::default()))) && !is_of_figures(&[]));
    }

    #[test]
    fn more_than_a_host_may_tell_is_noticed() {
        let many = |count| HostFigures { vms: vec![VmFigures::default(); count], ..HostFigures::default() };
        assert!(many(MOST_VMS).is_bounded() && !many(MOST_VMS + 1).is_bounded());
        let named = DiskFigures { name: "x".repeat(LONGEST_NAME + 1), ..DiskFigures::default() };
        assert!(!HostFigures { disks: vec![named], ..HostFigures::default() }.is_bounded());
        let lines = |count, event: &str| AgentLines {
            lines: vec![AgentLine { event: event.to_owned(), ..AgentLine::default() }; count],
            ..AgentLines::default()
        };
        assert!(lines(MOST_LINES, "e").is_bounded() && !lines(MOST_LINES + 1, "e").is_bounded());
        assert!(!lines(2, &"x".repeat(MOST_LINE_BYTES)).is_bounded());
    }
}

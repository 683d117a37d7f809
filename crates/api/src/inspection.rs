//! Regions that are there, looked at now: their node, their hosts, their processes.

use crate::Freshness;
use crate::preflight::Preflight;

endpoint! {
    #[doc = "Has a region's node and its hosts measure themselves now: disks, clocks, certificates, processes, ports."]
    RegionInspect: Post "/v1/regions/{region}/inspect", Read, InspectRequest => Preflight, measured;
    #[doc = "What the processes of a component use now, counted over a while."]
    ProcessList: Get "/v1/processes", Read, ProcessListRequest => Processes, measured;
}

request! {
    /// The region.
    pub struct InspectRequest {
        pub region: String,
    }

    /// Which processes.
    pub struct ProcessListRequest {
        /// `controller`, `state-manager`, `monitor` (all three are `dwcpd`), or `agent`.
        pub component: String,
        /// `null`: of every region.
        pub region: Option<String>,
        /// How long processor time is counted, 100 to 20000 ms; `null`: 1000.
        pub window_ms: Option<u64>,
    }
}

wire! {
    /// A process. What is not known is `null`.
    pub struct Process {
        pub region: String,
        /// The host that it was asked through; `null`: the region's node spoke for itself.
        pub host: Option<String>,
        /// `dwcpd`, `dwcp-agentd`, or `watchdog` (the agent's other process).
        pub process: String,
        pub pid: Option<u32>,
        /// Of one core, over `window_ms`.
        pub cpu_percent: Option<f64>,
        pub window_ms: u64,
        /// Resident.
        pub memory_mib: Option<f64>,
        pub fds: Option<u64>,
        pub fd_limit: Option<u64>,
        pub threads: Option<u64>,
        pub uptime_ms: Option<u64>,
        /// From disks, since it began.
        pub read_bytes: Option<u64>,
        /// To disks, since it began.
        pub written_bytes: Option<u64>,
        /// How old this is: at most as long as the answer was under way; `null`: there is none.
        pub age_ms: Option<u64>,
        /// Why nothing is known of it; empty: it answered.
        pub trouble: String,
    }

    /// The processes of a component.
    pub struct Processes {
        pub component: String,
        pub processes: Vec<Process>,
        /// What else is to be known.
        pub notes: Vec<String>,
        pub as_of: Vec<Freshness>,
    }
}

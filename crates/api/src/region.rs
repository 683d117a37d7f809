//! Regions: status, health, and the switches for placement and traffic.

use crate::event::Event;
use crate::host::Host;
use crate::maintenance::InMaintenance;
use crate::network::LinkStatus;
use crate::site::Decommission;
use crate::{Freshness, Page};

endpoint! {
    #[doc = "Lists regions."]
    RegionList: Get "/v1/regions", Read, RegionListRequest => Page<RegionSummary>, watch;
    #[doc = "One region, with hosts, links, deductions and recent events."]
    RegionRead: Get "/v1/regions/{region}", Read, RegionReadRequest => RegionStatus, watch;
    #[doc = "Probes a region now from every other region."]
    RegionHealthCheck: Post "/v1/regions/{region}/health-check", Read, RegionProbeRequest => RegionHealthReport;
    #[doc = "How many VMs live in a region."]
    RegionVmCount: Get "/v1/regions/{region}/vm-count", Read, RegionReadRequest => VmCount;
    #[doc = "Takes a region into service."]
    RegionEnable: Post "/v1/regions/{region}/enable", Operate, RegionEnableRequest => RegionChanged;
    #[doc = "Stops placement and traffic of a region; fences it if asked."]
    RegionDisable: Post "/v1/regions/{region}/disable", Operate, RegionDisableRequest => RegionChanged;
    #[doc = "Lets new VMs be placed in a region."]
    RegionEnablePlacement: Post "/v1/regions/{region}/enable-placement", Operate, PlacementSwitchRequest => RegionChanged;
    #[doc = "Stops new placements in a region."]
    RegionDisablePlacement: Post "/v1/regions/{region}/disable-placement", Operate, PlacementSwitchRequest => RegionChanged;
    #[doc = "Sets a region's share of traffic."]
    RegionTraffic: Post "/v1/regions/{region}/traffic", Operate, RegionTrafficRequest => RegionChanged;
}

request! {
    /// Which regions to list.
    pub struct RegionListRequest {
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which region.
    pub struct RegionReadRequest {
        pub region: String,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which region to probe.
    pub struct RegionProbeRequest {
        pub region: String,
        /// How long one probe may take; `null`: 2000.
        pub timeout_ms: Option<u64>,
    }

    /// A region to take into service.
    pub struct RegionEnableRequest {
        pub region: String,
        /// 0 to 100; `null`: 100.
        pub traffic_percent: Option<u8>,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region to take out of service.
    pub struct RegionDisableRequest {
        pub region: String,
        /// Also fence it: its hosts' leases are not renewed any more.
        #[serde(default)]
        pub fence: bool,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region's share of traffic.
    pub struct RegionTrafficRequest {
        pub region: String,
        /// 0 to 100, of what it could take.
        pub percent: u8,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region whose placement is switched.
    pub struct PlacementSwitchRequest {
        pub region: String,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// Where a region is in its life.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Lifecycle { Joining, Standby, Active, Draining, Disabled, Lost, Retired }

    /// What a health score means.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum HealthState { Healthy, Degraded, Unhealthy, Unknown }

    /// Points taken off a health score of 100, and why.
    #[derive(Eq)]
    pub struct Deduction {
        pub points: u32,
        pub cause: String,
        /// The maintenance window that mutes it; `null`: nothing does.
        #[serde(default)]
        pub muted_by: Option<String>,
    }

    /// Health of a region.
    #[derive(Eq)]
    pub struct Health {
        /// 0 to 100; `null`: not known.
        pub score: Option<u32>,
        pub state: HealthState,
        pub deductions: Vec<Deduction>,
        /// The maintenance window that the region is in; `null`: none.
        #[serde(default)]
        pub maintenance: Option<InMaintenance>,
    }

    /// One resource. CPU in vCPUs, memory in MiB, storage in GiB.
    pub struct Usage {
        /// What can be given away; `null`: not known.
        pub capacity: Option<u64>,
        /// What is promised to VMs; `null`: not known.
        pub allocated: Option<u64>,
        /// What is really used, measured; `null`: not known.
        pub used_percent: Option<f64>,
    }

    /// Whether new VMs may be placed.
    #[derive(Eq)]
    pub struct PlacementSwitch {
        pub enabled: bool,
        /// Milliseconds since 1970 (UTC); `null`: since the beginning.
        pub since_at_ms: Option<u64>,
        /// Who switched it; `null`: nobody yet.
        pub by: Option<String>,
        pub reason: String,
    }

    /// One line of a region.
    pub struct RegionSummary {
        pub region: String,
        /// Region number, from 1.
        pub number: u64,
        pub lifecycle: Lifecycle,
        pub health: Health,
        /// `null`: not known.
        pub vms: Option<u64>,
        pub hosts: u64,
        pub cpu: Usage,
        pub memory: Usage,
        pub storage: Usage,
        pub traffic_percent: Option<f64>,
        /// How far the answering replica is behind this region; `null`: not known.
        pub replication_lag_ms: Option<u64>,
        /// Region whose node leads this region's group; `null`: none known.
        pub leader: Option<String>,
        pub version: Option<String>,
        pub placement: PlacementSwitch,
        /// Age of this line's facts; `null`: not known.
        pub age_ms: Option<u64>,
        /// Its announced end; `null`: none.
        #[serde(default)]
        pub decommission: Option<Decommission>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// A component of a region's control plane.
    #[derive(Eq)]
    pub struct Component {
        /// `controller`, `state-manager`, `monitor`, `agent`, …
        pub component: String,
        pub replicas: u64,
        /// Replicas that answered last time.
        pub up: Option<u64>,
        pub version: Option<String>,
    }

    /// A zone.
    #[derive(Eq)]
    pub struct Zone {
        pub zone: String,
        pub hosts: u64,
    }

    /// Everything about a region.
    pub struct RegionStatus {
        pub summary: RegionSummary,
        pub zones: Vec<Zone>,
        pub hosts: Vec<Host>,
        pub components: Vec<Component>,
        pub links: Vec<LinkStatus>,
        /// Newest first.
        pub recent_events: Vec<Event>,
        /// Alerts of the region that are pending or fire, the gravest of those that fire first.
        #[serde(default)]
        pub alerts: Vec<crate::alert::Alert>,
        pub as_of: Vec<Freshness>,
    }

    /// What a probe of a region found.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum ProbeVerdict {
        Answers,
        /// It answers, but is not well.
        Unwell,
        /// Nothing came back from there.
        NoAnswer,
        /// The asked region could not be asked, or did not tell.
        Unknown,
    }

    /// What one region sees of the probed one.
    #[derive(Eq)]
    pub struct RegionProbe {
        /// The region that looks.
        pub from: String,
        pub verdict: ProbeVerdict,
        /// Round trip; `null` without an answer.
        pub rtt_ms: Option<u64>,
        /// How long it has been silent there; `null`: not known.
        pub silent_ms: Option<u64>,
        pub detail: String,
    }

    /// What all regions see, and what follows.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum RegionVerdict {
        Healthy, Degraded, Unhealthy,
        /// A majority of regions hears nothing of it.
        Down,
        /// Not heard from here, but by others.
        UnreachableFromHere,
        Unknown,
    }

    /// A health check of a region.
    #[derive(Eq)]
    pub struct RegionHealthReport {
        pub region: String,
        pub verdict: RegionVerdict,
        pub health: Health,
        pub probes: Vec<RegionProbe>,
        pub as_of: Vec<Freshness>,
    }

    /// How many VMs live in a region.
    #[derive(Eq)]
    pub struct VmCount {
        pub region: String,
        /// `null`: never known.
        pub vms: Option<u64>,
        /// The region can't be reached and its VMs are not accounted for elsewhere: the number is the last known one.
        pub last_known: bool,
        pub as_of: Vec<Freshness>,
    }

    /// A region as it is after a change (or would be, in a dry run).
    pub struct RegionChanged {
        pub region: RegionSummary,
        /// False: it was so already.
        pub changed: bool,
        /// What follows from it.
        pub notes: Vec<String>,
        /// What it made worse: VMs that would not survive the loss of a region any more.
        #[serde(default)]
        pub warnings: Vec<String>,
    }
}

//! The federation as a whole.

use crate::Freshness;
use crate::freeze::FreezeState;
use crate::region::RegionSummary;
use crate::survivability::WorstLoss;

endpoint! {
    #[doc = "All regions, totals and latencies, as the answering region knows them."]
    FederationRead: Get "/v1/federation", Read, FederationReadRequest => FederationStatus, watch;
}

request! {
    /// Whether to follow the status.
    pub struct FederationReadRequest {
        #[serde(default)]
        pub watch: bool,
    }
}

wire! {
    /// Quantiles of a latency; `null`: nothing measured.
    #[derive(Default)]
    pub struct Quantiles {
        pub p50_ms: Option<f64>,
        pub p95_ms: Option<f64>,
        pub p99_ms: Option<f64>,
    }

    /// Sums over the regions whose numbers are known.
    #[derive(Default)]
    pub struct Totals {
        pub regions: u64,
        pub healthy: u64,
        pub degraded: u64,
        pub unhealthy: u64,
        pub unknown: u64,
        pub hosts: u64,
        pub vms: u64,
        /// Regions whose VM number is not in the sum because it is not known.
        pub vms_unknown_regions: u64,
    }

    /// The federation.
    pub struct FederationStatus {
        pub federation: String,
        /// Region that answers.
        pub answered_by: String,
        pub regions: Vec<RegionSummary>,
        pub totals: Totals,
        pub placement: Quantiles,
        /// From when the leader of a group took a command until it was readable in a region, over all groups and regions.
        pub state_sync: Quantiles,
        pub routing: Quantiles,
        /// `null`: not measured.
        pub sla_percent: Option<f64>,
        /// `null`: not known.
        pub open_incidents: Option<u64>,
        pub freeze: FreezeState,
        /// The loss of one region that would leave the most VMs without a place; `null`: not looked at yet.
        #[serde(default)]
        pub survivability: Option<WorstLoss>,
        /// Region whose node leads the federation's group; `null`: none known.
        pub leader: Option<String>,
        pub as_of: Vec<Freshness>,
    }
}

//! Regions that could be added: where one would help, and what it would cost.

use crate::Freshness;

endpoint! {
    #[doc = "Ranks regions that could be added, with every factor and what is not known."]
    ExpansionRead: Get "/v1/planning/evaluate", Read, ExpansionReadRequest => Expansion;
    #[doc = "What VMs would cost in a region, beside what they cost in today's."]
    RegionCostRead: Get "/v1/planning/cost", Read, RegionCostReadRequest => RegionCost;
}

request! {
    /// Which regions to rank.
    pub struct ExpansionReadRequest {
        #[serde(default)]
        pub candidates: Vec<String>,
    }

    /// Which region, for how many VMs.
    pub struct RegionCostReadRequest {
        pub region: String,
        pub vms: u64,
    }
}

wire! {
    /// One thing that speaks for or against a region.
    pub struct ExpansionFactor {
        /// `latency`, `cost`, `compliance`, `shared risk`.
        pub factor: String,
        /// `null`: not known, and counted as nothing.
        pub points: Option<f64>,
        pub most: f64,
        pub found: String,
        pub from: String,
    }

    /// A region that could be added.
    pub struct ExpansionCandidate {
        pub region: String,
        /// It is a region of the federation already.
        pub there: bool,
        pub points: f64,
        /// Points that could be judged, of 100.
        pub judged: f64,
        pub factors: Vec<ExpansionFactor>,
    }

    /// All of them, best first.
    pub struct Expansion {
        pub candidates: Vec<ExpansionCandidate>,
        pub as_of: Vec<Freshness>,
    }

    /// What the VMs cost in one region.
    pub struct RegionCostLine {
        pub region: String,
        /// `null`: no price is known.
        pub usd_month: Option<f64>,
        pub from: String,
    }

    /// What a region would cost.
    pub struct RegionCost {
        pub vms: u64,
        /// The VM that it is reckoned with.
        pub vm_vcpus: f64,
        pub vm_memory_gib: f64,
        pub vm_disk_gib: f64,
        /// There is no VM to go by.
        pub vm_assumed: bool,
        pub region: RegionCostLine,
        pub today: Vec<RegionCostLine>,
        /// Mean of today's regions by their VMs; `null`: no price is known.
        pub today_usd_month: Option<f64>,
        /// Below 0: dearer.
        pub saving_percent: Option<f64>,
        /// It saves more than `worth_percent`.
        pub worth_it: Option<bool>,
        pub worth_percent: f64,
        pub transfer_usd_gib: Option<f64>,
        pub transfer_from: String,
        pub break_even_months: Option<f64>,
        /// What is not known.
        pub missing: Vec<String>,
        pub as_of: Vec<Freshness>,
    }
}

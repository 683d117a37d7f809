//! What regions have, what of it is given away and used, and for how long it lasts.

use crate::Freshness;

endpoint! {
    #[doc = "What each region has of each resource, and how near its thresholds it is."]
    CapacityRead: Get "/v1/capacity", Read, CapacityReadRequest => CapacitySummary, measured;
}

request! {
    /// Of which region.
    pub struct CapacityReadRequest {
        /// `null`: all.
        pub region: Option<String>,
    }
}

wire! {
    /// Where a resource stands.
    #[derive(Eq, Copy)]
    #[serde(rename_all = "snake_case")]
    pub enum CapacityState {
        Ok,
        Warning,
        Critical,
        Unknown,
    }

    /// A resource of a region.
    pub struct CapacityRow {
        pub region: String,
        /// `cpu`, `memory`, `storage`, `network`, `vm_count`.
        pub resource: String,
        /// Of the amounts: `vCPU`, `MiB`, `GiB`, `VMs`; empty: there are none.
        pub unit: String,
        /// What can be given away; `null`: not known.
        pub capacity: Option<u64>,
        /// What is promised to VMs; `null`: not known.
        pub allocated: Option<u64>,
        /// What is left to be promised; `null`: not known.
        pub headroom: Option<u64>,
        /// What is really used, measured; `null`: not measured.
        pub used_percent: Option<f64>,
        /// Above these percentages it warns, and is critical.
        pub warning_percent: f64,
        pub critical_percent: f64,
        pub state: CapacityState,
        /// By how much the use grows, percentage points a day, over the last week; `null`: less than a day is known.
        pub growth_per_day: Option<f64>,
        /// Days until the use is critical if it grows on like that; 0: it is; `null`: never, or not known.
        pub days_to_critical: Option<f64>,
    }

    /// All resources of all regions.
    pub struct CapacitySummary {
        pub rows: Vec<CapacityRow>,
        /// Why something is missing.
        pub warnings: Vec<String>,
        pub as_of: Vec<Freshness>,
    }
}

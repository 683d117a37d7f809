//! How many controllers decide about placements in each region, and how they do.

use crate::Freshness;

endpoint! {
    #[doc = "The controllers of every region, or of one: where they run, what they decided, how far they are."]
    ControllersRead: Get "/v1/controllers", Read, ControllersRequest => Controllers;
    #[doc = "Says how many controllers or routers a region has, or every active region that can have so many."]
    ControllersScale: Post "/v1/controllers/scale", Operate, ControllersScaleRequest => ControllersScaled;
}

request! {
    /// Which controllers.
    pub struct ControllersRequest {
        /// Only of this region.
        pub region: Option<String>,
    }

    /// How many; either `count` or `change`.
    pub struct ControllersScaleRequest {
        /// `controller` or `router`: nothing else is replicated within a region.
        pub component: String,
        /// The region; `null`: every active region that can have so many.
        pub region: Option<String>,
        /// So many, the one that is always there among them.
        pub count: Option<u64>,
        /// So many more, or fewer when below 0.
        pub change: Option<i64>,
        /// Why, for the events.
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// A controller beside a region's node.
    #[derive(Eq)]
    pub struct ControllerReplica {
        pub host: String,
        /// Its number among that host's.
        pub slot: u64,
        pub pid: u64,
        pub version: String,
        /// It knows all facts, and is asked.
        pub ready: bool,
        /// Decisions that it made and that were used.
        pub decided: u64,
        /// Decisions that it did not make in time, or that did not hold.
        pub failed: u64,
        /// The mean time from asking it to its answer, microseconds; `null` before the first.
        pub mean_us: Option<u64>,
        /// How far it is behind its node, milliseconds.
        pub lag_ms: u64,
    }

    /// The controllers of a region.
    pub struct RegionControllers {
        pub region: String,
        /// So many are wanted, the node's own among them.
        pub wanted: u64,
        /// So many decide, the node's own among them; `null`: its node is not heard.
        pub up: Option<u64>,
        /// So many could be wanted: one in its node, the others on its hosts; `null`: unknown.
        pub most: Option<u64>,
        pub replicas: Vec<ControllerReplica>,
        /// Decisions of its node's process, made by the node itself; `null` with all that follows: its node is not heard.
        pub decided_by_node: Option<u64>,
        /// Made by the others.
        pub decided_by_replicas: Option<u64>,
        /// Handed to another that did not answer in time, and then made by the node.
        pub late: Option<u64>,
        /// Made by another, and not used because the place did not hold.
        pub not_held: Option<u64>,
        /// Decisions a second, over the last ten.
        pub per_second: Option<f64>,
        /// How long the newest decisions took, microseconds; `null` before the first.
        pub p50_us: Option<u64>,
        pub p95_us: Option<u64>,
        pub p99_us: Option<u64>,
        /// What hosts say is wrong.
        pub troubles: Vec<String>,
    }

    /// The controllers of regions.
    pub struct Controllers {
        pub regions: Vec<RegionControllers>,
        pub as_of: Vec<Freshness>,
    }

    /// A region's controllers or routers before and after.
    #[derive(Eq)]
    pub struct RegionScaled {
        pub region: String,
        pub before: u64,
        pub after: u64,
    }

    /// What was changed, or would be.
    #[derive(Eq)]
    pub struct ControllersScaled {
        pub regions: Vec<RegionScaled>,
        /// Active regions that were passed over, and why.
        pub left_out: Vec<String>,
    }
}

//! The controllers: placement cache, scoring.

use std::collections::BTreeMap;

use crate::Freshness;

endpoint! {
    #[doc = "How the controllers are configured."]
    ControllerRead: Get "/v1/controller", Read, crate::page::Nothing => Controller;
    #[doc = "Configures the controllers of every region, live."]
    ControllerConfigure: Put "/v1/controller", Operate, ControllerConfigureRequest => Controller;
    #[doc = "The placement cache: size, hits, what invalidated it."]
    CacheStatsRead: Get "/v1/controller/cache-stats", Read, crate::page::Nothing => CacheStatsAnswer;
}

request! {
    /// What to change; what is `null` stays.
    pub struct ControllerConfigureRequest {
        /// How long tables of candidate hosts are kept; 0 keeps none from one decision to the next.
        pub placement_cache_ttl_ms: Option<u64>,
        /// Several threads for one decision that has much to look at.
        pub parallel_scoring: Option<bool>,
        /// `balanced`, `latency`, `cost`, `pack`, `spread`, `custom`.
        pub profile: Option<String>,
        /// Weights of the profile `custom` in hundredths: `latency`, `cost`, `capacity`, `health`, `priority`.
        #[serde(default)]
        pub weights: BTreeMap<String, u32>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// Configuration of the controllers.
    pub struct Controller {
        pub placement_cache_ttl_ms: u64,
        pub parallel_scoring: bool,
        pub profile: String,
        pub weights: BTreeMap<String, u32>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
        pub as_of: Vec<Freshness>,
    }

    /// The placement cache of one region.
    #[derive(Eq)]
    pub struct CacheStats {
        pub region: String,
        /// Hosts held.
        pub entries: u64,
        /// Each decision asks for one table a region: those that were used as they were kept.
        pub hits: u64,
        /// Those that had to be made, or to follow what had changed.
        pub misses: u64,
        /// Misses because hosts, or their room, had changed.
        pub invalidations: u64,
        /// Misses because the table was older than `placement_cache_ttl_ms`.
        #[serde(default)]
        pub expirations: u64,
        /// Since when these are counted, milliseconds since 1970 (UTC).
        pub since_at_ms: u64,
    }

    /// The caches of all regions that could be asked.
    #[derive(Eq)]
    pub struct CacheStatsAnswer {
        pub caches: Vec<CacheStats>,
        pub as_of: Vec<Freshness>,
    }
}

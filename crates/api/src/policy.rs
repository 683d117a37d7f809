//! Policies of the federation: automatic failover, overcommit, scoring.

use crate::Freshness;

endpoint! {
    #[doc = "The federation's policies."]
    PoliciesRead: Get "/v1/policies", Read, crate::page::Nothing => Policies;
    #[doc = "Changes the federation's policies; what is null stays."]
    PoliciesSet: Put "/v1/policies", Administer, PoliciesSetRequest => Policies;
}

request! {
    /// What to change; what is `null` stays.
    pub struct PoliciesSetRequest {
        pub auto_failover: Option<bool>,
        /// How long a region must be silent before it is declared lost.
        pub hysteresis_ms: Option<u64>,
        /// Most automatic failovers in an hour.
        pub failovers_per_hour: Option<u32>,
        /// vCPUs given away for each real one.
        pub cpu_overcommit: Option<f64>,
        pub memory_overcommit: Option<f64>,
        pub scoring_profile: Option<String>,
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// The federation's policies.
    pub struct Policies {
        pub auto_failover: bool,
        pub hysteresis_ms: u64,
        pub failovers_per_hour: u32,
        pub cpu_overcommit: f64,
        pub memory_overcommit: f64,
        pub scoring_profile: String,
        pub revision: u64,
        pub as_of: Vec<Freshness>,
    }
}

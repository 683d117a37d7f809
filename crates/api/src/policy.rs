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
        /// How long a majority must not have heard of a region before it counts as lost.
        pub loss_after_ms: Option<u64>,
        /// How long a region that came back must be heard before it counts as returned.
        pub return_after_ms: Option<u64>,
        /// Most automatic failovers in an hour.
        pub failovers_per_hour: Option<u32>,
        /// vCPUs that may be placed for each hundred real ones.
        pub cpu_overcommit_percent: Option<u32>,
        /// Memory that may be placed, of what is there.
        pub memory_overcommit_percent: Option<u32>,
        /// Promised from the death of a region until the last of its VMs answers elsewhere.
        pub rto_target_ms: Option<u64>,
        pub scoring_profile: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// The federation's policies.
    pub struct Policies {
        pub auto_failover: bool,
        pub loss_after_ms: u64,
        pub return_after_ms: u64,
        pub failovers_per_hour: u32,
        pub cpu_overcommit_percent: u32,
        pub memory_overcommit_percent: u32,
        /// Promised from the death of a region until the last of its VMs answers elsewhere; `null`: an older region answers.
        #[serde(default)]
        pub rto_target_ms: Option<u64>,
        pub scoring_profile: String,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
        pub as_of: Vec<Freshness>,
    }
}

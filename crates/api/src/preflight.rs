//! A region's hosts looked at before it is deployed.

use crate::Freshness;

endpoint! {
    #[doc = "Measures the hosts of a pool now: whether its region can be deployed of them."]
    RegionPreflight: Post "/v1/regions/{region}/preflight", Read, PreflightRequest => Preflight, measured;
}

request! {
    /// The region that is to be deployed.
    pub struct PreflightRequest {
        pub region: String,
    }
}

wire! {
    /// What came of a check.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum CheckVerdict {
        Ok,
        /// It works, and somebody should look.
        Warning,
        Failed,
        /// It could not be measured.
        Unknown,
    }

    /// One check.
    #[derive(Eq)]
    pub struct Check {
        /// The host, or the region; `null`: it is about the whole.
        pub subject: Option<String>,
        /// What was looked at, such as `fsync`.
        pub check: String,
        pub verdict: CheckVerdict,
        /// What was seen, with numbers.
        pub measured: String,
        /// What it was held against; empty: there is no limit.
        pub limit: String,
        /// What to do; empty: nothing.
        pub advice: String,
    }

    /// Every check.
    pub struct Preflight {
        pub region: String,
        pub checks: Vec<Check>,
        pub took_ms: u64,
        pub as_of: Vec<Freshness>,
    }
}

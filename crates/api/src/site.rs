//! What operators say of a region: its settings, where its users reach it, when it is to end.

use crate::Freshness;

endpoint! {
    #[doc = "Sets what a region is like; what is not given stays as it is."]
    RegionConfigure: Post "/v1/regions/{region}/configure", Administer, RegionConfigureRequest => RegionConfigured;
    #[doc = "Where users reach each region."]
    EndpointList: Get "/v1/endpoints", Read, EndpointListRequest => Endpoints;
    #[doc = "Adds a public endpoint of a region, or takes it away."]
    EndpointSet: Post "/v1/regions/{region}/endpoints", Administer, EndpointSetRequest => EndpointChanged;
    #[doc = "Announces that a region is to end, or calls that off."]
    RegionDecommission: Post "/v1/regions/{region}/decommission", Administer, DecommissionRequest => Decommissioned;
}

request! {
    /// What a region is like; `null`: as it is.
    pub struct RegionConfigureRequest {
        pub region: String,
        /// For people.
        pub display_name: Option<String>,
        pub zones: Option<Vec<String>>,
        /// Degrees, north above 0; with `longitude`.
        pub latitude: Option<f64>,
        /// Degrees, east above 0.
        pub longitude: Option<f64>,
        /// VMs that it may hold, whatever its hosts have room for; 0: as many as fit.
        pub max_vms: Option<u64>,
        /// Preferred in placement, 0 to 100.
        pub priority: Option<u8>,
        /// Tags it carries: `gdpr`, `hipaa`, …
        pub compliance: Option<Vec<String>>,
        /// Whose law it is under: `eu`, `us`, …
        pub jurisdiction: Option<String>,
        pub vcpu_usd_hour: Option<f64>,
        pub memory_gib_usd_hour: Option<f64>,
        pub disk_gib_usd_hour: Option<f64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Of which region.
    pub struct EndpointListRequest {
        /// `null`: of all.
        pub region: Option<String>,
    }

    /// An endpoint to add or to take away.
    pub struct EndpointSetRequest {
        pub region: String,
        pub ip: String,
        pub port: u16,
        /// Take it away.
        #[serde(default)]
        pub remove: bool,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// When a region is to end.
    pub struct DecommissionRequest {
        pub region: String,
        /// Milliseconds since 1970 (UTC); `null`: it is called off. A date that is past is due now.
        pub at_ms: Option<u64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// One setting before and after.
    #[derive(Eq)]
    pub struct Setting {
        pub name: String,
        pub before: String,
        pub after: String,
    }

    /// A region as it is after it was configured (or would be, in a dry run).
    #[derive(Eq)]
    pub struct RegionConfigured {
        pub region: String,
        /// False: it was so already.
        pub changed: bool,
        /// Every setting, changed or not.
        pub settings: Vec<Setting>,
        /// What does not fit to what is there.
        pub warnings: Vec<String>,
    }

    /// Where users reach a region.
    #[derive(Eq)]
    pub struct PublicEndpoint {
        pub ip: String,
        pub port: u16,
    }

    /// The endpoints of a region.
    #[derive(Eq)]
    pub struct RegionEndpoints {
        pub region: String,
        pub endpoints: Vec<PublicEndpoint>,
        /// Where its node's API answers, `ip:port`.
        pub node: String,
    }

    /// All of them.
    pub struct Endpoints {
        pub regions: Vec<RegionEndpoints>,
        pub as_of: Vec<Freshness>,
    }

    /// The endpoints of a region after a change (or as they would be, in a dry run).
    #[derive(Eq)]
    pub struct EndpointChanged {
        pub region: String,
        /// False: it was so already.
        pub changed: bool,
        pub endpoints: Vec<PublicEndpoint>,
    }

    /// The announced end of a region.
    #[derive(Eq)]
    pub struct Decommission {
        /// Milliseconds since 1970 (UTC).
        pub at_ms: u64,
        pub by: String,
        pub reason: String,
        /// The date is here, or past.
        pub due: bool,
    }

    /// A region's end after a change (or as it would be, in a dry run).
    #[derive(Eq)]
    pub struct Decommissioned {
        pub region: String,
        /// False: it was so already.
        pub changed: bool,
        /// `null`: none is announced.
        pub decommission: Option<Decommission>,
        /// What follows from it.
        pub notes: Vec<String>,
    }
}

//! Where users' requests go: services, how routers decide, and what routers are doing.

use std::collections::BTreeMap;

use crate::Freshness;
use crate::site::Setting;

endpoint! {
    #[doc = "How routers decide."]
    RoutingRead: Get "/v1/routing", Read, RoutingReadRequest => Routing;
    #[doc = "Sets how routers decide; what is not given stays as it is."]
    RoutingConfigure: Post "/v1/routing/configure", Administer, RoutingConfigureRequest => RoutingConfigured;
    #[doc = "What users reach, and under which names."]
    ServiceList: Get "/v1/services", Read, ServiceListRequest => Services;
    #[doc = "Makes a service, or makes it another one."]
    ServiceSet: Post "/v1/services/{service}", Administer, ServiceSetRequest => ServiceChanged;
    #[doc = "Takes a service away: its names lead nowhere."]
    ServiceRemove: Post "/v1/services/{service}/remove", Administer, ServiceRemoveRequest => ServiceChanged;
    #[doc = "Sends no new clients to an endpoint of a service, or sends them again."]
    ServiceDrain: Post "/v1/services/{service}/drain", Operate, ServiceDrainRequest => ServiceChanged;
    #[doc = "Every router that is heard of."]
    RouterList: Get "/v1/routers", Read, RouterListRequest => Routers;
    #[doc = "Where a router would send somebody now, and why."]
    RouteSimulate: Post "/v1/routing/simulate", Read, RouteSimulateRequest => Simulated;
}

request! {
    /// Nothing to say.
    pub struct RoutingReadRequest {}

    /// How routers are to decide; `null`: as it is.
    pub struct RoutingConfigureRequest {
        /// `latency`, `cost`, `load_balanced`, `geo_proximity`, `hybrid`.
        pub algorithm: Option<String>,
        /// How much each counts in `hybrid`, 0 to 100.
        pub latency_weight: Option<u32>,
        pub cost_weight: Option<u32>,
        pub load_weight: Option<u32>,
        pub distance_weight: Option<u32>,
        pub health_weight: Option<u32>,
        /// Regions with a lower health score are used only when nothing better is there.
        pub least_health: Option<u8>,
        /// When a router's own checks find a smaller share of a service's endpoints well, percent, they are doubted.
        pub doubt_below_percent: Option<u32>,
        /// Requests that an endpoint carries at a time before it counts as full.
        pub endpoint_capacity: Option<u32>,
        /// Where a client was sent is remembered.
        pub cache_enabled: Option<bool>,
        pub cache_ttl_ms: Option<u64>,
        /// Time to live of DNS answers.
        pub dns_ttl_s: Option<u32>,
        /// How packets of each class of services are marked (DSCP), 0 to 63.
        pub critical_dscp: Option<u8>,
        pub standard_dscp: Option<u8>,
        pub bulk_dscp: Option<u8>,
        /// What each class has at least of an interface that is shaped, percent.
        pub critical_share: Option<u32>,
        pub standard_share: Option<u32>,
        pub bulk_share: Option<u32>,
        pub dpdk_enabled: Option<bool>,
        /// Processors, such as `0-7`.
        pub dpdk_cores: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Nothing to say.
    pub struct ServiceListRequest {}

    /// What a service is to be.
    pub struct ServiceSetRequest {
        pub service: String,
        /// Its names; `*`: every name that no other service has.
        pub hosts: Vec<String>,
        /// Labels that its VMs carry; none: every VM that is asked whether it serves.
        #[serde(default)]
        pub labels: BTreeMap<String, String>,
        /// `http`, `tls_passthrough`, `tcp`; `http` without it.
        pub protocol: Option<String>,
        /// The routers' port, for `tcp`.
        pub port: Option<u16>,
        /// The VMs' port; that of the address that a VM answers at without it.
        pub vm_port: Option<u16>,
        /// A client stays with the VM that it was sent to first, as long as that one is well.
        #[serde(default)]
        pub sticky: bool,
        /// `critical`, `standard`, `bulk`; `standard` without it.
        pub qos: Option<String>,
        /// HTTP path that each endpoint is asked for; without it a connection is enough.
        pub check_path: Option<String>,
        /// An address that the routers of all regions share.
        pub anycast: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which service to take away.
    pub struct ServiceRemoveRequest {
        pub service: String,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which endpoint is to take no new clients.
    pub struct ServiceDrainRequest {
        pub service: String,
        /// A VM's name or id.
        pub endpoint: String,
        /// It takes them again.
        #[serde(default)]
        pub undo: bool,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which routers.
    pub struct RouterListRequest {
        /// `null`: of all regions.
        pub region: Option<String>,
    }

    /// Who asks for what.
    pub struct RouteSimulateRequest {
        /// The client's address; `null`: one that nothing is known of.
        pub source_ip: Option<String>,
        /// A service, or one of its names.
        pub destination: String,
        /// The region whose router is asked; `null`: that of the node that answers.
        pub region: Option<String>,
    }
}

wire! {
    /// How routers decide.
    pub struct Routing {
        pub settings: Vec<Named>,
        /// The revision at which it was last changed; 0: never.
        pub revision: u64,
        /// Who changed it last; empty: nobody.
        pub by: String,
        pub at_ms: u64,
        /// What is written down and can't be read by this version.
        pub complaints: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// A setting.
    #[derive(Eq)]
    pub struct Named {
        pub name: String,
        pub value: String,
    }

    /// The settings after a change (or as they would be, in a dry run).
    #[derive(Eq)]
    pub struct RoutingConfigured {
        /// False: it was so already.
        pub changed: bool,
        pub settings: Vec<Setting>,
        /// What it does not mean.
        pub notes: Vec<String>,
    }

    /// A service.
    #[derive(Eq)]
    pub struct Service {
        pub service: String,
        pub hosts: Vec<String>,
        pub labels: BTreeMap<String, String>,
        pub protocol: String,
        pub port: Option<u16>,
        pub vm_port: Option<u16>,
        pub sticky: bool,
        pub qos: String,
        pub check_path: Option<String>,
        pub anycast: Option<String>,
        pub endpoints: Vec<ServiceEndpoint>,
    }

    /// An endpoint of a service.
    #[derive(Eq)]
    pub struct ServiceEndpoint {
        /// Its VM's name.
        pub name: String,
        pub region: String,
        pub address: String,
        /// By what the federation says.
        pub serves: bool,
        /// It takes no new clients.
        pub draining: bool,
    }

    /// All services.
    pub struct Services {
        pub services: Vec<Service>,
        pub complaints: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// A service after a change (or as it would be, in a dry run).
    #[derive(Eq)]
    pub struct ServiceChanged {
        pub service: String,
        /// False: it was so already.
        pub changed: bool,
        /// `null`: it is gone.
        pub now: Option<Service>,
    }

    /// A router.
    #[derive(Eq)]
    pub struct Router {
        pub region: String,
        pub host: String,
        pub number: u8,
        pub pid: u32,
        pub version: String,
        /// Where it serves, comma lists of `ip:port`.
        pub http: String,
        pub https: String,
        pub dns: String,
        /// The revision of the federation's facts that its table was made of.
        pub table_revision: u64,
        pub table_age_ms: u64,
        pub services: u64,
        pub endpoints: u64,
        pub endpoints_up: u64,
        pub connections: u64,
        pub requests: u64,
        pub failures: u64,
        pub dns_answers: u64,
        /// Decisions that a remembered one spared.
        pub remembered: u64,
        /// Decisions that were made.
        pub decided: u64,
        /// What is wrong with it; empty: nothing.
        pub trouble: String,
    }

    /// How many routers a region has.
    #[derive(Eq)]
    pub struct RegionRouters {
        pub region: String,
        /// So many are wanted, the one of its own settings among them.
        pub wanted: u64,
        /// So many are heard.
        pub up: u64,
        /// So many could be wanted; `null`: its node is not heard, or does not lead its group.
        pub most: Option<u64>,
        /// What hosts say is wrong with those that they run.
        pub troubles: Vec<String>,
    }

    /// All routers.
    pub struct Routers {
        pub routers: Vec<Router>,
        pub regions: Vec<RegionRouters>,
        pub as_of: Vec<Freshness>,
    }

    /// Where a router would send somebody.
    pub struct Simulated {
        /// The router's region.
        pub router: String,
        pub service: String,
        /// What is known of the client: its country, `DE`; empty: nothing.
        pub country: String,
        pub asn: Option<u32>,
        /// Where to; `null`: the service has no endpoint.
        pub choice: Option<Chosen>,
        /// Every region, the best first.
        pub regions: Vec<RouteScore>,
        /// How long the decision took, µs.
        pub took_us: f64,
    }

    /// A choice.
    #[derive(Eq)]
    pub struct Chosen {
        pub region: String,
        pub endpoint: String,
        pub address: String,
        /// `best`, `pinned`, `share`, `spilled`, `least_bad`.
        pub why: String,
        /// One sentence.
        pub reason: String,
    }

    /// A region in a decision. The lower, the better.
    pub struct RouteScore {
        pub region: String,
        /// `null`: it is not used.
        pub total: Option<f64>,
        /// What each comes to, 0 to 1, by name.
        pub terms: BTreeMap<String, f64>,
        pub latency_ms: Option<f64>,
        pub traffic_percent: u8,
        pub health: Option<u8>,
        pub load_percent: f64,
        pub endpoints_up: u64,
        pub endpoints: u64,
        /// Why it is not the best, or not used.
        pub note: String,
    }
}

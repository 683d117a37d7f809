//! What operators say about routing. Kept by the federation as documents.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What makes one region better than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The shortest round trip.
    Latency,
    /// The lowest price.
    Cost,
    /// Requests spread by free capacity.
    LoadBalanced,
    /// The shortest distance on the earth.
    GeoProximity,
    /// All of them, by the policy's weights.
    #[default]
    Hybrid,
}

/// How much each counts in [`Algorithm::Hybrid`], in percent of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    pub latency: u32,
    pub cost: u32,
    pub load: u32,
    pub distance: u32,
    pub health: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { latency: 45, cost: 5, load: 20, distance: 10, health: 20 }
    }
}

/// How full a region may be, in percent of its capacity, before requests of each class go to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spill {
    pub critical: u32,
    pub standard: u32,
    pub bulk: u32,
}

impl Default for Spill {
    fn default() -> Self {
        Spill { critical: 95, standard: 85, bulk: 70 }
    }
}

/// How packets of each class are marked (DSCP, RFC 2474, 0 to 63), for the networks between a router and its clients and endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    pub critical: u8,
    pub standard: u8,
    pub bulk: u8,
}

impl Default for Marks {
    /// Low-latency data (AF21, RFC 4594), as any other traffic, and least effort (LE, RFC 8622).
    fn default() -> Self {
        Marks { critical: 18, standard: 0, bulk: 1 }
    }
}

/// What each class has at least of a router's interface that is shaped, in percent. What one leaves, the others get, those that matter
/// more first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    pub critical: u32,
    pub standard: u32,
    pub bulk: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Shares { critical: 50, standard: 40, bulk: 10 }
    }
}

/// How routers decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingPolicy {
    pub algorithm: Algorithm,
    pub weights: Weights,
    pub spill: Spill,
    /// Regions with a lower health score than this are used only when nothing better is there.
    pub least_health: u8,
    /// When a router's own checks find fewer than this share of a service's endpoints well, in percent, the checks are
    /// doubted: what the federation says of the endpoints counts instead.
    pub doubt_below_percent: u32,
    /// Requests that one endpoint carries at a time before it counts as full.
    pub endpoint_capacity: u32,
    /// Where a client was sent is remembered and used again.
    pub cache: bool,
    /// For how long, ms.
    pub cache_ttl_ms: u64,
    /// The time to live of DNS answers, s.
    pub dns_ttl_s: u32,
    pub dscp: Marks,
    pub shares: Shares,
    /// Packets are filtered by DPDK on the routers that can.
    pub dpdk: bool,
    /// On these processors, such as `0-7`.
    pub dpdk_cores: String,
}

impl Default for RoutingPolicy {
    fn default() -> Self {
        RoutingPolicy {
            algorithm: Algorithm::default(),
            weights: Weights::default(),
            spill: Spill::default(),
            least_health: 60,
            doubt_below_percent: 50,
            endpoint_capacity: 1_000,
            cache: true,
            cache_ttl_ms: 60_000,
            dns_ttl_s: 5,
            dscp: Marks::default(),
            shares: Shares::default(),
            dpdk: false,
            dpdk_cores: String::new(),
        }
    }
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP: requests are routed one by one, also when they came by TLS or HTTP/2.
    #[default]
    Http,
    /// TLS that is passed through by the name that the client says; nobody but the endpoint reads it.
    TlsPassthrough,
    /// TCP connections to a port of the router.
    Tcp,
}

/// How much a service's requests matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Qos {
    Critical,
    #[default]
    Standard,
    Bulk,
}

/// What users reach under one or more names: VMs that carry all of its labels, or all VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its names in DNS and in requests, lower case; `*` stands for every name that no other service has.
    pub hosts: BTreeSet<String>,
    /// Labels of its VMs; empty: every VM that is asked whether it serves.
    pub labels: BTreeMap<String, String>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The router's port, for [`Protocol::Tcp`].
    pub port: Option<u16>,
    /// The VM's port; none: that of the address that the VM answers at.
    pub vm_port: Option<u16>,
    /// A client stays with the VM that it was sent to first, as long as that one is well.
    pub sticky: bool,
    pub qos: Qos,
    /// What is asked of each endpoint to see whether it is well; none: a connection is enough.
    pub check_path: Option<String>,
    /// One address that every router announces and answers at, shared by all of its regions.
    pub anycast: Option<String>,
    /// Endpoints (VMs' names or ids, or `ip:port`) that take no new clients.
    pub draining: BTreeSet<String>,
}

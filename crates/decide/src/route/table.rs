//! What a router knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Protocol, Qos, RoutingPolicy};

/// A place on the earth, degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// North above 0.
    pub latitude: f32,
    /// East above 0.
    pub longitude: f32,
}

/// A region, as a router in [`Table::here`] sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegionRow {
    pub region: String,
    /// It takes users' traffic at all: active, present, not switched off.
    pub takes_part: bool,
    /// Share of the traffic that it could have which it takes, 0 to 100.
    pub traffic_percent: u8,
    /// Its health score; none: unknown.
    pub health: Option<u8>,
    /// Round trip from here, ms; none: not measured.
    pub rtt_ms: Option<u32>,
    pub place: Option<Place>,
    /// What an hour of the usual VM costs there, millionths of a dollar.
    pub price_micros: u64,
    /// Where users reach its routers; empty: not known.
    #[serde(default)]
    pub routers: Vec<IpAddr>,
}

/// An endpoint of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// The VM's id as text: the same wherever it moves.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Index of its region in [`Table::regions`].
    pub region: u16,
    pub zone: String,
    pub address: SocketAddr,
    /// The federation says that it serves.
    pub serves: bool,
    /// It takes no new clients; those that are pinned to it stay.
    pub draining: bool,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    pub name: String,
    pub hosts: Vec<String>,
    pub protocol: Protocol,
    pub port: Option<u16>,
    pub sticky: bool,
    pub qos: Qos,
    pub check_path: Option<String>,
    pub anycast: Option<String>,
    /// Sorted by region, then by id.
    pub endpoints: Vec<EndpointRow>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The router's region.
    pub here: String,
    /// When it was made.
    pub made_at_ms: u64,
    /// The facts that it was made of: for each group up to where. A table of older facts never replaces it.
    pub revisions: BTreeMap<u64, u64>,
    /// The federation's restoration that the facts are of; a table of an earlier one never replaces it.
    pub restoration: u64,
    pub policy: RoutingPolicy,
    /// Sorted by id.
    pub regions: Vec<RegionRow>,
    /// Sorted by name.
    pub services: Vec<ServiceRow>,
}

//! Where a user's request goes: which region, and which VM there.
//!
//! A [`Table`] is what a router knows: made from the federation's facts and measurements, written to disk, read by every decision. A
//! decision is a pure function of the table, of who asks, and of what the router sees of the endpoints itself ([`Live`]).

mod build;
mod check;
mod choose;
mod explain;
mod plan;
mod rate;
mod reading;
mod settings;
mod sphere;
mod table;

pub use build::{Built, POLICY_ID, build};
pub use choose::{Choice, Why};
pub use explain::{Explained, RegionScore};
pub use plan::Plan;
pub use rate::Terms;
pub use settings::{Algorithm, Marks, Protocol, Qos, RoutingPolicy, Service, Shares, Spill, Weights};
pub use table::{EndpointRow, Place, RegionRow, ServiceRow, Table};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// Spreads requests over what is equally good: the same key goes the same way as long as nothing changes. A hash of a
    /// session, of a subnet, or of a connection.
    pub key: u64,
    /// Where it is; none: unknown, then it is taken to be where the router is.
    pub place: Option<Place>,
    /// The endpoint (its index in the service) that it was sent to before and is to stay at.
    pub pinned: Option<u32>,
}

/// What a router sees of the endpoints of a service right now.
pub trait Live {
    /// Its own checks and requests find it well. True also when it has not been looked at yet.
    fn is_up(&self, endpoint: u32) -> bool;
    /// Requests and connections under way to it, of this router.
    fn open(&self, endpoint: u32) -> u32;
    /// What a region's endpoints come to.
    fn region(&self, region: u16) -> Sums;
    /// Endpoints of all regions that count ([`Sums::ready`] where all is well) and that nobody has to doubt: those that are up,
    /// and those that requests found dead. Checks alone may be what is wrong.
    fn undoubted(&self) -> u32;
}

/// What a router sees of a service's endpoints in one region, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Endpoints that are up, serve by what the federation says, and take new clients.
    pub ready: u32,
    /// Endpoints that are up.
    pub up: u32,
    /// Requests and connections under way.
    pub open: u32,
}

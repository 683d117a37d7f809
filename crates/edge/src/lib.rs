//! A router's data path: DNS, the HTTP, TLS and TCP proxy, and what keeps attackers out.
//!
//! Everything here goes on with the last [`routes::Routes`] when nobody tells new ones.

pub mod dns;
pub mod dpdk;
pub mod figures;
pub mod geo;
pub mod guard;
mod keep;
pub mod kernel;
mod names;
mod pool;
pub mod proxy;
mod remembered;
pub mod repeated;
pub mod router;
pub mod routes;
pub mod shield;

//! Five regions, their networks, disks and hosts in one thread under one seed, with checkers.
//!
//! The same code runs here as in production: [`dwcp_roles::node::Node`] and [`dwcp_roles::agent::Agent`]. What is simulated
//! is only what surrounds them: the network ([`net`]), the disks ([`disk`]), the hosts with their watchdogs and hypervisors
//! ([`host`]), people ([`client`]) and misfortune ([`faults`]). One seed decides everything, so a run can be repeated.

pub mod arguments;
pub mod checkers;
pub mod client;
pub mod copies;
pub mod disk;
pub mod faults;
mod founding;
pub mod host;
pub mod images;
pub mod layout;
pub mod members;
pub mod migrations;
pub mod moves;
mod net;
pub mod options;
pub mod partitions;
pub mod prove;
pub mod recording;
pub mod replicas;
mod restoration;
pub mod run;
pub mod scenario;
pub mod steps;
pub mod swarm;
pub mod upgrades;
pub mod world;

//! The HTTP API as types: endpoints, requests, responses, problems, paging.
//!
//! One file a resource. Every endpoint is a unit type that implements [`Endpoint`]; [`endpoints`] is the table of
//! all of them, [`openapi`] the document made from it. Names are snake_case, units stand last (`took_ms`), and a
//! value that is not known is `null`, never 0.

#[macro_use]
mod macros;

mod endpoint;

pub mod alert;
pub mod backup;
pub mod capacity;
pub mod configuration;
pub mod controller;
pub mod controllers;
pub mod dashboards;
pub mod drill;
pub mod event;
pub mod failover;
pub mod federation;
pub mod freeze;
pub mod guard;
pub mod host;
pub mod image;
pub mod incident;
pub mod inspection;
pub mod link;
pub mod log;
pub mod maintenance;
pub mod membership;
pub mod metrics;
pub mod migration;
pub mod network;
pub mod notification;
pub mod on_call;
pub mod openapi;
pub mod operation;
pub mod page;
pub mod planning;
pub mod policy;
pub mod preflight;
pub mod problem;
pub mod promises;
pub mod protection;
pub mod region;
pub mod restoration;
pub mod routing;
pub mod server;
pub mod session;
pub mod settings;
pub mod site;
pub mod sla;
pub mod state;
pub mod survivability;
pub mod table;
pub mod token;
pub mod trace;
pub mod upgrade;
pub mod vm;
pub mod vm_spec;

pub use endpoint::{Call, Endpoint, MEASURED_WITHIN, Method, Permission, Role, decode, encode};
pub use openapi::openapi;
pub use page::{Freshness, Page};
pub use problem::Problem;
pub use table::{EndpointRow, endpoints};

/// Header that makes a write safe to repeat: the same key is carried out once. Source: the client, one a command.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header that finds the server's log of a request. Set by the client or, where it is missing, by the server.
pub const REQUEST_ID: &str = "x-request-id";
/// Header by which a client says which trace a request belongs to (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
/// Media type of an error body.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Media type of a watch stream: one JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";

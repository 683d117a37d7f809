//! Metrics, PromQL and logs: what was measured and said, kept in its region and read from every other.
//!
//! [`model`] is what all of it is about: series of samples, named by labels. A [`Source`] hands them out: a store on a disk,
//! another region, or a foreign Prometheus. Everything here is synchronous; whoever serves it gives it threads.

pub mod alerting;
pub mod exposition;
pub mod incidents;
pub mod logs;
pub mod model;
pub mod notify;
pub mod otlp;
pub mod promql;
mod protobuf;
pub mod query_api;
pub mod registry;
pub mod remote_write;
pub mod rules;
pub mod scrape;
pub mod store;

pub use model::{Histogram, Labels, Matcher, Sample, Select, Selected, Series, Source, SourceError, Value};

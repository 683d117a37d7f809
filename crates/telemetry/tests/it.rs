//! Queries over series in memory, against what the documentation of Prometheus says they mean.

#[path = "it/promql.rs"]
mod promql;

//! Telemetry through its public interface; with a real Prometheus where one is installed.

mod exposition;
mod http;
mod logs;
mod prometheus;
mod prometheus_process;
mod promql;
mod shipped_rules;
mod store;
mod tolerance;

//! Metrics as they are shown, read, scraped and pushed; with a real Prometheus where one is installed.

mod exposition;
mod http;
mod prometheus;
mod prometheus_process;
//! Tests of telemetry through its public interface.

mod logs;

//! Tests of telemetry through its public interface.

mod logs;

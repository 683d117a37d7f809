//! Placement, failover and health as pure functions: a snapshot in, a plan and its report out.

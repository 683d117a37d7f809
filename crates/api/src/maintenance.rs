//! Maintenance windows of regions and hosts.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Plans a maintenance window of a region or a host."]
    MaintenanceSchedule: Post "/v1/maintenance", Operate, MaintenanceScheduleRequest => MaintenanceAnswer;
    #[doc = "Lists maintenance windows, the next one first; with `all` also those that are over or called off."]
    MaintenanceList: Get "/v1/maintenance", Read, MaintenanceListRequest => Page<MaintenanceWindow>;
    #[doc = "Calls a maintenance window off; one that has begun ends at once."]
    MaintenanceCancel: Post "/v1/maintenance/{window}/cancel", Operate, MaintenanceCancelRequest => MaintenanceAnswer;
}

request! {
    /// A window to plan: of a region, or of a host.
    pub struct MaintenanceScheduleRequest {
        pub region: Option<String>,
        /// A host by name or `region/name`.
        pub host: Option<String>,
        /// Milliseconds since 1970 (UTC).
        pub starts_at_ms: u64,
        /// Up to 31 days.
        pub duration_ms: u64,
        pub reason: String,
        /// Stop placement at the beginning and give it back at the end.
        #[serde(default)]
        pub no_placement: bool,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which windows to list.
    pub struct MaintenanceListRequest {
        /// Only of this region, and of its hosts.
        pub region: Option<String>,
        /// Also those that are over or called off.
        #[serde(default)]
        pub all: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which window to call off.
    pub struct MaintenanceCancelRequest {
        /// `window-001`.
        pub window: String,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// Where a window is in its life.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum WindowState { Planned, Running, Over, Cancelled }

    /// A maintenance window.
    #[derive(Eq)]
    pub struct MaintenanceWindow {
        /// `window-001`; empty in a dry run.
        pub window: String,
        pub region: String,
        /// `null`: the whole region.
        pub host: Option<String>,
        pub state: WindowState,
        /// Milliseconds since 1970 (UTC).
        pub starts_at_ms: u64,
        pub ends_at_ms: u64,
        pub reason: String,
        pub by: String,
        /// Placement stops at the beginning and comes back at the end.
        pub no_placement: bool,
        /// The newest notice that was given: `planned`, `7 days`, `24 hours`, `started`, `ended`.
        pub notice: String,
        pub cancelled_at_ms: Option<u64>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// A window as it is after a change (or would be, in a dry run).
    #[derive(Eq)]
    pub struct MaintenanceAnswer {
        pub window: MaintenanceWindow,
        /// Other windows at the same time, and what would not survive during this one.
        pub warnings: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// The window that something is in now.
    #[derive(Eq)]
    pub struct InMaintenance {
        pub window: String,
        /// Milliseconds since 1970 (UTC).
        pub until_at_ms: u64,
        pub reason: String,
    }
}

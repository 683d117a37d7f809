//! Commands about maintenance windows.

use clap::{Args, Subcommand};
use dwcp_config::units::{self, Moment};

#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Plan a window: it is told 7 days and 24 hours before, when it begins and when it is over.
    ///
    /// Within it, warnings of the region or host are marked as muted, and its health says until when. Failovers are not
    /// muted: a region that dies in its window is failed over as any other.
    Schedule(MaintenanceSchedule),
    /// List windows, the next one first.
    List {
        /// Only of this region, and of its hosts.
        #[arg(long)]
        region: Option<String>,
        /// Also those that are over or called off.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        all: bool,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Call a window off; one that has begun ends at once.
    Cancel {
        /// window-001, …
        #[arg(long, value_name = "ID")]
        id: String,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct MaintenanceSchedule {
    /// The region.
    #[arg(long, required_unless_present = "host", conflicts_with = "host")]
    pub region: Option<String>,
    /// One host, by name or region/name.
    #[arg(long)]
    pub host: Option<String>,
    /// When it begins: 2026-11-29T02:00Z (UTC), or from now on: +2h.
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    pub start: Moment,
    /// How long it lasts, at most 31d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub duration: u64,
    /// Why; it stands in the notices and in the audit log.
    #[arg(long)]
    pub reason: String,
    /// Stop placement when it begins, and give it back when it is over.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub no_placement: bool,
}

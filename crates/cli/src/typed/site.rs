//! What operators say of a region, and how it is looked at.

use std::path::PathBuf;

use clap::Args;
use dwcp_config::units::{self, Moment};

#[derive(Debug, Args)]
pub struct RegionConfigureArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// What it is like, a YAML file; what is not in it stays as it is.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct RegionVerifyArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// Also place a small VM there, move it to another region and back while it runs, and delete it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub full: bool,
}

#[derive(Debug, Args)]
pub struct AnnounceDecommission {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// When it is due: 2027-03-01, 2027-03-01T12:00Z (UTC), or from now on: +30d. A date that is past is due now.
    #[arg(long, value_name = "DATE", value_parser = units::moment, required_unless_present = "cancel")]
    pub decommission_date: Option<Moment>,
    /// Call it off.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub cancel: bool,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

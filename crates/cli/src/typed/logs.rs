//! Commands about logs.

use clap::{Args, Subcommand};
use dwcp_config::units;

use super::Words;

#[derive(Debug, Subcommand)]
pub enum LogsCommand {
    /// Lines of the logs of every region, merged by time, the oldest first; those of a region that is gone come from copies.
    ///
    /// Such as: dwcp-cli logs query --component security --level warning,error --since 24h
    Query(LogsQuery),
}

#[derive(Debug, Args)]
pub struct LogsQuery {
    /// federation-controller, state-manager, global-router, firewall, monitor, security, agent; several with commas.
    #[arg(long, value_name = "NAME[,NAME…]", value_parser = super::words)]
    pub component: Option<Words>,
    #[command(flatten)]
    pub lines: WantedLines,
    /// Lines of one request.
    #[arg(long, value_name = "ID")]
    pub request: Option<String>,
    /// Go on with what is written from now on.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub follow: bool,
}

/// Which lines of a log.
#[derive(Debug, Args)]
pub struct WantedLines {
    /// info, warning, error; several with commas.
    #[arg(long, value_name = "LEVEL[,LEVEL…]", value_parser = super::words)]
    pub level: Option<Words>,
    /// Only lines not older than this: 24h.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub since: Option<u64>,
    /// One region.
    #[arg(long)]
    pub region: Option<String>,
    /// A regular expression that the text, or a field as name=value, matches.
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// The newest so many [default: 1000].
    #[arg(long, value_parser = units::count)]
    pub limit: Option<u32>,
}

#[derive(Debug, Args)]
pub struct RegionLogs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// Only lines not older than this: 24h.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub since: Option<u64>,
}

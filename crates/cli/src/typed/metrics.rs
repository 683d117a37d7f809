//! Commands about metrics.

use clap::{Args, Subcommand};
use dwcp_config::units::{self, Moment};

use super::Words;

#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Evaluate a PromQL expression over every region.
    ///
    /// Without --range: now, or at --at. With --range and --step: a value every step, drawn as a line. With --range alone: one value;
    /// histogram_quantile(Q, NAME) is then taken over what was observed within the range.
    ///
    /// histogram_quantile(Q, NAME) with a bare name is over all regions together; aggregate yourself for other groups, such as
    /// histogram_quantile(0.99, sum by (region) (NAME)). '*' in a metric's name stands for anything: one row a name.
    ///
    /// Such as: dwcp-cli metrics query 'avg(dwcp_federation_cpu_utilization) by (region)' --range 7d --step 1h
    Query(MetricsQuery),
    /// Write figures down, one row a day (UTC): day, date, then a column each. CSV where no other --format is asked for.
    ///
    /// Such as: dwcp-cli metrics export --metrics vm_count,cpu_usage --range 90d --output capacity-data.csv
    Export(MetricsExport),
}

#[derive(Debug, Subcommand)]
pub enum DashboardsCommand {
    /// Write the four dashboards of the operations guide as JSON for Grafana into a folder (--output; the current one without it).
    ///
    /// federation-overview, region-performance, state-sync and global-routing, which are also their uids. Grafana asks for the data
    /// source at the import: a region (https://REGION:PORT, token of a viewer), or a Prometheus that gets the metrics.
    ///
    /// Such as: dwcp-cli dashboards export --output dashboards
    Export,
}

#[derive(Debug, Args)]
pub struct MetricsQuery {
    /// The expression.
    #[arg(value_name = "EXPR")]
    pub expression: String,
    /// How far back: 24h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub range: Option<u64>,
    /// A value every so often.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, requires = "range")]
    pub step: Option<u64>,
    /// The moment, or the end of the range: 2026-11-29T02:00Z (UTC). Now without it.
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    pub at: Option<Moment>,
}

#[derive(Debug, Args)]
pub struct MetricsExport {
    /// Figures: vm_count, cpu_usage, memory_usage, storage_usage, network_usage, or names of metrics.
    #[arg(long, value_name = "NAME[,NAME…]", value_parser = super::words)]
    pub metrics: Words,
    /// How far back: 90d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub range: u64,
    /// One region instead of the whole federation.
    #[arg(long)]
    pub region: Option<String>,
}

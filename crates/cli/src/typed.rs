//! What can be typed.

mod alerting;
mod backup;
mod configuration;
mod ddos;
mod drill;
mod federation;
mod image;
mod infrastructure;
mod local;
mod logs;
mod maintenance;
mod metrics;
mod monitoring;
mod moves;
mod notification;
pub mod restoration;
mod routing;
mod runbook;
mod site;
mod sla;
mod trace;
mod upgrade;
mod vm;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dwcp_config::units;

pub use alerting::*;
pub use backup::*;
pub use configuration::*;
pub use ddos::*;
pub use drill::*;
pub use federation::*;
pub use image::*;
pub use infrastructure::*;
pub use local::*;
pub use logs::*;
pub use maintenance::*;
pub use metrics::*;
pub use monitoring::*;
pub use moves::*;
pub use notification::*;
pub use routing::*;
pub use runbook::*;
pub use site::*;
pub use sla::*;
pub use trace::*;
pub use upgrade::*;
pub use vm::*;

/// The operator's command of a DWCP federation.
#[derive(Debug, Parser)]
#[command(name = "dwcp-cli", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Typed {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// How the answer looks.
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,
    /// Write the answer into this file, whole or not at all.
    #[arg(long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which federation; the current one without it.
    #[arg(long, global = true, value_name = "NAME", env = "DWCP_CONTEXT")]
    pub context: Option<String>,
    /// Where to call, several allowed; before those of the context.
    #[arg(long, global = true, value_name = "URL", env = "DWCP_ENDPOINT", value_delimiter = ',',
        value_parser = endpoint)]
    pub endpoint: Vec<String>,
    /// The federation's CA, a PEM file.
    #[arg(long, global = true, value_name = "FILE", env = "DWCP_CA")]
    pub ca: Option<String>,
    /// Token to call with.
    #[arg(long, global = true, value_name = "TOKEN", env = "DWCP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Longest wait for an answer, or for long work to end [default: 30s; long work: no limit].
    #[arg(long, global = true, value_name = "DURATION", value_parser = units::duration_ms)]
    pub timeout: Option<u64>,
    /// No progress, no remarks.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub quiet: bool,
    /// No colours.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub no_color: bool,
    /// Show it again and again.
    #[arg(long, global = true, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = units::duration_ms)]
    pub watch: Option<u64>,
    /// Show what would be done; change nothing.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub dry_run: bool,
    /// Yes to every question.
    #[arg(long, global = true, alias = "confirm", num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub yes: bool,
    /// Return as soon as long work is accepted.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub detach: bool,
}

/// Renderings of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Yaml,
    Csv,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Federations this machine knows.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Check a token and store it in a context.
    Login,
    /// Versions of this program and of the region that answers.
    Version,
    /// Completion script of a shell.
    Completion(Completion),
    /// What a code such as DWCP-R0031 means and what to do about it.
    Explain(Explain),
    /// Help about a command, or about `exit-codes`.
    Help(Help),
    /// Configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Long work: list, show, watch, cancel.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// VMs.
    #[command(subcommand)]
    Vm(VmCommand),
    /// Hosts.
    #[command(subcommand)]
    Host(HostCommand),
    /// Images: the catalogue, and what hosts have.
    #[command(subcommand)]
    Image(ImageCommand),
    /// The federation: status, regions, failover, state, events.
    #[command(subcommand)]
    Federation(FederationCommand),
    /// What regions are made of: host pools, nodes.
    #[command(subcommand)]
    Infrastructure(InfrastructureCommand),
    /// Maintenance windows of regions and hosts.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// Messages to people: pages, chat, mail, the status page.
    #[command(subcommand)]
    Notification(NotificationCommand),
    /// Logs of every region.
    #[command(subcommand)]
    Logs(LogsCommand),
    /// Metrics of every region, by PromQL.
    #[command(subcommand)]
    Metrics(MetricsCommand),
    /// Dashboards for Grafana.
    #[command(subcommand)]
    Dashboards(DashboardsCommand),
    /// What a request went through in every region.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Links between regions.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Where users' requests go: services, routers, how they decide.
    #[command(subcommand)]
    Routing(RoutingCommand),
    /// Runbooks of the operations guide.
    #[command(subcommand)]
    Runbook(RunbookCommand),
    /// Tokens, and who was kept out.
    #[command(subcommand)]
    Security(SecurityCommand),
    /// Development federations: emulated links.
    #[command(subcommand)]
    Dev(DevCommand),
}

/// Reads a comma list; clap shows it as one value.
fn words(text: &str) -> Result<Words, String> {
    units::list(text).map(Words)
}

/// A comma list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

fn endpoint(text: &str) -> Result<String, String> {
    dwcp_config::cli::check_endpoint(text).map(|()| text.to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not of the form key=value")),
    }
}

//! Commands about this machine, tokens, operations, hosts and links.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use dwcp_config::units;

use super::{BackupCommand, DrainHost, NetworkCommand, WantedLines, words};

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts.
    List,
    /// Use a context from now on.
    Use { name: String },
    /// Add or replace a context, from --endpoint, --ca and --token.
    Add { name: String },
    /// Show a context, without its token.
    Show { name: Option<String> },
    /// Forget a context.
    Remove { name: String },
}

#[derive(Debug, Args)]
pub struct Completion {
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// DWCP-R0031, R0031 or 31; without it, all codes.
    pub code: Option<String>,
}

#[derive(Debug, Args)]
pub struct Help {
    /// A command, or exit-codes.
    pub topic: Vec<String>,
}

/// Kinds of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigKind {
    /// Contexts of dwcp-cli.
    Contexts,
    /// dwcpd.yaml of a region.
    Region,
    /// host.yaml of an agent.
    Host,
    /// capacity-thresholds.yaml of a region.
    CapacityThresholds,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a file: every mistake at once, with line and column.
    Check {
        file: PathBuf,
        /// What the file is; guessed from its keys without it.
        #[arg(long, value_enum)]
        kind: Option<ConfigKind>,
    },
}

#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations, newest first.
    List {
        /// waiting, running, cancelling, done, partly, failed or cancelled.
        #[arg(long)]
        state: Option<String>,
        /// Only this kind: failover, vm_create, …
        #[arg(long)]
        kind: Option<String>,
        /// The region.
        #[arg(long)]
        region: Option<String>,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Show an operation with its steps.
    Show { operation: String },
    /// Follow an operation until it ends.
    Watch { operation: String },
    /// Ask an operation to stop at its next safe point.
    Cancel {
        operation: String,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// List hosts.
    List {
        /// The region.
        #[arg(long)]
        region: Option<String>,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Show a host and its VMs.
    Show { host: String },
    /// Empty a host: move its VMs within the region while they run, or to other regions; exit 7 when something is left.
    ///
    /// The host is closed for new VMs first. Calling it off (`dwcp-cli operation cancel`) opens it again.
    Drain(DrainHost),
}

#[derive(Debug, Subcommand)]
pub enum SecurityCommand {
    /// Who was kept out at the routers: lines of every region, merged by time, the oldest first.
    ///
    /// Such as: dwcp-cli security firewall-logs --level warning,error --since 24h
    FirewallLogs(WantedLines),
    /// Tokens: create, list, revoke.
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Roles of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    Viewer,
    Operator,
    Admin,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token; its secret is shown once.
    Create {
        /// Who it is for.
        #[arg(long)]
        user: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleName,
        /// How long it holds.
        #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = units::duration_ms)]
        expires_in: u64,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
    },
    /// List tokens, without secrets.
    List {
        /// Whose.
        #[arg(long)]
        user: Option<String>,
        /// Also revoked and expired ones.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        all: bool,
    },
    /// Revoke a token everywhere.
    Revoke {
        /// The id that `token list` shows: token-…
        #[arg(long)]
        token_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Emulated links between regions: list them, or set one with --from; what is not given stays.
    Link(Link),
}

#[derive(Debug, Args)]
pub struct Link {
    /// A region, or all; without it the links are listed.
    #[arg(long)]
    pub from: Option<String>,
    /// A region, or all [default: all].
    #[arg(long, requires = "from")]
    pub to: Option<String>,
    /// Round trip of the link.
    #[arg(long, requires = "from", value_name = "DURATION", value_parser = units::duration_ms)]
    pub rtt: Option<u64>,
    /// How much the delay varies.
    #[arg(long, requires = "from", value_name = "DURATION", value_parser = units::duration_ms)]
    pub jitter: Option<u64>,
    /// Packets lost.
    #[arg(long, requires = "from", value_name = "PERCENT", value_parser = units::percent)]
    pub loss: Option<f64>,
    /// Most megabits a second.
    #[arg(long, requires = "from", value_name = "MBIT")]
    pub rate: Option<f64>,
    /// Nothing passes; --cut false lets it pass again.
    #[arg(long, requires = "from", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        hide_possible_values = true, value_name = "BOOL")]
    pub cut: Option<bool>,
    /// Back to the published matrix.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub heal: bool,
    /// Only this direction.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub one_way: bool,
}

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// List events, newest first.
    List(EventsList),
}

#[derive(Debug, Args)]
pub struct EventsList {
    /// The region.
    #[arg(long)]
    pub region: Option<String>,
    /// Not older than this.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub since: Option<u64>,
    /// At least this bad: info, warning, error or critical.
    #[arg(long)]
    pub severity: Option<String>,
    /// VM, host or operation.
    #[arg(long)]
    pub subject: Option<String>,
    /// At most so many.
    #[arg(long, value_parser = units::count)]
    pub limit: Option<u32>,
    /// Go on with what happens from now on.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub follow: bool,
    /// Every column, with the id of the API request that asked.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Per ordered pair of regions: entries and milliseconds behind.
    LagMatrix,
    /// Per peer: entries and bytes waiting.
    QueueDepth,
    /// Set how state is replicated, in every region, live. Acknowledged commands stay on a majority of disks (RPO 0) whatever is set.
    ///
    /// Example: dwcp-cli federation state configure --replication-workers 20 --compression true --sync-interval 10s
    Configure(ReplicationConfigureArgs),
    /// How state is replicated: as it is set, and as each region does it.
    Show,
    /// Compare every region's replicas at one place of each log, and read the stores back from the disks; exit 1 when something
    /// differs or is damaged, 7 when a region could not be reached.
    VerifySync {
        /// Only this region's replicas, against the majority's.
        #[arg(long)]
        region: Option<String>,
    },
    /// Rebuild regions' replicas from another region's, one region after the other, verified at the end.
    ForceSync(ForceSync),
    /// Backups of the control plane's state.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Give a region replicas of every region's state, and wait until they have caught up.
    EnableRegion(super::RegionName),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ReplicationConfigureArgs {
    /// 1 to 64 (8 without it): each has up to 32 append messages under way to each replica before the first is answered.
    #[arg(long, value_name = "N")]
    pub replication_workers: Option<u32>,
    /// Compress frames between regions (zstd), those that become shorter by it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
        value_name = "BOOL")]
    pub compression: Option<bool>,
    /// Between two tellings of soft state (links, load, usage, times), from a beat (250ms, as without it) to 60s. Commands and
    /// signs of life do not wait for it.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub sync_interval: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ForceSync {
    /// The region that the others are made equal to. It must have what the majority has.
    #[arg(long)]
    pub source: String,
    /// The regions to rebuild; all: every other one.
    #[arg(long, value_name = "all|REGION,…", value_parser = words)]
    pub targets: super::Words,
    /// Why, for the events.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ControllerCommand {
    /// Configure the controllers of every region, live.
    Configure(ControllerConfigure),
    /// How the controllers are configured.
    Show,
    /// The placement cache: size, hits, why it missed.
    CacheStats,
    /// The controllers of each region: where they run, what they decided, how long that takes.
    Status {
        /// Only of this region.
        #[arg(long)]
        region: Option<String>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ControllerConfigure {
    /// How long the tables of candidate hosts are kept, at most 1h; 0: none is kept from one decision to the next. Kept
    /// tables follow every change of capacity at once, and are made anew before they are older.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub placement_cache_ttl: Option<u64>,
    /// Several threads for a decision that looks at thousands of hosts: an explained or a refused one. What is decided is the
    /// same.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
        value_name = "BOOL")]
    pub parallel_scoring: Option<bool>,
    /// balanced, latency, cost, pack, spread or custom.
    #[arg(long)]
    pub profile: Option<String>,
    /// Weights of the custom profile: latency=30,cost=25,…
    #[arg(long, value_name = "NAME=WEIGHT,…", value_parser = words)]
    pub weights: Option<super::Words>,
}

#[derive(Debug, Subcommand)]
pub enum FederationNetworkCommand {
    /// Per ordered pair of regions: round trip, loss, throughput.
    LatencyMatrix,
}

impl From<&FederationNetworkCommand> for NetworkCommand {
    fn from(_: &FederationNetworkCommand) -> NetworkCommand {
        NetworkCommand::LatencyMatrix
    }
}

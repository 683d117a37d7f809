//! Commands about attackers at the routers.

use clap::{Args, Subcommand, ValueEnum};
use dwcp_config::units;

use super::Words;

#[derive(Debug, Subcommand)]
pub enum DdosCommand {
    /// Attacks that go on and those that are over, the newest first.
    Detections {
        /// Only those that went on within so long: 10m.
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
        since: Option<u64>,
    },
    /// What goes on, what is kept out, and what each router does about it.
    Status,
    /// Judge an attack anew: real or a false positive, with the evidence; exit 1 for a false positive.
    Validate {
        /// Its id, of `routing ddos detections`.
        #[arg(long, value_name = "ID")]
        attack_id: String,
    },
    /// Set what is too much, and what routers do then; what is not given stays as it is.
    Configure(Box<DdosConfigureArgs>),
    /// Routers keep attackers out by themselves.
    Enable {
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Routers only detect and tell; what people block stays blocked.
    Disable {
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Keep countries out for a time.
    ///
    /// Example: dwcp-cli routing ddos geo-block --countries CN,RU --duration 24h
    GeoBlock(GeoBlockArgs),
    /// What is done with attackers.
    #[command(subcommand)]
    Action(DdosActionCommand),
    /// Who is kept out.
    #[command(subcommand)]
    Blacklist(BlacklistCommand),
    /// Who never is.
    #[command(subcommand)]
    Whitelist(WhitelistCommand),
    /// How much somebody may send.
    #[command(subcommand)]
    RateLimits(RateLimitsCommand),
}

#[derive(Debug, Args)]
pub struct DdosConfigureArgs {
    /// Requests of one source in a second.
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub threshold_requests: Option<u32>,
    /// New connections of one source in a second.
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub threshold_connections: Option<u32>,
    /// Bytes of one source in a second, both ways.
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub threshold_bytes: Option<u32>,
    /// How many times as much a /24 (IPv6: /48) may have.
    #[arg(long, value_name = "N")]
    pub prefix_factor: Option<u32>,
    /// An autonomous system.
    #[arg(long, value_name = "N")]
    pub asn_factor: Option<u32>,
    /// A country.
    #[arg(long, value_name = "N")]
    pub country_factor: Option<u32>,
    /// A path, of everybody together.
    #[arg(long, value_name = "N")]
    pub path_factor: Option<u32>,
    /// A service, until its usual traffic is learned.
    #[arg(long, value_name = "N")]
    pub service_factor: Option<u32>,
    /// Of a source's requests, percent, that may fail.
    #[arg(long, value_name = "PERCENT")]
    pub error_percent: Option<u32>,
    /// Clients of one source in a second that are cut off for slowness.
    #[arg(long, value_name = "N")]
    pub slow_clients: Option<u32>,
    /// HTTP/2 streams that one source may reset in a second.
    #[arg(long, value_name = "N")]
    pub resets: Option<u32>,
    /// How long a block lasts that a router makes by itself.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub block_duration: Option<u64>,
    /// Work of a challenge: zero bits of a SHA-256, each doubles it.
    #[arg(long, value_name = "BITS")]
    pub challenge_bits: Option<u8>,
    /// For how long a solved challenge counts.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub challenge_clearance: Option<u64>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct GeoBlockArgs {
    /// Their two letters (ISO 3166-1), with commas.
    #[arg(long, value_name = "CC[,CC…]", value_parser = super::words)]
    pub countries: Words,
    /// It ends by itself after so long.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, default_value = "24h")]
    pub duration: u64,
    /// End it now.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub remove: bool,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What is done with attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum DdosAction {
    /// So many requests a second are served, the others get 429.
    RateLimit,
    /// A browser solves a puzzle by itself and is let in; others get 429.
    ChallengeResponse,
    /// Kept waiting, then closed.
    Tarpit,
    /// Nothing of a country is served.
    GeoBlock,
    /// Nothing is served.
    Blacklist,
}

#[derive(Debug, Subcommand)]
pub enum DdosActionCommand {
    /// Routers may do this by themselves from now on; with --service, it is done now with everybody who asks for that service.
    ///
    /// Example: dwcp-cli routing ddos action add --type challenge_response
    Add(DdosActionArgs),
    /// They may not any longer; with --service, it ends.
    Remove(DdosActionArgs),
    /// What they may do.
    List,
}

#[derive(Debug, Args)]
pub struct DdosActionArgs {
    /// What.
    #[arg(long = "type", value_enum)]
    pub action: DdosAction,
    /// A service.
    #[arg(long)]
    pub service: Option<String>,
    /// Only this path of it.
    #[arg(long, requires = "service")]
    pub path: Option<String>,
    /// With --service: it ends by itself after so long [default: 1h].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, requires = "service")]
    pub duration: Option<u64>,
    /// With --service and rate_limit: requests a second of everybody together.
    #[arg(long, value_name = "N", value_parser = units::count, requires = "service")]
    pub limit: Option<u32>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Somebody on the network.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct WhoArgs {
    /// Addresses, with commas.
    #[arg(long, value_name = "IP[,IP…]", value_parser = super::words)]
    pub ip: Option<Words>,
    /// Networks.
    #[arg(long, value_name = "NET[,NET…]", value_parser = super::words)]
    pub cidr: Option<Words>,
    /// Autonomous systems, such as 64500.
    #[arg(long, value_name = "ASN[,ASN…]", value_parser = super::words)]
    pub asn: Option<Words>,
}

#[derive(Debug, Subcommand)]
pub enum BlacklistCommand {
    /// Everybody who is kept out or slowed down, by people and by routers.
    List,
    /// Keep somebody out for a time.
    ///
    /// Example: dwcp-cli routing ddos blacklist add --cidr 203.0.113.0/24 --duration 1h --reason "login guessing"
    Add {
        #[command(flatten)]
        who: WhoArgs,
        /// It ends by itself after so long.
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, default_value = "24h")]
        duration: u64,
        /// The attack that it is because of.
        #[arg(long, value_name = "ID")]
        attack_id: Option<String>,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let somebody in again; what a router blocked by itself, it does not block again for an hour.
    Remove {
        #[command(flatten)]
        who: WhoArgs,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum WhitelistCommand {
    /// Everybody who is never kept out.
    List,
    /// Never block, limit or challenge somebody, whatever else is said.
    Add {
        #[command(flatten)]
        who: WhoArgs,
        /// For so long [default: until it is removed].
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
        duration: Option<u64>,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Treat somebody as everybody else again.
    Remove {
        #[command(flatten)]
        who: WhoArgs,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RateLimitsCommand {
    /// Thresholds for everybody, and the limits in force.
    Show,
}

#[derive(Debug, Args)]
pub struct TrafficAnalysisArgs {
    /// How far back [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub since: Option<u64>,
    /// Only what this region's routers see.
    #[arg(long)]
    pub region: Option<String>,
}

//! Commands about where users' requests go.

use clap::{Args, Subcommand, ValueEnum};
use dwcp_config::units;

use super::{DdosCommand, TrafficAnalysisArgs};

#[derive(Debug, Subcommand)]
pub enum RoutingCommand {
    /// Where users reach the regions, and endpoints of services.
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Print the address where a region's traffic arrives, bare: its first public endpoint, else its node's. As `get-region-ip R`.
    Address {
        /// The region.
        region: String,
    },
    /// What users reach, and under which names.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Set how routers decide; what is not given stays as it is.
    Configure(RoutingConfigureArgs),
    /// What makes one region better than another.
    #[command(subcommand)]
    Algorithm(AlgorithmCommand),
    /// How routers decide.
    #[command(subcommand)]
    Config(RoutingConfigCommand),
    /// What routers remember of where clients were sent.
    #[command(subcommand)]
    Cache(RoutingCacheCommand),
    /// Every router: where it serves, how old its table is, what it does.
    Routers {
        /// Only of this region.
        #[arg(long)]
        region: Option<String>,
    },
    /// Where a router would send a client now, and why.
    ///
    /// Example: dwcp-cli routing simulate --source-ip 203.0.113.7 --destination demo.dwcp.test
    Simulate(SimulateArgs),
    /// Attackers: detected, judged, kept out.
    #[command(subcommand)]
    Ddos(DdosCommand),
    /// Who sends how much to which service, and what was kept out.
    TrafficAnalysis(TrafficAnalysisArgs),
    /// Every region as a router compares them for a service, the best first.
    Scores {
        /// The service, or one of its names.
        #[arg(long, value_name = "SERVICE")]
        destination: String,
        /// The region whose router is asked [default: that of the node that answers].
        #[arg(long)]
        region: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Add a public endpoint of a region.
    Add(EndpointArgs),
    /// Take one away.
    Remove(EndpointArgs),
    /// List them.
    List {
        /// Only of this region.
        #[arg(long)]
        region: Option<String>,
    },
    /// Send no new clients to a VM of a service; those that stay with it do.
    Drain(EndpointDrainArgs),
}

#[derive(Debug, Args)]
pub struct EndpointArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// Its address.
    #[arg(long)]
    pub ip: String,
    /// Its TCP port.
    #[arg(long)]
    pub port: u16,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct EndpointDrainArgs {
    /// The service.
    #[arg(long)]
    pub service: String,
    /// The VM, by name or id.
    #[arg(long)]
    pub vm: String,
    /// Send it clients again.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub undo: bool,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Make a service, or another one of it.
    ///
    /// Example: dwcp-cli routing service set --service shop --host shop.example.com --label app=shop --check-path /healthz
    Set(ServiceSetArgs),
    /// List services with their VMs.
    List,
    /// Take a service away: its names lead nowhere.
    Remove {
        /// Its name.
        #[arg(long)]
        service: String,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct ServiceSetArgs {
    /// Its name.
    #[arg(long)]
    pub service: String,
    /// A name that users reach it under, in DNS and in requests; several times for several. `*`: every name of no other service.
    #[arg(long = "host", value_name = "NAME", required = true)]
    pub hosts: Vec<String>,
    /// A label that its VMs carry, KEY=VALUE; several times for several. Without it, every VM that is asked whether it serves.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// What it speaks.
    #[arg(long, value_enum, default_value = "http")]
    pub protocol: ServiceProtocol,
    /// The routers' port, of a TCP service.
    #[arg(long)]
    pub port: Option<u16>,
    /// The VMs' port [default: that of the address that a VM answers at].
    #[arg(long)]
    pub vm_port: Option<u16>,
    /// A client stays with the VM that it was sent to first, as long as that one is well.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub sticky: bool,
    /// How much its requests matter when regions are full.
    #[arg(long, value_enum, default_value = "standard")]
    pub qos: QosClass,
    /// HTTP path that each VM is asked for; without it a connection is enough.
    #[arg(long, value_name = "PATH")]
    pub check_path: Option<String>,
    /// An address that the routers of all regions share.
    #[arg(long, value_name = "IP")]
    pub anycast: Option<String>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(key, _)| !key.is_empty());
    split
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ServiceProtocol {
    Http,
    TlsPassthrough,
    Tcp,
}

/// How much a service's requests matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QosClass {
    Critical,
    Standard,
    Bulk,
}

/// What makes one region better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum RoutingAlgorithm {
    Latency,
    Cost,
    LoadBalanced,
    GeoProximity,
    Hybrid,
}

#[derive(Debug, Args)]
pub struct RoutingConfigureArgs {
    /// What makes one region better than another.
    #[arg(long, value_enum)]
    pub algorithm: Option<RoutingAlgorithm>,
    /// How much each counts in hybrid, such as latency=45,cost=5,load=20,distance=10,health=20.
    #[arg(long, value_name = "NAME=PERCENT[,…]", value_delimiter = ',', value_parser = weight)]
    pub weights: Vec<(String, u32)>,
    /// Regions with a lower health score are used only when nothing better is there.
    #[arg(long, value_name = "SCORE")]
    pub least_health: Option<u8>,
    /// When routers find a smaller share of a service's VMs well, in percent, they doubt their checks.
    #[arg(long, value_name = "PERCENT")]
    pub doubt_below: Option<u32>,
    /// Requests that a VM carries at a time before it counts as full.
    #[arg(long, value_name = "N")]
    pub endpoint_capacity: Option<u32>,
    /// Remember where a client was sent.
    #[arg(long, value_name = "BOOL")]
    pub routing_table_cache_enabled: Option<bool>,
    /// For how long.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub routing_table_cache_ttl: Option<u64>,
    /// Time to live of DNS answers.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub dns_ttl: Option<u64>,
    /// How packets of each class of services are marked: a number of 0 to 63, df, le, ef, cs0 to cs7 or af11 to af43.
    #[arg(long, value_name = "CLASS=DSCP[,…]", value_delimiter = ',', value_parser = class_mark)]
    pub dscp: Vec<(String, u8)>,
    /// What each class has at least of a router's interface that is shaped, such as critical=50,standard=40,bulk=10.
    #[arg(long, value_name = "CLASS=PERCENT[,…]", value_delimiter = ',', value_parser = class_share)]
    pub shares: Vec<(String, u32)>,
    /// Filter packets with DPDK on the routers that can.
    #[arg(long, value_name = "BOOL")]
    pub enable_dpdk: Option<bool>,
    /// On these processors, such as 0-7.
    #[arg(long, value_name = "CORES")]
    pub dpdk_cores: Option<String>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

const WEIGHTS: [&str; 5] = ["latency", "cost", "load", "distance", "health"];
const CLASSES: [&str; 3] = ["critical", "standard", "bulk"];

fn weight(text: &str) -> Result<(String, u32), String> {
    named(text, &WEIGHTS, "a number", |percent| percent.parse().ok())
}

fn class_share(text: &str) -> Result<(String, u32), String> {
    named(text, &CLASSES, "a number", |percent| percent.parse().ok())
}

fn class_mark(text: &str) -> Result<(String, u8), String> {
    named(text, &CLASSES, "a number of 0 to 63, df, le, ef, cs0 to cs7 or af11 to af43", dscp)
}

fn named<T>(
    text: &str,
    names: &[&str],
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<(String, T), String> {
    let split = text.split_once('=').filter(|(name, _)| names.contains(name));
    let read = split.and_then(|(name, value)| Some((name.to_owned(), read(value)?)));
    read.ok_or_else(|| format!("'{text}' is not one of {} with = and {what}", names.join(", ")))
}

/// A mark by its number or its name: RFC 2474 (DF, CS), 2597 (AF), 3246 (EF), 8622 (LE).
fn dscp(text: &str) -> Option<u8> {
    let digits = |text: &str| text.bytes().map(|digit| digit.checked_sub(b'0')).collect::<Option<Vec<u8>>>();
    let text = text.to_ascii_lowercase();
    match text.split_at_checked(2).map(|(kind, rest)| (kind, digits(rest))) {
        Some(("df", Some(rest))) if rest.is_empty() => Some(0),
        Some(("le", Some(rest))) if rest.is_empty() => Some(1),
        Some(("ef", Some(rest))) if rest.is_empty() => Some(46),
        Some(("cs", Some(rest))) => match rest[..] {
            [class @ 0..=7] => Some(8 * class),
            _ => None,
        },
        Some(("af", Some(rest))) => match rest[..] {
            [class @ 1..=4, drop @ 1..=3] => Some(8 * class + 2 * drop),
            _ => None,
        },
        _ => text.parse().ok().filter(|mark| *mark < 64),
    }
}

#[derive(Debug, Subcommand)]
pub enum AlgorithmCommand {
    /// Set it.
    Set {
        /// The algorithm.
        #[arg(value_enum)]
        algorithm: RoutingAlgorithm,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RoutingConfigCommand {
    /// Show every setting.
    Show,
}

#[derive(Debug, Subcommand)]
pub enum RoutingCacheCommand {
    /// How often a remembered decision was used.
    Stats,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The client's address.
    #[arg(long, value_name = "IP")]
    pub source_ip: Option<String>,
    /// A service, or one of its names.
    #[arg(long, value_name = "SERVICE")]
    pub destination: String,
    /// The region whose router is asked [default: that of the node that answers].
    #[arg(long)]
    pub region: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_a_number_or_a_name() {
        for (text, mark) in [
            ("0", 0),
            ("63", 63),
            ("df", 0),
            ("LE", 1),
            ("ef", 46),
            ("cs1", 8),
            ("cs7", 56),
            ("af11", 10),
            ("af43", 38),
        ] {
            assert_eq!(dscp(text), Some(mark), "{text}");
        }
        for text in
            ["64", "-1", "", "e", "efx", "df0", "cs8", "cs", "cs11", "af14", "af5", "af510", "best", "éé"]
        {
            assert_eq!(dscp(text), None, "{text}");
        }
    }
}

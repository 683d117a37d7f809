//! Commands about VMs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dwcp_api::vm_spec::{Affinity, LatencyBound, Priority, Probe, Scope};
use dwcp_config::units;

use super::{HealthCheck, Words, key_value, words};

#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Create VMs.
    Create(Box<VmCreate>),
    /// List VMs.
    List {
        /// The region.
        #[arg(long)]
        region: Option<String>,
        /// Only on this host.
        #[arg(long)]
        host: Option<String>,
        /// waiting, starting, running, paused, stopping, stopped, moving, failed, deleting or unknown.
        #[arg(long)]
        state: Option<String>,
        /// Only with this label, key=value.
        #[arg(long, value_parser = label)]
        label: Vec<String>,
        /// Tenant it belongs to.
        #[arg(long)]
        tenant: Option<String>,
        /// Also the copies that drills have made, each with its drill.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        drills: bool,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Show a VM, by id or name.
    Show { vm: String },
    /// Start a stopped VM.
    Start { vm: String },
    /// Stop a VM; its disk stays.
    Stop(VmStop),
    /// Stop a VM and start it again.
    Restart(VmStop),
    /// Delete a VM and its disk.
    Delete { vm: String },
    /// Keep a VM's disk in another region, or stop doing so.
    Protect(VmProtect),
    /// What a VM wrote to its console.
    Console {
        vm: String,
        /// First byte; negative: that many from the end.
        #[arg(long, allow_negative_numbers = true)]
        offset: Option<i64>,
        /// Go on with what it writes from now on.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        follow: bool,
    },
    /// Why a VM is where it is, and what else was possible.
    Explain { vm: String },
    /// Ask VMs' own probes; exit 1 unless all are well.
    HealthCheck(HealthCheck),
}

#[derive(Debug, Args)]
pub struct VmStop {
    pub vm: String,
    /// Pull the plug instead of asking the guest.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub force: bool,
}

/// How a disk is kept in another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    None,
    Sync,
    /// Milliseconds between two points.
    Async(Option<u64>),
}

/// What a synchronously protected VM does when its copy can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnReplica {
    /// Its writes wait until the copy is back.
    Stop,
    /// It goes on unprotected once that is committed.
    GoOn,
}

#[derive(Debug, Args)]
pub struct VmProtect {
    pub vm: String,
    /// sync, async, async:30s or none.
    #[arg(long, value_parser = mode)]
    pub mode: Mode,
    /// Only in this region; without it the nearest that the VM's rules allow.
    #[arg(long, value_name = "REGION")]
    pub protect_in: Option<String>,
    /// What happens when the copy can't be written (sync).
    #[arg(long, value_enum, default_value = "stop")]
    pub on_replica_loss: OnReplica,
    /// Give up a copy that is behind and make one anew, wherever there is a place.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub again: bool,
}

/// What happens when its region is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnLoss {
    Restart,
    Stay,
}

/// Network of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkName {
    User,
    Tap,
}

/// New VMs: one by flags, or as a file has them.
#[derive(Debug, Args)]
pub struct VmCreate {
    /// Name; several VMs are called NAME-1, NAME-2, …
    #[arg(long, required_unless_present = "file")]
    pub name: Option<String>,
    /// The VM as YAML or JSON with the fields of the API's request, in place of every flag that says what it is like.
    #[arg(long, value_name = "FILE", conflicts_with = "VmShape")]
    pub file: Option<PathBuf>,
    /// Also show how every host was judged.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub explain: bool,
    #[command(flatten)]
    pub shape: VmShape,
}

/// What a new VM is like, and where it may be.
#[derive(Debug, Args)]
pub struct VmShape {
    /// How many.
    #[arg(long, value_parser = units::count)]
    pub count: Option<u32>,
    /// Image; the built-in small one without it.
    #[arg(long)]
    pub image: Option<String>,
    /// Virtual CPUs.
    #[arg(long, value_parser = units::count)]
    pub vcpus: Option<u32>,
    /// 96MiB, 4GiB; a bare number is MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size_mib)]
    pub memory: Option<u64>,
    /// 10GiB; a bare number is GiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size_gib)]
    pub disk: Option<u64>,
    /// critical, high, normal, low or 0-100.
    #[arg(long, default_value = "normal")]
    pub priority: Priority,
    /// Only in these regions.
    #[arg(long, visible_aliases = ["region", "allowed-regions"], value_name = "REGION,…", value_parser = words)]
    pub regions: Option<Words>,
    /// Not in these regions.
    #[arg(long, visible_alias = "denied-regions", value_name = "REGION,…", value_parser = words)]
    pub not_regions: Option<Words>,
    /// Only in these zones.
    #[arg(long, value_name = "ZONE,…", value_parser = words)]
    pub zones: Option<Words>,
    /// Only on hosts with this label.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub host_label: Vec<(String, String)>,
    /// Only in regions with these tags: gdpr, hipaa, …
    #[arg(long, value_name = "TAG,…", value_parser = words)]
    pub compliance: Option<Words>,
    /// Only under this law: country codes or EU.
    #[arg(long, value_name = "CODE,…", value_parser = words)]
    pub residency: Option<Words>,
    /// Near a VM, label or group: TO or TO:host|zone|region.
    #[arg(long, visible_alias = "affinity", value_name = "TO[:SCOPE]", value_parser = affinity)]
    pub near: Vec<Affinity>,
    /// Away from a VM, label or group: TO or TO:host|zone|region.
    #[arg(long, visible_alias = "anti-affinity", value_name = "TO[:SCOPE]", value_parser = affinity)]
    pub away_from: Vec<Affinity>,
    /// Longest round trip to a region: us-east-1=50ms.
    #[arg(long, value_name = "REGION=DURATION", value_parser = latency)]
    pub max_latency: Option<LatencyBound>,
    /// US dollars a month, at most.
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub cost_limit: Option<f64>,
    /// What happens when its region is lost.
    #[arg(long, value_enum, default_value = "restart")]
    pub on_region_loss: OnLoss,
    /// Tenant it belongs to.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Project it belongs to.
    #[arg(long)]
    pub project: Option<String>,
    /// Label; several allowed.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<(String, String)>,
    /// How it reaches the network.
    #[arg(long, value_enum, default_value = "user")]
    pub network: NetworkName,
    /// http:PORT/PATH, tcp:PORT, guest-agent or process [default: http:80/health].
    #[arg(long, value_parser = probe)]
    pub probe: Option<Probe>,
    /// Keep its disk in another region: sync, async, async:30s or none.
    #[arg(long, value_parser = mode, default_value = "none")]
    pub protection: Mode,
    /// Keep it in this region; without it in the nearest that its rules allow.
    #[arg(long, value_name = "REGION")]
    pub protect_in: Option<String>,
    /// What happens when that copy can't be written (sync).
    #[arg(long, value_enum, default_value = "stop")]
    pub on_replica_loss: OnReplica,
}

fn mode(text: &str) -> Result<Mode, String> {
    match text.split_once(':') {
        None if text == "none" => Ok(Mode::None),
        None if text == "sync" => Ok(Mode::Sync),
        None if text == "async" => Ok(Mode::Async(None)),
        Some(("async", interval)) => Ok(Mode::Async(Some(units::duration_ms(interval)?))),
        _ => Err(format!("'{text}' is not sync, async, async:30s or none")),
    }
}

fn label(text: &str) -> Result<String, String> {
    key_value(text).map(|_| text.to_owned())
}

fn affinity(text: &str) -> Result<Affinity, String> {
    let (to, scope) = match text.rsplit_once(':') {
        None => (text, Scope::Host),
        Some((to, "host")) => (to, Scope::Host),
        Some((to, "zone")) => (to, Scope::Zone),
        Some((to, "region")) => (to, Scope::Region),
        Some((_, other)) => return Err(format!("'{other}' is not a scope: host, zone or region")),
    };
    if to.is_empty() {
        return Err(format!("'{text}' names nothing to be near to or away from"));
    }
    Ok(Affinity { to: to.to_owned(), scope })
}

fn latency(text: &str) -> Result<LatencyBound, String> {
    let (to, bound) = key_value(text).map_err(|_| format!("'{text}' is not of the form us-east-1=50ms"))?;
    let ms = units::duration_ms(&bound)?;
    let max_latency_ms = u32::try_from(ms).map_err(|_| format!("'{bound}' is too long"))?;
    Ok(LatencyBound { to, max_latency_ms })
}

fn dollars(text: &str) -> Result<f64, String> {
    match text.trim_start_matches('$').parse::<f64>() {
        Ok(amount) if amount > 0.0 && amount.is_finite() => Ok(amount),
        _ => Err(format!("'{text}' is not an amount of US dollars above 0")),
    }
}

fn probe(text: &str) -> Result<Probe, String> {
    let wrong = || format!("'{text}' is not a probe: http:PORT/PATH, tcp:PORT, guest-agent or process");
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    match text.split_once(':') {
        None if text == "guest-agent" => Ok(Probe::GuestAgent),
        None if text == "process" => Ok(Probe::Process),
        Some(("tcp", number)) => Ok(Probe::Tcp { port: port(number)? }),
        Some(("http", rest)) => {
            let (number, path) = rest.split_once('/').unwrap_or((rest, ""));
            Ok(Probe::Http { port: port(number)?, path: format!("/{path}") })
        }
        _ => Err(wrong()),
    }
}

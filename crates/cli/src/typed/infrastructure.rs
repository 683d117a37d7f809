//! Commands about what regions are made of.

use clap::{Args, Subcommand};
use dwcp_config::units;

use super::{Words, words};

#[derive(Debug, Subcommand)]
pub enum InfrastructureCommand {
    /// Hosts that are connected and whose region is not there: what a region can be deployed of.
    Pools {
        /// Only hosts of this region.
        #[arg(long)]
        region: Option<String>,
    },
    /// Run a region's control plane on one of its hosts; the region is there from then on, and takes nothing yet.
    ///
    /// The host makes a key, gets a certificate for it, and runs `dwcpd`. Typed again while that goes on, the command waits too.
    Deploy(Deploy),
    /// Have a region's node and its hosts measure themselves now; exit 1 when something fails, 7 when something is not known.
    ///
    /// Disks, clocks, certificates, processes, ports: each is looked at when the command is typed. Who does not answer fails, and is
    /// named. The other regions reach for the region's mesh and API.
    Check {
        /// The region.
        #[arg(long)]
        region: String,
    },
    /// What the processes of a component use now; exit 7 when one of them does not answer.
    ///
    /// controller, state-manager and monitor are one process of a region in this version (dwcpd); agent is two of each host. A
    /// router says by itself what it uses.
    ///
    /// Example: dwcp-cli infrastructure metrics --component controller --metric cpu
    Metrics(ProcessMetrics),
    /// More controllers or routers in a region, or fewer: processes on its hosts, started and watched by their agents.
    ///
    /// Controllers take the decisions that are long: those about rules, explained ones, previews of many VMs. Nothing rests on them.
    /// Routers take their share of new connections and questions at the addresses of the router that is always there.
    #[command(
        after_help = "Example:\n  dwcp-cli infrastructure scale --component controller --replicas +2 --region us-east-1"
    )]
    Scale(Scale),
    /// Have the hosts of a region that has left stop its node and remove its keys and its state.
    Cleanup {
        /// The region.
        #[arg(long)]
        region: String,
    },
}

#[derive(Debug, Args)]
pub struct ProcessMetrics {
    /// controller, state-manager, router, monitor or agent.
    #[arg(long)]
    pub component: String,
    /// cpu, memory, fds, threads, uptime, io or all.
    #[arg(long, default_value = "all")]
    pub metric: String,
    /// The region; without it all.
    #[arg(long)]
    pub region: Option<String>,
    /// How long processor time is counted, 100ms to 20s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = units::duration_ms)]
    pub window: u64,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// What to run more or fewer of: controller or router. Nothing else is replicated within a region.
    #[arg(long)]
    pub component: String,
    /// So many in all, the one that is always there among them; or so many more or fewer: 3, +2, -1. At most 16 in all.
    #[arg(long, value_name = "N|+N|-N", allow_hyphen_values = true, value_parser = replicas)]
    pub replicas: Replicas,
    /// The region; without it every active region that can have so many.
    #[arg(long)]
    pub region: Option<String>,
    /// Why, for the events.
    #[arg(long)]
    pub reason: Option<String>,
}

/// How many are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// So many in all.
    Count(u64),
    /// So many more, or fewer.
    Change(i64),
}

fn replicas(text: &str) -> Result<Replicas, String> {
    let wrong = || format!("'{text}' is not a number such as 3, +2 or -1");
    match text.strip_prefix(['+', '-']) {
        Some(digits) => {
            let by: i64 = digits.parse().map_err(|_| wrong())?;
            if !digits.starts_with(|first: char| first.is_ascii_digit()) {
                return Err(wrong());
            }
            Ok(Replicas::Change(if text.starts_with('-') { -by } else { by }))
        }
        None => text.parse().map(Replicas::Count).map_err(|_| wrong()),
    }
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// What to run: controller, state-manager, router, monitor.
    #[arg(long, value_name = "A,B", default_value = "controller,state-manager,monitor", value_parser = words)]
    pub components: Words,
}

/// A region that is made of its hosts.
#[derive(Debug, Args)]
pub struct RegionDeployArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// How many VMs it is to hold; warns when its hosts have no room for them.
    #[arg(long, value_name = "VMS")]
    pub capacity: Option<u64>,
    /// Preferred in placement, 0 to 100 [default: 50].
    #[arg(long, value_parser = units::whole_percent)]
    pub priority: Option<u8>,
}

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
    /// Have the hosts of a region that has left stop its node and remove its keys and its state.
    Cleanup {
        /// The region.
        #[arg(long)]
        region: String,
    },
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

//! Commands that move VMs.

use clap::{Args, Subcommand};
use dwcp_config::units;

use super::{Words, words};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct MigrateArgs {
    #[command(subcommand)]
    pub command: Option<MigrateCommand>,
    #[command(flatten)]
    pub start: MigrateStart,
}

/// How VMs are moved.
#[derive(Debug, Args)]
pub struct MoveHow {
    /// Stop them here and boot them there, instead of moving them while they run.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub cold: bool,
    /// Longest time that a guest may stand still at the switch [default: 300ms].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub max_downtime: Option<u64>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct MigrateStart {
    /// These VMs, by name or id.
    #[arg(long, value_name = "VM,…", value_parser = words, required_unless_present = "vm_filter")]
    pub vm: Option<Words>,
    /// Every VM that carries this label.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "vm")]
    pub vm_filter: Option<String>,
    /// With --vm-filter: only VMs that live in this region.
    #[arg(long, value_name = "REGION", requires = "vm_filter")]
    pub source: Option<String>,
    /// Regions to go to; without it the best by each VM's rules. A VM's own region: another host there.
    #[arg(long, value_name = "A,B", value_parser = words, alias = "to")]
    pub target: Option<Words>,
    /// A host of the one region of --target.
    #[arg(long, value_name = "HOST", requires = "target")]
    pub target_host: Option<String>,
    #[command(flatten)]
    pub how: MoveHow,
}

#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// VMs that move or have moved, with what is known of the copy; those that failovers moved among them.
    Status(MigrateWhich),
    /// VMs that wait or move now, in the order of their turn.
    Queue(MigrateWhich),
    /// Call migrations off: a VM that has not moved yet stays where it is.
    Cancel {
        /// Whose.
        #[arg(long, value_name = "VM,…", value_parser = words)]
        vm: Words,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct MigrateWhich {
    /// Only VMs that leave this region.
    #[arg(long, value_name = "REGION")]
    pub source: Option<String>,
    /// Only VMs that go to this region.
    #[arg(long, value_name = "REGION")]
    pub target: Option<String>,
    /// Only this VM.
    #[arg(long)]
    pub vm: Option<String>,
    /// At most so many.
    #[arg(long, value_parser = units::count)]
    pub limit: Option<u32>,
}

#[derive(Debug, Args)]
pub struct MigrateAll {
    /// The region that they leave.
    #[arg(long, value_name = "REGION")]
    pub source: String,
    /// Regions to go to; without it the best by each VM's rules.
    #[arg(long, value_name = "A,B", value_parser = words)]
    pub targets: Option<Words>,
    #[command(flatten)]
    pub how: MoveHow,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// The region to empty. It takes no new VMs meanwhile and afterwards; --timeout bounds it [default: 10m].
    #[arg(long)]
    pub region: String,
    /// Only to these regions.
    #[arg(long, value_name = "A,B", value_parser = words, alias = "to")]
    pub targets: Option<Words>,
    #[command(flatten)]
    pub how: MoveHow,
}

#[derive(Debug, Args)]
pub struct DrainHost {
    /// The host to empty: its name, or region/name. It takes no new VMs meanwhile and afterwards; --timeout bounds it
    /// [default: 10m].
    #[arg(long)]
    pub host: String,
    #[command(flatten)]
    pub how: MoveHow,
}

#[derive(Debug, Args)]
pub struct Failback {
    /// The region whose VMs are to come home.
    #[arg(long)]
    pub region: String,
    /// How long it must have been back without a fault.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, default_value = "1m")]
    pub stable_for: u64,
    /// Longest time that a guest may stand still at the switch [default: 300ms].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub max_downtime: Option<u64>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Rebalance {
    /// Even out the hosts of this region; without it the regions.
    #[arg(long)]
    pub region: Option<String>,
    /// Most VMs to move [default: 10].
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub max_moves: Option<u32>,
    /// Most memory and disk to move together.
    #[arg(long, value_name = "SIZE", value_parser = units::size_mib)]
    pub budget: Option<u64>,
    /// VMs that have moved within this time stay [default: 30m].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub rest: Option<u64>,
    /// Longest time that a guest may stand still at the switch [default: 300ms].
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub max_downtime: Option<u64>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

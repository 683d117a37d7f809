//! Commands about drills.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dwcp_config::units;

#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// Let a region fail in a rehearsal; returns when the failure has happened.
    ///
    /// Without --live, its most important VMs (20 at most) are copied there, and the copies are lost: killed at once, fenced,
    /// planned and started in other regions as in a real loss. What people run goes on untouched.
    SimulateFailure(SimulateFailure),
    /// End the newest drill of a region: what it made goes away, its results stay. Safe to repeat.
    ///
    /// What is still being measured is waited for.
    Restore {
        /// The region.
        #[arg(long)]
        region: String,
    },
    /// Print one value of the newest drill; `unknown` with exit 7 when it was not measured.
    Results {
        /// Which.
        #[arg(long, value_enum)]
        metric: DrillMetric,
        /// Only drills of this region.
        #[arg(long)]
        region: Option<String>,
    },
    /// Run the federation as it is configured now in the simulator, through many failures of each kind.
    ///
    /// Regions are killed and cut off, links, hosts and processes break, each as drawn from a seed; no VM may run twice or be
    /// lost, and all of it must settle. Exit 1 when a seed shows otherwise. Needs `dwcp-sim` beside `dwcp-cli`.
    Prove(Prove),
    /// List drills, newest first.
    List {
        /// The region.
        #[arg(long)]
        region: Option<String>,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
}

#[derive(Debug, Args)]
pub struct SimulateFailure {
    /// The region that fails.
    #[arg(long)]
    pub region: String,
    /// Really cut every link of the region: development federations only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub live: bool,
    /// End it by itself after so long: the copies go away, links that it cut are whole again.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = units::duration_ms)]
    pub max_time: u64,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Prove {
    /// So many schedules; A..B: those from A up to B, B not included.
    #[arg(long, value_name = "N|A..B", default_value = "100")]
    pub seeds: String,
    /// So many at once; without it one a core.
    #[arg(long, value_parser = units::count)]
    pub jobs: Option<u32>,
    /// Also keep the configuration in this file, for `dwcp-sim prove`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// What a drill measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrillMetric {
    /// From the failure to the last VM's own answer elsewhere.
    Rto,
    /// Acknowledged records that were missing afterwards.
    Rpo,
    /// VMs that answer elsewhere.
    VmsMigrated,
    /// Those of all that were lost.
    SuccessRate,
}

//! Runbooks of the operations guide.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dwcp_config::units::{self, Moment};

use super::{Words, words};

#[derive(Debug, Subcommand)]
pub enum RunbookCommand {
    /// List the runbooks.
    List,
    /// Carry a runbook out, a step after the other, each shown as the command that it is. --dry-run shows the plan.
    #[command(subcommand)]
    Run(RunbookRun),
}

#[derive(Debug, Subcommand)]
pub enum RunbookRun {
    /// A region is down: disable it, fail it over, verify. Stops when the region turns out to be healthy, unless --yes.
    EmergencyFailover(EmergencyFailover),
    /// A host pool becomes a region: measured, deployed, given the state, verified, and given traffic little by little.
    ///
    /// After each step other regions' health and all VMs are compared with how they were before. When a gate does not pass, what
    /// this run has done is taken back: traffic 0, region disabled, and removed again if this run deployed it. Typed again, it
    /// goes on where the facts say that it was.
    ///
    /// Example: dwcp-cli runbook run add-region --region eu-central-1 --config /etc/dwcp/regions/eu-central-1.yaml
    AddRegion(AddRegion),
    /// A region leaves: announced, closed, emptied, disabled, removed, cleaned up. Each step when it is due, unless --now.
    ///
    /// Not before 7 days ahead of its date the region is closed for new VMs, not before 1 day ahead its VMs move, and not before
    /// its date it is removed. What is not due yet is left for a later run (exit 7 says when). When a gate does not pass before
    /// the removal, what this run has done is taken back. After the removal there is no way back.
    ///
    /// Example: dwcp-cli runbook run decommission-region --region sa-east-1 --decommission-date +30d
    DecommissionRegion(DecommissionRegion),
}

#[derive(Debug, Args)]
pub struct EmergencyFailover {
    /// The failed region.
    #[arg(long)]
    pub region: String,
    /// Regions to go to, best first; without it all that are healthy.
    #[arg(long, value_name = "A,B", value_parser = words, default_value = "all")]
    pub to_regions: Words,
    /// Refuse when the plan predicts more.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub max_time: String,
}

/// What gates hold against, and what they do.
#[derive(Debug, Args)]
pub struct Gates {
    /// How long a check may come out wrong, or something be worse than before, until it counts.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration_ms)]
    pub patience: u64,
    /// Say what got worse, and go on.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub ignore_health: bool,
}

#[derive(Debug, Args)]
pub struct AddRegion {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// What it is like, a YAML file as for `region configure`; without it that step is left out.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to run: as for `infrastructure deploy`.
    #[arg(long, value_name = "A,B", default_value = "controller,state-manager,monitor", value_parser = words)]
    pub components: Words,
    /// Where its users reach it [default: what `get-region-ip` prints].
    #[arg(long)]
    pub ip: Option<IpAddr>,
    /// The TCP port of that.
    #[arg(long, default_value = "443")]
    pub port: u16,
    /// Its shares of traffic, one after the other.
    #[arg(long, value_name = "PERCENT,…", default_value = "10,25,50,75,100", value_parser = shares)]
    pub traffic: Shares,
    /// How long it is watched at the first share.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = units::duration_ms)]
    pub first_soak: u64,
    /// How long it is watched at each further one but the last.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration_ms)]
    pub soak: u64,
    /// Leave it deployed, disabled, when a gate does not pass.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub keep: bool,
    #[command(flatten)]
    pub gates: Gates,
}

#[derive(Debug, Args)]
pub struct DecommissionRegion {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// When it is due, as for `announce-decommission`; not needed when it is announced already.
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    pub decommission_date: Option<Moment>,
    /// Where its VMs go; without it the best by each VM's rules.
    #[arg(long, value_name = "A,B", value_parser = words)]
    pub targets: Option<Words>,
    /// Everything now, whatever the date.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub now: bool,
    /// Leave it as it is when a gate does not pass.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub keep: bool,
    #[command(flatten)]
    pub gates: Gates,
}

/// Percentages that rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares(pub Vec<u8>);

fn shares(text: &str) -> Result<Shares, String> {
    let all = units::list(text)?;
    let all: Vec<u8> = all.iter().map(|part| units::whole_percent(part)).collect::<Result<_, _>>()?;
    match all.first() != Some(&0) && all.windows(2).all(|pair| pair[0] < pair[1]) {
        true => Ok(Shares(all)),
        false => Err(format!("'{text}' does not rise from more than 0")),
    }
}
